package bench

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// Floor is the least that a net/http middleware can do for a token it has seen
// before: read the header by hand, look the token up in a plain map that is
// replaced as a whole, compare the expiry, look the session up among those
// revoked, and put the claims into the request's context.
type Floor struct {
	seen    atomic.Pointer[map[string]*access.Claims]
	revoked atomic.Pointer[map[string]struct{}]
	cookie  string
	next    http.Handler
}

// NewFloor returns a Floor that has seen the tokens.
func NewFloor(seen map[string]*access.Claims, cookie string, next http.Handler) *Floor {
	f := &Floor{cookie: cookie + "=", next: next}
	own := make(map[string]*access.Claims, len(seen))
	for token, c := range seen {
		own[strings.Clone(token)] = c // as in life, not the request's own bytes
	}
	f.seen.Store(&own)
	f.revoked.Store(&map[string]struct{}{})
	return f
}

type floorKey struct{}

// ServeHTTP answers 401, or calls the next handler.
func (f *Floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := (*f.seen.Load())[f.token(r)]
	if c == nil || !time.Now().Before(c.ExpiresAt) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if _, gone := (*f.revoked.Load())[c.SessionID]; gone {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	f.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), floorKey{}, c)))
}

func (f *Floor) token(r *http.Request) string {
	if values := r.Header["Authorization"]; len(values) == 1 {
		token, _ := strings.CutPrefix(values[0], "Bearer ")
		return token
	}
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, "; ")
			if token, ok := strings.CutPrefix(pair, f.cookie); ok {
				return token
			}
		}
	}
	return ""
}
