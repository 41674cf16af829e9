package refresh

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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
	// boarding is how long a flight waits for one more to come aboard.
	boarding = 200 * time.Microsecond
	// maxBoarding is how long it waits for however many.
	maxBoarding = 5 * time.Millisecond
)

// gather lets those come aboard who have set out together: a page asks for
// many things at once, and all these requests find their access token expired.
// Where the store is close the work would be done before most of them are
// here, and each would ask it again. A flight that nobody shares waits only
// for what runs already.
func (f *flight) gather() {
	for range 2 { // now and then the scheduler prefers who yields to who waits
		runtime.Gosched()
	}
	for began, aboard := time.Now(), int32(0); f.aboard.Load() > aboard && time.Since(began) < maxBoarding; {
		aboard = f.aboard.Load()
		time.Sleep(boarding)
	}
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
