package family

import (
	"context"
	"time"
)

// A Store keeps families. It is the protocol's memory and nothing more: what
// an operation decides is said by Decide, BindRequest.Decide, Admit and
// Record.Settle, and a Store
// applies them atomically. Package storetest checks an implementation against
// this contract.
//
// For every method:
//   - The operation is atomic per subject, also between processes.
//   - Executing it twice with the same arguments has the effect and the answer
//     of executing it once; requests carry an Attempt for that.
//   - An error means that the store could not answer in time, wraps
//     ErrUnavailable and nothing else; the effect is then unknown, which the
//     point above makes harmless. Absent, expired and revoked families are
//     answers, not errors.
//   - ctx carries the deadline; the call returns soon after it.
//   - Records expire by themselves: a family at Record.ExpiresAt, a tombstone
//     TombstoneRetention after the revocation. A store keeps at least the
//     newest MaxStep tombstones of a subject and may drop older ones: what one
//     account can cost is bounded, however often it signs in and out.
//   - One execution costs what ListLimit families cost, however many a
//     subject has.
type Store interface {
	// Start keeps a new family and ends those that it supersedes and those
	// beyond the limit of its subject, all or nothing. See Admit.
	Start(ctx context.Context, req StartRequest) (StartResult, error)

	// Rotate lays a token before its family. See Decide.
	Rotate(ctx context.Context, p RotateRequest) (Verdict, error)

	// Bind lays a proof of a device key before a family. See BindRequest.Decide.
	Bind(ctx context.Context, req BindRequest) (Verdict, error)

	// SetData sets Record.Data, at most MaxData bytes, of a live family and
	// returns its record; else what Find returns. The last call wins.
	SetData(ctx context.Context, subject Subject, id ID, data string, now time.Time) (Record, error)

	// Settle records that the client keeps the given generation. It is
	// called in the background. Unknown families and other generations are
	// left alone.
	Settle(ctx context.Context, subject Subject, id ID, generation uint32) error

	// Revoke ends the selected families. A store that is shared between
	// instances announces them through its Feed before it returns, and with
	// them those named that ended before and may not have been announced. A
	// revocation of more than MaxStep families is carried out in steps, each
	// of which is atomic: an error leaves the families ended that were, and
	// one that signs in meanwhile may be among them.
	Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error)

	// Find returns one family: alive, or its tombstone. It returns the zero
	// Record for one that is absent or expired.
	Find(ctx context.Context, subject Subject, id ID, now time.Time) (Record, error)

	// List returns the subject's live families, newest first: of more than
	// ListLimit the newest.
	List(ctx context.Context, subject Subject, now time.Time) ([]Record, error)

	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
}

// A Feed is what a Store offers besides when several instances share it: the
// stream of revocations that lets each of them refuse access tokens of revoked
// families without asking the store.
type Feed interface {
	// Follow reports revocations by any instance, including this one: first
	// all that are younger than window, then each as it happens, until ctx
	// ends; it then returns ctx's error. It heals connection losses by
	// itself, reporting what happened meanwhile; duplicates are allowed.
	Follow(ctx context.Context, window time.Duration, on FeedHandler) error
}

// A FeedHandler receives what a Feed reports. Its functions are called from
// one goroutine and return quickly.
type FeedHandler interface {
	// Revoked: the family was revoked at the given time.
	Revoked(id ID, at time.Time)
	// Synced: all revocations up to now have been reported. It is called
	// after the first catch-up and then at least every other second while
	// the feed works.
	Synced()
}

const (
	// MaxStep is the greatest number of families that one atomic step ends, and
	// the number of a subject's newest tombstones that are kept, so that a step
	// whose answer was lost can be repeated.
	MaxStep = 100
	// ListLimit is the greatest number of families that List returns, and the
	// greatest StartRequest.MaxSessions.
	ListLimit = 1000
)

// A StartRequest asks a Store to keep a new family.
type StartRequest struct {
	Record Record
	// Supersedes are families of the same Subject that the new one replaces:
	// those that live end with ReasonSuperseded. At most MaxStep.
	Supersedes []ID
	// MaxSessions is the number of live families that the subject may have,
	// the new one included; superseded ones are not, nor those with an Actor. 0
	// is no limit; at most ListLimit.
	MaxSessions int
	// RefuseAtLimit refuses the new family instead of ending the oldest.
	RefuseAtLimit bool
	Now           time.Time
}

// A StartResult is the answer to a StartRequest. A shared store has announced
// the families that ended through its Feed, or announces them as soon as it can.
type StartResult struct {
	// Refused: the subject is at its limit; nothing was changed.
	Refused bool
	// Superseded are the families that ended because they were superseded.
	Superseded []ID
	// Evicted are the families that ended because of the limit.
	Evicted []ID
}

// Admit decides a StartRequest over the number of the subject's live families
// without superseded ones and those with an Actor: how many of them have to go, the oldest first (by
// CreatedAt, then by ID), or that the new one is refused. A login ends at most
// MaxStep families, superseded ones included; where a limit was lowered by more
// the next logins end the rest. A family with an Actor ends none.
func Admit(live int, req StartRequest) (evict int, refused bool) {
	over := live + 1 - req.MaxSessions
	switch {
	case req.MaxSessions <= 0 || over <= 0 || req.Record.Actor != "":
		return 0, false
	case req.RefuseAtLimit:
		return 0, true
	}
	return min(over, MaxStep-min(MaxStep, len(req.Supersedes))), false
}

// A RevokeRequest selects families of one subject.
type RevokeRequest struct {
	Subject Subject
	// Family selects one family. Zero selects all of the subject.
	Family ID
	// Proven: the caller holds a token of Family, whose access tokens may be
	// in use although the store has no record of it (any more). It then
	// leaves a tombstone and is announced like others; a Start that is still
	// on its way finds it dead. An id that somebody merely named is announced
	// only if the subject has such a family: session ids are no secrets, and
	// naming a stranger's must not sign the stranger out. A store announces
	// at most MaxStep such families of a subject while it keeps tombstones,
	// and has no record of the others: this bounds what dead tokens can cost.
	Proven bool
	// CheckGeneration ends Family only if Generation, which a token that the
	// caller holds names, is at least one less than the current generation:
	// acceptable, or so until the current one settled.
	CheckGeneration bool
	Generation      uint32
	// Except, among all, is spared.
	Except ID
	// KeepNewest, among all, spares that many live families, newest first, at
	// most ListLimit; those with an Actor are not counted, and spared too.
	KeepNewest int

	Reason  Reason
	Attempt Attempt
	Now     time.Time
}

// A RevokeResult is the answer to a RevokeRequest.
type RevokeResult struct {
	// Ended are the families that this request ended, those that are Proven
	// and of which the store had no record included. A repetition with the
	// same Attempt ended the same; of more than MaxStep it names the last.
	Ended []ID
	// Known: RevokeRequest.Family is dead, by this request or an earlier one.
	// False: the subject has no such family, or LeftBehind.
	Known bool
	// LeftBehind: RevokeRequest.Generation is too old; nothing was changed.
	LeftBehind bool
}

// LeftBehind reports whether the request comes with a generation that is too
// old to end a family whose current generation is given.
func (r *RevokeRequest) LeftBehind(current uint32) bool {
	return r.CheckGeneration && uint64(r.Generation)+1 < uint64(current)
}
