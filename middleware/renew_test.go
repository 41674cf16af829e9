package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// issue makes an access token of k's session: at another time, for another
// audience, or with the keys of another ring.
func (a *app) issue(k tokens, at time.Time, audience string, ring *access.KeyRing) string {
	a.t.Helper()
	issuer, err := access.New(access.Config{Issuer: "https://app.example", Audience: audience, Keys: ring, Now: func() time.Time { return at }})
	if err != nil {
		a.t.Fatal(err)
	}
	c := k.grant.Claims
	text, _, err := issuer.Issue(access.Claims{Subject: c.Subject, SessionID: c.SessionID, Generation: c.Generation, AuthTime: c.AuthTime})
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// replaceKeys retires the keys that sign, and the root secrets if asked to.
func (a *app) replaceKeys(secrets bool) {
	a.t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		a.t.Fatal(err)
	}
	if !secrets {
		keys.Secrets = a.keys.Secrets
	}
	if err := a.ring.Replace(keys); err != nil {
		a.t.Fatal(err)
	}
}

// service is another instance on the same keys, and on the given store.
func (a *app) service(store family.Store) *refresh.Sessions {
	a.t.Helper()
	issuer, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: a.ring, Now: a.now})
	if err != nil {
		a.t.Fatal(err)
	}
	s, err := refresh.New(refresh.Config{Access: issuer, Store: store, Events: a.rec})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { s.Close() })
	return s
}

func (r *recorder) count(k refresh.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[k]
}

// set returns the cookies that a response sets, by name, and fails for one
// that it sets twice (RFC 6265bis section 4.1.1). Deleted ones are empty.
func set(t testing.TB, h http.Header) map[string]string {
	t.Helper()
	cookies := make(map[string]string)
	for _, line := range h.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatalf("Set-Cookie %q: %v", line, err)
		}
		if _, twice := cookies[c.Name]; twice {
			t.Errorf("%s is set twice: %q", c.Name, h.Values("Set-Cookie"))
		}
		cookies[c.Name] = c.Value
	}
	return cookies
}

// TestTheRefreshCookieDecidesAlone: whatever is wrong with the access cookie,
// nothing is read from it, and a good refresh cookie says who it is.
func TestTheRefreshCookieDecidesAlone(t *testing.T) {
	altered := func(s string) string {
		dot := strings.LastIndexByte(s, '.') + 10
		return s[:dot] + map[bool]string{true: "B", false: "A"}[s[dot] == 'A'] + s[dot+1:]
	}
	for _, tt := range []struct {
		name   string
		cookie func(a *app, k tokens) string
		event  bool // a verification failed that no honest client explains
	}{
		{"expired", func(a *app, k tokens) string { return a.issue(k, time.Now().Add(-time.Hour), "app", a.ring) }, false},
		{"no token at all", func(*app, tokens) string { return "nonsense" }, true},
		{"empty", func(*app, tokens) string { return "" }, false},
		{"longer than any cookie", func(*app, tokens) string { return strings.Repeat("a", 5000) }, false},
		{"of a damaged signature", func(a *app, k tokens) string { return altered(k.cookies["access"]) }, true},
		{"of a foreign key", func(a *app, k tokens) string { return a.issue(k, time.Now(), "app", newApp(t).ring) }, true},
		{"of a retired key", func(a *app, k tokens) string { a.replaceKeys(false); return k.cookies["access"] }, true},
		{"for another service", func(a *app, k tokens) string { return a.issue(k, time.Now(), "other", a.ring) }, true},
		{"not yet valid", func(a *app, k tokens) string { return a.issue(k, time.Now().Add(time.Hour), "app", a.ring) }, true},
		{"of a session that was revoked", func(a *app, _ tokens) string {
			dead := a.login("mallory")
			if err := a.sessions.RevokeAll(t.Context(), "mallory", family.ReasonReuse); err != nil {
				t.Fatal(err)
			}
			return dead.cookies["access"]
		}, false},
		{"sent twice, in two versions", func(a *app, k tokens) string { return k.cookies["access"] + "; __Host-access=other" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t)
			k := a.login("alice")
			r := k.request("GET", "/", expired)
			r.Header.Add("Cookie", "__Host-access="+tt.cookie(a, k))
			res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=3600")
				greet(w, r)
			})), r)
			if res.StatusCode != 200 || text(res) != "alice" {
				t.Fatalf("status %d", res.StatusCode)
			}
			cookies := set(t, res.Header)
			c, err := a.sessions.Verify(cookies["__Host-access"])
			if err != nil || c.Generation != 1 || c.SessionID != k.grant.Claims.SessionID || len(cookies) != 2 {
				t.Errorf("cookies %v: %+v, %v", cookies, c, err)
			}
			if got := res.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" {
				t.Errorf("Cache-Control: %q", got)
			}
			if got := a.rec.count(refresh.EventInvalidToken) > 0; got != tt.event {
				t.Errorf("event %v, want %v", got, tt.event)
			}
		})
	}
}

// TestRefusalsTouchNoCookies: a late loser must not wipe a fresh login.
func TestRefusalsTouchNoCookies(t *testing.T) {
	logout := func(a *app, k tokens) {
		serve(a.Handler("/auth"), k.request("POST", "/auth/logout", all))
	}
	for _, tt := range []struct {
		name    string
		spoil   func(a *app, k tokens)
		cookies string
		header  string
	}{
		{"signed out", logout, all, "X-A: b"},
		{"signed out, the access token is gone", logout, expired, "X-A: b"},
		{"of yesterday", func(*app, tokens) { time.Sleep(25 * time.Hour) }, all, "X-A: b"},
		{"of another device", func(*app, tokens) {}, "refresh", "X-A: b"},
		{"of root secrets that are gone", func(a *app, _ tokens) { a.replaceKeys(true) }, all, "X-A: b"},
		{"two refresh cookies", func(*app, tokens) {}, expired, "Cookie: __Host-refresh=planted"},
		{"reused", func(a *app, k tokens) {
			next := serve(a.RequireAuth(greet), k.request("GET", "/", expired)).Cookies()
			time.Sleep(2 * time.Minute)
			if _, err := a.sessions.Verify(next[1].Value); err != nil {
				a.t.Error(err)
			}
			synctest.Wait() // the store has heard that generation 1 settled
		}, expired, "X-A: b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				a := newApp(t)
				k := a.login("alice")
				tt.spoil(a, k)
				res := serve(a.RequireAuth(greet), k.request("GET", "/", tt.cookies, tt.header))
				if res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
					t.Errorf("%d %v", res.StatusCode, res.Header)
				}
				if len(res.Header.Values("Set-Cookie")) > 0 || res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("header %v", res.Header)
				}
				if res := serve(a.OptionalAuth(greet), k.request("GET", "/", tt.cookies, tt.header)); text(res) != "nobody" || len(res.Header.Values("Set-Cookie")) > 0 {
					t.Errorf("optional: %v", res.Header)
				}
			})
		})
	}
}

// slow is a store that takes its time to rotate.
type slow struct{ family.Store }

func (s slow) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	select {
	case <-time.After(time.Second):
		return s.Store.Rotate(ctx, p)
	case <-ctx.Done():
		return family.Verdict{}, fmt.Errorf("%w: %w", refresh.ErrUnavailable, ctx.Err())
	}
}

// TestARequestsOwnDeadlineSaysNothingOfItsSession: a client that is told 401
// would throw its session away.
func TestARequestsOwnDeadlineSaysNothingOfItsSession(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t)
		k := a.login("alice")
		auth := newAuth(t, middleware.Config{Sessions: a.service(slow{a.store}), LoginPath: "/login"})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		first := make(chan *http.Response)
		go func() { first <- serve(auth.RequireAuth(greet), k.request("GET", "/", expired)) }()
		synctest.Wait()
		res := serve(auth.RequireAuth(greet), k.request("GET", "/", expired, "Sec-Fetch-Mode: navigate").WithContext(ctx))
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
			t.Errorf("while another request renews: %d %v", res.StatusCode, res.Header)
		}
		if res := <-first; res.StatusCode != 200 || a.store.rotations.Load() != 1 {
			t.Errorf("the other: %d after %d rotations", res.StatusCode, a.store.rotations.Load())
		}
		// One that renews sees it through; one that is over does not begin.
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if res := serve(auth.RequireAuth(greet), k.request("GET", "/", expired).WithContext(ctx)); res.StatusCode != 200 {
			t.Errorf("while it renews by itself: %d %v", res.StatusCode, res.Header)
		}
		if res := serve(auth.RequireAuth(greet), k.request("GET", "/", expired).WithContext(ctx)); res.StatusCode != 503 || len(res.Cookies()) > 0 {
			t.Errorf("after its deadline: %d %v", res.StatusCode, res.Header)
		}
	})
}

// TestALiveRouteAsksForItself: what parallel requests share may be older than a
// revocation elsewhere that this instance has not heard of.
func TestALiveRouteAsksForItself(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t)
		k := a.login("alice")
		auth := newAuth(t, middleware.Config{Sessions: a.service(slow{a.store}), LoginPath: "/login"})
		first := make(chan *http.Response)
		for range 2 {
			go func() { first <- serve(auth.RequireAuth(greet), k.request("GET", "/", expired)) }()
		}
		time.Sleep(time.Second + 100*time.Microsecond) // the answer is there, and shared
		if err := a.sessions.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll); err != nil {
			t.Fatal(err)
		}
		if res := serve(auth.RequireLive(greet), k.request("GET", "/", expired)); res.StatusCode != 401 || len(res.Cookies()) > 0 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		<-first
		<-first
		if n := a.store.rotations.Load(); n != 1 {
			t.Errorf("%d rotations: nothing was shared", n)
		}
	})
}

// TestWhatReliesOnNoCookiesHasNoOrigin: cross-origin defence is for requests
// that a browser equips with cookies by itself.
func TestWhatReliesOnNoCookiesHasNoOrigin(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	for _, tt := range []struct {
		name               string
		cookies            string
		required, optional int
	}{
		{"no cookies", "", 401, 200},
		{"a device cookie, which opens nothing", "device", 401, 200},
		{"an access cookie", "access device", 403, 403},
		{"a refresh cookie", expired, 403, 403},
	} {
		r := k.request("POST", "/", tt.cookies, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example")
		before := a.rec.count(refresh.EventCrossOrigin)
		if res := serve(a.RequireAuth(greet), r); res.StatusCode != tt.required {
			t.Errorf("%s: %d, want %d", tt.name, res.StatusCode, tt.required)
		}
		if res := serve(a.OptionalAuth(greet), r); res.StatusCode != tt.optional {
			t.Errorf("%s, optional: %d, want %d", tt.name, res.StatusCode, tt.optional)
		}
		if got := a.rec.count(refresh.EventCrossOrigin) > before; got != (tt.required == 403) {
			t.Errorf("%s: event %v", tt.name, got)
		}
	}
}

// TestOptionalAuthAsksTheStoreToo: with Live, a session that the store denies
// counts as none, like any other credentials that are no good.
func TestOptionalAuthAsksTheStoreToo(t *testing.T) {
	a := newApp(t, func(c *middleware.Config) { c.Live = true })
	k := a.login("alice")
	optional := a.OptionalAuth(greet)
	if res := serve(optional, k.request("GET", "/", "access")); text(res) != "alice" {
		t.Errorf("alive: %d", res.StatusCode)
	}
	a.store.away.Store(true)
	if res := serve(optional, k.request("GET", "/", "access")); res.StatusCode != 200 || text(res) != "nobody" {
		t.Errorf("the store is away: %d", res.StatusCode)
	}
	a.store.away.Store(false)
	revokeElsewhere(t, a, family.ID{})
	if res := serve(optional, k.request("GET", "/", "access")); res.StatusCode != 200 || text(res) != "nobody" {
		t.Errorf("revoked: %d", res.StatusCode)
	}
	for name, header := range map[string]string{
		"the header alone decides": "Authorization: Bearer nonsense",
	} {
		if res := serve(optional, k.request("GET", "/", all, header)); res.StatusCode != 200 || text(res) != "nobody" {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

// TestOptionalAuthInsideAnotherGuard leaves the session that the outer guard
// vouched for.
func TestOptionalAuthInsideAnotherGuard(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	live := newAuth(t, middleware.Config{Sessions: a.sessions, Live: true})
	a.store.away.Store(true)
	if res := serve(a.RequireAuth(live.OptionalAuth(greet)), k.request("GET", "/", all)); res.StatusCode != 200 || text(res) != "alice" {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestOutageGraceEnds(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *middleware.Config) { c.OutageGrace = 10 * time.Minute })
		k := a.login("alice")
		a.store.away.Store(true)
		h := a.RequireAuth(greet)
		time.Sleep(19 * time.Minute)
		if res := serve(h, k.request("GET", "/", all)); res.StatusCode != 200 {
			t.Errorf("nine minutes after the token's end: %d", res.StatusCode)
		}
		if res := serve(a.RequireLive(greet), k.request("GET", "/", all)); res.StatusCode != 503 {
			t.Errorf("a route that wants the store's word: %d", res.StatusCode)
		}
		time.Sleep(2 * time.Minute)
		if res := serve(h, k.request("GET", "/", all)); res.StatusCode != 503 || len(res.Cookies()) > 0 {
			t.Errorf("eleven minutes after: %d", res.StatusCode)
		}
	})
}

// TestHandlersThatSignOutEverywhere, and in other ways than through the Auth
// that guards them: the last word in the response is theirs.
func TestHandlersThatSignOutEverywhere(t *testing.T) {
	a := newApp(t)
	for name, h := range map[string]http.Handler{
		"logout-all":         a.Handler("/auth"),
		"logout-all, nested": a.RequireAuth(a.Handler("/auth")),
	} {
		t.Run(name, func(t *testing.T) {
			k, tablet := a.login("alice"), a.login("alice")
			res := serve(h, k.request("POST", "/auth/logout-all", expired))
			cookies := set(t, res.Header)
			if res.StatusCode != 204 || len(cookies) != 3 || cookies["__Host-access"]+cookies["__Host-refresh"]+cookies["__Host-browser"] != "" {
				t.Errorf("%d, cookies %v", res.StatusCode, cookies)
			}
			if res := serve(a.RequireAuth(greet), tablet.request("GET", "/", all)); res.StatusCode != 401 {
				t.Errorf("another session: %d", res.StatusCode)
			}
		})
	}
}

func TestALoginInsideARenewalIsTheOneThatCounts(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "bob"}); err != nil {
			t.Error(err)
		}
	})), k.request("POST", "/", expired))
	next := tokens{cookies: make(map[string]string)}
	for name, value := range set(t, res.Header) {
		next.cookies[strings.TrimPrefix(name, "__Host-")] = value
	}
	for _, cookies := range []string{all, expired} {
		if res := serve(a.RequireAuth(greet), next.request("GET", "/", cookies)); text(res) != "bob" {
			t.Errorf("with %s: %d", cookies, res.StatusCode)
		}
	}
}

// An app that knows the user by other means signs them in, and passes the request on
// with the new cookies, but for the access token.
func TestALoginBeforeAGuardIsKept(t *testing.T) {
	a := newApp(t)
	guarded := a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		greet(w, r)
	}))
	res := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			t.Error(err)
		}
		for _, c := range (&http.Response{Header: w.Header()}).Cookies() {
			if c.Name != "__Host-access" {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
		}
		guarded.ServeHTTP(w, r)
	}), httptest.NewRequest("GET", "/", nil))
	count := make(map[string]int)
	for _, c := range res.Cookies() {
		count[c.Name]++
	}
	if len(count) != 4 || len(res.Cookies()) != 4 || res.Header.Get("Cache-Control") != "no-store" || text(res) != "alice" {
		t.Errorf("%d, cookies %v, Cache-Control %q", res.StatusCode, count, res.Header.Get("Cache-Control"))
	}
}

// TestALoginByAnotherServiceCountsToo, although the one that renewed the
// session does not know that it was revoked.
func TestALoginByAnotherServiceCountsToo(t *testing.T) {
	a := newApp(t)
	other, err := middleware.New(middleware.Config{Sessions: a.service(a.store)})
	if err != nil {
		t.Fatal(err)
	}
	k := a.login("alice")
	var bob *refresh.Grant
	res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if bob, err = other.Login(w, r, refresh.Login{Subject: "bob"}); err != nil {
			t.Error(err)
		}
	})), k.request("POST", "/", expired))
	if cookies := set(t, res.Header); cookies["__Host-refresh"] != bob.RefreshToken || cookies["__Host-access"] != bob.AccessToken {
		t.Errorf("cookies %v", cookies)
	}
}

// TestStrippedCookies: the handler's own have to survive to the letter, and
// signing out has to work without the kit's.
func TestStrippedCookies(t *testing.T) {
	a := newApp(t, func(c *middleware.Config) { c.HideTokens = true })
	k := a.login("alice")
	r := k.request("GET", "/", all)
	r.Header.Add("Cookie", `a="quoted, value";b={"json":1}; flag`)
	r.Header.Add("Cookie", "__Host-access="+k.cookies["access"])
	res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q", r.Header["Cookie"])
	})), r)
	if want := fmt.Sprintf("%q", []string{`a="quoted, value"; b={"json":1}; flag`}); text(res) != want {
		t.Errorf("the handler sees other cookies than %s", want)
	}
	res = serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.Header["Cookie"]), r.Header.Get("X-A"))
	})), k.request("GET", "/", all, "X-A: b"))
	if got := text(res); got != "0b" {
		t.Errorf("the handler sees %q", got)
	}

	for _, cookies := range []string{all, expired} {
		k := a.login("alice")
		res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := a.Logout(w, r); err != nil {
				t.Error(err)
			}
		})), k.request("POST", "/", cookies))
		if got := set(t, res.Header); len(got) != 3 || got["__Host-refresh"] != "" {
			t.Errorf("cookies %v", got)
		}
		if res := serve(a.RequireAuth(greet), k.request("GET", "/", all)); res.StatusCode != 401 {
			t.Errorf("signed out with %s: %d", cookies, res.StatusCode)
		}
	}
}

// TestAPanickingHandlerLosesNoSession: the page that says so brings the cookies,
// and if it does not arrive that is one lost response more.
func TestAPanickingHandlerLosesNoSession(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	broken := a.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken") }))
	recovered := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
			http.Error(w, "broken", 500)
		}()
		broken.ServeHTTP(w, r)
	})
	if res := serve(recovered, k.request("GET", "/", expired)); res.StatusCode != 500 || len(res.Cookies()) != 2 {
		t.Errorf("%d %v", res.StatusCode, res.Cookies())
	}
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 200 || len(res.Cookies()) != 2 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

// TestTokensThatOutgrowACookie are an error of the app, which no retry helps; the
// session stays as it was.
func TestTokensThatOutgrowACookie(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	issuer, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: a.ring, Now: a.now})
	if err != nil {
		t.Fatal(err)
	}
	fat, err := refresh.New(refresh.Config{Access: issuer, Store: a.store, Events: a.rec, Claims: func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
		return refresh.SubjectClaims{Custom: map[string]string{"bulk": strings.Repeat("x", 4000)}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer fat.Close()
	h := newAuth(t, middleware.Config{Sessions: fat}).RequireAuth(greet)
	for range 2 {
		if res := serve(h, k.request("GET", "/", expired)); res.StatusCode != 500 || len(res.Header.Values("Set-Cookie"))+len(res.Header.Values("Retry-After")) > 0 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	}
	if a.rec.count(refresh.EventCannotIssue) != 2 {
		t.Error("nobody hears of it")
	}
}

func TestCustomFitsOrFails(t *testing.T) {
	a := newApp(t)
	k := a.login("admin")
	ctx := middleware.NewContext(t.Context(), k.grant.Claims)
	if v, err := middleware.Custom[struct{ Tenant string }](ctx); err != nil || v.Tenant != "acme" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := middleware.Custom[struct{ Tenant int }](ctx); !errors.Is(err, access.ErrClaims) || v.Tenant != 0 {
		t.Errorf("a member of another type: %+v, %v", v, err)
	}
	if _, err := middleware.Custom[struct{}](t.Context()); !errors.Is(err, access.ErrClaims) {
		t.Errorf("no session: %v", err)
	}
}
