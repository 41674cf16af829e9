package access

import (
	"strings"
	"sync"
	"time"
)

// A cache remembers tokens that verified, by their whole text. It is split
// into shards, picked by the last characters of the token, so that no lock is
// shared by all requests.
//
// Only verified tokens enter, so whoever has none can neither fill nor flush
// it. Each entry names the ring that it was verified against; with another
// ring it is no hit. The caller checks the expiry.
type cache struct {
	shard    [cacheShards]cacheShard
	perShard int
}

const cacheShards = 64

type cacheShard struct {
	mu      sync.RWMutex
	entries map[string]cacheEntry
	_       [64]byte // neighbours' locks on other cache lines
}

type cacheEntry struct {
	claims *Claims
	ring   *ringState
}

func newCache(entries int) *cache {
	c := &cache{perShard: max(1, entries/cacheShards)}
	for i := range c.shard {
		c.shard[i].entries = make(map[string]cacheEntry)
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
	e := s.entries[token]
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
	defer s.mu.Unlock()
	if e, ok := s.entries[token]; ok && e.ring == ring {
		return e.claims
	}
	if len(s.entries) >= c.perShard {
		s.evict(now)
	}
	// The token is part of a request's header; only the token is kept.
	s.entries[strings.Clone(token)] = cacheEntry{claims, ring}
	return claims
}

// evict makes room by looking at a few entries in Go's random order of maps:
// all of them that have expired go, or else the one that expires first.
func (s *cacheShard) evict(now time.Time) {
	const look = 8
	var victim string
	var soonest time.Time
	looked, gone := 0, false
	for token, e := range s.entries {
		if !now.Before(e.claims.ExpiresAt) {
			delete(s.entries, token)
			gone = true
		} else if victim == "" || e.claims.ExpiresAt.Before(soonest) {
			victim, soonest = token, e.claims.ExpiresAt
		}
		if looked++; looked == look {
			break
		}
	}
	if !gone {
		delete(s.entries, victim)
	}
}
