package authtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

func ExampleKit_SignIn() {
	t := new(testing.T) // your test's own
	kit := authtest.New(t, sessionkit.Config{})
	admin := kit.RequireRole("admin")(http.HandlerFunc(hello))

	for _, u := range []authtest.User{{Subject: "alice", Roles: []string{"admin"}}, {Subject: "bob"}} {
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, kit.SignIn(u).Cookies(httptest.NewRequest("GET", "/users", nil)))
		fmt.Println(u.Subject, w.Code)
	}
	// Output:
	// alice 200
	// bob 403
}

func ExampleSession_Context() {
	t := new(testing.T) // your test's own
	kit := authtest.New(t, sessionkit.Config{})
	alice := kit.SignIn(authtest.User{Subject: "alice", Custom: map[string]string{"tenant": "acme"}})
	handler := func(w http.ResponseWriter, r *http.Request) {
		custom, _ := middleware.Custom[struct {
			Tenant string `json:"tenant"`
		}](r.Context())
		fmt.Fprint(w, "documents of ", custom.Tenant)
	}

	r := httptest.NewRequest("GET", "/documents", nil)
	w := httptest.NewRecorder()
	handler(w, r.WithContext(alice.Context(r.Context()))) // no guard at all
	fmt.Println(w.Code, w.Body)
	// Output: 200 documents of acme
}

func ExampleSession_Revoke() {
	t := new(testing.T) // your test's own
	kit := authtest.New(t, sessionkit.Config{})
	account := kit.RequireAuth(http.HandlerFunc(hello))
	alice := kit.SignIn(authtest.User{Subject: "alice"})
	alice.Revoke() // signed out on another device

	w := httptest.NewRecorder()
	account.ServeHTTP(w, alice.Bearer(httptest.NewRequest("GET", "/account", nil)))
	fmt.Println(w.Code)
	// Output: 401
}
