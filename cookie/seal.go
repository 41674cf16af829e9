package cookie

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"

	"github.com/gorilla/securecookie"
)

// minKey is the length of a secret in bytes, at least.
const minKey = 32

// base64URL is the outer spelling of securecookie values.
var base64URL = base64.URLEncoding.Strict()

// A sealer makes opaque values that only this app can have written. The MAC,
// the envelope and the name that it is bound to are securecookie's. The
// encryption is AES-256-GCM inside of it, with a random nonce: securecookie's
// own mode is CTR, which OWASP ASVS 5.0 Appendix C disallows. 2^32 seals are
// safe under one key.
type sealer struct {
	keys func() [][]byte

	mu     sync.RWMutex
	from   [][]byte // what codecs were made of
	codecs []*securecookie.SecureCookie
}

// Seal encrypts and authenticates a value for one cookie. It fails with
// ErrTooLarge when the result would not fit.
func (j *Jar) Seal(n Name, plain []byte) (string, error) {
	codecs, err := j.sealer.current()
	if err != nil {
		return "", err
	}
	value, err := codecs[0].Encode(j.full[n], plain)
	if err != nil || len(j.full[n])+len(value) > maxSize {
		return "", ErrTooLarge
	}
	return value, nil
}

// Open returns what Seal was given for this cookie. stale reports that the
// value was sealed with another key than the newest, and should be sealed
// anew. It fails with ErrSeal, whatever is wrong.
func (j *Jar) Open(n Name, value string) (plain []byte, stale bool, err error) {
	// securecookie takes several spellings of one value.
	if len(value) > maxSize || !isCanonical(value) {
		return nil, false, ErrSeal
	}
	codecs, err := j.sealer.current()
	if err != nil {
		return nil, false, err
	}
	for i, c := range codecs {
		if c.Decode(j.full[n], value, &plain) == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrSeal
}

func isCanonical(value string) bool {
	b, err := base64URL.DecodeString(value)
	return err == nil && base64URL.EncodeToString(b) == value
}

// current returns the codecs of the current keys, newest first.
func (s *sealer) current() ([]*securecookie.SecureCookie, error) {
	keys := s.keys()
	s.mu.RLock()
	same, codecs := equalKeys(keys, s.from), s.codecs
	s.mu.RUnlock()
	if same && len(codecs) > 0 {
		return codecs, nil
	}
	codecs = make([]*securecookie.SecureCookie, 0, len(keys))
	from := make([][]byte, 0, len(keys))
	for _, k := range keys {
		c, err := newCodec(k)
		if err != nil {
			return nil, err
		}
		codecs, from = append(codecs, c), append(from, bytes.Clone(k))
	}
	if len(codecs) == 0 {
		return nil, errors.New("cookie: Config.Keys returned no secret")
	}
	s.mu.Lock()
	s.from, s.codecs = from, codecs
	s.mu.Unlock()
	return codecs, nil
}

func equalKeys(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func newCodec(secret []byte) (*securecookie.SecureCookie, error) {
	if len(secret) < minKey {
		return nil, errors.New("cookie: Config.Keys returned a secret of less than 32 bytes")
	}
	mac, err := hkdf.Key(sha256.New, secret, nil, "sessionkit cookie mac", 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "sessionkit cookie encryption", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	// securecookie would let values expire after 30 days; how long a cookie
	// lives is Set's business.
	return securecookie.New(mac, nil).MaxAge(0).MaxLength(maxSize).SetSerializer(gcm{aead}), nil
}

// gcm is a securecookie.Serializer of byte slices that encrypts.
type gcm struct{ aead cipher.AEAD }

// Serialize implements securecookie.Serializer.
func (g gcm) Serialize(src any) ([]byte, error) {
	plain, ok := src.([]byte)
	if !ok {
		return nil, ErrSeal
	}
	return g.aead.Seal(nil, nil, plain, nil), nil
}

// Deserialize implements securecookie.Serializer.
func (g gcm) Deserialize(sealed []byte, dst any) error {
	out, ok := dst.(*[]byte)
	if !ok {
		return ErrSeal
	}
	plain, err := g.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return ErrSeal
	}
	*out = plain
	return nil
}
