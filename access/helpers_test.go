package access_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

const (
	issuer   = "https://issuer.example"
	audience = "app"
)

// thumbprint is that of the example in RFC 7638 section 3.1.
const thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

// at is when the tests with a fixed clock take place.
var at = time.Unix(1_750_000_000, 0)

var algorithms = []access.Algorithm{access.EdDSA, access.ES256, access.PS256, access.HS256, access.RS256}

// login is what an app passes to Issue.
var login = access.Claims{Subject: "alice", SessionID: "family-1", AuthTime: at.Add(-time.Hour)}

// materials are keys of the standard library, made once: RSA takes its time.
var materials = sync.OnceValue(func() map[access.Algorithm]any {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pair, _ := rsa.GenerateKey(rand.Reader, 2048)
	secret := make([]byte, 32)
	rand.Read(secret)
	return map[access.Algorithm]any{access.EdDSA: ed, access.ES256: ec, access.PS256: pair, access.RS256: pair, access.HS256: secret}
})

func newKey(t testing.TB, alg access.Algorithm, material any) *access.Key {
	t.Helper()
	k, err := access.NewKey(alg, material)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRing(t testing.TB, keys access.Keys) *access.KeyRing {
	t.Helper()
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newTokens(t testing.TB, cfg access.Config) *access.Tokens {
	t.Helper()
	if cfg.Issuer == "" {
		cfg.Issuer = issuer
	}
	if cfg.Audience == "" {
		cfg.Audience = audience
	}
	tokens, err := access.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func issue(t testing.TB, tokens *access.Tokens, c access.Claims) (string, *access.Claims) {
	t.Helper()
	text, claims, err := tokens.Issue(c)
	if err != nil {
		t.Fatal(err)
	}
	return text, claims
}

// An author writes tokens by hand, with the standard library alone: what
// another program, or an attacker with or without the key, might send.
type author struct {
	alg, kid string
	sign     func(input string) []byte
}

// newAuthor returns one who has the key, and Tokens that accept what it signs.
func newAuthor(t testing.TB, alg access.Algorithm, cfg access.Config) (author, *access.Tokens) {
	t.Helper()
	material := materials()[alg]
	key := newKey(t, alg, material)
	cfg.Keys = newRing(t, access.Keys{Signing: key})
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return at }
	}
	return author{string(alg), key.ID(), func(input string) []byte { return sign(alg, material, input) }}, newTokens(t, cfg)
}

func sign(alg access.Algorithm, material any, input string) []byte {
	digest := sha256.Sum256([]byte(input))
	switch alg {
	case access.EdDSA:
		return ed25519.Sign(material.(ed25519.PrivateKey), []byte(input))
	case access.ES256:
		r, s, _ := ecdsa.Sign(rand.Reader, material.(*ecdsa.PrivateKey), digest[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case access.PS256:
		sig, _ := rsa.SignPSS(rand.Reader, material.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
		return sig
	case access.RS256:
		sig, _ := rsa.SignPKCS1v15(nil, material.(*rsa.PrivateKey), crypto.SHA256, digest[:])
		return sig
	}
	return hmacSHA256(material.([]byte), input)
}

// hmacSHA256 fills up short keys with zeros, as HMAC itself does: no approved
// implementation takes them otherwise.
func hmacSHA256(key []byte, input string) []byte {
	if len(key) < sha256.BlockSize {
		key = append(bytes.Clone(key), make([]byte, sha256.BlockSize-len(key))...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return mac.Sum(nil)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// header is the ordinary JOSE header.
func (a author) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, a.alg, a.kid)
}

func (a author) token(header, payload string) string {
	return a.segments(b64(header), b64(payload))
}

func (a author) segments(header, payload string) string {
	input := header + "." + payload
	return input + "." + string(b64(string(a.sign(input))))
}

// payload returns an ordinary payload in which some members have other JSON,
// or none where it is "", followed by others.
func payload(change map[string]string, more ...string) string {
	members := map[string]string{
		"iss": `"` + issuer + `"`, "sub": `"alice"`, "aud": `"app"`, "client_id": `"app"`, "jti": `"id-1"`,
		"sid": `"family-1"`, "gen": "3",
		"iat": "1750000000", "exp": "1750000600", "auth_time": "1749996400",
	}
	maps.Copy(members, change)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if members[name] != "" {
			all = append(all, `"`+name+`":`+members[name])
		}
	}
	return "{" + strings.Join(append(all, more...), ",") + "}"
}

// A clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
