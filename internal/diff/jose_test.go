package diff_test

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
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sessionkit/sessionkit/access"
)

const (
	issuer   = "https://issuer.example"
	audience = "app"
	leeway   = 30 * time.Second
)

var at = time.Unix(1_750_000_000, 0)

// A pair is the kit and go-jose with one key, and somebody who signs with it.
type pair struct {
	alg    access.Algorithm
	kid    string
	public any
	tokens *access.Tokens
	sign   func(input string) []byte
}

func newPair(t testing.TB, alg access.Algorithm) pair {
	t.Helper()
	p := pair{alg: alg}
	var material any
	switch alg {
	case access.EdDSA:
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("seed"), 8))
		material, p.public = key, key.Public()
		p.sign = func(input string) []byte { return ed25519.Sign(key, []byte(input)) }
	case access.ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		material, p.public = key, &key.PublicKey
		p.sign = func(input string) []byte {
			digest := sha256.Sum256([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case access.HS256:
		secret := sha256.Sum256([]byte("the same in every process"))
		material, p.public = secret[:], secret[:]
		p.sign = func(input string) []byte {
			mac := hmac.New(sha256.New, secret[:])
			mac.Write([]byte(input))
			return mac.Sum(nil)
		}
	default:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		material, p.public = key, &key.PublicKey
		p.sign = func(input string) []byte {
			digest := sha256.Sum256([]byte(input))
			var sig []byte
			var err error
			if alg == access.PS256 {
				sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
			} else {
				sig, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
			}
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	key, err := access.NewKey(alg, material)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(access.Keys{Signing: key})
	if err != nil {
		t.Fatal(err)
	}
	p.kid = key.ID()
	p.tokens, err = access.New(access.Config{Issuer: issuer, Audience: audience, Keys: ring, Leeway: leeway, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// token signs a header and a payload, whatever they are.
func (p pair) token(header, payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(p.sign(input))
}

// extra are the claims that go-jose has no field for.
type extra struct {
	SessionID string `json:"sid"`
	ClientID  string `json:"client_id"`
}

// jose verifies a token with go-jose, with the same key and the same checks:
// the algorithm, the issuer, the audience, and the times.
func (p pair) jose(token string) (*jwt.Claims, *extra, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.alg)})
	if err != nil {
		return nil, nil, err
	}
	var c jwt.Claims
	var more extra
	if err := parsed.Claims(p.public, &c, &more); err != nil {
		return nil, nil, err
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: at}, leeway); err != nil {
		return nil, nil, err
	}
	return &c, &more, nil
}

// compare holds the two against each other.
func compare(t *testing.T, p pair, token string) {
	t.Helper()
	ours, err := p.tokens.Verify(token)
	theirs, more, joseErr := p.jose(token)
	switch {
	case err == nil && joseErr != nil:
		t.Errorf("the kit accepts what go-jose refuses (%v): %q", joseErr, decoded(token))
	case err == nil:
		if ours.Issuer != theirs.Issuer || ours.Subject != theirs.Subject || ours.ID != theirs.ID || ours.SessionID != more.SessionID || ours.ClientID != more.ClientID ||
			!slices.Equal(ours.Audience, theirs.Audience) || ours.ExpiresAt.Unix() != theirs.Expiry.Time().Unix() || ours.IssuedAt.Unix() != theirs.IssuedAt.Time().Unix() {
			t.Errorf("one token, two readings: %+v and %+v: %q", ours, theirs, decoded(token))
		}
	case joseErr == nil:
		if reason(p, token) == "" {
			t.Errorf("the kit refuses (%v) what go-jose accepts, for no reason on the list: %q", err, decoded(token))
		}
	}
}

func decoded(token string) []string {
	var all []string
	for part := range strings.SplitSeq(token, ".") {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			text = []byte(part)
		}
		all = append(all, string(text))
	}
	return all[:min(2, len(all))]
}

func payload(change map[string]any) string {
	all := map[string]any{
		"iss": issuer, "sub": "alice", "aud": audience, "client_id": "app", "jti": "id-1", "sid": "family-1", "gen": 3,
		"iat": 1750000000, "exp": 1750000600, "auth_time": 1749996400,
	}
	for name, v := range change {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	text, _ := json.Marshal(all)
	return string(text)
}
