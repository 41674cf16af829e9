package middleware

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

const (
	// proofTime is longer than any proof is accepted: three times nonceTime, or
	// the age of one without a nonce.
	proofTime = 3 * nonceTime
	// maxProofs bounds what is remembered of one proofTime, 20 to 40 MB, and
	// maxProofsOfKey what one device can fill of it: 90 requests a second,
	// without a pause.
	maxProofs      = 1 << 20
	maxProofsOfKey = 1 << 14
)

// usedProofs remembers the proofs that this instance accepted, for as long as
// they would be accepted again (RFC 9449 section 11.1). Nothing is dropped early
// to make room: that would let a flood open the way for a replay. What does not
// fit is refused, and the device that floods is refused first.
type usedProofs struct {
	mu           sync.Mutex
	since        time.Time // when current began
	current, old proofSet
}

// A proofSet holds the proofs of one proofTime.
type proofSet struct {
	ids   map[[16]byte]struct{}
	ofKey map[[32]byte]int
}

// add accepts a proof once. It fails with errReplayed, and with
// refresh.ErrUnavailable when there is no room.
func (u *usedProofs) add(p access.DPoPProof, now time.Time) error {
	sum := sha256.Sum256(append(p.Thumbprint[:], p.ID...))
	id := [16]byte(sum[:])
	u.mu.Lock()
	defer u.mu.Unlock()
	if age := now.Sub(u.since); age >= proofTime {
		u.old = proofSet{}
		if age < 2*proofTime {
			u.old = u.current
		}
		u.since, u.current = now, proofSet{make(map[[16]byte]struct{}), make(map[[32]byte]int)}
	}
	_, seen := u.current.ids[id]
	_, before := u.old.ids[id]
	switch {
	case seen || before:
		return errReplayed
	case len(u.current.ids) >= maxProofs || u.current.ofKey[p.Thumbprint] >= maxProofsOfKey:
		return fmt.Errorf("%w: too many proofs of possession", refresh.ErrUnavailable)
	}
	u.current.ids[id] = struct{}{}
	u.current.ofKey[p.Thumbprint]++
	return nil
}
