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
// rate of revocations times that lifetime. Families are known by their id as
// it stands in access tokens, so that a request need not decode it.
type revocations struct {
	keep  time.Duration
	count atomic.Int64
	shard [64]revocationShard
}

type revocationShard struct {
	mu      sync.RWMutex
	until   map[string]time.Time
	sweepAt int
	watches map[string]map[*watch]struct{}
}

type watch struct{ cancel context.CancelCauseFunc }

func newRevocations(keep time.Duration) *revocations {
	r := &revocations{keep: keep}
	for i := range r.shard {
		r.shard[i].until = make(map[string]time.Time)
		r.shard[i].watches = make(map[string]map[*watch]struct{})
	}
	return r
}

// of picks a family's shard by a character of its random part. The last one
// holds two bits only.
func (r *revocations) of(sid string) *revocationShard {
	if len(sid) < 2 {
		return &r.shard[0]
	}
	return &r.shard[sid[len(sid)-2]%64]
}

// has reports whether access tokens of the family are to be refused.
func (r *revocations) has(sid string) bool {
	if r.count.Load() == 0 {
		return false
	}
	s := r.of(sid)
	s.mu.RLock()
	_, revoked := s.until[sid]
	s.mu.RUnlock()
	return revoked
}

// add refuses the family's access tokens from now on and ends its watches.
func (r *revocations) add(sid string, now time.Time) {
	until := now.Add(r.keep)
	s := r.of(sid)
	s.mu.Lock()
	// However old the news, streams of the session end.
	watches := s.watches[sid]
	delete(s.watches, sid)
	if now.Before(until) {
		s.insert(r, sid, until, now)
	}
	s.mu.Unlock()
	for w := range watches {
		w.cancel(ErrRevoked)
	}
}

// insert keeps an entry; the shard is locked.
func (s *revocationShard) insert(r *revocations, sid string, until, now time.Time) {
	if len(s.until) >= s.sweepAt {
		for old, t := range s.until {
			if !now.Before(t) {
				delete(s.until, old)
				r.count.Add(-1)
			}
		}
		s.sweepAt = max(64, 2*len(s.until))
	}
	if _, known := s.until[sid]; !known {
		r.count.Add(1)
	}
	s.until[sid] = until
}

// watch registers cancel to be called when the family is revoked. It returns
// what takes the registration back. A family already revoked is cancelled at
// once.
func (r *revocations) watch(sid string, cancel context.CancelCauseFunc) (stop func()) {
	s := r.of(sid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, revoked := s.until[sid]; revoked {
		cancel(ErrRevoked)
		return func() {}
	}
	w := &watch{cancel}
	if s.watches[sid] == nil {
		s.watches[sid] = make(map[*watch]struct{}, 1)
	}
	s.watches[sid][w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches[sid], w)
		if len(s.watches[sid]) == 0 {
			delete(s.watches, sid)
		}
	}
}
