package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Handler serves the kit's endpoints below a path, such as "/auth":
//
//	POST   /auth/token/refresh   exchanges a refresh token
//	POST   /auth/logout          ends the sessions whose tokens the request carries
//	POST   /auth/logout-all      ends every session of the signed-in subject
//	GET    /auth/session         says how the request's session stands, and changes nothing
//	GET    /auth/sessions        lists the subject's sessions
//	DELETE /auth/sessions/{id}   ends one of them
//	POST   /auth/dbsc/register   where a browser registers a key of its device
//	POST   /auth/dbsc/refresh    where it renews a session that is bound to one
//
// Mount it with mux.Handle("/auth/", auth.Handler("/auth")).
//
// Where a refresh token comes in decides how the answer goes out; two places at
// once are invalid_request. The refresh cookie gets {"expires_in"} and new
// cookies, and no token in the body; a refusal is 401 invalid_grant. A JSON body
// {"refresh_token"}, from native apps, or the form of RFC 6749 section 6 gets
// the token pair; a refusal is 400 invalid_grant (RFC 6749 section 5.2). A
// session that is bound to a native app's key needs a proof in the header DPoP:
// without a good one it is 400 invalid_dpop_proof or use_dpop_nonce (RFC 9449
// section 5), and the session goes on. It deletes no cookies: a late refusal must
// not wipe a fresh login.
func (a *Auth) Handler(path string) http.Handler {
	path = strings.TrimRight(path, "/")
	mux := http.NewServeMux()
	mux.Handle(path+"/token/refresh", a.endpoint(a.refreshEndpoint, http.MethodPost))
	mux.Handle(path+"/logout", a.endpoint(a.logoutEndpoint, http.MethodPost))
	mux.Handle(path+"/logout-all", a.signedIn(a.logoutAllEndpoint, http.MethodPost))
	mux.Handle(path+"/session", a.endpoint(a.sessionEndpoint, http.MethodGet, http.MethodHead))
	mux.Handle(path+"/sessions", a.signedIn(a.listEndpoint, http.MethodGet, http.MethodHead))
	mux.Handle(path+"/sessions/{id}", a.signedIn(a.endEndpoint, http.MethodDelete))
	a.mountKeys(mux, path)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.write(w, r, &refused{Refusal: Refusal{Status: http.StatusNotFound, Code: "not_found", Description: "There is no such resource."}})
	})
	return mux
}

// signedIn is endpoint behind RequireAuth.
func (a *Auth) signedIn(serve func(http.ResponseWriter, *http.Request, *access.Claims) error, methods ...string) http.Handler {
	return a.RequireAuth(a.endpoint(func(w http.ResponseWriter, r *http.Request) error {
		c, _ := Session(r.Context())
		return serve(w, r, c)
	}, methods...))
}

func (a *Auth) refreshEndpoint(w http.ResponseWriter, r *http.Request) error {
	r = a.original(r)
	p, err := readParams(w, r)
	if err == nil {
		err = a.checkRefresh(r, p)
	}
	switch {
	case err != nil:
		return err
	case p.refreshToken != "":
		return a.refreshBody(w, r, p.refreshToken)
	}
	return a.refreshCookie(w, r)
}

// checkRefresh refuses what is no refresh request, before any token is looked at.
func (a *Auth) checkRefresh(r *http.Request, p params) error {
	_, err := a.cookies.Read(r, cookie.Refresh)
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

func (a *Auth) refreshBody(w http.ResponseWriter, r *http.Request, token string) error {
	c := a.native(r)
	if _, err := a.sessions.HeldRefresh(token); err == nil {
		if c, _, err = a.provenClient(r, c); err != nil {
			return a.proofFailed(r, nil, err)
		}
	}
	g, err := a.sessions.Refresh(r.Context(), token, c)
	switch {
	case errors.Is(err, refresh.ErrUnproven):
		return &proofError{code: codeProof, description: "The session is bound to a key: a proof of it is needed that was not used before.", tokens: true, cause: err}
	case errors.Is(err, refresh.ErrRefused):
		a.write(w, r, &refused{Refusal: Refusal{Status: http.StatusBadRequest, Code: "invalid_grant", Description: "The session has ended. Sign in again.", Cause: err}})
		return nil
	case err != nil:
		return err
	}
	a.WriteTokens(w, g)
	return nil
}

func (a *Auth) refreshCookie(w http.ResponseWriter, r *http.Request) error {
	if err := a.CheckOrigin(r); err != nil {
		return err
	}
	if err := refuseProof(r); err != nil {
		return err
	}
	value, err := a.cookies.Read(r, cookie.Refresh)
	switch {
	case err != nil && a.keyAlone(r):
		return refresh.ErrUnavailable
	case err != nil:
		return ErrNoCredentials
	}
	g, err := a.sessions.Refresh(r.Context(), value, a.BrowserClient(r))
	switch {
	case errors.Is(err, refresh.ErrUnproven):
		return a.refreshBound(w, r, err)
	case err != nil:
		return err
	case a.sessions.Revoked(g.Claims):
		return refresh.ErrRevoked
	case a.sessions.Superseded(r.Context(), g):
		return refresh.ErrUnavailable
	}
	if err := a.renewCookies(w.Header(), r, g); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		ExpiresIn int64 `json:"expires_in"`
	}{g.ExpiresIn()})
	return nil
}

// logoutEndpoint ignores what it cannot read in the body, and ends what the
// rest of the request proves: its sender may never learn of a refusal.
func (a *Auth) logoutEndpoint(w http.ResponseWriter, r *http.Request) error {
	p, err := readParams(w, r)
	if err != nil {
		p = params{}
	}
	if err := a.logout(w, r, p.refreshToken); err != nil {
		return err
	}
	noContent(w)
	return nil
}

// logoutAllEndpoint, like endEndpoint, does not let somebody who acts for the
// user end the user's own sessions.
func (a *Auth) logoutAllEndpoint(w http.ResponseWriter, r *http.Request, c *access.Claims) error {
	if c.Actor != "" {
		return refresh.ErrImpersonated
	}
	if err := a.sessions.RevokeAll(r.Context(), c.Subject, family.ReasonLogoutAll); err != nil {
		return err
	}
	a.forgetSession(w, r)
	noContent(w)
	return nil
}

// forgetSession deletes the cookies of a session that the request came with.
func (a *Auth) forgetSession(w http.ResponseWriter, r *http.Request) {
	if s := a.own(r); s == nil || !s.header {
		a.deleteCookies(w.Header(), s != nil && s.claims != nil && s.claims.DeviceBound)
	}
}

func (a *Auth) listEndpoint(w http.ResponseWriter, r *http.Request, c *access.Claims) error {
	list, err := a.sessions.List(r.Context(), c)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Sessions []refresh.SessionInfo `json:"sessions"`
	}{list})
	return nil
}

// endEndpoint answers 404 for an unknown session and for somebody else's,
// alike. The id is what the whole segment spells.
func (a *Auth) endEndpoint(w http.ResponseWriter, r *http.Request, c *access.Claims) error {
	id := r.PathValue("id")
	if c.Actor != "" && id != c.SessionID {
		return refresh.ErrImpersonated
	}
	if err := a.sessions.Revoke(r.Context(), c.Subject, id, family.ReasonUser); err != nil {
		return err
	}
	if id == c.SessionID {
		a.forgetSession(w, r)
	}
	noContent(w)
	return nil
}
