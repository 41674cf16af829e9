package middleware

import (
	"context"
	"net/http"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

// A state is what guards have found out about a request. It is the request's
// context: a context of its own costs one allocation, and a value in it two.
type state struct {
	context.Context
	sessions *refresh.Sessions // whose guard it was; nil in tests of an app
	claims   *access.Claims    // nil: no session
	token    string            // the access token of claims
	grant    *refresh.Grant    // not nil: the session was renewed for this request
	delivery *delivery         // of the grant, once a handler runs
	latest   *refresh.Grant    // not nil: what the handler asked for last in its place
	err      error             // why there is no session
	asked    bool              // the store has said that the session is alive
	header   bool              // the Authorization header decided
	dpop     bool              // its scheme is DPoP
	retry    bool              // the endpoint for device keys had no answer: see notRenewed
	// original is the request as it came, where its tokens were hidden.
	original *http.Request
}

type stateKey struct{}

// Value implements context.Context.
func (s *state) Value(key any) any {
	if key == (stateKey{}) {
		return s
	}
	return s.Context.Value(key)
}

func stateOf(ctx context.Context) *state {
	s, _ := ctx.Value(stateKey{}).(*state)
	return s
}

// NewContext returns a context in which Session finds the claims: for tests of
// handlers without a guard.
func NewContext(ctx context.Context, c *access.Claims) context.Context {
	return &state{Context: ctx, claims: c}
}

// Session returns the session of a request that passed a guard: the claims of
// its access token. They are shared between requests: read only.
func Session(ctx context.Context) (*access.Claims, bool) {
	if s := stateOf(ctx); s != nil && s.claims != nil {
		return s.claims, true
	}
	return nil, false
}

// Subject returns the subject of the request's session, or "" without one.
func Subject(ctx context.Context) string {
	if c, ok := Session(ctx); ok {
		return c.Subject
	}
	return ""
}

// AccessToken returns the access token of the request's session, renewed if
// that was needed, for calls to other services that accept it; "" without one.
func AccessToken(ctx context.Context) string {
	if s := stateOf(ctx); s != nil && s.claims != nil {
		return s.token
	}
	return ""
}

// Custom decodes the app's own claims of the request's session into a T, such
// as struct{Tenant string `json:"tenant"`}. It fails with access.ErrClaims
// when they do not fit or the request has no session.
func Custom[T any](ctx context.Context) (T, error) {
	var v T
	c, ok := Session(ctx)
	if !ok {
		return v, access.ErrClaims
	}
	if err := c.Decode(&v); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// own returns what guards of these sessions know about the request, or nil.
func (a *Auth) own(r *http.Request) *state {
	if s := stateOf(r.Context()); s != nil && s.sessions == a.sessions {
		return s
	}
	return nil
}

// original returns the request as it came, its tokens included.
func (a *Auth) original(r *http.Request) *http.Request {
	if s := a.own(r); s != nil && s.original != nil {
		return s.original
	}
	return r
}
