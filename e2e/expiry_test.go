package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// quick makes access tokens expire every other second.
var quick = []string{"-access-ttl", "2s"}

// expire waits until the access token has run out: a page that does nothing.
func (b *tab) expire() {
	b.t.Helper()
	js[int](b, `await new Promise(r => setTimeout(r, 3100)); return 0`)
}

// TestTabsAtExpiry: three tabs make ten requests each at the moment at which the
// access token has expired, ten times over. None is refused, and each time
// there is one rotation.
func TestTabsAtExpiry(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, ...string) string{"embedded": demo, "two instances": pair} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := start(t, quick...)
			b := newBrowser(t)
			b.signIn(base, "alice", "wonderland")
			tabs := []*tab{b.tab, b.open(base + "/login"), b.open(base + "/login")}
			before := b.me()
			for round := range 10 {
				b.expire()
				began := time.Now()
				results := parallel(tabs, func(tb *tab) []me {
					return js[[]me](tb, `return await Promise.all(Array.from({length: 10}, async () => {
						const r = await fetch('/api/me'); const j = r.ok ? await r.json() : {}; j.Status = r.status; return j
					}))`)
				})
				for _, answers := range results {
					for _, m := range answers {
						if m.Status != 200 || m.Session != before.Session {
							t.Fatalf("round %d: %+v", round, m)
						}
						if m.Generation <= before.Generation {
							t.Fatalf("round %d: generation %d after %d", round, m.Generation, before.Generation)
						}
					}
				}
				now := b.me()
				// On a machine so slow that the next token has expired meanwhile there is one more.
				if expiries := 1 + int(time.Since(began)/(2*time.Second)); now.Generation <= before.Generation || now.Generation > before.Generation+expiries {
					t.Fatalf("round %d: generation %d after %d and %d expiries", round, now.Generation, before.Generation, expiries)
				}
				before = now
			}
		})
	}
}

// TestAbortedRequests: at each of a hundred expiries the page aborts its request,
// or a navigation replaces another, at a random moment around the renewal. Some
// renewals are lost on the way; the session lives.
func TestAbortedRequests(t *testing.T) {
	t.Parallel()
	const rounds = 50
	for name, abort := range map[string]func(b *browser, base string, after time.Duration){
		"requests": func(b *browser, _ string, after time.Duration) {
			js[int](b.tab, fmt.Sprintf(`const c = new AbortController(); setTimeout(() => c.abort(), %d)
				await fetch('/api/me', {signal: c.signal}).catch(() => {}); return 0`, after.Milliseconds()))
		},
		"navigations": func(b *browser, base string, after time.Duration) {
			js[int](b.tab, `setTimeout(() => { location.href = '/account?replaced' }); return 0`)
			b.do(chromedp.Sleep(after))
			b.until(limit, "the page that replaces it", func() bool { // or was replaced itself
				return chromedp.Do(b.ctx, chromedp.Navigate(base+"/e2e/page?last")) == nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, "localhost", twice(t, "-access-ttl", "1s")...)
			s.lag = 10 * time.Millisecond
			b := newBrowser(t)
			b.signIn(s.base, "alice", "wonderland")
			b.visit(s.base + "/e2e/page")
			before := b.me()
			for round := range rounds {
				js[int](b.tab, `await new Promise(r => setTimeout(r, 1010)); return 0`)
				abort(b, s.base, time.Duration(rand.IntN(30))*time.Millisecond)
				if m := b.me(); m.Status != 200 || m.Session != before.Session {
					t.Fatalf("round %d: %+v, before %+v", round, m, before)
				}
			}
			renewed, twice := make(map[string]int), 0
			for _, x := range s.passed(func(x exchange) bool { return x.renewed != "" }) {
				if renewed[x.renewed]++; renewed[x.renewed] == 2 {
					twice++
				}
			}
			t.Logf("%d renewals, %d of which had to be handed out again", len(renewed), twice)
			if twice == 0 || len(renewed) < rounds/2 {
				t.Errorf("no renewal was lost, or hardly any made: this test shows nothing")
			}
		})
	}
}

// TestKilledBrowser: a browser that dies right after a rotation comes back with
// the cookies of up to half a minute ago, and is still signed in.
func TestKilledBrowser(t *testing.T) {
	t.Parallel()
	base := demo(t)
	profile := t.TempDir()
	b := launch(t, profile)
	b.signIn(base, "alice", "wonderland")
	before := b.me()
	b.quit() // in an orderly way, so that the login is on disk

	for round := range 3 {
		b = launch(t, profile)
		b.visit(base + "/login")
		if m := b.me(); m.Status != 200 || m.Session != before.Session {
			t.Fatalf("round %d: %+v, before %+v", round, m, before)
		}
		if got := b.status("POST", "/auth/token/refresh"); got != 200 {
			t.Fatalf("round %d: a renewal: %d", round, got)
		}
		rotated := b.me().Generation
		b.cmd.Process.Kill()
		b.cancel()
		t.Logf("round %d: killed with generation %d", round, rotated)
	}
	b = launch(t, profile)
	b.visit(base + "/login")
	if got := b.status("POST", "/auth/token/refresh"); got != 200 {
		t.Errorf("after a restart a renewal gets %d", got)
	}
	if m := b.me(); m.Status != 200 || m.Session != before.Session {
		t.Errorf("after a restart %+v, before %+v", m, before)
	}
}

// TestStreamsAtExpiry: a stream opens although the access token has expired,
// outlives access tokens, and ends when another browser ends the session.
func TestStreamsAtExpiry(t *testing.T) {
	t.Parallel()
	base := pair(t, quick...)
	b, other := newBrowser(t), newBrowser(t)
	b.signIn(base, "alice", "wonderland")
	other.signIn(base, "alice", "wonderland")
	b.expire()
	if n := js[int](b.tab, `
		window.messages = 0; window.ended = 0
		const s = new EventSource('/api/stream')
		s.onmessage = () => window.messages++
		s.onerror = () => { window.ended = performance.now(); s.close() }
		await new Promise(r => s.onopen = r)
		await new Promise(r => setTimeout(r, 3500))
		return window.ended ? -1 : window.messages`); n < 3 {
		t.Fatalf("%d messages after three and a half seconds (-1: ended)", n)
	}
	if got := other.status("POST", "/auth/logout-all"); got != 204 {
		t.Fatal(got)
	}
	began := time.Now()
	b.until(5*time.Second, "the stream ends", func() bool { return js[bool](b.tab, `return window.ended > 0`) })
	t.Logf("the stream ended %v after the logout", time.Since(began).Round(time.Millisecond))
	if m := b.me(); m.Status != 401 {
		t.Errorf("afterwards %+v", m)
	}
}
