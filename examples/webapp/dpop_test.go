package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// phone is a native client with a key of its own.
type phone struct {
	*browser
	key *ecdsa.PrivateKey
}

func newPhone(t *testing.T, base string) *phone {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &phone{newBrowser(t, base), key}
}

// proof makes a proof for one request (RFC 9449 section 4.2).
func (p *phone) proof(method, path, token string) string {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		p.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": p.base + path, "iat": time.Now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = text(hash[:])
	}
	header, _ := json.Marshal(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]string{
		"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:]),
	}})
	body, _ := json.Marshal(claims)
	signed := text(header) + "." + text(body)
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, hash[:])
	if err != nil {
		p.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return "DPoP: " + signed + "." + text(sig)
}

func (p *phone) login() (pair pair) {
	p.t.Helper()
	a := p.want(200, "", "POST", "/login", `{"username":"bob","password":"builder","transport":"body"}`, p.proof("POST", "/login", ""))
	if a.member("token_type") != "DPoP" {
		p.t.Fatal(a)
	}
	return a.pair(p.t)
}

func (p *phone) get(status int, code, method, path, body, token string) *answer {
	p.t.Helper()
	return p.want(status, code, method, path, body, "Authorization: DPoP "+token, p.proof(method, path, token))
}

func TestANativeClientIsBoundToItsKey(t *testing.T) {
	t.Parallel()
	p := newPhone(t, serveDemo(t))
	first := p.login()
	p.get(200, "", "GET", "/api/me", "", first.AccessToken)
	p.get(200, "", "GET", "/api/public", "", first.AccessToken)
	p.get(403, "insufficient_scope", "GET", "/api/admin", "", first.AccessToken)
	p.want(401, "invalid_token", "GET", "/api/me", "", "Authorization: Bearer "+first.AccessToken)
	p.want(401, "invalid_dpop_proof", "GET", "/api/me", "", "Authorization: DPoP "+first.AccessToken)
	again := p.get(200, "", "POST", "/api/reauthenticate", `{"password":"builder"}`, first.AccessToken)
	if again.member("token_type") != "DPoP" {
		t.Error(again)
	}
	next := again.pair(t)
	p.get(200, "", "POST", "/api/transfer", "", next.AccessToken)
	if a := p.get(200, "", "GET", "/auth/sessions", "", next.AccessToken); !strings.Contains(a.text, `"device_bound":true`) {
		t.Error(a)
	}
	if a := p.get(200, "", "GET", "/auth/session", "", next.AccessToken); !strings.Contains(a.text, `"device_bound":true`) {
		t.Error(a)
	}
	form := "grant_type=refresh_token&refresh_token=" + next.RefreshToken
	p.want(400, "invalid_dpop_proof", "POST", "/auth/token/refresh", form)
	a := p.want(200, "", "POST", "/auth/token/refresh", form, p.proof("POST", "/auth/token/refresh", ""))
	if a.member("token_type") != "DPoP" {
		t.Error(a)
	}
	p.get(204, "", "POST", "/auth/logout-all", "", next.AccessToken)
	p.get(401, "invalid_token", "GET", "/api/me", "", next.AccessToken)
}

// TestProofsOnTwoInstances: a refresh takes a proof once, whichever instance it
// comes to; a token is bound on all of them.
func TestProofsOnTwoInstances(t *testing.T) {
	t.Parallel()
	redis := "redis://" + redistest.Start(t).Addr
	keys := filepath.Join(t.TempDir(), "keys.json")
	one, two := serveDemo(t, "-redis", redis, "-keys", keys), serveDemo(t, "-redis", redis, "-keys", keys)
	p := newPhone(t, one)
	tokens := p.login()
	other := &phone{p.clone(two), p.key}
	other.get(200, "", "GET", "/api/me", "", tokens.AccessToken)
	other.want(401, "invalid_token", "GET", "/api/me", "", "Authorization: Bearer "+tokens.AccessToken)
	body := fmt.Sprintf(`{"refresh_token":%q}`, tokens.RefreshToken)
	elsewhere := p.proof("POST", "/auth/token/refresh", "")
	other.want(400, "invalid_dpop_proof", "POST", "/auth/token/refresh", body, elsewhere) // made for the first
	proof := other.proof("POST", "/auth/token/refresh", "")
	other.want(200, "", "POST", "/auth/token/refresh", body, proof)
	other.want(400, "invalid_dpop_proof", "POST", "/auth/token/refresh", body, proof)
	p.want(200, "", "POST", "/auth/token/refresh", body, elsewhere)
	p.get(204, "", "POST", "/auth/logout", "", tokens.AccessToken)
	redistest.Await(t, 10*time.Second, "the other instance hears of the logout", func() bool {
		a := other.do("GET", "/api/me", "", "Authorization: DPoP "+tokens.AccessToken, other.proof("GET", "/api/me", tokens.AccessToken))
		return a.StatusCode == 401
	})
}
