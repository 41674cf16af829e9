package family

import (
	"context"
	"time"
)

// A Store keeps families. It is the protocol's memory and nothing more: what
// an operation decides is said by Decide, Admit and Record.Settle, and a Store
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
//     TombstoneRetention after the revocation.
type Store interface {
	// Start keeps a new family, within the limit of its subject.
	Start(ctx context.Context, req StartRequest) (StartResult, error)

	// Rotate lays a token before its family. See Decide.
	Rotate(ctx context.Context, p RotateRequest) (Verdict, error)

	// Settle records that the client keeps the given generation. It is
	// called in the background. Unknown families and other generations are
	// left alone.
	Settle(ctx context.Context, subject Subject, id ID, generation uint32) error

	// Revoke ends the selected families and returns the ids of all that the
	// selector names and that are dead afterwards, those with a tombstone
	// from earlier included. A store that is shared between instances
	// announces them through its Feed before it returns.
	Revoke(ctx context.Context, req RevokeRequest) ([]ID, error)

	// Find returns one family: alive, or its tombstone. It returns the zero
	// Record for one that is absent or expired.
	Find(ctx context.Context, subject Subject, id ID, now time.Time) (Record, error)

	// List returns the subject's live families, newest first.
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

// A StartRequest asks a Store to keep a new family.
type StartRequest struct {
	Record Record
	// MaxSessions is the number of live families that the subject may have,
	// the new one included. 0 is no limit.
	MaxSessions int
	// RefuseAtLimit refuses the new family instead of ending the oldest.
	RefuseAtLimit bool
	Now           time.Time
}

// A StartResult is the answer to a StartRequest.
type StartResult struct {
	// Refused: the subject is at its limit; nothing was kept.
	Refused bool
	// Evicted are the families that gave way. A shared store has announced
	// them through its Feed.
	Evicted []ID
}

// Admit decides a StartRequest over the subject's live families, given oldest
// first (by CreatedAt, then by ID): how many of them have to go, or that the
// new one is refused.
func Admit(live int, req StartRequest) (evict int, refused bool) {
	over := live + 1 - req.MaxSessions
	switch {
	case req.MaxSessions <= 0 || over <= 0:
		return 0, false
	case req.RefuseAtLimit:
		return 0, true
	}
	return over, false
}

// A RevokeRequest selects families of one subject.
type RevokeRequest struct {
	Subject Subject
	// Family selects one family. Zero selects all of the subject.
	Family ID
	// Proven: the caller holds a token of Family. It is then announced even
	// if the store has no record of it (any more), since its access tokens
	// may still be in use. An id that somebody merely named is announced
	// only if the subject has such a family: session ids are no secrets,
	// and naming a stranger's must not sign the stranger out.
	Proven bool
	// Except, among all, is spared.
	Except ID
	// KeepNewest, among all, spares that many live families, newest first.
	KeepNewest int

	Reason  Reason
	Attempt Attempt
	Now     time.Time
}
