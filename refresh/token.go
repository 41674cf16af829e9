package refresh

import (
	"crypto/hmac"
	"crypto/rand"
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
//	          device id, and is bound to the user agent instead, 4 the record
//	          has what the claims hook is told, 8 the user has stepped up, 16
//	          somebody acts for the subject
//	16 bytes  family id; its first two bytes name the root secret
//	 4 bytes  generation, big endian
//	32 bytes  secret
//	 6 bytes  with flag 8: the attempt by which the user stepped up
//	 1 byte   with flag 16: the length of
//	 n bytes  who acts for the subject, 1 to 255 bytes of UTF-8
//	 n bytes  subject, 1 to 255 bytes of UTF-8
//	32 bytes  HMAC-SHA256 of all of the above
//
// The MAC is checked before anything else is believed, and before any store
// call: nobody can harm a family by knowing its id (RFC 9700 section 4.14.2).
// A change of the layout takes a new version; readers of a version refuse
// all others.
//
// The secret of generation 0 is random. Each later one is the HMAC of its
// predecessor's hash under a server key. So a token has one successor and no
// other: two instances, a retry, or a store that was rolled back cannot fork a
// family, and whoever reads the store, and has no key, can make no token.
type token struct {
	browser    bool
	noDevice   bool
	told       bool // the record has what the claims hook is told
	family     family.ID
	generation uint32
	secret     [32]byte
	by         family.Attempt // zero: the user has not stepped up
	actor      string
	subject    string
}

const (
	tokenVersion = 1
	tokenHead    = 1 + 1 + 16 + 4 + 32
	flagBrowser  = 1
	flagNoDevice = 2
	flagTold     = 4
	flagStepUp   = 8
	flagActor    = 16
	allFlags     = flagBrowser | flagNoDevice | flagTold | flagStepUp | flagActor
	tokenMAC     = sha256.Size
	maxSubject   = 255
	// maxGeneration is far beyond what one rotation a second reaches in the
	// longest lifetime, and keeps arithmetic on generations from wrapping.
	maxGeneration = 1 << 30
)

// maxTokenText is the length of the longest token as text.
var maxTokenText = base64.RawURLEncoding.EncodedLen(tokenHead + len(family.Attempt{}) + 1 + maxSubject + maxSubject + tokenMAC)

func (t *token) hash() [32]byte { return sha256.Sum256(t.secret[:]) }

// held names the token's session.
func (t *token) held() Held {
	return Held{subject: t.subject, actor: t.actor, family: t.family, generation: t.generation}
}

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
	b := make([]byte, 0, tokenHead+len(t.by)+1+len(t.actor)+len(t.subject)+tokenMAC)
	flags := flag(t.browser, flagBrowser) | flag(t.noDevice, flagNoDevice) | flag(t.told, flagTold) |
		flag(t.by != family.Attempt{}, flagStepUp) | flag(t.actor != "", flagActor)
	b = append(b, tokenVersion, flags)
	b = append(b, t.family[:]...)
	b = binary.BigEndian.AppendUint32(b, t.generation)
	b = append(b, t.secret[:]...)
	if flags&flagStepUp != 0 {
		b = append(b, t.by[:]...)
	}
	if flags&flagActor != 0 {
		b = append(append(b, byte(len(t.actor))), t.actor...)
	}
	b = append(b, t.subject...)
	sum := mac(key, b)
	b = append(b, sum[:]...)
	return base64.RawURLEncoding.EncodeToString(b), nil
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// decode reads and authenticates a token. It has one answer for everything
// that is wrong with one: ErrInvalidToken.
func (c *codec) decode(text string) (token, error) {
	if len(text) > maxTokenText || strings.ContainsAny(text, "\r\n") {
		return token{}, ErrInvalidToken // the decoder would skip line breaks
	}
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) <= tokenHead+tokenMAC || b[0] != tokenVersion || b[1]&^allFlags != 0 {
		return token{}, ErrInvalidToken
	}
	var t token
	t.browser, t.noDevice, t.told = b[1]&flagBrowser != 0, b[1]&flagNoDevice != 0, b[1]&flagTold != 0
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
	if !t.setNames(b[1], body[tokenHead:]) || t.generation > maxGeneration {
		return token{}, ErrInvalidToken
	}
	return t, nil
}

// setNames reads what stands behind the secret. It has one spelling: nothing is
// empty that could have been left out.
func (t *token) setNames(flags byte, b []byte) bool {
	if flags&flagStepUp != 0 {
		if len(b) < len(t.by) {
			return false
		}
		b = b[copy(t.by[:], b):]
		if t.by == (family.Attempt{}) {
			return false
		}
	}
	if flags&flagActor != 0 {
		if len(b) == 0 || b[0] == 0 || len(b) <= int(b[0]) {
			return false
		}
		end := 1 + int(b[0])
		t.actor, b = string(b[1:end]), b[end:]
	}
	t.subject = string(b)
	return t.subject != ""
}

// successor returns the one token that follows t, whose secret has the given
// hash. The secret itself need not be known.
func (c *codec) successor(t *token, hash [32]byte) (token, error) {
	key := c.chain.key(t.family)
	if key == nil {
		return token{}, ErrInvalidToken
	}
	next := *t
	next.generation++
	next.secret = mac(key, t.family[:], binary.BigEndian.AppendUint32(nil, next.generation), hash[:])
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

// newAttempt names one call of the store. It is never zero, which is how a
// record says that it does not know.
func newAttempt() (a family.Attempt) {
	for a == (family.Attempt{}) {
		rand.Read(a[:])
	}
	return a
}
