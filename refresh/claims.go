package refresh

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// ask calls the claims hook.
func (s *Sessions) ask(ctx context.Context, subject string, c Client) (claims SubjectClaims, err error) {
	if s.claims == nil {
		return SubjectClaims{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			claims, err = SubjectClaims{}, s.unavailableTo(ctx, c, Event{Subject: subject}, errors.New("the claims hook panicked"))
		}
	}()
	if claims, err = s.claims(ctx, subject); err == nil {
		err = ctx.Err() // as promised of a hook that takes too long
	}
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, ErrDenied):
		s.Record(ctx, c, Event{Kind: EventDenied, Subject: subject})
		return SubjectClaims{}, ErrDenied
	}
	return SubjectClaims{}, s.unavailableTo(ctx, c, Event{Subject: subject}, fmt.Errorf("claims hook: %w", err))
}

// accessClaims are those of the access token that goes with tok.
func (s *Sessions) accessClaims(rec *family.Record, tok *token, a SubjectClaims) access.Claims {
	c := access.Claims{
		Subject: tok.subject, SessionID: tok.family.String(), Generation: uint64(tok.generation),
		AuthTime: rec.AuthTime, ExpiresAt: rec.AbsoluteExpiry, SessionExpiresAt: rec.AbsoluteExpiry,
		ACR: rec.ACR, AMR: rec.AMR, Roles: a.Roles, Scopes: a.Scopes, Custom: a.Custom,
		DeviceBound: !rec.Key.IsZero(),
	}
	if rec.Key.Kind == family.KeyDPoP {
		c.KeyThumbprint = base64.RawURLEncoding.EncodeToString(rec.Key.Thumbprint[:])
	}
	if within := s.policy.KeyWithin; within > 0 && rec.Key.IsZero() && rec.CreatedAt.Add(within).Before(c.ExpiresAt) {
		c.ExpiresAt = rec.CreatedAt.Add(within)
	}
	return c
}

// grant signs the access token that goes with tok.
func (s *Sessions) grant(ctx context.Context, rec *family.Record, tok *token, a SubjectClaims, c Client, o family.Outcome, now time.Time) (*Grant, error) {
	accessToken, claims, err := s.access.Issue(s.accessClaims(rec, tok, a))
	if err == nil && c.MaxAccessToken > 0 && len(accessToken) > c.MaxAccessToken {
		err = fmt.Errorf("%w: an access token of %d bytes, where the client keeps %d", access.ErrCannotIssue, len(accessToken), c.MaxAccessToken)
	}
	if err != nil {
		return nil, s.notIssued(ctx, c, Event{Subject: tok.subject, SessionID: tok.family.String()}, err)
	}
	refreshToken, err := s.codec.encode(tok)
	if err != nil {
		return nil, err
	}
	g := &Grant{
		AccessToken: accessToken, RefreshToken: refreshToken, Claims: claims, Outcome: o,
		IssuedAt: now, RefreshExpiresAt: rec.ExpiresAt(), Remember: rec.Remember,
	}
	if tok.browser {
		g.BrowserKey = s.codec.browserKey(tok.family)
	}
	return g, nil
}

// notIssued tells what can never be issued from a signer that fails today.
func (s *Sessions) notIssued(ctx context.Context, c Client, e Event, err error) error {
	if !errors.Is(err, access.ErrCannotIssue) {
		return s.unavailableTo(ctx, c, e, fmt.Errorf("access token: %w", err))
	}
	e.Kind, e.Err = EventCannotIssue, err
	s.Record(ctx, c, e)
	return fmt.Errorf("%w: %w", ErrCannotIssue, err)
}

// unavailable records a failure and makes sure that it is ErrUnavailable.
func (s *Sessions) unavailable(ctx context.Context, e Event, cause error) error {
	e.Kind, e.Err = EventUnavailable, cause
	s.record(ctx, e)
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// unavailableTo is unavailable for a client that is known.
func (s *Sessions) unavailableTo(ctx context.Context, c Client, e Event, cause error) error {
	d := c.device()
	e.IP, e.UserAgent = d.IP, d.UserAgent
	return s.unavailable(ctx, e, cause)
}
