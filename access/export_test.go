package access

import (
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// The only door of the tests to what is not exported.

const (
	MaxToken   = maxToken
	MaxDepth   = maxDepth
	MaxMembers = maxMembers
	EntryBytes = entryBytes
	BoundBytes = boundBytes
)

// ScanObject is scanObject.
func ScanObject(text string, visit func(name, raw string) error) error {
	return scanObject(text, visit)
}

// SignatureHolds reports whether a compact JWS, of whatever type and content,
// names the key's algorithm and has a signature by it: the steps of verify as
// far as the signature, without the rules for the header of an access token.
func (k *Key) SignatureHolds(token string) bool {
	header, body, signature, ok := split(token)
	if !ok {
		return false
	}
	text, err := strictBase64.DecodeString(header)
	if err != nil {
		return false
	}
	alg := ""
	if err := scanObject(string(text), func(name, raw string) error {
		if name == "alg" {
			alg, _ = stringValue(raw)
		}
		return nil
	}); err != nil || alg != string(k.alg) {
		return false
	}
	sig, err := strictBase64.DecodeString(signature)
	if err != nil {
		return false
	}
	if _, err := strictBase64.DecodeString(body); err != nil {
		return false
	}
	return k.method.Verify(token[:len(header)+1+len(body)], sig, k.public) == nil
}

// AnySecret is NewKey for HS256 without a look at how random the secret is.
func AnySecret(secret []byte) *Key {
	k := &Key{alg: HS256, id: "any", method: jwt.SigningMethodHS256, public: secret, signer: secret}
	k.header = encodeHeader(k.alg, k.id)
	return k
}

// LoadKeys is loadKeys.
func LoadKeys(path string) (Keys, error) { return loadKeys(path) }

// Algorithm returns the one algorithm that the key is used with.
func (k *Key) Algorithm() Algorithm { return k.alg }

// CanSign is canSign.
func (k *Key) CanSign() bool { return k.canSign() }

func (k Keys) Encode() ([]byte, error) { return k.encode() }

// Cached returns how many tokens the cache counts, how many bytes, and how
// many there are.
func (t *Tokens) Cached() (entries, bytes int64, there int) {
	if t.cache == nil {
		return 0, 0, 0
	}
	for i := range t.cache.shard {
		s := &t.cache.shard[i]
		s.mu.RLock()
		there += len(s.young.tokens) + len(s.old.tokens)
		s.mu.RUnlock()
	}
	return t.cache.entries.Load(), t.cache.bytes.Load(), there
}

// DeviceThumbprint is the thumbprint of a DBSCProof with the key.
func DeviceThumbprint(alg Algorithm, der []byte) ([32]byte, error) {
	public, err := parseDeviceKey(alg, der)
	if err != nil {
		return [32]byte{}, err
	}
	p, err := newDBSCProof(alg, "c", public)
	return p.Thumbprint, err
}

// SameURL is sameURL.
func SameURL(a, b string) bool { return sameURL(a, b) }

// OriginOf is the origin of a URL as the standard library reads it.
func OriginOf(t testing.TB, text string) string {
	u, err := url.Parse(strings.TrimRight(strings.SplitN(text, "#", 2)[0], "%"))
	if err != nil {
		t.Skip() // it refuses more escapes, and fewer spaces
	}
	port := u.Port()
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
func (r *KeyRing) Reload() (bool, error) { return r.reload() }

func (r *KeyRing) Holds(keys Keys) bool { return r.holds(keys) }
