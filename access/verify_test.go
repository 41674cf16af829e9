package access_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
)

func TestEveryAlgorithmRoundTrips(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			a, tokens := newAuthor(t, alg, access.Config{})
			text, issued := issue(t, tokens, login)
			got, err := tokens.Verify(text)
			if err != nil {
				t.Fatal(err)
			}
			if got.Subject != "alice" || got.SessionID != "family-1" || got.ID != issued.ID || !got.ExpiresAt.Equal(issued.ExpiresAt) {
				t.Errorf("got %+v, issued %+v", got, issued)
			}
			// What another library signs with the same key is as good.
			if _, err := tokens.Verify(a.token(a.header(), payload(nil))); err != nil {
				t.Errorf("a token made by hand: %v", err)
			}
			// A bit of each segment.
			for i, what := range map[int]string{strings.Index(text, ".") + 5: "payload", strings.LastIndex(text, ".") + 5: "signature"} {
				b := []byte(text)
				b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
				if _, err := tokens.Verify(string(b)); !errors.Is(err, access.ErrSignature) {
					t.Errorf("%s altered: %v", what, err)
				}
			}
		})
	}
}

func TestSegments(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	good := a.token(a.header(), payload(nil))
	part := strings.Split(good, ".")
	head, body, sig := part[0], part[1], part[2]
	// Two spellings of the last character: the four bits it has to spare.
	loose := head + "." + body + "." + sig[:len(sig)-1] + map[bool]string{true: "B", false: "h"}[strings.HasSuffix(sig, "A")]
	tests := []struct {
		name, token string
		want        error
	}{
		{"as it should be", good, nil},
		{"empty", "", access.ErrMalformed},
		{"no dot", head, access.ErrMalformed},
		{"one dot", head + "." + body, access.ErrMalformed},
		{"three dots", good + ".", access.ErrMalformed},
		{"an encrypted token's five segments", good + "." + body + "." + sig, access.ErrMalformed},
		{"empty header", "." + body + "." + sig, access.ErrMalformed},
		{"empty payload", head + ".." + sig, access.ErrMalformed},
		{"empty signature", head + "." + body + ".", access.ErrMalformed},
		{"dots alone", "..", access.ErrMalformed},
		{"line break after the token", good + "\n", access.ErrMalformed},
		{"line break within the header", head[:4] + "\r\n" + head[4:] + "." + body + "." + sig, access.ErrMalformed},
		{"line break within the payload", head + "." + body[:4] + "\n" + body[4:] + "." + sig, access.ErrMalformed},
		{"line break within the signature", head + "." + body + "." + sig[:4] + "\n" + sig[4:], access.ErrMalformed},
		{"space before the token", " " + good, access.ErrMalformed},
		{"padding", good + "==", access.ErrMalformed},
		{"standard alphabet", head + "." + body + "." + "+/" + sig[2:], access.ErrMalformed},
		{"NUL", good[:10] + "\x00" + good[11:], access.ErrMalformed},
		{"letters beyond ASCII", strings.Replace(good, "e", "\u0435", 1), access.ErrMalformed},
		{"JSON serialization", `{"payload":"` + body + `","protected":"` + head + `","signature":"` + sig + `"}`, access.ErrMalformed},
		{"spare bits set in the signature", loose, access.ErrMalformed},
		{"a segment of impossible length", head + "." + body + "." + sig[:85], access.ErrMalformed},
		{"signature cut", head + "." + body + "." + sig[:84], access.ErrSignature},
		{"signature longer", good + "AA", access.ErrSignature},
		{"header that is not base64 of JSON", "AAAA." + body + "." + sig, access.ErrMalformed},
		{"too long", head + "." + strings.Repeat("A", access.MaxToken) + "." + sig, access.ErrMalformed},
		{"a megabyte of dots", strings.Repeat(".", 1<<20), access.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tokens.Verify(tt.token)
			if err != tt.want || (c == nil) != (err != nil) {
				t.Errorf("got %v, %v; want %v", c, err, tt.want)
			}
		})
	}
}

func TestTheLongestTokenPasses(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	for _, n := range []int{access.MaxToken - 4, access.MaxToken - 3, access.MaxToken - 2, access.MaxToken - 1, access.MaxToken, access.MaxToken + 1, access.MaxToken + 2} {
		var text string
		for fill := n/2 - 500; len(text) < n; fill++ {
			text = a.token(a.header(), payload(nil, `"x":"`+strings.Repeat("x", fill)+`"`))
		}
		_, err := tokens.Verify(text)
		if ok := len(text) <= access.MaxToken; ok != (err == nil) || !ok && err != access.ErrMalformed {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}

func TestHeaders(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	h := func(alg, kid, typ string, more ...string) string {
		s := `{"alg":` + alg + `,"kid":` + kid + `,"typ":` + typ
		return s + strings.Join(append([]string{""}, more...), ",") + "}"
	}
	alg, kid, typ := `"EdDSA"`, `"`+a.kid+`"`, `"at+jwt"`
	tests := []struct {
		name, header string
		want         error
	}{
		{"as it should be", h(alg, kid, typ), nil},
		{"white space and another order", " {\n\"typ\" : \"at+jwt\",\t\"kid\":" + kid + ",\r\n\"alg\":" + alg + " } ", nil},
		{"escaped letters", h(`"\u0045dDSA"`, kid, typ), nil},
		{"member that means nothing to us", h(alg, kid, typ, `"x":[1,{"y":null}]`), nil},

		{"no type", `{"alg":"EdDSA","kid":` + kid + `}`, access.ErrMalformed},
		{"type in capitals", h(alg, kid, `"AT+JWT"`), nil},
		{"type in full", h(alg, kid, `"application/at+jwt"`), nil},
		{"type in full, in capitals", h(alg, kid, `"Application/AT+JWT"`), nil},
		{"type of any JWT", h(alg, kid, `"JWT"`), access.ErrMalformed},
		{"type of device-bound sessions", h(alg, kid, `"dbsc+jwt"`), access.ErrMalformed},
		{"type of logout tokens", h(alg, kid, `"logout+jwt"`), access.ErrMalformed},
		{"type of security events", h(alg, kid, `"secevent+jwt"`), access.ErrMalformed},
		{"type is no string", h(alg, kid, `["at+jwt"]`), access.ErrMalformed},
		{"type with a space", h(alg, kid, `"at+jwt "`), access.ErrMalformed},

		{"no algorithm", `{"kid":` + kid + `,"typ":"at+jwt"}`, access.ErrMalformed},
		{"algorithm none", h(`"none"`, kid, typ), access.ErrUnknownKey},
		{"algorithm None", h(`"None"`, kid, typ), access.ErrUnknownKey},
		{"algorithm NONE", h(`"NONE"`, kid, typ), access.ErrUnknownKey},
		{"algorithm nOnE", h(`"nOnE"`, kid, typ), access.ErrUnknownKey},
		{"algorithm empty", h(`""`, kid, typ), access.ErrMalformed},
		{"algorithm null", h(`null`, kid, typ), access.ErrMalformed},
		{"algorithm in other case", h(`"eddsa"`, kid, typ), access.ErrUnknownKey},
		{"algorithm with a NUL", h(`"EdDSA\u0000"`, kid, typ), access.ErrUnknownKey},
		{"algorithm of another key", h(`"ES256"`, kid, typ), access.ErrUnknownKey},
		{"algorithm by its new name (RFC 9864)", h(`"Ed25519"`, kid, typ), access.ErrUnknownKey},

		{"no key id", `{"alg":"EdDSA","typ":"at+jwt"}`, access.ErrMalformed},
		{"key id empty", h(alg, `""`, typ), access.ErrMalformed},
		{"key id is a number", h(alg, `1`, typ), access.ErrMalformed},
		{"key id null", h(alg, `null`, typ), access.ErrMalformed},
		{"key id of nobody", h(alg, `"nobody"`, typ), access.ErrUnknownKey},
		{"key id traverses", h(alg, `"../../../../dev/null"`, typ), access.ErrUnknownKey},
		{"key id is SQL", h(alg, `"x' UNION SELECT 'k"`, typ), access.ErrUnknownKey},
		{"key id is a glob", h(alg, `"*"`, typ), access.ErrUnknownKey},
		{"key id with a NUL", h(alg, `"`+a.kid+`\u0000"`, typ), access.ErrUnknownKey},
		{"key id in other case", h(alg, `"`+strings.ToLower(a.kid)+`"`, typ), access.ErrUnknownKey},
		{"key id is a prefix", h(alg, `"`+a.kid[:20]+`"`, typ), access.ErrUnknownKey},
		{"key id of 128 bytes", h(alg, `"`+strings.Repeat("k", 128)+`"`, typ), access.ErrUnknownKey},
		{"key id of 129 bytes", h(alg, `"`+strings.Repeat("k", 129)+`"`, typ), access.ErrMalformed},
		{"key id of a megabyte", h(alg, `"`+strings.Repeat("k", 1<<20)+`"`, typ), access.ErrMalformed},

		{"algorithm twice", h(alg, kid, typ, `"alg":"EdDSA"`), access.ErrMalformed},
		{"algorithm twice, one escaped", h(alg, kid, typ, `"\u0061lg":"EdDSA"`), access.ErrMalformed},
		{"algorithm in capitals besides", h(alg, kid, typ, `"ALG":"none"`), access.ErrMalformed},
		{"key id twice", h(alg, kid, typ, `"kid":"x"`), access.ErrMalformed},
		{"key id with a Kelvin sign besides", h(alg, kid, typ, "\"\u212aid\":\"x\""), access.ErrMalformed},
		{"unknown member twice", h(alg, kid, typ, `"x":1,"x":1`), access.ErrMalformed},
		{"critical extension", h(alg, kid, typ, `"crit":["exp"],"exp":1`), access.ErrMalformed},
		{"critical extensions, none", h(alg, kid, typ, `"crit":[]`), access.ErrMalformed},
		{"critical in capitals", h(alg, kid, typ, `"CRIT":["x"]`), access.ErrMalformed},
		{"payload not encoded", h(alg, kid, typ, `"b64":false`), access.ErrMalformed},
		{"compression", h(alg, kid, typ, `"zip":"DEF"`), access.ErrMalformed},
		{"encryption", h(alg, kid, typ, `"enc":"A128GCM"`), access.ErrMalformed},
		{"key set to fetch", h(alg, kid, typ, `"jku":"http://127.0.0.1/keys"`), access.ErrMalformed},
		{"key inside", h(alg, kid, typ, `"jwk":{"kty":"OKP"}`), access.ErrMalformed},
		{"certificate to fetch", h(alg, kid, typ, `"x5u":"http://127.0.0.1/"`), access.ErrMalformed},
		{"certificate inside", h(alg, kid, typ, `"x5c":["AAAA"]`), access.ErrMalformed},

		{"array", `[` + h(alg, kid, typ) + `]`, access.ErrMalformed},
		{"string", `"x"`, access.ErrMalformed},
		{"empty object", `{}`, access.ErrMalformed},
		{"byte order mark", "\ufeff" + h(alg, kid, typ), access.ErrMalformed},
		{"not UTF-8", h(alg, kid, typ, "\"x\":\"\xff\""), access.ErrMalformed},
		{"something after the object", h(alg, kid, typ) + "x", access.ErrMalformed},
		{"two objects", h(alg, kid, typ) + h(alg, kid, typ), access.ErrMalformed},
		{"comma at the end", `{"alg":"EdDSA","kid":` + kid + `,"typ":"at+jwt",}`, access.ErrMalformed},
		{"comment", `{/**/"alg":"EdDSA","kid":` + kid + `,"typ":"at+jwt"}`, access.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tokens.Verify(a.token(tt.header, payload(nil))); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestPayloads(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	with := func(name, value string) string { return payload(map[string]string{name: value}) }
	type test struct {
		name, payload string
		want          error
	}
	tests := []test{
		{"as it should be", payload(nil), nil},
		{"white space", strings.ReplaceAll(payload(nil), ",", " ,\r\n\t"), nil},
		{"members of the app", payload(nil, `"tenant":"t-1","limits":{"a":[1,2.5e3,-0,true,null]}`), nil},
		{"names like these within an app's member", payload(nil, `"x":{"EXP":1,"exp":2,"exp":3}`), nil},

		{"audience in a list", with("aud", `["other","app"]`), nil},
		{"audience of others", with("aud", `["other"]`), access.ErrClaims},
		{"audience empty list", with("aud", `[]`), access.ErrClaims},
		{"audience empty", with("aud", `""`), access.ErrClaims},
		{"audience in a list in a list", with("aud", `[["app"]]`), access.ErrClaims},
		{"audience list with a number", with("aud", `["app",1]`), access.ErrClaims},
		{"audience an object", with("aud", `{"app":"app"}`), access.ErrClaims},
		{"audience null", with("aud", `null`), access.ErrClaims},
		{"audience a prefix", with("aud", `"ap"`), access.ErrClaims},
		{"audience with more behind", with("aud", `"apps"`), access.ErrClaims},
		{"audience in other case", with("aud", `"App"`), access.ErrClaims},
		{"audience with a space", with("aud", `"app "`), access.ErrClaims},
		{"issuer of others", with("iss", `"https://other.example"`), access.ErrClaims},
		{"issuer with a slash", with("iss", `"`+issuer+`/"`), access.ErrClaims},
		{"issuer in other case", with("iss", `"HTTPS://issuer.example"`), access.ErrClaims},
		{"issuer a list", with("iss", `["`+issuer+`"]`), access.ErrClaims},
		{"subject empty", with("sub", `""`), access.ErrClaims},
		{"subject a number", with("sub", `7`), access.ErrClaims},
		{"subject null", with("sub", `null`), access.ErrClaims},
		{"subject with half a surrogate pair", with("sub", `"a\ud800"`), access.ErrClaims},
		{"subject with a whole surrogate pair", with("sub", `"\ud83d\ude00"`), nil},
		{"session a number", with("sid", `1`), access.ErrClaims},
		{"generation a string", with("gen", `"1"`), access.ErrClaims},
		{"generation negative", with("gen", `-1`), access.ErrClaims},
		{"generation with a fraction", with("gen", `1.0`), access.ErrClaims},
		{"generation 0", with("gen", `0`), nil},
		{"generation 2^53-1", with("gen", `9007199254740991`), nil},
		{"generation 2^53", with("gen", `9007199254740992`), access.ErrClaims},
		{"generation beyond all integers", with("gen", `99999999999999999999999`), access.ErrClaims},

		{"expiry a string", with("exp", `"1750000600"`), access.ErrClaims},
		{"expiry with a fraction", with("exp", `1750000600.9`), nil},
		{"expiry with an exponent", with("exp", `1750000600e0`), access.ErrClaims},
		{"expiry with a fraction and an exponent", with("exp", `1.7500006e9`), access.ErrClaims},
		{"expiry huge", with("exp", `253402300800`), access.ErrClaims},
		{"expiry in 9999", with("exp", `253402300799`), nil},
		{"expiry 0", with("exp", `0`), access.ErrClaims},
		{"expiry negative", with("exp", `-1`), access.ErrClaims},
		{"expiry null", with("exp", `null`), access.ErrClaims},
		{"expiry true", with("exp", `true`), access.ErrClaims},
		{"issue a string", with("iat", `"1750000000"`), access.ErrClaims},
		{"issue huge", with("iat", `1e300`), access.ErrClaims},
		{"not before a string", with("nbf", `"1"`), access.ErrClaims},
		{"not before now", with("nbf", `1750000000`), nil},
		{"authentication a string", with("auth_time", `"1"`), access.ErrClaims},
		{"session's end a string", with("session_exp", `"1"`), access.ErrClaims},
		{"milliseconds of a second", with("iat_ms", `1000`), access.ErrClaims},
		{"milliseconds negative", with("iat_ms", `-1`), access.ErrClaims},
		{"bound to nothing", with("cnf", `{}`), access.ErrClaims},
		{"bound, a string", with("cnf", `"`+thumbprint+`"`), access.ErrClaims},
		{"bound, null", with("cnf", `null`), access.ErrClaims},
		{"bound, a list", with("cnf", `[{"jkt":"`+thumbprint+`"}]`), access.ErrClaims},
		{"key a number", with("cnf", `{"jkt":1}`), access.ErrClaims},
		{"key empty", with("cnf", `{"jkt":""}`), access.ErrClaims},
		{"key a byte too short", with("cnf", `{"jkt":"`+thumbprint[:42]+`"}`), access.ErrClaims},
		{"key too long", with("cnf", `{"jkt":"`+thumbprint+`A"}`), access.ErrClaims},
		{"key padded", with("cnf", `{"jkt":"`+thumbprint+`="}`), access.ErrClaims},
		{"key with a line break", with("cnf", `{"jkt":"`+thumbprint[:42]+`\n"}`), access.ErrClaims},
		{"key with a bit to spare", with("cnf", `{"jkt":"`+thumbprint[:42]+`t"}`), access.ErrClaims},
		{"key in the other alphabet", with("cnf", `{"jkt":"`+strings.Replace(thumbprint, "_", "/", 1)+`"}`), access.ErrClaims},
		{"key twice", with("cnf", `{"jkt":"`+thumbprint+`","jkt":"`+thumbprint+`"}`), access.ErrClaims},
		{"key of another kind", with("cnf", `{"x5t#S256":"`+thumbprint+`"}`), access.ErrClaims},
		{"key and another kind", with("cnf", `{"jkt":"`+thumbprint+`","kid":"x"}`), access.ErrClaims},
		{"key in capitals", with("cnf", `{"JKT":"`+thumbprint+`"}`), access.ErrClaims},
		{"key of both kinds", with("cnf", `{"jkt":"`+thumbprint+`","dbsc":true}`), access.ErrClaims},
		{"browser's key false", with("cnf", `{"dbsc":false}`), access.ErrClaims},
		{"browser's key a number", with("cnf", `{"dbsc":1}`), access.ErrClaims},
		{"bound, in capitals", a.token(a.header(), payload(nil, `"CNF":{"dbsc":true}`)), access.ErrMalformed},
		{"roles a string", with("roles", `"admin"`), access.ErrClaims},
		{"roles with a number", with("roles", `["a",1]`), access.ErrClaims},
		{"roles empty", with("roles", `[ ]`), nil},
		{"methods an object", with("amr", `{}`), access.ErrClaims},
		{"class a number", with("acr", `1`), access.ErrClaims},
		{"actor", with("act", `{"sub":"sam","iss":"https://support.example"}`), nil},
		{"actor for an actor", with("act", `{"sub":"sam","act":{"sub":"kim"}}`), nil},
		{"actor a string", with("act", `"sam"`), access.ErrClaims},
		{"actor null", with("act", `null`), access.ErrClaims},
		{"actor without a name", with("act", `{}`), access.ErrClaims},
		{"actor with an empty name", with("act", `{"sub":""}`), access.ErrClaims},
		{"actor whose name is a number", with("act", `{"sub":1}`), access.ErrClaims},
		{"actor with two names", with("act", `{"sub":"sam","sub":"kim"}`), access.ErrClaims},
		{"actor of an actor alone", with("act", `{"act":{"sub":"kim"}}`), access.ErrClaims},
		{"actor in capitals besides", payload(nil, `"ACT":{"sub":"sam"}`), access.ErrMalformed},
		{"scope a list", with("scope", `["read"]`), access.ErrClaims},
		{"scope empty", with("scope", `""`), nil},
		{"scope with a tab", with("scope", `"read\twrite"`), access.ErrClaims},
		{"scope with a space beyond ASCII", with("scope", `"read\u00a0write"`), access.ErrClaims},
		{"scope with a quote", with("scope", `"read\"write"`), access.ErrClaims},

		{"expiry twice", payload(nil, `"exp":1750009999`), access.ErrMalformed},
		{"expiry twice, one escaped", payload(nil, `"e\u0078p":1750009999`), access.ErrMalformed},
		{"expiry in capitals besides", payload(nil, `"EXP":1750009999`), access.ErrMalformed},
		{"expiry in capitals instead", payload(map[string]string{"exp": ""}, `"Exp":1750009999`), access.ErrMalformed},
		{"subject with a long s besides", payload(nil, "\"\u017fub\":\"root\""), access.ErrMalformed},
		{"roles in capitals besides", payload(nil, `"Roles":["admin"]`), access.ErrMalformed},
		{"member of the app twice", payload(nil, `"x":1,"x":2`), access.ErrMalformed},
		{"list", `[` + payload(nil) + `]`, access.ErrMalformed},
		{"text", `foo`, access.ErrMalformed},
		{"number", `123400`, access.ErrMalformed},
		{"null", `null`, access.ErrMalformed},
		{"byte order mark", "\ufeff" + payload(nil), access.ErrMalformed},
		{"UTF-16", "\xff\xfe{\x00}\x00", access.ErrMalformed},
		{"not UTF-8", payload(nil, "\"x\":\"\xff\""), access.ErrMalformed},
		{"control character in a string", payload(nil, "\"x\":\"\n\""), access.ErrMalformed},
		{"something after the object", payload(nil) + "{}", access.ErrMalformed},
		{"NUL after the object", payload(nil) + "\x00", access.ErrMalformed},
		{"object cut", payload(nil)[:40], access.ErrMalformed},
		{"number with a leading zero", payload(nil, `"x":01`), access.ErrMalformed},
		{"nested as deep as allowed", payload(nil, `"x":`+strings.Repeat("[", access.MaxDepth)+strings.Repeat("]", access.MaxDepth)), nil},
		{"nested too deep", payload(nil, `"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)), access.ErrMalformed},
		{"too many members", payload(nil, many(access.MaxMembers)...), access.ErrMalformed},
		{"as many members as allowed", payload(nil, many(access.MaxMembers-10)...), nil},
	}
	for _, name := range []string{"iss", "sub", "aud", "client_id", "jti", "sid", "gen", "iat", "exp", "auth_time"} {
		tests = append(tests, test{"without " + name, with(name, ""), access.ErrClaims})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tokens.Verify(a.token(a.header(), tt.payload)); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			// Nobody learns anything about a payload whose signature is wrong.
			forged := author{a.alg, a.kid, func(string) []byte { return make([]byte, 64) }}
			if _, err := tokens.Verify(forged.token(a.header(), tt.payload)); err != access.ErrSignature {
				t.Errorf("forged: got %v, want %v", err, access.ErrSignature)
			}
		})
	}
}

func many(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"m%d":%d`, i, i)
	}
	return all
}

// CVE-2026-30223 and its like: the audience went unchecked with some keys.
func TestAudienceIsCheckedForEveryAlgorithm(t *testing.T) {
	for _, alg := range algorithms {
		a, tokens := newAuthor(t, alg, access.Config{})
		for _, aud := range []string{`""`, `[]`, `"other"`, `["other"]`, `"App"`, ""} {
			if _, err := tokens.Verify(a.token(a.header(), payload(map[string]string{"aud": aud}))); err != access.ErrClaims {
				t.Errorf("%s, aud %s: %v", alg, aud, err)
			}
		}
	}
}

func TestClaimsArriveAsTheyWereWritten(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	got, err := tokens.Verify(a.token(a.header(), payload(map[string]string{
		"sub": `"<al\u00efce> \"\ud83d\ude00\""`, "aud": `["app","b,\"]c"]`, "client_id": `"client"`, "gen": "7",
		"nbf": "1749999999", "session_exp": "1752592000", "acr": `"urn:x"`, "amr": `[ "pwd" , "otp" ]`, "act": `{ "sub" : "s\u00e4m" }`,
		"scope": `"read  write:all"`, "roles": `["admin","Große \\ Leute"]`, "iat_ms": "250",
	})))
	if err != nil {
		t.Fatal(err)
	}
	want := access.Claims{
		Issuer: issuer, Subject: `<alïce> "😀"`, Audience: []string{"app", `b,"]c`}, ClientID: "client", ID: "id-1",
		SessionID: "family-1", Generation: 7,
		IssuedAt: at.Add(250 * time.Millisecond), ExpiresAt: at.Add(10 * time.Minute),
		NotBefore: at.Add(-time.Second), AuthTime: at.Add(-time.Hour), SessionExpiresAt: at.Add(30 * 24 * time.Hour),
		ACR: "urn:x", AMR: []string{"pwd", "otp"}, Actor: "säm", Scopes: []string{"read", "write:all"}, Roles: []string{"admin", `Große \ Leute`},
	}
	compare(t, got, want)
}

// compare compares what is exported.
func compare(t *testing.T, got *access.Claims, want access.Claims) {
	t.Helper()
	g, w := reflect.ValueOf(*got), reflect.ValueOf(want)
	for i := range g.NumField() {
		f := g.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s: got %v, want %v", f.Name, g.Field(i), w.Field(i))
		}
	}
}

func TestAlgorithmsAreNotConfused(t *testing.T) {
	rsaKey, ecKey, edKey := materials()[access.RS256].(*rsa.PrivateKey), materials()[access.ES256].(*ecdsa.PrivateKey), materials()[access.EdDSA].(ed25519.PrivateKey)
	for _, tt := range []struct {
		alg    access.Algorithm
		public any
	}{{access.RS256, &rsaKey.PublicKey}, {access.PS256, &rsaKey.PublicKey}, {access.ES256, &ecKey.PublicKey}, {access.EdDSA, edKey.Public()}} {
		a, tokens := newAuthor(t, tt.alg, access.Config{})
		der, err := x509.MarshalPKIXPublicKey(tt.public)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		rec := serve(tokens.Keys(), "GET")
		for name, secret := range map[string][]byte{
			"PEM": text, "PEM without its line break": bytes.TrimSpace(text), "DER": der, "JWK set": rec.Body.Bytes(),
			"key id": []byte(a.kid), "empty": {}, "NUL": {0},
		} {
			for _, alg := range []string{"HS256", string(tt.alg)} {
				forged := author{alg, a.kid, func(input string) []byte { return hmacSHA256(secret, input) }}
				want := access.ErrUnknownKey
				if alg == string(tt.alg) {
					want = access.ErrSignature
				}
				if _, err := tokens.Verify(forged.token(forged.header(), payload(nil))); err != want {
					t.Errorf("%s, %s signed with the public key as %s: %v", tt.alg, alg, name, err)
				}
			}
		}
	}
}

// One RSA key, two algorithms (Wycheproof tc332 to tc340).
func TestOneKeyHasOneAlgorithm(t *testing.T) {
	for _, pair := range [][2]access.Algorithm{{access.RS256, access.PS256}, {access.PS256, access.RS256}} {
		a, tokens := newAuthor(t, pair[0], access.Config{})
		other := author{string(pair[1]), a.kid, func(input string) []byte { return sign(pair[1], materials()[pair[1]], input) }}
		if _, err := tokens.Verify(other.token(other.header(), payload(nil))); err != access.ErrUnknownKey {
			t.Errorf("%s for a key of %s: %v", pair[1], pair[0], err)
		}
		if _, err := tokens.Verify(other.token(a.header(), payload(nil))); err != access.ErrSignature {
			t.Errorf("signature of %s under the name of %s: %v", pair[1], pair[0], err)
		}
	}
}

// CVE-2018-0114: the key that a token brings along, or a stranger's.
func TestStrangersKeys(t *testing.T) {
	for _, alg := range algorithms {
		a, tokens := newAuthor(t, alg, access.Config{})
		k, err := access.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		stranger := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: k}), Now: func() time.Time { return at }})
		text, _ := issue(t, stranger, login)
		if _, err := tokens.Verify(text); err != access.ErrUnknownKey {
			t.Errorf("%s of a stranger: %v", alg, err)
		}
		part := strings.Split(text, ".")
		if _, err := tokens.Verify(b64(a.header()) + "." + part[1] + "." + part[2]); err != access.ErrSignature {
			t.Errorf("%s of a stranger under our key's id: %v", alg, err)
		}
	}
}

func TestSignatureForms(t *testing.T) {
	ec, pair := materials()[access.ES256].(*ecdsa.PrivateKey), materials()[access.PS256].(*rsa.PrivateKey)
	order := ec.Params().N
	pss := func(salt int) func(string) []byte {
		return func(input string) []byte {
			digest := sha256.Sum256([]byte(input))
			sig, err := rsa.SignPSS(rand.Reader, pair, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	tests := []struct {
		name string
		alg  access.Algorithm
		sign func(input string) []byte
		ok   bool
	}{
		{"ES256, 64 bytes", access.ES256, func(in string) []byte { return sign(access.ES256, ec, in) }, true},
		{"ES256, ASN.1", access.ES256, func(in string) []byte {
			digest := sha256.Sum256([]byte(in))
			sig, _ := ecdsa.SignASN1(rand.Reader, ec, digest[:])
			return sig
		}, false},
		{"ES256, 65 bytes", access.ES256, func(in string) []byte { return append(sign(access.ES256, ec, in), 0) }, false},
		{"ES256, a zero before r", access.ES256, func(in string) []byte { return append([]byte{0}, sign(access.ES256, ec, in)...) }, false},
		{"ES256, r = s = 0 (CVE-2022-21449)", access.ES256, func(string) []byte { return make([]byte, 64) }, false},
		{"ES256, r and s are the order", access.ES256, func(string) []byte {
			return append(order.FillBytes(make([]byte, 32)), order.FillBytes(make([]byte, 32))...)
		}, false},
		{"PS256, salt as long as the hash", access.PS256, pss(32), true},
		{"PS256, no salt", access.PS256, pss(0), false},
		{"PS256, shorter salt", access.PS256, pss(31), false},
		{"PS256, longest salt", access.PS256, pss(rsa.PSSSaltLengthAuto), false},
		{"PS256, zeros", access.PS256, func(string) []byte { return make([]byte, 256) }, false},
		{"EdDSA, zeros", access.EdDSA, func(string) []byte { return make([]byte, 64) }, false},
		{"HS256, cut", access.HS256, func(in string) []byte { return sign(access.HS256, materials()[access.HS256], in)[:30] }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if fips140.Enabled() && (tt.name == "PS256, no salt" || tt.name == "PS256, longest salt") {
				t.Skip("crypto/rsa makes no such signature in this mode: its longest salt is as long as the hash")
			}
			a, tokens := newAuthor(t, tt.alg, access.Config{})
			a.sign = tt.sign
			want := access.ErrSignature
			if tt.ok {
				want = nil
			}
			if _, err := tokens.Verify(a.token(a.header(), payload(nil))); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}

func TestTimeBoundaries(t *testing.T) {
	second := time.Second
	tests := []struct {
		name   string
		leeway time.Duration
		member string
		offset time.Duration // of the claim from now
		want   error
	}{
		{"expires in a second", 0, "exp", second, nil},
		{"expires now", 0, "exp", 0, access.ErrExpired},
		{"expired a second ago, within the leeway", 0, "exp", -second, access.ErrExpired},
		{"issued now", 0, "iat", 0, nil},
		{"issued in the future, at the leeway's end", 0, "iat", 30 * second, nil},
		{"issued in the future, beyond the leeway", 0, "iat", 31 * second, access.ErrNotYetValid},
		{"valid from the leeway's end", 0, "nbf", 30 * second, nil},
		{"valid from beyond the leeway", 0, "nbf", 31 * second, access.ErrNotYetValid},
		{"valid from long ago", 0, "nbf", -1000 * second, nil},
		{"own leeway, at its end", 5 * second, "iat", 5 * second, nil},
		{"own leeway, beyond", 5 * second, "iat", 6 * second, access.ErrNotYetValid},
		{"no leeway, now", -1, "iat", 0, nil},
		{"no leeway, in a second", -1, "iat", second, access.ErrNotYetValid},
		{"no leeway, valid in a second", -1, "nbf", second, access.ErrNotYetValid},
		{"issued a year ago and still good", 0, "iat", -365 * 24 * time.Hour, nil},
		{"authenticated within the leeway", 0, "auth_time", 30 * second, nil},
		{"authenticated after now", 0, "auth_time", 1000 * second, access.ErrNotYetValid},
		{"session over: not this package's to say", 0, "session_exp", -second, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, tokens := newAuthor(t, access.EdDSA, access.Config{Leeway: tt.leeway})
			text := a.token(a.header(), payload(map[string]string{tt.member: fmt.Sprint(at.Add(tt.offset).Unix())}))
			for _, pass := range []string{"first", "second"} {
				if _, err := tokens.Verify(text); err != tt.want {
					t.Errorf("%s time: got %v, want %v", pass, err, tt.want)
				}
			}
		})
	}
}

// TestTokensAreDeadAtTheirExp: to the second that they say themselves, as every
// other verifier reads it, and never sooner than their lifetime.
func TestTokensAreDeadAtTheirExp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for _, cached := range []int{0, -1} {
			tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: newKey(t, access.EdDSA, materials()[access.EdDSA])}), Lifetime: time.Second, CacheEntries: cached})
			time.Sleep(333 * time.Millisecond)
			text, c := issue(t, tokens, access.Claims{Subject: "alice", SessionID: "s", AuthTime: time.Now()})
			left := time.Until(c.ExpiresAt)
			if !c.IssuedAt.Equal(time.Now()) || c.ExpiresAt.Nanosecond() != 0 || left < time.Second || left >= 2*time.Second {
				t.Errorf("issued %v, expires %v", c.IssuedAt, c.ExpiresAt)
			}
			time.Sleep(left - 1)
			if _, err := tokens.Verify(text); err != nil {
				t.Error("a moment before:", err)
			}
			time.Sleep(time.Nanosecond)
			if _, err := tokens.Verify(text); err != access.ErrExpired {
				t.Error("at the expiry:", err)
			}
		}
	})
}

// TestAClockThatJumps: a token of a clock that was ahead is refused as long as
// it is from the future, whether or not it was seen before.
func TestAClockThatJumps(t *testing.T) {
	for _, cached := range []int{0, -1} {
		now := at.Add(time.Hour)
		_, tokens := newAuthor(t, access.EdDSA, access.Config{Now: func() time.Time { return now }, CacheEntries: cached})
		text, _ := issue(t, tokens, login)
		if _, err := tokens.Verify(text); err != nil {
			t.Fatal(err)
		}
		now = at // the clock is set right
		if _, err := tokens.Verify(text); err != access.ErrNotYetValid {
			t.Errorf("a token of in an hour: %v", err)
		}
		now = at.Add(time.Hour - 29*time.Second)
		if _, err := tokens.Verify(text); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
	}
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	c := login
	c.AuthTime = at.Add(time.Hour)
	text, _ := issue(t, tokens, c)
	if _, err := tokens.Verify(text); err != access.ErrNotYetValid {
		t.Errorf("a sign-in of in an hour: %v", err)
	}
}

// CVE-2024-51744: whoever renews what has expired must not be shown that first.
func TestExpiredIsSaidOnlyWhenNothingElseIsWrong(t *testing.T) {
	a, tokens := newAuthor(t, access.EdDSA, access.Config{})
	past := "1749999999"
	forged := author{a.alg, a.kid, func(string) []byte { return make([]byte, 64) }}
	tests := []struct {
		name, token string
		want        error
	}{
		{"nothing else", a.token(a.header(), payload(map[string]string{"exp": past})), access.ErrExpired},
		{"forged", forged.token(a.header(), payload(map[string]string{"exp": past})), access.ErrSignature},
		{"unknown key", a.token(`{"alg":"EdDSA","kid":"x","typ":"at+jwt"}`, payload(map[string]string{"exp": past})), access.ErrUnknownKey},
		{"another issuer", a.token(a.header(), payload(map[string]string{"exp": past, "iss": `"x"`})), access.ErrClaims},
		{"another audience", a.token(a.header(), payload(map[string]string{"exp": past, "aud": `"x"`})), access.ErrClaims},
		{"no session", a.token(a.header(), payload(map[string]string{"exp": past, "sid": ""})), access.ErrClaims},
		{"another type", a.token(`{"alg":"EdDSA","kid":"`+a.kid+`","typ":"JWT"}`, payload(map[string]string{"exp": past})), access.ErrMalformed},
		{"issued in the future", a.token(a.header(), payload(map[string]string{"exp": past, "iat": "1750009999"})), access.ErrNotYetValid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tokens.Verify(tt.token); err != tt.want {
				t.Errorf("Verify: got %v, want %v", err, tt.want)
			}
			want := tt.want
			if want == access.ErrExpired {
				want = nil
			}
			if _, err := tokens.VerifyWithin(tt.token, time.Hour); err != want {
				t.Errorf("VerifyWithin: got %v, want %v", err, want)
			}
		})
	}
}

func TestVerifyWithin(t *testing.T) {
	tests := []struct {
		name       string
		ago, grace time.Duration
		want       error
	}{
		{"still good, no grace", -time.Second, 0, nil},
		{"still good, negative grace", -time.Second, -time.Hour, nil},
		{"expired now, no grace", 0, 0, access.ErrExpired},
		{"expired now, negative grace", 0, -time.Hour, access.ErrExpired},
		{"expired now, some grace", 0, time.Second, nil},
		{"expired as long ago as the grace", time.Minute, time.Minute, nil},
		{"expired longer ago", time.Minute + time.Second, time.Minute, access.ErrExpired},
		{"the longest grace there is", time.Hour, 1<<63 - 1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, tokens := newAuthor(t, access.EdDSA, access.Config{})
			text := a.token(a.header(), payload(map[string]string{"exp": fmt.Sprint(at.Add(-tt.ago).Unix())}))
			c, err := tokens.VerifyWithin(text, tt.grace)
			if err != tt.want {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if n, _, _ := tokens.Cached(); n != 0 {
				t.Error("it filled the cache")
			}
			if err == nil && (c.FirstUse() || c.Subject != "alice") {
				t.Error("Mark is for what Verify returned")
			}
		})
	}
}

// CVE-2025-30204: work in proportion to what an attacker sends.
func TestHugeTokensCostNothing(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	for name, text := range map[string]string{
		"dots": strings.Repeat(".", 1<<20), "letters": strings.Repeat("a", 1<<20),
		"two dots": strings.Repeat("a", 1<<19) + "." + strings.Repeat("b", 1<<19) + ".c",
	} {
		if n := testing.AllocsPerRun(10, func() { tokens.Verify(text) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
