package middleware_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

var gold = refresh.AuthContext{ACR: "gold", AMR: []string{"pwd", "otp"}}

// reauthenticate is what an app's own handler does once the password was right.
func (a *app) reauthenticate(how refresh.AuthContext) http.Handler {
	return a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := a.StepUp(w, r, how)
		if err != nil {
			a.WriteError(w, r, err)
			return
		}
		a.WriteTokens(w, g)
	}))
}

// with the cookies that a response set.
func (k tokens) after(t testing.TB, res *http.Response) tokens {
	t.Helper()
	next := tokens{k.grant, make(map[string]string)}
	for name, value := range k.cookies {
		next.cookies[name] = value
	}
	for name, value := range set(t, res.Header) { // which fails if one is set twice
		next.cookies[strings.TrimPrefix(name, "__Host-")] = value
	}
	return next
}

func TestAStepUpInABrowser(t *testing.T) {
	for _, tt := range []struct {
		name, cookies string
		hide          bool
	}{
		{"a valid access cookie", all, false},
		{"tokens are hidden from handlers", all, true},
		{"the guard renewed the session on the way", expired, false},
		{"it renewed, and tokens are hidden", expired, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				a := newApp(t, func(c *middleware.Config) { c.HideTokens = tt.hide })
				k := a.login("alice")
				time.Sleep(6 * time.Minute)
				guarded := a.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute, ACR: []string{"gold"}, AMR: []string{"otp", "pwd"}})(greet)
				if res := serve(guarded, k.request("GET", "/", all)); res.StatusCode != 401 {
					t.Fatalf("before: %d", res.StatusCode)
				}
				res := serve(a.reauthenticate(gold), k.request("POST", "/", tt.cookies))
				if body := text(res); res.StatusCode != 200 || strings.Contains(body, "token") || !strings.Contains(body, k.grant.Claims.SessionID) || res.Header.Get("Cache-Control") != "no-store" {
					t.Fatalf("%d %s", res.StatusCode, body)
				}
				if a.store.rotations.Load() != 1 {
					t.Errorf("%d rotations: two answers could then be lost at once", a.store.rotations.Load())
				}
				next := k.after(t, res)
				if next.cookies["access"] == k.cookies["access"] || next.cookies["refresh"] == k.cookies["refresh"] {
					t.Error("a token is not new")
				}
				for _, cookies := range []string{all, expired} {
					if res := serve(guarded, next.request("GET", "/", cookies)); res.StatusCode != 200 || text(res) != "alice" {
						t.Errorf("after, with %s: %d", cookies, res.StatusCode)
					}
				}
				if res := serve(guarded, k.request("GET", "/", expired)); res.StatusCode != 401 {
					t.Errorf("an older refresh token: %d", res.StatusCode)
				}
			})
		})
	}
}

func TestAStepUpOfANativeApp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t)
		g := a.native("alice")
		bearer := func(token string) *http.Request {
			return with(httptest.NewRequest("POST", "/", nil), "Authorization: Bearer "+token, "User-Agent: Firefox/1.0", "Sec-Fetch-Site: cross-site")
		}
		guarded := a.RequireStepUp(middleware.StepUp{ACR: []string{"gold"}})(greet)
		if res := serve(guarded, bearer(g.AccessToken)); res.StatusCode != 401 {
			t.Fatalf("before: %d", res.StatusCode)
		}
		res := serve(a.reauthenticate(gold), bearer(g.AccessToken))
		var pair struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
			TokenType    string `json:"token_type"`
			SessionID    string `json:"session_id"`
		}
		if err := json.NewDecoder(res.Body).Decode(&pair); err != nil || res.StatusCode != 200 || len(res.Cookies()) != 0 || pair.TokenType != "Bearer" || pair.SessionID != g.Claims.SessionID {
			t.Fatalf("%d %+v, %v", res.StatusCode, pair, err)
		}
		if res := serve(guarded, bearer(pair.AccessToken)); res.StatusCode != 200 {
			t.Errorf("after: %d", res.StatusCode)
		}
		// The answer might have been lost: the old access token does not step up
		// again, and what OAuth clients do then helps.
		res = serve(a.reauthenticate(gold), bearer(g.AccessToken))
		if res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="invalid_token"`) || !strings.Contains(text(res), "invalid_token") {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
}

func TestAStepUpThatFails(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	for _, tt := range []struct {
		name   string
		h      http.Handler
		r      *http.Request
		status int
		away   bool
	}{
		{"without a guard", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := a.StepUp(w, r, gold)
			a.WriteError(w, r, err)
		}), k.request("POST", "/", all), 401, false},
		{"from another origin", a.reauthenticate(gold), k.request("POST", "/", all, "Sec-Fetch-Site: cross-site"), 403, false},
		{"the store is away", a.reauthenticate(gold), k.request("POST", "/", all), 503, true},
		{"a context that is too long", a.reauthenticate(refresh.AuthContext{ACR: strings.Repeat("x", 61)}), k.request("POST", "/", all), 500, false},
	} {
		a.store.away.Store(tt.away)
		res := serve(tt.h, tt.r)
		if res.StatusCode != tt.status || tt.status != 200 && len(res.Cookies()) != 0 {
			t.Errorf("%s: %d, cookies %v", tt.name, res.StatusCode, res.Cookies())
		}
		a.store.away.Store(false)
		if tt.status != 200 {
			if res := serve(a.RequireAuth(greet), k.request("GET", "/", all)); res.StatusCode != 200 {
				t.Errorf("%s: then %d", tt.name, res.StatusCode)
			}
		}
	}
}

// choose is an app's own handler for choosing an organisation.
func (a *app) choose(data string) http.Handler {
	return a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := a.SetData(w, r, data)
		if err != nil {
			a.WriteError(w, r, err)
			return
		}
		a.WriteTokens(w, g)
	}))
}

// tenant says what is in the access token.
func (a *app) tenant() http.Handler {
	return a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Custom[struct{ Tenant string }](r.Context())
		w.Write([]byte(c.Tenant))
	}))
}

func TestDataInABrowser(t *testing.T) {
	for _, tt := range []struct {
		name, cookies string
		set           int
	}{
		{"a valid access cookie: that one is replaced", all, 1},
		{"the guard renewed the session on the way: both go together", expired, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t)
			k := a.login("alice")
			res := serve(a.choose("acme"), k.request("POST", "/", tt.cookies))
			if body := text(res); res.StatusCode != 200 || len(res.Cookies()) != tt.set || strings.Contains(body, "token") || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %s, cookies %v", res.StatusCode, body, res.Cookies())
			}
			next := k.after(t, res)
			for _, cookies := range []string{all, expired} {
				if got := text(serve(a.tenant(), next.request("GET", "/", cookies))); got != "acme" {
					t.Errorf("with %s: tenant %q", cookies, got)
				}
			}
			if got := text(serve(a.Handler("/auth"), next.request("GET", "/auth/sessions", all))); !strings.Contains(got, `"data":"acme"`) {
				t.Error(got)
			}
			if res := serve(a.choose("evil"), k.request("POST", "/", all, "Sec-Fetch-Site: cross-site")); res.StatusCode != 403 {
				t.Errorf("from another origin: %d", res.StatusCode)
			}
			a.store.away.Store(true)
			if res := serve(a.choose("other"), next.request("POST", "/", all)); res.StatusCode != 503 || len(res.Cookies()) != 0 {
				t.Errorf("the store is away: %d", res.StatusCode)
			}
		})
	}
}

func TestDataOfANativeApp(t *testing.T) {
	a := newApp(t)
	g := a.native("alice")
	res := serve(a.choose("acme"), with(httptest.NewRequest("POST", "/", nil), "Authorization: Bearer "+g.AccessToken, "User-Agent: Firefox/1.0"))
	var body map[string]any
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.StatusCode != 200 || len(res.Cookies()) != 0 {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	if _, ok := body["refresh_token"]; ok {
		t.Error("a refresh token although it is the same")
	}
	token, _ := body["access_token"].(string)
	if got := text(serve(a.tenant(), with(httptest.NewRequest("GET", "/", nil), "Authorization: Bearer "+token))); got != "acme" {
		t.Errorf("tenant %q", got)
	}
}

// Both in one request: the last answer has both.
func TestAStepUpAndDataInOneRequest(t *testing.T) {
	for name, stepUpFirst := range map[string]bool{"the step-up first": true, "the data first": false} {
		for _, cookies := range []string{all, expired} {
			a := newApp(t)
			k := a.login("alice")
			res := serve(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for i := range 2 {
					var err error
					if (i == 0) == stepUpFirst {
						_, err = a.StepUp(w, r, gold)
					} else {
						_, err = a.SetData(w, r, "acme")
					}
					if err != nil {
						t.Error(err)
					}
				}
			})), k.request("POST", "/", cookies))
			next := k.after(t, res)
			for _, cookies := range []string{all, expired} {
				strong := a.RequireStepUp(middleware.StepUp{ACR: []string{"gold"}})(a.tenant())
				if res := serve(strong, next.request("GET", "/", cookies)); res.StatusCode != 200 || text(res) != "acme" {
					t.Errorf("%s, then with %s: %d", name, cookies, res.StatusCode)
				}
			}
		}
	}
}

func TestMethodsThatMustAllHaveBeenUsed(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	next := k.after(t, serve(a.reauthenticate(gold), k.request("POST", "/", all)))
	for want, amr := range map[int][][]string{
		200: {nil, {"pwd"}, {"otp", "pwd"}},
		401: {{"hwk"}, {"pwd", "hwk"}, {"OTP"}, {""}, {"pwd otp"}},
	} {
		for _, methods := range amr {
			if res := serve(a.RequireStepUp(middleware.StepUp{AMR: methods})(greet), next.request("GET", "/", all)); res.StatusCode != want {
				t.Errorf("%q: %d, want %d", methods, res.StatusCode, want)
			}
		}
	}
	if res := serve(a.RequireStepUp(middleware.StepUp{AMR: []string{"pwd"}})(greet), k.request("GET", "/", all)); res.StatusCode != 401 {
		t.Errorf("without any: %d", res.StatusCode)
	}
}
