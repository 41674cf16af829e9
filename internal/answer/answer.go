// Package answer writes the kit's own HTTP responses, all in one form: JSON
// that no cache keeps, no browser renders and no frame holds, with the error
// members of RFC 6749 section 5.2.
package answer

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Harden sets the headers that every response of the kit carries.
func Harden(h http.Header) {
	NoStore(h)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// NoStore keeps a response that carries or sets a token out of every cache
// (RFC 6749 section 5.1).
func NoStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// JSON writes v with the given status.
func JSON(w http.ResponseWriter, status int, v any) {
	Harden(w.Header())
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// Error writes an error response. The description is shown to clients: it is
// one of our own sentences, never the text of an error.
func Error(w http.ResponseWriter, status int, code, description string) {
	JSON(w, status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
}

// NoContent writes 204.
func NoContent(w http.ResponseWriter) {
	Harden(w.Header())
	w.WriteHeader(http.StatusNoContent)
}

// Allow answers 405 unless the request has one of the methods.
func Allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	Error(w, http.StatusMethodNotAllowed, "invalid_request", "This resource does not support the method.")
	return false
}
