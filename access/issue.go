package access

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
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

// Issue signs a token. Subject, SessionID and AuthTime are mandatory; Issuer,
// Audience, IssuedAt and ID are filled in, ClientID is the audience unless it
// is set (a first-party app is its own client), and the token expires after
// the lifetime, rounded up to a second, or at ExpiresAt, rounded down, if that
// comes sooner. It returns the token and its claims. It fails with
// ErrCannotIssue, or with another error when signing failed.
func (t *Tokens) Issue(c Claims) (token string, issued *Claims, err error) {
	key := t.ring.state.Load().signing
	body, issued, err := t.prepare(c, key, 0)
	if err != nil {
		return "", nil, err
	}
	issued.marked = new(atomic.Bool)
	var text strings.Builder
	var encoded [2 << 10]byte
	text.Grow(tokenLength(key, body))
	text.WriteString(key.header)
	text.WriteByte('.')
	text.Write(base64.RawURLEncoding.AppendEncode(encoded[:0], body))
	sig, err := key.sign(text.String())
	if err != nil {
		return "", nil, fmt.Errorf("access: signing: %w", err)
	}
	text.WriteByte('.')
	text.Write(base64.RawURLEncoding.AppendEncode(encoded[:0], sig))
	return text.String(), issued, nil
}

// Check reports whether Issue would succeed but for the signer, with a token of
// at most maxBytes; 0 is the kit's own limit. It fails with ErrCannotIssue.
func (t *Tokens) Check(c Claims, maxBytes int) error {
	_, _, err := t.prepare(c, t.ring.state.Load().signing, maxBytes)
	return err
}

// prepare makes all of a token but its signature.
func (t *Tokens) prepare(c Claims, key *Key, maxBytes int) (body []byte, issued *Claims, err error) {
	if err := checkIssue(c); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCannotIssue, err)
	}
	t.complete(&c)
	body, plain := c.encode()
	if c.Custom != nil {
		if body, err = addCustom(body, c.Custom); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrCannotIssue, err)
		}
		plain = false
	}
	// Parses back what it encodes, so that callers see what verifiers see.
	// Plain claims need no parser to know.
	if plain {
		c.payload, issued = string(body), &c
	} else if issued, err = parseClaims(body); err != nil {
		return nil, nil, fmt.Errorf("%w: they hold what no token can say, such as a date before 1970 or text that is not UTF-8: %w", ErrCannotIssue, err)
	}
	if maxBytes == 0 || maxBytes > maxToken {
		maxBytes = maxToken
	}
	if n := tokenLength(key, body); n > maxBytes {
		return nil, nil, fmt.Errorf("%w: the token would have %d bytes, at most %d are accepted: put less into the claims", ErrCannotIssue, n, maxBytes)
	}
	return body, issued, nil
}

// tokenLength is the length of a token with this payload.
func tokenLength(key *Key, body []byte) int {
	signature := 64 // of Ed25519, and of ECDSA with P-256 (RFC 7518 section 3.4)
	switch public := key.public.(type) {
	case *rsa.PublicKey:
		signature = public.Size()
	case []byte:
		signature = sha256.Size
	}
	return len(key.header) + base64.RawURLEncoding.EncodedLen(len(body)) + base64.RawURLEncoding.EncodedLen(signature) + 2
}

func checkIssue(c Claims) error {
	switch {
	case c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero():
		return errors.New("access: Claims.Subject, SessionID and AuthTime are mandatory")
	case slices.ContainsFunc(slices.Concat([]string{c.Subject, c.SessionID, c.ClientID, c.ACR, c.Actor}, c.AMR, c.Roles), func(s string) bool { return !utf8.ValidString(s) }):
		return errors.New("access: Claims hold text that is not UTF-8")
	case c.Generation > maxInteger:
		return errors.New("access: Claims.Generation exceeds 2^53-1")
	case c.KeyThumbprint != "" && !isThumbprint(c.KeyThumbprint):
		return errors.New("access: Claims.KeyThumbprint is no SHA-256 hash in base64url without padding (RFC 7638)")
	case slices.ContainsFunc(c.Scopes, func(s string) bool { return !isScope(s) }):
		return errors.New("access: Claims.Scopes holds an empty scope, or one with a space, quote, backslash or what is not ASCII (RFC 6749 section 3.3)")
	}
	return nil
}

// complete fills in what the issuer says, cuts times down to what a token holds,
// and lets go of the caller's slices.
func (t *Tokens) complete(c *Claims) {
	now := t.now()
	// Whole seconds, so that the token is dead at the same time for everybody
	// who reads it (RFC 7519 section 2, NumericDate).
	latest := time.Unix(now.Add(t.lifetime+time.Second-1).Unix(), 0)
	if c.ExpiresAt.IsZero() || c.ExpiresAt.After(latest) {
		c.ExpiresAt = latest
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	c.Issuer, c.Audience, c.ID = t.issuer, []string{t.audience}, base64.RawURLEncoding.EncodeToString(id[:])
	c.ClientID = cmp.Or(c.ClientID, t.audience)
	c.DeviceBound = c.DeviceBound || c.KeyThumbprint != ""
	c.IssuedAt, c.ExpiresAt = time.UnixMilli(now.UnixMilli()), time.Unix(c.ExpiresAt.Unix(), 0)
	for _, at := range []*time.Time{&c.NotBefore, &c.AuthTime, &c.SessionExpiresAt} {
		if !at.IsZero() {
			*at = time.Unix(at.Unix(), 0)
		}
	}
	for _, list := range []*[]string{&c.AMR, &c.Scopes, &c.Roles} {
		*list = append([]string(nil), *list...)
	}
}

// encode returns the claims as JSON, in the order of RFC 9068 section 2.2, and
// whether a reader sees in it what stands in c: all text is ASCII that needs no
// escape, and all dates are in range.
func (c *Claims) encode() (body []byte, plain bool) {
	p := payload{
		Issuer: c.Issuer, ExpiresAt: c.ExpiresAt.Unix(), Audience: c.Audience[0], Subject: c.Subject, ClientID: c.ClientID,
		IssuedAt: c.IssuedAt.Unix(), ID: c.ID, SessionID: c.SessionID, Generation: c.Generation, AuthTime: c.AuthTime.Unix(),
		SessionExpiresAt: seconds(c.SessionExpiresAt), NotBefore: seconds(c.NotBefore),
		ACR: c.ACR, AMR: c.AMR, Scope: strings.Join(c.Scopes, " "), Roles: c.Roles, Milliseconds: c.IssuedAt.Nanosecond() / 1e6,
	}
	if c.Actor != "" {
		p.Actor = &actorMember{c.Actor}
	}
	if c.DeviceBound {
		p.Confirmation = &keyMember{c.KeyThumbprint, c.KeyThumbprint == ""}
	}
	body, _ = json.Marshal(&p) // text and numbers have no reason to fail
	plain = !slices.ContainsFunc(body, func(b byte) bool { return b < ' ' || b > '~' || b == '\\' })
	for _, at := range []time.Time{c.ExpiresAt, c.IssuedAt, c.AuthTime, c.SessionExpiresAt, c.NotBefore} {
		plain = plain && (at.IsZero() || 0 < at.Unix() && at.Unix() <= maxDate)
	}
	return body, plain
}

// seconds is a date as a token has it; nil for none.
func seconds(at time.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	s := at.Unix()
	return &s
}

// A payload is the claims as a token has them.
type payload struct {
	Issuer           string       `json:"iss"`
	ExpiresAt        int64        `json:"exp"`
	Audience         string       `json:"aud"`
	Subject          string       `json:"sub"`
	ClientID         string       `json:"client_id"`
	IssuedAt         int64        `json:"iat"`
	ID               string       `json:"jti"`
	SessionID        string       `json:"sid"`
	Generation       uint64       `json:"gen"`
	AuthTime         int64        `json:"auth_time"`
	SessionExpiresAt *int64       `json:"session_exp,omitempty"`
	NotBefore        *int64       `json:"nbf,omitempty"`
	ACR              string       `json:"acr,omitempty"`
	AMR              []string     `json:"amr,omitempty"`
	Actor            *actorMember `json:"act,omitempty"`
	Scope            string       `json:"scope,omitempty"`
	Roles            []string     `json:"roles,omitempty"`
	Confirmation     *keyMember   `json:"cnf,omitempty"`
	Milliseconds     int          `json:"iat_ms,omitempty"`
}

type actorMember struct {
	Subject string `json:"sub"`
}

type keyMember struct {
	Thumbprint string `json:"jkt,omitempty"`
	Browser    bool   `json:"dbsc,omitempty"`
}

// addCustom merges the members of an app's claims into the token's JSON.
func addCustom(body []byte, custom any) (_ []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("access: Claims.Custom panics when it is marshalled")
		}
	}()
	text, err := json.Marshal(custom)
	if err != nil {
		return nil, errors.New("access: Claims.Custom cannot be marshalled to JSON")
	}
	members := 0
	err = scanObject(string(text), func(name, _ string) error {
		members++
		if isReserved(name) {
			return fmt.Errorf("access: Claims.Custom has a member %q, which is taken", name)
		}
		return nil
	})
	if errors.Is(err, errJSON) {
		return nil, errors.New("access: Claims.Custom is no JSON object with distinct members: use a struct or a map")
	}
	if err != nil {
		return nil, err
	}
	// A byte that is not UTF-8 becomes such an escape; the character itself
	// is written without one.
	if !utf8.Valid(text) || !hasWholePairs(string(text)) || hasEscape(string(text), utf8.RuneError) {
		return nil, errors.New("access: Claims.Custom holds text that is not UTF-8")
	}
	if members == 0 {
		return body, nil
	}
	return append(append(body[:len(body)-1], ','), text[1:]...), nil
}
