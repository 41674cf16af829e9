package family

import (
	"crypto/subtle"
	"time"
)

// A RotateRequest is one refresh token, decoded and authenticated, as it is
// laid before a family. The token names its generation; Hash is the SHA-256
// of its secret. Successor is the SHA-256 of the secret that would follow:
// a function of the presented secret and a server key, so that whoever
// presents the same token always proposes the same successor, today, in a
// retry, and after the store lost its memory.
type RotateRequest struct {
	Subject    Subject
	Family     ID
	Generation uint32
	Hash       [32]byte
	Successor  [32]byte
	Attempt    Attempt

	Fingerprint Fingerprint
	Device      Device

	Policy Policy
	Now    time.Time
}

// A Policy holds the choices of a deployment that bear on a rotation.
type Policy struct {
	// Enforced are the fingerprint components that must match.
	Enforced Components
	// RevokeOnMismatch ends the family when another client presents a token.
	RevokeOnMismatch bool
	// RefuseStoreBehind refuses tokens that are newer than the store.
	RefuseStoreBehind bool
	// SingleUse takes every generation as settled from the start: the letter
	// of RFC 9700 section 4.14.2. A client that loses a response is then
	// signed out.
	SingleUse bool
	// Settle is the settle time, by which a presentation that was held up on
	// its way is known. 0: none is looked for.
	Settle time.Duration
}

// An Outcome is the answer to a RotateRequest.
type Outcome uint8

const (
	// Gone: no such family, expired, or revoked (then Reason says why).
	Gone Outcome = iota
	// OtherClient: an enforced fingerprint component differs.
	OtherClient
	// Repeated: this very attempt was answered before; nothing changed.
	Repeated
	// Rotated: the successor is the current generation now.
	Rotated
	// Replayed: the predecessor of an unsettled generation; nothing
	// changed, the client gets the same successor again.
	Replayed
	// StoreBehind: the token is authentic and newer than the store, which
	// therefore lost writes; the store was moved forward.
	StoreBehind
	// StoreBehindRefused: the same, but the Policy says to refuse.
	StoreBehindRefused
	// Reused: a token that is no longer acceptable. The family is revoked.
	Reused
	// Overtaken: the presentation was held up until others had passed it;
	// nothing changed, and whoever made it has long given up.
	Overtaken
)

var outcomeNames = [...]string{"gone", "other_client", "repeated", "rotated", "replayed", "store_behind", "store_behind_refused", "reused", "overtaken"}

// String returns the outcome's name in events and logs.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Accepted reports whether the client gets tokens.
func (o Outcome) Accepted() bool {
	return o == Repeated || o == Rotated || o == Replayed || o == StoreBehind
}

// A Verdict is what Decide says of a RotateRequest.
type Verdict struct {
	Outcome Outcome
	// Differs are all bound fingerprint components that differ, enforced or not.
	Differs Components
	// Record is the record after the decision. It is the zero Record when
	// there was none. Stores write it exactly when Changed.
	Record  Record
	Changed bool
}

// Decide is the rotation protocol: what a family answers to a presented
// token. It is a pure function; every Store must behave as if it ran Decide
// atomically on the stored record and kept the result when Changed. f is nil
// when the store has no such family. docs/protocol.md draws it.
//
// With p the presented and g the stored generation, at most two generations
// are acceptable at any moment: g, and g-1 while g has not settled.
func Decide(f *Record, p RotateRequest) Verdict {
	if f == nil {
		return Verdict{Outcome: Gone}
	}
	v := Verdict{Record: *f}

	// The attempt that ended the family may come again because its reply was
	// lost: it hears what it would have heard the first time.
	if f.Revoked != "" {
		v.Outcome = Gone
		if f.Attempt == p.Attempt {
			switch f.Revoked {
			case ReasonReuse:
				v.Outcome = Reused
			case ReasonMismatch:
				v.Outcome = OtherClient
			}
		}
		return v
	}
	if !f.Alive(p.Now) {
		v.Outcome = Gone
		return v
	}

	// The binding comes before everything that could help or harm: another
	// client gets no successor, and cannot end the family by replaying.
	v.Differs = f.Fingerprint.Differs(p.Fingerprint)
	if v.Differs&p.Policy.Enforced != 0 {
		v.Outcome = OtherClient
		if p.Policy.RevokeOnMismatch {
			v.revoke(ReasonMismatch, p)
		}
		return v
	}

	switch g := f.Generation; {
	// A blind retry of the attempt that made g, or g-1: neither replay nor
	// reuse. The caller derives the current token from the presented one.
	case p.Generation+1 == g && p.Attempt == f.Attempt,
		p.Generation+2 == g && p.Attempt == f.Prior:
		v.Outcome = Repeated

	case p.Generation == g && equal(p.Hash, f.Current):
		v.Outcome = Rotated
		v.advance(p, f.Attempt)

	// The client never got g, or crashed and came back with older cookies.
	// It is given g again: a family never forks.
	case p.Generation+1 == g && !f.Settled && !p.Policy.SingleUse && equal(p.Successor, f.Current):
		v.Outcome = Replayed

	// Authentic, yet newer than the record: the store lost acknowledged
	// writes in a failover. The client is right and the store is wrong.
	case p.Generation > g && p.Policy.RefuseStoreBehind:
		v.Outcome = StoreBehindRefused
	case p.Generation > g:
		v.Outcome = StoreBehind
		v.advance(p, Attempt{})

	// A stopped process, or a connection that nobody waits for any more, can
	// bring a presentation after its client has got what it asked for from
	// another try. It says nothing of who keeps the token now.
	case p.overtaken(f):
		v.Outcome = Overtaken

	// Everything else that is authentic: somebody keeps a token that its
	// owner has left behind.
	default:
		v.Outcome = Reused
		v.revoke(ReasonReuse, p)
	}
	return v
}

// overtaken reports whether f has left the presentation behind.
func (p *RotateRequest) overtaken(f *Record) bool {
	next, later := p.OvertakenAfter()
	if p.Generation+1 == f.Generation {
		return (f.Settled || p.Policy.SingleUse) && f.RotatedAt.After(next)
	}
	return f.RotatedAt.After(later)
}

// OvertakenAfter returns the times after which the current generation must have
// been made for the presentation to be overtaken: by the generation next to the
// presented one, and by a later one. The presentation is then from before that
// generation could have settled, or existed, when its token may still have been
// acceptable. One that arrives in time is never that old, unless the clocks of
// two instances differ by more than 30 seconds or half the settle time.
func (p *RotateRequest) OvertakenAfter() (next, later time.Time) {
	if p.Policy.Settle <= 0 {
		return never, never
	}
	later = p.Now.Add(min(ClockSkew, p.Policy.Settle/2))
	if p.Policy.SingleUse {
		return later, later
	}
	return later.Add(-p.Policy.Settle), later
}

// never is later than any date that a store can write.
var never = time.UnixMilli(1<<48 - 1)

// advance makes the presented token's successor the current generation. The
// idle timeout starts anew; the absolute lifetime and AuthTime never move.
func (v *Verdict) advance(p RotateRequest, prior Attempt) {
	f := &v.Record
	f.Generation = p.Generation + 1
	f.Current = p.Successor
	f.Settled = false
	f.Attempt, f.Prior = p.Attempt, prior
	// An instance with a slow clock must not shorten the idle timeout.
	if p.Now.After(f.RotatedAt) {
		f.RotatedAt = p.Now
	}
	// What is only reported follows the client, so that one change of
	// address is one event and not one at every refresh from then on.
	f.Fingerprint = f.Fingerprint.follow(p.Fingerprint, p.Policy.Enforced)
	f.Device = p.Device
	v.Changed = true
}

func (v *Verdict) revoke(why Reason, p RotateRequest) {
	v.Record = v.Record.Tombstone(why, p.Attempt, p.Now)
	v.Changed = true
}

// Tombstone returns what is kept of a revoked family.
func (f *Record) Tombstone(why Reason, by Attempt, now time.Time) Record {
	return Record{Subject: f.Subject, ID: f.ID, Attempt: by, Revoked: why, RevokedAt: now}
}

// Settle returns the record after an instance saw the client use an access
// token of the given generation that was at least the settle time old. Only
// the current generation can settle; anything else changes nothing.
func (f Record) Settle(generation uint32) (_ Record, changed bool) {
	if f.Revoked != "" || f.Settled || f.Generation != generation {
		return f, false
	}
	f.Settled = true
	return f, true
}

func equal(a, b [32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
