package access

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// JWKS serves the ring's public keys as a JWK set (RFC 7517 section 5), for
// services that verify tokens by themselves. HMAC keys are never listed. It
// answers GET and HEAD, from any origin, and may be cached for five minutes:
// put a new key into Verifying at least that long before it signs.
func (r *KeyRing) JWKS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Access-Control-Allow-Origin", "*")
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			h.Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusMethodNotAllowed)
			w.Write([]byte(`{"error":"invalid_request","error_description":"This resource does not support the method."}` + "\n"))
			return
		}
		body, err := r.jwks()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
}

func (r *KeyRing) jwks() ([]byte, error) {
	set := struct {
		Keys []map[string]string `json:"keys"`
	}{Keys: []map[string]string{}}
	var order []*Key
	if s := r.state.Load(); s != nil {
		order = s.order
	}
	for _, k := range order {
		if k.alg == HS256 {
			continue
		}
		jwk, err := publicJWK(k.alg, k.public)
		if err != nil {
			return nil, err
		}
		jwk["kid"], jwk["alg"], jwk["use"] = k.id, string(k.alg), "sig"
		set.Keys = append(set.Keys, jwk)
	}
	return json.Marshal(set)
}
