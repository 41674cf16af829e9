package access

import (
	"slices"
	"sync/atomic"
	"time"
)

// Verify returns the claims of a token that may be used now. It fails with one
// of this package's sentinels: ErrExpired only if nothing else is wrong with
// the token. It needs no network and no store.
func (t *Tokens) Verify(token string) (*Claims, error) { return t.VerifyAt(token, t.now()) }

// VerifyAt is Verify at a time that the caller has just read from Now, for
// request paths that need it themselves. It fails as Verify does.
func (t *Tokens) VerifyAt(token string, now time.Time) (*Claims, error) {
	ring := t.ring.state.Load()
	if c := t.cache.get(token, ring, now); c != nil {
		// All that depends on the time is asked again: a clock may be set back,
		// and a token must not live longer for having been seen before.
		switch {
		case !now.Before(c.ExpiresAt):
			return nil, ErrExpired
		case t.fromTheFuture(c, now):
			return nil, ErrNotYetValid
		}
		return c, nil
	}
	c, err := t.verify(token, ring, now)
	if err != nil {
		return nil, err
	}
	if !now.Before(c.ExpiresAt) {
		return nil, ErrExpired
	}
	c.marked = new(atomic.Bool)
	return t.cache.put(token, ring, c, now), nil
}

// VerifyWithin is Verify for a token that may have expired, but at most grace
// ago: to know whose session a logout ends, or while sessions cannot be
// renewed. With a grace of 0 or less it accepts what Verify accepts. It looks
// nothing up in the cache and leaves nothing there. It fails as Verify does.
func (t *Tokens) VerifyWithin(token string, grace time.Duration) (*Claims, error) {
	now := t.now()
	c, err := t.verify(token, t.ring.state.Load(), now)
	if err != nil {
		return nil, err
	}
	if !now.Before(c.ExpiresAt) && (grace <= 0 || now.After(c.ExpiresAt.Add(grace))) {
		return nil, ErrExpired
	}
	return c, nil
}

// verify checks everything but the expiry, the signature before any claim.
func (t *Tokens) verify(token string, ring *ringState, now time.Time) (*Claims, error) {
	header, body, signature, ok := split(token)
	if !ok {
		return nil, ErrMalformed
	}
	key, err := ring.keyFor(header)
	if err != nil {
		return nil, err
	}
	sig, err := strictBase64.DecodeString(signature)
	if err != nil {
		return nil, ErrMalformed
	}
	text, err := strictBase64.DecodeString(body)
	if err != nil {
		return nil, ErrMalformed
	}
	if key.method.Verify(token[:len(header)+1+len(body)], sig, key.public) != nil {
		return nil, ErrSignature
	}
	c, err := parseClaims(text)
	if err != nil {
		return nil, err
	}
	if c.Issuer != t.issuer || !slices.Contains(c.Audience, t.audience) {
		return nil, ErrClaims
	}
	if t.fromTheFuture(c, now) {
		return nil, ErrNotYetValid
	}
	return c, nil
}

// fromTheFuture reports whether a date of the token is later than clocks may
// differ by.
func (t *Tokens) fromTheFuture(c *Claims, now time.Time) bool {
	latest := now.Add(t.leeway)
	return c.IssuedAt.After(latest) || c.NotBefore.After(latest) || c.AuthTime.After(latest)
}

// keyFor returns the key that a header names. The algorithm is the key's, and
// the header has to agree (RFC 8725 section 3.1).
func (s *ringState) keyFor(header string) (*Key, error) {
	for _, k := range s.order {
		if header == k.header { // to the letter as Issue writes it
			return k, nil
		}
	}
	alg, kid, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	k := s.keys[kid]
	if k == nil || string(k.alg) != alg {
		return nil, ErrUnknownKey
	}
	return k, nil
}
