package redisstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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

var failovers = flag.Int("failovers", 2, "how often TestSentinelFailover kills the primary")

// A crowd is honest users who refresh their sessions all the time, lose some
// responses, and sign out now and then. Whatever the store goes through, none
// of them may ever be refused, and what they signed out of stays dead.
type crowd struct {
	services []*refresh.Sessions
	rec      *storelife.Events

	stop       chan struct{}
	wg         sync.WaitGroup
	renewed    atomic.Int64
	renewals   [64]atomic.Int64 // of each user
	retried    atomic.Int64
	signedOut  atomic.Int64
	mu         sync.Mutex
	violations []string
	dead       []*refresh.Grant // signed out of, acknowledged
}

func newCrowd(t testing.TB, instances int, open func() *redisstore.Store) *crowd {
	t.Helper()
	c := &crowd{rec: new(storelife.Events), stop: make(chan struct{})}
	ring := storelife.NewRing(t)
	for range instances {
		c.services = append(c.services, storelife.NewService(t, ring, open(), c.rec, 0))
	}
	return c
}

func (c *crowd) violated(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

// retry calls f on one instance after the other until it is answered, as a
// load balancer and a patient client do.
func (c *crowd) retry(r *rand.Rand, f func(*refresh.Sessions) error) error {
	for {
		err := f(c.services[r.IntN(len(c.services))])
		if !errors.Is(err, family.ErrUnavailable) {
			return err
		}
		c.retried.Add(1)
		select {
		case <-c.stop:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// start lets all users begin.
func (c *crowd) start() {
	for i := range c.renewals {
		c.wg.Go(func() { c.user(i, rand.New(rand.NewPCG(uint64(i), 7))) })
	}
}

func (c *crowd) user(i int, r *rand.Rand) {
	ctx := context.Background()
	client := refresh.Client{UserAgent: "Firefox/1.0", DeviceID: "d"}
	subject := fmt.Sprintf("user-%d", i)
	var g *refresh.Grant
	for {
		// Servers that get no processor time would be taken for dead.
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(r.IntN(40)) * time.Millisecond):
		}
		var err error
		switch {
		case g == nil:
			err = c.retry(r, func(s *refresh.Sessions) (err error) {
				g, err = s.Start(ctx, refresh.Login{Remember: true, Subject: subject, Client: client})
				return err
			})
		case r.IntN(200) == 0:
			err = c.retry(r, func(s *refresh.Sessions) error {
				return s.Revoke(ctx, subject, g.Claims.SessionID, family.ReasonLogout)
			})
			if err == nil {
				c.signedOut.Add(1)
				c.mu.Lock()
				c.dead = append(c.dead, g)
				c.mu.Unlock()
				g = nil
			}
		default:
			var next *refresh.Grant
			err = c.retry(r, func(s *refresh.Sessions) (err error) {
				next, err = s.Refresh(ctx, g.RefreshToken, client)
				return err
			})
			if err == nil {
				c.renewed.Add(1)
				c.renewals[i].Add(1)
				if r.IntN(4) > 0 { // or the response was lost
					g = next
				}
			}
		}
		if err != nil && !errors.Is(err, family.ErrUnavailable) {
			c.violated("%s generation %d: %v", subject, g.Claims.Generation, err)
			return
		}
	}
}

// end stops the crowd and demands that nobody was wronged.
func (c *crowd) end(t testing.TB) {
	t.Helper()
	close(c.stop)
	c.wg.Wait()
	for _, v := range c.violations {
		t.Errorf("an honest user was refused: %s", v)
	}
	if n := c.rec.Of(refresh.EventReuse); n != 0 {
		t.Errorf("%d honest replays were taken for theft", n)
	}
	alive := 0
	for _, g := range c.dead {
		var err error
		storelife.Again(t, func() error {
			_, err = c.services[0].Refresh(context.Background(), g.RefreshToken, refresh.Client{UserAgent: "Firefox/1.0", DeviceID: "d"})
			if errors.Is(err, family.ErrUnavailable) {
				return err
			}
			return nil
		})
		if err == nil {
			alive++
		}
	}
	if alive > 0 {
		t.Errorf("%d of %d sessions that were signed out of are alive again", alive, len(c.dead))
	}
	if c.renewed.Load() == 0 {
		t.Error("nothing was renewed")
	}
	t.Logf("%d renewals, %d sign-outs, %d answers of \"try again\", %d times the store was behind",
		c.renewed.Load(), c.signedOut.Load(), c.retried.Load(), c.rec.Of(refresh.EventStoreBehind))
}

// progress waits until the crowd has renewed n more sessions.
func (c *crowd) progress(t testing.TB, n int64) {
	t.Helper()
	want := c.renewed.Load() + n
	redistest.Await(t, 60*time.Second, "sessions are renewed again", func() bool { return c.renewed.Load() >= want })
}

// everybody waits until each user has renewed a session once more.
func (c *crowd) everybody(t testing.TB, within time.Duration) {
	t.Helper()
	var before [len(c.renewals)]int64
	for i := range before {
		before[i] = c.renewals[i].Load()
	}
	redistest.Await(t, within, "everybody's sessions are renewed again", func() bool {
		for i := range before {
			if c.renewals[i].Load() == before[i] {
				return false
			}
		}
		return true
	})
}

// TestSentinelFailover kills the primary under load, again and again.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, 2, 3)
	c := newCrowd(t, 2, func() *redisstore.Store {
		return newStore(t, closing(t, redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: sentinel.MasterName, SentinelAddrs: sentinel.Addrs, ContextTimeoutEnabled: true,
		})))
	})
	c.start()
	for range *failovers {
		c.progress(t, 1000)
		sentinel.Failover()
		c.progress(t, 1000)
	}
	c.end(t)
}

func closing(t testing.TB, c redis.UniversalClient) redis.UniversalClient {
	t.Cleanup(func() { c.Close() })
	return c
}

// TestClusterUnderLoad moves live slots, loses a primary and flushes the
// script caches while sessions are renewed.
func TestClusterUnderLoad(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1)
	c := newCrowd(t, 2, func() *redisstore.Store {
		return newStore(t, closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true, ReadTimeout: time.Second})))
	})
	c.start()
	c.progress(t, 2000)
	began := time.Now()
	done := func(what string) {
		t.Logf("%s after %v, %d answers of \"try again\" so far", what, time.Since(began).Round(time.Millisecond), c.retried.Load())
	}

	p := cluster.Primaries()
	slots := cluster.SlotsOf(p[0], 20)
	cluster.MoveSlots(p[0], p[1], slots)
	c.progress(t, 1000)
	cluster.MoveSlots(p[1], p[0], slots)
	c.progress(t, 1000)
	done("slots moved")

	for range 20 {
		for _, n := range p {
			n.Must("SCRIPT", "FLUSH")
		}
		c.progress(t, 50)
	}

	done("scripts flushed")
	// A process that dies closes its connections, one that stops does not.
	for i, away := range []struct {
		how        string
		begin, end func(*redistest.Server)
	}{
		{"dead", (*redistest.Server).Kill, (*redistest.Server).Restart},
		{"stopped", (*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		away.begin(p[i])
		redistest.Await(t, 30*time.Second, "a replica is promoted", func() bool { return len(cluster.Primaries()) == len(p) })
		done("replica promoted, the primary is " + away.how)
		c.everybody(t, 20*time.Second)
		done("everybody's sessions are renewed again")
		away.end(p[i])
		cluster.AwaitReady()
		done("cluster whole again")
		c.progress(t, 1000)
	}
	c.end(t)
}

// TestANewReplicaIsWaitedFor: a primary that had no replica a moment ago, as
// one that was just promoted, has logins wait for the first that follows it.
func TestANewReplicaIsWaitedFor(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, newClient(t, primary.Addr)), new(storelife.Events), 0)
	start(t, s, "alice")
	began := time.Now()
	redistest.Start(t, "--replicaof", primary.Host()+" "+primary.Port())
	redistest.Await(t, 30*time.Second, "the replica follows", func() bool {
		return strings.Contains(primary.Must("INFO", "replication"), "state=online")
	})
	redistest.Await(t, 30*time.Second, "logins wait for it", func() bool {
		start(t, s, "bob")
		return strings.Contains(primary.Must("INFO", "commandstats"), "cmdstat_wait:")
	})
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("only after %v", took)
	}
}
