package access_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
)

func serve(ring *access.KeyRing, method string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	ring.JWKS().ServeHTTP(rec, httptest.NewRequest(method, "/.well-known/jwks.json", nil))
	return rec
}

func TestJWKSPublishesPublicMembersAlone(t *testing.T) {
	common := []string{"alg", "kid", "kty", "use"}
	want := map[access.Algorithm][]string{
		access.EdDSA: {"crv", "x"}, access.ES256: {"crv", "x", "y"}, access.PS256: {"e", "n"}, access.RS256: {"e", "n"},
	}
	for alg, members := range want {
		key := newKey(t, alg, materials()[alg])
		var set struct{ Keys []map[string]string }
		rec := serve(newRing(t, access.Keys{Signing: key}), "GET")
		if err := json.Unmarshal(rec.Body.Bytes(), &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%s: %v: %s", alg, err, rec.Body)
		}
		jwk := set.Keys[0]
		if got, want := slices.Sorted(maps.Keys(jwk)), slices.Sorted(slices.Values(append(members, common...))); !slices.Equal(got, want) {
			t.Errorf("%s: members %v, want %v", alg, got, want)
		}
		if jwk["kid"] != key.ID() || jwk["alg"] != string(alg) || jwk["use"] != "sig" {
			t.Errorf("%s: %v", alg, jwk)
		}
		for name, v := range jwk {
			if strings.ContainsAny(v, "=+/ ") && name != "kid" {
				t.Errorf("%s: %s is not base64url: %q", alg, name, v)
			}
		}
	}
}

func TestJWKSListsTheRingInOrder(t *testing.T) {
	ed, ec, hs := newKey(t, access.EdDSA, materials()[access.EdDSA]), newKey(t, access.ES256, materials()[access.ES256]), newKey(t, access.HS256, materials()[access.HS256])
	ring := newRing(t, access.Keys{Signing: hs, Verifying: []*access.Key{ed, ec}})
	ids := func() []string {
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal(serve(ring, "GET").Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		all := []string{}
		for _, k := range set.Keys {
			all = append(all, k.Kid)
		}
		return all
	}
	if got := ids(); !slices.Equal(got, []string{ed.ID(), ec.ID()}) {
		t.Errorf("got %v: HMAC keys are never listed", got)
	}
	if err := ring.Replace(access.Keys{Signing: ec}); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{ec.ID()}) {
		t.Errorf("after Replace: %v", got)
	}
}

func TestJWKSWithoutPublicKeys(t *testing.T) {
	for name, ring := range map[string]*access.KeyRing{
		"HMAC alone": newRing(t, access.Keys{Signing: newKey(t, access.HS256, materials()[access.HS256])}),
		"zero ring":  new(access.KeyRing),
	} {
		if got := serve(ring, "GET").Body.String(); got != `{"keys":[]}` {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestJWKSAnswers(t *testing.T) {
	ring := newRing(t, access.Keys{Signing: newKey(t, access.EdDSA, materials()[access.EdDSA])})
	srv := httptest.NewServer(ring.JWKS())
	defer srv.Close()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
		req, _ := http.NewRequest(method, srv.URL, nil)
		req.Header.Set("Origin", "https://elsewhere.example")
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		h := resp.Header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", method, h)
		}
		if method != "GET" && method != "HEAD" {
			if resp.StatusCode != http.StatusMethodNotAllowed || h.Get("Allow") != "GET, HEAD" || h.Get("Content-Type") != "application/json" || !json.Valid(body) {
				t.Errorf("%s: %d %v %s", method, resp.StatusCode, h, body)
			}
			continue
		}
		if resp.StatusCode != 200 || h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" || resp.ContentLength <= 0 {
			t.Errorf("%s: %d %v", method, resp.StatusCode, h)
		}
		if (method == "GET") != (len(body) > 0) {
			t.Errorf("%s: body of %d bytes", method, len(body))
		}
	}
}
