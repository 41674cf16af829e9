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
)

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
func (t *Tokens) Issue(c Claims) (token string, issued *Claims, err error) {
	if err := checkIssue(c); err != nil {
		return "", nil, err
	}
	body, err := json.Marshal(t.payload(c))
	if err != nil {
		return "", nil, fmt.Errorf("access: claims: %w", err)
	}
	if c.Custom != nil {
		if body, err = addCustom(body, c.Custom); err != nil {
			return "", nil, err
		}
	}
	// What is returned is what a reader will see, and what no reader would
	// accept is not signed.
	issued, err = parseClaims(body)
	if err != nil {
		return "", nil, fmt.Errorf("access: Claims hold what no token can say, such as a date before 1970 or text that is not UTF-8: %w", err)
	}
	issued.marked = new(atomic.Bool)
	key := t.ring.state.Load().signing
	input := key.header + "." + base64.RawURLEncoding.EncodeToString(body)
	sig, err := key.sign(input)
	if err != nil {
		return "", nil, fmt.Errorf("access: signing: %w", err)
	}
	token = input + "." + base64.RawURLEncoding.EncodeToString(sig)
	if len(token) > maxToken {
		return "", nil, fmt.Errorf("access: the token would have %d bytes, at most %d are accepted: put less into the claims", len(token), maxToken)
	}
	return token, issued, nil
}

func checkIssue(c Claims) error {
	switch {
	case c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero():
		return errors.New("access: Claims.Subject, SessionID and AuthTime are mandatory")
	case c.Generation > maxInteger:
		return errors.New("access: Claims.Generation exceeds 2^53-1")
	case slices.ContainsFunc(c.Scopes, func(s string) bool { return !isScope(s) }):
		return errors.New("access: Claims.Scopes holds an empty scope, or one with a space, quote, backslash or what is not ASCII (RFC 6749 section 3.3)")
	}
	return nil
}

func (t *Tokens) payload(c Claims) payload {
	now := t.now().Truncate(time.Millisecond)
	expires := now.Add(t.lifetime)
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(expires) {
		expires = c.ExpiresAt.Truncate(time.Millisecond)
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
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
	return p
}

// addCustom merges the members of an app's claims into the token's JSON.
func addCustom(body []byte, custom any) ([]byte, error) {
	text, err := json.Marshal(custom)
	if err != nil {
		return nil, errors.New("access: Claims.Custom cannot be marshalled to JSON")
	}
	members := 0
	err = scanObject(string(text), func(name, _ string) error {
		members++
		if exact, clashes := isRegistered(name); exact || clashes {
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
	if members == 0 {
		return body, nil
	}
	return append(append(body[:len(body)-1], ','), text[1:]...), nil
}
