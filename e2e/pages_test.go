package e2e

import (
	"strings"
	"testing"
)

// signedIn is alice's browser on a page of a stage before two instances, whose
// access tokens live for two seconds.
func signedIn(t *testing.T) (*stage, *browser, me) {
	t.Helper()
	s := newStage(t, "localhost", twice(t, quick...)...)
	b := newBrowser(t)
	b.signIn(s.base, "alice", "wonderland")
	b.visit(s.base + "/e2e/page")
	return s, b, b.me()
}

// alive checks that it is still the same session.
func (b *tab) alive(before me, after string) {
	b.t.Helper()
	if m := b.me(); m.Status != 200 || m.Session != before.Session {
		b.t.Fatalf("after %s: %+v, before %+v", after, m, before)
	}
}

// awaitPassed waits for an exchange, and checks its status.
func (s *stage) awaitPassed(b *tab, what string, status int, pleases func(exchange) bool) {
	b.t.Helper()
	b.until(limit, what, func() bool { return len(s.passed(pleases)) > 0 })
	for _, x := range s.passed(pleases) {
		if x.status != status {
			b.t.Errorf("%s: %+v, want %d", what, x, status)
		}
	}
}

// TestBackForwardCache: a page that comes out of the back/forward cache after
// its access token expired goes on; after a logout it is signed out.
func TestBackForwardCache(t *testing.T) {
	t.Parallel()
	s, b, before := signedIn(t)
	leaveAndReturn := func(meanwhile func()) {
		t.Helper()
		js[int](b.tab, `window.returned = false; addEventListener('pageshow', e => { window.returned = e.persisted }); return 0`)
		b.visit(s.base + "/e2e/page?next")
		meanwhile()
		// Evaluations are lost while the page changes; the flag says when it is back.
		js[int](b.tab, `setTimeout(() => history.back()); return 0`)
		b.until(limit, "the page comes out of the cache", func() bool {
			return js[bool](b.tab, `return window.returned === true`)
		})
	}
	leaveAndReturn(b.expire)
	b.alive(before, "coming back")
	leaveAndReturn(func() {
		if got := b.status("POST", "/auth/logout"); got != 204 {
			t.Fatal(got)
		}
	})
	if m := b.me(); m.Status != 401 {
		t.Errorf("a cached page after the logout: %+v", m)
	}
}

// TestPrefetchAndPrerender: a page that is fetched before anybody asked for it
// renews the session like any other.
func TestPrefetchAndPrerender(t *testing.T) {
	t.Parallel()
	s, b, before := signedIn(t)
	for _, how := range []struct{ name, script, purpose string }{
		{"link", `const l = document.createElement('link'); l.rel = 'prefetch'; l.href = '/account?link'; document.head.append(l)`, "prefetch"},
		{"prefetch", speculation("prefetch"), "prefetch"},
		{"prerender", speculation("prerender"), "prefetch;prerender"},
	} {
		b.expire()
		js[int](b.tab, how.script+"; return 0")
		s.awaitPassed(b.tab, how.name, 200, func(x exchange) bool {
			return x.path == "/account?"+how.name && strings.HasPrefix(x.purpose, how.purpose)
		})
		if x := s.passed(func(x exchange) bool { return x.path == "/account?"+how.name }); x[0].renewed == "" {
			t.Errorf("%s: the session was not renewed: %+v", how.name, x[0])
		}
		b.alive(before, how.name)
	}
	b.visit(s.base + "/account?prerender")
	b.alive(before, "a visit to the prerendered page")
}

func speculation(kind string) string {
	return `const s = document.createElement('script'); s.type = 'speculationrules'
		s.textContent = JSON.stringify({` + kind + `: [{source: 'list', urls: ['/account?` + kind + `'], eagerness: 'immediate'}]}); document.head.append(s)`
}

// TestServiceWorker: requests and navigations that a service worker passes on
// renew the session once, and stay same-origin to the server.
func TestServiceWorker(t *testing.T) {
	t.Parallel()
	s, b, before := signedIn(t)
	js[int](b.tab, `await navigator.serviceWorker.register('/e2e/worker.js', {scope: '/'})
		if (!navigator.serviceWorker.controller) await new Promise(r => navigator.serviceWorker.oncontrollerchange = r)
		return 0`)
	b.expire()
	start := b.me()
	b.expire()
	if refused := js[int](b.tab, `const all = await Promise.all(Array.from({length: 10}, () => fetch('/api/me?worker')))
		return all.filter(r => r.status !== 200).length`); refused != 0 {
		t.Errorf("%d of ten requests were refused", refused)
	}
	if n := len(s.passed(func(x exchange) bool { return x.worker && x.path == "/api/me?worker" })); n != 10 {
		t.Errorf("%d of ten requests came from the worker", n)
	}
	if m := b.me(); m.Generation != start.Generation+1 {
		t.Errorf("generation %d after %d", m.Generation, start.Generation)
	}
	if got := b.status("POST", "/auth/token/refresh"); got != 200 {
		t.Errorf("a renewal through the worker: %d", got)
	}
	b.expire()
	b.visit(s.base + "/account?worker")
	s.awaitPassed(b.tab, "a navigation through the worker", 200, func(x exchange) bool { return x.path == "/account?worker" })
	b.alive(before, "all that")
}

// TestRequestsThatOutliveTheirPage: a beacon, and requests in flight when their
// page goes away, cost nobody the session.
func TestRequestsThatOutliveTheirPage(t *testing.T) {
	t.Parallel()
	s, b, before := signedIn(t)
	b.expire()
	js[int](b.tab, `addEventListener('pagehide', () => {
		fetch('/api/me?keepalive', {keepalive: true}); navigator.sendBeacon('/auth/token/refresh?beacon')
	}); return 0`)
	b.visit(s.base + "/e2e/page?next")
	s.awaitPassed(b.tab, "a request that outlives its page", 200, func(x exchange) bool { return x.path == "/api/me?keepalive" })
	s.awaitPassed(b.tab, "a beacon", 200, func(x exchange) bool { return x.path == "/auth/token/refresh?beacon" })
	b.alive(before, "a beacon and a request that outlives its page")

	b.expire()
	js[int](b.tab, `fetch('/api/me?left').catch(() => {}); setTimeout(() => { location.href = '/e2e/page?away' }); return 0`)
	b.until(limit, "the next page", func() bool { return js[bool](b.tab, `return location.search === '?away'`) })
	b.alive(before, "a navigation beside a request")
}
