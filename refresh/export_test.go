package refresh

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/sessionkit/sessionkit/access"
)

// What the tests of this package's parsers need of its inside.

// Reencode decodes a token and encodes it again.
func Reencode(ring *access.KeyRing, issuer, text string) (string, error) {
	c := newCodec(ring, issuer)
	t, err := c.decode(text)
	if err != nil {
		return "", err
	}
	return c.encode(&t)
}

// NewToken encodes a token of the newest root secret.
func NewToken(ring *access.KeyRing, issuer, subject string, generation uint32) (string, error) {
	c := newCodec(ring, issuer)
	t := token{subject: subject, generation: generation}
	id := c.mac.keys()[0].ID
	copy(t.family[:], id[:])
	return c.encode(&t)
}

// SuccessorOf returns the text of a token's successor.
func SuccessorOf(ring *access.KeyRing, issuer, text string) (string, error) {
	c := newCodec(ring, issuer)
	t, err := c.decode(text)
	if err != nil {
		return "", err
	}
	next, err := c.successor(&t)
	if err != nil {
		return "", err
	}
	return c.encode(&next)
}

// ClientIP is clientIP for a peer and its X-Forwarded-For lines.
func ClientIP(peer string, forwarded []string, trusted ...netip.Prefix) netip.Addr {
	return clientIP(&http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": forwarded}}, trusted)
}

// DeviceLabel is deviceLabel.
func DeviceLabel(ua string) string { return deviceLabel(ua) }

// ParseUserAgent is parseUserAgent.
func ParseUserAgent(ua string) (product, platform string) { return parseUserAgent(ua) }

// ParseParams reads the body of a token request.
func ParseParams(contentType, body string) (refreshToken, grantType string, err error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	p, err := readParams(httptest.NewRecorder(), r)
	return p.refreshToken, p.grantType, err
}
