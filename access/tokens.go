package access

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
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
	// CacheEntries bounds how many verified tokens are remembered. 0 means
	// 100,000 (about 200 MB if all tokens had 1 KB), negative none.
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
		return nil, fmt.Errorf("access: Config.Lifetime is %v: use 1s to 24h, and 5 to 15 minutes if in doubt", t.lifetime)
	}
	switch {
	case t.leeway == 0:
		t.leeway = defaultLeeway
	case t.leeway < 0:
		t.leeway = 0
	case t.leeway > maxLeeway:
		return nil, fmt.Errorf("access: Config.Leeway is %v: use at most 5m, and synchronise the clocks", t.leeway)
	}
	if t.now == nil {
		t.now = time.Now
	}
	switch {
	case cfg.CacheEntries == 0:
		t.cache = newCache(defaultEntries)
	case cfg.CacheEntries > 0:
		t.cache = newCache(cfg.CacheEntries)
	}
	return t, nil
}

// Keys returns the ring.
func (t *Tokens) Keys() *KeyRing { return t.ring }

// Issuer returns Config.Issuer.
func (t *Tokens) Issuer() string { return t.issuer }

// Lifetime returns how long tokens last.
func (t *Tokens) Lifetime() time.Duration { return t.lifetime }

// Now returns the time by the clock in use.
func (t *Tokens) Now() time.Time { return t.now() }

// payload is the JSON of a token, in the order of RFC 9068 section 2.2.
type payload struct {
	Issuer     string   `json:"iss"`
	Expires    int64    `json:"exp"`
	Audience   string   `json:"aud"`
	Subject    string   `json:"sub"`
	ClientID   string   `json:"client_id"`
	IssuedAt   int64    `json:"iat"`
	ID         string   `json:"jti"`
	SessionID  string   `json:"sid"`
	Generation uint64   `json:"gen"`
	AuthTime   int64    `json:"auth_time"`
	SessionExp int64    `json:"session_exp,omitempty"`
	NotBefore  int64    `json:"nbf,omitempty"`
	ACR        string   `json:"acr,omitempty"`
	AMR        []string `json:"amr,omitempty"`
	Scope      string   `json:"scope,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	IssuedMS   int64    `json:"iat_ms,omitempty"`
	ExpiresMS  int64    `json:"exp_ms,omitempty"`
}

// Issue signs a token. Subject, SessionID and AuthTime are mandatory; Issuer,
// Audience, IssuedAt and ID are filled in, ClientID is the audience unless it
// is set (a first-party app is its own client), and the token expires after
// the lifetime, or at ExpiresAt if that comes sooner. It returns the token and
// its claims; the error says what cannot be issued, or that signing failed.
func (t *Tokens) Issue(c Claims) (string, *Claims, error) {
	now := t.now().Truncate(time.Millisecond)
	expires := now.Add(t.lifetime)
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(expires) {
		expires = c.ExpiresAt.Truncate(time.Millisecond)
	}
	switch {
	case c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero():
		return "", nil, errors.New("access: Claims.Subject, SessionID and AuthTime are mandatory")
	case c.Generation > maxInteger:
		return "", nil, errors.New("access: Claims.Generation exceeds 2^53-1")
	case slices.ContainsFunc(c.Scopes, func(s string) bool { return s == "" || strings.ContainsAny(s, " \"\\") }):
		return "", nil, errors.New("access: Claims.Scopes holds an empty scope, or one with a space, quote or backslash (RFC 6749 section 3.3)")
	}
	var id [16]byte
	rand.Read(id[:])
	p := payload{
		Issuer: t.issuer, Audience: t.audience, Subject: c.Subject, ClientID: c.ClientID,
		ID: base64.RawURLEncoding.EncodeToString(id[:]), SessionID: c.SessionID, Generation: c.Generation,
		IssuedAt: now.Unix(), IssuedMS: int64(now.Nanosecond() / 1e6),
		Expires: expires.Unix(), ExpiresMS: int64(expires.Nanosecond() / 1e6),
		AuthTime: c.AuthTime.Unix(), ACR: c.ACR, AMR: c.AMR, Scope: strings.Join(c.Scopes, " "), Roles: c.Roles,
	}
	if p.ClientID == "" {
		p.ClientID = t.audience
	}
	if !c.SessionExpiresAt.IsZero() {
		p.SessionExp = c.SessionExpiresAt.Unix()
	}
	if !c.NotBefore.IsZero() {
		p.NotBefore = c.NotBefore.Unix()
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", nil, fmt.Errorf("access: claims: %w", err)
	}
	if c.Custom != nil {
		if body, err = addCustom(body, c.Custom); err != nil {
			return "", nil, err
		}
	}
	key := t.ring.state.Load().signing
	input := key.header + "." + base64.RawURLEncoding.EncodeToString(body)
	sig, err := key.sign(input)
	if err != nil {
		return "", nil, fmt.Errorf("access: signing: %w", err)
	}
	token := input + "." + base64.RawURLEncoding.EncodeToString(sig)
	if len(token) > maxToken {
		return "", nil, fmt.Errorf("access: the token would have %d bytes, at most %d are accepted: put less into the claims", len(token), maxToken)
	}
	// What is returned is what a reader will see.
	issued, err := parseClaims(body)
	if err != nil {
		return "", nil, fmt.Errorf("access: claims are not acceptable: %w", err)
	}
	issued.marked = new(atomic.Bool)
	return token, issued, nil
}

// addCustom merges the members of an app's claims into the token's JSON.
func addCustom(body []byte, custom any) ([]byte, error) {
	text, err := json.Marshal(custom)
	if err != nil {
		return nil, errors.New("access: Claims.Custom cannot be marshalled to JSON")
	}
	members := 0
	err = scanObject(text, func(name string, _ []byte) error {
		members++
		if exact, clashes := isRegistered(name); exact || clashes {
			return fmt.Errorf("access: Claims.Custom has a member %q, which is taken", name)
		}
		return nil
	})
	if errors.Is(err, errJSON) {
		return nil, errors.New("access: Claims.Custom is no JSON object with distinct members: use a struct or a map")
	}
	if err != nil || members == 0 {
		return body, err
	}
	return append(append(body[:len(body)-1], ','), text[1:]...), nil
}
