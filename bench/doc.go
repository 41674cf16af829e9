// Package bench measures sessionkit beside its peers and beside the least that
// the same work could cost, and writes docs/performance.md.
//
//	cd bench && go run ./cmd/report          # some minutes, on an idle machine
//	cd bench && go run ./cmd/report -short   # a minute, to see that it works
//	cd bench && go test -bench . ./...       # the same operations, for benchstat
//
// Rows that are compared run in one process, in alternating slices of time, so
// that whatever else the machine does meets all of them. What counts is the
// ratio of two rows of one run.
package bench
