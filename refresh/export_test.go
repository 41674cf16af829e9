package refresh

import (
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
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

// ReencodeKeySession decodes a session identifier and encodes it again.
func ReencodeKeySession(tokens *access.Tokens, text string) (string, error) {
	c := newKeyCodec(tokens)
	k, err := c.decode(text)
	if err != nil {
		return "", err
	}
	return c.encode(k), nil
}

// NewKeySession encodes a session identifier of the newest root secret.
func NewKeySession(tokens *access.Tokens, subject, actor string, key []byte) string {
	k := &keySession{key: key, shown: true}
	k.subject, k.actor, k.told = subject, actor, true
	id := newCodec(tokens).mac.keys()[0].ID
	copy(k.family[:], id[:])
	return newKeyCodec(tokens).encode(k)
}

// ReadTicket returns the subject that a ticket names.
func ReadTicket(tokens *access.Tokens, text string) (string, error) {
	t, err := newKeyCodec(tokens).readTicket(text, tokens.Now())
	return t.subject, err
}

// NewTicket encodes a ticket of the newest root secret.
func NewTicket(tokens *access.Tokens, subject string) string {
	t := token{subject: subject}
	id := newCodec(tokens).mac.keys()[0].ID
	copy(t.family[:], id[:])
	return newKeyCodec(tokens).newTicket(&t, tokens.Now())
}

// NewToken encodes a token of the newest root secret.
func NewToken(tokens *access.Tokens, subject string, generation uint32) (string, error) {
	c := newCodec(tokens)
	t := token{subject: subject, generation: generation}
	id := c.mac.keys()[0].ID
	copy(t.family[:], id[:])
	return c.encode(&t)
}

// NewLongToken encodes a token that says all that one can say. Whatever is zero
// is left out.
func NewLongToken(tokens *access.Tokens, subject, actor string, by family.Attempt) (string, error) {
	c := newCodec(tokens)
	t := token{subject: subject, actor: actor, by: by, told: true}
	id := c.mac.keys()[0].ID
	copy(t.family[:], id[:])
	return c.encode(&t)
}

// Sign puts a MAC behind a token's bytes, whatever they say.
func Sign(tokens *access.Tokens, b []byte) []byte {
	c := newCodec(tokens)
	sum := mac(&c.mac.keys()[0], b)
	return append(b, sum[:]...)
}

// SuccessorOf returns the text of a token's successor.
func SuccessorOf(tokens *access.Tokens, text string) (string, error) {
	c := newCodec(tokens)
	t, err := c.decode(text)
	if err != nil {
		return "", err
	}
	next, err := c.successor(&t, t.hash())
	if err != nil {
		return "", err
	}
	return c.encode(&next)
}

// DeviceLabel is deviceLabel.
func DeviceLabel(ua string) string { return deviceLabel(ua) }

// ParseUserAgent is parseUserAgent.
func ParseUserAgent(ua string) (product, platform string) { return parseUserAgent(ua) }

// SubjectKey is the key by which the store knows the subject of a token's family.
func SubjectKey(tokens *access.Tokens, text string) family.Subject {
	c := newCodec(tokens)
	t, _ := c.decode(text)
	key, _ := c.subjectKey(t.subject, t.family)
	return key
}
