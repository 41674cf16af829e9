package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Status says how a session stands at one moment.
type Status struct {
	Subject   string
	SessionID string
	Actor     string // who acts for the subject; empty for the subject
	Roles     []string
	AuthTime  time.Time
	// DeviceBound: renewals need a key that cannot leave the client's device.
	DeviceBound bool
	// At is the moment. ExpiresAt is when the access token runs out, zero when
	// none was shown.
	At, ExpiresAt time.Time
	// IdleExpiresAt is the idle timeout after the last renewal: the session lives
	// until then, and at most one lifetime of an access token longer, since
	// requests with a valid one are not counted. SessionExpiresAt is when it ends
	// however busy it is.
	IdleExpiresAt, SessionExpiresAt time.Time
}

// Status says what a client's tokens are worth now, and changes nothing: it
// renews nothing, is no use of the session and no proof that the client keeps
// its tokens. Either token may be empty. A valid access token decides;
// otherwise it is the refresh token, with the answer that presenting it would
// get; an expired access token only where there is no refresh token. An access
// token that is bound to another key than Client.Key counts as none. It reads
// the store once for each token that it looks at, and asks the claims hook for
// the roles when the access token is not valid.
//
// It fails with an error that is ErrRefused when there is no session, and with
// ErrUnavailable.
func (s *Sessions) Status(ctx context.Context, accessToken, refreshToken string, c Client) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	now := s.access.Now()
	claims, err := s.access.VerifyWithin(accessToken, maxAbsolute)
	if err == nil && claims.KeyThumbprint != keyThumbprint(c.Key) {
		err = ErrUnproven
	}
	valid := err == nil && now.Before(claims.ExpiresAt)
	if valid || err == nil && refreshToken == "" {
		st, err := s.statusOfAccess(ctx, claims, valid, c)
		if err == nil || refreshToken == "" || errors.Is(err, ErrUnavailable) {
			return st, err
		}
	}
	return s.statusOfRefresh(ctx, refreshToken, c)
}

// statusOfAccess is the status of an access token's session.
func (s *Sessions) statusOfAccess(ctx context.Context, claims *access.Claims, valid bool, c Client) (*Status, error) {
	if s.revoked.has(claims.SessionID) {
		return nil, ErrRevoked
	}
	rec, err := s.find(ctx, claims)
	if err != nil {
		return nil, err
	}
	st, err := s.status(&rec)
	if err != nil {
		return nil, err
	}
	st.Subject, st.Actor, st.ExpiresAt = claims.Subject, claims.Actor, claims.ExpiresAt
	st.AuthTime, st.Roles = claims.AuthTime, claims.Roles
	if !valid {
		q := about(&rec, &token{subject: claims.Subject, actor: claims.Actor, family: rec.ID}, c)
		if isTold(&rec) {
			q.Auth = AuthContext{claims.AuthTime, claims.ACR, claims.AMR}
		}
		err = s.askRoles(ctx, st, q)
	}
	return st, err
}

// statusOfRefresh is the status of the session of a refresh token that would be
// accepted.
func (s *Sessions) statusOfRefresh(ctx context.Context, text string, c Client) (*Status, error) {
	if k, err := s.keys.decode(text); err == nil {
		return nil, s.needsKey(ctx, k, c)
	}
	tok, err := s.codec.decode(text)
	if err != nil {
		return nil, err
	}
	p, err := s.present(&tok, tok.hash(), c)
	switch {
	case err != nil:
		return nil, err
	case !s.keepsBrowserKey(&p):
		return nil, ErrBrowserClosed
	case s.revoked.has(tok.family.String()):
		return nil, ErrRevoked
	}
	rec, err := s.store.Find(ctx, p.subject, tok.family, s.access.Now())
	if err != nil {
		return nil, s.unavailable(ctx, p.event(), err)
	}
	st, err := s.status(&rec)
	if err != nil {
		return nil, err
	}
	req, _, err := s.request(&p)
	if err != nil {
		return nil, err
	}
	if !signsFor(&rec) {
		// Without a proof of the key the token opens nothing, and yet its
		// session lives.
		req.Key = rec.Key
	}
	if v := family.Decide(&rec, req); !v.Outcome.Accepted() {
		return nil, refusedBy(&tok, v)
	}
	st.Subject, st.Actor, st.AuthTime = tok.subject, tok.actor, authOf(&rec, &tok).Time
	return st, s.askRoles(ctx, st, about(&rec, &tok, c))
}

// status is what the record says of a session that lives.
func (s *Sessions) status(rec *family.Record) (*Status, error) {
	now, limited := s.access.Now(), s.policy.Limit(*rec)
	if rec.ID.IsZero() || !limited.Alive(now) {
		return nil, ErrGone
	}
	idle := limited.ExpiresAt()
	if idle.Before(limited.AbsoluteExpiry) {
		if idle = idle.Add(-idleFor(0, s.access.Lifetime())); idle.Before(now) {
			idle = now
		}
	}
	return &Status{SessionID: rec.ID.String(), DeviceBound: !rec.Key.IsZero(), At: now, IdleExpiresAt: idle, SessionExpiresAt: limited.AbsoluteExpiry}, nil
}

func (s *Sessions) askRoles(ctx context.Context, st *Status, q ClaimsRequest) error {
	claims, err := s.ask(ctx, q)
	st.Roles = claims.Roles
	return err
}
