package middleware

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// harden sets the headers that every response of the kit carries: no cache
// keeps it, no browser renders it and no frame holds it.
func harden(h http.Header) {
	noStore(h)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// noStore keeps a response that carries or sets a token out of every cache
// (RFC 6749 section 5.1): also those that prefer a header of their own, or one
// for a class of caches, to Cache-Control (RFC 9213).
func noStore(h http.Header) {
	for name := range h {
		if speaksToCaches(name) {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// cacheHeaders are the names that shared caches rank above Cache-Control and
// that do not end in it (nginx, Varnish and Fastly, Akamai, caches of HTTP/1.0), and
// itself.
var cacheHeaders = [...]string{"Cache-Control", "Pragma", "X-Accel-Expires", "Surrogate-Control", "Edge-Control", "Expires"}

// speaksToCaches also finds a name that somebody put into the map by hand: net/http
// sends it as it is.
func speaksToCaches(name string) bool {
	const suffix = "-Cache-Control"
	if n := len(name) - len(suffix); n >= 0 && strings.EqualFold(name[n:], suffix) {
		return true
	}
	return slices.ContainsFunc(cacheHeaders[:], func(h string) bool { return strings.EqualFold(h, name) })
}

// writeJSON writes v with the given status.
func writeJSON(w http.ResponseWriter, status int, v any) {
	harden(w.Header())
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

func noContent(w http.ResponseWriter) {
	harden(w.Header())
	w.WriteHeader(http.StatusNoContent)
}

// refuseJSON is the default of Config.Refuse.
func refuseJSON(w http.ResponseWriter, _ *http.Request, f Refusal) {
	writeJSON(w, f.Status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{f.Code, f.Description})
}
