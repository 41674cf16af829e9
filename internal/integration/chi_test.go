package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// newChi is an app on chi: its own middleware around ours, RequireAuth for a
// group, guards per route, and the kit's endpoints mounted.
func newChi(t *testing.T) http.Handler {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := access.GenerateKeys(access.EdDSA)
	check(err)
	ring, err := access.NewKeyRing(keys)
	check(err)
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	check(err)
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: newMemoryStore(t)})
	check(err)
	t.Cleanup(func() { sessions.Close() })
	auth, err := middleware.New(middleware.Config{Sessions: sessions, LoginPath: "/login"})
	check(err)

	who := func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		fmt.Fprintf(w, "%s %s", c.Subject, chi.URLParam(r, "id"))
	}
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestID, chimiddleware.Recoverer, chimiddleware.Compress(5))
	r.Post("/login/{subject}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Login(w, r, refresh.Login{Subject: chi.URLParam(r, "subject"), Remember: true}); err != nil {
			auth.WriteError(w, r, err)
		}
	})
	r.Mount("/auth", auth.Handler("/auth"))
	r.Group(func(r chi.Router) {
		r.Use(auth.RequireAuth, chimiddleware.Timeout(time.Minute))
		r.Get("/items/{id}", who)
		r.Get("/broken", func(http.ResponseWriter, *http.Request) { panic("broken") })
		r.With(auth.RequireRole("admin")).Get("/admin", who)
		r.With(auth.RequireStepUp(middleware.StepUp{MaxAge: time.Hour})).Post("/transfer", who)
	})
	r.Route("/nested", func(r chi.Router) {
		r.Use(auth.OptionalAuth)
		r.With(auth.RequireAuth).Get("/", who)
	})
	return r
}

func TestChi(t *testing.T) {
	s := httptest.NewTLSServer(newChi(t))
	defer s.Close()
	client := s.Client()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client.Jar = jar
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	do := func(name, method, path string, status int, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != status || body != "" && string(text) != body {
			t.Errorf("%s: %s %s = %d %q, want %d %q", name, method, path, res.StatusCode, text, status, body)
		}
		return res
	}
	expire := func() {
		jar.SetCookies(base, []*http.Cookie{{Name: "__Host-access", Path: "/", Secure: true, MaxAge: -1}})
	}

	do("nobody yet", "GET", "/items/7", 401, "")
	do("an unknown route stays unknown", "GET", "/nothing", 404, "")
	do("sign in", "POST", "/login/alice", 200, "")
	do("URL parameters survive the guard", "GET", "/items/7", 200, "alice 7")
	do("a guard of one route", "GET", "/admin", 403, "")
	do("another guard of one route", "POST", "/transfer", 200, "alice ")
	do("guards in guards", "GET", "/nested/", 200, "alice ")
	do("the mounted session list", "GET", "/auth/sessions", 200, "")
	do("the mounted refresh", "POST", "/auth/token/refresh", 200, "")
	do("a mounted path that is none", "GET", "/auth/nothing", 404, "")

	for _, path := range []string{"/items/7", "/nested/"} {
		expire()
		if res := do("a renewal", "GET", path, 200, ""); len(res.Cookies()) != 2 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("a renewal through chi's writers: %v", res.Header)
		}
	}
	expire()
	if res := do("a panic is chi's to recover", "GET", "/broken", 500, ""); len(res.Cookies()) != 2 {
		t.Errorf("cookies %v", res.Cookies())
	}
	do("and costs no session", "GET", "/items/7", 200, "alice 7")
	do("sign out", "POST", "/auth/logout", 204, "")
	do("nobody any more", "GET", "/items/7", 401, "")
}
