package middleware_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// follow returns the request that a browser sends next, with the cookies of an
// answer in the place of those it had.
func follow(r *http.Request, w *httptest.ResponseRecorder, method, target string) *http.Request {
	next := httptest.NewRequest(method, target, nil)
	set := make(map[string]bool)
	for _, c := range w.Result().Cookies() {
		next.AddCookie(c)
		set[c.Name] = true
	}
	for _, c := range r.Cookies() {
		if !set[c.Name] {
			next.AddCookie(c)
		}
	}
	return next
}

// The endpoint tells a page how the session stands, and neither renews nor prolongs
// it: a page may ask as often as it likes.
func ExampleAuth_Handler_session() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	endpoints := auth.Handler("/auth")

	ask := func(r *http.Request) {
		w := httptest.NewRecorder()
		endpoints.ServeHTTP(w, r)
		var answer struct {
			Session *struct {
				Subject     string `json:"subject"`
				IdleExpires int64  `json:"idle_expires_in"`
			} `json:"session"`
		}
		check(json.Unmarshal(w.Body.Bytes(), &answer))
		if answer.Session == nil {
			fmt.Println(w.Code, "signed out")
			return
		}
		fmt.Println(w.Code, answer.Session.Subject, answer.Session.IdleExpires > 2*60)
	}
	r := signedIn(auth, "alice")
	ask(follow(r, httptest.NewRecorder(), "GET", "/auth/session"))
	ask(httptest.NewRequest("GET", "/auth/session", nil))
	// Output:
	// 200 alice true
	// 200 signed out
}

// An administrator gets eight hours, and one session at a time.
func ExampleAuth_Login_limits() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	signIn := func(w http.ResponseWriter, r *http.Request, user string, admin bool) (*refresh.Grant, error) {
		login := refresh.Login{Subject: user, Remember: !admin}
		if admin {
			login.AbsoluteLifetime, login.IdleTimeout, login.MaxSessions = 8*time.Hour, 30*time.Minute, 1
		}
		return auth.Login(w, r, login)
	}

	for user, admin := range map[string]bool{"alice": true} {
		g, err := signIn(httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil), user, admin)
		check(err)
		fmt.Println(user, g.Claims.SessionExpiresAt.Sub(g.IssuedAt).Round(time.Hour))
	}
	// Output: alice 8h0m0s
}

// A transfer needs a password that was given within five minutes. Asking for it
// again renews the session in its place.
func ExampleAuth_StepUp() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	recent := auth.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute, ACR: []string{"password"}})
	transfer := recent(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "transferred") }))
	again := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Your own check of the password comes here.
		g, err := auth.StepUp(w, r, refresh.AuthContext{ACR: "password", AMR: []string{"pwd"}})
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		auth.WriteTokens(w, g)
	}))

	r := signedIn(auth, "bob")
	refused := httptest.NewRecorder()
	transfer.ServeHTTP(refused, r)
	fmt.Println(refused.Code)
	w := httptest.NewRecorder()
	again.ServeHTTP(w, follow(r, refused, "POST", "/reauthenticate"))
	fmt.Println(w.Code)
	r = follow(r, w, "POST", "/transfer")
	w = httptest.NewRecorder()
	transfer.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// 401
	// 200
	// 200 transferred
}

// What the user has chosen is kept with the session, and is in its next access token
// if the claims hook says so.
func ExampleAuth_SetData() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	choose := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := auth.SetData(w, r, r.FormValue("organisation"))
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		auth.WriteTokens(w, g)
	}))

	r := follow(signedIn(auth, "alice"), httptest.NewRecorder(), "POST", "/choose?organisation=acme")
	w := httptest.NewRecorder()
	choose.ServeHTTP(w, r)
	session, err := sessions.Verify(cookieOf(w, "__Host-access"))
	check(err)
	list, err := sessions.List(r.Context(), session)
	check(err)
	fmt.Println(w.Code, list[0].Data)
	// Output: 200 acme
}

func cookieOf(w *httptest.ResponseRecorder, name string) string {
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// Support staff sign in as a user, who sees by whom and why. What only the user may
// do refuses them.
func ExampleAuth_RefuseImpersonated() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	password := auth.RefuseImpersonated(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "changed") }))

	w := httptest.NewRecorder()
	g, err := auth.Login(w, httptest.NewRequest("POST", "/impersonate", nil), refresh.Login{
		Subject: "bob", Actor: "alice", Reason: "ticket 7",
	})
	check(err)
	fmt.Println(g.Claims.Subject, g.Claims.Actor, g.Claims.SessionExpiresAt.Sub(g.IssuedAt).Round(time.Hour))
	r := follow(httptest.NewRequest("GET", "/", nil), w, "POST", "/password")
	w = httptest.NewRecorder()
	password.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output:
	// bob alice 1h0m0s
	// 403 {"error":"access_denied","error_description":"Only the user may do this."}
}
