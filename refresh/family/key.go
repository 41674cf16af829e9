package family

import (
	"crypto/subtle"
	"slices"
	"time"
)

// A Key names a key that cannot leave its device. A family that has one yields
// nothing to a request without a proof of it.
type Key struct {
	Kind KeyKind
	// Thumbprint is the SHA-256 of the public key (RFC 7638).
	Thumbprint [32]byte
}

// A KeyKind says how possession of a device key is proved.
type KeyKind uint8

const (
	// KeyNone: there is no key.
	KeyNone KeyKind = iota
	// KeyDBSC is a browser's (Device Bound Session Credentials). Its family is
	// renewed by Store.Bind and does not rotate any more.
	KeyDBSC
	// KeyDPoP is a native app's (RFC 9449). Its family goes on rotating.
	KeyDPoP
)

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.Kind == 0 }

func (k Key) equal(other Key) bool {
	return k.Kind == other.Kind && subtle.ConstantTimeCompare(k.Thumbprint[:], other.Thumbprint[:]) == 1
}

// A Proof is the name of one proof of a KeyDPoP: a hash of its "jti" (RFC 9449
// section 4.2). Zero is none.
type Proof [6]byte

// A SeenProof is a proof and the Attempt that came with it, the first bytes of
// it: a blind retry of the call is no second use of the proof.
type SeenProof struct {
	Proof Proof
	By    [4]byte
}

// MaxSeen is the number of proofs that a family remembers.
const MaxSeen = 3

// proves reports whether the request comes with a good proof of the family's
// key, if it has one.
func (p *RotateRequest) proves(f *Record) bool {
	if f.Key.IsZero() {
		return true
	}
	return f.Key.equal(p.Key) && !slices.ContainsFunc(f.Seen, func(s SeenProof) bool {
		return s.Proof == p.Proof && s.By != [4]byte(p.Attempt[:4])
	})
}

// see remembers the proof that came with an accepted request.
func (v *Verdict) see(p RotateRequest) {
	f, seen := &v.Record, SeenProof{p.Proof, [4]byte(p.Attempt[:4])}
	if f.Key.Kind != KeyDPoP || p.Proof == (Proof{}) || slices.Contains(f.Seen, seen) {
		return
	}
	f.Seen = append([]SeenProof{seen}, f.Seen[:min(len(f.Seen), MaxSeen-1)]...)
	v.Changed = true
}

// late reports whether a family that has to have a key has had the time for it.
func (p *Policy) late(f *Record, now time.Time) bool {
	return p.KeyWithin > 0 && f.Key.IsZero() && !now.Before(f.CreatedAt.Add(p.KeyWithin))
}

// A BindRequest lays a proof of a KeyDBSC before a family: the first one binds
// the family to the key, and every later one renews the session. The caller has
// verified the signature, and that the service itself offered this family to
// this key.
type BindRequest struct {
	Subject Subject
	Family  ID
	Key     Key
	Attempt Attempt

	Fingerprint Fingerprint
	Device      Device

	Policy Policy
	Now    time.Time
}

// Decide says what a family answers to a BindRequest: Gone, Unproven if it is
// bound to another key, Bound if it is bound now, or Renewed. It is a pure
// function; see the other Decide. The signature says more than a fingerprint,
// so that components that differ are only reported: a browser that lost all of
// its cookies in a crash has its key.
func (r BindRequest) Decide(f *Record) Verdict {
	if f == nil {
		return Verdict{Outcome: Gone}
	}
	v := Verdict{Outcome: Gone, Record: *f}
	if limited := r.Policy.Limit(*f); !limited.Alive(r.Now) {
		return v
	}
	v.Differs = f.Fingerprint.Differs(r.Fingerprint)
	switch {
	case f.Key.IsZero():
		v.Outcome, v.Changed = Bound, true
		v.Record.Key = r.Key
		v.Record.Attempt, v.Record.Prior = r.Attempt, Attempt{}
	case !f.Key.equal(r.Key):
		v.Outcome = Unproven
		return v
	case f.Attempt == r.Attempt:
		v.Outcome = Bound // a blind retry of the call that bound it
	default:
		v.Outcome = Renewed
	}
	followed := f.Fingerprint.follow(r.Fingerprint, 0)
	if r.Now.After(f.LastUsed()) || followed != f.Fingerprint || r.Device != f.Device {
		v.Record.UsedAt = later(r.Now, f.LastUsed())
		v.Record.Fingerprint, v.Record.Device, v.Changed = followed, r.Device, true
	}
	return v
}
