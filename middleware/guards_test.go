package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// loginWith signs in with an authentication context.
func (a *app) loginWith(subject, acr string) tokens {
	a.t.Helper()
	rec := httptest.NewRecorder()
	g, err := a.Login(rec, httptest.NewRequest("POST", "/login", nil), refresh.Login{Subject: subject, ACR: acr})
	if err != nil {
		a.t.Fatal(err)
	}
	k := tokens{g, make(map[string]string)}
	for name, value := range set(a.t, rec.Header()) {
		k.cookies[strings.TrimPrefix(name, "__Host-")] = value
	}
	return k
}

func TestChallenges(t *testing.T) {
	a := newApp(t)
	k := a.login("bob")
	for _, tt := range []struct {
		name      string
		guard     func(http.Handler) http.Handler
		status    int
		challenge string
		body      string
	}{
		{
			"a role: RFC 6750 knows no name for it", a.RequireRole("admin"), 403,
			`Bearer error="insufficient_scope", error_description="The session lacks the role."`,
			`{"error":"insufficient_scope","error_description":"The session lacks the role."}`,
		},
		{
			"scopes are named", a.RequireScope("read", "write"), 403,
			`Bearer error="insufficient_scope", error_description="The session lacks the scope.", scope="read write"`,
			`{"error":"insufficient_scope","error_description":"The session lacks the scope."}`,
		},
		{
			"a scope that could break out of the header is not", a.RequireScope(`a", realm="x`), 403,
			`Bearer error="insufficient_scope", error_description="The session lacks the scope."`,
			`{"error":"insufficient_scope","error_description":"The session lacks the scope."}`,
		},
		{
			"step-up says what is wanted", a.RequireStepUp(middleware.StepUp{ACR: []string{"gold", `si"lver`}}), 401,
			`Bearer error="insufficient_user_authentication", error_description="Sign in again to do this.", acr_values="gold"`,
			`{"error":"insufficient_user_authentication","error_description":"Sign in again to do this."}`,
		},
		{
			"a maximum age that nobody can meet", a.RequireStepUp(middleware.StepUp{MaxAge: -time.Second}), 401,
			`Bearer error="insufficient_user_authentication", error_description="Sign in again to do this.", max_age="0"`,
			`{"error":"insufficient_user_authentication","error_description":"Sign in again to do this."}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(tt.guard(greet), k.request("GET", "/", all))
			if res.StatusCode != tt.status || res.Header.Get("WWW-Authenticate") != tt.challenge || strings.TrimSpace(text(res)) != tt.body {
				t.Errorf("%d %q", res.StatusCode, res.Header.Get("WWW-Authenticate"))
			}
			if res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("header %v", res.Header)
			}
		})
	}
}

// TestScopesMatchAsWholes: no prefix, no other case, no list in one name.
func TestScopesMatchAsWholes(t *testing.T) {
	a := newApp(t)
	k := a.login("admin") // read, write; role admin
	for _, scope := range []string{"read", "write"} {
		if res := serve(a.RequireScope(scope)(greet), k.request("GET", "/", all)); res.StatusCode != 200 {
			t.Errorf("scope %q: %d", scope, res.StatusCode)
		}
	}
	for _, scope := range []string{"", "rea", "reads", "READ", "read write", "read ", " read", "read:all", "r", "admin"} {
		if res := serve(a.RequireScope(scope)(greet), k.request("GET", "/", all)); res.StatusCode != 403 {
			t.Errorf("scope %q: %d", scope, res.StatusCode)
		}
	}
	for _, role := range []string{"", "Admin", "admi", "administrator", "admin ", "read"} {
		if res := serve(a.RequireRole(role)(greet), k.request("GET", "/", all)); res.StatusCode != 403 {
			t.Errorf("role %q: %d", role, res.StatusCode)
		}
	}
}

func TestStepUp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		a := newApp(t)
		gold, plain := a.loginWith("alice", "gold"), a.loginWith("bob", "")
		for _, tt := range []struct {
			name        string
			want        middleware.StepUp
			gold, plain int
		}{
			{"the context", middleware.StepUp{ACR: []string{"gold"}}, 200, 401},
			{"one of several contexts", middleware.StepUp{ACR: []string{"platinum", "gold"}}, 200, 401},
			{"another context", middleware.StepUp{ACR: []string{"platinum"}}, 401, 401},
			{"nothing but names that are none: nobody has them", middleware.StepUp{ACR: []string{"", " "}}, 401, 401},
			{"nothing in particular", middleware.StepUp{}, 200, 200},
			{"context and age", middleware.StepUp{ACR: []string{"gold"}, MaxAge: time.Minute}, 200, 401},
		} {
			h := a.RequireStepUp(tt.want)(greet)
			if res := serve(h, gold.request("GET", "/", all)); res.StatusCode != tt.gold {
				t.Errorf("%s: %d, want %d", tt.name, res.StatusCode, tt.gold)
			}
			if res := serve(h, plain.request("GET", "/", all)); res.StatusCode != tt.plain {
				t.Errorf("%s, without a context: %d, want %d", tt.name, res.StatusCode, tt.plain)
			}
		}

		h := a.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})(greet)
		time.Sleep(5 * time.Minute)
		if res := serve(h, gold.request("GET", "/", expired)); res.StatusCode != 200 {
			t.Errorf("after exactly the maximum age: %d", res.StatusCode)
		}
		time.Sleep(time.Second)
		for range 3 { // however often it is refreshed
			if res := serve(h, gold.request("GET", "/", expired)); res.StatusCode != 401 {
				t.Errorf("a second later: %d", res.StatusCode)
			}
		}
		if again := a.loginWith("alice", "gold"); serve(h, again.request("GET", "/", all)).StatusCode != 200 {
			t.Error("signing in again does not help")
		}
	})
}

func TestStepUpSendsUsersToTheSignInPage(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	h := a.RequireStepUp(middleware.StepUp{ACR: []string{"gold"}})(greet)
	for _, tt := range []struct {
		name, method, target string
		headers              []string
		status               int
		location, hx         string
	}{
		{"a page", "GET", "/pay?to=bob", []string{"Sec-Fetch-Mode: navigate"}, 303, "/login?return_to=%2Fpay%3Fto%3Dbob", ""},
		{"a form", "POST", "/pay", []string{"Sec-Fetch-Mode: navigate"}, 303, "/login", ""},
		{"HTMX", "POST", "/pay", []string{"HX-Request: true", "HX-Current-URL: http://example.com/cart"}, 401, "", "/login?return_to=%2Fcart"},
		{"an API", "POST", "/pay", nil, 401, "", ""},
	} {
		res := serve(h, k.request(tt.method, tt.target, all, tt.headers...))
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location || res.Header.Get("HX-Redirect") != tt.hx {
			t.Errorf("%s: %d %v", tt.name, res.StatusCode, res.Header)
		}
	}
	if res := serve(a.RequireRole("admin")(greet), k.request("GET", "/", all, "Sec-Fetch-Mode: navigate")); res.StatusCode != 403 || res.Header.Get("Location") != "" {
		t.Errorf("a role, for which signing in again is no remedy: %d", res.StatusCode)
	}
}

// TestReturnToIsNobodyElses: whatever the request line or HTMX say, the
// redirect leads to the sign-in page, and its return_to to this host.
func TestReturnToIsNobodyElses(t *testing.T) {
	a := newApp(t)
	for _, target := range []string{"//evil.example/", `/\evil.example`, "/ä", "http://evil.example/", "/" + strings.Repeat("x", 3000)} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		res := serve(a.RequireAuth(greet), r)
		if res.StatusCode != 303 || res.Header.Get("Location") != "/login" {
			t.Errorf("%.20q: %d %s", target, res.StatusCode, res.Header.Get("Location"))
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%.20q: %v", target, res.Header)
		}
	}
	for _, page := range []string{"", ":", "javascript:alert(1)", "http://evil.example/", "//evil.example/x", "http://example.com@evil.example/", "http://example.com//evil.example"} {
		r := with(httptest.NewRequest("GET", "/", nil), "HX-Request: true", "HX-Current-URL: "+page)
		if res := serve(a.RequireAuth(greet), r); res.Header.Get("HX-Redirect") != "/login" {
			t.Errorf("%q: %s", page, res.Header.Get("HX-Redirect"))
		}
	}
}

func with(r *http.Request, headers ...string) *http.Request {
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// TestRefusalsInsideARenewalKeepTheSession: not allowed is not signed out.
func TestRefusalsInsideARenewalKeepTheSession(t *testing.T) {
	a := newApp(t)
	for name, h := range map[string]http.Handler{
		"alone":  a.RequireRole("admin")(greet),
		"nested": a.RequireAuth(a.RequireRole("admin")(greet)),
		"twice":  a.RequireRole("admin")(a.RequireRole("admin")(greet)),
	} {
		k := a.login("bob")
		res := serve(h, k.request("GET", "/", expired))
		if cookies := set(t, res.Header); res.StatusCode != 403 || len(cookies) != 2 {
			t.Errorf("%s: %d, cookies %v", name, res.StatusCode, cookies)
		}
	}
}
