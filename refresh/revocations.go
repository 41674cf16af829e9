package refresh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// revocations is what one instance knows of families revoked so recently that
// their access tokens would still verify: its own revocations and those that
// the feed reports. It is asked on every request, so it takes no global lock;
// while nothing is revoked the question costs one atomic load.
//
// An entry lives as long as an access token can, so the set is bounded by the
// rate of revocations times that lifetime.
type revocations struct {
	keep  time.Duration
	count atomic.Int64
	shard [64]revocationShard
}

type revocationShard struct {
	mu      sync.RWMutex
	until   map[FamilyID]time.Time
	sweepAt int
	watches map[FamilyID]map[*watch]struct{}
}

type watch struct{ cancel context.CancelCauseFunc }

func newRevocations(keep time.Duration) *revocations {
	r := &revocations{keep: keep}
	for i := range r.shard {
		r.shard[i].until = make(map[FamilyID]time.Time)
		r.shard[i].watches = make(map[FamilyID]map[*watch]struct{})
	}
	return r
}

// of picks a family's shard by a byte of its random part.
func (r *revocations) of(id FamilyID) *revocationShard { return &r.shard[id[15]%64] }

// has reports whether access tokens of the family are to be refused.
func (r *revocations) has(id FamilyID) bool {
	if r.count.Load() == 0 {
		return false
	}
	s := r.of(id)
	s.mu.RLock()
	_, revoked := s.until[id]
	s.mu.RUnlock()
	return revoked
}

// add refuses the family's access tokens from now on and ends its watches.
func (r *revocations) add(id FamilyID, at, now time.Time) {
	until := at.Add(r.keep)
	if !now.Before(until) {
		return
	}
	s := r.of(id)
	s.mu.Lock()
	if len(s.until) >= s.sweepAt {
		for old, t := range s.until {
			if !now.Before(t) {
				delete(s.until, old)
				r.count.Add(-1)
			}
		}
		s.sweepAt = max(64, 2*len(s.until))
	}
	if _, known := s.until[id]; !known {
		r.count.Add(1)
	}
	s.until[id] = until
	watches := s.watches[id]
	delete(s.watches, id)
	s.mu.Unlock()
	for w := range watches {
		w.cancel(ErrRevoked)
	}
}

// watch registers cancel to be called when the family is revoked. It returns
// what takes the registration back. A family already revoked is cancelled at
// once.
func (r *revocations) watch(id FamilyID, cancel context.CancelCauseFunc) (stop func()) {
	s := r.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, revoked := s.until[id]; revoked {
		cancel(ErrRevoked)
		return func() {}
	}
	w := &watch{cancel}
	if s.watches[id] == nil {
		s.watches[id] = make(map[*watch]struct{}, 1)
	}
	s.watches[id][w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches[id], w)
		if len(s.watches[id]) == 0 {
			delete(s.watches, id)
		}
	}
}
