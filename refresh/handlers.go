package refresh

import (
	"errors"
	"net/http"
	"path"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/internal/answer"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// RefreshHandler exchanges refresh tokens, by POST. Where the token comes in
// decides how the answer goes out; two places at once are invalid_request:
//
//   - The refresh cookie: 200 {"expires_in"} and new cookies, no token in the
//     body. A refusal is 401 invalid_grant.
//   - A JSON body {"refresh_token"}, from native apps, or the form of RFC 6749
//     section 6: 200 and the token pair. A refusal is 400 invalid_grant
//     (RFC 6749 section 5.2).
//
// It deletes no cookies: a late refusal must not wipe a fresh login.
func (s *Service) RefreshHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer.Allow(w, r, http.MethodPost) {
			return
		}
		if err := s.CheckOrigin(r); err != nil {
			WriteError(w, err)
			return
		}
		p, err := readParams(w, r)
		if err == nil {
			err = s.checkRefresh(r, p)
		}
		switch {
		case err != nil:
			writeBadRequest(w, err)
		case p.refreshToken != "":
			s.refreshBody(w, r, p.refreshToken)
		default:
			s.refreshCookie(w, r)
		}
	})
}

// checkRefresh refuses what is no refresh request, before any token is looked at.
func (s *Service) checkRefresh(r *http.Request, p params) error {
	_, err := s.cookies.Read(r, cookie.Refresh)
	hasCookie := !errors.Is(err, cookie.ErrAbsent)
	switch {
	case p.grantType != "" && p.grantType != "refresh_token":
		return &badRequest{http.StatusBadRequest, "unsupported_grant_type", "The grant type must be refresh_token."}
	case p.refreshToken != "" && hasCookie:
		return invalid("A refresh token came in the body and in a cookie.")
	case err != nil && hasCookie:
		return invalid("The refresh cookie is repeated or malformed.")
	case p.form && p.refreshToken != "" && p.grantType == "":
		return invalid("The grant type is missing.")
	case p.refreshToken == "" && !hasCookie && !p.empty:
		return invalid("The refresh token is missing.")
	}
	return nil
}

func writeBadRequest(w http.ResponseWriter, err error) {
	var bad *badRequest
	if errors.As(err, &bad) {
		answer.Error(w, bad.status, bad.code, bad.description)
		return
	}
	WriteError(w, err)
}

func (s *Service) refreshBody(w http.ResponseWriter, r *http.Request, token string) {
	g, err := s.Refresh(r.Context(), token, s.ClientFrom(r, Body))
	switch {
	case errors.Is(err, ErrRefused):
		answer.Error(w, http.StatusBadRequest, "invalid_grant", "The session has ended. Sign in again.")
	case err != nil:
		WriteError(w, err)
	default:
		g.WriteJSON(w)
	}
}

func (s *Service) refreshCookie(w http.ResponseWriter, r *http.Request) {
	g, err := s.RefreshCookies(r)
	if err != nil {
		WriteError(w, err)
		return
	}
	switch {
	case s.revoked.has(g.Claims.SessionID):
		WriteError(w, ErrRevoked)
		return
	case s.Stale(r.Context(), g):
		WriteError(w, ErrUnavailable)
		return
	}
	if err := s.WriteCookies(w.Header(), r, g); err != nil {
		WriteError(w, err)
		return
	}
	answer.JSON(w, http.StatusOK, struct {
		ExpiresIn int64 `json:"expires_in"`
	}{g.ExpiresIn()})
}

// LogoutHandler ends the session whose tokens the request carries, by POST:
// in cookies, as a Bearer token, or as JSON {"refresh_token"}. It answers 204,
// also when there is nothing to end.
func (s *Service) LogoutHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer.Allow(w, r, http.MethodPost) {
			return
		}
		if err := s.CheckOrigin(r); err != nil {
			WriteError(w, err)
			return
		}
		var p params
		if r.ContentLength != 0 {
			var err error
			if p, err = readParams(w, r); err != nil {
				writeBadRequest(w, err)
				return
			}
		}
		if t, err := s.codec.decode(p.refreshToken); err == nil {
			if err := s.end(r, identity{t.subject, t.family}, family.ReasonLogout); err != nil {
				WriteError(w, err)
				return
			}
		}
		if err := s.Logout(w, r); err != nil {
			WriteError(w, err)
			return
		}
		answer.NoContent(w)
	})
}

// LogoutAllHandler ends every session of the signed-in subject, by POST, and
// answers 204. Mount it behind middleware.RequireAuth; without a session in
// the request's context it answers 401.
func (s *Service) LogoutAllHandler() http.Handler {
	return s.signedIn(http.MethodPost, func(w http.ResponseWriter, r *http.Request, c *access.Claims) {
		if err := s.RevokeAll(r.Context(), c.Subject, family.ReasonLogoutAll); err != nil {
			WriteError(w, err)
			return
		}
		s.deleteCookies(w, r)
		answer.NoContent(w)
	})
}

// ListHandler answers GET with {"sessions":[SessionInfo, …]}, newest first.
// Mount it behind middleware.RequireAuth.
func (s *Service) ListHandler() http.Handler {
	return s.signedIn(http.MethodGet, func(w http.ResponseWriter, r *http.Request, c *access.Claims) {
		list, err := s.List(r.Context(), c)
		if err != nil {
			WriteError(w, err)
			return
		}
		answer.JSON(w, http.StatusOK, struct {
			Sessions []SessionInfo `json:"sessions"`
		}{list})
	})
}

// EndHandler ends one session of the signed-in subject by DELETE: the one
// that the last element of the URL's path names. It answers 204, or 404 for
// an unknown session and for somebody else's, alike. Mount it behind
// middleware.RequireAuth.
func (s *Service) EndHandler() http.Handler {
	return s.signedIn(http.MethodDelete, func(w http.ResponseWriter, r *http.Request, c *access.Claims) {
		id := path.Base(r.URL.Path)
		if err := s.Revoke(r.Context(), c.Subject, id, family.ReasonUser); err != nil {
			WriteError(w, err)
			return
		}
		if id == c.SessionID {
			s.deleteCookies(w, r)
		}
		answer.NoContent(w)
	})
}

// signedIn wraps a handler for one method that needs the session in context.
func (s *Service) signedIn(method string, h func(http.ResponseWriter, *http.Request, *access.Claims)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer.Allow(w, r, method) {
			return
		}
		c, ok := access.FromContext(r.Context())
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer.Error(w, http.StatusUnauthorized, "invalid_token", "Sign in first.")
			return
		}
		h(w, r, c)
	})
}
