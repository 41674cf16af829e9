package refresh

import (
	"context"
	"fmt"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// StepUp renews the current session after the user has proved once more who they
// are: the same session with both tokens new, which carry how and when. The Time
// of how is filled in unless the app says it. Renewals of these tokens keep that
// authentication context; every older refresh token of the session, also one
// that is replayed, has that of the login.
//
// refreshToken is the one that the client sent with the request; empty when it
// sent none, as with an access token in a header. The access token must then be
// of the session's newest generation, so that the client is known to keep what a
// lost answer falls back to: ErrOutdated tells it to renew and to ask again. So does
// an access token from before the session was bound to a device key.
//
// It fails with ErrOutdated, ErrImpersonated (a session with an Actor cannot
// step up), ErrCannotIssue, ErrUnavailable, access.ErrClaims for claims of
// another service, and with the errors of Refresh. It changes nothing then, and
// the client's tokens are as good as before; only that a replayed token and a
// refusal by the claims hook end the session as they do in Refresh.
func (s *Sessions) StepUp(ctx context.Context, current *access.Claims, refreshToken string, how AuthContext, c Client) (*Grant, error) {
	now := s.access.Now()
	if how.Time.IsZero() {
		how.Time = now
	}
	switch {
	case !s.issued(current):
		return nil, access.ErrClaims
	case current.Actor != "":
		return nil, ErrImpersonated
	case how.Time.After(now):
		return nil, fmt.Errorf("%w: a proof of the future: leave AuthContext.Time zero for now", ErrCannotIssue)
	}
	if err := checkAuth(how.ACR, how.AMR); err != nil {
		return nil, err
	}
	p, err := s.presentCurrent(ctx, current, refreshToken, c)
	if err != nil {
		return nil, err
	}
	by := newAttempt()
	p.token.by = by
	p.stepUp = &family.StepUp{By: by, Time: how.Time.Truncate(time.Second), ACR: how.ACR, AMR: how.AMR}
	g, err := s.rotate(ctx, p)
	if err != nil {
		return nil, err
	}
	e := p.event()
	e.Kind, e.Generation = EventStepUp, uint32(g.Claims.Generation)
	s.record(ctx, e)
	return g, nil
}

// presentCurrent lays the session's refresh token before its family: the one
// that the client sent, or what the store has of the newest one. Whoever accepted
// the access token has asked for a proof of the session's device key, if the
// token is bound to one.
func (s *Sessions) presentCurrent(ctx context.Context, current *access.Claims, refreshToken string, c Client) (p presented, err error) {
	rec, err := s.find(ctx, current)
	switch {
	case err != nil:
		return p, err
	case rec.Revoked != "":
		return p, &RefusedError{Err: ErrRevoked, SessionID: current.SessionID, Subject: current.Subject, Reason: rec.Revoked}
	case rec.ID.IsZero():
		return p, &RefusedError{Err: ErrGone, SessionID: current.SessionID, Subject: current.Subject}
	case !rec.Key.IsZero() && !current.DeviceBound:
		return p, ErrOutdated // of before it was bound
	}
	c.Key, c.Proof = rec.Key, family.Proof{}
	if tok, err := s.codec.decode(refreshToken); err == nil && tok.family == rec.ID {
		if p, err = s.present(&tok, tok.hash(), c); err == nil {
			err = s.checkBrowser(ctx, &p)
		}
		p.rec = &rec
		return p, err
	}
	// A browser with a device key falls back to that, and not to a token.
	if shown := uint32(current.Generation); rec.Generation != shown && !signsFor(&rec) {
		return p, ErrOutdated
	}
	tok := token{
		subject: current.Subject, family: rec.ID, generation: rec.Generation, browser: !rec.Remember,
		noDevice: s.binding.preferred && !bindsDevice(rec.Fingerprint),
	}
	p, err = s.present(&tok, rec.Current, c)
	p.rec = &rec
	return p, err
}
