package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
)

// An account is what happened.
type account struct {
	logins, requests, unavailable                      atomic.Int64
	lostRequests, lostResponses, lateResponses, aborts atomic.Int64
	crashes, logouts, logoutsAll, passwords            atomic.Int64
	eager                                              atomic.Int64
	thefts, thiefRefreshes, tooLate, foreign           atomic.Int64
	faults, restarts, slow, forward, back              atomic.Int64
	revokedProbes, revokedAccess, unconfirmed          atomic.Int64
	streams, streamsEnded, streamsProbed               atomic.Int64
	rides, rideTokens, ridesShared, ridesReused        atomic.Int64
	unregistered, signed, renewFirst, emptied          atomic.Int64
	boundThefts, boundTries                            atomic.Int64

	// What became of every session that was started; these add up to logins.
	ended, unanswered, caught, finalAlive, shared, outside atomic.Int64

	mu         sync.Mutex
	kinds      map[refresh.EventKind]int64
	latest     time.Duration   // from proof to report
	outages    []time.Duration // from the death of a primary to the next
	ridden     int             // most renewals of an owner until a thief who keeps pace was noticed
	violations []string
	broken     int
}

// violated notes something that must not be.
func (a *account) violated(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken++
	if len(a.violations) < 50 {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

func (a *account) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.violations
}

func (a *account) event(k refresh.EventKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kinds == nil {
		a.kinds = make(map[refresh.EventKind]int64)
	}
	a.kinds[k]++
}

// reported notes how long the proof of settling took to reach the store.
func (a *account) reported(late time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.latest = max(a.latest, late)
}

// promoted notes how long there was no primary.
func (a *account) promoted(after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outages = append(a.outages, after)
}

// noticed notes after how many renewals of its owner a session ended that was shared.
func (a *account) noticed(renewals int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ridden = max(a.ridden, renewals)
}

// A trackedSession is what the simulation knows of a session.
type trackedSession struct {
	asked   atomic.Bool // the user asked for its end: being refused is no error from here
	ended   atomic.Bool // and was told that it is done: being accepted is one
	thief   atomic.Bool // somebody has copied a token and the fingerprint
	reused  atomic.Bool // theft was noticed
	refused atomic.Bool // its user was refused
	cut     atomic.Bool // the server ended a stream of it
	shared  atomic.Bool // it ended because two clients shared it
	slow    atomic.Bool // a request was on its way for longer than the protocol allows

	mu      sync.Mutex
	proved  mark // the newest generation that its user is known to keep
	settled mark // the newest generation that the kit has reported to the store
	bound   mark // when it was bound to a key, if ever
	streams map[*instance]int
}

// over reports whether the session is known to have ended without its user's will.
func (f *trackedSession) over() bool { return f.reused.Load() || f.refused.Load() || f.cut.Load() }

// streaming counts the streams that are open, and returns how many there are.
func (f *trackedSession) streaming(in *instance, more int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams == nil {
		f.streams = make(map[*instance]int)
	}
	f.streams[in] += more
	return f.streams[in]
}

// A mark is when a generation reached something, and in which failover.
type mark struct {
	generation uint32
	at         time.Time
	failover   int64
}

// bind notes that the session was bound to a key.
func (f *trackedSession) bind(failover int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bound = mark{at: time.Now(), failover: failover}
}

func (f *trackedSession) boundAt() (mark, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bound, !f.bound.at.IsZero()
}

// prove notes that the user has shown an access token as old as the settle time.
func (f *trackedSession) prove(generation uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if generation > f.proved.generation {
		f.proved = mark{generation: generation, at: time.Now()}
	}
}

// settle notes a report, and how long after the proof it came if it is the first.
func (f *trackedSession) settle(generation uint32, failover int64) (late time.Duration, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if generation <= f.settled.generation {
		return 0, false
	}
	f.settled = mark{generation, time.Now(), failover}
	if f.proved.generation == generation {
		return time.Since(f.proved.at), true
	}
	return 0, true
}

func (f *trackedSession) marks() (proved, settled mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proved, f.settled
}

// Failovers count begins and ends, so that the number is odd during one. What
// was written before or during one may be lost, except what the kit waits for.
type failovers struct{ n atomic.Int64 }

func (f *failovers) begin()     { f.n.Add(1) }
func (f *failovers) end()       { f.n.Add(1) }
func (f *failovers) now() int64 { return f.n.Load() }

// kept reports whether no failover can have undone what was written at a mark.
func (f *failovers) kept(m mark) bool { return m.failover%2 == 0 && m.failover == f.now() }

// report prints the account.
func (w *world) report() string {
	a := &w.account
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	title := func(what string) { fmt.Fprintf(&b, "%s\n", what) }
	row := func(n int64, what string) { fmt.Fprintf(&b, "%10d  %s\n", n, what) }
	title("traffic")
	row(a.requests.Load(), "requests")
	row(a.kinds[refresh.EventRefresh], "rotations")
	row(a.kinds[refresh.EventReplayed], "replays answered with the same successor")
	row(a.kinds[refresh.EventSettled], "reports that a generation settled")
	row(a.unavailable.Load(), "answers of \"try again\" (503)")
	title("accidents")
	row(a.lostRequests.Load(), "requests lost")
	row(a.lostResponses.Load(), "responses lost")
	row(a.lateResponses.Load(), "responses too late for a client that waits")
	row(a.slow.Load(), "requests longer on their way than the protocol allows: the machine was too slow")
	row(a.aborts.Load(), "requests aborted by the page")
	row(a.eager.Load(), "renewals that clients made because they felt like it")
	row(a.crashes.Load(), "browser crashes, back with older cookies")
	row(a.faults.Load(), "faults between kit and Redis")
	if w.sentinel != nil {
		row(a.restarts.Load(), "primaries killed")
		row(a.unconfirmed.Load(), "logins and revocations that no replica confirmed in time")
	} else {
		row(a.restarts.Load(), "times that Redis was killed or frozen")
	}
	row(a.kinds[refresh.EventStoreBehind], "times that the store was behind")
	row(a.forward.Load(), "times that the clock of an instance was set forward")
	row(a.back.Load(), "times that one was set back")
	title("streams")
	row(a.streams.Load(), "streams opened")
	row(a.streamsEnded.Load(), "that the server ended, with their session")
	row(a.streamsProbed.Load(), "ended sessions on an instance, without a stream that goes on")
	title("browsers with a key")
	row(a.kinds[refresh.EventBound], "sessions bound")
	row(a.unregistered.Load(), "registrations lost: ordinary sessions")
	row(a.signed.Load(), "renewals by a signature")
	row(a.renewFirst.Load(), "requests told that the browser has to renew first: links, and clocks apart")
	row(a.emptied.Load(), "crashes that took all cookies, which the key brought back")
	row(a.boundThefts.Load(), "thefts of all cookies of a bound session")
	row(a.boundTries.Load(), "requests of these thieves, none of which opened anything")
	title("ends")
	row(a.logouts.Load(), "logouts")
	row(a.logoutsAll.Load(), "logouts everywhere")
	row(a.passwords.Load(), "password changes")
	row(a.revokedProbes.Load(), "refresh tokens of ended sessions tried, all refused")
	row(a.revokedAccess.Load(), "access tokens of ended sessions tried elsewhere before they expired, all refused")
	title("thefts")
	row(a.thefts.Load(), "refresh tokens stolen, with the fingerprint")
	row(a.thiefRefreshes.Load(), "renewals that these thieves got, from generations that had not settled")
	row(a.tooLate.Load(), "tokens that they presented after the successor had settled, all refused")
	row(a.kinds[refresh.EventReuse], "detections of reuse")
	row(a.foreign.Load(), "refresh tokens stolen and presented without the fingerprint, all refused")
	title("thieves who keep pace, where such a session is to end (EndShared)")
	row(a.rides.Load(), "sessions that they shared")
	row(a.rideTokens.Load(), "access tokens that they used")
	row(a.ridesShared.Load(), "sessions that ended because they were shared")
	row(a.ridesReused.Load(), "sessions that ended because of reuse: the thief was too late once")
	row(int64(a.ridden), "renewals of the owner until then, at most")
	title("sessions")
	row(a.logins.Load(), "sessions started, of which")
	row(a.ended.Load(), "  were ended by their user")
	row(a.unanswered.Load(), "  were being ended by their user, who got no answer")
	row(a.caught.Load(), "  were ended because of a thief")
	row(a.shared.Load(), "  live on with a thief who has not come back since his token's successor settled")
	row(a.finalAlive.Load(), "  live on, honest, each renewed once more at the end")
	row(a.outside.Load(), "  were refused after such a request, outside of what is promised")
	row(int64(a.broken), "honest sign-outs, and anything else that must not be")
	if w.sentinel != nil {
		fmt.Fprintf(&b, "%10s  the longest that there was no primary\n", slices.Max(append(a.outages, 0)).Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "%10s  the longest that a proof of settling took to reach the store\n", a.latest.Round(time.Millisecond))
	return strings.TrimRight(b.String(), "\n")
}
