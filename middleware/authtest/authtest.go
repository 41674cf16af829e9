// Package authtest signs users in for the tests of an app's own handlers: the
// real kit over an in-memory store, with no Redis and no keys to manage. It
// works inside testing/synctest bubbles, where hours pass in no time.
//
//	kit := authtest.New(t, sessionkit.Config{})
//	h := kit.RequireAuth(myHandler)
//	r := httptest.NewRequest("GET", "/", nil)
//	kit.SignIn(authtest.User{Subject: "alice"}).Bearer(r)
//	h.ServeHTTP(httptest.NewRecorder(), r)
//
// A handler that reads its session with middleware.Session can also be tested
// without any guard: see Session.Context.
package authtest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Kit is the app's kit, for tests.
type Kit struct {
	*sessionkit.Kit

	t     testing.TB
	mu    sync.Mutex
	users map[string]refresh.SubjectClaims
}

// A User is who signs in, and what they may do.
type User struct {
	Subject string // mandatory
	Roles   []string
	Scopes  []string
	// Custom becomes members of the access token; see middleware.Custom.
	Custom any
	// Remember, ACR and AMR are as in refresh.Login.
	Remember bool
	ACR      string
	AMR      []string
}

// New returns a Kit for the app's own Config, with what is missing filled in:
// issuer, keys, a memory store, the sign-in page /login, and claims, which are
// those of the users who sign in; a Config with a Claims hook asks that. It is
// closed when the test ends.
//
// In TestMain, where there is no test yet, t is nil: what fails then panics, and
// the caller closes the Kit.
func New(t testing.TB, cfg sessionkit.Config) *Kit {
	k := &Kit{t: t, users: make(map[string]refresh.SubjectClaims)}
	if t != nil {
		t.Helper()
	}
	if cfg.Keys == nil {
		keys, err := access.GenerateKeys(access.HS256)
		k.check(err)
		cfg.Keys, err = access.NewKeyRing(keys)
		k.check(err)
	}
	if cfg.Claims == nil {
		cfg.Claims = k.claims
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, "https://authtest.example")
	cfg.LoginPath = cmp.Or(cfg.LoginPath, "/login")
	var err error
	k.Kit, err = sessionkit.New(cfg)
	k.check(err)
	if t != nil {
		t.Cleanup(func() { k.Close() })
	}
	return k
}

func (k *Kit) check(err error) {
	switch {
	case err == nil:
	case k.t == nil:
		panic(err)
	default:
		k.t.Helper()
		k.t.Fatal(err)
	}
}

// claims answers with what the user last signed in with.
func (k *Kit) claims(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.users[q.Subject], nil
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
	k.mu.Lock()
	k.users[u.Subject] = refresh.SubjectClaims{Roles: u.Roles, Scopes: u.Scopes, Custom: u.Custom}
	k.mu.Unlock()
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil)
	g, err := k.Login(w, r, refresh.Login{Subject: u.Subject, Remember: u.Remember, ACR: u.ACR, AMR: u.AMR})
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
	return middleware.NewContext(ctx, s.Grant.Claims)
}

// Revoke ends the session, as a logout elsewhere would.
func (s *Session) Revoke() {
	s.kit.check(s.kit.Sessions.Revoke(context.Background(), s.Grant.Claims.Subject, s.Grant.Claims.SessionID, family.ReasonLogout))
}
