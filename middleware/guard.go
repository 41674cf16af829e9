package middleware

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
)

// RequireAuth lets requests with a session pass to next, which finds it with
// Session; all others are answered with 401, or a redirect for pages.
//
// An Authorization header of the scheme Bearer, or DPoP with its proof, if there
// is one, alone decides. Otherwise it is the access cookie; when that is absent, expired or unusable,
// the refresh cookie: the session is renewed, next runs, and its response
// carries the new cookies. Requests with unsafe methods, and WebSocket
// handshakes, that rely on cookies and come from another origin get 403, before
// anything is renewed. While the store is away a renewal gets 503 with
// Retry-After; valid access tokens go on working.
//
// It never deletes cookies: a late refusal must not wipe a fresh login.
func (a *Auth) RequireAuth(next http.Handler) http.Handler {
	return a.guard(next, guard{live: a.cfg.Live})
}

// OptionalAuth lets all requests pass to next, with their session if they
// have one. Credentials that are no good count as none; so do those that
// cannot be checked because the store is away. Only a request that is
// malformed (credentials sent twice) or cross-origin is refused.
func (a *Auth) OptionalAuth(next http.Handler) http.Handler {
	return a.guard(next, guard{live: a.cfg.Live, optional: true})
}

// RequireLive is RequireAuth that asks the store whether the session is
// alive, at the price of one round trip: for what must not rely on the feed.
// While the store is away it answers 503.
func (a *Auth) RequireLive(next http.Handler) http.Handler {
	return a.guard(next, guard{live: true})
}

// A guard is what one wrapped handler demands.
type guard struct {
	live     bool
	optional bool
	allow    func(*access.Claims) *refused
}

func (a *Auth) guard(next http.Handler, g guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := a.own(r)
		s, renewed := known, false
		if known == nil {
			s = a.authenticate(r)
			renewed = s.grant != nil && s.err == nil
		}
		if s.dpop && known == nil {
			a.keepNonce(w.Header())
		}
		if s.err == nil {
			s = a.confirm(r, s, g)
		}
		if s != known {
			r = r.WithContext(s)
		}
		switch {
		case s.err != nil && a.answerBound(w, r, s, g):
		case s.err != nil && !g.pass(s.err):
			a.refuse(w, r, refusedFor(s.err))
		case s.err == nil && g.allow != nil && a.forbidden(w, r, s, g, renewed):
		case renewed && s.err == nil:
			a.runRenewed(next, w, r, s.grant)
		default:
			a.run(next, w, r)
		}
	})
}

// pass reports whether a failed authentication leaves the request anonymous.
// Whoever only lacks a nonce can mend that.
func (g *guard) pass(err error) bool {
	return g.optional && !errors.Is(err, ErrCrossOrigin) && !errors.Is(err, ErrRepeated) && !errors.Is(err, access.ErrNonce)
}

// authenticate says who sent a request that no guard of these sessions has seen:
// guards may be nested, and what an outer one found out is not asked again. What
// a guard of other sessions found is hidden from the handler.
func (a *Auth) authenticate(r *http.Request) *state {
	s := &state{Context: r.Context(), sessions: a.sessions}
	cred, err := a.headerToken(r)
	s.header, s.dpop, s.token = cred.present, cred.dpop, cred.token
	switch {
	case !cred.present:
		a.readCookies(r, s)
	case err != nil:
		s.err = err
	case cred.dpop:
		s.claims, s.err = a.verifyBound(r, cred.token)
	default:
		s.claims, s.err = a.verifyBearer(r, cred.token)
	}
	if s.err != nil {
		s.claims, s.token = nil, ""
	}
	return s
}

// confirm asks what has to be asked again of a session that was found good: an
// earlier guard, or the renewal, may be a while ago. It returns the state, or
// one without the session.
func (a *Auth) confirm(r *http.Request, s *state, g guard) *state {
	var err error
	switch {
	case a.sessions.Revoked(s.claims):
		err = refresh.ErrRevoked
	case s.grant != nil || s.asked:
	case g.live:
		err = a.sessions.Live(r.Context(), s.claims)
		s.asked = err == nil
	default:
		err = a.sessions.LiveIfStale(r.Context(), s.claims)
	}
	outer := s == a.own(r)
	if err == nil || outer && g.optional && errors.Is(err, refresh.ErrUnavailable) {
		return s // an outer guard has vouched for the session
	}
	return &state{Context: r.Context(), sessions: a.sessions, err: err, header: s.header, dpop: s.dpop, original: s.original}
}

func (a *Auth) verifyBearer(r *http.Request, token string) (*access.Claims, error) {
	c, err := a.verify(r, token)
	if errors.Is(err, access.ErrExpired) && a.cfg.OutageGrace > 0 {
		c, err = a.inOutage(r, token, "")
	}
	if errors.Is(err, refresh.ErrUnproven) {
		err = a.boundAsBearer(r, token)
	}
	return c, err
}

// readCookies fills in what the cookies say: the access token, or else the
// refresh token.
func (a *Auth) readCookies(r *http.Request, s *state) {
	failed := ErrNoCredentials
	text, err := a.cookies.Read(r, cookie.Access)
	if s.retry = text == notRenewed; err == nil && !s.retry {
		if s.claims, err = a.verify(r, text); err == nil {
			s.token, s.err = text, a.CheckOrigin(r)
			return
		}
		failed = err
	}
	value, err := a.cookies.Read(r, cookie.Refresh)
	switch {
	case errors.Is(err, cookie.ErrAbsent) && a.keyAlone(r):
		s.err = refresh.ErrUnavailable
		return
	case errors.Is(err, cookie.ErrAbsent), a.cfg.NoTransparentRefresh:
		s.err = failed
		return
	}
	// Before anything is renewed. A request without cookies relies on none,
	// wherever it comes from.
	if s.err = a.CheckOrigin(r); s.err != nil {
		return
	}
	if err != nil {
		s.err = refresh.ErrInvalidToken
		return
	}
	s.grant, s.err = a.sessions.Refresh(r.Context(), value, a.BrowserClient(r))
	switch {
	case s.err == nil:
		s.claims, s.token = s.grant.Claims, s.grant.AccessToken
		a.missedBinding(r, s.grant)
	case errors.Is(s.err, refresh.ErrUnavailable) && errors.Is(failed, access.ErrExpired) && a.cfg.OutageGrace > 0:
		if c, err := a.inOutage(r, text, ""); err == nil {
			s.claims, s.token, s.err = c, text, nil
		}
	}
}

func (a *Auth) run(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if a.cfg.HideTokens {
		r = a.hideTokens(r)
	}
	next.ServeHTTP(w, r)
}

// runRenewed runs next for a session that this request renewed. The cookies
// stand in the header before next runs, so that a framework that writes to the
// writer it was given itself cannot lose them; when the answer's headers are
// about to leave through the writer that next has, they are corrected.
func (a *Auth) runRenewed(next http.Handler, w http.ResponseWriter, r *http.Request, g *refresh.Grant) {
	d := a.deliver(w.Header(), r, g)
	if s := a.own(r); s != nil {
		s.delivery = d
	}
	a.run(next, d.wrap(w), r)
	d.commit()
}

// hideTokens returns the request without the kit's cookies, and without the
// Authorization header that was read. All else stays as it was sent, to the
// letter.
func (a *Auth) hideTokens(r *http.Request) *http.Request {
	s := stateOf(r.Context())
	if s.original == nil {
		s.original = r
	}
	hidden := r.WithContext(s)
	hidden.Header = r.Header.Clone()
	if s.header {
		delete(hidden.Header, "Authorization")
		delete(hidden.Header, proofHeader)
	}
	delete(hidden.Header, "Cookie")
	for _, line := range r.Header["Cookie"] {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if name, _, _ := strings.Cut(pair, "="); !a.isOurs(name) {
				pairs = append(pairs, pair)
			}
		}
		if len(pairs) > 0 {
			hidden.Header["Cookie"] = append(hidden.Header["Cookie"], strings.Join(pairs, "; "))
		}
	}
	return hidden
}

// isOurs reports whether a cookie is one of the kit's.
func (a *Auth) isOurs(name string) bool {
	for _, n := range allCookies {
		if name == a.cookies.Name(n) {
			return true
		}
	}
	return false
}

// WatchSession returns a context that ends with the request's session, for
// streams: when the session is revoked (its cause is then refresh.ErrRevoked),
// when it ends by its idle timeout or absolute lifetime (refresh.ErrGone), and
// with the request. Without a session in the request's context it is over at
// once. See refresh.Sessions.WatchSession.
func (a *Auth) WatchSession(r *http.Request) (context.Context, context.CancelFunc) {
	c, ok := Session(r.Context())
	if !ok {
		ctx, cancel := context.WithCancelCause(r.Context())
		cancel(ErrNoCredentials)
		return ctx, func() {}
	}
	return a.sessions.WatchSession(r.Context(), c)
}

// forbidden answers a request whose session is good but not good enough, and
// reports whether it did. A session that was renewed on the way keeps its new
// cookies.
func (a *Auth) forbidden(w http.ResponseWriter, r *http.Request, s *state, g guard, renewed bool) bool {
	no := g.allow(s.claims)
	if no == nil {
		return false
	}
	a.record(r, refresh.Event{Kind: refresh.EventForbidden, Subject: s.claims.Subject, Actor: s.claims.Actor, SessionID: s.claims.SessionID, Generation: uint32(s.claims.Generation), Err: errors.New(no.Code)})
	if renewed {
		a.deliver(w.Header(), r, s.grant).commit()
	}
	answer := *no
	a.refuse(w, r, &answer)
	return true
}
