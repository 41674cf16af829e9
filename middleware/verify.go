package middleware

import (
	"errors"
	"net/http"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

// verify checks an access token, and reports one that only a forger, or a key
// that left the ring, can explain.
func (a *Auth) verify(r *http.Request, text string) (*access.Claims, error) {
	c, err := a.sessions.Verify(text)
	if err != nil {
		err = a.unverified(r, err)
	}
	return c, err
}

func (a *Auth) unverified(r *http.Request, err error) error {
	if !errors.Is(err, access.ErrExpired) && !errors.Is(err, refresh.ErrRefused) {
		a.record(r, refresh.Event{Kind: refresh.EventInvalidToken, Err: err})
	}
	return err
}

// inOutage accepts a token that expired lately while the store is away. key is
// the thumbprint of the key of which a proof came with it; empty without.
func (a *Auth) inOutage(r *http.Request, token, key string) (*access.Claims, error) {
	c, err := a.sessions.VerifyInOutage(r.Context(), token, a.cfg.OutageGrace)
	if err == nil && c.KeyThumbprint != key {
		return nil, refresh.ErrUnproven
	}
	return c, err
}
