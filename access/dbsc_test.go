package access_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
)

// signProof signs a header and a payload as a browser does. The key is an
// *ecdsa.PrivateKey or an *rsa.PrivateKey.
func signProof(t testing.TB, key any, header, payload string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, serr := ecdsa.Sign(rand.Reader, k, digest[:])
		if err = serr; err == nil {
			size := (k.Params().BitSize + 7) / 8
			sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(rand.Reader, k, 5 /* crypto.SHA256 */, digest[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// jwkOf is a public key as Chromium writes it.
func jwkOf(t testing.TB, key any) string {
	t.Helper()
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		return fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, base64.RawURLEncoding.EncodeToString(point[1:half+1]), base64.RawURLEncoding.EncodeToString(point[half+1:]))
	case *rsa.PrivateKey:
		return fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()), base64.RawURLEncoding.EncodeToString(k.N.Bytes()))
	}
	t.Fatalf("%T", key)
	return ""
}

func registration(t testing.TB, key any, alg access.Algorithm, challenge string) string {
	t.Helper()
	return signProof(t, key, fmt.Sprintf(`{"alg":"%s","jwk":%s,"typ":"dbsc+jwt"}`, alg, jwkOf(t, key)), fmt.Sprintf(`{"jti":"%s"}`, challenge))
}

func TestDBSCProofs(t *testing.T) {
	t.Parallel()
	for _, alg := range []access.Algorithm{access.ES256, access.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := materials()[alg]
			first, err := access.VerifyDBSC(registration(t, key, alg, "c1"), nil)
			if err != nil || first.Challenge != "c1" {
				t.Fatalf("registration: %+v, %v", first, err)
			}
			// RFC 7638: what Chromium sends has the members of the thumbprint only,
			// sorted and without white space.
			if want := sha256.Sum256([]byte(jwkOf(t, key))); first.Thumbprint != want {
				t.Error("the thumbprint is another one")
			}
			refresh := signProof(t, key, fmt.Sprintf(`{"alg":"%s","typ":"dbsc+jwt"}`, alg), `{"aud":"https://app.example","jti":"c2"}`)
			second, err := access.VerifyDBSC(refresh, first.Key)
			if err != nil || second.Challenge != "c2" || !bytes.Equal(second.Key, first.Key) || second.Thumbprint != first.Thumbprint {
				t.Errorf("refresh: %+v, %v", second, err)
			}
			if _, err := access.VerifyDBSC(refresh, nil); !errors.Is(err, access.ErrMalformed) {
				t.Errorf("a refresh as a registration: %v", err)
			}
			if _, err := access.VerifyDBSC(registration(t, key, alg, "c1"), first.Key); !errors.Is(err, access.ErrMalformed) {
				t.Errorf("a registration as a refresh: %v", err)
			}
		})
	}
}

// TestDBSCThumbprint holds the example of RFC 7638 section 3.1.
func TestDBSCThumbprint(t *testing.T) {
	t.Parallel()
	n, _ := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody can sign with the example's key, so the thumbprint is asked for by
	// the door of the tests.
	got, err := access.DeviceThumbprint(access.RS256, public)
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; err != nil || base64.RawURLEncoding.EncodeToString(got[:]) != want {
		t.Errorf("%s, %v; want %s", base64.RawURLEncoding.EncodeToString(got[:]), err, want)
	}
}

// TestAlteredDBSCProofs: each field, type, algorithm, key, form of signature and
// encoding. The signature is good for what is altered, unless it is what is.
func TestAlteredDBSCProofs(t *testing.T) {
	t.Parallel()
	ec, pair := materials()[access.ES256].(*ecdsa.PrivateKey), materials()[access.RS256].(*rsa.PrivateKey)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Rsh(pair.N, 1024), E: 65537}}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	der := func(public any) []byte {
		b, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	known := der(&ec.PublicKey)
	jwk := jwkOf(t, ec)
	x := base64.RawURLEncoding.EncodeToString(func() []byte { p, _ := ec.PublicKey.Bytes(); return p[1:33] }())
	const refreshHeader, claims = `{"alg":"ES256","typ":"dbsc+jwt"}`, `{"jti":"c"}`
	header := func(jwk string) string { return `{"alg":"ES256","jwk":` + jwk + `,"typ":"dbsc+jwt"}` }
	good := signProof(t, ec, refreshHeader, claims)
	part := strings.Split(good, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(part[2])
	withSig := func(b []byte) string { return part[0] + "." + part[1] + "." + base64.RawURLEncoding.EncodeToString(b) }
	// The last character of 64 bytes holds four bits that nobody reads.
	spelling := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])|1])
	flipped := bytes.Clone(sig)
	flipped[7] ^= 1

	for _, tt := range []struct {
		name  string
		proof string
		key   []byte
		want  error
	}{
		{"good: a refresh", good, known, nil},
		{"good: a registration", signProof(t, ec, header(jwk), claims), nil, nil},
		{"good: the key has more members", signProof(t, ec, header(jwk[:len(jwk)-1]+`,"kid":"1","use":"sig"}`), claims), nil, nil},
		{"good: more members in both parts", signProof(t, ec, `{"alg":"ES256","typ":"dbsc+jwt","x":1}`, `{"authorization":"a","iat":1,"jti":"c"}`), known, nil},
		{"empty", "", known, access.ErrMalformed},
		{"two segments", part[0] + "." + part[1], known, access.ErrMalformed},
		{"four segments", good + ".x", known, access.ErrMalformed},
		{"quoted", `"` + good + `"`, known, access.ErrMalformed},
		{"a line break inside", good[:9] + "\n" + good[9:], known, access.ErrMalformed},
		{"a line break behind", good + "\n", known, access.ErrMalformed},
		{"padded", good + "==", known, access.ErrMalformed},
		{"another spelling of the signature", spelling, known, access.ErrMalformed},
		{"longer than allowed", signProof(t, ec, refreshHeader, `{"jti":"c","x":"`+strings.Repeat("x", 4<<10)+`"}`), known, access.ErrMalformed},
		{"a challenge longer than allowed", signProof(t, ec, refreshHeader, `{"jti":"`+strings.Repeat("x", 1025)+`"}`), known, access.ErrMalformed},

		{"no type", signProof(t, ec, `{"alg":"ES256"}`, claims), known, access.ErrMalformed},
		{"the type of an access token", signProof(t, ec, `{"alg":"ES256","typ":"at+jwt"}`, claims), known, access.ErrMalformed},
		{"the type of another proof", signProof(t, ec, `{"alg":"ES256","typ":"dpop+jwt"}`, claims), known, access.ErrMalformed},
		{"the type of an older draft", signProof(t, ec, `{"alg":"ES256","typ":"jwt"}`, claims), known, access.ErrMalformed},
		{"the type in another case", signProof(t, ec, `{"alg":"ES256","typ":"DBSC+JWT"}`, claims), known, access.ErrMalformed},
		{"the type is a number", signProof(t, ec, `{"alg":"ES256","typ":1}`, claims), known, access.ErrMalformed},
		{"the type twice", signProof(t, ec, `{"alg":"ES256","typ":"dbsc+jwt","typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"a member in another case", signProof(t, ec, `{"alg":"ES256","typ":"dbsc+jwt","Alg":"RS256"}`, claims), known, access.ErrMalformed},
		{"an extension that must be understood", signProof(t, ec, `{"alg":"ES256","crit":["x"],"typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"a key from elsewhere", signProof(t, ec, `{"alg":"ES256","jku":"https://evil.example","typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"the header is no object", signProof(t, ec, `["ES256"]`, claims), known, access.ErrMalformed},
		{"the header is not UTF-8", signProof(t, ec, "{\"alg\":\"ES256\",\"typ\":\"dbsc+jwt\",\"x\":\"\xff\"}", claims), known, access.ErrMalformed},

		{"no algorithm", signProof(t, ec, `{"typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"the algorithm none", part[0] + "." + part[1] + ".", known, access.ErrMalformed},
		{"the algorithm none, with a signature", signProof(t, ec, `{"alg":"none","typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"a symmetric algorithm", signProof(t, ec, `{"alg":"HS256","typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"an algorithm of another kind", signProof(t, ec, `{"alg":"EdDSA","typ":"dbsc+jwt"}`, claims), known, access.ErrMalformed},
		{"PS256 for RS256", signProof(t, pair, `{"alg":"PS256","typ":"dbsc+jwt"}`, claims), der(&pair.PublicKey), access.ErrMalformed},
		{"an RSA proof for an EC key", signProof(t, pair, `{"alg":"RS256","typ":"dbsc+jwt"}`, claims), known, access.ErrUnknownKey},
		{"an EC proof for an RSA key", good, der(&pair.PublicKey), access.ErrUnknownKey},
		{"a key on another curve", signProof(t, p384, refreshHeader, claims), der(&p384.PublicKey), access.ErrUnknownKey},
		{"a known key of another kind", good, der(ed.Public()), access.ErrUnknownKey},
		{"a known key that is none", good, []byte{1, 2, 3}, access.ErrUnknownKey},
		{"a known key that is empty", good, []byte{}, access.ErrUnknownKey},
		{"an RSA key of 1024 bits", signProof(t, pair, `{"alg":"RS256","typ":"dbsc+jwt"}`, claims), der(&small.PublicKey), access.ErrUnknownKey},

		{"registration: an RSA key of 1024 bits", signProof(t, pair, `{"alg":"RS256","jwk":`+jwkOf(t, small)+`,"typ":"dbsc+jwt"}`, claims), nil, access.ErrMalformed},
		{"registration: an exponent of 1", signProof(t, pair, strings.Replace(`{"alg":"RS256","jwk":`+jwkOf(t, pair)+`,"typ":"dbsc+jwt"}`, `"e":"AQAB"`, `"e":"AQ"`, 1), claims), nil, access.ErrMalformed},
		{"registration: a modulus with leading zeros", signProof(t, pair, `{"alg":"RS256","jwk":{"kty":"RSA","e":"AQAB","n":"`+base64.RawURLEncoding.EncodeToString(append([]byte{0}, pair.N.Bytes()...))+`"},"typ":"dbsc+jwt"}`, claims), nil, access.ErrMalformed},
		{"registration: another curve", signProof(t, ec, header(strings.Replace(jwk, "P-256", "P-384", 1)), claims), nil, access.ErrMalformed},
		{"registration: a point that is not on the curve", signProof(t, ec, header(strings.Replace(jwk, `"y":"`, `"y":"A`, 1)), claims), nil, access.ErrMalformed},
		{"registration: x and y alike", signProof(t, ec, header(`{"crv":"P-256","kty":"EC","x":"`+x+`","y":"`+x+`"}`), claims), nil, access.ErrMalformed},
		{"registration: the point at infinity", signProof(t, ec, header(`{"crv":"P-256","kty":"EC","x":"`+base64.RawURLEncoding.EncodeToString(make([]byte, 32))+`","y":"`+base64.RawURLEncoding.EncodeToString(make([]byte, 32))+`"}`), claims), nil, access.ErrMalformed},
		{"registration: a short coordinate", signProof(t, ec, header(`{"crv":"P-256","kty":"EC","x":"`+x[:20]+`","y":"`+x+`"}`), claims), nil, access.ErrMalformed},
		{"registration: with the private key", signProof(t, ec, header(jwk[:len(jwk)-1]+`,"d":"`+x+`"}`), claims), nil, access.ErrMalformed},
		{"registration: the key is a string", signProof(t, ec, header(`"`+x+`"`), claims), nil, access.ErrMalformed},
		{"registration: the key is null", signProof(t, ec, header(`null`), claims), nil, access.ErrMalformed},
		{"registration: a member of the key twice", signProof(t, ec, header(jwk[:len(jwk)-1]+`,"x":"`+x+`"}`), claims), nil, access.ErrMalformed},
		{"registration: a symmetric key", signProof(t, ec, header(`{"kty":"oct","k":"AAAA"}`), claims), nil, access.ErrMalformed},
		{"registration: another algorithm than the key's", signProof(t, ec, `{"alg":"RS256","jwk":`+jwk+`,"typ":"dbsc+jwt"}`, claims), nil, access.ErrMalformed},
		{"registration: signed with another key than it brings", signProof(t, other, header(jwk), claims), nil, access.ErrSignature},
		{"registration: the key in the payload, as in an older draft", signProof(t, ec, refreshHeader, `{"jti":"c","key":`+jwk+`}`), nil, access.ErrMalformed},
		{"refresh: brings a key", signProof(t, ec, header(jwk), claims), known, access.ErrMalformed},
		{"refresh: signed with another key", signProof(t, other, refreshHeader, claims), known, access.ErrSignature},

		{"no challenge", signProof(t, ec, refreshHeader, `{}`), known, access.ErrMalformed},
		{"an empty challenge", signProof(t, ec, refreshHeader, `{"jti":""}`), known, access.ErrMalformed},
		{"a challenge that is a number", signProof(t, ec, refreshHeader, `{"jti":1}`), known, access.ErrMalformed},
		{"a challenge twice", signProof(t, ec, refreshHeader, `{"jti":"c","jti":"d"}`), known, access.ErrMalformed},
		{"a challenge in another case", signProof(t, ec, refreshHeader, `{"JTI":"c"}`), known, access.ErrMalformed},
		{"the payload is no object", signProof(t, ec, refreshHeader, `"c"`), known, access.ErrMalformed},
		{"the payload is not UTF-8", signProof(t, ec, refreshHeader, "{\"jti\":\"\xff\"}"), known, access.ErrMalformed},
		{"another payload under the signature", part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"jti":"d"}`)) + "." + part[2], known, access.ErrSignature},
		{"another header under the signature", base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"dbsc+jwt","alg":"ES256"}`)) + "." + part[1] + "." + part[2], known, access.ErrSignature},

		{"a bit of the signature", withSig(flipped), known, access.ErrSignature},
		{"a short signature", withSig(sig[:63]), known, access.ErrSignature},
		{"a long signature", withSig(append(bytes.Clone(sig), 0)), known, access.ErrSignature},
		{"a signature of zeros", withSig(make([]byte, 64)), known, access.ErrSignature},
		{"a signature in ASN.1", withSig(asn1Signature(t, ec, part[0]+"."+part[1])), known, access.ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := access.VerifyDBSC(tt.proof, tt.key)
			if !errors.Is(err, tt.want) || tt.want == nil && p.Challenge != "c" {
				t.Errorf("%+v, %v; want %v", p, err, tt.want)
			}
			if err != nil && (p.Key != nil || p.Challenge != "") {
				t.Errorf("a refused proof says %+v", p)
			}
		})
	}
}

func asn1Signature(t testing.TB, key *ecdsa.PrivateKey, input string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(input))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// FuzzVerifyDBSC signs whatever header and payload come, and takes them for a
// proof as they are. Nothing panics; what verifies is the one spelling of itself,
// and its challenge is what encoding/json reads.
func FuzzVerifyDBSC(f *testing.F) {
	key := materials()[access.ES256].(*ecdsa.PrivateKey)
	known, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	jwk := strings.NewReplacer("JWK", jwkOf(f, key)) // the key is another one in each run
	f.Add(`{"alg":"ES256","jwk":JWK,"typ":"dbsc+jwt"}`, `{"jti":"c"}`, "")
	f.Add(`{"alg":"ES256","typ":"dbsc+jwt"}`, `{"jti":"\u00e9","aud":["x"]}`, "")
	f.Add(`{"alg":"RS256","typ":"dbsc+jwt"}`, `{"jti":"c","jti":"d"}`, "\n")
	f.Add(`{"alg":"none","typ":"dbsc+jwt"}`, `{}`, ".")
	f.Fuzz(func(t *testing.T, header, body, more string) {
		text := signProof(t, key, jwk.Replace(header), body) + more
		for _, proof := range []string{text, header + "." + body + "." + more, header} {
			for _, k := range [][]byte{nil, known} {
				p, err := access.VerifyDBSC(proof, k)
				if err != nil {
					if !strings.HasPrefix(err.Error(), "access: ") {
						t.Errorf("a stranger's error: %v", err)
					}
					continue
				}
				part := strings.Split(proof, ".")
				raw, _ := base64.RawURLEncoding.DecodeString(part[1])
				var plain struct {
					Jti string `json:"jti"`
				}
				if json.Unmarshal(raw, &plain) != nil || plain.Jti != p.Challenge || !bytes.Equal(p.Key, known) {
					t.Errorf("%q says %+v", proof, p)
				}
				for _, s := range part {
					if raw, err := base64.RawURLEncoding.DecodeString(s); err != nil || base64.RawURLEncoding.EncodeToString(raw) != s {
						t.Errorf("%q is another spelling", s)
					}
				}
			}
		}
	})
}
