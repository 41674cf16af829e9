// Package storetest checks implementations of family.Store: that they decide
// as family.Decide does, atomically, and that executing an operation twice is
// the same as executing it once.
//
// A store's own tests call Run:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) family.Store { return mystore.New(db) })
//	}
//
// Run states the contract rule by rule; the name of a subtest that fails is
// the rule that the store breaks. Compare looks for what the rules forgot: it
// drives a store and a plain model of the contract through one sequence of
// operations and reports the first difference. Give it choices from a
// property-testing library to have long sequences shrunk.
//
// Time reaches a store in its requests, so the suite never waits: it asks
// about tomorrow today. A store may keep records longer than it has to, by the
// clock of its server, but answers by the time it is given. Each test uses
// random subjects and ids, so stores need not be empty, and tests may share one.
package storetest

import (
	"testing"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// Run checks the stores that open returns, each rule in a subtest of its own.
// Run calls open once for each handle that it needs, with the t of the test
// that uses it; open registers what has to be closed with t.Cleanup. The
// handles of a store that implements family.Feed must all be on the same
// data, as those of several instances are: what one revokes, the others are
// told. Other stores may start empty each time.
//
// The suite sets no deadlines but for the feed, which has 10 seconds to report
// a revocation. An error by which a store answers fails the test.
func Run(t *testing.T, open func(t testing.TB) family.Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		rules []rule
	}{
		{"rotation", rotationRules},
		{"retries", retryRules},
		{"races", raceRules},
		{"start", startRules},
		{"revoke", revokeRules},
		{"records", recordRules},
		{"keys, step-ups and data", keyRules},
		{"random", randomRules},
		{"feed", feedRules},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, r := range group.rules {
				t.Run(r.name, func(t *testing.T) { r.check(&harness{T: t, open: open, store: open(t)}) })
			}
		})
	}
}

// A rule is one clause of the contract. Its name says what must hold.
type rule struct {
	name  string
	check func(*harness)
}
