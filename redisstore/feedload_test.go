package redisstore_test

import (
	"context"
	"crypto/rand"
	"flag"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh/family"
)

var feedLoad = flag.Duration("feedload", time.Second, "how long TestFeedUnderLoad revokes; beyond a second it also measures PUBLISH")

const (
	feedInstances = 8
	feedRate      = 1000 // a second
)

// A listener is an instance's end of the feed: when it heard of what.
type listener struct {
	mu     sync.Mutex
	heard  map[family.ID]time.Time
	synced chan struct{} // closed when it has caught up
	once   sync.Once
}

func newListener() *listener {
	return &listener{heard: make(map[family.ID]time.Time), synced: make(chan struct{})}
}

func (l *listener) Revoked(id family.ID, _ time.Time) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.heard[id]; !again {
		l.heard[id] = now
	}
}

func (l *listener) Synced() { l.once.Do(func() { close(l.synced) }) }

func (l *listener) missing(sent map[family.ID]time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range sent {
		if _, ok := l.heard[id]; !ok {
			n++
		}
	}
	return n
}

// follow has n instances follow the feed until the test ends.
func follow(t *testing.T, n int, open func() redis.UniversalClient) []*listener {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { stop(); wg.Wait() })
	var all []*listener
	for range n {
		l := newListener()
		store := newStore(t, open())
		wg.Go(func() { store.Follow(ctx, time.Hour, l) })
		all = append(all, l)
	}
	for _, l := range all {
		<-l.synced
	}
	return all
}

// revoke ends a session that nobody has a record of, as a logout with a token
// of a family that is gone does.
func revoke(t testing.TB, s *redisstore.Store) family.ID {
	t.Helper()
	var subject family.Subject
	var id family.ID
	rand.Read(subject[:])
	rand.Read(id[:])
	storelife.Again(t, func() error {
		_, err := s.Revoke(context.Background(), family.RevokeRequest{Subject: subject, Family: id, Proven: true, Reason: family.ReasonLogout, Attempt: family.Attempt{1}, Now: time.Now()})
		return err
	})
	return id
}

// TestFeedUnderLoad: a thousand revocations a second reach eight instances,
// every one of them.
func TestFeedUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	open := func() redis.UniversalClient { return newClient(t, server.Addr) }
	all := follow(t, feedInstances, open)
	store := newStore(t, open())

	sent := make(map[family.ID]time.Time)
	var mu sync.Mutex
	pace(*feedLoad, func() {
		began := time.Now()
		id := revoke(t, store)
		mu.Lock()
		defer mu.Unlock()
		sent[id] = began
	})
	redistest.Await(t, 30*time.Second, "every instance hears of every revocation", func() bool {
		for _, l := range all {
			if l.missing(sent) > 0 {
				return false
			}
		}
		return true
	})
	var delays []time.Duration
	for _, l := range all {
		for id, began := range sent {
			delays = append(delays, l.heard[id].Sub(began))
		}
	}
	t.Logf("feed:    %d revocations in %v to %d instances: p50 %v, p99 %v", len(sent), *feedLoad, feedInstances, quantile(delays, 50), quantile(delays, 99))
	if *feedLoad > time.Second {
		t.Logf("PUBLISH: %s", publish(t, server.Addr))
	}
}

// pace calls f feedRate times a second, a hundredth of that at once.
func pace(d time.Duration, f func()) {
	var wg sync.WaitGroup
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range int(d / (10 * time.Millisecond)) {
		<-tick.C
		for range feedRate / 100 {
			wg.Go(f)
		}
	}
	wg.Wait()
}

// publish measures the same with PUBLISH, which loses what is said while a
// subscriber is not connected.
func publish(t *testing.T, addr string) string {
	t.Helper()
	var (
		mu     sync.Mutex
		began  = make(map[string]time.Time)
		delays []time.Duration
		subs   []*redis.PubSub
		wg     sync.WaitGroup
	)
	for range feedInstances {
		sub := newClient(t, addr).Subscribe(t.Context(), "revoked")
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		messages := sub.Channel(redis.WithChannelSize(100_000))
		wg.Go(func() {
			for m := range messages {
				now := time.Now()
				mu.Lock()
				delays = append(delays, now.Sub(began[m.Payload]))
				mu.Unlock()
			}
		})
		subs = append(subs, sub)
	}
	defer wg.Wait()
	defer func() {
		for _, sub := range subs {
			sub.Close()
		}
	}()
	c := newClient(t, addr)
	pace(*feedLoad, func() {
		id := rand.Text()
		mu.Lock()
		began[id] = time.Now()
		mu.Unlock()
		c.Publish(context.Background(), "revoked", id)
	})
	want := feedInstances * len(began)
	redistest.Await(t, 10*time.Second, "all messages arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(delays) >= want })
	mu.Lock()
	defer mu.Unlock()
	return "p50 " + quantile(delays, 50).String() + ", p99 " + quantile(delays, 99).String()
}

func quantile(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[(len(d)-1)*percent/100].Round(10 * time.Microsecond)
}

// TestFeedHealsEveryGap: connections that are killed, a server that restarts,
// one that freezes, and a stream that is deleted cost no revocation.
func TestFeedHealsEveryGap(t *testing.T) {
	t.Parallel()
	for name, gap := range map[string]func(s *redistest.Server){
		"connections are killed": func(s *redistest.Server) { s.Must("CLIENT", "KILL", "TYPE", "normal") },
		"the server restarts":    func(s *redistest.Server) { s.Kill(); s.Restart() },
		"the server freezes":     func(s *redistest.Server) { s.Pause(); time.AfterFunc(3*time.Second, s.Resume) },
		"the stream is deleted":  func(s *redistest.Server) { s.Must("DEL", "rt:feed") },
		"the scripts are gone":   func(s *redistest.Server) { s.Must("SCRIPT", "FLUSH") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What a process has written outlives it without fsync; with everysec a
			// server whose disk is busy puts off writing what it has answered.
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
			open := func() redis.UniversalClient { return newClient(t, server.Addr) }
			all := follow(t, 3, open)
			store := newStore(t, open())
			sent := map[family.ID]time.Time{}
			for range 20 {
				sent[revoke(t, store)] = time.Now()
			}
			if name == "the stream is deleted" { // what is in it has to be heard first
				redistest.Await(t, 10*time.Second, "what was said is heard", func() bool { return all[0].missing(sent)+all[1].missing(sent)+all[2].missing(sent) == 0 })
			}
			gap(server)
			for range 20 {
				sent[revoke(t, store)] = time.Now()
			}
			redistest.Await(t, 30*time.Second, "all is heard", func() bool { return all[0].missing(sent)+all[1].missing(sent)+all[2].missing(sent) == 0 })
			// An instance that starts now hears the same.
			if name != "the stream is deleted" {
				late := follow(t, 1, open)[0]
				if n := late.missing(sent); n > 0 {
					t.Errorf("an instance that starts misses %d of %d", n, len(sent))
				}
			}
		})
	}
}

// TestFeedThroughFailover: the feed goes on with the server that takes over.
func TestFeedThroughFailover(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t, 2, 3)
	open := func() redis.UniversalClient {
		return closing(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.MasterName, SentinelAddrs: sentinel.Addrs, ContextTimeoutEnabled: true}))
	}
	all := follow(t, 3, open)
	store := newStore(t, open())
	sent := map[family.ID]time.Time{}
	for range 20 {
		sent[revoke(t, store)] = time.Now()
	}
	sentinel.Failover()
	for range 20 {
		sent[revoke(t, store)] = time.Now()
	}
	redistest.Await(t, 30*time.Second, "all is heard", func() bool { return all[0].missing(sent)+all[1].missing(sent)+all[2].missing(sent) == 0 })
	if n := follow(t, 1, open)[0].missing(sent); n > 0 {
		t.Errorf("an instance that starts after the failover misses %d of %d: an acknowledged revocation was lost", n, len(sent))
	}
}

// TestFeedInACluster: one key, wherever its slot is.
func TestFeedInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	open := func() redis.UniversalClient {
		return closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true}))
	}
	all := follow(t, 3, open)
	store := newStore(t, open())
	sent := map[family.ID]time.Time{}
	for range 50 {
		sent[revoke(t, store)] = time.Now()
	}
	redistest.Await(t, 30*time.Second, "all is heard", func() bool { return all[0].missing(sent)+all[1].missing(sent)+all[2].missing(sent) == 0 })
}
