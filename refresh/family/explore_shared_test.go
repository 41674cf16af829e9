package family_test

import (
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestOnlyLostAnswersMakeHonestClientsCount: whatever tabs of one browser do, a
// generation is presented a second time after the ParallelTime only if its answer
// was lost, or the browser crashed. So a family counts as shared only after the
// answers of SharedAfter rotations in a row were lost.
func TestOnlyLostAnswersMakeHonestClientsCount(t *testing.T) {
	t.Parallel()
	w := eagerWorld
	w.counting, w.restore = true, 0 // a crash is a loss
	w.settle, w.access = 6, 7
	counted := 0
	x := w.explore(func(x *exploration, s *situation) string {
		if s.store.twice {
			counted++
		}
		if s.store.twice && !s.missed {
			return "a generation counts as presented twice although its answer was not lost"
		}
		return signedOut(x, s)
	})
	if x.bad != "" {
		t.Fatal(x.story())
	}
	if counted == 0 {
		t.Error("nothing was counted: the exploration does not reach what it is about")
	}
	t.Logf("%d states", len(x.states))
}

// TestAClientThatLosesEveryAnswerIsNotCounted: an adapter that drops all cookies
// leaves its client with the same token for ever.
func TestAClientThatLosesEveryAnswerIsNotCounted(t *testing.T) {
	f := *familyAt(0, false)
	for i := range 1000 {
		p := tokenOf(0)
		p.Attempt, p.Policy.Settle = family.Attempt{byte(i), byte(i >> 8), 1}, time.Minute
		p.Now = f.CreatedAt.Add(time.Hour + time.Duration(i)*time.Minute)
		v := family.Decide(&f, p)
		if !v.Outcome.Accepted() || v.Shared {
			t.Fatalf("presentation %d: %v, shared %t", i, v.Outcome, v.Shared)
		}
		f = v.Record
	}
	if f.TwiceInRow != 1 {
		t.Errorf("%d in a row, want 1", f.TwiceInRow)
	}
}

// A ride is a family with two clients: its owner, who is never idle and renews
// when the access token has run out, and a thief who copied the cookies. Nothing
// is lost or late. Ages are in ticks of ten seconds. The thief presents what he
// likes when he likes, but he always has an access token and never one as old as
// the settle time, and he cannot tell to 20 seconds when the owner renews: one who
// can looks like a second tab.
type ride struct {
	settled, twice bool
	inRow          uint8
	rotated, used  int8
	owner, thief   int8 // generations, relative to the store's
	ownerAge       int8
	thiefAge       int8
	renewals       int8 // of the owner, since the theft
}

const (
	rideTick   = 10 * time.Second
	rideSettle = 6
	rideAccess = 12
)

// present lays a generation before the family, and reports whether it was accepted
// and nobody noticed.
func (r *ride) present(generation int8, name byte) bool {
	f := family.Record{
		Generation: 1000, Current: modelSecret(0, 0), Settled: r.settled, Twice: r.twice, TwiceInRow: r.inRow,
		CreatedAt: modelLogin, Idle: time.Hour, AbsoluteExpiry: modelLogin.Add(24 * time.Hour),
		RotatedAt: modelNow.Add(-rideTick * time.Duration(r.rotated)), UsedAt: modelNow.Add(-rideTick * time.Duration(r.used)),
	}
	v := family.Decide(&f, family.RotateRequest{
		Generation: uint32(1000 + int(generation)), Hash: modelSecret(generation, 0), Successor: modelSecret(generation+1, 0),
		Attempt: family.Attempt{name, 9}, Policy: family.Policy{Settle: rideSettle * rideTick}, Now: modelNow,
	})
	if !v.Outcome.Accepted() || v.Shared {
		return false
	}
	moved := int8(v.Record.Generation - 1000)
	r.owner, r.thief = r.owner-moved, r.thief-moved
	r.settled, r.twice, r.inRow = v.Record.Settled, v.Record.Twice, v.Record.TwiceInRow
	r.rotated = int8(modelNow.Sub(v.Record.RotatedAt) / rideTick)
	r.used = int8(modelNow.Sub(v.Record.UsedAt) / rideTick)
	return true
}

// next returns what the following tick can bring without anybody noticing.
func (r ride) next() []ride {
	limit := int8(2 * rideAccess)
	r.rotated, r.used = min(r.rotated+1, limit), min(r.used+1, limit)
	r.ownerAge++
	r.thiefAge++
	var before []ride // the thief may come before the owner, after, or not at all
	before = append(before, r)
	before = append(before, r.thieves()...)
	var list []ride
	for _, s := range before {
		if s.ownerAge >= rideAccess {
			if !s.present(s.owner, 1) {
				continue
			}
			s.owner, s.ownerAge, s.renewals = 0, 0, s.renewals+1
		} else if s.ownerAge >= rideSettle && s.owner == 0 {
			s.settled = true
		}
		if s.thiefAge < rideSettle {
			list = append(list, s)
		}
		for _, n := range s.thieves() {
			if n.thiefAge < rideSettle {
				list = append(list, n)
			}
		}
	}
	return list
}

// thieves returns what the thief can do: present the newest generation that he
// has, or its predecessor.
func (r ride) thieves() []ride {
	var list []ride
	if near := int8(3); r.ownerAge < near || r.ownerAge > rideAccess-near {
		return nil
	}
	for _, generation := range []int8{r.thief, r.thief - 1} {
		if n := r; n.present(generation, 2) {
			n.thief, n.thiefAge = 0, 0
			list = append(list, n)
		}
	}
	return list
}

// TestTwoClientsOnOneChainAreNoticed: a thief who always has access, and never
// shows an access token as old as the settle time, is noticed after SharedAfter
// renewals of the owner.
func TestTwoClientsOnOneChainAreNoticed(t *testing.T) {
	t.Parallel()
	seen := make(map[ride]bool)
	most := int8(0)
	for now := []ride{{}}; len(now) > 0; {
		var next []ride
		for _, r := range now {
			most = max(most, r.renewals)
			if r.renewals > family.SharedAfter {
				t.Fatalf("nobody noticed: %+v", r)
			}
			for _, n := range r.next() {
				if !seen[n] {
					seen[n] = true
					next = append(next, n)
				}
			}
		}
		now = next
	}
	t.Logf("%d states, at most %d renewals of the owner", len(seen), most)
	if most < family.SharedAfter-1 {
		t.Error("the thief gets nowhere: the exploration does not reach what it is about")
	}
}
