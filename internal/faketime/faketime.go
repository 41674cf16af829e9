// Package faketime runs tests in a bubble of testing/synctest, where that can
// be relied on.
package faketime

import (
	"crypto/fips140"
	"testing"
	"testing/synctest"
)

// Test runs f as [synctest.Test] does. In FIPS mode it skips the test: there
// the standard library seeds its random generators from measured time, now and
// then also in the middle of a run, and in a bubble time stands still, so that
// the seeding panics.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("FIPS mode: random generators cannot be seeded in fake time")
	}
	synctest.Test(t, f)
}
