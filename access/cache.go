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
// The bounds are kept over all shards: a shard of its own bound would lose
// entries while others have room, since tokens never spread quite evenly.
// They are exceeded by at most one entry for each token that is being added.
type cache struct {
	maxEntries, maxBytes int64
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
	mu     sync.RWMutex
	tokens map[string]cacheEntry
	_      [64]byte // neighbours' locks on other cache lines
}

type cacheEntry struct {
	claims *Claims
	ring   *ringState
}

func newCache(entries int) *cache {
	c := &cache{maxEntries: int64(entries), maxBytes: int64(entries) * boundBytes}
	for i := range c.shard {
		c.shard[i].tokens = make(map[string]cacheEntry)
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

// get returns the claims remembered for the token, or nil.
func (c *cache) get(token string, ring *ringState) *Claims {
	if c == nil {
		return nil
	}
	s := c.of(token)
	s.mu.RLock()
	e := s.tokens[token]
	s.mu.RUnlock()
	if e.ring != ring {
		return nil
	}
	return e.claims
}

// put remembers the token and returns the claims to use: those of whoever
// came first, so that all requests share one value.
func (c *cache) put(token string, ring *ringState, claims *Claims, now time.Time) *Claims {
	if c == nil {
		return claims
	}
	s := c.of(token)
	s.mu.Lock()
	known, ok := s.tokens[token]
	if ok && known.ring == ring {
		s.mu.Unlock()
		return known.claims
	}
	if !ok {
		token = strings.Clone(token) // a part of the request's header, of which only it is kept
		c.entries.Add(1)
		c.bytes.Add(size(token, claims))
	}
	s.tokens[token] = cacheEntry{claims, ring}
	c.expire(s, ring, now)
	s.mu.Unlock()
	c.shrink(ring, now)
	return claims
}

// size is what an entry counts for. The same token has the same payload, so
// it does not change when an entry is replaced.
func size(token string, claims *Claims) int64 {
	return int64(len(token) + len(claims.payload) + entryBytes)
}

// shrink makes room until the bounds hold, from one shard after the other.
func (c *cache) shrink(ring *ringState, now time.Time) {
	for c.entries.Load() > c.maxEntries || c.bytes.Load() > c.maxBytes {
		s := &c.shard[c.hand.Add(1)%cacheShards]
		s.mu.Lock()
		c.evict(s, ring, now)
		s.mu.Unlock()
	}
}

// evict looks at a few of the shard's entries in Go's random order of maps:
// all of them that have expired, or were verified against a ring that was
// replaced, go, or else the one that expires first.
func (c *cache) evict(s *cacheShard, ring *ringState, now time.Time) {
	const look = 8
	var victim string
	var soonest time.Time
	looked, gone := 0, false
	for token, e := range s.tokens {
		if e.ring != ring || !now.Before(e.claims.ExpiresAt) {
			c.remove(s, token)
			gone = true
		} else if victim == "" || e.claims.ExpiresAt.Before(soonest) {
			victim, soonest = token, e.claims.ExpiresAt
		}
		if looked++; looked == look {
			break
		}
	}
	if !gone && victim != "" {
		c.remove(s, victim)
	}
}

// expire lets a few entries go that are no good any more, each time that one
// comes, so that what has expired does not stay until the bounds are reached.
func (c *cache) expire(s *cacheShard, ring *ringState, now time.Time) {
	const look = 4
	looked := 0
	for token, e := range s.tokens {
		if e.ring != ring || !now.Before(e.claims.ExpiresAt) {
			c.remove(s, token)
		}
		if looked++; looked == look {
			return
		}
	}
}

func (c *cache) remove(s *cacheShard, token string) {
	c.entries.Add(-1)
	c.bytes.Add(-size(token, s.tokens[token].claims))
	delete(s.tokens, token)
}
