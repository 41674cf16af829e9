package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/ledger"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A clock notes when a session was revoked, and when each instance had heard of it:
// from then on it refuses.
type clock struct {
	mu    sync.Mutex
	began map[string]time.Time
	took  []time.Duration
	seen  map[string]int
}

// An instance is a store whose feed is listened to.
type instance struct {
	*redisstore.Store
	*clock
	ready chan struct{}
}

// Follow implements family.Feed.
func (i *instance) Follow(ctx context.Context, window time.Duration, on family.FeedHandler) error {
	return i.Store.Follow(ctx, window, &listener{FeedHandler: on, instance: i})
}

type listener struct {
	family.FeedHandler
	*instance
	once sync.Once
}

// Revoked implements family.FeedHandler: when it returns, the instance refuses.
func (l *listener) Revoked(id family.ID, at time.Time) {
	l.FeedHandler.Revoked(id, at)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if began, ok := l.began[id.String()]; ok {
		l.took = append(l.took, now.Sub(began))
		l.seen[id.String()]++
	}
}

// Synced implements family.FeedHandler.
func (l *listener) Synced() {
	l.FeedHandler.Synced()
	l.once.Do(func() { close(l.ready) })
}

// revocations signs users in, and revokes their sessions at a steady rate on one
// instance after the other, on a Redis of its own.
func revocations(instances, rate int, d time.Duration) (ledger.Entry, error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return ledger.Entry{}, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "redis")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "yes", "--dir", dir, "--loglevel", "warning")
	if err := server.Start(); err != nil {
		return ledger.Entry{}, fmt.Errorf("redis-server: %w (Debian: apt-get install redis-server)", err)
	}
	defer server.Wait()
	defer server.Process.Kill()

	c := &clock{began: make(map[string]time.Time), seen: make(map[string]int)}
	kits, err := start(c, socket, instances)
	if err != nil {
		return ledger.Entry{}, err
	}
	defer func() {
		for _, k := range kits {
			k.Close()
		}
	}()
	n := int(float64(rate) * d.Seconds())
	grants := make([]*refresh.Grant, n)
	for i := range grants {
		if grants[i], err = kits[i%instances].Sessions.Start(context.Background(), refresh.Login{
			Subject: fmt.Sprintf("user-%d", i), Remember: true, Client: refresh.Client{UserAgent: "figures", DeviceID: fmt.Sprintf("device-%020d", i)},
		}); err != nil {
			return ledger.Entry{}, fmt.Errorf("sign-in %d: %w", i, err)
		}
	}
	if err := revoke(c, kits, grants, rate); err != nil {
		return ledger.Entry{}, err
	}
	refused := 0
	for _, k := range kits {
		for _, g := range grants {
			if _, err := k.Sessions.Verify(g.AccessToken); err != nil {
				refused++
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return ledger.Entry{}, fmt.Errorf("no revocation arrived")
	}
	slices.Sort(c.took)
	ms := func(share float64) float64 {
		took := c.took[min(int(share*float64(len(c.took))), len(c.took)-1)]
		return math.Round(took.Seconds()*1e5) / 100
	}
	return ledger.Entry{
		Kind: ledger.Feed, Date: began.UTC().Truncate(time.Second), Commit: ledger.Commit(), Seconds: math.Round(time.Since(began).Seconds()),
		Revocations: &ledger.Revocations{Instances: instances, PerSecond: rate, Sent: n, Refused: refused, P50: ms(0.5), P99: ms(0.99), Max: ms(1)},
	}, nil
}

// start makes the instances, and waits until all follow the feed.
func start(c *clock, socket string, instances int) ([]*sessionkit.Kit, error) {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		return nil, err
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		return nil, err
	}
	var kits []*sessionkit.Kit
	for range instances {
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, ContextTimeoutEnabled: true})
		for deadline := time.Now().Add(10 * time.Second); client.Ping(context.Background()).Err() != nil; {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("redis-server does not answer")
			}
		}
		store, err := redisstore.New(redisstore.Config{Client: client, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		in := &instance{Store: store, clock: c, ready: make(chan struct{})}
		kit, err := sessionkit.New(sessionkit.Config{Issuer: "https://figures.example", Keys: ring, Store: in, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		kits = append(kits, kit)
		<-in.ready
	}
	return kits, nil
}

// revoke ends the sessions, and waits until all instances have heard of them, or
// for ten seconds.
func revoke(c *clock, kits []*sessionkit.Kit, grants []*refresh.Grant, rate int) error {
	var calls sync.WaitGroup
	var failed error
	var once sync.Once
	begin := time.Now()
	for i, g := range grants {
		if wait := time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))); wait > 0 {
			<-time.After(wait)
		}
		calls.Go(func() {
			c.mu.Lock()
			c.began[g.Claims.SessionID] = time.Now()
			c.mu.Unlock()
			if err := kits[i%len(kits)].Sessions.Revoke(context.Background(), g.Claims.Subject, g.Claims.SessionID, family.ReasonUser); err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	calls.Wait()
	if failed != nil {
		return fmt.Errorf("a revocation: %w", failed)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		c.mu.Lock()
		all := len(c.took) >= len(grants)*len(kits)
		c.mu.Unlock()
		if all {
			return nil
		}
	}
	return nil
}
