package middleware_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// status is what GET /auth/session says.
type status struct {
	Subject          string   `json:"subject"`
	SessionID        string   `json:"session_id"`
	ExpiresIn        int64    `json:"expires_in"`
	IdleExpiresIn    int64    `json:"idle_expires_in"`
	SessionExpiresIn int64    `json:"session_expires_in"`
	AuthTime         int64    `json:"auth_time"`
	Roles            []string `json:"roles"`
	DeviceBound      *bool    `json:"device_bound"`
	Actor            string   `json:"actor"`
}

func statusIn(t testing.TB, res *http.Response) *status {
	t.Helper()
	var body struct{ Session *status }
	d := json.NewDecoder(res.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	return body.Session
}

func TestTheSessionEndpoint(t *testing.T) {
	const (
		lifetime = 10 * time.Minute
		none     = "no session"
	)
	for _, tt := range []struct {
		name    string
		cookies string
		headers func(tokens) []string
		method  string
		before  func(*app, tokens)
		want    string // a subject, none, or an error
		status  int
		valid   bool // the access token
	}{
		{name: "all cookies", cookies: all, want: "alice", valid: true},
		{name: "an expired access cookie", cookies: all, want: "alice", before: func(*app, tokens) { time.Sleep(lifetime) }},
		{name: "no access cookie", cookies: expired, want: "alice"},
		{name: "an expired access cookie alone", cookies: "access", want: "alice", before: func(*app, tokens) { time.Sleep(lifetime) }},
		{name: "a Bearer token", headers: func(k tokens) []string { return []string{"Authorization: Bearer " + k.grant.AccessToken} }, want: "alice", valid: true},
		{name: "a Bearer token that has expired", headers: func(k tokens) []string { return []string{"Authorization: Bearer " + k.grant.AccessToken} }, want: "alice", before: func(*app, tokens) { time.Sleep(lifetime) }},
		{name: "a Bearer token decides, for bad", cookies: all, headers: func(tokens) []string { return []string{"Authorization: Bearer junk"} }, want: none},
		{name: "credentials of a proxy", cookies: all, headers: func(tokens) []string { return []string{"Authorization: Basic eDp5"} }, want: "alice", valid: true},
		{name: "nothing", want: none},
		{name: "the browser was closed", cookies: "refresh device", want: none},
		{name: "another device", cookies: "refresh browser", want: none},
		{name: "revoked", cookies: all, want: none, before: func(a *app, k tokens) {
			if err := a.sessions.Revoke(a.t.Context(), "alice", k.grant.Claims.SessionID, family.ReasonUser); err != nil {
				a.t.Error(err)
			}
		}},
		{name: "idle for too long", cookies: all, want: none, before: func(*app, tokens) { time.Sleep(25 * time.Hour) }},
		{name: "from another origin, which CORS keeps from reading it", cookies: all, headers: func(tokens) []string { return []string{"Sec-Fetch-Site: cross-site"} }, want: "alice", valid: true},
		{name: "the store is away", cookies: all, before: func(a *app, _ tokens) { a.store.away.Store(true) }, want: "temporarily_unavailable", status: 503},
		{name: "the store is away, and there is no access cookie", cookies: expired, before: func(a *app, _ tokens) { a.store.away.Store(true) }, want: "temporarily_unavailable", status: 503},
		{name: "a repeated header", headers: func(tokens) []string { return []string{"Authorization: Bearer a", "Authorization: Bearer b"} }, want: "invalid_request", status: 400},
		{name: "POST", method: "POST", cookies: all, want: "invalid_request", status: 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				a := newApp(t)
				k := a.login("alice")
				if tt.before != nil {
					tt.before(a, k)
				}
				var headers []string
				if tt.headers != nil {
					headers = tt.headers(k)
				}
				method := "GET"
				if tt.method != "" {
					method = tt.method
				}
				res := serve(a.Handler("/auth"), k.request(method, "/auth/session", tt.cookies, headers...))
				if len(res.Header["Set-Cookie"]) > 0 || res.Header.Get("Cache-Control") != "no-store" || a.store.rotations.Load() != 0 {
					t.Errorf("header %v, %d rotations", res.Header, a.store.rotations.Load())
				}
				if tt.status != 0 {
					if body := text(res); res.StatusCode != tt.status || !strings.Contains(body, tt.want) || (tt.status == 503) != (res.Header.Get("Retry-After") != "") {
						t.Errorf("%d %s", res.StatusCode, body)
					}
					return
				}
				st := statusIn(t, res)
				if tt.want == none {
					if st != nil {
						t.Errorf("%+v", st)
					}
					return
				}
				g := k.grant
				if st == nil || st.Subject != "alice" || st.SessionID != g.Claims.SessionID || st.AuthTime != g.Claims.AuthTime.Unix() || st.Roles == nil || len(st.Roles) != 0 || st.DeviceBound == nil || *st.DeviceBound || st.Actor != "" {
					t.Fatalf("%+v", st)
				}
				left := int64(g.RefreshExpiresAt.Sub(a.now()) / time.Second)
				if st.IdleExpiresIn != left || st.SessionExpiresIn != left || (st.ExpiresIn > 0) != tt.valid || st.ExpiresIn > int64(lifetime/time.Second) {
					t.Errorf("%+v, want %d", st, left)
				}
			})
		})
	}
}

func TestTheSessionEndpointAnswersHEAD(t *testing.T) {
	a := newApp(t)
	s := httptest.NewServer(a.Handler("/auth"))
	defer s.Close()
	res, err := http.Head(s.URL + "/auth/session")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body := text(res); res.StatusCode != 200 || body != "" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
	}
}

// A guard around the endpoints may have renewed the session, or hidden its
// tokens.
func TestTheSessionEndpointBehindAGuard(t *testing.T) {
	for name, hide := range map[string]bool{"": false, "tokens hidden": true} {
		a := newApp(t, func(c *middleware.Config) { c.HideTokens = hide })
		k := a.login("admin")
		bearer := "Authorization: Bearer " + k.grant.AccessToken
		for guard, h := range map[string]http.Handler{
			"RequireAuth": a.RequireAuth(a.Handler("/auth")), "OptionalAuth": a.OptionalAuth(a.Handler("/auth")),
			"two": a.RequireAuth(a.OptionalAuth(a.Handler("/auth"))),
		} {
			for from, r := range map[string]*http.Request{
				"cookies": k.request("GET", "/auth/session", all), "an expired access cookie": k.request("GET", "/auth/session", expired),
				"a header": k.request("GET", "/auth/session", "", bearer),
			} {
				st := statusIn(t, serve(h, r))
				if st == nil || st.Subject != "admin" || len(st.Roles) != 1 || st.ExpiresIn <= 0 {
					t.Errorf("%s, %s, %s: %+v", name, guard, from, st)
				}
			}
		}
		if st := statusIn(t, serve(a.OptionalAuth(a.Handler("/auth")), k.request("GET", "/auth/session", ""))); st != nil {
			t.Errorf("nobody: %+v", st)
		}
	}
}

// Support staff sign in as a user.
func (a *app) impersonate(subject string) tokens {
	a.t.Helper()
	w := httptest.NewRecorder()
	g, err := a.Login(w, httptest.NewRequest("POST", "/login", nil), refresh.Login{Subject: subject, Actor: "sam", Reason: "ticket 7"})
	if err != nil {
		a.t.Fatal(err)
	}
	k := tokens{g, make(map[string]string)}
	for name, value := range set(a.t, w.Header()) {
		k.cookies[strings.TrimPrefix(name, "__Host-")] = value
	}
	return k
}

func TestWhatSomebodyWhoActsForTheUserMayNot(t *testing.T) {
	a := newApp(t)
	user := a.login("alice")
	support := a.impersonate("alice")
	endpoints := a.Handler("/auth")
	ownID, userID := support.grant.Claims.SessionID, user.grant.Claims.SessionID
	for _, tt := range []struct {
		name          string
		h             http.Handler
		method, path  string
		user, support int
	}{
		{"an ordinary route", a.RequireAuth(greet), "GET", "/", 200, 200},
		{"what only the user may do", a.RefuseImpersonated(greet), "GET", "/", 200, 403},
		{"a route that needs a recent sign-in of the user", a.RequireStepUp(middleware.StepUp{MaxAge: time.Hour})(greet), "GET", "/", 200, 403},
		{"stepping up", a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g, err := a.StepUp(w, r, refresh.AuthContext{})
			if err != nil {
				a.WriteError(w, r, err)
				return
			}
			a.WriteTokens(w, g)
		})), "POST", "/", 200, 403},
		{"seeing the sessions", endpoints, "GET", "/auth/sessions", 200, 200},
		{"ending the user's session", endpoints, "DELETE", "/auth/sessions/" + userID, 0, 403},
		{"ending all sessions", endpoints, "POST", "/auth/logout-all", 0, 403},
		{"ending the own session", endpoints, "DELETE", "/auth/sessions/" + ownID, 0, 204},
	} {
		if tt.user != 0 {
			if res := serve(tt.h, user.request(tt.method, tt.path, all)); res.StatusCode != tt.user {
				t.Errorf("%s: the user gets %d", tt.name, res.StatusCode)
			}
		}
		res := serve(tt.h, support.request(tt.method, tt.path, all))
		if body := text(res); res.StatusCode != tt.support || tt.support == 403 && !strings.Contains(body, `"access_denied"`) {
			t.Errorf("%s: %d %s", tt.name, res.StatusCode, body)
		}
	}
	if a.sessions.Live(t.Context(), user.grant.Claims) != nil {
		t.Error("the user's session ended")
	}
}

func TestImpersonationIsShown(t *testing.T) {
	a := newApp(t)
	user := a.login("alice")
	support := a.impersonate("alice")
	if st := statusIn(t, serve(a.Handler("/auth"), support.request("GET", "/auth/session", all))); st.Subject != "alice" || st.Actor != "sam" || st.SessionExpiresIn > 3600 {
		t.Errorf("%+v", st)
	}
	res := serve(a.Handler("/auth"), user.request("GET", "/auth/sessions", all))
	if body := text(res); !strings.Contains(body, `"actor":"sam","reason":"ticket 7"`) {
		t.Error(body)
	}
}

// A login's own times reach the browser's cookies and the native app's tokens.
func TestALoginsOwnTimesInBothTransports(t *testing.T) {
	a := newApp(t)
	for _, remember := range []bool{false, true} {
		w := httptest.NewRecorder()
		g, err := a.Login(w, httptest.NewRequest("POST", "/", nil), refresh.Login{Subject: "alice", Remember: remember, AbsoluteLifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			if strings.HasSuffix(c.Name, "refresh") && c.MaxAge != 3600 || strings.HasSuffix(c.Name, "access") && remember != (c.MaxAge == 3600) {
				t.Errorf("remember %v: %s for %d s", remember, c.Name, c.MaxAge)
			}
		}
		if !g.RefreshExpiresAt.Equal(g.IssuedAt.Add(time.Hour)) {
			t.Errorf("until %v", g.RefreshExpiresAt)
		}
	}
	g, err := a.LoginNative(httptest.NewRequest("POST", "/", nil), refresh.Login{Subject: "alice", IdleTimeout: 20 * time.Minute})
	if err != nil || !g.RefreshExpiresAt.Equal(g.IssuedAt.Add(30*time.Minute+time.Second)) {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := a.LoginNative(httptest.NewRequest("POST", "/", nil), refresh.Login{Subject: "alice", IdleTimeout: time.Second}); err == nil || errors.Is(err, refresh.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
