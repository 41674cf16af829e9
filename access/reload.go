package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A keysFile is where a ring's keys came from.
type keysFile struct {
	path string
	alg  Algorithm

	mu sync.Mutex
	// seen is the hash of the text that the look before found, used that of the
	// text whose keys the ring has.
	seen, used [sha256.Size]byte
	failure    string // of the look before
}

// followEvery is how often a keys file is looked at.
const followEvery = 2 * time.Second

// Follow takes up the keys of the file that OpenKeyRing opened, whenever they
// change, until ctx ends. Sessions calls it, so that an app need not. A change is
// in use some four seconds later: a text counts when two looks in a row have found
// it, since a file that is being written can be read by halves.
//
// It tells nil when other keys are in use, and an error, once, when the file is
// not there, fails as OpenKeyRing does, signs with another algorithm than it was
// opened for, or holds no root secret any more: the ring then stays as it is.
// For a ring that came from no file it returns at once.
func (r *KeyRing) Follow(ctx context.Context, tell func(error)) {
	if r.file == nil {
		return
	}
	every := time.NewTicker(followEvery)
	defer every.Stop()
	for {
		if changed, err := r.reload(); changed || err != nil {
			tell(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// reload looks at the file once, and reports whether other keys are in use now.
func (r *KeyRing) reload() (changed bool, err error) {
	f := r.file
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, sum, err := f.look()
	switch {
	case err != nil && err.Error() == f.failure:
		return false, nil
	case err != nil:
		f.failure = err.Error()
		return false, fmt.Errorf("access: keys file %s cannot be taken up, and the keys before are kept: %w", f.path, err)
	case keys.Signing == nil:
		return false, nil
	}
	if !r.holds(keys) {
		if err := r.Replace(keys); err != nil {
			return false, err
		}
		changed = true
	}
	f.used, f.failure = sum, ""
	return changed, nil
}

// look returns the keys of a text that is there for the second time and not in
// use; no keys where there is none.
func (f *keysFile) look() (keys Keys, sum [sha256.Size]byte, err error) {
	text, info, err := readText(f.path)
	if err != nil {
		f.seen = sum
		return Keys{}, sum, err
	}
	sum = sha256.Sum256(text)
	again := sum == f.seen
	f.seen = sum
	if sum == f.used {
		f.failure = ""
	}
	if !again || sum == f.used {
		return Keys{}, sum, nil
	}
	if keys, err = ParseKeys(text); err == nil {
		err = f.check(keys)
	}
	if err == nil {
		_, err = NewKeyRing(keys)
	}
	if err == nil {
		err = checkMode(f.path, info)
	}
	if err != nil {
		return Keys{}, sum, err
	}
	return keys, sum, nil
}

// holds reports whether the keys are those of the ring, in the same order.
func (r *KeyRing) holds(keys Keys) bool {
	s := r.state.Load()
	return slices.EqualFunc(s.order, append([]*Key{keys.Signing}, keys.Verifying...), func(a, b *Key) bool {
		return a.id == b.id && a.canSign() == b.canSign()
	}) && slices.EqualFunc(s.roots, keys.Secrets, func(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 })
}

// check refuses what would stop an instance that has keys.
func (f *keysFile) check(keys Keys) error {
	if got := keys.Signing.alg; got != f.alg {
		return fmt.Errorf("it signs with %s, not %s: start the program anew for another algorithm", got, f.alg)
	}
	if len(keys.Secrets) == 0 {
		return errors.New("it holds no root secret: put back the one that sessions were started under")
	}
	return nil
}
