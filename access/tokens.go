package access

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Config says whose tokens are issued and accepted. Issuer, Audience and Keys
// are mandatory.
type Config struct {
	// Issuer is who issues the tokens, usually the app's URL ("iss").
	Issuer string
	// Audience is the service that the tokens are for ("aud"). Tokens for
	// others are refused.
	Audience string
	// Keys sign and verify.
	Keys *KeyRing
	// Lifetime is how long a token lasts. 0 means 10 minutes. It is also how
	// long a change of roles, or a revocation that an instance did not hear
	// of, takes to be felt. From 1 second to 24 hours.
	Lifetime time.Duration
	// Leeway is by how much the clocks of issuers may be ahead: it applies to
	// "iat" and "nbf", never to "exp". 0 means 30 seconds, negative none; at
	// most 5 minutes.
	Leeway time.Duration
	// CacheEntries bounds how many verified tokens are remembered, and at 4 KB
	// each how much memory they take: large tokens count for several. 0 means
	// 100,000 (usual tokens take about 1.5 KB each), negative none.
	CacheEntries int
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

const (
	defaultLifetime = 10 * time.Minute
	maxLifetime     = 24 * time.Hour
	defaultLeeway   = 30 * time.Second
	maxLeeway       = 5 * time.Minute
	defaultEntries  = 100_000
)

// Tokens issues and verifies access tokens. It is safe for concurrent use.
type Tokens struct {
	issuer, audience string
	ring             *KeyRing
	lifetime, leeway time.Duration
	now              func() time.Time
	cache            *cache
}

// New returns a Tokens, or an error that names the field at fault.
func New(cfg Config) (*Tokens, error) {
	t := &Tokens{issuer: cfg.Issuer, audience: cfg.Audience, ring: cfg.Keys, lifetime: cfg.Lifetime, leeway: cfg.Leeway, now: cfg.Now}
	switch {
	case cfg.Issuer == "" || !utf8.ValidString(cfg.Issuer):
		return nil, errors.New("access: Config.Issuer is empty or not UTF-8: name who issues the tokens, such as https://app.example")
	case cfg.Audience == "" || !utf8.ValidString(cfg.Audience):
		return nil, errors.New("access: Config.Audience is empty or not UTF-8: name the service that the tokens are for")
	case cfg.Keys == nil || cfg.Keys.state.Load() == nil:
		return nil, errors.New("access: Config.Keys is nil or empty: make a ring with NewKeyRing")
	}
	if t.lifetime == 0 {
		t.lifetime = defaultLifetime
	}
	if t.lifetime < time.Second || t.lifetime > maxLifetime {
		return nil, fmt.Errorf("access: Config.Lifetime is %v: use 1s to 24h, and 5 to 15 minutes if in doubt: it is how long a token outlives what it says", t.lifetime)
	}
	if t.leeway > maxLeeway {
		return nil, fmt.Errorf("access: Config.Leeway is %v: use at most 5m, and synchronise the clocks", t.leeway)
	}
	t.leeway = max(0, cmp.Or(t.leeway, defaultLeeway))
	if t.now == nil {
		t.now = time.Now
	}
	if entries := cmp.Or(cfg.CacheEntries, defaultEntries); entries > 0 {
		t.cache = newCache(entries, t.lifetime)
	}
	return t, nil
}

// Keys returns the ring.
func (t *Tokens) Keys() *KeyRing { return t.ring }

// Issuer returns Config.Issuer.
func (t *Tokens) Issuer() string { return t.issuer }

// Audience returns Config.Audience.
func (t *Tokens) Audience() string { return t.audience }

// Lifetime returns how long tokens last.
func (t *Tokens) Lifetime() time.Duration { return t.lifetime }

// Issued reports whether the claims are of tokens of this issuer and audience.
func (t *Tokens) Issued(c *Claims) bool {
	return c.Issuer == t.issuer && slices.Contains(c.Audience, t.audience)
}

// Now returns the time by the clock in use.
func (t *Tokens) Now() time.Time { return t.now() }
