package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestHostilePages: pages of a sibling subdomain and of another site cannot
// have a signed-in browser do anything, and cannot plant a cookie that is used.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	base := secure(t, demo(t))
	evil := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/form":
			fmt.Fprintf(w, `<form method=post action=%q><input name=username value=bob><input name=password value=builder></form><script>document.forms[0].submit()</script>`, base+r.URL.Query().Get("to"))
		default:
			fmt.Fprint(w, "<title>evil</title>")
		}
	})
	for _, host := range []string{"evil.kit.test", "other.test"} {
		t.Run(host, func(t *testing.T) {
			b := newBrowser(t)
			b.signIn(base, "alice", "wonderland")
			before := b.me()
			attacker := serve(t, host, evil)
			unharmed := func(what string) {
				t.Helper()
				b.visit(base + "/login")
				if m := b.me(); m != before {
					t.Fatalf("after %s: %+v, before %+v", what, m, before)
				}
			}
			for _, path := range []string{"/auth/logout", "/auth/logout-all", "/api/transfer", "/login", "/auth/token/refresh", "/admin/users/carol/deactivate"} {
				b.visit(attacker + "/form?to=" + path)
				b.do(chromedp.WaitReady("body"))
				unharmed("a forged form to " + path)
			}
			b.visit(attacker)
			js[int](b.tab, fmt.Sprintf(`
				const base = %q
				for (const path of ['/auth/logout', '/auth/logout-all', '/auth/token/refresh', '/demo/steal', '/account']) {
					await new Promise(r => { const i = new Image(); i.onload = i.onerror = r; i.src = base + path })
					for (const mode of ['cors', 'no-cors'])
						for (const method of ['POST', 'GET'])
							await fetch(base + path, {method, mode, credentials: 'include'}).then(r => { if (r.type !== 'opaque') throw new Error('readable: ' + path) }, () => 0)
				}
				await fetch(base + '/auth/sessions', {credentials: 'include'}).then(() => { throw new Error('the list can be read') }, () => 0)
				return 0`, base))
			unharmed("images and requests")

			b.visit(attacker)
			js[int](b.tab, `for (const name of ['__Host-refresh', '__Host-access', 'refresh', 'access'])
				for (const more of ['', '; domain=kit.test', '; domain=kit.test; path=/api', '; secure; path=/; domain=kit.test'])
					document.cookie = name + '=planted' + more
				return 0`)
			unharmed("planted cookies")
			if got := b.status("POST", "/auth/token/refresh"); got != 200 {
				t.Errorf("a renewal beside planted cookies: %d", got)
			}
		})
	}
}

// TestTheft copies the cookies out of one browser and into another.
func TestTheft(t *testing.T) {
	t.Parallel()
	base := pair(t, "-access-ttl", "4s", "-settle", "1s", "-bind", "strict")
	steal := func(from *browser, agent string) *browser {
		t.Helper()
		thief := newBrowser(t)
		if agent != "" {
			call(thief.tab, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent})
		}
		thief.visit(base + "/login")
		for _, c := range from.cookies(base) {
			thief.plant(base, &network.Cookie{Name: c.Name, Value: c.Value, Path: c.Path, Secure: c.Secure, HTTPOnly: c.HTTPOnly, SameSite: c.SameSite})
		}
		return thief
	}
	t.Run("another browser is refused, and harms nobody", func(t *testing.T) {
		owner := newBrowser(t)
		owner.signIn(base, "alice", "wonderland")
		thief := steal(owner, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0")
		if got := thief.status("POST", "/auth/token/refresh"); got != 401 {
			t.Errorf("the thief gets %d", got)
		}
		if got := owner.status("POST", "/auth/token/refresh"); got != 200 {
			t.Errorf("the owner gets %d", got)
		}
	})
	// settle uses the session until its newest generation must have settled.
	settle := func(b *browser) {
		t.Helper()
		js[int](b.tab, `await fetch('/api/me'); await new Promise(r => setTimeout(r, 1200)); await fetch('/api/me'); await new Promise(r => setTimeout(r, 300)); return 0`)
	}
	t.Run("the same browser, too late: both are out", func(t *testing.T) {
		owner := newBrowser(t)
		owner.signIn(base, "alice", "wonderland")
		thief := steal(owner, "")
		if got := owner.status("POST", "/auth/token/refresh"); got != 200 {
			t.Fatal(got)
		}
		settle(owner)
		if got := thief.status("POST", "/auth/token/refresh"); got != 401 {
			t.Errorf("the thief gets %d", got)
		}
		owner.until(limit, "the owner is out as well", func() bool { return owner.me().Status == 401 })
		if got := thief.me(); got.Status != 401 {
			t.Errorf("the thief's access token: %+v", got)
		}
	})
	t.Run("the same browser, before the owner: out at the owner's next visit", func(t *testing.T) {
		owner := newBrowser(t)
		owner.signIn(base, "alice", "wonderland")
		thief := steal(owner, "")
		if got := thief.status("POST", "/auth/token/refresh"); got != 200 {
			t.Fatal(got)
		}
		settle(thief)
		if got := owner.status("POST", "/auth/token/refresh"); got != 401 {
			t.Errorf("the owner, whose token was used up, gets %d", got)
		}
		thief.until(limit, "the thief is out", func() bool { return thief.me().Status == 401 })
		if got := thief.status("POST", "/auth/token/refresh"); got != 401 {
			t.Errorf("the thief renews: %d", got)
		}
	})
}

// TestLogoutReachesEverybody: a logout in one tab is one in all tabs; a changed
// password throws the other browser out within a second.
func TestLogoutReachesEverybody(t *testing.T) {
	t.Parallel()
	base := pair(t)
	b := newBrowser(t)
	b.signIn(base, "alice", "wonderland")
	second := b.open(base + "/login")
	if m := second.me(); m.Status != 200 {
		t.Fatal(m)
	}
	if got := b.status("POST", "/auth/logout"); got != 204 {
		t.Fatal(got)
	}
	if m := second.me(); m.Status != 401 {
		t.Errorf("the second tab: %+v", m)
	}
	if cookies := b.cookies(base); cookies["__Host-refresh"] != nil || cookies["__Host-access"] != nil {
		t.Errorf("cookies after the logout: %v", cookies)
	}

	other := newBrowser(t)
	b.signIn(base, "bob", "builder")
	other.signIn(base, "bob", "builder")
	if got := js[int](b.tab, `return (await fetch('/api/password', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({old: 'builder', new: 'plumber'})})).status`); got != 204 {
		t.Fatal(got)
	}
	took := js[float64](other.tab, `const began = performance.now()
		while ((await fetch('/api/me')).status !== 401 && performance.now() - began < 10000) await new Promise(r => setTimeout(r, 20))
		return performance.now() - began`)
	if took > 1000 {
		t.Errorf("the other browser was out after %.0f ms", took)
	}
	if m := b.me(); m.Status != 200 {
		t.Errorf("who changed it: %+v", m)
	}
}
