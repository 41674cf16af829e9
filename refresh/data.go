package refresh

import (
	"context"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// SetData changes what the app keeps with the current session (see Login), and
// returns an access token in place of the current one: made of what the claims
// hook answers to the new data, and otherwise the same; it expires when the
// current one does, and no refresh token comes with it. Later renewals have the
// new data, with whichever refresh token.
//
// It fails with ErrCannotIssue, with ErrRevoked or ErrGone for a session that has
// ended, with access.ErrClaims for claims of another service, and with
// ErrUnavailable, after which the store may have the new data or not. It fails
// with ErrDenied when the claims hook refuses the subject, which ends the session
// as everywhere: an app checks first whether the data is the user's to choose.
func (s *Sessions) SetData(ctx context.Context, current *access.Claims, data string, c Client) (*Grant, error) {
	if err := checkData(data); err != nil {
		return nil, err
	}
	id, err := family.ParseID(current.SessionID)
	if err != nil || !s.issued(current) {
		return nil, access.ErrClaims
	}
	subject, ok := s.codec.subjectKey(current.Subject, id)
	if !ok {
		return nil, &RefusedError{Err: ErrGone, SessionID: current.SessionID, Subject: current.Subject}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	login := family.Record{Data: data, AuthTime: current.AuthTime, ACR: current.ACR, AMR: current.AMR}
	p := presented{token: &token{subject: current.Subject, actor: current.Actor, family: id}, subject: subject, client: c}
	answer, err := s.askOrEnd(ctx, &p, about(&login, p.token, c))
	if err != nil {
		return nil, err
	}
	claims := *current
	claims.Roles, claims.Scopes, claims.Custom = answer.Roles, answer.Scopes, answer.Custom
	e := Event{Subject: current.Subject, Actor: current.Actor, SessionID: current.SessionID, Generation: uint32(current.Generation)}
	if err := s.access.Check(claims, c.MaxAccessToken); err != nil {
		return nil, s.notIssued(ctx, c, e, err)
	}
	now := s.access.Now()
	rec, err := s.store.SetData(ctx, subject, id, data, now)
	switch {
	case err != nil:
		return nil, s.unavailable(ctx, e, err)
	case rec.Revoked != "" || s.revoked.has(current.SessionID):
		return nil, &RefusedError{Err: ErrRevoked, SessionID: current.SessionID, Subject: current.Subject, Reason: rec.Revoked}
	case rec.ID.IsZero():
		return nil, &RefusedError{Err: ErrGone, SessionID: current.SessionID, Subject: current.Subject}
	}
	e.Kind = EventData
	s.Record(ctx, c, e)
	text, issued, err := s.sign(ctx, claims, c)
	if err != nil {
		return nil, err
	}
	limited := s.policy.Limit(rec)
	return &Grant{
		AccessToken: text, Claims: issued, Outcome: family.Fresh, IssuedAt: now,
		RefreshExpiresAt: limited.ExpiresAt(), Remember: rec.Remember,
	}, nil
}
