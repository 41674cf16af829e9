package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type object = map[string]any

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // not of what stands here
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func decoded(t *testing.T, segment string) object {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// sign makes the third segment, by the algorithm's own rules.
func sign(t *testing.T, alg string, key any, input string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch alg {
	case "HS256":
		m := hmac.New(sha256.New, key.([]byte))
		m.Write([]byte(input))
		sig = m.Sum(nil)
	case "EdDSA":
		sig = ed25519.Sign(key.(ed25519.PrivateKey), []byte(input))
	case "ES256":
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), digest[:]); err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case "PS256":
		sig, err = rsa.SignPSS(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "RS256":
		sig, err = rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sig)
}

// An insider knows one good token and the key that signed it.
type insider struct {
	t            *testing.T
	alg          string
	key          any
	public       any
	head, claims object
	jwks         string
}

func (f *insider) token(head, claims object) string {
	input := segment(head) + "." + segment(claims)
	return input + "." + sign(f.t, f.alg, f.key, input)
}

// with is a copy of an object with one member changed; nil takes it out.
func with(o object, name string, value any) object {
	o = maps.Clone(o)
	if value == nil {
		delete(o, name)
	} else {
		o[name] = value
	}
	return o
}

// keyIn returns the signing key of a keys file.
func keyIn(t *testing.T, path string) (private, public any) {
	t.Helper()
	rest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "SESSIONKIT HMAC KEY":
			return block.Bytes, nil
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			return key, key.(crypto.Signer).Public()
		}
	}
	t.Fatal("there is no signing key in the keys file")
	return nil, nil
}

// onlyExpired is the rule of tokens that a logout may still use: whoever holds
// one may end the session it is of.
const onlyExpired = "CVE-2024-51744: expired"

// signedButWrong are tokens with a perfect signature by the server's own key,
// as another service that shares the key could make them, or a flaw in what
// signs. null stands for JSON's null.
func (f *insider) signedButWrong(url string) map[string]string {
	tokens := make(map[string]string)
	null := json.RawMessage("null")
	claim := func(rule, name string, values ...any) {
		for i, v := range values {
			text, _ := json.Marshal(v)
			tokens[fmt.Sprintf("%s %d (%.40s)", rule, i, text)] = f.token(f.head, with(f.claims, name, v))
		}
	}
	head := func(rule, name string, values ...any) {
		for i, v := range values {
			tokens[fmt.Sprintf("%s %d", rule, i)] = f.token(with(f.head, name, v), f.claims)
		}
	}
	now := time.Now().Unix()
	claim("CVE-2020-26160, CVE-2024-5798, CVE-2026-30223: aud", "aud",
		nil, null, "", "other", "WEBAPP", "webapp ", []string{}, []string{""}, []string{"other"}, []any{"webapp", 1}, 1, true, object{"webapp": 1})
	claim("CVE-2024-5037: iss", "iss", nil, null, "", "https://evil.example", "https://webapp.example/", "HTTPS://WEBAPP.EXAMPLE", []string{"https://webapp.example"})
	claim("GHSA-wxg7-w2v3-w38g: exp", "exp", nil, null, "", fmt.Sprint(now+600), []int64{now + 600}, true, json.RawMessage("1e400"))
	claim(onlyExpired, "exp", now-1, 1, -1, json.RawMessage("1.5"))
	claim("GHSA-wxg7-w2v3-w38g: iat", "iat", nil, null, "x", now+3600, json.RawMessage("1e400"))
	claim("nbf", "nbf", now+3600, "x", null)
	claim("sub", "sub", nil, null, "", 1, []string{"alice"})
	claim("sid", "sid", nil, null, "", 1)
	claim("auth_time", "auth_time", nil, null, "x")
	claim("CVE-2026-41164: typ of another kind, in the claims' place", "SUB", "alice")
	head("CVE-2026-41164: typ", "typ", nil, null, "", "JWT", "rt+jwt", "logout+jwt", "dpop+jwt", "at+jwt;x", []string{"at+jwt"})
	head("CVE-2025-59420, CVE-2026-35042: crit", "crit", []string{"x"}, []string{}, null, []string{"exp"})
	head("CVE-2026-32301: jku", "jku", url, null)
	head("CVE-2026-41413: x5u", "x5u", url, null)
	head("CVE-2025-24976: x5c", "x5c", []string{"MIIB"}, null)
	head("CVE-2018-0114: jwk", "jwk", object{"kty": "oct", "k": "AAAA"}, null)
	head("kid", "kid", nil, null, "", 1, "../../../../dev/null", "x", []any{f.head["kid"]})
	head("alg of another name", "alg", nil, null, "", "none", strings.ToLower(f.alg), strings.ToUpper(f.alg)+" ", []string{f.alg}, "RS256")
	head("RFC 7797: b64", "b64", false)
	head("RFC 8725 section 3.6: zip", "zip", "DEF")
	// Which of two members counts must never be a question.
	text, _ := json.Marshal(f.claims)
	twice := func(rule, member string) {
		input := segment(f.head) + "." + base64.RawURLEncoding.EncodeToString([]byte("{"+member+","+string(text[1:])))
		tokens[rule] = input + "." + sign(f.t, f.alg, f.key, input)
	}
	twice("sub twice", `"sub":"alice"`)
	twice("sub twice, once escaped", `"\u0073ub":"alice"`)
	twice("exp twice", `"exp":99999999999`)
	return tokens
}

// forged are tokens for alice that are made without the server's private key.
func (f *insider) forged(url string) map[string]string {
	tokens := make(map[string]string)
	alice := with(f.claims, "sub", "alice")
	alice["roles"] = []string{"admin"}
	hs := func(rule string, secret []byte) {
		for _, alg := range []string{"HS256", f.alg} {
			input := segment(with(f.head, "alg", alg)) + "." + segment(alice)
			tokens[rule+", as "+alg] = input + "." + sign(f.t, "HS256", secret, input)
		}
	}
	hs("GHSA-869p-cjfg-cm3x: HMAC with nothing", nil)
	hs("CVE-2023-22463: HMAC with a well-known secret", []byte("secret"))
	hs("CVE-2024-33663: HMAC with the whole key set", []byte(f.jwks))
	hs("HMAC with the key's name", []byte(f.head["kid"].(string)))
	if f.public == nil {
		return tokens
	}

	// CVE-2015-9235, CVE-2022-29217, CVE-2026-33322: every spelling of the
	// public key as a secret.
	der, err := x509.MarshalPKIXPublicKey(f.public)
	if err != nil {
		f.t.Fatal(err)
	}
	spki := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	spellings := map[string][]byte{"DER": der, "PEM": spki, "PEM without its last line end": spki[:len(spki)-1], "PEM with CRLF": []byte(strings.ReplaceAll(string(spki), "\n", "\r\n"))}
	if k, ok := f.public.(*rsa.PublicKey); ok {
		pkcs1 := x509.MarshalPKCS1PublicKey(k)
		spellings["PKCS #1 DER"], spellings["PKCS #1 PEM"] = pkcs1, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})
		spellings["modulus"] = k.N.Bytes()
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(f.jwks), &set); err != nil || len(set.Keys) == 0 {
		f.t.Fatalf("no public keys: %s", f.jwks)
	}
	spellings["JWK"] = set.Keys[0]
	var members map[string]string
	json.Unmarshal(set.Keys[0], &members)
	for name, value := range members {
		raw, err := base64.RawURLEncoding.DecodeString(value)
		spellings["member "+name] = []byte(value)
		if err == nil {
			spellings["member "+name+", decoded"] = raw
		}
	}
	for name, secret := range spellings {
		hs("CVE-2015-9235, CVE-2022-29217, CVE-2026-33322: HMAC with the public key, "+name, secret)
	}

	// CVE-2018-0114, CVE-2025-24976: a real key pair of the forger's, offered
	// in the token in every way there is.
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	own := object{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public), "kid": f.head["kid"]}
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "webapp"}}, &x509.Certificate{}, public, private)
	if err != nil {
		f.t.Fatal(err)
	}
	for rule, offer := range map[string]object{
		"CVE-2018-0114: jwk":              {"jwk": own},
		"CVE-2025-24976: x5c":             {"x5c": []string{base64.StdEncoding.EncodeToString(certificate)}},
		"CVE-2026-32301: jku":             {"jku": url},
		"CVE-2026-49478: x5u":             {"x5u": url},
		"CVE-2026-49998: kid of a stored": {},
		"CVE-2024-5037: kid as a URL":     {"kid": url},
	} {
		head := maps.Clone(f.head)
		head["alg"] = "EdDSA"
		maps.Copy(head, offer)
		input := segment(head) + "." + segment(alice)
		tokens[rule+" key"] = input + "." + sign(f.t, "EdDSA", private, input)
	}

	// CVE-2022-21449: numbers that satisfy a careless equation.
	order := elliptic.P256().Params().N.Bytes()
	for name, sig := range map[string][]byte{
		"zeros": make([]byte, 64), "the order twice": append(slices.Clone(order), order...), "one and zero": append(make([]byte, 31), append([]byte{1}, make([]byte, 32)...)...),
		"nothing": nil, "DER zeros": {0x30, 6, 2, 1, 0, 2, 1, 0}, "as long as RSA's, zeros": make([]byte, 384),
	} {
		tokens["CVE-2022-21449: a signature of "+name] = segment(f.head) + "." + segment(alice) + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	return tokens
}

// TestSignedAndForgedTokens presents, for each algorithm, tokens that are well
// signed and still wrong, and forgeries made with all that is public. Nobody
// is let in, nothing is fetched, and the store does not hear of it; and where a
// good refresh cookie comes along, it alone decides who it is (CVE-2024-51744,
// CVE-2022-29165).
func TestSignedAndForgedTokens(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "PS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			var fetched atomic.Int32
			trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fetched.Add(1) }))
			defer trap.Close()
			path := filepath.Join(t.TempDir(), "keys.pem")
			x := newTarget(t, "-keys", path, "-alg", alg)

			bob := newBrowser(t, x.base)
			bob.signIn("bob", "builder")
			good := strings.Split(bob.cookies["__Host-access"], ".")
			f := &insider{t: t, alg: alg, head: decoded(t, good[0]), claims: decoded(t, good[1])}
			f.jwks = bob.do("GET", "/.well-known/jwks.json", "").text
			f.key, f.public = keyIn(t, path)

			// The hand that signs is right: what it signs of itself passes.
			if a := newBrowser(t, x.base).do("GET", "/api/me", "", "Authorization: Bearer "+f.token(f.head, f.claims)); a.member("subject") != "bob" {
				t.Fatalf("a token that is as it should be: %v", a)
			}
			tokens := f.signedButWrong(trap.URL)
			maps.Copy(tokens, f.forged(trap.URL))
			before := x.memory()
			for rule, token := range tokens {
				c := newBrowser(t, x.base)
				if a := c.do("GET", "/api/me", "", "Authorization: Bearer "+token); a.StatusCode != 401 || a.member("error") != "invalid_token" || len(a.Cookies()) > 0 {
					t.Errorf("%s, as a Bearer token: %v", rule, a)
				}
				if a := c.do("GET", "/api/public", "", "Authorization: Bearer "+token); strings.Contains(a.text, "alice") || strings.Contains(a.text, "bob") {
					t.Errorf("%s, where a session is optional: %v", rule, a)
				}
				c.cookies["__Host-access"] = token
				if a := c.do("GET", "/api/me", ""); a.StatusCode != 401 || len(a.Cookies()) > 0 {
					t.Errorf("%s, as a cookie: %v", rule, a)
				}
				if !strings.HasPrefix(rule, onlyExpired) {
					if a := c.do("POST", "/auth/logout", ""); a.StatusCode != 204 {
						t.Errorf("%s, at a logout: %v", rule, a)
					}
				}
				if after := x.memory(); after != before {
					t.Errorf("%s: the store has changed", rule)
					before = after
				}
			}
			for rule, token := range tokens {
				bob.cookies["__Host-access"] = token
				if a := bob.do("GET", "/api/me", ""); a.StatusCode != 200 || a.member("subject") != "bob" || fmt.Sprint(a.member("roles")) != "[]" {
					t.Errorf("%s, before bob's refresh cookie: %v", rule, a)
				}
			}
			if n := fetched.Load(); n != 0 {
				t.Errorf("the server fetched %d times what a token named", n)
			}
			t.Logf("%d tokens", len(tokens))
		})
	}
}
