package refresh

import (
	"github.com/sessionkit/sessionkit/access"
)

// What the tests of this package's parsers need of its inside.

// Reencode decodes a token and encodes it again.
func Reencode(tokens *access.Tokens, text string) (string, error) {
	c := newCodec(tokens)
	t, err := c.decode(text)
	if err != nil {
		return "", err
	}
	return c.encode(&t)
}

// NewToken encodes a token of the newest root secret.
func NewToken(tokens *access.Tokens, subject string, generation uint32) (string, error) {
	c := newCodec(tokens)
	t := token{subject: subject, generation: generation}
	id := c.mac.keys()[0].ID
	copy(t.family[:], id[:])
	return c.encode(&t)
}

// SuccessorOf returns the text of a token's successor.
func SuccessorOf(tokens *access.Tokens, text string) (string, error) {
	c := newCodec(tokens)
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

// DeviceLabel is deviceLabel.
func DeviceLabel(ua string) string { return deviceLabel(ua) }

// ParseUserAgent is parseUserAgent.
func ParseUserAgent(ua string) (product, platform string) { return parseUserAgent(ua) }
