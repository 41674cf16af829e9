package refresh

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// presented is all that the protocol could tell two calls of Refresh apart by.
// Calls that are equal in it may share one result.
type presented struct {
	text        string // of a token that is authentic
	fingerprint family.Fingerprint
	ip          netip.Addr
}

// A flight is the work of one call of Refresh, for which equal calls wait.
// Unlike in package singleflight it runs in the goroutine of the caller that
// came first: handing it to another, and the result back, would take longer
// than the work, and a caller can wait with a deadline of its own.
type flight struct {
	landed chan struct{} // made by the first that waits
	aboard atomic.Int32  // who waits
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
	f.aboard.Add(1)
	return f, false
}

const (
	// boarding is how long a flight stays open for one more to come aboard.
	boarding = 500 * time.Microsecond
	// maxBoarding is how long it stays open for however many.
	maxBoarding = 5 * time.Millisecond
)

// hold keeps a flight whose work is done open while others keep coming aboard,
// and reports whether there was anybody: a page asks for many things at once,
// all these requests find their access token expired, and a store that is close
// has answered the first before the last is here. Whoever comes now gets what
// the same request would have got a moment sooner. If the successor was used
// elsewhere in these milliseconds, the store would have taken the request for
// reuse; that is then noticed when the token is presented next. A flight that
// nobody shares is not held.
func (f *flight) hold() (held bool) {
	for began, aboard := time.Now(), int32(0); f.aboard.Load() > aboard && time.Since(began) < maxBoarding; held = true {
		aboard = f.aboard.Load()
		time.Sleep(boarding)
	}
	return held
}

// land lets all who wait have the result.
func (a *flights) land(p presented, f *flight) {
	a.forget(p, f)
	if f.landed != nil { // nobody boards any more
		if f.grant != nil {
			f.grant.Shared = true
		}
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
