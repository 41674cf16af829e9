package cookie

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
)

// minKey is the length of a secret in bytes, at least.
const minKey = 32

// resealAfter is how old a sealed value may grow before Open asks for a new
// one. It is far below the week or so to which some browsers cut lifetimes.
const resealAfter = 24 * time.Hour

// A sealer makes opaque values that only this app can have written. The MAC,
// the envelope and the name that it is bound to are securecookie's. The
// encryption is AES-256-GCM inside of it, with a random nonce: securecookie's
// own mode is CTR, which OWASP ASVS 5.0 Appendix C disallows. 2^32 seals are
// safe under one key.
//
// A sealed value is securecookie's text without the padding that it ends in:
//
//	base64url( time "|" base64url( nonce[12] ciphertext tag[16] ) "|" mac[32] )
//
// time is decimal Unix seconds. mac is the HMAC-SHA-256 of the cookie's full
// name, "|", and all that stands before the last "|". The outer base64url has
// no padding and one spelling. It has no version: a later layout takes another
// key, derived with another label.
type sealer struct {
	keys func() [][]byte

	mu     sync.RWMutex
	from   [][]byte // what codecs were made of
	codecs []*securecookie.SecureCookie
}

// Seal encrypts and authenticates a value for one cookie. It fails with
// ErrTooLarge when the result would not fit into a cookie, and with an error
// that names Config.Keys when that returns no usable secret.
func (j *Jar) Seal(n Name, plain []byte) (string, error) {
	codecs, err := j.sealer.current()
	if err != nil {
		return "", err
	}
	padded, err := codecs[0].Encode(j.full[n], plain)
	value := strings.TrimRight(padded, "=")
	if err != nil || len(j.full[n])+len(value) > maxSize {
		return "", ErrTooLarge
	}
	return value, nil
}

// Open returns what Seal was given for this cookie. renew reports that the
// value should be sealed and set again: it was sealed more than a day ago, or
// with another key than the newest. It fails with ErrSeal, whatever is wrong
// with the value, and with an error that names Config.Keys when that returns no
// usable secret.
func (j *Jar) Open(n Name, value string) (plain []byte, renew bool, err error) {
	if len(value) > maxSize {
		return nil, false, ErrSeal
	}
	// securecookie takes several spellings of one value, and so does base64.
	text, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || base64.RawURLEncoding.EncodeToString(text) != value {
		return nil, false, ErrSeal
	}
	codecs, err := j.sealer.current()
	if err != nil {
		return nil, false, err
	}
	padded := base64.URLEncoding.EncodeToString(text)
	for i, c := range codecs {
		if c.Decode(j.full[n], padded, &plain) == nil {
			return plain, i > 0 || isOld(text), nil
		}
	}
	return nil, false, ErrSeal
}

// isOld tells by the time that an authentic sealed value begins with. A value
// from far in the future was sealed when the clock was wrong, and is old too:
// else it would not be renewed until the clock has caught up.
func isOld(text []byte) bool {
	stamp, _, _ := bytes.Cut(text, []byte("|"))
	seconds, err := strconv.ParseInt(string(stamp), 10, 64)
	return err != nil || time.Since(time.Unix(seconds, 0)).Abs() > resealAfter
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
