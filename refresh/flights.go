package refresh

import (
	"net/netip"
	"sync"
)

// presented is all that the protocol could tell two calls of Refresh apart by.
// Calls that are equal in it may share one result.
type presented struct {
	text        string // of a token that is authentic
	fingerprint Fingerprint
	ip          netip.Addr
}

// A flight is the work of one call of Refresh, for which equal calls wait.
// Unlike in package singleflight it runs in the goroutine of the caller that
// came first: handing it to another, and the result back, would take longer
// than the work, and a caller can wait with a deadline of its own.
type flight struct {
	landed chan struct{} // made by the first that waits
	grant  *Grant
	err    error
}

// flights are those under way.
type flights struct {
	mu  sync.Mutex
	now map[presented]*flight
}

// board returns the flight for p, and whether it is the caller's to do.
func (a *flights) board(p presented) (f *flight, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f = a.now[p]; f == nil {
		if a.now == nil {
			a.now = make(map[presented]*flight)
		}
		// What those who wait hear if the work ends without a result.
		f = &flight{err: ErrUnavailable}
		a.now[p] = f
		return f, true
	}
	if f.landed == nil {
		f.landed = make(chan struct{})
	}
	return f, false
}

// land lets all who wait have the result.
func (a *flights) land(p presented, f *flight) {
	a.forget(p, f)
	if f.landed != nil { // nobody boards any more
		close(f.landed)
	}
}

// forget lets the next call for p begin anew.
func (a *flights) forget(p presented, f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now[p] == f {
		delete(a.now, p)
	}
}
