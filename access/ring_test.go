package access_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

func root(b byte) []byte {
	s := append([]byte(nil), materials()[access.HS256].([]byte)...)
	s[0] ^= b
	return s
}

func TestRingsThatAreNone(t *testing.T) {
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	public := newKey(t, access.EdDSA, materials()[access.EdDSA].(ed25519.PrivateKey).Public())
	tests := []struct {
		name string
		keys access.Keys
		ok   bool
	}{
		{"a signing key", access.Keys{Signing: ed}, true},
		{"a root secret", access.Keys{Signing: ed, Secrets: [][]byte{root(0)}}, true},
		{"nothing", access.Keys{}, false},
		{"no signing key", access.Keys{Verifying: []*access.Key{ed}}, false},
		{"a signing key that cannot sign", access.Keys{Signing: public}, false},
		{"nil among the verifying keys", access.Keys{Signing: ed, Verifying: []*access.Key{nil}}, false},
		{"a key twice", access.Keys{Signing: ed, Verifying: []*access.Key{ed}}, false},
		{"a key and its public half", access.Keys{Signing: ed, Verifying: []*access.Key{public}}, false},
		{"an RSA key for two algorithms", access.Keys{Signing: newKey(t, access.PS256, materials()[access.PS256]), Verifying: []*access.Key{newKey(t, access.RS256, materials()[access.RS256])}}, false},
		{"a short root secret", access.Keys{Signing: ed, Secrets: [][]byte{root(0)[:31]}}, false},
		{"a root secret of zeros", access.Keys{Signing: ed, Secrets: [][]byte{make([]byte, 32)}}, false},
		{"an empty root secret", access.Keys{Signing: ed, Secrets: [][]byte{nil}}, false},
		{"a root secret twice", access.Keys{Signing: ed, Secrets: [][]byte{root(0), root(1), root(0)}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ring, err := access.NewKeyRing(tt.keys)
			if (err == nil) != tt.ok || (ring == nil) == tt.ok {
				t.Errorf("got %v, %v", ring, err)
			}
		})
	}
}

// Two root secrets whose short public names are equal would make the rooms
// that name them try the wrong one.
func TestRootSecretsOfOneNameAreRefused(t *testing.T) {
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	byID := make(map[[2]byte][]byte)
	for range 1 << 14 {
		secret := make([]byte, 32)
		rand.Read(secret)
		ring := newRing(t, access.Keys{Signing: ed, Secrets: [][]byte{secret}})
		id := ring.Secrets("x")[0].ID
		if other := byID[id]; other != nil {
			if _, err := access.NewKeyRing(access.Keys{Signing: ed, Secrets: [][]byte{secret, other}}); err == nil {
				t.Error("two secrets of one name were accepted")
			}
			return
		}
		byID[id] = secret
	}
	t.Error("no two of 16,384 secrets have one name of 16 bits")
}

func TestSecrets(t *testing.T) {
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	ring := newRing(t, access.Keys{Signing: ed, Secrets: [][]byte{root(1), root(2)}})
	mac, seal := ring.Secrets("mac"), ring.Secrets("seal")
	if len(mac) != 2 || len(seal) != 2 {
		t.Fatalf("%d and %d secrets of 2", len(mac), len(seal))
	}
	for i := range mac {
		if mac[i].ID != seal[i].ID {
			t.Error("the name of a root secret depends on the purpose")
		}
		if mac[i].Key == seal[i].Key || bytes.HasPrefix(mac[i].Key[:], mac[i].ID[:]) || bytes.Equal(mac[i].Key[:], root(byte(i+1))) {
			t.Error("keys of two purposes, the name and the root secret are not apart")
		}
	}
	if mac[0].ID == mac[1].ID || mac[0].Key == mac[1].Key {
		t.Error("two root secrets give one key")
	}
	if again := ring.Secrets("mac"); &again[0] != &mac[0] {
		t.Error("a second call derived again")
	}
	// Another instance, with the secrets the other way round.
	other := newRing(t, access.Keys{Signing: ed, Secrets: [][]byte{root(2), root(1)}}).Secrets("mac")
	if other[0] != mac[1] || other[1] != mac[0] {
		t.Error("derivation depends on the order")
	}
	if got := newRing(t, access.Keys{Signing: ed}).Secrets("mac"); len(got) != 0 {
		t.Errorf("%d secrets of none", len(got))
	}
	if got := new(access.KeyRing).Secrets("mac"); got != nil {
		t.Errorf("the zero ring has %d secrets", len(got))
	}
}

// Whatever was sealed must open after an update of the program.
func TestDerivationIsFixed(t *testing.T) {
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	secret := []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x0f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0")
	s := newRing(t, access.Keys{Signing: ed, Secrets: [][]byte{secret}}).Secrets("purpose")[0]
	// HKDF-SHA256 (RFC 5869) by hand.
	prk := hmacSHA256(make([]byte, 32), string(secret))
	if want := hmacSHA256(prk, "purpose\x01"); !bytes.Equal(s.Key[:], want) {
		t.Errorf("key %x, want %x", s.Key, want)
	}
	prk = hmacSHA256([]byte("sessionkit root secret id"), string(secret))
	if want := hmacSHA256(prk, "\x01")[:2]; !bytes.Equal(s.ID[:], want) {
		t.Errorf("name %x, want %x", s.ID, want)
	}
}

func TestReplace(t *testing.T) {
	first, second := newKey(t, access.EdDSA, materials()[access.EdDSA]), newKey(t, access.ES256, materials()[access.ES256])
	secrets := [][]byte{root(1)}
	ring := newRing(t, access.Keys{Signing: first, Secrets: secrets})
	tokens := newTokens(t, access.Config{Keys: ring, Now: func() time.Time { return at }})
	old, _ := issue(t, tokens, login)
	verify := func(text string) error { _, err := tokens.Verify(text); return err }
	if err := verify(old); err != nil { // and now it is cached
		t.Fatal(err)
	}
	steps := []struct {
		name string
		keys access.Keys
		ok   bool
		want error
	}{
		{"the next key is made known", access.Keys{Signing: first, Verifying: []*access.Key{second}, Secrets: secrets}, true, nil},
		{"it signs", access.Keys{Signing: second, Verifying: []*access.Key{first}, Secrets: secrets}, true, nil},
		{"a mistake changes nothing", access.Keys{}, false, nil},
		{"the old key is retired", access.Keys{Signing: second, Secrets: [][]byte{root(2), root(1)}}, true, access.ErrUnknownKey},
		{"and comes back", access.Keys{Signing: second, Verifying: []*access.Key{first}}, true, nil},
	}
	for _, s := range steps {
		if err := ring.Replace(s.keys); (err == nil) != s.ok {
			t.Errorf("%s: Replace: %v", s.name, err)
		}
		for range 2 {
			if err := verify(old); err != s.want {
				t.Errorf("%s: the first key's token: %v, want %v", s.name, err, s.want)
			}
		}
		fresh, _ := issue(t, tokens, login)
		if err := verify(fresh); err != nil {
			t.Errorf("%s: a fresh token: %v", s.name, err)
		}
	}
	if got := ring.Secrets("x"); len(got) != 0 {
		t.Errorf("%d secrets after they were removed", len(got))
	}
}

// A slice that is appended to later must not reach into the ring.
func TestRingsDoNotShareTheCallersSlices(t *testing.T) {
	ed, ec := newKey(t, access.EdDSA, materials()[access.EdDSA]), newKey(t, access.ES256, materials()[access.ES256])
	verifying, secrets := []*access.Key{ec}, [][]byte{root(1)}
	ring := newRing(t, access.Keys{Signing: ed, Verifying: verifying, Secrets: secrets})
	verifying[0] = nil
	clear(secrets[0])
	if got, want := ring.Secrets("x")[0], newRing(t, access.Keys{Signing: ed, Secrets: [][]byte{root(1)}}).Secrets("x")[0]; got != want {
		t.Error("the ring changed with the caller's secret")
	}
	if serve(ring, "GET").Code != 200 {
		t.Error("the ring changed with the caller's slice")
	}
}

func TestRingsAreSafeForConcurrentUse(t *testing.T) {
	a, b := newKey(t, access.EdDSA, materials()[access.EdDSA]), newKey(t, access.HS256, materials()[access.HS256])
	both := []access.Keys{
		{Signing: a, Verifying: []*access.Key{b}, Secrets: [][]byte{root(1)}},
		{Signing: b, Verifying: []*access.Key{a}, Secrets: [][]byte{root(2), root(1)}},
	}
	ring := newRing(t, both[0])
	tokens := newTokens(t, access.Config{Keys: ring, CacheEntries: 8})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				if i == 0 {
					if err := ring.Replace(both[j%2]); err != nil {
						t.Error(err)
					}
					continue
				}
				text, _, err := tokens.Issue(login)
				if err != nil {
					t.Error(err)
				}
				if _, err := tokens.Verify(text); err != nil {
					t.Error(err)
				}
				if s := ring.Secrets("x"); len(s) == 0 {
					t.Error("no secrets")
				}
			}
		})
	}
	wg.Wait()
}
