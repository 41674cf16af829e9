package redisstore_test

import (
	"context"
	"crypto/rand"
	"flag"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh/family"
)

var oneAccount = flag.Int("one-account", 2000, "how often one account signs in and out in TestOneAccountIsBounded, and a tenth as many sessions at a time; from 100,000 on, time is measured too")

// An account is one subject of a store.
type account struct {
	t       testing.TB
	store   *redisstore.Store
	subject family.Subject
	now     time.Time
}

func newAccount(t testing.TB, store *redisstore.Store) *account {
	a := &account{t: t, store: store, now: time.Now().Truncate(time.Millisecond)}
	rand.Read(a.subject[:])
	return a
}

func (a *account) record() family.Record {
	a.now = a.now.Add(time.Millisecond)
	f := family.Record{
		Subject: a.subject, CreatedAt: a.now, RotatedAt: a.now, AuthTime: a.now.Truncate(time.Second),
		Idle: time.Hour, AbsoluteExpiry: a.now.Add(24 * time.Hour), Device: family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
	}
	rand.Read(f.ID[:])
	rand.Read(f.Attempt[:])
	return f
}

func (a *account) start(limit int) family.Record {
	a.t.Helper()
	f := a.record()
	if _, err := a.store.Start(context.Background(), family.StartRequest{Record: f, MaxSessions: limit, Now: a.now}); err != nil {
		a.t.Fatalf("Start: %v", err)
	}
	return f
}

// revoke ends one family that is proven, or all where the id is zero.
func (a *account) revoke(id family.ID) family.RevokeResult {
	a.t.Helper()
	req := family.RevokeRequest{Subject: a.subject, Family: id, Proven: !id.IsZero(), Reason: family.ReasonLogout, Now: a.now}
	rand.Read(req.Attempt[:])
	res, err := a.store.Revoke(context.Background(), req)
	if err != nil {
		a.t.Fatalf("Revoke: %v", err)
	}
	return res
}

// entries is the number of entries in the feed.
func entries(t testing.TB, c redis.UniversalClient) int64 {
	t.Helper()
	n, err := c.XLen(context.Background(), "rt:feed").Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatIsDeadIsAnnouncedOnce: a dead token that is shown at logout again, and
// logout everywhere again, add nothing to the feed and nothing to the store.
func TestWhatIsDeadIsAnnouncedOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	a := newAccount(t, newStore(t, c))
	f, g, unknown := a.start(0), a.start(0), a.record()
	for i, step := range []struct {
		name   string
		revoke family.ID
		adds   int64
	}{
		{"logout", f.ID, 1},
		{"the same again", f.ID, 0},
		{"logout everywhere", family.ID{}, 1},
		{"the same again", family.ID{}, 0},
		{"one of those again", g.ID, 0},
		{"a token of a family that is not known", unknown.ID, 1},
		{"the same again", unknown.ID, 0},
	} {
		before := entries(t, c)
		a.revoke(step.revoke)
		if n := entries(t, c) - before; n != step.adds {
			t.Errorf("step %d, %s: %d entries in the feed, want %d", i+1, step.name, n, step.adds)
		}
	}
	keys := server.Must("DBSIZE")
	size := func() string { return server.Must("HLEN", "rt:{"+a.subject.String()+"}") }
	before := size()
	for range 300 {
		a.revoke(f.ID)
		a.revoke(unknown.ID)
		a.revoke(family.ID{})
	}
	if server.Must("DBSIZE") != keys || size() != before || entries(t, c) != 3 {
		t.Errorf("%s keys and %s fields, %s and %s before; %d entries in the feed", server.Must("DBSIZE"), size(), keys, before, entries(t, c))
	}
}

// TestALostAnnouncementIsMadeUpFor: what ended without being announced, because
// the feed could not be written or the program died in between, is announced by
// whoever revokes it again.
func TestALostAnnouncementIsMadeUpFor(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(a *account, f family.Record){
		"its logout is repeated":        func(a *account, f family.Record) { a.revoke(f.ID) },
		"logout everywhere is repeated": func(a *account, f family.Record) { a.revoke(family.ID{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := newClient(t, server.Addr)
			a := newAccount(t, newStore(t, c))
			f := a.start(0)
			// The feed cannot be written: its key has another type.
			server.Must("SET", "rt:feed", "hello")
			req := family.RevokeRequest{Subject: a.subject, Family: f.ID, Reason: family.ReasonLogout, Attempt: family.Attempt{7}, Now: a.now}
			if _, err := a.store.Revoke(t.Context(), req); err == nil {
				t.Fatal("a revocation that cannot be announced passes for done")
			}
			if got, err := a.store.Find(t.Context(), a.subject, f.ID, a.now); err != nil || got.Revoked != family.ReasonLogout {
				t.Fatalf("the family: %+v, %v", got, err)
			}
			server.Must("DEL", "rt:feed")
			other := *a
			other.store = newStore(t, c) // another program: this one remembers nothing
			again(&other, f)
			if n := entries(t, c); n != 1 {
				t.Errorf("%d entries in the feed, want 1", n)
			}
			again(&other, f)
			if n := entries(t, c); n != 1 {
				t.Errorf("%d entries in the feed after another time, want 1", n)
			}
		})
	}
}

// TestOneAccountIsBounded: an account that signs in and out again and again, shows
// dead tokens at logout, or opens sessions by the thousand, costs a bounded amount
// of memory, of the feed and of other users' time.
func TestOneAccountIsBounded(t *testing.T) {
	t.Parallel()
	n := *oneAccount
	measure := n >= 100_000
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store, err := redisstore.New(redisstore.Config{Client: c, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	a := newAccount(t, store)
	others := newNeighbours(t, store)
	quiet := others.p99(t, measure, func() {})
	memory := func() int64 {
		size, err := c.MemoryUsage(t.Context(), "rt:{"+a.subject.String()+"}", 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		return size
	}

	var dead []family.Record
	busy := others.p99(t, measure, func() {
		for range n {
			f := a.start(100)
			a.revoke(f.ID)
			dead = append(dead, f)
		}
	})
	if size := memory(); size > 64<<10 {
		t.Errorf("%d sign-ins and sign-outs later the subject takes %d bytes", n, size)
	}
	if e := entries(t, c); e != int64(n) {
		t.Errorf("%d entries in the feed for %d sign-outs", e, n)
	}
	ratio(t, measure, "an account that signs in and out", quiet, busy)

	busy = others.p99(t, measure, func() {
		for range 5 {
			for _, f := range dead[max(0, n-1000):] {
				a.revoke(f.ID)
			}
		}
	})
	// The tombstones of the newest are kept; none of the others is announced.
	if e := entries(t, c); e != int64(n) {
		t.Errorf("%d entries in the feed after dead tokens were shown at logout, %d before", e, n)
	}
	ratio(t, measure, "dead tokens at logout", quiet, busy)

	sessions := n / 10
	busy = others.p99(t, measure, func() {
		for range sessions {
			a.start(0)
		}
		for range 5 {
			list, err := store.List(t.Context(), a.subject, a.now)
			if want := min(sessions, family.ListLimit); err != nil || len(list) != want {
				t.Fatalf("%d sessions listed of %d, want %d: %v", len(list), sessions, want, err)
			}
		}
		f := a.start(100)
		before := entries(t, c)
		if res := a.revoke(family.ID{}); !slices.Contains(res.Ended, f.ID) || len(res.Ended) != sessions+1-min(sessions+1-100, family.MaxStep) {
			t.Errorf("%d ended of %d", len(res.Ended), sessions+1)
		}
		if e := entries(t, c) - before; e > int64(sessions/family.MaxStep+2) {
			t.Errorf("logout everywhere of %d sessions takes %d entries of the feed", sessions, e)
		}
	})
	if size := memory(); size > 64<<10 {
		t.Errorf("%d sessions later the subject takes %d bytes", sessions, size)
	}
	ratio(t, measure, "sessions by the thousand", quiet, busy)
}

// ratio says how much longer other users waited, and demands less than twice where
// that is measured.
func ratio(t *testing.T, measure bool, what string, quiet, busy time.Duration) {
	t.Helper()
	if !measure {
		return
	}
	t.Logf("%s: other users' p99 is %v, and %v when it is quiet", what, busy, quiet)
	if busy > 2*quiet {
		t.Errorf("%s makes others wait %.1f times as long", what, float64(busy)/float64(quiet))
	}
}

// Neighbours are other users, who renew their sessions.
type neighbours struct {
	store *redisstore.Store
	all   []*account
}

func newNeighbours(t testing.TB, store *redisstore.Store) *neighbours {
	n := &neighbours{store: store}
	for range 4 {
		n.all = append(n.all, newAccount(t, store))
	}
	return n
}

// p99 runs f while the neighbours ask for their sessions, at least so often if
// that is to be measured, and returns the time in which 99 of 100 were answered.
func (n *neighbours) p99(t *testing.T, measure bool, f func()) time.Duration {
	t.Helper()
	if !measure {
		f()
		return 0
	}
	const least = 20_000
	var stop atomic.Bool
	var wg sync.WaitGroup
	took := make([][]time.Duration, len(n.all))
	for i, a := range n.all {
		wg.Go(func() {
			for !stop.Load() || len(took[i]) < least/len(n.all) {
				began := time.Now()
				if _, err := n.store.Find(context.Background(), a.subject, family.ID{1}, a.now); err != nil {
					t.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	f()
	stop.Store(true)
	wg.Wait()
	return quantile(slices.Concat(took...), 99)
}

// TestManySessionsOfOneAccount: where an app sets no limit, an account with many
// thousands blocks the server for a few milliseconds at a time.
func TestManySessionsOfOneAccount(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store, err := redisstore.New(redisstore.Config{Client: c, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	a := newAccount(t, store)
	const sessions = 5000
	for range sessions {
		a.start(0)
	}
	server.Must("SLOWLOG", "RESET")
	server.Must("CONFIG", "SET", "slowlog-log-slower-than", strconv.Itoa(100_000))
	if list, err := store.List(t.Context(), a.subject, a.now); err != nil || len(list) != family.ListLimit {
		t.Errorf("%d listed, %v", len(list), err)
	}
	a.start(1000)
	// As many as are alive expire: they go a few at each login.
	a.now = a.now.Add(2 * time.Hour)
	for range 20 {
		a.start(0)
	}
	if list, err := store.List(t.Context(), a.subject, a.now); err != nil || len(list) != 20 {
		t.Errorf("%d listed after the others expired, %v", len(list), err)
	}
	if res := a.revoke(family.ID{}); len(res.Ended) != 20 {
		t.Errorf("%d ended", len(res.Ended))
	}
	if n := server.Must("SLOWLOG", "LEN"); n != "0" {
		t.Errorf("%s commands took longer than 100 ms", n)
	}
}
