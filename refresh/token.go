package refresh

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A refresh token is, in base64url without padding,
//
//	 1 byte   version, 1
//	 1 byte   flags: 1 the login ends with its browser, 2 it came without a
//	          device id, and is bound to the user agent instead
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
	browser    bool
	noDevice   bool
	family     family.ID
	generation uint32
	secret     [32]byte
	subject    string
}

const (
	tokenVersion = 1
	tokenHead    = 1 + 1 + 16 + 4 + 32
	flagBrowser  = 1
	flagNoDevice = 2
	tokenMAC     = sha256.Size
	maxSubject   = 255
	// maxGeneration is far beyond what one rotation a second reaches in the
	// longest lifetime, and keeps arithmetic on generations from wrapping.
	maxGeneration = 1 << 30
)

// maxTokenText is the length of the longest token as text.
var maxTokenText = base64.RawURLEncoding.EncodedLen(tokenHead + maxSubject + tokenMAC)

func (t *token) hash() [32]byte { return sha256.Sum256(t.secret[:]) }

// A codec makes and reads the tokens of one service.
type codec struct{ mac, chain, subject, fingerprint, browser purpose }

// newCodec derives every key for the issuer and the audience: a family belongs
// to one service, whatever else shares its key ring and its store.
func newCodec(tokens *access.Tokens) *codec {
	c := new(codec)
	for name, p := range map[string]*purpose{
		"refresh token mac": &c.mac, "refresh token chain": &c.chain, "subject key": &c.subject,
		"fingerprint": &c.fingerprint, "browser key": &c.browser,
	} {
		p.ring, p.name = tokens.Keys(), "sessionkit v1 "+name+"\x00"+tokens.Issuer()+"\x00"+tokens.Audience()
	}
	return c
}

// A purpose is what keys are derived for. They follow the ring, so that root
// secrets can be replaced at run time.
type purpose struct {
	ring    *access.KeyRing
	name    string
	current atomic.Pointer[[]key]
}

// keys returns a key for each root secret, newest first.
func (p *purpose) keys() []key {
	secrets := p.ring.Secrets(p.name)
	if len(secrets) == 0 {
		return nil
	}
	// The ring returns the same slice until it is replaced.
	if known := p.current.Load(); known != nil && (*known)[0].Secret == &secrets[0] {
		return *known
	}
	keys := make([]key, len(secrets))
	for i := range secrets {
		keys[i].Secret = &secrets[i]
	}
	p.current.Store(&keys)
	return keys
}

// key returns the key of the root secret that id names, or nil when that
// secret is no longer in the ring.
func (p *purpose) key(id family.ID) *key {
	keys := p.keys()
	for i := range keys {
		if keys[i].ID == [2]byte(id[:2]) {
			return &keys[i]
		}
	}
	return nil
}

// A key makes MACs. It keeps hashes that the secret is in already, since
// putting it there takes as long as the MAC of a token.
type key struct {
	*access.Secret
	hashes sync.Pool // of *keyedHash
}

type keyedHash struct {
	hash.Hash
	message []byte // so that the caller's needs no memory of its own
	sum     [sha256.Size]byte
}

// mac returns HMAC-SHA256 of the parts, joined, under the key (RFC 2104).
func mac[T string | []byte](k *key, parts ...T) [sha256.Size]byte {
	h, ok := k.hashes.Get().(*keyedHash)
	if !ok {
		h = &keyedHash{Hash: hmac.New(sha256.New, k.Key[:])}
	}
	h.message = h.message[:0]
	for _, p := range parts {
		h.message = append(h.message, p...)
	}
	h.Reset()
	h.Write(h.message)
	h.Sum(h.sum[:0])
	sum := h.sum
	k.hashes.Put(h)
	return sum
}

// encode returns the token as text.
func (c *codec) encode(t *token) (string, error) {
	key := c.mac.key(t.family)
	if key == nil {
		return "", ErrInvalidToken
	}
	b := make([]byte, 0, tokenHead+len(t.subject)+tokenMAC)
	var flags byte
	if t.browser {
		flags |= flagBrowser
	}
	if t.noDevice {
		flags |= flagNoDevice
	}
	b = append(b, tokenVersion, flags)
	b = append(b, t.family[:]...)
	b = binary.BigEndian.AppendUint32(b, t.generation)
	b = append(b, t.secret[:]...)
	b = append(b, t.subject...)
	sum := mac(key, b)
	b = append(b, sum[:]...)
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// decode reads and authenticates a token. It has one answer for everything
// that is wrong with one: ErrInvalidToken.
func (c *codec) decode(text string) (token, error) {
	if len(text) > maxTokenText || strings.ContainsAny(text, "\r\n") {
		return token{}, ErrInvalidToken // the decoder would skip line breaks
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) <= tokenHead+tokenMAC || b[0] != tokenVersion || b[1]&^(flagBrowser|flagNoDevice) != 0 {
		return token{}, ErrInvalidToken
	}
	var t token
	t.browser, t.noDevice = b[1]&flagBrowser != 0, b[1]&flagNoDevice != 0
	copy(t.family[:], b[2:])
	body, sum := b[:len(b)-tokenMAC], b[len(b)-tokenMAC:]
	key := c.mac.key(t.family)
	if key == nil {
		return token{}, ErrInvalidToken
	}
	if want := mac(key, body); !hmac.Equal(sum, want[:]) {
		return token{}, ErrInvalidToken
	}
	t.generation = binary.BigEndian.Uint32(b[18:])
	copy(t.secret[:], b[22:])
	t.subject = string(body[tokenHead:])
	if t.generation > maxGeneration {
		return token{}, ErrInvalidToken
	}
	return t, nil
}

// successor returns the one token that follows t.
func (c *codec) successor(t *token) (token, error) {
	key := c.chain.key(t.family)
	if key == nil {
		return token{}, ErrInvalidToken
	}
	next := *t
	next.generation++
	next.secret = mac(key, t.family[:], binary.BigEndian.AppendUint32(nil, next.generation), t.secret[:])
	return next, nil
}

// subjectKey returns the subject's key under the root secret that id names.
// It returns false when that secret is no longer in the ring.
func (c *codec) subjectKey(subject string, id family.ID) (family.Subject, bool) {
	key := c.subject.key(id)
	if key == nil {
		return family.Subject{}, false
	}
	return hashSubject(key, subject), true
}

// subjectKeys returns the subject's key under every root secret, newest first.
func (c *codec) subjectKeys(subject string) []family.Subject {
	all := c.subject.keys()
	keys := make([]family.Subject, len(all))
	for i := range all {
		keys[i] = hashSubject(&all[i], subject)
	}
	return keys
}

// browserKey returns the constant that a browser shows beside the tokens of a
// login that ends with it; empty when the family's root secret left the ring.
func (c *codec) browserKey(id family.ID) string {
	key := c.browser.key(id)
	if key == nil {
		return ""
	}
	sum := mac(key, id[:])
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func hashSubject(key *key, subject string) family.Subject {
	sum := mac(key, subject)
	return family.Subject(sum[:16])
}

func checkSubject(subject string) error {
	if subject == "" || len(subject) > maxSubject || !utf8.ValidString(subject) || strings.ContainsFunc(subject, unicode.IsControl) {
		return ErrSubject
	}
	return nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

func equal(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

func equalText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
