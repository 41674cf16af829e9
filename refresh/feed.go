package refresh

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// feedState is what this instance knows of its feed.
type feedState struct {
	staleAfter time.Duration
	askStore   bool
	stale      atomic.Bool
}

// FeedStale reports whether revocations by other instances may be unknown
// here: the store's feed has not caught up yet, or has been silent for longer
// than Config.FeedStaleAfter. A store without a feed is never stale.
func (s *Sessions) FeedStale() bool { return s.feed.stale.Load() }

// follow feeds what other instances revoke into this instance's memory.
func (s *Sessions) follow(ctx context.Context, feed family.Feed) {
	h := &feedHandler{s: s, ctx: ctx, heard: make(chan struct{}, 1)}
	var watch sync.WaitGroup
	watch.Go(h.watch)
	defer watch.Wait()
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
	s     *Sessions
	ctx   context.Context
	heard chan struct{} // the feed works
	ran   bool          // has caught up before
}

// Revoked implements family.FeedHandler. By which clock the revocation was
// dated does not matter: what is heard now is refused for as long as an access
// token can last.
func (h *feedHandler) Revoked(id family.ID, _ time.Time) { h.s.refuseHere(id) }

// Synced implements family.FeedHandler.
func (h *feedHandler) Synced() {
	select {
	case h.heard <- struct{}{}:
	default:
	}
	if h.s.feed.stale.CompareAndSwap(true, false) && h.ran {
		h.s.record(h.ctx, Event{Kind: EventFeedRecovered})
	}
	h.ran = true
}

// watch notices a feed that has gone silent, until ctx ends.
func (h *feedHandler) watch() {
	silence := time.NewTimer(h.s.feed.staleAfter)
	defer silence.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.heard:
			silence.Reset(h.s.feed.staleAfter)
		case <-silence.C:
			h.s.feed.stale.Store(true)
			h.s.record(h.ctx, Event{Kind: EventFeedStale, Err: fmt.Errorf("silent for %v", h.s.feed.staleAfter)})
		}
	}
}
