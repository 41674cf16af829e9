package access

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A cache remembers tokens that verified, by their whole text. It is split
// into shards, picked by the last characters of the token, so that no lock is
// shared by all requests.
//
// Only verified tokens enter, so whoever has none can neither fill nor flush
// it. Each entry names the ring that it was verified against; with another
// ring it is no hit. The caller checks the expiry.
//
// Entries come into a shard's young part. When a token's lifetime has gone by,
// the old part of each shard is dropped as a whole, whatever its size, and the
// young one becomes old: so expired entries leave by themselves, two lifetimes
// after they came, with no search for them.
//
// The bounds are kept over all shards: a shard of its own bound would lose
// entries while others have room, since tokens never spread quite evenly.
// They are exceeded by at most one entry for each token that is being added.
type cache struct {
	maxEntries, maxBytes int64
	lifetime             time.Duration
	turned               atomic.Int64 // when young became old, in Unix nanoseconds
	entries, bytes       atomic.Int64
	hand                 atomic.Uint32 // the shard that gives room next
	shard                [cacheShards]cacheShard
}

const (
	cacheShards = 64
	// entryBytes is what an entry takes besides the token and its payload:
	// claims, their lists, the mark, and its place in the map.
	entryBytes = 1 << 10
	// boundBytes is what Config.CacheEntries allows for each of them.
	boundBytes = 4 << 10
)

type cacheShard struct {
	mu         sync.RWMutex
	young, old cachePart
	_          [64]byte // neighbours' locks on other cache lines
}

type cachePart struct {
	tokens map[string]cacheEntry
	bytes  int64
}

type cacheEntry struct {
	claims *Claims
	ring   *ringState
}

func newCache(entries int, lifetime time.Duration) *cache {
	c := &cache{maxEntries: int64(entries), maxBytes: int64(entries) * boundBytes, lifetime: lifetime}
	for i := range c.shard {
		c.shard[i].young.tokens = make(map[string]cacheEntry)
	}
	return c
}

func (c *cache) of(token string) *cacheShard {
	var h byte
	if n := len(token); n >= 8 {
		// Signatures end at random; the very last character may have two
		// bits to spare.
		h = token[n-2]*31 + token[n-3]*7 + token[n-4]
	}
	return &c.shard[h%cacheShards]
}

// find returns the part that has the token, or nil.
func (s *cacheShard) find(token string) (*cachePart, cacheEntry) {
	if e, ok := s.young.tokens[token]; ok {
		return &s.young, e
	}
	if e, ok := s.old.tokens[token]; ok {
		return &s.old, e
	}
	return nil, cacheEntry{}
}

// get returns the claims remembered for the token, or nil.
func (c *cache) get(token string, ring *ringState, now time.Time) *Claims {
	if c == nil {
		return nil
	}
	c.turn(now)
	s := c.of(token)
	s.mu.RLock()
	_, e := s.find(token)
	s.mu.RUnlock()
	if e.ring != ring {
		return nil
	}
	return e.claims
}

// turn drops the old parts if their time is over, also where a clock was set
// back by more than a lifetime. Callers' clocks may differ by a little.
func (c *cache) turn(now time.Time) {
	last, at := c.turned.Load(), now.UnixNano()
	if since := time.Duration(at - last); -c.lifetime < since && since < c.lifetime {
		return
	}
	if !c.turned.CompareAndSwap(last, at) {
		return // another request does it
	}
	for i := range c.shard {
		s := &c.shard[i]
		s.mu.Lock()
		c.entries.Add(-int64(len(s.old.tokens)))
		c.bytes.Add(-s.old.bytes)
		s.old, s.young = s.young, cachePart{tokens: make(map[string]cacheEntry)}
		s.mu.Unlock()
	}
}

// put remembers the token and returns the claims to use: those of whoever
// came first, so that all requests share one value.
func (c *cache) put(token string, ring *ringState, claims *Claims, now time.Time) *Claims {
	if c == nil {
		return claims
	}
	s := c.of(token)
	s.mu.Lock()
	part, known := s.find(token)
	if part != nil && known.ring == ring {
		s.mu.Unlock()
		return known.claims
	}
	if part != nil {
		c.remove(part, token)
	}
	token = strings.Clone(token) // a part of the request's header, of which only it is kept
	n := size(token, claims)
	s.young.tokens[token] = cacheEntry{claims, ring}
	s.young.bytes += n
	c.entries.Add(1)
	c.bytes.Add(n)
	s.mu.Unlock()
	c.shrink(ring, now)
	return claims
}

// size is what an entry counts for.
func size(token string, claims *Claims) int64 {
	return int64(len(token) + len(claims.payload) + entryBytes)
}

// shrink makes room until the bounds hold, from one shard after the other.
func (c *cache) shrink(ring *ringState, now time.Time) {
	for c.entries.Load() > c.maxEntries || c.bytes.Load() > c.maxBytes {
		s := &c.shard[c.hand.Add(1)%cacheShards]
		s.mu.Lock()
		if !c.evict(&s.old, ring, now) {
			c.evict(&s.young, ring, now)
		}
		s.mu.Unlock()
	}
}

// evict looks at a few of a part's entries in Go's random order of maps: all
// of them that have expired, or were verified against a ring that was
// replaced, go, or else the one that expires first. It reports whether any did.
func (c *cache) evict(part *cachePart, ring *ringState, now time.Time) bool {
	const look = 8
	var victim string
	var soonest time.Time
	looked, gone := 0, false
	for token, e := range part.tokens {
		if e.ring != ring || !now.Before(e.claims.ExpiresAt) {
			c.remove(part, token)
			gone = true
		} else if victim == "" || e.claims.ExpiresAt.Before(soonest) {
			victim, soonest = token, e.claims.ExpiresAt
		}
		if looked++; looked == look {
			break
		}
	}
	if !gone && victim != "" {
		c.remove(part, victim)
		gone = true
	}
	return gone
}

func (c *cache) remove(part *cachePart, token string) {
	n := size(token, part.tokens[token].claims)
	c.entries.Add(-1)
	c.bytes.Add(-n)
	part.bytes -= n
	delete(part.tokens, token)
}
