package refresh

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
)

// A refresh token is, in base64url without padding,
//
//	 1 byte   version, 1
//	16 bytes  family id; its first two bytes name the root secret
//	 4 bytes  generation, big endian
//	32 bytes  secret
//	 n bytes  subject, 1 to 255 bytes of UTF-8
//	32 bytes  HMAC-SHA256 of all of the above
//
// The MAC is checked before anything else is believed, and before any store
// call: nobody can harm a family by knowing its id (RFC 9700 section 4.14.2).
// A change of the layout takes a new version; readers of a version refuse
// all others.
//
// The secret of generation 0 is random. Each later one is the HMAC of its
// predecessor under a server key. So a token has one successor and no other:
// two instances, a retry, or a store that was rolled back cannot fork a
// family, and the store holds nothing from which a token could be made.
type token struct {
	family     FamilyID
	generation uint32
	secret     [32]byte
	subject    string
}

const (
	tokenVersion = 1
	tokenHead    = 1 + 16 + 4 + 32
	tokenMAC     = sha256.Size
	maxSubject   = 255
	// maxGeneration is far beyond what one rotation a second reaches in the
	// longest lifetime, and keeps arithmetic on generations from wrapping.
	maxGeneration = 1 << 30
)

// maxTokenText is the length of the longest token as text.
var maxTokenText = base64.RawURLEncoding.EncodedLen(tokenHead + maxSubject + tokenMAC)

func (t *token) hash() [32]byte { return sha256.Sum256(t.secret[:]) }

// A codec makes and reads tokens of one issuer. Its keys are derived from the
// ring at each use, so that root secrets can be replaced at run time.
type codec struct {
	ring                             *access.KeyRing
	mac, chain, subject, fingerprint string // purposes of derived keys
}

func newCodec(ring *access.KeyRing, issuer string) *codec {
	purpose := func(name string) string { return "sessionkit v1 " + name + " " + issuer }
	return &codec{
		ring:        ring,
		mac:         purpose("refresh token mac"),
		chain:       purpose("refresh token chain"),
		subject:     purpose("subject key"),
		fingerprint: purpose("fingerprint"),
	}
}

// key returns the key derived for purpose from the root secret that id names,
// or nil when that secret is no longer in the ring.
func (c *codec) key(purpose string, id FamilyID) *[32]byte {
	secrets := c.ring.Secrets(purpose)
	for i := range secrets {
		if secrets[i].ID == [2]byte(id[:2]) {
			return &secrets[i].Key
		}
	}
	return nil
}

// encode returns the token as text.
func (c *codec) encode(t *token) (string, error) {
	key := c.key(c.mac, t.family)
	if key == nil {
		return "", ErrInvalidToken
	}
	b := make([]byte, 0, tokenHead+len(t.subject)+tokenMAC)
	b = append(b, tokenVersion)
	b = append(b, t.family[:]...)
	b = binary.BigEndian.AppendUint32(b, t.generation)
	b = append(b, t.secret[:]...)
	b = append(b, t.subject...)
	b = appendMAC(b, key, b)
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// decode reads and authenticates a token. It has one answer for everything
// that is wrong with one: ErrInvalidToken.
func (c *codec) decode(text string) (token, error) {
	if len(text) > maxTokenText || strings.ContainsAny(text, "\r\n") {
		return token{}, ErrInvalidToken // the decoder would skip line breaks
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) <= tokenHead+tokenMAC || b[0] != tokenVersion {
		return token{}, ErrInvalidToken
	}
	var t token
	copy(t.family[:], b[1:])
	body, mac := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	key := c.key(c.mac, t.family)
	if key == nil || !hmac.Equal(mac, appendMAC(nil, key, body)) {
		return token{}, ErrInvalidToken
	}
	t.generation = binary.BigEndian.Uint32(b[17:])
	copy(t.secret[:], b[21:])
	t.subject = string(body[tokenHead:])
	if t.generation > maxGeneration {
		return token{}, ErrInvalidToken
	}
	return t, nil
}

// successor returns the one token that follows t.
func (c *codec) successor(t *token) (token, error) {
	key := c.key(c.chain, t.family)
	if key == nil {
		return token{}, ErrInvalidToken
	}
	next := *t
	next.generation++
	m := make([]byte, 0, len(t.family)+4+len(t.secret))
	m = append(m, t.family[:]...)
	m = binary.BigEndian.AppendUint32(m, next.generation)
	m = append(m, t.secret[:]...)
	appendMAC(next.secret[:0], key, m)
	return next, nil
}

// subjectKey returns the subject's key under the root secret that id names.
// It returns false when that secret is no longer in the ring.
func (c *codec) subjectKey(subject string, id FamilyID) (SubjectKey, bool) {
	key := c.key(c.subject, id)
	if key == nil {
		return SubjectKey{}, false
	}
	return hashSubject(key, subject), true
}

// subjectKeys returns the subject's key under every root secret, newest first.
func (c *codec) subjectKeys(subject string) []SubjectKey {
	secrets := c.ring.Secrets(c.subject)
	keys := make([]SubjectKey, len(secrets))
	for i := range secrets {
		keys[i] = hashSubject(&secrets[i].Key, subject)
	}
	return keys
}

func hashSubject(key *[32]byte, subject string) (k SubjectKey) {
	copy(k[:], appendMAC(nil, key, []byte(subject)))
	return k
}

// appendMAC appends HMAC-SHA256(key, message) to dst.
func appendMAC(dst []byte, key *[32]byte, message []byte) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write(message)
	return m.Sum(dst)
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubject || !utf8.ValidString(subject) || strings.ContainsFunc(subject, unicode.IsControl) {
		return ErrSubject
	}
	return nil
}
