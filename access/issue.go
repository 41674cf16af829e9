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
	"strconv"
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
// escape, and all dates are in range. It is written by hand, since every refresh
// needs it.
func (c *Claims) encode() (body []byte, plain bool) {
	o := object{make([]byte, 0, 512), true}
	o.string(`{"iss":`, c.Issuer)
	o.date(`,"exp":`, c.ExpiresAt)
	o.string(`,"aud":`, c.Audience[0])
	o.string(`,"sub":`, c.Subject)
	o.string(`,"client_id":`, c.ClientID)
	o.date(`,"iat":`, c.IssuedAt)
	o.string(`,"jti":`, c.ID)
	o.string(`,"sid":`, c.SessionID)
	o.number(`,"gen":`, int64(c.Generation))
	o.date(`,"auth_time":`, c.AuthTime)
	if !c.SessionExpiresAt.IsZero() {
		o.date(`,"session_exp":`, c.SessionExpiresAt)
	}
	if !c.NotBefore.IsZero() {
		o.date(`,"nbf":`, c.NotBefore)
	}
	if c.ACR != "" {
		o.string(`,"acr":`, c.ACR)
	}
	if len(c.AMR) > 0 {
		o.strings(`,"amr":`, c.AMR)
	}
	if c.Actor != "" {
		o.string(`,"act":{"sub":`, c.Actor)
		o.text = append(o.text, '}')
	}
	if len(c.Scopes) > 0 {
		o.string(`,"scope":`, strings.Join(c.Scopes, " "))
	}
	if len(c.Roles) > 0 {
		o.strings(`,"roles":`, c.Roles)
	}
	switch {
	case c.KeyThumbprint != "":
		o.string(`,"cnf":{"jkt":`, c.KeyThumbprint)
		o.text = append(o.text, '}')
	case c.DeviceBound:
		o.text = append(o.text, `,"cnf":{"dbsc":true}`...)
	}
	if ms := c.IssuedAt.Nanosecond() / 1e6; ms > 0 {
		o.number(`,"iat_ms":`, int64(ms))
	}
	return append(o.text, '}'), o.plain
}

// An object is a JSON object in the making.
type object struct {
	text  []byte
	plain bool
}

func (o *object) number(name string, v int64) {
	o.text = strconv.AppendInt(append(o.text, name...), v, 10)
}

func (o *object) date(name string, at time.Time) {
	s := at.Unix()
	o.plain = o.plain && 0 < s && s <= maxDate
	o.number(name, s)
}

func (o *object) string(name, v string) {
	o.text = append(o.text, name...)
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(v) // a string has no reason to fail
			o.text, o.plain = append(o.text, text...), false
			return
		}
	}
	o.text = append(append(append(o.text, '"'), v...), '"')
}

func (o *object) strings(name string, list []string) {
	o.text = append(o.text, name...)
	separator := "["
	for _, v := range list {
		o.string(separator, v)
		separator = ","
	}
	o.text = append(o.text, ']')
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
