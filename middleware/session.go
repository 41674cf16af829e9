package middleware

import (
	"errors"
	"net/http"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// sessionStatus is what GET /auth/session answers, times in whole seconds.
type sessionStatus struct {
	Subject          string   `json:"subject"`
	SessionID        string   `json:"session_id"`
	ExpiresIn        int64    `json:"expires_in"`
	IdleExpiresIn    int64    `json:"idle_expires_in"`
	SessionExpiresIn int64    `json:"session_expires_in"`
	AuthTime         int64    `json:"auth_time"`
	Roles            []string `json:"roles"`
	DeviceBound      bool     `json:"device_bound"`
	// Actor is who acts for the subject.
	Actor string `json:"actor,omitempty"`
}

// sessionEndpoint says how the request's session stands. It is no guard: it
// renews nothing, and whoever has no session is told so with 200.
func (a *Auth) sessionEndpoint(w http.ResponseWriter, r *http.Request) error {
	var answer struct {
		Session *sessionStatus `json:"session"`
	}
	st, err := a.status(r)
	switch {
	case err == nil:
		answer.Session = newSessionStatus(st)
	case errors.Is(err, access.ErrNonce):
		return err
	case errors.Is(err, refresh.ErrUnproven) && a.answerBound(w, r, &state{err: err}, guard{}):
		return nil
	case refusedFor(err).Status != http.StatusUnauthorized:
		return err
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// status asks about the session that a guard found; else about the tokens in the
// header, or else in the cookies.
func (a *Auth) status(r *http.Request) (*refresh.Status, error) {
	s := a.own(r)
	r = a.original(r)
	if s != nil && s.claims != nil {
		c := a.BrowserClient(r)
		if s.header {
			c = a.native(r)
		}
		c.Key = keyOf(s.claims)
		return a.sessions.Status(r.Context(), s.token, "", c)
	}
	cred, err := a.headerToken(r)
	switch {
	case err != nil:
		return nil, err
	case cred.dpop:
		return a.statusOfBound(r, cred.token)
	case cred.present:
		return a.sessions.Status(r.Context(), cred.token, "", a.native(r))
	}
	accessToken, _ := a.cookies.Read(r, cookie.Access)
	refreshToken, _ := a.cookies.Read(r, cookie.Refresh)
	switch {
	case refreshToken == "" && a.keyAlone(r):
		return nil, refresh.ErrUnavailable
	case accessToken == "" && refreshToken == "":
		return nil, ErrNoCredentials
	}
	return a.sessions.Status(r.Context(), accessToken, refreshToken, a.BrowserClient(r))
}

// statusOfBound is status for an access token that came with a proof. The token
// may have expired: whether it is one of the key says Status.
func (a *Auth) statusOfBound(r *http.Request, token string) (*refresh.Status, error) {
	proof, err := a.prove(r, token)
	if err != nil {
		return nil, a.proofFailed(r, &access.Claims{}, err)
	}
	c := a.native(r)
	c.Key = family.Key{Kind: family.KeyDPoP, Thumbprint: proof.Thumbprint}
	st, err := a.sessions.Status(r.Context(), token, "", c)
	if err == nil {
		if err = a.proofs.add(proof, a.sessions.Access().Now()); err != nil {
			return nil, a.proofFailed(r, &access.Claims{Subject: st.Subject, SessionID: st.SessionID}, err)
		}
	}
	return st, err
}

func newSessionStatus(st *refresh.Status) *sessionStatus {
	in := func(t time.Time) int64 { return max(0, int64(t.Sub(st.At)/time.Second)) }
	s := &sessionStatus{
		Subject: st.Subject, SessionID: st.SessionID, Actor: st.Actor, AuthTime: st.AuthTime.Unix(),
		IdleExpiresIn: in(st.IdleExpiresAt), SessionExpiresIn: in(st.SessionExpiresAt),
		Roles: st.Roles, DeviceBound: st.DeviceBound,
	}
	if !st.ExpiresAt.IsZero() {
		s.ExpiresIn = in(st.ExpiresAt)
	}
	if s.Roles == nil {
		s.Roles = []string{}
	}
	return s
}
