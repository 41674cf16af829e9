package access_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
)

// smallRSA makes a pair of 1024 bits by hand: the standard library may refuse to.
func smallRSA() *rsa.PrivateKey {
	prime := func() *big.Int {
		for b := make([]byte, 64); ; {
			rand.Read(b)
			b[0], b[63] = b[0]|0xc0, b[63]|1
			if p := new(big.Int).SetBytes(b); p.ProbablyPrime(20) {
				return p
			}
		}
	}
	one, e := big.NewInt(1), big.NewInt(65537)
	for {
		p, q := prime(), prime()
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(e, phi); d != nil {
			return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())}, D: d, Primes: []*big.Int{p, q}}
		}
	}
}

func TestNewKeyTakesOnlyMaterialThatFits(t *testing.T) {
	ed, ec, pair := materials()[access.EdDSA].(ed25519.PrivateKey), materials()[access.ES256].(*ecdsa.PrivateKey), materials()[access.PS256].(*rsa.PrivateKey)
	_, otherEd, _ := ed25519.GenerateKey(rand.Reader)
	otherEC, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	x25519, _ := ecdh.X25519().GenerateKey(rand.Reader)
	secret := materials()[access.HS256].([]byte)
	withoutD, swapped := *ec, *ec
	withoutD.D = nil
	swapped.PublicKey = otherEC.PublicKey
	public := func(change func(*rsa.PublicKey)) *rsa.PublicKey {
		p := &rsa.PublicKey{N: new(big.Int).Set(pair.N), E: pair.E}
		change(p)
		return p
	}
	tests := []struct {
		name     string
		alg      access.Algorithm
		material any
		ok       bool
	}{
		{"Ed25519 private", access.EdDSA, ed, true},
		{"Ed25519 private by pointer", access.EdDSA, &ed, true},
		{"Ed25519 public", access.EdDSA, ed.Public(), true},
		{"P-256 private", access.ES256, ec, true},
		{"P-256 public", access.ES256, &ec.PublicKey, true},
		{"RSA private", access.PS256, pair, true},
		{"RSA public", access.PS256, &pair.PublicKey, true},
		{"RSA for PKCS1-v1_5, named", access.RS256, pair, true},
		{"HMAC, 32 bytes", access.HS256, secret, true},
		{"HMAC, hexadecimal", access.HS256, []byte(hex.EncodeToString(secret)), true},
		{"HMAC, base64", access.HS256, []byte(base64.StdEncoding.EncodeToString(secret)), true},

		{"no algorithm", "", ed, false},
		{"none", "none", ed, false},
		{"none without a key", "none", nil, false},
		{"algorithm in another case", "eddsa", ed, false},
		{"longer hash", "ES384", p384, false},
		{"nil", access.EdDSA, nil, false},
		{"text", access.EdDSA, "key", false},
		{"X25519", access.EdDSA, x25519, false},
		{"P-256 for EdDSA", access.EdDSA, ec, false},
		{"RSA for EdDSA", access.EdDSA, pair, false},
		{"HMAC for EdDSA", access.EdDSA, secret, false},
		{"Ed25519 for ES256", access.ES256, ed, false},
		{"P-384 for ES256", access.ES256, p384, false},
		{"P-384 public for ES256", access.ES256, &p384.PublicKey, false},
		{"P-256 for PS256", access.PS256, ec, false},
		{"Ed25519 for RS256", access.RS256, ed, false},
		{"Ed25519 for HS256", access.HS256, ed, false},
		{"RSA public for HS256", access.HS256, &pair.PublicKey, false},
		{"HMAC as text", access.HS256, string(secret), false},

		{"Ed25519 private, empty", access.EdDSA, ed25519.PrivateKey{}, false},
		{"Ed25519 private, short", access.EdDSA, ed[:40], false},
		{"Ed25519 public, short", access.EdDSA, ed25519.PublicKey{1}, false},
		{"Ed25519 private, nil pointer", access.EdDSA, (*ed25519.PrivateKey)(nil), false},
		{"Ed25519 halves of two keys", access.EdDSA, append(ed[:32:32], otherEd[32:]...), false},
		{"P-256 private, nil", access.ES256, (*ecdsa.PrivateKey)(nil), false},
		{"P-256 private, zero", access.ES256, &ecdsa.PrivateKey{}, false},
		{"P-256 private without its number", access.ES256, &withoutD, false},
		{"P-256 halves of two keys", access.ES256, &swapped, false},
		{"P-256 public, nil", access.ES256, (*ecdsa.PublicKey)(nil), false},
		{"P-256 public, zero", access.ES256, &ecdsa.PublicKey{}, false},
		{"P-256 public without a point", access.ES256, &ecdsa.PublicKey{Curve: elliptic.P256()}, false},
		{"P-256 public off the curve", access.ES256, &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, false},
		{"RSA private, nil", access.PS256, (*rsa.PrivateKey)(nil), false},
		{"RSA private, zero", access.PS256, &rsa.PrivateKey{}, false},
		{"RSA private without its exponent", access.PS256, &rsa.PrivateKey{PublicKey: pair.PublicKey}, false},
		{"RSA public, nil", access.PS256, (*rsa.PublicKey)(nil), false},
		{"RSA public, zero", access.PS256, &rsa.PublicKey{}, false},
		{"RSA public, 1024 bits", access.PS256, &smallRSA().PublicKey, false},
		{"RSA private, 1024 bits", access.RS256, smallRSA(), false},
		{"RSA public, exponent 1", access.PS256, public(func(p *rsa.PublicKey) { p.E = 1 }), false},
		{"RSA public, even exponent", access.PS256, public(func(p *rsa.PublicKey) { p.E = 4 }), false},
		{"RSA public, even modulus", access.PS256, public(func(p *rsa.PublicKey) { p.N.SetBit(p.N, 0, 0) }), false},
		{"RSA public, negative modulus", access.PS256, public(func(p *rsa.PublicKey) { p.N.Neg(p.N) }), false},

		{"HMAC, nil", access.HS256, []byte(nil), false},
		{"HMAC, 31 bytes", access.HS256, secret[:31], false},
		{"HMAC, zeros", access.HS256, make([]byte, 64), false},
		{"HMAC, one byte repeated", access.HS256, []byte(strings.Repeat("k", 32)), false},
		{"HMAC, few bytes", access.HS256, []byte("abacabadabacabaeabacabadabacabaf"), false},
		{"HMAC, goes round", access.HS256, []byte(strings.Repeat("correct horse battery", 2)), false},
		{"HMAC, counts up", access.HS256, count(1), false},
		{"HMAC, counts in steps", access.HS256, count(7), false},
		{"HMAC, a word", access.HS256, []byte("my-very-own-Secret-for-this-app-0"), false},
		{"HMAC, a library's example", access.HS256, []byte("a-string-secret-at-least-256-bits-long"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := access.NewKey(tt.alg, tt.material)
			if (err == nil) != tt.ok || (k == nil) == tt.ok {
				t.Fatalf("got %v, %v", k, err)
			}
			if err == nil {
				if k.Algorithm() != tt.alg || k.ID() == "" {
					t.Errorf("algorithm %s, id %q", k.Algorithm(), k.ID())
				}
				return
			}
			if !strings.HasPrefix(err.Error(), "access: ") {
				t.Errorf("%q has no prefix", err)
			}
			if b, ok := tt.material.([]byte); ok && len(b) > 8 && strings.Contains(err.Error(), string(b[:8])) {
				t.Errorf("%q shows the secret", err)
			}
		})
	}
}

func count(step byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i) * step
	}
	return b
}

// Whatever random bytes come, in any of the usual spellings, they pass.
func TestRandomSecretsPass(t *testing.T) {
	for range 2000 {
		secret := make([]byte, 32)
		rand.Read(secret)
		for _, s := range [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)), []byte(hex.EncodeToString(secret[:16]))} {
			if _, err := access.NewKey(access.HS256, s); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
	}
}

func TestGenerateKey(t *testing.T) {
	for _, alg := range algorithms {
		a, err := access.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		b, err := access.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		if a.ID() == b.ID() || a.Algorithm() != alg || !a.CanSign() {
			t.Errorf("%s: %q and %q", alg, a.ID(), b.ID())
		}
		if alg == access.PS256 {
			body := serve(newRing(t, access.Keys{Signing: a}), "GET").Body.String()
			n, _, _ := strings.Cut(body[strings.Index(body, `"n":"`)+5:], `"`)
			if modulus, err := base64.RawURLEncoding.DecodeString(n); err != nil || len(modulus) != 3072/8 {
				t.Errorf("RSA key of %d bytes, %v", len(modulus), err)
			}
		}
	}
	for _, alg := range []access.Algorithm{"", "none", "HS512", "hs256"} {
		if k, err := access.GenerateKey(alg); err == nil || k != nil {
			t.Errorf("%q: %v, %v", alg, k, err)
		}
	}
}

// The examples of RFC 8037 appendix A.3 and RFC 7638 section 3.1.
func TestKeyIDsAreThumbprints(t *testing.T) {
	dec := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ed := newKey(t, access.EdDSA, ed25519.PublicKey(dec("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")))
	if got, want := ed.ID(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("Ed25519: got %s, want %s", got, want)
	}
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	pair := newKey(t, access.RS256, &rsa.PublicKey{N: new(big.Int).SetBytes(dec(n)), E: 65537})
	if got, want := pair.ID(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("RSA: got %s, want %s", got, want)
	}
	if pair.CanSign() || ed.CanSign() {
		t.Error("public keys do not sign")
	}
}

// A plain hash would let whoever has the id test guesses made for other uses.
func TestHMACKeyIDIsNoPlainHash(t *testing.T) {
	secret := materials()[access.HS256].([]byte)
	id := newKey(t, access.HS256, secret).ID()
	sum := sha256.Sum256(secret)
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) != 16 {
		t.Fatalf("id %q: %v", id, err)
	}
	if bytes.Contains(sum[:], raw) || bytes.Contains(secret, raw) {
		t.Errorf("id %q is part of the secret, or of its plain hash", id)
	}
}

func TestKeysDoNotShareTheCallersBytes(t *testing.T) {
	for _, alg := range []access.Algorithm{access.HS256, access.EdDSA} {
		var material any
		var wipe []byte
		if alg == access.HS256 {
			wipe = append([]byte(nil), materials()[alg].([]byte)...)
			material = wipe
		} else {
			key := append(ed25519.PrivateKey(nil), materials()[alg].(ed25519.PrivateKey)...)
			material, wipe = key, key
		}
		tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: newKey(t, alg, material)}), CacheEntries: -1})
		before, _ := issue(t, tokens, login)
		clear(wipe)
		after, _ := issue(t, tokens, login)
		for _, text := range []string{before, after} {
			if _, err := tokens.Verify(text); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

// An hsm is a key that is elsewhere: all that is seen of it is a crypto.Signer.
type hsm struct {
	crypto.Signer
	sign func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (h hsm) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if h.sign != nil {
		return h.sign(digest, opts)
	}
	return h.Signer.Sign(r, digest, opts)
}

func TestKeysInAnHSM(t *testing.T) {
	for _, alg := range []access.Algorithm{access.EdDSA, access.ES256, access.PS256, access.RS256} {
		here := newKey(t, alg, materials()[alg])
		there := newKey(t, alg, hsm{Signer: materials()[alg].(crypto.Signer)})
		if here.ID() != there.ID() || !there.CanSign() {
			t.Errorf("%s: ids %s and %s", alg, here.ID(), there.ID())
		}
		tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: there})})
		text, _ := issue(t, tokens, login)
		verifier := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: here})})
		if _, err := verifier.Verify(text); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestFailuresOfAnHSM(t *testing.T) {
	away := errors.New("hsm: away")
	ec := materials()[access.ES256].(*ecdsa.PrivateKey)
	for name, answer := range map[string][]byte{
		"an error": nil, "nothing": {}, "64 bytes": make([]byte, 64), "a pair of zeros": {0x30, 6, 2, 1, 0, 2, 1, 0},
		"a negative number": {0x30, 6, 2, 1, 0xff, 2, 1, 1}, "something behind": {0x30, 6, 2, 1, 1, 2, 1, 1, 0},
		"a number too large": append(append([]byte{0x30, 38, 2, 33, 1}, make([]byte, 32)...), 2, 1, 1),
	} {
		key := newKey(t, access.ES256, hsm{ec, func([]byte, crypto.SignerOpts) ([]byte, error) {
			if answer == nil {
				return nil, away
			}
			return answer, nil
		}})
		tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: key})})
		text, c, err := tokens.Issue(login)
		if err == nil || text != "" || c != nil || answer == nil && !errors.Is(err, away) {
			t.Errorf("%s: %q, %v, %v", name, text, c, err)
		}
	}
}
