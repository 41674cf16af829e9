package access_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// FuzzVerify signs whatever header and payload come, and also takes them for
// a token as they are. Nothing panics, and what verifies is the one spelling
// of itself, says what encoding/json reads in it, and has all that is required.
func FuzzVerify(f *testing.F) {
	a, tokens := newAuthor(f, access.HS256, access.Config{})
	kid := strings.NewReplacer(a.kid, "KID") // the key is another one in each run
	f.Add(kid.Replace(a.header()), payload(nil), "")
	f.Add(kid.Replace(a.header()), payload(map[string]string{"aud": `["x","app"]`, "scope": `"a b"`, "roles": `["\u00e9"]`, "nbf": "1", "exp_ms": "5"}, `"x":{"y":[1.5]}`), "")
	f.Add(kid.Replace(a.header()), payload(map[string]string{"cnf": `{"jkt":"` + thumbprint + `"}`}), "")
	f.Add(kid.Replace(a.header()), payload(map[string]string{"cnf": `{"dbsc":true}`}), "")
	f.Add(`{"typ":"application/AT+jwt","alg":"HS256","kid":"KID","x":[]}`, payload(nil, `"EXP":1`), "\n")
	f.Add(`{"alg":"none","kid":"KID","typ":"at+jwt"}`, payload(nil, `"exp":1`), "=")
	f.Add(`{"alg":"HS256","kid":"KID","typ":"at+jwt","crit":["x"]}`, "{}", ".")
	f.Fuzz(func(t *testing.T, header, body, more string) {
		text := a.token(strings.ReplaceAll(header, "KID", a.kid), body) + more
		for _, token := range []string{text, header + "." + body + "." + more, header, body} {
			c, err := tokens.Verify(token)
			if (c == nil) == (err == nil) {
				t.Fatalf("%v, %v", c, err)
			}
			if err != nil {
				if !strings.HasPrefix(err.Error(), "access: ") {
					t.Errorf("a stranger's error: %v", err)
				}
				continue
			}
			consistent(t, token, c)
		}
	})
}

func consistent(t *testing.T, token string, c *access.Claims) {
	t.Helper()
	part := strings.Split(token, ".")
	if len(part) != 3 {
		t.Fatalf("%d segments", len(part))
	}
	for _, p := range part {
		raw, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != p {
			t.Errorf("%q is another spelling", p)
		}
	}
	text, _ := base64.RawURLEncoding.DecodeString(part[1])
	var plain struct {
		Iss, Sub, Sid, Jti string
		Exp, Iat           float64
		Gen                uint64
		Exp_ms             float64
		Cnf                *struct {
			Jkt  string
			Dbsc bool
		}
	}
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatalf("encoding/json: %v: %q", err, text)
	}
	if plain.Iss != c.Issuer || plain.Sub != c.Subject || plain.Sid != c.SessionID || plain.Jti != c.ID || plain.Gen != c.Generation {
		t.Errorf("%+v, encoding/json %+v", c, plain)
	}
	if c.DeviceBound != (plain.Cnf != nil) || plain.Cnf != nil && (plain.Cnf.Jkt != c.KeyThumbprint || plain.Cnf.Dbsc != (c.KeyThumbprint == "")) {
		t.Errorf("%+v, encoding/json %+v", c, plain.Cnf)
	}
	if c.Issuer != issuer || c.Subject == "" || c.SessionID == "" || !at.Before(c.ExpiresAt) || c.IssuedAt.After(at.Add(30*time.Second)) || c.AuthTime.IsZero() {
		t.Errorf("%+v was accepted", c)
	}
	if whole := int64(plain.Exp); c.ExpiresAt.Unix() != whole {
		t.Errorf("expires %v, exp is %v", c.ExpiresAt, plain.Exp)
	}
}

// FuzzIssue: whatever an app puts into claims, a token that is issued says that
// and nothing else, to this reader and to encoding/json.
func FuzzIssue(f *testing.F) {
	_, tokens := newAuthor(f, access.HS256, access.Config{})
	f.Add("alice", "sid", "gold", "pwd", "admin", "read", "app", uint64(1), "", false)
	f.Add(`a"b\c`, "\u00e9\u2028", "<&>", "\x7f", "\U0001f600", "a:b", "\ufffd", uint64(1<<53-1), thumbprint, false)
	f.Add("a\x00b", "\xff", `","sub":"root`, `\u0061`, "]", "x", "", uint64(1<<60), thumbprint+"\n", true)
	f.Fuzz(func(t *testing.T, subject, session, acr, amr, role, scope, client string, generation uint64, key string, bound bool) {
		want := access.Claims{
			Subject: subject, SessionID: session, Generation: generation, AuthTime: at, ClientID: client,
			ACR: acr, AMR: []string{amr, "x"}, Roles: []string{role}, Scopes: []string{scope},
			KeyThumbprint: key, DeviceBound: bound,
		}
		token, issued, err := tokens.Issue(want)
		if err != nil {
			return
		}
		c, err := tokens.Verify(token)
		if err != nil {
			t.Fatalf("%+v was issued: %v", want, err)
		}
		consistent(t, token, c)
		for _, got := range []*access.Claims{issued, c} {
			if got.Subject != subject || got.SessionID != session || got.Generation != generation || got.ACR != acr ||
				got.KeyThumbprint != key || got.DeviceBound != (bound || key != "") ||
				client != "" && got.ClientID != client || got.Issuer != issuer ||
				!slices.Equal(got.AMR, want.AMR) || !slices.Equal(got.Roles, want.Roles) || !slices.Equal(got.Scopes, want.Scopes) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

// FuzzKeysFile: nothing panics, and what is read and written again is read as
// the same, and makes a ring or is refused by it.
func FuzzKeysFile(f *testing.F) {
	for _, alg := range []access.Algorithm{access.EdDSA, access.ES256, access.HS256} {
		keys, err := access.GenerateKeys(alg)
		if err != nil {
			f.Fatal(err)
		}
		text, err := keys.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append([]byte("x\n"), text...))
		f.Add(text[:len(text)/2])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := access.ParseKeys(text)
		if err != nil {
			if keys.Signing != nil || keys.Verifying != nil || keys.Secrets != nil {
				t.Error("keys beside an error")
			}
			return
		}
		first, err := keys.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := access.ParseKeys(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("written twice, it differs: %v", err)
		}
		if ring, err := access.NewKeyRing(keys); err == nil && ring.Secrets("x") == nil && len(keys.Secrets) > 0 {
			t.Error("the secrets are gone")
		}
	})
}
