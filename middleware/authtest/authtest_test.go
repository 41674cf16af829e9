package authtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

func hello(w http.ResponseWriter, r *http.Request) {
	c, ok := middleware.Session(r.Context())
	if !ok {
		http.Error(w, "who are you?", http.StatusTeapot)
		return
	}
	fmt.Fprintf(w, "hello %s", c.Subject)
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get() *http.Request { return httptest.NewRequest("GET", "/", nil) }

func TestKit(t *testing.T) {
	kit := authtest.New(t, sessionkit.Config{})
	guarded := kit.RequireAuth(http.HandlerFunc(hello))
	alice := kit.SignIn(authtest.User{Subject: "alice", Roles: []string{"admin"}, Scopes: []string{"read"}, Custom: map[string]any{"tenant": "acme"}, ACR: "gold"})
	bob := kit.SignIn(authtest.User{Subject: "bob"})

	for name, r := range map[string]*http.Request{"bearer": alice.Bearer(get()), "cookies": alice.Cookies(get())} {
		if w := serve(guarded, r); w.Body.String() != "hello alice" || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
	if w := serve(guarded, alice.Expired(get())); w.Body.String() != "hello alice" || len(w.Result().Cookies()) != 2 {
		t.Errorf("expired: %d %q, cookies %v", w.Code, w.Body, w.Result().Cookies())
	}
	r := get()
	if w := serve(http.HandlerFunc(hello), r.WithContext(bob.Context(r.Context()))); w.Body.String() != "hello bob" {
		t.Errorf("context: %q", w.Body)
	}
	admin := kit.RequireRole("admin")(http.HandlerFunc(hello))
	if w := serve(admin, alice.Bearer(get())); w.Code != 200 {
		t.Errorf("alice is no admin: %d", w.Code)
	}
	if w := serve(admin, bob.Bearer(get())); w.Code != 403 {
		t.Errorf("bob is an admin: %d", w.Code)
	}
	type custom struct {
		Tenant string `json:"tenant"`
	}
	if c, err := middleware.Custom[custom](alice.Context(t.Context())); err != nil || c.Tenant != "acme" {
		t.Errorf("custom claims: %+v, %v", c, err)
	}
	alice.Revoke()
	if w := serve(guarded, alice.Cookies(get())); w.Code != 401 {
		t.Errorf("revoked: %d", w.Code)
	}
}

func TestTimePassesInABubble(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		kit := authtest.New(t, sessionkit.Config{})
		guarded := kit.RequireAuth(http.HandlerFunc(hello))
		alice := kit.SignIn(authtest.User{Subject: "alice"})
		time.Sleep(11 * time.Minute)
		if w := serve(guarded, alice.Bearer(get())); w.Code != 401 {
			t.Errorf("an old access token: %d", w.Code)
		}
		if w := serve(guarded, alice.Cookies(get())); w.Code != 200 {
			t.Errorf("the session: %d", w.Code)
		}
		time.Sleep(24 * time.Hour)
		if w := serve(guarded, alice.Cookies(get())); w.Code != 401 {
			t.Errorf("a browser session of yesterday: %d", w.Code)
		}
	})
}

func ExampleNew() {
	t := new(testing.T) // your test's own
	kit := authtest.New(t, sessionkit.Config{})
	account := kit.RequireAuth(http.HandlerFunc(hello))

	r := httptest.NewRequest("GET", "/account", nil)
	w := httptest.NewRecorder()
	account.ServeHTTP(w, kit.SignIn(authtest.User{Subject: "alice"}).Expired(r))
	fmt.Println(w.Code, w.Body)
	// Output: 200 hello alice
}
