package middleware

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// What the tests of this package's parsers need of its inside.

// ClientIP is the client's address for a peer and its X-Forwarded-For lines.
func ClientIP(peer string, forwarded []string, trusted ...netip.Prefix) netip.Addr {
	return clientIP{trusted: trusted}.of(&http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": forwarded}})
}

// ParseParams reads the body of a token request.
func ParseParams(contentType, body string) (refreshToken, grantType string, err error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	p, err := readParams(httptest.NewRecorder(), r)
	return p.refreshToken, p.grantType, err
}

// NewUsedProofs returns a new memory's way to accept proofs.
func NewUsedProofs() func(access.DPoPProof, time.Time) error { return new(usedProofs).add }
