package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// events counts what happened, by kind.
type events struct {
	mu    sync.Mutex
	count map[refresh.EventKind]int
}

func (e *events) HandleEvent(_ context.Context, ev refresh.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.count == nil {
		e.count = make(map[refresh.EventKind]int)
	}
	e.count[ev.Kind]++
}

func (e *events) of(k refresh.EventKind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count[k]
}

func newRing(t testing.TB) *access.KeyRing {
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

// plain hides the feed of a store, for tests that count commands.
type plain struct{ family.Store }

// settle is the settle time of services under test: what settles in
// production after a minute settles at once.
const settle = 10 * time.Millisecond

func newService(t testing.TB, ring *access.KeyRing, store family.Store, rec refresh.EventHandler, limit int) *refresh.Sessions {
	t.Helper()
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	s, err := refresh.New(refresh.Config{Access: tokens, Store: store, Events: rec, MaxSessions: limit, Rotation: refresh.Rotation{SettleTime: settle}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// again calls f as a client does that is told to try again: until it is
// answered. It returns the number of failures, all of which must be
// ErrUnavailable.
func again(t testing.TB, f func() error) (failures int) {
	t.Helper()
	for ; failures < 20; failures++ {
		err := f()
		if err == nil {
			return failures
		}
		if !errors.Is(err, family.ErrUnavailable) {
			t.Fatalf("an honest client is told: %v", err)
		}
	}
	t.Fatal("no answer after 20 tries")
	return 0
}

// life plays an honest user's sessions, from login to logout everywhere, and
// checks after each step that nobody is worse off.
//
// limited: a subject may have two sessions. A login that failed may count as one
// until it is undone, so that is for tests in which few calls fail.
func life(t testing.TB, s *refresh.Sessions, rec *events, subject string, limited bool) (failures int) {
	t.Helper()
	ctx := context.Background()
	client := refresh.Client{UserAgent: "Firefox/1.0", DeviceID: "d"}
	try := func(f func() error) { t.Helper(); failures += again(t, f) }
	login := func() (g *refresh.Grant) {
		t.Helper()
		// Which of two logins in one millisecond is the older, nobody can say.
		for began := time.Now().UnixMilli(); time.Now().UnixMilli() == began; {
			runtime.Gosched()
		}
		try(func() (err error) {
			g, err = s.Start(ctx, refresh.Login{Remember: true, Subject: subject, Client: client})
			return err
		})
		return g
	}
	renew := func(g *refresh.Grant) (next *refresh.Grant) {
		t.Helper()
		for next == nil || next.Outcome == family.Fresh { // until it is old enough to be rotated
			try(func() (err error) { next, err = s.Refresh(ctx, g.RefreshToken, client); return err })
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
	settled := rec.of(refresh.EventSettled)
	redistest.Await(t, 10*time.Second, "the client's use of its token settles the generation", func() bool {
		if _, err := s.Verify(third.AccessToken); err != nil {
			t.Fatalf("a fresh access token: %v", err)
		}
		return rec.of(refresh.EventSettled) > settled
	})
	third = renew(third)
	other := login() // the limit is 2
	failed := failures
	newest := login()
	// A login without an answer counts as a session until it is undone: the other
	// one may have given way to it.
	uncertain := limited && failures > failed
	if _, err := s.Refresh(ctx, third.RefreshToken, client); limited && !errors.Is(err, refresh.ErrRefused) && !errors.Is(err, family.ErrUnavailable) {
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
	if _, err := s.Refresh(ctx, newest.RefreshToken, client); !errors.Is(err, refresh.ErrRefused) && !errors.Is(err, family.ErrUnavailable) {
		t.Fatalf("a session outlived logout everywhere: %v", err)
	}
	return failures
}

func newFaultyStore(t testing.TB, addr string) *redisstore.Store {
	t.Helper()
	// RESP 2 is what the proxy speaks; the timeouts are those of a client
	// that retries by itself within the store's deadline.
	c := redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		ReadTimeout: 100 * time.Millisecond, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 2 * time.Millisecond,
	})
	t.Cleanup(func() { c.Close() })
	s, err := redisstore.New(redisstore.Config{Client: c, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counted reports whether a command is part of an operation, rather than of
// opening a connection.
func counted(command []string) bool {
	switch strings.ToUpper(command[0]) {
	case "HELLO", "AUTH", "SELECT", "CLIENT", "INFO", "PING":
		return false
	}
	return true
}

// TestOneFaultAtEachCommand: whatever happens to any one command or reply of a
// user's sessions, nobody is signed out, nothing takes effect twice, and no
// other error than "try again" is seen.
func TestOneFaultAtEachCommand(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	store := newFaultyStore(t, proxy.Addr)
	ring := newRing(t)
	for _, fault := range []redistest.Fault{redistest.Refuse, redistest.Cut, redistest.Swallow, redistest.Delay, redistest.Duplicate} {
		t.Run(fault.String(), func(t *testing.T) {
			hit := true
			position := 0
			for ; hit; position++ {
				var n atomic.Int64
				hit = false
				proxy.SetPlan(func(command []string) redistest.Fault {
					if counted(command) && n.Add(1) == int64(position)+1 {
						hit = true
						return fault
					}
					return redistest.Pass
				})
				rec := new(events)
				s := newService(t, ring, plain{store}, rec, 2)
				life(t, s, rec, fmt.Sprintf("user-%v-%d", fault, position), true)
				s.Close()
				proxy.SetPlan(nil)
				if rec.of(refresh.EventReuse) != 0 || rec.of(refresh.EventStoreBehind) != 0 {
					t.Fatalf("fault at command %d: events %v", position, rec.count)
				}
			}
			if position < 10 {
				t.Fatalf("only %d commands seen", position)
			}
			t.Logf("%d positions", position-1)
		})
	}
}

// TestRandomFaults: the same with a fault at one command in five.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	store := newFaultyStore(t, proxy.Addr)
	ring := newRing(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rec := new(events)
	s := newService(t, ring, plain{store}, rec, 0)
	proxy.SetPlan(func(command []string) redistest.Fault {
		if counted(command) && r.IntN(5) == 0 {
			return redistest.Fault(1 + r.IntN(5))
		}
		return redistest.Pass
	})
	failures := 0
	for i := range 30 {
		failures += life(t, s, rec, fmt.Sprintf("user-%d", i), false)
	}
	proxy.SetPlan(nil)
	if rec.of(refresh.EventReuse) != 0 || rec.of(refresh.EventStoreBehind) != 0 {
		t.Fatalf("events %v", rec.count)
	}
	t.Logf("%d answers of \"try again\"", failures)
}

// TestARequestThatWasHeldUp: an instance gives up on a rotation that never
// reached the server; the client renews through another, and goes on. When the
// network is repaired the old rotation arrives. It is no theft.
func TestARequestThatWasHeldUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	ring, rec := newRing(t), new(events)
	here := newService(t, ring, newFaultyStore(t, proxy.Addr), rec, 0)
	there := newService(t, ring, newStore(t, newClient(t, server.Addr)), rec, 0)
	calls := func() string {
		_, line, _ := strings.Cut(server.Must("INFO", "commandstats"), "cmdstat_evalsha:calls=")
		n, _, _ := strings.Cut(line, ",")
		return n
	}
	// rotate refreshes until the generation is old enough to be rotated.
	rotate := func(g *refresh.Grant) *refresh.Grant {
		t.Helper()
		for {
			next, err := there.Refresh(t.Context(), g.RefreshToken, device)
			if err != nil {
				t.Fatal(err)
			}
			if next.Outcome != family.Fresh {
				return next
			}
		}
	}
	old := start(t, there, "alice")
	g := rotate(old)
	// Both send the script by its name from here on.
	if _, err := here.Refresh(t.Context(), start(t, here, "bob").RefreshToken, device); err != nil {
		t.Fatal(err)
	}
	for _, rotations := range []int{1, 2} {
		old = g
		proxy.SetPlan(func(command []string) redistest.Fault {
			if strings.EqualFold(command[0], "evalsha") {
				return redistest.Hold
			}
			return redistest.Pass
		})
		if _, err := here.Refresh(t.Context(), old.RefreshToken, device); !errors.Is(err, family.ErrUnavailable) {
			t.Fatalf("while the network is broken: %v", err)
		}
		proxy.SetPlan(nil)
		for range rotations {
			g = rotate(g)
			settled := rec.of(refresh.EventSettled)
			redistest.Await(t, 10*time.Second, "the generation settles", func() bool {
				if _, err := there.Verify(g.AccessToken); err != nil {
					t.Fatal(err)
				}
				return rec.of(refresh.EventSettled) > settled
			})
		}
		before := calls()
		proxy.Release()
		redistest.Await(t, 10*time.Second, "the old rotation arrives", func() bool { return calls() != before })
		if err := there.Live(t.Context(), g.Claims); err != nil || rec.of(refresh.EventReuse) > 0 {
			t.Fatalf("after %d rotations: %v, %d times reuse", rotations, err, rec.of(refresh.EventReuse))
		}
	}
	// The same token presented now is theft.
	if _, err := there.Refresh(t.Context(), old.RefreshToken, device); !errors.Is(err, refresh.ErrReused) {
		t.Errorf("a replay: %v", err)
	}
}
