package e2e

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

const (
	registerPath = "/auth/dbsc/register"
	signPath     = "/auth/dbsc/refresh"
)

// withKeys has Chromium keep keys in software, and sign as often as a test likes.
func withKeys(quota bool) chromedp.ExecAllocatorOption {
	features := "DeviceBoundSessions:RefreshQuota/false,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
	if quota {
		features = strings.Replace(features, ":RefreshQuota/false", "", 1)
	}
	return chromedp.Flag("enable-features", features)
}

// A keyed is alice's browser with a key store, before a stage over TLS.
type keyed struct {
	*stage
	*browser
	before me
}

// signInKeyed signs in, and waits until the session is bound.
func signInKeyed(t *testing.T, base string) *keyed {
	t.Helper()
	k := &keyed{newStage(t, "app.kit.test", base), launch(t, t.TempDir(), withKeys(false)), me{}}
	k.signIn(k.base, "alice", "wonderland")
	k.visit(k.base + "/e2e/page")
	k.awaitBound()
	return k
}

// awaitBound waits until the server has seen a signature of the browser's key.
func (k *keyed) awaitBound() {
	k.t.Helper()
	k.until(limit, "the session is bound", k.bound)
	k.before = k.me()
}

// bound is what the session says of itself.
func (b *tab) bound() bool {
	b.t.Helper()
	return js[bool](b, `const r = await fetch('/auth/session'); return (await r.json()).session?.device_bound === true`)
}

// forget takes the access cookie away, as its end would.
func (k *keyed) forget() {
	k.t.Helper()
	call(k.tab, network.DeleteCookies, network.DeleteCookiesParams{Name: "__Host-access", URL: k.base})
}

// signed counts the signed refreshes that were answered.
func (s *stage) signed() int {
	return len(s.passed(func(x exchange) bool { return x.path == signPath && x.status == 200 }))
}

// documents are the requests for a path.
func (s *stage) documents(path string) []exchange {
	return s.passed(func(x exchange) bool { return x.path == path })
}

// goesOn checks that the session goes on, by one more signature.
func (k *keyed) goesOn(after string) {
	k.t.Helper()
	k.forget()
	signed := k.signed()
	k.alive(k.before, after)
	if n := k.signed() - signed; n != 1 {
		k.t.Errorf("after %s: %d signed refreshes, want 1", after, n)
	}
}

// TestABrowserBindsItsSession: by a sign-in with a form and with fetch. From then
// on requests without an access cookie wait for one signature, whatever the number
// of tabs, and the page notices nothing.
func TestABrowserBindsItsSession(t *testing.T) {
	t.Parallel()
	for name, signIn := range map[string]func(k *keyed){
		"fetch": func(k *keyed) { k.signIn(k.base, "alice", "wonderland") },
		"form": func(k *keyed) {
			k.visit(k.base + "/login")
			k.do(chromedp.SetValue("input[name=username]", "alice"), chromedp.SetValue("input[name=password]", "wonderland"), chromedp.Submit("form"))
			k.until(limit, "the page after the sign-in", func() bool { return js[string](k.tab, `return location.pathname`) == "/" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := &keyed{newStage(t, "app.kit.test", twice(t)...), launch(t, t.TempDir(), withKeys(false)), me{}}
			signIn(k)
			k.visit(k.base + "/e2e/page")
			k.awaitBound()
			k.goesOn("the binding")
			tabs := []*tab{k.tab}
			for range 4 {
				tabs = append(tabs, k.open(k.base+"/e2e/page"))
			}
			signed := k.signed()
			k.forget()
			for _, refused := range parallel(tabs, func(b *tab) int {
				return js[int](b, `const all = await Promise.all(Array.from({length: 4}, () => fetch('/api/me', {method: 'GET'})))
					return all.filter(r => r.status !== 200).length`)
			}) {
				if refused != 0 {
					t.Errorf("%d of four requests were refused", refused)
				}
			}
			if n := k.signed() - signed; n != 1 {
				t.Errorf("five tabs: %d signed refreshes, want 1", n)
			}
			k.forget()
			if got := k.status("POST", "/auth/token/refresh"); got != 200 {
				t.Errorf("a script that renews: %d", got)
			}
			if list := js[string](k.tab, `return await (await fetch('/auth/sessions')).text()`); !strings.Contains(list, `"device_bound":true`) {
				t.Error(list)
			}
		})
	}
}

// TestAllCookiesOfABoundSession: in another browser they open nothing but what the
// access token opens until it runs out, and the owner goes on.
func TestAllCookiesOfABoundSession(t *testing.T) {
	t.Parallel()
	k := signInKeyed(t, demo(t))
	thief := launch(t, t.TempDir(), withKeys(false))
	thief.visit(k.base + "/login")
	for _, c := range k.cookies(k.base) {
		thief.plant(k.base, c)
	}
	thief.visit(k.base + "/e2e/page")
	if m := thief.me(); m.Session != k.before.Session {
		t.Fatalf("the access token, while it lasts: %+v", m)
	}
	call(thief.tab, network.DeleteCookies, network.DeleteCookiesParams{Name: "__Host-access", URL: k.base})
	for _, c := range [][2]string{{"GET", "/api/me"}, {"POST", "/auth/token/refresh"}, {"GET", "/auth/sessions"}, {"POST", "/api/transfer"}} {
		if got := thief.status(c[0], c[1]); got != 401 {
			t.Errorf("the thief's %s %s: %d", c[0], c[1], got)
		}
	}
	thief.visit(k.base + "/account")
	if at := js[string](thief.tab, `return location.pathname`); at != "/login" {
		t.Errorf("the thief is at %s", at)
	}
	k.goesOn("the theft")
}

// TestLostAnswersToABrowserWithAKey: whatever gets lost, the user stays signed in.
func TestLostAnswersToABrowserWithAKey(t *testing.T) {
	t.Parallel()
	unavailable := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for name, f := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"lost": lose, "cut": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, "503": unavailable,
	} {
		t.Run("the registration is "+name, func(t *testing.T) {
			t.Parallel()
			k := &keyed{newStage(t, "app.kit.test", demo(t, "-access-ttl", "2s")), launch(t, t.TempDir(), withKeys(false)), me{}}
			k.setFault(once(registerPath, f))
			k.signIn(k.base, "alice", "wonderland")
			k.visit(k.base + "/e2e/page")
			before := k.me()
			k.expire()
			k.alive(before, "the registration")
			k.expire()
			k.alive(before, "the registration, again")
		})
		t.Run("a refresh is "+name, func(t *testing.T) {
			t.Parallel()
			k := signInKeyed(t, demo(t))
			k.setFault(once(signPath, f))
			k.forget()
			if m := k.me(); m.Status != 200 && m.Status != 503 {
				t.Errorf("a request whose refresh is %s: %+v", name, m)
			}
			k.setFault(nil)
			k.until(limit, "the session goes on", func() bool { return k.me().Status == 200 })
			k.goesOn("a refresh that is " + name)
		})
	}
}

// TestTheStoreIsAwayFromABrowserWithAKey: pages come back by themselves, requests
// are told to wait, and nobody sees the sign-in page.
func TestTheStoreIsAwayFromABrowserWithAKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes")
	k := signInKeyed(t, demo(t, "-redis", "redis://"+server.Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem")))
	server.Pause()
	k.forget()
	if m := k.me(); m.Status != 503 {
		t.Errorf("a request: %+v", m)
	}
	k.forget()
	k.visit(k.base + "/account?away")
	if at := js[string](k.tab, `return location.pathname`); at != "/account" {
		t.Errorf("a page: at %s", at)
	}
	if x := k.documents("/account?away"); len(x) == 0 || x[0].status != 503 {
		t.Errorf("a page: %+v", x)
	}
	server.Resume()
	k.until(limit, "the page comes back by itself", func() bool {
		x := k.documents("/account?away")
		return x[len(x)-1].status == 200
	})
	k.goesOn("the store was away")
}

// TestLinksToABoundSession: a link from elsewhere arrives signed in, by one more load
// at most, and so do F5 and Back afterwards.
func TestLinksToABoundSession(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"evil.kit.test", "other.test"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			k := signInKeyed(t, demo(t))
			elsewhere := serve(t, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, `<!doctype html><title>elsewhere</title><a id=link href=%q>there</a>`, k.base+r.URL.Query().Get("to"))
			}))
			arrive := func(path string) {
				t.Helper()
				k.until(limit, "the page of the account", func() bool {
					x := k.documents(path)
					return len(x) > 0 && x[len(x)-1].status == 200
				})
				if x := k.documents(path); len(x) > 2 || !x[len(x)-1].access {
					t.Errorf("%s: %+v", path, x)
				}
				k.until(limit, "the account", func() bool {
					return js[string](k.tab, `return document.querySelector('h1')?.textContent ?? ''`) == "Your account"
				})
			}
			k.visit(elsewhere + "/?to=/account?linked")
			k.forget()
			k.do(chromedp.Click("#link"))
			arrive("/account?linked")

			k.forget()
			k.do(chromedp.Reload())
			k.until(limit, "the page again", func() bool {
				x := k.documents("/account?linked")
				return len(x) > 2 && x[len(x)-1].status == 200
			})
			k.visit(elsewhere + "/?to=/account?back")
			k.do(chromedp.Click("#link"))
			arrive("/account?back")
			k.visit(k.base + "/e2e/page?next")
			k.forget()
			js[int](k.tab, `setTimeout(() => history.back()); return 0`)
			k.until(limit, "the page of before", func() bool {
				return js[string](k.tab, `return document.querySelector('h1')?.textContent ?? ''`) == "Your account"
			})
			for _, x := range k.passed(func(x exchange) bool { return strings.HasPrefix(x.path, "/login") && x.method == "GET" }) {
				if strings.Contains(x.path, "return_to") {
					t.Errorf("the sign-in page was shown: %+v", x)
				}
			}
			k.goesOn("links")
		})
	}
}

var crashes = flag.Int("crashes", 2, "how often TestCrashesOfABrowserWithAKey kills the browser")

// TestCrashesOfABrowserWithAKey: a crash takes the cookies, and the browser still has
// its key: the cookies come back, also for a tab that is restored.
func TestCrashesOfABrowserWithAKey(t *testing.T) {
	t.Parallel()
	k := signInKeyed(t, demo(t))
	before, b := k.before, k.browser
	for round := range *crashes {
		// Chromium writes its keys within two seconds, its cookies within thirty.
		js[int](b.tab, `await new Promise(r => setTimeout(r, 3000)); return 0`)
		b.cmd.Process.Kill()
		b.cancel()
		b = launch(t, k.profile, withKeys(false), chromedp.Flag("restore-last-session", round%2 == 1))
		b.visit(k.base + "/account")
		if at := js[string](b.tab, `return location.pathname`); at != "/account" {
			t.Fatalf("after crash %d the browser is at %s, with %d cookies", round, at, len(b.cookies(k.base)))
		}
		b.visit(k.base + "/e2e/page")
		b.alive(before, "a crash")
	}
	for _, x := range k.passed(func(x exchange) bool { return strings.HasPrefix(x.path, "/login?return_to") }) {
		t.Errorf("the sign-in page was shown: %+v", x)
	}
}

// TestTheQuotaOfSignatures: Chromium signs six times in nine minutes. Many refreshes
// cost one signature; and who has spent all waits, and stays signed in.
func TestTheQuotaOfSignatures(t *testing.T) {
	t.Parallel()
	k := &keyed{newStage(t, "app.kit.test", demo(t)), launch(t, t.TempDir(), withKeys(true)), me{}}
	k.signIn(k.base, "alice", "wonderland")
	k.visit(k.base + "/e2e/page")
	k.awaitBound()
	for range 12 {
		k.goesOn("another refresh")
	}
	if x := k.passed(func(x exchange) bool { return x.skipped != "" }); len(x) > 0 {
		t.Fatalf("the quota was spent: %+v", x)
	}
	// Something between them asks for another signature before each refresh.
	for n := 0; ; n++ {
		k.setFault(once(signPath, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Secure-Session-Challenge", fmt.Sprintf(`"other-%d";id="%s"`, n, strings.Trim(r.Header.Get("Sec-Secure-Session-Id"), `"`)))
			w.WriteHeader(http.StatusForbidden)
		}))
		k.forget()
		if m := k.me(); m.Status != 200 {
			if m.Status != 503 {
				t.Errorf("a request without a signature: %+v", m)
			}
			break
		}
		if n > 12 {
			t.Fatal("the quota has no end")
		}
	}
	if x := k.passed(func(x exchange) bool { return strings.HasPrefix(x.skipped, "quota_exceeded") }); len(x) == 0 {
		t.Error("the browser does not say why it did not sign")
	}
	k.setFault(nil)
	k.visit(k.base + "/account?quota")
	if at := js[string](k.tab, `return location.pathname`); at != "/account" {
		t.Errorf("a page without a signature: at %s", at)
	}
}

// TestTwoSignInsAtOnce: in two tabs, and another user's in a third later. The newest
// sign-in counts, with its key.
func TestTwoSignInsAtOnce(t *testing.T) {
	t.Parallel()
	k := &keyed{newStage(t, "app.kit.test", demo(t)), launch(t, t.TempDir(), withKeys(false)), me{}}
	tabs := []*tab{k.tab, k.open(k.base + "/login")}
	for range 3 {
		parallel(tabs, func(b *tab) int { b.signIn(k.base, "alice", "wonderland"); return 0 })
		k.visit(k.base + "/e2e/page")
		k.awaitBound()
		for range 3 {
			k.forget()
			k.until(limit, "the session goes on", func() bool { return k.me().Status == 200 })
			k.alive(k.before, "two sign-ins at once")
		}
	}
	k.signIn(k.base, "bob", "builder")
	k.visit(k.base + "/e2e/page")
	k.awaitBound()
	if k.before.Subject != "bob" {
		t.Errorf("after bob signed in: %+v", k.before)
	}
	for range 3 {
		k.forget()
		k.until(limit, "bob's session goes on", func() bool { return k.me().Status == 200 })
		k.alive(k.before, "another user's sign-in")
	}
}

// TestSigningOutOfABoundSession: on the server first, then in the browser, whatever
// is under way.
func TestSigningOutOfABoundSession(t *testing.T) {
	t.Parallel()
	for name, signOut := range map[string]func(k *keyed){
		"the endpoint": func(k *keyed) {
			if got := k.status("POST", "/auth/logout"); got != 204 {
				k.t.Errorf("logout: %d", got)
			}
		},
		"without an access cookie": func(k *keyed) {
			k.forget()
			if got := k.status("POST", "/auth/logout"); got != 204 {
				k.t.Errorf("logout: %d", got)
			}
		},
		"everywhere": func(k *keyed) {
			if got := k.status("POST", "/auth/logout-all"); got != 204 {
				k.t.Errorf("logout-all: %d", got)
			}
		},
		"with a refresh under way": func(k *keyed) {
			arrived, go_ := make(chan struct{}), make(chan struct{})
			k.setFault(once(signPath, func(w http.ResponseWriter, r *http.Request, app http.Handler) {
				close(arrived)
				<-go_
				app.ServeHTTP(w, r)
			}))
			k.forget()
			js[int](k.tab, `window.late = fetch('/api/me').then(r => r.status); return 0`)
			<-arrived
			// A browser holds the sign-out until the refresh is over; another client
			// of the user does not wait.
			req, err := http.NewRequest("POST", k.app+"/auth/logout", nil)
			if err != nil {
				k.t.Fatal(err)
			}
			for _, c := range k.cookies(k.base) {
				req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				k.t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			close(go_)
			if got := js[int](k.tab, `return await window.late`); got != 401 {
				k.t.Errorf("the request that waited: %d", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := signInKeyed(t, demo(t))
			signOut(k)
			signed := k.signed()
			for range 3 {
				if m := k.me(); m.Status != 401 {
					t.Errorf("afterwards: %+v", m)
				}
			}
			if n := k.signed() - signed; n != 0 {
				t.Errorf("%d refreshes were answered afterwards", n)
			}
			k.visit(k.base + "/account")
			if at := js[string](k.tab, `return location.pathname`); at != "/login" {
				t.Errorf("at %s", at)
			}
			// And in again, with a new key.
			k.signIn(k.base, "alice", "wonderland")
			k.visit(k.base + "/e2e/page")
			k.awaitBound()
			k.goesOn("signing in again")
		})
	}
}

// TestThePageOfABoundSession says that it is bound, and lets a visitor steal all
// cookies: nothing opens.
func TestThePageOfABoundSession(t *testing.T) {
	t.Parallel()
	k := signInKeyed(t, demo(t))
	k.visit(k.base + "/")
	says := func(id string) string {
		return js[string](k.tab, fmt.Sprintf(`return document.getElementById(%q).textContent`, id))
	}
	k.until(limit, "the page says that the session is bound", func() bool { return strings.Contains(says("session"), "yes: nothing else renews") })
	k.do(chromedp.Click("#all"))
	k.until(limit, "the thief is refused", func() bool { return strings.HasPrefix(says("all-says"), "Refused") })
	k.do(chromedp.Click("#thief"))
	k.until(limit, "there is nothing to replay", func() bool { return strings.Contains(says("thief-says"), "nothing to replay") })
	k.goesOn("both thefts")
}
