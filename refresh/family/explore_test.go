package family_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// The exploration walks through everything that can happen to one family: one
// store record, one browser whose tabs share a cookie jar, and messages under
// way. Every interleaving is visited, breadth first; states that differ only by
// a shift in time or generation are one, so the walk is not cut off at some
// depth: it ends when nothing new is left, however many generations that takes.
// Rotations are decided by family.Decide itself.
//
// Its axioms, in ticks of the clock (any number of events fit into a tick, in
// any order):
//
//   - A request reaches the service within request ticks or never. It carries
//     the jar as it was when it was sent; if its access token is valid on
//     arrival that is all, and if it is also settle ticks old the generation
//     settles, now or at any later time; if it is expired the service rotates.
//   - The response to a rotation reaches the jar within response ticks or
//     never, in any order with others.
//   - The store may execute a rotation again, up to retry ticks later, in the
//     place of a lost reply or beside an answer given long ago.
//   - A crash takes the jar back to any state of the last restore ticks, and
//     takes responses under way with it, but not requests.
//   - The store may fall back to any state that was current within lag ticks.
//   - request + response + the longer of retry and restore < settle <= access/2:
//     a round trip, with a retry within or a crash after it, ends before an
//     access token can prove anything. For eager clients two round trips and a
//     crash end within the fresh time.
//   - Any tab asks for a refresh at any time, whatever its access token's age;
//     where clients are patient, with one as old as the settle time.
//   - At most two messages are under way, one duplicate and one settling.
type modelWorld struct {
	access, settle, request, response, retry, restore, lag int8

	// What can happen besides.
	duplicates, rollbacks, thief bool
	// patient clients ask for no refresh before their access token is as old
	// as the settle time.
	patient bool
	// counting looks at who presents a generation twice.
	counting bool

	// bound gives the family a key of a native app, which its owner has.
	bound bool

	// The rules, as they are or weakened.
	rules family.Policy
	// rotatesFresh rotates a generation however young it is.
	rotatesFresh bool
	// grace settles a generation by the clock alone, settle ticks after its
	// rotation.
	grace bool
	// fromRotation counts the proof's age from the rotation.
	fromRotation bool
	// random gives every rotation a successor of its own.
	random bool
}

// length is how long a tick lasts, so that the settle time is a minute.
func (w *modelWorld) length() time.Duration { return time.Minute / time.Duration(w.settle) }

// honestWorld is the world in which nobody may ever be signed out.
var honestWorld = modelWorld{
	access: 8, settle: 4, request: 1, response: 1, retry: 1, restore: 1, lag: 1,
	duplicates: true, rollbacks: true, patient: true,
}

// eagerWorld is the same with clients that ask for a refresh at any time, and
// without failovers. The fresh time is three ticks and three quarters; a retry
// is over within a tick.
var eagerWorld = modelWorld{
	access: 8, settle: 7, request: 1, response: 1, retry: 0, restore: 1,
}

// signedOut is what must never happen to an honest client.
func signedOut(x *exploration, s *situation) string {
	if s.revoked || s.ended {
		return "an honest client is signed out"
	}
	return invariants(x, s)
}

// invariants checks what holds in every state, thief or none: at most two
// generations are acceptable, and a predecessor whose successor has settled
// ends the family.
func invariants(x *exploration, s *situation) string {
	if s.revoked || s.ended {
		return ""
	}
	accepted := 0
	for gen := int8(oldest); gen <= 0; gen++ {
		f := x.family(&s.store)
		v := family.Decide(&f, family.RotateRequest{
			Generation: uint32(firstGeneration + int(gen)), Hash: modelSecret(gen, 0), Successor: modelSecret(gen+1, 0),
			Attempt: family.Attempt{99}, Policy: x.policy(), Now: modelNow, Key: x.key(),
		})
		if v.Outcome.Accepted() {
			accepted++
		} else if v.Record.Revoked != family.ReasonReuse {
			return fmt.Sprintf("generation %+d is refused, and the family lives", gen)
		}
		if s.store.settled && gen < 0 && v.Outcome != family.Reused {
			return fmt.Sprintf("generation %+d comes to %v although its successor has settled", gen, v.Outcome)
		}
	}
	if accepted > 2 {
		return fmt.Sprintf("%d generations are acceptable", accepted)
	}
	return ""
}

func TestNoHonestClientIsEverSignedOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		world modelWorld
		reach []family.Outcome
	}{
		{"who renews when need be", honestWorld, []family.Outcome{family.Rotated, family.Replayed, family.Repeated, family.StoreBehind}},
		{"who renews whenever it likes", eagerWorld, []family.Outcome{family.Rotated, family.Fresh, family.Replayed, family.Repeated}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := c.world.explore(signedOut)
			if x.bad != "" {
				t.Fatal(x.story())
			}
			t.Logf("%d states, rotations by outcome: %v", len(x.states), x.outcomes)
			for _, o := range c.reach {
				if x.outcomes[o] == 0 {
					t.Errorf("no rotation came to %v: the exploration does not reach what it is about", o)
				}
			}
		})
	}
}

// TestAStolenTokenDiesWhenItsOwnerHasBeenBack lets a thief copy the refresh
// token at any time, present it at any time, and go on with what he is given.
func TestAStolenTokenDiesWhenItsOwnerHasBeenBack(t *testing.T) {
	t.Parallel()
	w := honestWorld
	w.thief, w.rollbacks, w.duplicates = true, false, false
	x := w.explore(invariants)
	if x.bad != "" {
		t.Fatal(x.story())
	}
	t.Logf("%d states, rotations by outcome: %v", len(x.states), x.outcomes)
	if x.outcomes[family.Reused] == 0 {
		t.Error("no reuse was found: the exploration does not reach what it is about")
	}
}

// TestWhoeverHasAllTokensOfABoundFamilyHasNothing: in every state that honest
// clients of a bound family reach, every token that there is or was is presented
// without a proof of its key. None is accepted, none changes anything, and so
// nobody is signed out although there is a thief.
func TestWhoeverHasAllTokensOfABoundFamilyHasNothing(t *testing.T) {
	t.Parallel()
	w := honestWorld
	w.bound, w.duplicates = true, false
	x := w.explore(func(x *exploration, s *situation) string {
		if bad := signedOut(x, s); bad != "" {
			return bad
		}
		f := x.family(&s.store)
		for gen := int8(oldest); gen <= 1; gen++ {
			for _, by := range []family.Attempt{{99}, f.Attempt, f.Prior} {
				v := family.Decide(&f, family.RotateRequest{
					Generation: uint32(firstGeneration + int(gen)), Hash: modelSecret(gen, 0), Successor: modelSecret(gen+1, 0),
					Attempt: by, Policy: x.policy(), Now: modelNow,
				})
				if v.Outcome != family.Unproven || v.Changed {
					return fmt.Sprintf("generation %+d without a proof comes to %v", gen, v.Outcome)
				}
			}
		}
		return ""
	})
	if x.bad != "" {
		t.Fatal(x.story())
	}
	t.Logf("%d states, rotations by outcome: %v", len(x.states), x.outcomes)
	if x.outcomes[family.Replayed] == 0 || x.outcomes[family.StoreBehind] == 0 {
		t.Error("the exploration does not reach what it is about")
	}
}

// TestWeakerRulesSignHonestClientsOut: each rule and each axiom is needed.
// Without it the exploration finds the sign-out, and tells the shortest story
// of it.
func TestWeakerRulesSignHonestClientsOut(t *testing.T) {
	calm := func(w *modelWorld) { w.duplicates, w.rollbacks = false, false }
	for _, weak := range []struct {
		name   string
		change func(*modelWorld)
	}{
		{"a grace window from the rotation in place of settling", func(w *modelWorld) { calm(w); w.grace = true }},
		{"a proof's age counted from the rotation and not from the token's issue", func(w *modelWorld) { calm(w); w.fromRotation = true }},
		{"tokens ahead of the store refused", func(w *modelWorld) { w.rules.RefuseStoreBehind = true }},
		{"single use", func(w *modelWorld) { calm(w); w.rules.SingleUse = true }},
		{"random successors", func(w *modelWorld) { w.random = true }},

		{"generations rotated however young they are", func(w *modelWorld) { *w = eagerWorld; w.rotatesFresh = true }},
		{"a settle time that a round trip and a crash outlast", func(w *modelWorld) { w.settle = 3 }},
		{"a crash that goes further back", func(w *modelWorld) { w.restore++ }},
		{"a request that travels longer", func(w *modelWorld) { w.request++ }},
		{"a response that travels longer", func(w *modelWorld) { w.response++ }},
		{"a retry that comes later", func(w *modelWorld) { w.retry++ }},
		{"access tokens as short as a round trip", func(w *modelWorld) { w.access = 3 }},

		{"eager, a crash that goes further back", func(w *modelWorld) { *w = eagerWorld; w.restore += 2 }},
		{"eager, a request that travels longer", func(w *modelWorld) { *w = eagerWorld; w.request++ }},
		{"eager, a fresh time that a round trip and a crash outlast", func(w *modelWorld) { *w = eagerWorld; w.settle = 4 }},
		{"eager, writes lost in a failover and a duplicate", func(w *modelWorld) { *w = eagerWorld; w.lag, w.rollbacks, w.duplicates = 1, true, true }},
	} {
		t.Run(weak.name, func(t *testing.T) {
			t.Parallel()
			w := honestWorld
			weak.change(&w)
			x := w.explore(signedOut)
			if x.bad == "" {
				t.Fatalf("nobody is signed out in %d states", len(x.states))
			}
			t.Logf("%d states\n%s", len(x.states), x.story())
		})
	}
}
