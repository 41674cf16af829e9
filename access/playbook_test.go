package access_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// A forger has one good token, the public key, and no secret. The steps are
// those of the playbook of jwt_tool and of the tools like it.
type forger struct {
	alg, kid          string
	header, body, sig string // of the good token
	key               *access.Key
	public            any
}

// claims returns the good token's payload with one member changed.
func (f forger) claims(t *testing.T, name string, value any) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(unb64(t, f.body)), &all); err != nil {
		t.Fatal(err)
	}
	all[name] = value
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b64(string(text))
}

// with returns the good token's header with members in front, or a member
// changed: the reader takes whichever comes last, or neither.
func (f forger) with(members string) string {
	return b64(`{` + members + `,"alg":"` + f.alg + `","kid":"` + f.kid + `","typ":"at+jwt"}`)
}

func (f forger) as(alg, kid string) string {
	text, _ := json.Marshal(map[string]string{"alg": alg, "kid": kid, "typ": "at+jwt"})
	return b64(string(text))
}

// hmac signs with a secret that the forger guesses.
func (f forger) hmac(header, body string, secret []byte) string {
	input := header + "." + body
	return input + "." + b64(string(hmacSHA256(secret, input)))
}

func unb64(t *testing.T, s string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// forms are the ways to write a public key down, each a secret to somebody who
// confuses algorithms.
func (f forger) forms(t *testing.T) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(f.public)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	set := serve(newRing(t, access.Keys{Signing: f.key}), "GET").Body.String()
	thumb := sha256.Sum256(der)
	forms := map[string][]byte{
		"PEM": text, "PEM, one line break less": text[:len(text)-1], "PEM, Windows line breaks": []byte(strings.ReplaceAll(string(text), "\n", "\r\n")),
		"PEM, no line breaks": []byte(strings.ReplaceAll(string(text), "\n", "")), "DER": der, "DER in hexadecimal": []byte(hex.EncodeToString(der)),
		"key set": []byte(set), "key set, one line break less": []byte(strings.TrimSpace(set)), "hash of DER": thumb[:], "key id": []byte(f.kid),
	}
	if p, ok := f.public.(*rsa.PublicKey); ok {
		der := x509.MarshalPKCS1PublicKey(p)
		forms["PKCS #1 DER"], forms["modulus"] = der, p.N.Bytes()
		forms["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der})
	}
	return forms
}

func TestJWTToolPlaybook(t *testing.T) {
	rsaKey, ecKey, edKey := materials()[access.RS256].(*rsa.PrivateKey), materials()[access.ES256].(*ecdsa.PrivateKey), materials()[access.EdDSA].(ed25519.PrivateKey)
	publics := map[access.Algorithm]any{access.RS256: &rsaKey.PublicKey, access.PS256: &rsaKey.PublicKey, access.ES256: &ecKey.PublicKey, access.EdDSA: edKey.Public(), access.HS256: nil}
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			key := newKey(t, alg, materials()[alg])
			tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: key}), Now: func() time.Time { return at }})
			good, _ := issue(t, tokens, login)
			part := strings.Split(good, ".")
			f := forger{string(alg), key.ID(), part[0], part[1], part[2], key, publics[alg]}
			if _, err := tokens.Verify(good); err != nil {
				t.Fatal(err)
			}
			attacks := f.attacks(t)
			for _, tt := range attacks {
				if _, err := tokens.Verify(tt.token); err != tt.want {
					t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
				}
				// The grace for logging out is for time alone.
				if _, err := tokens.VerifyWithin(tt.token, 1<<62); err != tt.want {
					t.Errorf("%s, with a grace: got %v, want %v", tt.name, err, tt.want)
				}
			}
			if _, err := tokens.Verify(good); err != nil {
				t.Errorf("the good token after %d attacks: %v", len(attacks), err)
			}
		})
	}
}

type attack struct {
	name, token string
	want        error
}

func (f forger) attacks(t *testing.T) []attack {
	admin := f.claims(t, "sub", "admin")
	all := []attack{
		{"tampered claim, signature kept", f.header + "." + admin + "." + f.sig, access.ErrSignature},
		{"role added, signature kept", f.header + "." + f.claims(t, "roles", []string{"admin"}) + "." + f.sig, access.ErrSignature},
		{"expiry moved, signature kept", f.header + "." + f.claims(t, "exp", int64(4102444800)) + "." + f.sig, access.ErrSignature},
		{"expiry removed, signature kept", f.header + "." + f.claims(t, "exp", nil) + "." + f.sig, access.ErrSignature},
		{"not before moved, signature kept", f.header + "." + f.claims(t, "nbf", 0) + "." + f.sig, access.ErrSignature},
		{"generation moved, signature kept", f.header + "." + f.claims(t, "gen", int64(1)<<40) + "." + f.sig, access.ErrSignature},
		{"another session, signature kept", f.header + "." + f.claims(t, "sid", "family-2") + "." + f.sig, access.ErrSignature},

		{"null signature (CVE-2020-28042)", f.header + "." + admin + ".", access.ErrMalformed},
		{"no signature, one dot", f.header + "." + admin, access.ErrMalformed},
		{"no signature, good claims", f.header + "." + f.body + ".", access.ErrMalformed},
		{"a fourth segment", f.header + "." + f.body + "." + f.sig + "." + f.sig, access.ErrMalformed},
		{"signature cut by a byte", f.header + "." + f.body + "." + b64(unb64(t, f.sig)[1:]), access.ErrSignature},
		{"signature with a zero before it", f.header + "." + f.body + "." + b64("\x00"+unb64(t, f.sig)), access.ErrSignature},
		{"signature with a zero behind it", f.header + "." + f.body + "." + b64(unb64(t, f.sig)+"\x00"), access.ErrSignature},
		{"a signature of one zero", f.header + "." + admin + ".AA", access.ErrSignature},
		{"psychic signature: 64 zeros (CVE-2022-21449)", f.header + "." + admin + "." + b64(strings.Repeat("\x00", 64)), access.ErrSignature},
		{"psychic signature in ASN.1", f.header + "." + admin + "." + b64("\x30\x06\x02\x01\x00\x02\x01\x00"), access.ErrSignature},
		{"psychic signature of 256 zeros", f.header + "." + admin + "." + b64(strings.Repeat("\x00", 256)), access.ErrSignature},
		{"psychic signature: r and s are 1", f.header + "." + admin + "." + b64(strings.Repeat("\x00", 31)+"\x01"+strings.Repeat("\x00", 31)+"\x01"), access.ErrSignature},

		{"header and payload exchanged", f.body + "." + f.header + "." + f.sig, access.ErrMalformed},
		{"payload as its own header", f.body + "." + f.body + "." + f.sig, access.ErrMalformed},
		{"a nested token", b64(f.header + "." + f.body + "." + f.sig), access.ErrMalformed},
		{"standard alphabet with padding", strings.NewReplacer("-", "+", "_", "/").Replace(f.header+"."+f.body+"."+f.sig) + "=", access.ErrMalformed},
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", "none ", "NonE\x00", "noneHS256"} {
		for how, sig := range map[string]string{"empty": "", "kept": f.sig, "of zeros": b64(strings.Repeat("\x00", 32))} {
			want := access.ErrUnknownKey
			if sig == "" {
				want = access.ErrMalformed
			}
			all = append(all, attack{fmt.Sprintf("algorithm %q, signature %s", none, how), f.as(none, f.kid) + "." + admin + "." + sig, want})
		}
		all = append(all, attack{fmt.Sprintf("algorithm %q, no dot behind", none), f.as(none, f.kid) + "." + admin, access.ErrMalformed})
	}
	for _, blank := range []string{"", "\x00", " ", "null", "secret", strings.Repeat("\x00", 32)} {
		want := access.ErrUnknownKey
		if f.alg == "HS256" {
			want = access.ErrSignature
		}
		all = append(all, attack{fmt.Sprintf("blank password %q", blank), f.hmac(f.as("HS256", f.kid), admin, []byte(blank)), want})
	}
	if f.public != nil {
		for name, secret := range f.forms(t) {
			for _, alg := range []string{"HS256", "HS384", "HS512", "hs256"} {
				all = append(all, attack{alg + " with the public key as " + name, f.hmac(f.as(alg, f.kid), admin, secret), access.ErrUnknownKey})
			}
			all = append(all, attack{"header kept, HMAC with the public key as " + name, f.hmac(f.header, admin, secret), access.ErrSignature})
		}
	}
	return append(all, f.headerAttacks(admin)...)
}

// headerAttacks point the verifier at keys of the forger's.
func (f forger) headerAttacks(admin string) []attack {
	var all []attack
	for _, kid := range []string{
		"../../../../../../dev/null", "/dev/null", "/proc/sys/kernel/randomize_va_space", "file:///dev/null", "..\\..\\nul", "C:\\Windows\\win.ini",
		"x' UNION SELECT 'AA';-- -", "' OR '1'='1", "x\" OR 1=1 --", "x; sleep 10", "| sleep 10", "$(sleep 10)", "`sleep 10`", "${jndi:ldap://127.0.0.1/x}", "{{7*7}}",
		"*", "%00", f.kid + "\x00", f.kid + " ", f.kid + "\n", " " + f.kid, f.kid + "/..", "./" + f.kid, "http://127.0.0.1/keys", "\r\nSet-Cookie: a=b", "0", "-1", "null",
	} {
		for name, secret := range map[string]string{"empty": "", "NUL": "\x00", "2": "2\n"} {
			all = append(all, attack{fmt.Sprintf("key id %q, HMAC with %s", kid, name), f.hmac(f.as("HS256", kid), admin, []byte(secret)), access.ErrUnknownKey})
		}
		all = append(all, attack{fmt.Sprintf("key id %q, signature kept", kid), f.as(f.alg, kid) + "." + f.body + "." + f.sig, access.ErrUnknownKey})
	}
	for _, member := range []string{
		`"jku":"http://127.0.0.1/keys"`, `"jku":"https://issuer.example@127.0.0.1/"`, `"x5u":"http://127.0.0.1/c.pem"`, `"x5c":["MIIB"]`,
		`"jwk":{"kty":"oct","k":"AA"}`, `"jwk":null`, `"JWK":{}`, `"Jku":"x"`, `"crit":["exp"]`, `"crit":["b64"],"b64":false`, `"b64":false`, `"crit":[]`,
		`"alg":"none"`, `"ALG":"none"`, `"\u0061lg":"none"`, `"kid":"x"`, `"typ":"JWT"`, `"zip":"DEF"`, `"enc":"A256GCM"`,
	} {
		all = append(all, attack{"header with " + member, f.with(member) + "." + admin + "." + f.sig, access.ErrMalformed})
	}
	return all
}

// The same with the key in hand, as an issuer with a fault or a stolen key
// would: the signature is right, and what it is for is not.
func TestJWTToolPlaybookForClaims(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	with := func(name, value string) string { return payload(map[string]string{name: value}) }
	for _, tt := range []struct {
		name, payload string
		want          error
	}{
		{"as it should be", payload(nil), nil},
		{"exp as text", with("exp", `"4102444800"`), access.ErrClaims},
		{"exp in milliseconds", with("exp", "1750000600000"), access.ErrClaims},
		{"exp with an exponent", with("exp", "4e9"), access.ErrClaims},
		{"exp negative", with("exp", "-1"), access.ErrClaims},
		{"exp zero", with("exp", "0"), access.ErrClaims},
		{"exp null", with("exp", "null"), access.ErrClaims},
		{"exp true", with("exp", "true"), access.ErrClaims},
		{"exp in a list", with("exp", "[1750000600]"), access.ErrClaims},
		{"exp of 2^63", with("exp", "9223372036854775808"), access.ErrClaims},
		{"exp of 2^64 and some", with("exp", "18446744073709551616"), access.ErrClaims},
		{"exp of 2^31, past 2038", with("exp", "2147483648"), nil},
		{"exp twice, the good one last", payload(map[string]string{"exp": "1"}, `"exp":1750000600`), access.ErrMalformed},
		{"exp twice, the good one first", payload(nil, `"exp":1`), access.ErrMalformed},
		{"sub twice", payload(nil, `"sub":"admin"`), access.ErrMalformed},
		{"sub twice, one escaped", payload(nil, `"s\u0075b":"admin"`), access.ErrMalformed},
		{"sub in capitals besides", payload(nil, `"SUB":"admin"`), access.ErrMalformed},
		{"sub as a number", with("sub", "1"), access.ErrClaims},
		{"sub as a list", with("sub", `["alice"]`), access.ErrClaims},
		{"sub as an object", with("sub", `{"$ne":""}`), access.ErrClaims},
		{"aud of another service", with("aud", `"other"`), access.ErrClaims},
		{"aud as an object", with("aud", `{"app":1}`), access.ErrClaims},
		{"aud nested", with("aud", `[["app"]]`), access.ErrClaims},
		{"iss with a slash more", with("iss", `"`+issuer+`/"`), access.ErrClaims},
		{"iss in a list", with("iss", `["`+issuer+`"]`), access.ErrClaims},
		{"nbf in a year", with("nbf", "1781536000"), access.ErrNotYetValid},
		{"iat in a year", with("iat", "1781536000"), access.ErrNotYetValid},
		{"gen negative", with("gen", "-1"), access.ErrClaims},
		{"gen with a fraction", with("gen", "3.0"), access.ErrClaims},
		{"roles as text", with("roles", `"admin"`), access.ErrClaims},
		{"a prototype for JavaScript", payload(nil, `"__proto__":{"admin":true}`), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tokens.Verify(a.token(a.header(), tt.payload)); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
