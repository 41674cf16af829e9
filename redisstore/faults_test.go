package redisstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

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
	ring := storelife.NewRing(t)
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
				rec := new(storelife.Events)
				s := storelife.NewService(t, ring, storelife.Plain{Store: store}, rec, 2)
				storelife.Life(t, s, rec, fmt.Sprintf("user-%v-%d", fault, position), true)
				s.Close()
				proxy.SetPlan(nil)
				if rec.Of(refresh.EventReuse) != 0 || rec.Of(refresh.EventStoreBehind) != 0 {
					t.Fatalf("fault at command %d: events %v", position, rec)
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
	ring := storelife.NewRing(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rec := new(storelife.Events)
	s := storelife.NewService(t, ring, storelife.Plain{Store: store}, rec, 0)
	proxy.SetPlan(func(command []string) redistest.Fault {
		if counted(command) && r.IntN(5) == 0 {
			return redistest.Fault(1 + r.IntN(5))
		}
		return redistest.Pass
	})
	failures := 0
	for i := range 30 {
		failures += storelife.Life(t, s, rec, fmt.Sprintf("user-%d", i), false)
	}
	proxy.SetPlan(nil)
	if rec.Of(refresh.EventReuse) != 0 || rec.Of(refresh.EventStoreBehind) != 0 {
		t.Fatalf("events %v", rec)
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
	ring, rec := storelife.NewRing(t), new(storelife.Events)
	here := storelife.NewService(t, ring, newFaultyStore(t, proxy.Addr), rec, 0)
	there := storelife.NewService(t, ring, newStore(t, newClient(t, server.Addr)), rec, 0)
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
			settled := rec.Of(refresh.EventSettled)
			redistest.Await(t, 10*time.Second, "the generation settles", func() bool {
				if _, err := there.Verify(g.AccessToken); err != nil {
					t.Fatal(err)
				}
				return rec.Of(refresh.EventSettled) > settled
			})
		}
		before := calls()
		proxy.Release()
		redistest.Await(t, 10*time.Second, "the old rotation arrives", func() bool { return calls() != before })
		if err := there.Live(t.Context(), g.Claims); err != nil || rec.Of(refresh.EventReuse) > 0 {
			t.Fatalf("after %d rotations: %v, %d times reuse", rotations, err, rec.Of(refresh.EventReuse))
		}
	}
	// The same token presented now is theft.
	if _, err := there.Refresh(t.Context(), old.RefreshToken, device); !errors.Is(err, refresh.ErrReused) {
		t.Errorf("a replay: %v", err)
	}
}
