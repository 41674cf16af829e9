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

	// Key is the device key of which a valid proof came with the token, and
	// Proof names that proof.
	Key   Key
	Proof Proof
	// StepUp, if not nil, is kept with the rotation: the user has just proved
	// again who they are. StepUp.By becomes the Attempt.
	StepUp *StepUp

	Policy Policy
	Now    time.Time
}

// A Policy holds the choices of a deployment that bear on a rotation, as they
// are today.
type Policy struct {
	// Enforced are the fingerprint components that must match.
	Enforced Components
	// RevokeOnMismatch ends the family when another client presents a token.
	RevokeOnMismatch bool
	// RefuseStoreBehind refuses tokens that are newer than the store.
	RefuseStoreBehind bool
	// SingleUse takes every generation as settled from the start: the letter
	// of RFC 9700 section 4.14.2. A client that loses a response is then
	// signed out, and no generation is fresh.
	SingleUse bool
	// EndShared ends a family that two clients share: see Verdict.Shared.
	EndShared bool
	// KeyWithin ends a family that has no device key so long after its login. 0:
	// never.
	KeyWithin time.Duration
	// Settle is the settle time. Without it (0) no generation is fresh, no
	// replay is late, and no presentation is overtaken.
	Settle time.Duration

	// Idle is the idle timeout, Absolute the lifetime of logins that are
	// remembered, and Browser that of the others. Where they are shorter than
	// what a record has, they hold: see Limit. 0: the record alone counts.
	Idle, Absolute, Browser time.Duration
}

const (
	// maxFresh is what a crash may take a browser back, 30 seconds, and a
	// round trip.
	maxFresh  = 45 * time.Second
	roundTrip = 15 * time.Second
	// maxShortFresh is the fresh time where the settle time is too short to
	// cover a crash of the browser.
	maxShortFresh = 10 * time.Second
	// maxParallel is what a round trip takes at most, with some to spare.
	maxParallel = 20 * time.Second
)

// FreshTime returns how long a generation that was handed out is not rotated:
// 45 seconds, or the settle time less 15 seconds if that is shorter. A browser
// that crashes comes back with cookies of up to 30 seconds ago, and must not
// find that two generations have passed meanwhile; the rest is for the round
// trip and for the difference of clocks. Settle times below 30 seconds do not
// cover a crash in any case: it is then half the settle time, at most 10 seconds.
func (p *Policy) FreshTime() time.Duration {
	if p.Settle <= 0 || p.SingleUse {
		return 0
	}
	return max(min(maxFresh, p.Settle-roundTrip), min(maxShortFresh, p.Settle/2))
}

// ParallelTime returns how long after a rotation its token may still come from
// another tab of the same browser, whose answer was under way: 20 seconds, or
// half the settle time if that is less. One that comes later lost its answer, or
// is a second client. It is shorter than the fresh time, so that a thief who
// shares a family must come later than that, or go without access tokens.
func (p *Policy) ParallelTime() time.Duration { return min(maxParallel, p.Settle/2) }

// SharedAfter is the number of generations in a row, each presented twice with
// more than the ParallelTime between, after which a family counts as shared by
// two clients. An honest client does this once for each answer that it lost,
// so it would have to lose the answers of so many rotations in a row.
const SharedAfter = 5

// An Outcome is the answer to a RotateRequest.
type Outcome uint8

const (
	// Gone: no such family, expired, or revoked (then Reason says why).
	Gone Outcome = iota
	// OtherClient: an enforced fingerprint component differs.
	OtherClient
	// Repeated: this very attempt was answered before; nothing changed.
	Repeated
	// Fresh: the current generation, which was handed out a moment ago;
	// nothing changed, the client gets the same generation again.
	Fresh
	// Rotated: the successor is the current generation now.
	Rotated
	// Replayed: the predecessor of an unsettled generation; the client gets
	// the same successor again, and it counts as use.
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
	// Unproven: the family is bound to a device key, and no proof of it came
	// with the request, or one that was used before; nothing changed.
	Unproven
	// Bound: the family is bound to the key of a BindRequest from now on.
	Bound
	// Renewed: a BindRequest with the key that the family is bound to.
	Renewed
)

var outcomeNames = [...]string{
	"gone", "other_client", "repeated", "fresh", "rotated", "replayed", "store_behind", "store_behind_refused", "reused", "overtaken",
	"unproven", "bound", "renewed",
}

// String returns the outcome's name in events and logs.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Accepted reports whether the client gets tokens.
func (o Outcome) Accepted() bool {
	switch o {
	case Repeated, Fresh, Rotated, Replayed, StoreBehind, Bound, Renewed:
		return true
	}
	return false
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
	// Late: a predecessor was replayed more than the settle time after its
	// rotation. Its client lost the answer and was away, or somebody else has
	// the token. Worth an event.
	Late bool
	// Shared: SharedAfter generations in a row were each presented twice with
	// more than the ParallelTime between, as two clients do that use one chain
	// of tokens. It is said at each such presentation. With Policy.EndShared
	// the family is then revoked, and the Outcome is Reused.
	Shared bool
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
			case ReasonShared:
				v.Outcome, v.Shared = Reused, true
			case ReasonMismatch:
				v.Outcome = OtherClient
			}
		}
		return v
	}
	if limited := p.Policy.Limit(*f); !limited.Alive(p.Now) {
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
	if !p.proves(f) {
		v.Outcome = Unproven
		return v
	}
	if p.Policy.late(f, p.Now) {
		v.Outcome = Gone
		v.revoke(ReasonUnbound, p)
		return v
	}

	switch g := f.Generation; {
	// A blind retry of the attempt that made g, or g-1: neither replay nor
	// reuse. The caller derives the current token from the presented one.
	case p.Generation+1 == g && p.Attempt == f.Attempt,
		p.Generation+2 == g && p.Attempt == f.Prior:
		v.Outcome = Repeated

	// Handed out a moment ago. Clients that renew eagerly would otherwise move
	// the family on by generations while answers are still on the wire.
	case p.Generation == g && equal(p.Hash, f.Current) && p.fresh(f) && p.StepUp == nil:
		v.Outcome = Fresh

	case p.Generation == g && equal(p.Hash, f.Current):
		v.Outcome = Rotated
		v.advance(p, f.Attempt)

	// The client never got g, or crashed and came back with older cookies.
	// It is given g again: a family never forks.
	case p.Generation+1 == g && !f.Settled && !p.Policy.SingleUse && equal(p.Successor, f.Current):
		v.Outcome = Replayed
		v.replay(p)
		if v.Shared && p.Policy.EndShared {
			v.Outcome = Reused
			v.revoke(ReasonShared, p)
		}

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
	if v.Outcome.Accepted() {
		v.see(p)
		v.stepUp(p)
	}
	return v
}

// stepUp keeps that the user proved again who they are. A blind retry finds it
// kept.
func (v *Verdict) stepUp(p RotateRequest) {
	if p.StepUp == nil || v.Outcome == Repeated || v.Record.StepUp.By == p.Attempt {
		return
	}
	v.Record.StepUp = *p.StepUp
	v.Record.StepUp.By = p.Attempt
	v.Changed = true
}

// fresh reports whether the current generation was handed out less than the
// fresh time ago. A time in the future is one of another clock: within
// ClockSkew the generation is fresh, beyond it nothing can be known.
func (p *RotateRequest) fresh(f *Record) bool {
	handed := f.RotatedAt
	if soon := p.Now.Add(ClockSkew); !f.UsedAt.After(soon) {
		handed = later(handed, f.UsedAt)
	}
	age, limit := p.Now.Sub(handed), p.Policy.FreshTime()
	return limit > 0 && age < limit && age >= -ClockSkew
}

// replay notes that a predecessor came again: as use, and as a second
// presentation of its generation if it comes later than the ParallelTime. Of
// many at a time one is written down.
func (v *Verdict) replay(p RotateRequest) {
	f, fresh := &v.Record, p.Policy.FreshTime()
	if unused := p.Now.Sub(f.LastUsed()); unused > 0 && unused >= fresh/8 {
		f.UsedAt, v.Changed = p.Now, true
	}
	since := p.Now.Sub(f.RotatedAt)
	if p.Policy.Settle <= 0 || since <= p.Policy.ParallelTime() {
		return
	}
	v.Late = since > p.Policy.Settle
	if !f.Twice {
		f.Twice, f.TwiceInRow, v.Changed = true, min(f.TwiceInRow+1, SharedAfter), true
	}
	v.Shared = f.TwiceInRow >= SharedAfter
}

// overtaken reports whether f has left the presentation behind.
func (p *RotateRequest) overtaken(f *Record) bool {
	next, later := p.OvertakenAfter()
	if p.Generation+1 == f.Generation {
		return (f.Settled || p.Policy.SingleUse) && f.RotatedAt.After(next)
	}
	return f.RotatedAt.After(later)
}

// OvertakenAfter returns two times. If the current generation was made after
// them, the request is too old to prove theft: after next where it is the
// presented token's successor, after later where it is a further one. The
// request is then from before that generation could have settled, or existed,
// when its token may still have been acceptable. A request that arrives in time
// is never that old, unless the clocks of two instances differ by more than 30
// seconds or half the settle time.
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
//
// Clocks. A RotatedAt in the future, beyond ClockSkew, was written by a clock
// that was ahead: the presented token is the current one, so its generation was
// made before the request was, however long the request was held up. It is
// pulled back to what a right clock may have written; otherwise reuse would be
// taken for overtaken until that time. Or this clock is hours behind: UsedAt
// does not move back, so that the idle timeout is not cut.
func (v *Verdict) advance(p RotateRequest, prior Attempt) {
	f := &v.Record
	f.Generation = p.Generation + 1
	f.Current = p.Successor
	f.Settled = false
	if !f.Twice {
		f.TwiceInRow = 0
	}
	f.Twice = false
	f.Attempt, f.Prior = p.Attempt, prior
	f.UsedAt = later(p.Now, f.LastUsed())
	f.RotatedAt = later(p.Now, earlier(f.RotatedAt, p.Now.Add(ClockSkew)))
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
