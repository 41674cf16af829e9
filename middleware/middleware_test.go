package middleware_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// counting is a store that counts its calls and can be away.
type counting struct {
	family.Store
	calls     atomic.Int64
	rotations atomic.Int64
	away      atomic.Bool
}

func (c *counting) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	c.calls.Add(1)
	if c.away.Load() {
		return family.Verdict{}, refresh.ErrUnavailable
	}
	v, err := c.Store.Rotate(ctx, p)
	if v.Outcome == family.Rotated {
		c.rotations.Add(1)
	}
	return v, err
}

func (c *counting) Find(ctx context.Context, s family.Subject, id family.ID, now time.Time) (family.Record, error) {
	c.calls.Add(1)
	if c.away.Load() {
		return family.Record{}, refresh.ErrUnavailable
	}
	return c.Store.Find(ctx, s, id, now)
}

func (c *counting) SetData(ctx context.Context, s family.Subject, id family.ID, data string, now time.Time) (family.Record, error) {
	c.calls.Add(1)
	if c.away.Load() {
		return family.Record{}, refresh.ErrUnavailable
	}
	return c.Store.SetData(ctx, s, id, data, now)
}

func (c *counting) Bind(ctx context.Context, req family.BindRequest) (family.Verdict, error) {
	c.calls.Add(1)
	if c.away.Load() {
		return family.Verdict{}, refresh.ErrUnavailable
	}
	return c.Store.Bind(ctx, req)
}

// app is a kit under test.
type app struct {
	*middleware.Auth
	t        testing.TB
	sessions *refresh.Sessions
	ring     *access.KeyRing
	keys     access.Keys
	store    *counting
	rec      *recorder
	ahead    atomic.Int64 // of the kit's clock
}

// freshTime is for how long a generation is not rotated, and a second.
const freshTime = 46 * time.Second

func (a *app) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

type recorder struct {
	mu     sync.Mutex
	events map[refresh.EventKind]int
}

func (r *recorder) HandleEvent(_ context.Context, e refresh.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil {
		r.events = make(map[refresh.EventKind]int)
	}
	r.events[e.Kind]++
}

func (r *recorder) of(kind refresh.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[kind]
}

func newApp(t testing.TB, change ...func(*middleware.Config)) *app {
	t.Helper()
	a := &app{t: t, rec: new(recorder)}
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.keys, err = access.GenerateKeys(access.EdDSA)
	check()
	a.ring, err = access.NewKeyRing(a.keys)
	check()
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: a.ring, Now: a.now})
	check()
	memory, err := family.NewMemoryStore(family.MemoryConfig{})
	check()
	a.store = &counting{Store: memory}
	a.sessions, err = refresh.New(refresh.Config{Access: tokens, Store: a.store, Events: a.rec, Claims: func(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
		if q.Subject == "admin" {
			return refresh.SubjectClaims{Roles: []string{"admin"}, Scopes: []string{"read", "write"}, Custom: map[string]string{"tenant": "acme"}}, nil
		}
		if q.Data != "" {
			return refresh.SubjectClaims{Scopes: []string{"read"}, Custom: map[string]string{"tenant": q.Data}}, nil
		}
		return refresh.SubjectClaims{Scopes: []string{"read"}}, nil
	}})
	check()
	t.Cleanup(func() { a.sessions.Close() })
	cfg := middleware.Config{Sessions: a.sessions, LoginPath: "/login"}
	for _, f := range change {
		f(&cfg)
	}
	a.Auth, err = middleware.New(cfg)
	check()
	return a
}

// tokens are what a browser or app has after a login.
type tokens struct {
	grant   *refresh.Grant
	cookies map[string]string
}

func (a *app) login(subject string) tokens {
	a.t.Helper()
	w := httptest.NewRecorder()
	g, err := a.Login(w, httptest.NewRequest("POST", "/login", nil), refresh.Login{Subject: subject})
	if err != nil {
		a.t.Fatal(err)
	}
	k := tokens{g, make(map[string]string)}
	for _, c := range w.Result().Cookies() {
		k.cookies[strings.TrimPrefix(c.Name, "__Host-")] = c.Value
	}
	a.ahead.Add(int64(freshTime))
	return k
}

// request makes a request with some of the cookies, and "Name: value" headers.
func (k tokens) request(method, target, cookies string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for _, name := range strings.Fields(cookies) {
		r.AddCookie(&http.Cookie{Name: "__Host-" + name, Value: k.cookies[name]})
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	all     = "access refresh device browser"
	expired = "refresh device browser" // the access cookie has run out
)

// greet says who is there.
var greet = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if c, ok := middleware.Session(r.Context()); ok {
		fmt.Fprint(w, c.Subject)
		return
	}
	fmt.Fprint(w, "nobody")
})

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	good := newApp(t)
	for field, cfg := range map[string]middleware.Config{
		"Sessions":    {},
		"LoginPath":   {Sessions: good.sessions, LoginPath: "https://evil.example/"},
		"OutageGrace": {Sessions: good.sessions, OutageGrace: -1},
		"Live":        {Sessions: good.sessions, Live: true, OutageGrace: time.Minute},
	} {
		if _, err := middleware.New(cfg); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%v, want an error that names Config.%s", err, field)
		}
	}
	if _, err := middleware.New(middleware.Config{Sessions: good.sessions, LoginPath: "/login?x=1"}); err == nil {
		t.Error("a LoginPath with a query is accepted")
	}
}

func TestWhatARequestGets(t *testing.T) {
	a := newApp(t)
	alice, bob := a.login("alice"), a.login("bob")
	bearer := "Authorization: Bearer " + alice.grant.AccessToken
	damaged := tokens{alice.grant, map[string]string{"access": alice.cookies["access"] + "x", "refresh": alice.cookies["refresh"], "device": alice.cookies["device"], "browser": alice.cookies["browser"]}}
	mixed := tokens{alice.grant, map[string]string{"access": alice.cookies["access"], "refresh": bob.cookies["refresh"], "device": bob.cookies["device"], "browser": bob.cookies["browser"]}}
	forged := tokens{alice.grant, map[string]string{"refresh": alice.cookies["refresh"] + "AAAA", "device": alice.cookies["device"]}}
	for _, tt := range []struct {
		name      string
		r         *http.Request
		status    int
		who       string
		challenge string
		renewed   bool
	}{
		{"a valid access cookie", alice.request("GET", "/", all), 200, "alice", "", false},
		{"a valid Bearer token", alice.request("GET", "/", "", bearer), 200, "alice", "", false},
		{"the header alone decides, for good", bob.request("GET", "/", all, bearer), 200, "alice", "", false},
		{"the header alone decides, for bad", alice.request("GET", "/", all, "Authorization: Bearer x"), 401, "", `Bearer error="invalid_token"`, false},
		{"credentials of a proxy", alice.request("GET", "/", all, "Authorization: Basic eDp5"), 200, "alice", "", false},
		{"an empty header", alice.request("GET", "/", all, "Authorization: "), 200, "alice", "", false},
		{"credentials of a proxy alone", alice.request("GET", "/", "", "Authorization: Negotiate abc"), 401, "", "Bearer", false},
		{"several spaces", alice.request("GET", "/", "", "Authorization: Bearer   "+alice.grant.AccessToken), 200, "alice", "", false},
		{"a repeated header", alice.request("GET", "/", "", bearer, bearer), 400, "", `Bearer error="invalid_request", error_description="The access token was sent more than once."`, false},
		{"header and query", alice.request("GET", "/?access_token=x", "", bearer), 400, "", `Bearer error="invalid_request", error_description="The access token was sent more than once."`, false},
		{"header and query, the name encoded", alice.request("GET", "/?%61ccess%5Ftoken=x", "", bearer), 400, "", `Bearer error="invalid_request"`, false},
		{"header and query, without a value", alice.request("GET", "/?a=b&access_token", "", bearer), 400, "", `Bearer error="invalid_request"`, false},
		{"header and query, a value that is no encoding", alice.request("GET", "/?access_token=%zz", "", bearer), 400, "", `Bearer error="invalid_request"`, false},
		{"header and query, behind a semicolon", alice.request("GET", "/?a=b;access_token=x", "", bearer), 400, "", `Bearer error="invalid_request"`, false},
		{"another parameter beside the header", alice.request("GET", "/?my_access_token=x&access_tokens=access_token&%zz", "", bearer), 200, "alice", "", false},
		{"a token in the query", alice.request("GET", "/?access_token="+alice.grant.AccessToken, ""), 401, "", "Bearer", false},
		{"nothing", alice.request("GET", "/", ""), 401, "", "Bearer", false},
		{"a device cookie alone", alice.request("GET", "/", "device"), 401, "", "Bearer", false},
		{"the access cookie is absent", alice.request("GET", "/", expired), 200, "alice", "", true},
		{"the access cookie is damaged", damaged.request("GET", "/", all), 200, "alice", "", true},
		{"cookies of two users: the access cookie says who", mixed.request("GET", "/", all), 200, "alice", "", false},
		{"a forged refresh cookie", forged.request("GET", "/", expired), 401, "", `Bearer error="invalid_token"`, false},
		{"no device cookie", alice.request("GET", "/", "refresh"), 401, "", `Bearer error="invalid_token"`, false},
		{"another user agent", alice.request("GET", "/", all, "User-Agent: other"), 200, "alice", "", false},
		{"HEAD", alice.request("HEAD", "/", expired), 200, "alice", "", true},
		{"an unsafe method", alice.request("DELETE", "/", expired), 200, "alice", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(a.RequireAuth(greet), tt.r)
			body := text(res)
			if res.StatusCode != tt.status || tt.status == 200 && body != tt.who {
				t.Fatalf("%d %s, want %d %s", res.StatusCode, body, tt.status, tt.who)
			}
			if got := res.Header.Get("WWW-Authenticate"); tt.challenge == "Bearer" && got != "Bearer" || !strings.HasPrefix(got, tt.challenge) || tt.challenge == "" && got != "" {
				t.Errorf("WWW-Authenticate: %q", got)
			}
			if n := len(res.Cookies()); tt.renewed && n != 2 || !tt.renewed && n != 0 {
				t.Errorf("cookies %v", res.Cookies())
			}
			if (tt.renewed || tt.status >= 400) && res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control: %q", res.Header.Get("Cache-Control"))
			}
			if tt.status >= 400 && !strings.HasPrefix(body, `{"error":"`) {
				t.Errorf("body %q", body)
			}
		})
	}
	if a.store.rotations.Load() != 1 {
		t.Errorf("%d rotations, want 1 and replays", a.store.rotations.Load())
	}
}

func TestValidTokensCostNoStoreCall(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	before := a.store.calls.Load()
	h := a.RequireAuth(greet)
	for range 10 {
		serve(h, k.request("GET", "/", all))
		serve(h, k.request("GET", "/", "", "Authorization: Bearer "+k.grant.AccessToken))
	}
	if n := a.store.calls.Load() - before; n != 0 {
		t.Errorf("%d store calls", n)
	}
}

func TestCrossOriginRequests(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	for _, tt := range []struct {
		name   string
		method string
		header string
		ok     bool
	}{
		{"no browser", "POST", "X-A: b", true},
		{"same origin", "POST", "Sec-Fetch-Site: same-origin", true},
		{"typed into the address bar", "POST", "Sec-Fetch-Site: none", true},
		{"same site, another origin", "POST", "Sec-Fetch-Site: same-site", false},
		{"another site", "POST", "Sec-Fetch-Site: cross-site", false},
		{"an odd value", "POST", "Sec-Fetch-Site: Same-Origin", false},
		{"an older browser, same origin", "POST", "Origin: http://example.com", true},
		{"an older browser, another origin", "POST", "Origin: https://evil.example", false},
		{"an opaque origin", "POST", "Origin: null", false},
		{"another site, PUT", "PUT", "Sec-Fetch-Site: cross-site", false},
		{"another site, DELETE", "DELETE", "Sec-Fetch-Site: cross-site", false},
		{"an unknown method", "PROPFIND", "Sec-Fetch-Site: cross-site", false},
		{"another site, GET", "GET", "Sec-Fetch-Site: cross-site", true},
		{"a WebSocket, same origin", "GET", "Upgrade: websocket|Origin: http://example.com", true},
		{"a WebSocket, another origin", "GET", "Upgrade: websocket|Origin: https://evil.example", false},
		{"a WebSocket, an opaque origin", "GET", "Upgrade: WebSocket|Origin: null", false},
		{"a WebSocket, no browser", "GET", "Upgrade: websocket", true},
		{"another site, HEAD", "HEAD", "Sec-Fetch-Site: cross-site", true},
	} {
		for _, cookies := range []string{all, expired} {
			t.Run(tt.name+" with "+cookies, func(t *testing.T) {
				before := a.store.calls.Load()
				res := serve(a.RequireAuth(greet), k.request(tt.method, "/", cookies, strings.Split(tt.header, "|")...))
				if want := map[bool]int{true: 200, false: 403}[tt.ok]; res.StatusCode != want {
					t.Errorf("status %d, want %d", res.StatusCode, want)
				}
				if !tt.ok && (a.store.calls.Load() != before || len(res.Cookies()) > 0) {
					t.Error("something was renewed before the refusal")
				}
			})
		}
	}
	res := serve(a.RequireAuth(greet), k.request("POST", "/", "", "Authorization: Bearer "+k.grant.AccessToken, "Sec-Fetch-Site: cross-site"))
	if res.StatusCode != 200 {
		t.Errorf("a Bearer token, which no browser sends by itself: %d", res.StatusCode)
	}
	if res := serve(a.OptionalAuth(greet), k.request("POST", "/", all, "Sec-Fetch-Site: cross-site")); res.StatusCode != 403 {
		t.Errorf("optional: %d", res.StatusCode)
	}
	if res := serve(a.SameOrigin(greet), k.request("POST", "/", "", "Sec-Fetch-Site: cross-site")); res.StatusCode != 403 {
		t.Errorf("SameOrigin: %d", res.StatusCode)
	}
	if res := serve(a.SameOrigin(greet), k.request("POST", "/", "")); res.StatusCode != 200 {
		t.Errorf("SameOrigin: %d", res.StatusCode)
	}
}

func TestTheStoreIsAway(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	a.store.away.Store(true)
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", all)); res.StatusCode != 200 {
		t.Errorf("a valid access token: %d", res.StatusCode)
	}
	res := serve(a.RequireAuth(greet), k.request("GET", "/", expired, "Accept: text/html"))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
		t.Errorf("a renewal: %d %v", res.StatusCode, res.Header)
	}
	if res := serve(a.OptionalAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 200 || text(res) != "nobody" {
		t.Errorf("optional: %d", res.StatusCode)
	}
	if res := serve(a.RequireLive(greet), k.request("GET", "/", all)); res.StatusCode != 503 {
		t.Errorf("live: %d", res.StatusCode)
	}
	a.store.away.Store(false)
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

func TestAnswersForPagesAndFragments(t *testing.T) {
	a := newApp(t)
	none := tokens{}
	for _, tt := range []struct {
		name     string
		method   string
		target   string
		headers  []string
		status   int
		location string
		hx       string
	}{
		{"a navigation", "GET", "/account?x=1&y=/", []string{"Sec-Fetch-Mode: navigate"}, 303, "/login?return_to=%2Faccount%3Fx%3D1%26y%3D%2F", ""},
		{"a navigation of an older browser", "GET", "/account", []string{"Accept: text/html,*/*"}, 303, "/login?return_to=%2Faccount", ""},
		{"a form: it cannot be sent again", "POST", "/account", []string{"Sec-Fetch-Mode: navigate"}, 303, "/login", ""},
		{"a script that accepts anything", "GET", "/account", []string{"Accept: */*"}, 401, "", ""},
		{"a script that accepts HTML", "GET", "/account", []string{"Sec-Fetch-Mode: cors", "Accept: text/html"}, 401, "", ""},
		{"a path that looks like a host", "GET", "//evil.example/", []string{"Sec-Fetch-Mode: navigate"}, 303, "/login", ""},
		{"HTMX", "GET", "/fragment", []string{"HX-Request: true", "HX-Current-URL: http://example.com/page?a=b"}, 401, "", "/login?return_to=%2Fpage%3Fa%3Db"},
		{"HTMX, from a page elsewhere", "GET", "/fragment", []string{"HX-Request: true", "HX-Current-URL: http://evil.example/page"}, 401, "", "/login"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(a.RequireAuth(greet), none.request(tt.method, tt.target, "", tt.headers...))
			if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location || res.Header.Get("HX-Redirect") != tt.hx {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
		})
	}
	api := newApp(t, func(c *middleware.Config) { c.LoginPath = "" })
	if res := serve(api.RequireAuth(greet), none.request("GET", "/", "", "Sec-Fetch-Mode: navigate")); res.StatusCode != 401 {
		t.Errorf("an app without a sign-in page: %d", res.StatusCode)
	}
}

func TestOptionalAuth(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		who    string
	}{
		{"signed in", k.request("GET", "/", all), 200, "alice"},
		{"renewed", k.request("GET", "/", expired), 200, "alice"},
		{"nobody", k.request("GET", "/", ""), 200, "nobody"},
		{"a bad token is none", k.request("GET", "/", "", "Authorization: Bearer x"), 200, "nobody"},
		{"a malformed request is refused", k.request("GET", "/", "", "Authorization: Bearer x", "Authorization: Bearer y"), 400, ""},
	} {
		res := serve(a.OptionalAuth(greet), tt.r)
		if body := text(res); res.StatusCode != tt.status || tt.who != "" && body != tt.who {
			t.Errorf("%s: %d %s", tt.name, res.StatusCode, body)
		}
	}
}

func TestGuards(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t)
		admin, user := a.login("admin"), a.login("bob")
		for _, tt := range []struct {
			name        string
			guard       func(http.Handler) http.Handler
			admin, user int
			challenge   string
		}{
			{"a role", a.RequireRole("admin"), 200, 403, `Bearer error="insufficient_scope"`},
			{"one of several roles", a.RequireRole("root", "admin"), 200, 403, ""},
			{"no role is no way in", a.RequireRole(), 403, 403, ""},
			{"a scope", a.RequireScope("write"), 200, 403, `scope="write"`},
			{"a scope that all have", a.RequireScope("read"), 200, 200, ""},
			{"a part of a scope", a.RequireScope("rea"), 403, 403, ""},
			{"all of several scopes", a.RequireScope("read", "write"), 200, 403, `scope="read write"`},
			{"a scope outside the grammar", a.RequireScope(`re"ad`), 403, 403, ""},
			{"a recent sign-in", a.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute}), 200, 200, ""},
			{"a context that nobody has", a.RequireStepUp(middleware.StepUp{ACR: []string{"gold", "silver"}, MaxAge: time.Hour}), 401, 401, `error="insufficient_user_authentication", error_description="Sign in again to do this.", acr_values="gold silver", max_age="3600"`},
		} {
			for _, who := range []struct {
				k    tokens
				want int
			}{{admin, tt.admin}, {user, tt.user}} {
				res := serve(tt.guard(greet), who.k.request("GET", "/", all))
				if res.StatusCode != who.want {
					t.Errorf("%s for %s: %d, want %d", tt.name, who.k.grant.Claims.Subject, res.StatusCode, who.want)
				}
				if res.StatusCode != 200 && !strings.Contains(res.Header.Get("WWW-Authenticate"), tt.challenge) {
					t.Errorf("%s: %q", tt.name, res.Header.Get("WWW-Authenticate"))
				}
			}
			if res := serve(tt.guard(greet), user.request("GET", "/", "")); res.StatusCode != 401 {
				t.Errorf("%s without a session: %d", tt.name, res.StatusCode)
			}
		}
		if a.rec.of(refresh.EventForbidden) == 0 {
			t.Error("nobody hears of refusals")
		}

		// A session that is renewed is not a sign-in.
		recent := a.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})
		time.Sleep(6 * time.Minute)
		res := serve(recent(greet), user.request("GET", "/", expired))
		if res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), `max_age="300"`) || len(res.Cookies()) != 2 {
			t.Errorf("six minutes later: %d %v", res.StatusCode, res.Header)
		}
		res = serve(recent(greet), user.request("GET", "/pay", all, "Sec-Fetch-Mode: navigate"))
		if res.StatusCode != 303 || res.Header.Get("Location") != "/login?return_to=%2Fpay" {
			t.Errorf("a page: %d %v", res.StatusCode, res.Header)
		}
	})
}

func TestNestedGuardsRenewOnce(t *testing.T) {
	a := newApp(t)
	k := a.login("admin")
	h := a.RequireAuth(a.RequireRole("admin")(a.OptionalAuth(greet)))
	before := a.store.calls.Load()
	if res := serve(h, k.request("GET", "/", expired)); text(res) != "admin" || len(res.Cookies()) != 2 || a.store.calls.Load() != before+1 {
		t.Errorf("%d store calls, cookies %v", a.store.calls.Load()-before, res.Cookies())
	}
	// The session of another app in the same program is no session here.
	other := newApp(t)
	tokens, err := access.New(access.Config{Issuer: "https://other.example", Audience: "app", Keys: other.ring})
	if err != nil {
		t.Fatal(err)
	}
	_, claims, err := tokens.Issue(access.Claims{Subject: "mallory", SessionID: "AAAAAAAAAAAAAAAAAAAAAA", AuthTime: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	if res := serve(a.RequireAuth(greet), r.WithContext(middleware.NewContext(r.Context(), claims))); res.StatusCode != 401 {
		t.Errorf("another issuer's session passes: %d", res.StatusCode)
	}
}

func TestHandlersThatSignInAndOut(t *testing.T) {
	a := newApp(t)
	deleted := func(c *http.Cookie) bool { return c.MaxAge < 0 }
	for _, tt := range []struct {
		name string
		do   func(w http.ResponseWriter, r *http.Request) error
		want func(*http.Cookie) bool
	}{
		{"logout", func(w http.ResponseWriter, r *http.Request) error { return a.Logout(w, r) }, deleted},
		{"login", func(w http.ResponseWriter, r *http.Request) error {
			_, err := a.Login(w, r, refresh.Login{Subject: "bob"})
			return err
		}, func(c *http.Cookie) bool { return !deleted(c) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := a.login("alice")
			res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := tt.do(w, r); err != nil {
					t.Error(err)
				}
			})), k.request("POST", "/", expired))
			seen := make(map[string]int)
			for _, c := range res.Cookies() {
				seen[c.Name]++
				if c.Name != "__Host-device" && !tt.want(c) {
					t.Errorf("cookie %s", c)
				}
			}
			if seen["__Host-refresh"] != 1 || seen["__Host-access"] != 1 {
				t.Errorf("cookies %v", seen)
			}
			if res := serve(a.RequireAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 401 {
				t.Errorf("the old session: %d", res.StatusCode)
			}
		})
	}
}

func TestLateResponsesWriteNoCookies(t *testing.T) {
	for _, tt := range []struct {
		name    string
		work    func(a *app, r *http.Request)
		cookies int
	}{
		{"in time", func(a *app, r *http.Request) { time.Sleep(29 * time.Second) }, 2},
		{"so old that it could settle before a crash", func(a *app, r *http.Request) { time.Sleep(31 * time.Second) }, 0},
		{"overtaken meanwhile by another tab", func(a *app, r *http.Request) {
			time.Sleep(2 * time.Second)
			other := serve(a.RequireAuth(greet), r.Clone(context.Background()))
			jar := httptest.NewRequest("POST", "/refresh", nil)
			for _, c := range append(other.Cookies(), r.Cookies()...) {
				if c.Name != "__Host-refresh" || c.Value != r.Cookies()[0].Value {
					jar.AddCookie(c)
				}
			}
			value, _ := jar.Cookie("__Host-refresh")
			a.ahead.Add(int64(freshTime))
			if g, err := a.sessions.Refresh(context.Background(), value.Value, a.BrowserClient(jar)); err != nil || g.Claims.Generation != 2 {
				a.t.Errorf("the other tab refreshes: %v, %v", g, err)
			}
		}, 0},
		{"while the store is away", func(a *app, r *http.Request) {
			time.Sleep(2 * time.Second)
			a.store.away.Store(true)
		}, 0},
		{"revoked meanwhile", func(a *app, r *http.Request) {
			if err := a.sessions.RevokeAll(context.Background(), "alice", family.ReasonLogoutAll); err != nil {
				a.t.Error(err)
			}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				a := newApp(t)
				k := a.login("alice")
				res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					tt.work(a, r)
					w.WriteHeader(http.StatusNoContent)
				})), k.request("GET", "/", expired))
				if n := len(res.Cookies()); n != tt.cookies {
					t.Errorf("%d cookies, want %d", n, tt.cookies)
				}
			})
		})
	}
}

// TestCookiesLeaveWhicheverWayTheResponseDoes looks for the effect, on a real
// server: the cookie has to arrive.
func TestCookiesLeaveWhicheverWayTheResponseDoes(t *testing.T) {
	a := newApp(t)
	ways := map[string]http.HandlerFunc{
		"return":      func(w http.ResponseWriter, r *http.Request) {},
		"WriteHeader": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"Write":       func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) },
		"WriteString": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") },
		"ReadFrom":    func(w http.ResponseWriter, r *http.Request) { io.Copy(w, strings.NewReader("x")) },
		"Flusher": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "x")
		},
		"ResponseController": func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if err := errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Minute)), rc.Flush()); err != nil {
				t.Error(err)
			}
		},
		"1xx first": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(200)
		},
		"304": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304) },
		"500": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "x", 500) },
		"cacheable": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.Write([]byte("x"))
		},
	}
	mux := http.NewServeMux()
	for name, h := range ways {
		mux.Handle("/"+strings.ReplaceAll(name, " ", "-"), a.RequireAuth(h))
	}
	for _, h2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(mux)
		s.EnableHTTP2 = h2
		s.StartTLS()
		defer s.Close()
		for name := range ways {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, h2), func(t *testing.T) {
				k := a.login("alice")
				r := k.request("GET", s.URL+"/"+strings.ReplaceAll(name, " ", "-"), expired)
				r.RequestURI = ""
				r.Header.Set("User-Agent", "")
				res, err := s.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				// To the end: whoever closes sooner cancels the handler.
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				res.Body.Close()
				if n := len(res.Cookies()); n != 2 {
					t.Errorf("%d cookies arrived", n)
				}
				if res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("Cache-Control: %q", res.Header.Get("Cache-Control"))
				}
			})
		}
	}
}

func TestCookiesLeaveWithAnUpgrade(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	s := httptest.NewServer(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		line, _ := rw.ReadString('\n')
		rw.WriteString(line)
		rw.Flush()
	})))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := k.request("GET", "/", expired)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	r.Header.Set("User-Agent", "")
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, r)
	if err != nil || res.StatusCode != 101 || len(res.Cookies()) != 2 {
		t.Fatalf("%v, %v", res, err)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := br.ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestFlowsWithACookieJar(t *testing.T) {
	a := newApp(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "alice", Remember: true}); err != nil {
			a.WriteError(w, r, err)
		}
	})
	mux.Handle("/auth/", a.Handler("/auth"))
	mux.Handle("/", a.RequireAuth(greet))
	s := httptest.NewTLSServer(mux)
	defer s.Close()
	client := s.Client()
	client.Jar, _ = cookiejar.New(nil)
	do := func(method, path string, want int) {
		t.Helper()
		r, _ := http.NewRequest(method, s.URL+path, nil)
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s %s = %d, want %d", method, path, res.StatusCode, want)
		}
	}
	do("GET", "/", 401)
	do("POST", "/login", 200)
	do("GET", "/", 200)
	do("POST", "/auth/token/refresh", 200)
	do("GET", "/", 200)
	do("GET", "/auth/sessions", 200)
	do("DELETE", "/auth/sessions/AAAAAAAAAAAAAAAAAAAAAA", 404)
	do("GET", "/auth/nothing", 404)
	do("POST", "/auth/logout", 204)
	do("GET", "/", 401)
	u, _ := url.Parse(s.URL)
	for _, c := range client.Jar.Cookies(u) {
		if c.Name != "__Host-device" {
			t.Errorf("%s is left", c.Name)
		}
	}
	do("POST", "/login", 200)
	do("POST", "/auth/logout-all", 204)
	do("GET", "/", 401)
	do("POST", "/auth/logout-all", 401)
}

func TestParallelRequestsRenewOnce(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	var wg sync.WaitGroup
	successors := make([]string, 100)
	for i := range successors {
		wg.Go(func() {
			res := serve(a.RequireAuth(greet), k.request("GET", "/", expired))
			if res.StatusCode != 200 || len(res.Cookies()) != 2 {
				t.Errorf("%d %v", res.StatusCode, res.Cookies())
				return
			}
			successors[i] = res.Cookies()[0].Value
		})
	}
	wg.Wait()
	for _, v := range successors {
		if v != successors[0] {
			t.Fatal("several successors")
		}
	}
	if n := a.store.rotations.Load(); n != 1 {
		t.Errorf("%d rotations", n)
	}
}

func TestNoTransparentRefresh(t *testing.T) {
	a := newApp(t, func(c *middleware.Config) { c.NoTransparentRefresh = true })
	k := a.login("alice")
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 401 || len(res.Cookies()) > 0 {
		t.Errorf("%d", res.StatusCode)
	}
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", all)); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	if res := serve(a.Handler("/auth"), k.request("POST", "/auth/token/refresh", expired)); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
}

func TestHideTokens(t *testing.T) {
	a := newApp(t, func(c *middleware.Config) { c.HideTokens = true })
	k := a.login("alice")
	for _, cookies := range []string{all, expired} {
		r := k.request("GET", "/", cookies)
		r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
		before := r.Header.Get("Cookie")
		res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Cookie"]) })), r)
		if got := text(res); got != "[theme=dark]" {
			t.Errorf("the handler sees %s", got)
		}
		if r.Header.Get("Cookie") != before {
			t.Error("the outer request is changed")
		}
	}
}

func TestLive(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	live := newAuth(t, middleware.Config{Sessions: a.sessions, Live: true})
	for _, h := range []http.Handler{a.RequireLive(greet), live.RequireAuth(greet)} {
		before := a.store.calls.Load()
		if res := serve(h, k.request("GET", "/", all)); res.StatusCode != 200 || a.store.calls.Load() != before+1 {
			t.Errorf("%d after %d store calls", res.StatusCode, a.store.calls.Load()-before)
		}
	}
	// Another instance, without a feed, revokes: this one does not know.
	id, _ := family.ParseID(k.grant.Claims.SessionID)
	revokeElsewhere(t, a, id)
	if res := serve(a.RequireAuth(greet), k.request("GET", "/", "access")); res.StatusCode != 200 {
		t.Errorf("stateless: %d", res.StatusCode)
	}
	for _, h := range []http.Handler{a.RequireLive(greet), live.RequireAuth(greet)} {
		if res := serve(h, k.request("GET", "/", "access")); res.StatusCode != 401 {
			t.Errorf("live: %d", res.StatusCode)
		}
	}
}

func newAuth(t testing.TB, cfg middleware.Config) *middleware.Auth {
	t.Helper()
	auth, err := middleware.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// revokeElsewhere revokes through a second service on the same store.
func revokeElsewhere(t testing.TB, a *app, _ family.ID) {
	t.Helper()
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: a.ring, Now: a.now})
	if err != nil {
		t.Fatal(err)
	}
	other, err := refresh.New(refresh.Config{Access: tokens, Store: a.store})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll); err != nil {
		t.Fatal(err)
	}
}

// deaf is a store whose feed never says anything.
type deaf struct{ family.Store }

func (deaf) Follow(ctx context.Context, _ time.Duration, _ family.FeedHandler) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAskStoreWhenFeedStale(t *testing.T) {
	a := newApp(t)
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: a.ring, Now: a.now})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: deaf{a.store}})
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	k := a.login("alice")
	asking, err := refresh.New(refresh.Config{Access: tokens, Store: deaf{a.store}, AskStoreWhenFeedStale: true})
	if err != nil {
		t.Fatal(err)
	}
	defer asking.Close()
	careless := newAuth(t, middleware.Config{Sessions: sessions})
	careful := newAuth(t, middleware.Config{Sessions: asking})
	before := a.store.calls.Load()
	if res := serve(careless.RequireAuth(greet), k.request("GET", "/", "access")); res.StatusCode != 200 || a.store.calls.Load() != before {
		t.Errorf("careless: %d", res.StatusCode)
	}
	if res := serve(careful.RequireAuth(greet), k.request("GET", "/", "access")); res.StatusCode != 200 || a.store.calls.Load() != before+1 {
		t.Errorf("careful: %d", res.StatusCode)
	}
	a.store.away.Store(true)
	if res := serve(careful.RequireAuth(greet), k.request("GET", "/", "access")); res.StatusCode != 503 {
		t.Errorf("careful, with the store away too: %d", res.StatusCode)
	}
}

func TestOutageGrace(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *middleware.Config) { c.OutageGrace = 10 * time.Minute })
		k := a.login("alice")
		bearer := "Authorization: Bearer " + k.grant.AccessToken
		time.Sleep(11 * time.Minute)
		if res := serve(a.RequireAuth(greet), k.request("GET", "/", "", bearer)); res.StatusCode != 401 {
			t.Errorf("an expired token while the store answers: %d", res.StatusCode)
		}
		a.store.away.Store(true)
		for name, r := range map[string]*http.Request{"cookies": k.request("GET", "/", all)} {
			if res := serve(a.RequireAuth(greet), r); res.StatusCode != 200 || len(res.Cookies()) > 0 {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
		}
		if res := serve(a.RequireAuth(greet), k.request("GET", "/", "", bearer)); res.StatusCode != 200 {
			t.Errorf("a Bearer token: %d", res.StatusCode)
		}
		if res := serve(a.RequireAuth(greet), k.request("GET", "/", expired)); res.StatusCode != 503 {
			t.Errorf("without an access token: %d", res.StatusCode)
		}
		if a.rec.of(refresh.EventOutage) != 2 {
			t.Errorf("events %v", a.rec.events)
		}
	})
}

func TestWatchEndsWithTheSession(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	started, ended := make(chan struct{}), make(chan error, 1)
	h := a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := a.WatchSession(r)
		defer cancel()
		close(started)
		<-ctx.Done()
		ended <- context.Cause(ctx)
	}))
	go serve(h, k.request("GET", "/", all))
	<-started
	serve(a.Handler("/auth"), k.request("POST", "/auth/logout", all))
	if err := <-ended; !errors.Is(err, refresh.ErrRevoked) {
		t.Errorf("cause %v", err)
	}
	ctx, cancel := a.WatchSession(httptest.NewRequest("GET", "/", nil))
	defer cancel()
	if ctx.Err() == nil {
		t.Error("a request without a session is watched")
	}
}

func Example() {
	keys, _ := access.GenerateKeys(access.EdDSA)
	ring, _ := access.NewKeyRing(keys)
	tokens, _ := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	store, _ := family.NewMemoryStore(family.MemoryConfig{})
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
	if err != nil {
		panic(err)
	}
	defer sessions.Close()
	auth, err := middleware.New(middleware.Config{Sessions: sessions, LoginPath: "/login"})
	if err != nil {
		panic(err)
	}

	account := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := middleware.Session(r.Context())
		fmt.Fprintln(w, "Hello,", session.Subject)
	}))
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			auth.WriteError(w, r, err)
		}
	})

	signIn := httptest.NewRecorder()
	login.ServeHTTP(signIn, httptest.NewRequest("POST", "/login", nil))
	r := httptest.NewRequest("GET", "/account", nil)
	for _, c := range signIn.Result().Cookies() {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	account.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)
	// Output: 200 Hello, alice
}

func ExampleCustom() {
	type tenancy struct {
		Tenant string `json:"tenant"`
	}
	keys, _ := access.GenerateKeys(access.EdDSA)
	ring, _ := access.NewKeyRing(keys)
	tokens, _ := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	_, claims, err := tokens.Issue(access.Claims{Subject: "alice", SessionID: "s", AuthTime: time.Now(), Custom: tenancy{"acme"}})
	if err != nil {
		panic(err)
	}
	ctx := middleware.NewContext(context.Background(), claims) // as a guard does

	custom, err := middleware.Custom[tenancy](ctx)
	fmt.Println(custom.Tenant, err)
	// Output: acme <nil>
}

func ExampleLocalPath() {
	fmt.Println(middleware.LocalPath("/account?tab=1", "/"))
	fmt.Println(middleware.LocalPath("//evil.example", "/"))
	// Output:
	// /account?tab=1
	// /
}
