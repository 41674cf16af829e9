package access

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Issue signs a token. Subject, SessionID and AuthTime are mandatory; Issuer,
// Audience, IssuedAt and ID are filled in, ClientID is the audience unless it
// is set (a first-party app is its own client), and the token expires after
// the lifetime, or at ExpiresAt if that comes sooner. It returns the token and
// its claims; the error says what cannot be issued, or that signing failed.
func (t *Tokens) Issue(c Claims) (token string, issued *Claims, err error) {
	if err := checkIssue(c); err != nil {
		return "", nil, err
	}
	body := t.payload(c)
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
	var text strings.Builder
	var encoded [2 << 10]byte
	text.Grow(len(key.header) + base64.RawURLEncoding.EncodedLen(len(body)) + 100) // enough for all but RSA
	text.WriteString(key.header)
	text.WriteByte('.')
	text.Write(base64.RawURLEncoding.AppendEncode(encoded[:0], body))
	sig, err := key.sign(text.String())
	if err != nil {
		return "", nil, fmt.Errorf("access: signing: %w", err)
	}
	text.WriteByte('.')
	text.Write(base64.RawURLEncoding.AppendEncode(encoded[:0], sig))
	token = text.String()
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

// payload returns the claims as JSON, in the order of RFC 9068 section 2.2. It
// is written by hand, which is a third of the work of encoding/json.
func (t *Tokens) payload(c Claims) []byte {
	now := t.now().Truncate(time.Millisecond)
	expires := now.Add(t.lifetime)
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(expires) {
		expires = c.ExpiresAt.Truncate(time.Millisecond)
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	b := make(object, 0, 512)
	b.string(`{"iss":`, t.issuer)
	b.number(`,"exp":`, expires.Unix())
	b.string(`,"aud":`, t.audience)
	b.string(`,"sub":`, c.Subject)
	b.string(`,"client_id":`, cmp.Or(c.ClientID, t.audience))
	b.number(`,"iat":`, now.Unix())
	b = append(base64.RawURLEncoding.AppendEncode(append(b, `,"jti":"`...), id[:]), '"')
	b.string(`,"sid":`, c.SessionID)
	b.number(`,"gen":`, int64(c.Generation))
	b.number(`,"auth_time":`, c.AuthTime.Unix())
	if !c.SessionExpiresAt.IsZero() {
		b.number(`,"session_exp":`, c.SessionExpiresAt.Unix())
	}
	if !c.NotBefore.IsZero() {
		b.number(`,"nbf":`, c.NotBefore.Unix())
	}
	if c.ACR != "" {
		b.string(`,"acr":`, c.ACR)
	}
	if len(c.AMR) > 0 {
		b.strings(`,"amr":`, c.AMR)
	}
	if len(c.Scopes) > 0 {
		b.string(`,"scope":`, strings.Join(c.Scopes, " "))
	}
	if len(c.Roles) > 0 {
		b.strings(`,"roles":`, c.Roles)
	}
	if ms := now.Nanosecond() / 1e6; ms > 0 {
		b.number(`,"iat_ms":`, int64(ms))
	}
	if ms := expires.Nanosecond() / 1e6; ms > 0 {
		b.number(`,"exp_ms":`, int64(ms))
	}
	return append(b, '}')
}

// An object is the text of a JSON object in the making.
type object []byte

func (b *object) number(name string, v int64) {
	*b = strconv.AppendInt(append(*b, name...), v, 10)
}

func (b *object) string(name, v string) {
	*b = append(*b, name...)
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(v) // a string has no reason to fail
			*b = append(*b, text...)
			return
		}
	}
	*b = append(append(append(*b, '"'), v...), '"')
}

func (b *object) strings(name string, list []string) {
	*b = append(*b, name...)
	separator := "["
	for _, v := range list {
		b.string(separator, v)
		separator = ","
	}
	*b = append(*b, ']')
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
	if members == 0 {
		return body, nil
	}
	return append(append(body[:len(body)-1], ','), text[1:]...), nil
}
