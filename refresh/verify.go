package refresh

import (
	"context"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Verify checks an access token for a request: signature and claims (package
// access names the errors), and ErrRevoked when this instance knows that the
// session was revoked. It asks no store. A token that is bound to a native app's
// key is ErrUnproven: see VerifyBound.
//
// Seeing a token that is itself at least the settle time old proves that its
// client keeps the generation it came with: a client that had lost the
// response could not show it, and one that crashed would have come back with
// older cookies. The age counts from the token's own issue and not from the
// rotation, since a replay hands out a fresh token, and the proof starts anew.
func (s *Sessions) Verify(accessToken string) (*access.Claims, error) {
	return s.verify(accessToken, "")
}

// VerifyBound is Verify for a token with which a proof of a key came that the
// caller has verified (access.VerifyDPoP, RFC 9449). A token that is not bound to
// this key is ErrUnproven.
func (s *Sessions) VerifyBound(accessToken string, thumbprint [32]byte) (*access.Claims, error) {
	return s.verify(accessToken, keyThumbprint(family.Key{Kind: family.KeyDPoP, Thumbprint: thumbprint}))
}

// verify accepts tokens that are bound to the key, or to none if it is empty.
// Others count for nothing: a copy of a token proves nothing of its client.
func (s *Sessions) verify(accessToken, key string) (*access.Claims, error) {
	now := s.access.Now()
	c, err := s.access.VerifyAt(accessToken, now)
	switch {
	case err != nil:
		return nil, err
	case c.KeyThumbprint != key:
		return nil, ErrUnproven
	case s.revoked.has(c.SessionID):
		return nil, ErrRevoked
	}
	if now.Sub(c.IssuedAt) >= s.policy.Settle && !s.policy.SingleUse && rotates(c) && c.FirstUse() {
		if id, err := family.ParseID(c.SessionID); err == nil {
			s.settler.settle(heldBy(c, id))
		}
	}
	return c, nil
}

// rotates reports whether the token's session has generations that settle: one
// that is renewed by a browser's key has none.
func rotates(c *access.Claims) bool { return !c.DeviceBound || c.KeyThumbprint != "" }

// Revoked reports whether this instance knows that the session was revoked.
func (s *Sessions) Revoked(c *access.Claims) bool { return s.revoked.has(c.SessionID) }

// Live asks the store whether the session is still alive. It returns
// ErrRevoked, ErrGone or ErrUnavailable when it is not known to be.
func (s *Sessions) Live(ctx context.Context, c *access.Claims) error {
	rec, err := s.find(ctx, c)
	switch {
	case err != nil:
		return err
	case rec.Revoked != "":
		return &RefusedError{Err: ErrRevoked, SessionID: c.SessionID, Subject: c.Subject, Reason: rec.Revoked}
	case rec.ID.IsZero():
		return &RefusedError{Err: ErrGone, SessionID: c.SessionID, Subject: c.Subject}
	}
	return nil
}

// LiveIfStale is Live while the feed is not trusted and
// Config.AskStoreWhenFeedStale is set, and nil otherwise.
func (s *Sessions) LiveIfStale(ctx context.Context, c *access.Claims) error {
	if !s.feed.askStore || !s.feed.stale.Load() {
		return nil
	}
	return s.Live(ctx, c)
}

// find asks the store for the claims' family; the zero Record when there is
// none.
func (s *Sessions) find(ctx context.Context, c *access.Claims) (family.Record, error) {
	id, err := family.ParseID(c.SessionID)
	if err != nil {
		return family.Record{}, access.ErrClaims
	}
	subject, ok := s.codec.subjectKey(c.Subject, id)
	if !ok {
		return family.Record{}, nil // its root secret left the ring, and the family with it
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rec, err := s.store.Find(ctx, subject, id, s.access.Now())
	if err != nil {
		return family.Record{}, s.unavailable(ctx, Event{Subject: c.Subject, Actor: c.Actor, SessionID: c.SessionID}, err)
	}
	return rec, nil
}
