package access_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// A device signs proofs by hand, as another program might, or an attacker.
type device struct {
	alg  string
	key  crypto.Signer
	jwk  string
	hash crypto.Hash
}

var devices = sync.OnceValue(func() map[string]device {
	all := make(map[string]device)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	m := materials()
	for alg, key := range map[string]crypto.Signer{
		"ES256": m[access.ES256].(*ecdsa.PrivateKey), "ES384": p384, "EdDSA": m[access.EdDSA].(ed25519.PrivateKey),
		"Ed25519": m[access.EdDSA].(ed25519.PrivateKey), "PS256": m[access.PS256].(*rsa.PrivateKey), "RS256": m[access.RS256].(*rsa.PrivateKey),
	} {
		all[alg] = newDevice(alg, key)
	}
	return all
})

func newDevice(alg string, key crypto.Signer) device {
	d := device{alg: alg, key: key, hash: crypto.SHA256}
	e := base64.RawURLEncoding.EncodeToString
	switch p := key.Public().(type) {
	case ed25519.PublicKey:
		d.jwk, d.hash = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, e(p)), 0
	case *ecdsa.PublicKey:
		point, _ := p.Bytes()
		half := len(point) / 2
		d.jwk = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, p.Params().Name, e(point[1:half+1]), e(point[half+1:]))
		if p.Params().BitSize == 384 {
			d.hash = crypto.SHA384
		}
	case *rsa.PublicKey:
		d.jwk = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, e(big.NewInt(int64(p.E)).Bytes()), e(p.N.Bytes()))
	}
	return d
}

func (d device) sign(input string) []byte {
	digest := []byte(input)
	switch d.hash {
	case crypto.SHA256:
		sum := sha256.Sum256(digest)
		digest = sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(digest)
		digest = sum[:]
	}
	switch key := d.key.(type) {
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, digest)
		size := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = d.hash
		if d.alg == "PS256" {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: d.hash}
		}
		sig, _ := key.Sign(rand.Reader, digest, opts)
		return sig
	}
	sig, _ := d.key.Sign(rand.Reader, digest, d.hash)
	return sig
}

func (d device) header() string {
	return fmt.Sprintf(`{"alg":%q,"jwk":%s,"typ":"dpop+jwt"}`, d.alg, d.jwk)
}

func (d device) proof(header, payload string) string {
	input := b64(header) + "." + b64(payload)
	return input + "." + b64(string(d.sign(input)))
}

const (
	proofPayload = `{"ath":"` + proofHash + `","htm":"GET","htu":"https://app.example/api/me","iat":1750000000,"jti":"0123456789abcdef"}`
	proofToken   = "access-token"
	// proofHash is the SHA-256 of proofToken.
	proofHash = "Pxa-1wifRlPl7yG_0oJNfzqq7MelmOfonFgOFgapzFI"
)

func proofRequest(proofs ...string) access.DPoPRequest {
	return access.DPoPRequest{Proofs: proofs, Method: "GET", URL: "https://app.example/api/me", AccessToken: proofToken, Now: at,
		FreshNonce: func(nonce string) bool { return nonce == "recent" }}
}

func TestProofsOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	if hash := sha256.Sum256([]byte(proofToken)); base64.RawURLEncoding.EncodeToString(hash[:]) != proofHash {
		t.Fatal(base64.RawURLEncoding.EncodeToString(hash[:]))
	}
	for alg, d := range devices() {
		got, err := access.VerifyDPoP(proofRequest(d.proof(d.header(), proofPayload)))
		// RFC 7638: the members of the thumbprint alone, sorted.
		if want := sha256.Sum256([]byte(d.jwk)); err != nil || got.ID != "0123456789abcdef" || got.Nonce != "" || got.Thumbprint != want {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
		if !strings.Contains(" "+access.DPoPAlgorithms+" ", " "+alg+" ") {
			t.Errorf("%s is not among the algorithms that challenges list", alg)
		}
	}
	if n := len(strings.Fields(access.DPoPAlgorithms)); n != len(devices()) {
		t.Errorf("challenges list %d algorithms, of which %d are tested", n, len(devices()))
	}
}

// TestTheProofsOfTheStandard are those of RFC 9449 sections 4.1 and 7.1, with the
// thumbprint of section 6.1.
func TestTheProofsOfTheStandard(t *testing.T) {
	t.Parallel()
	const head = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
	for name, r := range map[string]access.DPoPRequest{
		"for a token": {
			Proofs: []string{head + "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"},
			Method: "POST", URL: "https://server.example.com/token", Now: time.Unix(1562262616, 0),
		},
		"with a token": {
			Proofs: []string{head + "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"},
			Method: "GET", URL: "https://resource.example.org/protectedresource", Now: time.Unix(1562262618, 0),
			AccessToken: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
		},
	} {
		got, err := access.VerifyDPoP(r)
		if err != nil || base64.RawURLEncoding.EncodeToString(got.Thumbprint[:]) != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		r.Now = r.Now.Add(2 * time.Minute)
		if _, err := access.VerifyDPoP(r); !errors.Is(err, access.ErrNonce) {
			t.Errorf("%s, two minutes later: %v", name, err)
		}
	}
}

// TestAlteredProofs: each field, type, algorithm, key, form of signature and
// encoding. What is altered is signed again, unless the signature is what is.
func TestAlteredProofs(t *testing.T) {
	t.Parallel()
	d := devices()["ES256"]
	ec := d.key.(*ecdsa.PrivateKey)
	otherKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other := newDevice("ES256", otherKey)
	good := d.proof(d.header(), proofPayload)
	part := strings.Split(good, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(part[2])
	withSig := func(b []byte) string { return part[0] + "." + part[1] + "." + b64(string(b)) }
	flipped := bytes.Clone(sig)
	flipped[9] ^= 1
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// The last character of 64 bytes has four bits to spare.
	spelling := good[:len(good)-1] + string(alphabet[strings.IndexByte(alphabet, good[len(good)-1])|1])
	header := func(old, replacement string) string {
		h := strings.Replace(d.header(), old, replacement, 1)
		if h == d.header() {
			t.Fatalf("%q is not in the header", old)
		}
		return d.proof(h, proofPayload)
	}
	claim := func(old, replacement string) string {
		p := strings.Replace(proofPayload, old, replacement, 1)
		if p == proofPayload {
			t.Fatalf("%q is not in the payload", old)
		}
		return d.proof(d.header(), p)
	}
	key := func(jwk string) string { return header(d.jwk, jwk) }
	more := func(jwk, member string) string { return jwk[:len(jwk)-1] + "," + member + "}" }
	point, _ := ec.PublicKey.Bytes()
	x := b64(string(point[1:33]))
	ed, ps, rs, p384 := devices()["EdDSA"], devices()["PS256"], devices()["RS256"], devices()["ES384"]
	wide := newDevice("ES256", p384.key) // a key on another curve than its algorithm
	modulus := rs.key.(*rsa.PrivateKey).N.Bytes()
	small := strings.Replace(rs.header(), b64(string(modulus)), b64(string(append(modulus[:127:127], 1))), 1)

	for _, tt := range []struct {
		name   string
		proofs []string
		want   error
	}{
		{"good", []string{good}, nil},
		{"good: more members everywhere", []string{d.proof(header2(d, more(d.jwk, `"kid":"1","use":"sig","alg":"ES256"`), `"kid":"x"`), claims2(`"sub":"alice"`))}, nil},
		{"good: a date with a fraction", []string{claim("1750000000", "1750000000.25")}, nil},
		{"good: a minute old", []string{claim("1750000000", "1749999940")}, nil},
		{"good: from a clock that is half a minute ahead", []string{claim("1750000000", "1750000030")}, nil},
		{"good: with a nonce", []string{claim(`"jti"`, `"nonce":"recent","jti"`)}, nil},
		{"good: with a nonce, from a clock that is wrong", []string{claim(`"iat":1750000000`, `"nonce":"recent","iat":5`)}, nil},
		{"good: with a query and a fragment", []string{claim("/api/me", "/api/me?x=1#y")}, nil},
		{"good: the URL in another spelling", []string{claim("https://app.example/api/me", "HTTPS://App.Example:443/x/../%61pi/./me")}, nil},

		{"no header", nil, access.ErrMalformed},
		{"two headers", []string{good, d.proof(d.header(), proofPayload)}, access.ErrMalformed},
		{"the same header twice", []string{good, good}, access.ErrMalformed},
		{"two in one header", []string{good + ", " + good}, access.ErrMalformed},
		{"empty", []string{""}, access.ErrMalformed},
		{"two segments", []string{part[0] + "." + part[1]}, access.ErrMalformed},
		{"four segments", []string{good + ".x"}, access.ErrMalformed},
		{"no signature", []string{part[0] + "." + part[1] + "."}, access.ErrMalformed},
		{"a line break behind", []string{good + "\n"}, access.ErrMalformed},
		{"a space before", []string{" " + good}, access.ErrMalformed},
		{"padded", []string{good + "=="}, access.ErrMalformed},
		{"another spelling of the signature", []string{spelling}, access.ErrMalformed},
		{"another alphabet", []string{part[0] + "." + part[1] + "." + "+" + part[2][1:]}, access.ErrMalformed},
		{"larger than allowed", []string{d.proof(d.header(), claims2(`"x":"`+strings.Repeat("x", 4<<10)+`"`))}, access.ErrMalformed},

		{"no type", []string{header(`,"typ":"dpop+jwt"`, "")}, access.ErrMalformed},
		{"the type JWT", []string{header("dpop+jwt", "JWT")}, access.ErrMalformed},
		{"the type of an access token", []string{header("dpop+jwt", "at+jwt")}, access.ErrMalformed},
		{"the type of a browser's proof", []string{header("dpop+jwt", "dbsc+jwt")}, access.ErrMalformed},
		{"the type in capitals", []string{header("dpop+jwt", "DPOP+JWT")}, access.ErrMalformed},
		{"the type a number", []string{header(`"dpop+jwt"`, "1")}, access.ErrMalformed},
		{"the type twice", []string{header(`"typ":"dpop+jwt"`, `"typ":"dpop+jwt","typ":"dpop+jwt"`)}, access.ErrMalformed},
		{"the type twice, once in capitals", []string{header(`"typ":"dpop+jwt"`, `"typ":"dpop+jwt","TYP":"x"`)}, access.ErrMalformed},
		{"an extension that must be understood", []string{header(`"typ"`, `"crit":["x"],"typ"`)}, access.ErrMalformed},
		{"an unencoded payload", []string{header(`"typ"`, `"b64":false,"typ"`)}, access.ErrMalformed},
		{"compressed", []string{header(`"typ"`, `"zip":"DEF","typ"`)}, access.ErrMalformed},
		{"a key from elsewhere", []string{header(`"typ"`, `"jku":"https://evil.example","typ"`)}, access.ErrMalformed},
		{"a certificate", []string{header(`"typ"`, `"x5c":["x"],"typ"`)}, access.ErrMalformed},
		{"a header that is a list", []string{d.proof("["+d.header()+"]", proofPayload)}, access.ErrMalformed},
		{"a header that is not UTF-8", []string{header(`"typ"`, "\"x\":\"\xff\",\"typ\"")}, access.ErrMalformed},
		{"a header with something behind", []string{d.proof(d.header()+"{}", proofPayload)}, access.ErrMalformed},

		{"no algorithm", []string{header(`"alg":"ES256",`, "")}, access.ErrMalformed},
		{"the algorithm none", []string{header("ES256", "none")}, access.ErrMalformed},
		{"the algorithm None", []string{header("ES256", "None")}, access.ErrMalformed},
		{"the algorithm none and no signature", []string{b64(strings.Replace(d.header(), "ES256", "none", 1)) + "." + part[1] + "."}, access.ErrMalformed},
		{"a secret's algorithm", []string{header("ES256", "HS256")}, access.ErrMalformed},
		{"the algorithm in small letters", []string{header("ES256", "es256")}, access.ErrMalformed},
		{"the algorithm of a longer hash", []string{header("ES256", "ES384")}, access.ErrMalformed},
		{"the algorithm of another kind of key", []string{header("ES256", "EdDSA")}, access.ErrMalformed},
		{"RS256 with an EC key", []string{header("ES256", "RS256")}, access.ErrMalformed},
		{"an algorithm that is not on the list", []string{header("ES256", "ES256K")}, access.ErrMalformed},
		{"PS256 signed as RS256", []string{rs.proof(ps.header(), proofPayload)}, access.ErrSignature},
		{"RS256 signed as PS256", []string{ps.proof(rs.header(), proofPayload)}, access.ErrSignature},
		{"an algorithm that is a list", []string{header(`"ES256"`, `["ES256"]`)}, access.ErrMalformed},

		{"no key", []string{header(`"jwk":`+d.jwk+`,`, "")}, access.ErrMalformed},
		{"a key that is null", []string{key("null")}, access.ErrMalformed},
		{"a key that is a string", []string{key(`"` + x + `"`)}, access.ErrMalformed},
		{"a key that is empty", []string{key("{}")}, access.ErrMalformed},
		{"with the private key", []string{key(more(d.jwk, `"d":"`+x+`"`))}, access.ErrMalformed},
		{"with an RSA private exponent", []string{rs.proof(strings.Replace(rs.header(), rs.jwk, more(rs.jwk, `"d":"AQAB"`), 1), proofPayload)}, access.ErrMalformed},
		{"with an RSA prime", []string{rs.proof(strings.Replace(rs.header(), rs.jwk, more(rs.jwk, `"p":"AQAB"`), 1), proofPayload)}, access.ErrMalformed},
		{"a symmetric key", []string{key(`{"kty":"oct","k":"AAAA"}`)}, access.ErrMalformed},
		{"a member of the key twice", []string{key(more(d.jwk, `"kty":"EC"`))}, access.ErrMalformed},
		{"x and y alike", []string{key(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + x + `"}`)}, access.ErrMalformed},
		{"a point of zeros", []string{key(`{"crv":"P-256","kty":"EC","x":"` + b64(string(make([]byte, 32))) + `","y":"` + b64(string(make([]byte, 32))) + `"}`)}, access.ErrMalformed},
		{"a coordinate without its zeros", []string{key(strings.Replace(d.jwk, x, x[:40], 1))}, access.ErrMalformed},
		{"a coordinate padded", []string{key(strings.Replace(d.jwk, x, x+"=", 1))}, access.ErrMalformed},
		{"a key on another curve", []string{wide.proof(wide.header(), proofPayload)}, access.ErrMalformed},
		{"a curve that the key is not on", []string{key(strings.Replace(d.jwk, "P-256", "P-384", 1))}, access.ErrMalformed},
		{"an EC key with an RSA modulus", []string{key(more(d.jwk, `"n":"AQAB"`))}, access.ErrMalformed},
		{"an Ed25519 key with a y", []string{ed.proof(strings.Replace(ed.header(), ed.jwk, more(ed.jwk, `"y":"AAAA"`), 1), proofPayload)}, access.ErrMalformed},
		{"Ed448", []string{ed.proof(strings.Replace(ed.header(), `"crv":"Ed25519"`, `"crv":"Ed448"`, 1), proofPayload)}, access.ErrMalformed},
		{"an Ed25519 key that is too short", []string{ed.proof(`{"alg":"EdDSA","typ":"dpop+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}`, proofPayload)}, access.ErrMalformed},
		{"an RSA key of 1024 bits", []string{rs.proof(small, proofPayload)}, access.ErrMalformed},
		{"an RSA exponent of 1", []string{rs.proof(strings.Replace(rs.header(), `"AQAB"`, `"AQ"`, 1), proofPayload)}, access.ErrMalformed},
		{"the key of somebody else", []string{other.proof(d.header(), proofPayload)}, access.ErrSignature},
		{"somebody else's key in the header", []string{key(other.jwk)}, access.ErrSignature},

		{"no id", []string{claim(`,"jti":"0123456789abcdef"`, "")}, access.ErrMalformed},
		{"an id that is too short", []string{claim("0123456789abcdef", "0123456")}, access.ErrMalformed},
		{"an id that is too long", []string{claim("0123456789abcdef", strings.Repeat("x", 129))}, access.ErrMalformed},
		{"an id that is a number", []string{claim(`"0123456789abcdef"`, "123456789")}, access.ErrMalformed},
		{"an id twice", []string{claim(`"jti"`, `"jti":"fedcba9876543210","jti"`)}, access.ErrMalformed},
		{"an id in capitals besides", []string{claim(`"jti"`, `"JTI":"x","jti"`)}, access.ErrMalformed},
		{"no method", []string{claim(`"htm":"GET",`, "")}, access.ErrMalformed},
		{"an empty method", []string{claim(`"GET"`, `""`)}, access.ErrMalformed},
		{"another method", []string{claim("GET", "POST")}, access.ErrClaims},
		{"the method in small letters", []string{claim("GET", "get")}, access.ErrClaims},
		{"methods in a list", []string{claim(`"GET"`, `["GET"]`)}, access.ErrMalformed},
		{"no URL", []string{claim(`"htu":"https://app.example/api/me",`, "")}, access.ErrMalformed},
		{"another path", []string{claim("/api/me", "/api/you")}, access.ErrClaims},
		{"a path below", []string{claim("/api/me", "/api/me/x")}, access.ErrClaims},
		{"a slash behind", []string{claim("/api/me", "/api/me/")}, access.ErrClaims},
		{"the path in capitals", []string{claim("/api/me", "/API/me")}, access.ErrClaims},
		{"an escaped slash", []string{claim("/api/me", "/api%2Fme")}, access.ErrClaims},
		{"another host", []string{claim("app.example", "evil.example")}, access.ErrClaims},
		{"a host below", []string{claim("app.example", "app.example.evil.example")}, access.ErrClaims},
		{"another port", []string{claim("app.example", "app.example:8443")}, access.ErrClaims},
		{"the port of http", []string{claim("app.example", "app.example:80")}, access.ErrClaims},
		{"plain http", []string{claim("https:", "http:")}, access.ErrClaims},
		{"a user before the host", []string{claim("app.example", "app.example@evil.example")}, access.ErrClaims},
		{"the path alone", []string{claim("https://app.example", "")}, access.ErrClaims},
		{"a URL of another kind", []string{claim("https:", "ftp:")}, access.ErrClaims},
		{"a URL that is too long", []string{claim("/api/me", "/api/me?"+strings.Repeat("x", 2<<10))}, access.ErrMalformed},
		{"no date", []string{claim(`"iat":1750000000,`, "")}, access.ErrMalformed},
		{"a date that is a string", []string{claim("1750000000", `"1750000000"`)}, access.ErrMalformed},
		{"a date that is negative", []string{claim("1750000000", "-1750000000")}, access.ErrMalformed},
		{"a date with an exponent", []string{claim("1750000000", "1.75e9")}, access.ErrMalformed},
		{"a date in milliseconds", []string{claim("1750000000", "1750000000000")}, access.ErrMalformed},
		{"older than a minute", []string{claim("1750000000", "1749999939")}, access.ErrNonce},
		{"from the future", []string{claim("1750000000", "1750000031")}, access.ErrNonce},
		{"a nonce that is not the server's", []string{claim(`"jti"`, `"nonce":"x","jti"`)}, access.ErrNonce},
		{"an empty nonce", []string{claim(`"jti"`, `"nonce":"","jti"`)}, access.ErrMalformed},
		{"a nonce that is a number", []string{claim(`"jti"`, `"nonce":1,"jti"`)}, access.ErrMalformed},
		{"a nonce that is too long", []string{claim(`"jti"`, `"nonce":"`+strings.Repeat("x", 257)+`","jti"`)}, access.ErrMalformed},
		{"no hash of the token", []string{claim(`"ath":"`+proofHash+`",`, "")}, access.ErrClaims},
		{"the hash of another token", []string{claim(proofHash, b64(strings.Repeat("x", 32)))}, access.ErrClaims},
		{"the hash padded", []string{claim(proofHash, proofHash+"=")}, access.ErrClaims},
		{"the hash in hexadecimal", []string{claim(proofHash, fmt.Sprintf("%x", sha256.Sum256([]byte(proofToken))))}, access.ErrClaims},
		{"the token itself", []string{claim(proofHash, proofToken)}, access.ErrClaims},
		{"the hash a number", []string{claim(`"`+proofHash+`"`, "1")}, access.ErrMalformed},
		{"a payload that is a string", []string{d.proof(d.header(), `"x"`)}, access.ErrMalformed},
		{"a payload that is not UTF-8", []string{d.proof(d.header(), claims2("\"x\":\"\xff\""))}, access.ErrMalformed},

		{"another payload under the signature", []string{part[0] + "." + b64(claims2(`"x":1`)) + "." + part[2]}, access.ErrSignature},
		{"another header under the signature", []string{b64(strings.Replace(d.header(), `{"alg"`, `{"x":1,"alg"`, 1)) + "." + part[1] + "." + part[2]}, access.ErrSignature},
		{"a bit of the signature", []string{withSig(flipped)}, access.ErrSignature},
		{"a short signature", []string{withSig(sig[:63])}, access.ErrSignature},
		{"a long signature", []string{withSig(append(bytes.Clone(sig), 0))}, access.ErrSignature},
		{"a signature of zeros", []string{withSig(make([]byte, 64))}, access.ErrSignature},
		{"a signature in ASN.1", []string{withSig(asn1Signature(t, ec, part[0]+"."+part[1]))}, access.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := access.VerifyDPoP(proofRequest(tt.proofs...))
			if !errors.Is(err, tt.want) || (err == nil) != (got.Thumbprint != [32]byte{}) {
				t.Errorf("%+v, %v; want %v", got, err, tt.want)
			}
			if want := sha256.Sum256([]byte(d.jwk)); err == nil && got.Thumbprint != want {
				t.Errorf("another thumbprint: %x", got.Thumbprint)
			}
		})
	}
}

// header2 is a device's header with another key and one more member.
func header2(d device, jwk, member string) string {
	return `{"alg":"ES256",` + member + `,"jwk":` + jwk + `,"typ":"dpop+jwt"}`
}

// claims2 is the payload with one more member.
func claims2(member string) string { return proofPayload[:len(proofPayload)-1] + "," + member + "}" }

func TestNoncesMayBeRequired(t *testing.T) {
	t.Parallel()
	d := devices()["EdDSA"]
	without := proofRequest(d.proof(d.header(), proofPayload))
	with := proofRequest(d.proof(d.header(), claims2(`"nonce":"recent"`)))
	without.RequireNonce, with.RequireNonce = true, true
	if _, err := access.VerifyDPoP(without); !errors.Is(err, access.ErrNonce) {
		t.Errorf("without a nonce: %v", err)
	}
	if p, err := access.VerifyDPoP(with); err != nil || p.Nonce != "recent" {
		t.Errorf("with a nonce: %+v, %v", p, err)
	}
	with.FreshNonce = nil
	if _, err := access.VerifyDPoP(with); !errors.Is(err, access.ErrNonce) {
		t.Errorf("where no nonce is known: %v", err)
	}
	token := proofRequest(d.proof(d.header(), strings.Replace(proofPayload, `"ath":"`+proofHash+`",`, "", 1)))
	token.AccessToken = ""
	if _, err := access.VerifyDPoP(token); err != nil {
		t.Errorf("a request without an access token: %v", err)
	}
}

// TestURLsAreCompared by RFC 3986 sections 6.2.2 and 6.2.3.
func TestURLsAreCompared(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"https://app.example", "https://app.example/", true},
		{"https://app.example:443/", "https://app.example/", true},
		{"https://app.example:/", "https://app.example/", true},
		{"http://127.0.0.1:80/x", "http://127.0.0.1/x", true},
		{"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x", true},
		{"http://[::1]:8080/x", "http://[::1]:8080/x", true},
		{"https://app.example/%7euser", "https://app.example/~user", true},
		{"https://app.example/%c3%a9", "https://app.example/%C3%A9", true},
		{"https://app.example/\u00e9", "https://app.example/%C3%A9", true},
		{"https://app.example/a;b=c,(d)'!*$&+@:", "https://app.example/a;b=c,(d)'!*$&+@:", true},
		{"https://app.example/a/b/../c/./d", "https://app.example/a/c/d", true},
		{"https://app.example/a/..", "https://app.example/", true},
		{"https://app.example/../../a", "https://app.example/a", true},
		{"https://app.example/a/%2e%2e/b", "https://app.example/b", true},
		{"https://app.example/.well-known/x", "https://app.example/.well-known/x", true},
		{"https://app.example/a.b/c..d/...", "https://app.example/a.b/c..d/...", true},
		{"https://app.example/a//b", "https://app.example/a//b", true},
		{"https://app.example?x=1", "https://app.example/#y", true},
		{"https://app.example/a//b", "https://app.example/a/b", false},
		{"https://app.example/a%2fb", "https://app.example/a/b", false},
		{"https://app.example/a%3Bb", "https://app.example/a;b", false},
		{"https://app.example/a%25", "https://app.example/a%", false},
		{"https://app.example/%zz", "https://app.example/%zz", false},
		{"https://app.example/%2", "https://app.example/%2", false},
		{"https://app.example/a b", "https://app.example/a b", false},
		{"https://app.example/a\\b", "https://app.example/a\\b", false},
		{"https://app.example/a\nb", "https://app.example/a\nb", false},
		{"https://app.example.", "https://app.example", false},
		{"https://user@app.example/", "https://user@app.example/", false},
		{"https://app.ex%61mple/", "https://app.example/", false},
		{"https://", "https://", false},
		{"https:///x", "https:///x", false},
		{"https://:443/x", "https://:443/x", false},
		{"//app.example/x", "//app.example/x", false},
		{"", "", false},
		// U+212A folds to k, and is not k.
		{"https://\u212a.example/", "https://k.example/", false},
	} {
		if got := access.SameURL(tt.a, tt.b); got != tt.same || access.SameURL(tt.b, tt.a) != got {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

// FuzzVerifyDPoP signs whatever header and payload come, and takes them for a
// proof as they are. Nothing panics; what verifies is the one spelling of itself,
// says what encoding/json reads in it, and is of the request.
func FuzzVerifyDPoP(f *testing.F) {
	d := devices()["EdDSA"]
	jwk := strings.NewReplacer("JWK", d.jwk) // the key is another one in each run
	f.Add(`{"alg":"EdDSA","jwk":JWK,"typ":"dpop+jwt"}`, proofPayload, "")
	f.Add(`{"alg":"Ed25519","jwk":JWK,"typ":"dpop+jwt","kid":"x"}`, claims2(`"nonce":"recent"`), "")
	f.Add(`{"alg":"EdDSA","jwk":JWK,"typ":"dpop+jwt"}`, strings.Replace(proofPayload, "/api/me", `/x/../%61pi/m\u0065?x#y`, 1), "")
	f.Add(`{"alg":"ES256","jwk":JWK,"typ":"dpop+jwt"}`, claims2(`"jti":"x"`), "\n")
	f.Add(`{"alg":"none","jwk":{"kty":"EC"},"typ":"dpop+jwt"}`, "{}", ".")
	f.Fuzz(func(t *testing.T, header, body, more string) {
		text := d.proof(jwk.Replace(header), body) + more
		for _, proof := range []string{text, header + "." + body + "." + more, header} {
			got, err := access.VerifyDPoP(proofRequest(proof))
			if err != nil {
				if !strings.HasPrefix(err.Error(), "access: ") || got != (access.DPoPProof{}) {
					t.Errorf("%+v, %v", got, err)
				}
				continue
			}
			part := strings.Split(proof, ".")
			for _, p := range part {
				if raw, err := base64.RawURLEncoding.DecodeString(p); err != nil || base64.RawURLEncoding.EncodeToString(raw) != p {
					t.Errorf("%q is another spelling", p)
				}
			}
			raw, _ := base64.RawURLEncoding.DecodeString(part[1])
			var plain struct {
				Jti, Htm, Htu, Ath, Nonce string
				Iat                       float64
			}
			if err := json.Unmarshal(raw, &plain); err != nil || plain.Jti != got.ID || plain.Nonce != got.Nonce || plain.Htm != "GET" || plain.Ath != proofHash {
				t.Errorf("%q says %+v, %v", raw, got, err)
			}
			if plain.Nonce == "" && (plain.Iat < float64(at.Unix()-60) || plain.Iat >= float64(at.Unix()+31)) {
				t.Errorf("a proof of %v was accepted", plain.Iat)
			}
			if want := sha256.Sum256([]byte(d.jwk)); got.Thumbprint != want {
				t.Errorf("the thumbprint is %x", got.Thumbprint)
			}
		}
	})
}

// FuzzSameURL: nothing panics, the comparison is one of equals, and it says no
// where the standard library sees another origin.
func FuzzSameURL(f *testing.F) {
	f.Add("https://app.example/a", "HTTPS://app.example:443/%61")
	f.Add("https://app.example/../x", "https://app.example/x?y#z")
	f.Add("http://[::1]:80/%", "http://[::1]/%25")
	f.Fuzz(func(t *testing.T, a, b string) {
		same := access.SameURL(a, b)
		if same != access.SameURL(b, a) {
			t.Fatalf("%q and %q: one way only", a, b)
		}
		if same && (!access.SameURL(a, a) || access.OriginOf(t, a) != access.OriginOf(t, b)) {
			t.Errorf("%q and %q are the same", a, b)
		}
	})
}
