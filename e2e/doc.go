// Package e2e drives the demo, and small apps of its own, with a real Chromium:
// what browsers do with cookies when pages abort, tabs race and processes die is
// decided by browsers, and not by RFCs.
//
// Without a chromium the tests are skipped, and fail where
// SESSIONKIT_REQUIRE_SERVERS is set.
package e2e
