// Package storelife plays an honest user's sessions on a store, for the tests of
// stores that fail: whatever happens to a call, nobody is worse off.
package storelife

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Client is who plays.
var Client = refresh.Client{UserAgent: "Firefox/1.0", DeviceID: "d"}

// Events counts what happened, by kind.
type Events struct {
	mu    sync.Mutex
	count map[refresh.EventKind]int
}

// HandleEvent implements refresh.EventHandler.
func (e *Events) HandleEvent(_ context.Context, ev refresh.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.count == nil {
		e.count = make(map[refresh.EventKind]int)
	}
	e.count[ev.Kind]++
}

// Of returns how many events of a kind there were.
func (e *Events) Of(k refresh.EventKind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count[k]
}

// String implements fmt.Stringer.
func (e *Events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprint(e.count)
}

// NewRing returns keys of a service's own.
func NewRing(t testing.TB) *access.KeyRing {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// Plain hides the feed of a store, for tests that count commands.
type Plain struct{ family.Store }

// Settle is the settle time of services under test: what settles in
// production after a minute settles at once.
const Settle = 10 * time.Millisecond

// NewService returns a service on a store, which ends with the test. limit is how
// many sessions a subject may have; 0 is the default.
func NewService(t testing.TB, ring *access.KeyRing, store family.Store, rec refresh.EventHandler, limit int) *refresh.Sessions {
	t.Helper()
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	s, err := refresh.New(refresh.Config{Access: tokens, Store: store, Events: rec, MaxSessions: limit, Rotation: refresh.Rotation{SettleTime: Settle}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Again calls f as a client does that is told to try again: until it is
// answered. It returns the number of failures, all of which must be
// ErrUnavailable.
func Again(t testing.TB, f func() error) (failures int) {
	t.Helper()
	for ; failures < 50; failures++ {
		err := f()
		if err == nil {
			return failures
		}
		if !errors.Is(err, family.ErrUnavailable) {
			t.Fatalf("an honest client is told: %v", err)
		}
	}
	t.Fatal("no answer after 50 tries")
	return 0
}

// Life plays an honest user's sessions, from login to logout everywhere, and
// checks after each step that nobody is worse off.
//
// limited: a subject may have two sessions. A login that failed may count as one
// until it is undone, so that is for tests in which few calls fail.
func Life(t testing.TB, s *refresh.Sessions, rec *Events, subject string, limited bool) (failures int) {
	t.Helper()
	ctx := context.Background()
	try := func(f func() error) { t.Helper(); failures += Again(t, f) }
	login := func() (g *refresh.Grant) {
		t.Helper()
		// Which of two logins in one millisecond is the older, nobody can say.
		for began := time.Now().UnixMilli(); time.Now().UnixMilli() == began; {
			runtime.Gosched()
		}
		try(func() (err error) {
			g, err = s.Start(ctx, refresh.Login{Remember: true, Subject: subject, Client: Client})
			return err
		})
		return g
	}
	renew := func(g *refresh.Grant) (next *refresh.Grant) {
		t.Helper()
		for next == nil || next.Outcome == family.Fresh { // until it is old enough to be rotated
			try(func() (err error) { next, err = s.Refresh(ctx, g.RefreshToken, Client); return err })
		}
		if next.Claims.Generation != g.Claims.Generation+1 {
			t.Fatalf("generation %d follows %d: an operation took effect twice", next.Claims.Generation, g.Claims.Generation)
		}
		return next
	}
	first := login()
	second := renew(first)
	if lost := renew(first); lost.RefreshToken != second.RefreshToken {
		t.Fatal("a lost response is answered with another successor: the family forked")
	}
	third := renew(second)
	settled := rec.Of(refresh.EventSettled)
	redistest.Await(t, 10*time.Second, "the client's use of its token settles the generation", func() bool {
		if _, err := s.Verify(third.AccessToken); err != nil {
			t.Fatalf("a fresh access token: %v", err)
		}
		return rec.Of(refresh.EventSettled) > settled
	})
	third = renew(third)
	other := login() // the limit is 2
	failed := failures
	newest := login()
	// A login without an answer counts as a session until it is undone: the other
	// one may have given way to it.
	uncertain := limited && failures > failed
	if _, err := s.Refresh(ctx, third.RefreshToken, Client); limited && !errors.Is(err, refresh.ErrRefused) && !errors.Is(err, family.ErrUnavailable) {
		t.Fatalf("the oldest session did not give way: %v", err)
	}
	if !uncertain {
		renew(other)
	}
	newest = renew(newest)
	failed = failures
	try(func() error { return s.RevokeOthers(ctx, newest.Claims, family.ReasonPassword) })
	// A call that failed may have ended sessions. The one that repeats it does not
	// name them: the feed does, which these services do not have.
	if _, err := s.Verify(other.AccessToken); !errors.Is(err, refresh.ErrRevoked) && failures == failed {
		t.Fatalf("a revoked session's access token: %v", err)
	}
	revoked := false
	try(func() error {
		err := s.Live(ctx, other.Claims)
		if revoked = errors.Is(err, refresh.ErrRevoked); revoked {
			return nil
		}
		return err
	})
	if !revoked {
		t.Fatal("the store takes a revoked session for alive")
	}
	newest = renew(newest)
	try(func() error { return s.Live(ctx, newest.Claims) })
	try(func() (err error) {
		list, err := s.List(ctx, newest.Claims)
		if err == nil && (len(list) != 1 || !list[0].Current) {
			t.Fatalf("sessions: %+v", list)
		}
		return err
	})
	try(func() error { return s.RevokeAll(ctx, subject, family.ReasonLogoutAll) })
	if _, err := s.Refresh(ctx, newest.RefreshToken, Client); !errors.Is(err, refresh.ErrRefused) && !errors.Is(err, family.ErrUnavailable) {
		t.Fatalf("a session outlived logout everywhere: %v", err)
	}
	return failures
}
