// Package authtest signs users in for the tests of an app's own handlers: the
// real kit over an in-memory store, with no Redis and no keys to manage. It
// works inside testing/synctest bubbles, where hours pass in no time.
//
//	kit := authtest.New(t)
//	h := kit.Auth.RequireAuth(myHandler)
//	r := httptest.NewRequest("GET", "/", nil)
//	kit.SignIn(authtest.User{Subject: "alice"}).Bearer(r)
//	h.ServeHTTP(httptest.NewRecorder(), r)
//
// A handler that reads its session with middleware.Session can also be tested
// without any guard: see Session.Context.
package authtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Kit is sessionkit with default settings, for one test.
type Kit struct {
	// Auth guards handlers. Its LoginPath is "/login".
	Auth *middleware.Auth
	// Sessions is the service behind it, for revoking sessions and the like.
	Sessions *refresh.Service

	t     testing.TB
	mu    sync.Mutex
	users map[string]refresh.Authority
}

// A User is who signs in, and what they may do.
type User struct {
	Subject string // mandatory
	Roles   []string
	Scopes  []string
	// Custom becomes members of the access token; see middleware.Custom.
	Custom any
	// Remember, ACR and AMR are as in refresh.LoginParams.
	Remember bool
	ACR      string
	AMR      []string
}

// New returns a Kit that is closed when the test ends.
func New(t testing.TB) *Kit {
	t.Helper()
	k := &Kit{t: t, users: make(map[string]refresh.Authority)}
	keys, err := access.GenerateKeys(access.HS256)
	k.check(err)
	ring, err := access.NewKeyRing(keys)
	k.check(err)
	tokens, err := access.New(access.Config{Issuer: "https://authtest.example", Audience: "authtest", Keys: ring})
	k.check(err)
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	k.check(err)
	k.Sessions, err = refresh.New(refresh.Config{Access: tokens, Store: store, Claims: k.claims})
	k.check(err)
	t.Cleanup(func() { k.Sessions.Close() })
	k.Auth, err = middleware.New(middleware.Config{Sessions: k.Sessions, LoginPath: "/login"})
	k.check(err)
	return k
}

func (k *Kit) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// claims answers with what the user last signed in with.
func (k *Kit) claims(_ context.Context, subject string) (refresh.Authority, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.users[subject], nil
}

// A Session is a signed-in browser.
type Session struct {
	// Grant holds the tokens and claims of the sign-in.
	Grant *refresh.Grant

	cookies []*http.Cookie
	kit     *Kit
}

// SignIn opens a session. From then on the subject has the user's roles,
// scopes and claims, in all of their sessions at the next renewal.
func (k *Kit) SignIn(u User) *Session {
	k.t.Helper()
	k.mu.Lock()
	k.users[u.Subject] = refresh.Authority{Roles: u.Roles, Scopes: u.Scopes, Custom: u.Custom}
	k.mu.Unlock()
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil)
	g, err := k.Sessions.Login(w, r, refresh.LoginParams{Subject: u.Subject, Remember: u.Remember, ACR: u.ACR, AMR: u.AMR})
	k.check(err)
	return &Session{Grant: g, cookies: w.Result().Cookies(), kit: k}
}

// Bearer puts the access token into the request's Authorization header, and
// returns the request.
func (s *Session) Bearer(r *http.Request) *http.Request {
	r.Header.Set("Authorization", "Bearer "+s.Grant.AccessToken)
	return r
}

// Cookies adds the browser's cookies to the request, and returns it.
func (s *Session) Cookies(r *http.Request) *http.Request {
	for _, c := range s.cookies {
		r.AddCookie(c)
	}
	return r
}

// Expired adds the browser's cookies but for the access token, as if that had
// run out: a guard renews the session. It returns the request.
func (s *Session) Expired(r *http.Request) *http.Request {
	for _, c := range s.cookies {
		if c.Value != s.Grant.AccessToken {
			r.AddCookie(c)
		}
	}
	return r
}

// Context returns a context with the session in it, for calling a handler
// without any guard: r.WithContext(s.Context(r.Context())).
func (s *Session) Context(ctx context.Context) context.Context {
	return access.NewContext(ctx, s.Grant.Claims)
}

// Revoke ends the session, as a logout elsewhere would.
func (s *Session) Revoke() {
	s.kit.t.Helper()
	s.kit.check(s.kit.Sessions.Revoke(context.Background(), s.Grant.Claims.Subject, s.Grant.Claims.SessionID, family.ReasonLogout))
}
