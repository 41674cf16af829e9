package access

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// A KeyRing holds the keys in use. Make it with NewKeyRing; the zero KeyRing
// has none. It is safe for concurrent use, and can be replaced while tokens
// are issued and verified.
type KeyRing struct {
	state atomic.Pointer[ringState]
	file  *keysFile // nil: the keys came from elsewhere
}

// ringState is one immutable set of keys. Whatever is remembered about tokens
// names the state that it holds under.
type ringState struct {
	signing *Key
	keys    map[string]*Key // by ID
	order   []*Key          // signing key first
	roots   [][]byte
	ids     [][2]byte
	derived sync.Map // purpose -> []Secret
}

// A Secret is a key derived from one root secret for one purpose.
type Secret struct {
	// ID is the public name of the root secret, the same for every purpose.
	ID  [2]byte
	Key [32]byte
}

// NewKeyRing returns a ring, or an error that says why the keys cannot be one: no signing key,
// the same key twice, a weak root secret.
func NewKeyRing(keys Keys) (*KeyRing, error) {
	r := new(KeyRing)
	if err := r.Replace(keys); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace puts other keys into the ring. Tokens of a key that is no longer
// there fail from the next Verify on. On an error the ring stays as it is.
func (r *KeyRing) Replace(keys Keys) error {
	if keys.Signing == nil || !keys.Signing.canSign() {
		return errors.New("access: Keys.Signing is missing or only verifies: supply a private key, or use GenerateKeys")
	}
	s := &ringState{signing: keys.Signing, keys: make(map[string]*Key), order: append([]*Key{keys.Signing}, keys.Verifying...)}
	for _, k := range s.order {
		if k == nil {
			return errors.New("access: Keys.Verifying holds nil")
		}
		if s.keys[k.id] != nil {
			return errors.New("access: Keys holds a key twice: each key has one algorithm and one place")
		}
		s.keys[k.id] = k
	}
	for _, root := range keys.Secrets {
		if err := checkSecret(root); err != nil {
			return err
		}
		// The salt keeps the public id apart from whatever a purpose derives.
		id, err := hkdf.Key(sha256.New, root, []byte("sessionkit root secret id"), "", 2)
		if err != nil {
			return err
		}
		if slices.Contains(s.ids, [2]byte(id)) {
			return errors.New("access: Keys.Secrets holds a secret twice, or two whose short names are equal by chance: make another")
		}
		s.ids, s.roots = append(s.ids, [2]byte(id)), append(s.roots, bytes.Clone(root))
	}
	r.state.Store(s)
	return nil
}

// Secrets derives a key for one purpose from every root secret, newest first,
// by HKDF-SHA256 (RFC 5869). The result is shared: read only. Until the ring
// is replaced, each call for a purpose returns the same slice.
func (r *KeyRing) Secrets(purpose string) []Secret {
	s := r.state.Load()
	if s == nil {
		return nil
	}
	if known, ok := s.derived.Load(purpose); ok {
		return known.([]Secret)
	}
	secrets := make([]Secret, len(s.roots))
	for i, root := range s.roots {
		key, err := hkdf.Key(sha256.New, root, nil, purpose, 32)
		if err != nil {
			return nil // not with a hash and a length that are allowed
		}
		secrets[i].ID = s.ids[i]
		copy(secrets[i].Key[:], key)
	}
	first, _ := s.derived.LoadOrStore(purpose, secrets)
	return first.([]Secret)
}
