package refresh

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// awayFor is how long a failure of the store is taken to last when nobody has
// asked it since.
const awayFor = 30 * time.Second

// An observedStore remembers whether the store last answered.
type observedStore struct {
	family.Store
	failed atomic.Int64 // when, in nanoseconds since 1970; 0 when it answered since
}

func (o *observedStore) observe(err error, now time.Time) {
	switch {
	case errors.Is(err, context.Canceled):
		// a client hung up, which says nothing of the store
	case err != nil:
		o.failed.Store(now.UnixNano())
	case o.failed.Load() != 0:
		o.failed.Store(0)
	}
}

// Start implements family.Store.
func (o *observedStore) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	res, err := o.Store.Start(ctx, req)
	o.observe(err, req.Now)
	return res, err
}

// Rotate implements family.Store.
func (o *observedStore) Rotate(ctx context.Context, req family.RotateRequest) (family.Verdict, error) {
	v, err := o.Store.Rotate(ctx, req)
	o.observe(err, req.Now)
	return v, err
}

// Bind implements family.Store.
func (o *observedStore) Bind(ctx context.Context, req family.BindRequest) (family.Verdict, error) {
	v, err := o.Store.Bind(ctx, req)
	o.observe(err, req.Now)
	return v, err
}

// Revoke implements family.Store.
func (o *observedStore) Revoke(ctx context.Context, req family.RevokeRequest) (family.RevokeResult, error) {
	res, err := o.Store.Revoke(ctx, req)
	o.observe(err, req.Now)
	return res, err
}

// VerifyInOutage is Verify for a token that expired at most grace ago, and at
// most an access token's lifetime ago, for which revocations are remembered;
// only while the store is away, so that it cannot be renewed: when the store's
// last answer was a failure. It returns access.ErrExpired otherwise, ErrRevoked
// for sessions that this instance knows to be revoked, and the errors of
// Verify. Each acceptance is an event.
func (s *Sessions) VerifyInOutage(ctx context.Context, accessToken string, grace time.Duration) (*access.Claims, error) {
	failed, now := s.store.failed.Load(), s.access.Now()
	if since := now.Sub(time.Unix(0, failed)); failed == 0 || since > awayFor || since < -family.ClockSkew {
		return nil, access.ErrExpired
	}
	c, err := s.access.VerifyWithin(accessToken, min(grace, s.access.Lifetime()))
	if err != nil {
		return nil, err
	}
	switch {
	case s.revoked.has(c.SessionID):
		return nil, ErrRevoked
	case !c.SessionExpiresAt.IsZero() && !now.Before(c.SessionExpiresAt):
		return nil, access.ErrExpired
	}
	s.record(ctx, Event{Kind: EventOutage, Subject: c.Subject, Actor: c.Actor, SessionID: c.SessionID, Generation: uint32(c.Generation)})
	return c, nil
}

// issued reports whether the claims are of this service's tokens, for guards
// that find a session in a request's context.
func (s *Sessions) issued(c *access.Claims) bool {
	return s.access.Issued(c)
}
