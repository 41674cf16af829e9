package middleware_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// exampleAuth is the kit as an app sets it up, with alice as administrator.
func exampleAuth() (*middleware.Auth, *refresh.Sessions) {
	keys, err := access.GenerateKeys(access.EdDSA)
	check(err)
	ring, err := access.NewKeyRing(keys)
	check(err)
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	check(err)
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	check(err)
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store, Claims: func(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
		if q.Subject == "alice" {
			return refresh.SubjectClaims{Roles: []string{"admin"}}, nil
		}
		return refresh.SubjectClaims{}, nil
	}})
	check(err)
	auth, err := middleware.New(middleware.Config{Sessions: sessions, LoginPath: "/login"})
	check(err)
	return auth, sessions
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// signedIn returns a request with the cookies of a user who has just signed in.
func signedIn(auth *middleware.Auth, subject string) *http.Request {
	w := httptest.NewRecorder()
	_, err := auth.Login(w, httptest.NewRequest("POST", "/login", nil), refresh.Login{Subject: subject})
	check(err)
	r := httptest.NewRequest("GET", "/account", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r
}

func show(h http.Handler, r *http.Request) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"), w.Header().Get("WWW-Authenticate"), w.Body)
}

func ExampleAuth_RequireAuth() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	account := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := middleware.Session(r.Context())
		fmt.Fprint(w, "hello ", session.Subject)
	}))

	show(account, signedIn(auth, "alice"))
	show(account, httptest.NewRequest("GET", "/account", nil)) // an API client
	page := httptest.NewRequest("GET", "/account?tab=2", nil)
	page.Header.Set("Sec-Fetch-Mode", "navigate") // a browser
	show(account, page)
	// Output:
	// 200   hello alice
	// 401  Bearer {"error":"unauthorized","error_description":"Sign in first."}
	//
	// 303 /login?return_to=%2Faccount%3Ftab%3D2  <a href="/login?return_to=%2Faccount%3Ftab%3D2">See Other</a>.
}

func ExampleAuth_Login() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	login := auth.SameOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "wonderland" { // your own check
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
			return
		}
		if _, err := auth.Login(w, r, refresh.Login{Subject: r.FormValue("user"), Remember: true}); err != nil {
			auth.WriteError(w, r, err)
			return
		}
		http.Redirect(w, r, middleware.LocalPath(r.FormValue("return_to"), "/"), http.StatusSeeOther)
	}))

	w := httptest.NewRecorder()
	login.ServeHTTP(w, httptest.NewRequest("POST", "/login?user=alice&password=wonderland&return_to=/account", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	for _, c := range w.Result().Cookies() {
		fmt.Println(c.Name, c.HttpOnly, c.Secure)
	}
	// Output:
	// 303 /account
	// __Host-device true true
	// __Host-refresh true true
	// __Host-access true true
}

func ExampleAuth_OptionalAuth() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	home := auth.OptionalAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, ok := middleware.Session(r.Context()); ok {
			fmt.Fprint(w, "welcome back, ", session.Subject)
			return
		}
		fmt.Fprint(w, "welcome")
	}))

	show(home, httptest.NewRequest("GET", "/", nil))
	show(home, signedIn(auth, "bob"))
	// Output:
	// 200   welcome
	// 200   welcome back, bob
}

func ExampleAuth_RequireRole() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	admin := auth.RequireRole("admin", "root")
	users := admin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all users") }))

	show(users, signedIn(auth, "alice"))
	show(users, signedIn(auth, "bob"))
	// Output:
	// 200   all users
	// 403  Bearer error="insufficient_scope", error_description="The session lacks the role." {"error":"insufficient_scope","error_description":"The session lacks the role."}
}

func ExampleAuth_RequireStepUp() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	recent := auth.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})
	strong := auth.RequireStepUp(middleware.StepUp{ACR: []string{"passkey"}})
	transfer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })

	show(recent(transfer), signedIn(auth, "alice"))
	show(strong(transfer), signedIn(auth, "alice"))
	// Output:
	// 200   done
	// 401  Bearer error="insufficient_user_authentication", error_description="Sign in again to do this.", acr_values="passkey" {"error":"insufficient_user_authentication","error_description":"Sign in again to do this."}
}

func ExampleAuth_WatchSession() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	stream := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := auth.WatchSession(r)
		defer cancel()
		fmt.Fprint(w, "data: hello\n\n")

		// Meanwhile, the user's password is changed on another device.
		check(sessions.RevokeAll(context.Background(), "alice", family.ReasonPassword))

		<-ctx.Done()
		fmt.Println("the stream ends:", context.Cause(ctx))
	}))
	stream.ServeHTTP(httptest.NewRecorder(), signedIn(auth, "alice"))
	// Output: the stream ends: refresh: session revoked
}

// A native app keeps the pair itself and sends the refresh token as JSON.
func ExampleAuth_LoginNative() {
	auth, sessions := exampleAuth()
	defer sessions.Close()
	r := httptest.NewRequest("POST", "/login", nil)
	r.Header.Set(middleware.DeviceIDHeader, "d1")
	g, err := auth.LoginNative(r, refresh.Login{Subject: "alice"})
	check(err)
	w := httptest.NewRecorder()
	auth.WriteTokens(w, g)
	fmt.Println(w.Code, len(w.Result().Cookies()), "cookies")

	for _, device := range []string{"another", "d1"} {
		r = httptest.NewRequest("POST", "/auth/token/refresh", strings.NewReader(`{"refresh_token":"`+g.RefreshToken+`"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(middleware.DeviceIDHeader, device)
		w = httptest.NewRecorder()
		auth.Handler("/auth").ServeHTTP(w, r)
		fmt.Println("device", device, w.Code)
	}
	// Output:
	// 200 0 cookies
	// device another 400
	// device d1 200
}
