package refresh

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// ask calls the claims hook.
func (s *Sessions) ask(ctx context.Context, q ClaimsRequest) (claims SubjectClaims, err error) {
	if s.claims == nil {
		return SubjectClaims{}, nil
	}
	e := Event{Subject: q.Subject, Actor: q.Actor}
	defer func() {
		if p := recover(); p != nil {
			claims, err = SubjectClaims{}, s.unavailableTo(ctx, q.Client, e, errors.New("the claims hook panicked"))
		}
	}()
	q.Client.BrowserKey = "" // what somebody logs must open nothing
	if claims, err = s.claims(ctx, q); err == nil {
		err = ctx.Err() // as promised of a hook that takes too long
	}
	switch {
	case err == nil:
		return claims, nil
	case errors.Is(err, ErrDenied):
		e.Kind = EventDenied
		s.Record(ctx, q.Client, e)
		return SubjectClaims{}, ErrDenied
	}
	return SubjectClaims{}, s.unavailableTo(ctx, q.Client, e, fmt.Errorf("claims hook: %w", err))
}

// about is what the claims hook is told of a session.
func about(rec *family.Record, tok *token, c Client) ClaimsRequest {
	q := ClaimsRequest{Subject: tok.subject, SessionID: tok.family.String(), Actor: tok.actor, Client: c}
	if isTold(rec) {
		q.Data, q.Auth = rec.Data, authOf(rec, tok)
	}
	return q
}

// isTold reports whether the record has something that the claims hook is told.
func isTold(rec *family.Record) bool {
	return rec.Data != "" || rec.ACR != "" || len(rec.AMR) > 0 || rec.StepUp.By != (family.Attempt{})
}

// authOf is the authentication context that goes with tok: that of the newest
// step-up for the tokens that were made by it and their successors, and that of
// the login for all others.
func authOf(rec *family.Record, tok *token) AuthContext {
	if up := &rec.StepUp; tok.by == up.By && up.By != (family.Attempt{}) {
		return AuthContext{up.Time, up.ACR, up.AMR}
	}
	return AuthContext{rec.AuthTime, rec.ACR, rec.AMR}
}

// sameSession reports whether two requests tell the claims hook the same of one
// session.
func sameSession(a, b *ClaimsRequest) bool {
	return a.Data == b.Data && a.Auth.Time.Equal(b.Auth.Time) && a.Auth.ACR == b.Auth.ACR && slices.Equal(a.Auth.AMR, b.Auth.AMR)
}

// claimsFor asks the claims hook about the session of a presented token, and
// returns what it was told. A session whose record has something to tell is
// read first.
func (s *Sessions) claimsFor(ctx context.Context, p *presented) (q ClaimsRequest, claims SubjectClaims, err error) {
	rec := new(family.Record)
	if p.rec != nil {
		rec = p.rec
	} else if s.claims != nil && p.token.told {
		if *rec, err = s.store.Find(ctx, p.subject, p.token.family, s.access.Now()); err != nil {
			return q, claims, s.unavailable(ctx, p.event(), err)
		}
	}
	q = about(rec, p.token, p.client)
	if p.stepUp != nil {
		q.Auth = AuthContext{p.stepUp.Time, p.stepUp.ACR, p.stepUp.AMR}
	}
	if claims, err = s.askOrEnd(ctx, p, q); err == nil {
		err = s.checkIssue(ctx, p, claims)
	}
	return q, claims, err
}

// checkIssue finds out before the store is asked whether the claims fit.
func (s *Sessions) checkIssue(ctx context.Context, p *presented, claims SubjectClaims) error {
	if s.claims == nil {
		return nil
	}
	now := s.access.Now()
	// What only the store knows of the login is small.
	rec := family.Record{AbsoluteExpiry: now.Add(maxAbsolute), AuthTime: now, ACR: strings.Repeat("x", family.MaxAuthContext), CreatedAt: now, Key: p.client.Key}
	err := s.access.Check(s.accessClaims(&rec, p.token, claims), p.client.MaxAccessToken)
	if err == nil {
		return nil
	}
	return s.notIssued(ctx, p.client, p.event(), err)
}

// claimsAfter asks once more when the store knows more of the session than the
// hook was told. Nothing is lost when it fails in passing: the presented token
// is answered with the same successor.
func (s *Sessions) claimsAfter(ctx context.Context, p *presented, q ClaimsRequest, rec *family.Record, tok *token, claims SubjectClaims) (SubjectClaims, error) {
	if s.claims == nil {
		return claims, nil
	}
	now := about(rec, tok, p.client)
	if sameSession(&now, &q) {
		return claims, nil
	}
	return s.askOrEnd(ctx, p, now)
}

// askOrEnd is ask for a session that ends when the hook refuses.
func (s *Sessions) askOrEnd(ctx context.Context, p *presented, q ClaimsRequest) (SubjectClaims, error) {
	claims, err := s.ask(ctx, q)
	if errors.Is(err, ErrDenied) {
		if _, rerr := s.revoke(ctx, p.token.held(), family.RevokeRequest{Subject: p.subject, Family: p.token.family, Reason: family.ReasonDenied}); rerr != nil {
			return SubjectClaims{}, rerr
		}
	}
	return claims, err
}

// accessClaims are those of the access token that goes with tok.
func (s *Sessions) accessClaims(rec *family.Record, tok *token, a SubjectClaims) access.Claims {
	auth := authOf(rec, tok)
	c := access.Claims{
		Subject: tok.subject, SessionID: tok.family.String(), Generation: uint64(tok.generation),
		AuthTime: auth.Time, ExpiresAt: rec.AbsoluteExpiry, SessionExpiresAt: rec.AbsoluteExpiry,
		ACR: auth.ACR, AMR: auth.AMR, Actor: tok.actor, Roles: a.Roles, Scopes: a.Scopes, Custom: a.Custom,
		DeviceBound: !rec.Key.IsZero(),
	}
	c.KeyThumbprint = keyThumbprint(rec.Key)
	if within := s.policy.KeyWithin; within > 0 && rec.Key.IsZero() && rec.CreatedAt.Add(within).Before(c.ExpiresAt) {
		c.ExpiresAt = rec.CreatedAt.Add(within)
	}
	return c
}

// keyThumbprint is what access tokens say of a native app's key, and nothing of
// other keys.
func keyThumbprint(k family.Key) string {
	if k.Kind != family.KeyDPoP {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(k.Thumbprint[:])
}

// grant signs the access token that goes with tok.
func (s *Sessions) grant(ctx context.Context, rec *family.Record, tok *token, a SubjectClaims, c Client, o family.Outcome, now time.Time) (*Grant, error) {
	tok.told = isTold(rec)
	accessToken, claims, err := s.sign(ctx, s.accessClaims(rec, tok, a), c)
	if err != nil {
		return nil, err
	}
	refreshToken := "" // whatever the store forgets, none opens a session that a browser's key has renewed
	if !signsFor(rec) {
		if refreshToken, err = s.codec.encode(tok); err != nil {
			return nil, err
		}
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

// sign issues an access token for a client.
func (s *Sessions) sign(ctx context.Context, claims access.Claims, c Client) (string, *access.Claims, error) {
	text, issued, err := s.access.Issue(claims)
	if err == nil && c.MaxAccessToken > 0 && len(text) > c.MaxAccessToken {
		err = fmt.Errorf("%w: an access token of %d bytes, where the client keeps %d", access.ErrCannotIssue, len(text), c.MaxAccessToken)
	}
	if err != nil {
		return "", nil, s.notIssued(ctx, c, Event{Subject: claims.Subject, Actor: claims.Actor, SessionID: claims.SessionID}, err)
	}
	return text, issued, nil
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
