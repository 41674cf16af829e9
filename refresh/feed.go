package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// feedState is what this instance knows of its feed.
type feedState struct {
	staleAfter time.Duration
	stale      atomic.Bool
}

// FeedStale reports whether revocations by other instances may be unknown
// here: the store's feed has not caught up yet, or has been silent for longer
// than Config.FeedStaleAfter. A store without a feed is never stale.
func (s *Service) FeedStale() bool { return s.feed.stale.Load() }

// follow feeds what other instances revoke into this instance's memory.
func (s *Service) follow(ctx context.Context, feed family.Feed) {
	h := &feedHandler{s: s, ctx: ctx}
	h.silence = time.AfterFunc(s.feed.staleAfter, h.silent)
	defer h.silence.Stop()
	for ctx.Err() == nil {
		err := feed.Follow(ctx, s.revoked.keep, h)
		if ctx.Err() != nil {
			return
		}
		s.unavailable(ctx, Event{}, fmt.Errorf("revocation feed: %w", err))
		sleep(ctx, time.Second)
	}
}

type feedHandler struct {
	s       *Service
	ctx     context.Context
	silence *time.Timer
	ran     bool // has caught up before
}

// Revoked implements FeedHandler.
func (h *feedHandler) Revoked(id family.ID, at time.Time) {
	h.s.revoked.add(id.String(), at, h.s.access.Now())
}

// Synced implements FeedHandler.
func (h *feedHandler) Synced() {
	h.silence.Reset(h.s.feed.staleAfter)
	if h.s.feed.stale.CompareAndSwap(true, false) && h.ran {
		h.s.record(h.ctx, Event{Kind: EventFeedRecovered})
	}
	h.ran = true
}

func (h *feedHandler) silent() {
	if h.ctx.Err() == nil {
		h.s.feed.stale.Store(true)
		h.s.record(h.ctx, Event{Kind: EventFeedStale, Err: fmt.Errorf("silent for %v", h.s.feed.staleAfter)})
	}
}

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

func (o *observedStore) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	res, err := o.Store.Start(ctx, req)
	o.observe(err, req.Now)
	return res, err
}

func (o *observedStore) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	v, err := o.Store.Rotate(ctx, p)
	o.observe(err, p.Now)
	return v, err
}

func (o *observedStore) Revoke(ctx context.Context, req family.RevokeRequest) (family.RevokeResult, error) {
	res, err := o.Store.Revoke(ctx, req)
	o.observe(err, req.Now)
	return res, err
}

// AccessLifetime returns how long access tokens last.
func (s *Service) AccessLifetime() time.Duration { return s.access.Lifetime() }

// VerifyInOutage is Verify for a token that expired at most grace ago, and at
// most an access token's lifetime ago, for which revocations are remembered;
// only while the store is away, so that it cannot be renewed: when the store's
// last answer was a failure. It returns access.ErrExpired otherwise. Sessions
// that this instance knows to be revoked stay refused. Each acceptance is an
// event.
func (s *Service) VerifyInOutage(ctx context.Context, accessToken string, grace time.Duration) (*access.Claims, error) {
	failed := s.away.failed.Load()
	if failed == 0 || s.access.Now().Sub(time.Unix(0, failed)) > awayFor {
		return nil, access.ErrExpired
	}
	c, err := s.access.VerifyExpired(accessToken, min(grace, s.access.Lifetime()))
	if err != nil {
		return nil, err
	}
	switch {
	case s.revoked.has(c.SessionID):
		return nil, ErrRevoked
	case !c.SessionExpiresAt.IsZero() && !s.access.Now().Before(c.SessionExpiresAt):
		return nil, access.ErrExpired
	}
	s.record(ctx, Event{Kind: EventOutage, Subject: c.Subject, SessionID: c.SessionID, Generation: uint32(c.Generation)})
	return c, nil
}
