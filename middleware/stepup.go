package middleware

import (
	"net/http"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
)

// StepUp renews the session of a request that passed a guard, after the app has
// asked the user for the password or a second factor once more: the same
// session, both tokens new, with a fresh auth_time, ACR and AMR, which
// RequireStepUp then accepts. A browser's cookies are set; a native app, whose
// access token came in a header, gets what WriteTokens sends.
//
// It fails with ErrNoCredentials without a session, with ErrCrossOrigin, and
// with the errors of refresh.Sessions.StepUp. Nothing is changed then, in w
// either. WriteError answers for all of them.
func (a *Auth) StepUp(w http.ResponseWriter, r *http.Request, how refresh.AuthContext) (*refresh.Grant, error) {
	s, r, err := a.signedInAs(r)
	if err != nil {
		return nil, err
	}
	if s.header {
		g, err := a.sessions.StepUp(r.Context(), s.claims, "", how, a.native(r))
		s.latest = g
		return g, err
	}
	token, _ := a.cookies.Read(r, cookie.Refresh)
	g, err := a.sessions.StepUp(r.Context(), s.claims, token, how, a.BrowserClient(r))
	if err != nil {
		return nil, err
	}
	if err := a.renewCookies(w.Header(), r, g); err != nil {
		return nil, err
	}
	g.InCookies, s.latest = true, g
	return g, nil
}

// SetData changes what the app keeps with the session of a request that passed a
// guard (see refresh.Login), and replaces the session's access token by one that
// the claims hook has had its say about with the new data: in the browser's
// cookie, or with what WriteTokens sends. The new token expires when the old one
// does.
//
// It fails with ErrNoCredentials without a session, with ErrCrossOrigin, and
// with the errors of refresh.Sessions.SetData. WriteError answers for all of
// them.
func (a *Auth) SetData(w http.ResponseWriter, r *http.Request, data string) (*refresh.Grant, error) {
	s, r, err := a.signedInAs(r)
	if err != nil {
		return nil, err
	}
	current := s.newestClaims()
	if s.header {
		g, err := a.sessions.SetData(r.Context(), current, data, a.native(r))
		if err == nil {
			s.latest = g
		}
		return g, err
	}
	g, err := a.sessions.SetData(r.Context(), current, data, a.BrowserClient(r))
	if err != nil {
		return nil, err
	}
	if s.grant != nil && s.latest == nil {
		// The cookies of the renewal and this one go together or not at all: an
		// access token of a generation that the browser did not get would
		// settle it.
		g.RefreshToken = s.grant.RefreshToken
		if s.delivery != nil {
			s.delivery.done = true // these are the renewal's and not replaced
		}
		err = a.setCookies(w.Header(), g)
	} else {
		err = a.setAccessCookie(w.Header(), g)
	}
	if err != nil {
		return nil, err
	}
	g.InCookies, s.latest = true, g
	return g, nil
}

// signedInAs returns what a guard found out about a request, and the request as
// it came.
func (a *Auth) signedInAs(r *http.Request) (*state, *http.Request, error) {
	s := a.own(r)
	if s == nil || s.claims == nil {
		return nil, nil, ErrNoCredentials
	}
	r = a.original(r)
	if !s.header {
		if err := a.CheckOrigin(r); err != nil {
			return nil, nil, err
		}
	}
	return s, r, nil
}

// newestClaims are those of the newest access token that the request brings.
func (s *state) newestClaims() *access.Claims {
	if s.latest != nil {
		return s.latest.Claims
	}
	return s.claims
}
