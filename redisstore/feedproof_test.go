package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A pulse counts what a follower says.
type pulse struct {
	synced  atomic.Int64
	revoked atomic.Int64
}

func (p *pulse) Revoked(family.ID, time.Time) { p.revoked.Add(1) }
func (p *pulse) Synced()                      { p.synced.Add(1) }

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// followWith follows the feed with a log until the test ends.
func followWith(t *testing.T, cfg redisstore.Config) (*pulse, *lines) {
	t.Helper()
	p, l := new(pulse), new(lines)
	cfg.Logger = slog.New(slog.NewTextHandler(l, nil))
	store, err := redisstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { stop(); wg.Wait() })
	wg.Go(func() { store.Follow(ctx, time.Hour, p) })
	return p, l
}

// TestTheFeedTrustsOnlyAServerThatMayWrite: a primary that was demoted or has lost
// its replicas, and a replica, hear of nothing; whoever follows them is told so by
// silence, and hears again when the server may write again.
func TestTheFeedTrustsOnlyAServerThatMayWrite(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]struct{ begin, end []string }{
		"demoted":          {[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
		"without replicas": {[]string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			p, log := followWith(t, redisstore.Config{Client: newClient(t, server.Addr)})
			redistest.Await(t, 20*time.Second, "the feed works", func() bool { return p.synced.Load() > 1 })
			server.Must(cut.begin...)
			redistest.Await(t, 20*time.Second, "it is cut off", func() bool { return log.count("feed interrupted") == 1 })
			before := p.synced.Load()
			calls := commandCalls(t, server, "xtrim")
			redistest.Await(t, 20*time.Second, "it tries again", func() bool { return commandCalls(t, server, "xtrim") > calls+1 })
			if n := p.synced.Load(); n != before {
				t.Errorf("the feed of a server that may not write says that all is known, %d times", n-before)
			}
			server.Must(cut.end...)
			redistest.Await(t, 20*time.Second, "the feed works again", func() bool { return p.synced.Load() > before })
		})
	}
	t.Run("a replica as FeedClient", func(t *testing.T) {
		t.Parallel()
		primary := redistest.Start(t, "--repl-diskless-sync-delay", "0")
		replica := redistest.Start(t, "--replicaof", primary.Host()+" "+primary.Port())
		cfg := redisstore.Config{Client: newClient(t, primary.Addr), FeedClient: newClient(t, replica.Addr), Timeout: time.Second}
		p, log := followWith(t, cfg)
		redistest.Await(t, 20*time.Second, "it is refused", func() bool { return log.count("feed interrupted") == 1 })
		if n := p.synced.Load(); n != 0 {
			t.Errorf("the feed of a replica says that all is known, %d times", n)
		}
		store, err := redisstore.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Check(t.Context()); !errors.Is(err, family.ErrUnavailable) || !strings.Contains(err.Error(), "FeedClient") {
			t.Errorf("Check: %v", err)
		}
	})
}

// commandCalls is how often clients tried a command.
func commandCalls(t *testing.T, server *redistest.Server, name string) int {
	t.Helper()
	total := 0
	for line := range strings.Lines(server.Must("INFO", "commandstats")) {
		rest, ok := strings.CutPrefix(line, "cmdstat_"+name+":")
		for part := range strings.SplitSeq(strings.TrimSpace(rest), ",") {
			for _, field := range []string{"calls=", "rejected_calls=", "failed_calls="} {
				if v, found := strings.CutPrefix(part, field); ok && found {
					n, err := strconv.Atoi(v)
					if err != nil {
						t.Fatalf("commandstats: %s", line)
					}
					total += n
				}
			}
		}
	}
	return total
}

// A meddler is a client's hook that counts and may panic.
type meddler struct {
	commands atomic.Int64
	panics   atomic.Bool
}

func (m *meddler) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (m *meddler) meddle() {
	m.commands.Add(1)
	if m.panics.Load() {
		panic("a hook's mistake")
	}
}

func (m *meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { m.meddle(); return next(ctx, cmd) }
}

func (m *meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if name := cmds[0].Name(); name != "hello" && name != "client" { // of a new connection
			m.meddle()
		}
		return next(ctx, cmds)
	}
}

// TestOneLineForAnOutage: an idle instance says once that Redis is away, and once
// that it is back, however often it tries.
func TestOneLineForAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, m := newClient(t, server.Addr), new(meddler)
	c.AddHook(m)
	p, log := followWith(t, redisstore.Config{Client: c, Timeout: 200 * time.Millisecond})
	redistest.Await(t, 20*time.Second, "the feed works", func() bool { return p.synced.Load() > 0 })
	server.Kill()
	redistest.Await(t, 20*time.Second, "it is away", func() bool { return log.count("feed interrupted") > 0 })
	tried := m.commands.Load()
	redistest.Await(t, 30*time.Second, "it tries again and again", func() bool { return m.commands.Load() >= tried+4 })
	server.Restart()
	before := p.synced.Load()
	redistest.Await(t, 20*time.Second, "it is back", func() bool { return p.synced.Load() > before+1 })
	if away, back, all := log.count("feed interrupted"), log.count("feed works again"), log.count("\n"); away != 1 || back != 1 || all != 2 {
		t.Errorf("%d lines that it is away, %d that it is back, %d in all", away, back, all)
	}
}

// TestAPanickingHookIsNoEndOfTheFeed: nor of a call.
func TestAPanickingHookIsNoEndOfTheFeed(t *testing.T) {
	t.Parallel()
	for _, honours := range []bool{true, false} {
		server := redistest.Start(t)
		c := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: honours})
		defer c.Close()
		m := new(meddler)
		c.AddHook(m)
		p, log := followWith(t, redisstore.Config{Client: c})
		redistest.Await(t, 20*time.Second, "the feed works", func() bool { return p.synced.Load() > 0 })
		m.panics.Store(true)
		redistest.Await(t, 20*time.Second, "it is reported", func() bool {
			return log.count("a hook of the client panicked") > 0 && log.count("feed interrupted") > 0
		})
		store := newStore(t, c)
		if _, err := store.Find(t.Context(), family.Subject{}, family.ID{}, time.Now()); !errors.Is(err, family.ErrUnavailable) {
			t.Errorf("a call: %v", err)
		}
		m.panics.Store(false)
		before := p.synced.Load()
		redistest.Await(t, 20*time.Second, "it works again", func() bool { return p.synced.Load() > before })
		if _, err := store.Find(t.Context(), family.Subject{}, family.ID{}, time.Now()); err != nil {
			t.Errorf("a call afterwards: %v", err)
		}
	}
}

// TestReuseIsConfirmedByAReplica: in a Cluster too, where the feed may be on
// another server than the session.
func TestReuseIsConfirmedByAReplica(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 1)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
	defer c.Close()
	store := newStore(t, c)
	server := func(key string) string {
		node, err := c.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return node.Options().Addr
	}
	a := newAccount(t, store)
	for server("rt:{"+a.subject.String()+"}") == server("rt:feed") {
		a = newAccount(t, store)
	}
	f := a.record()
	f.Generation, f.Settled, f.Current = 2, true, [32]byte{2}
	if _, err := store.Start(t.Context(), family.StartRequest{Record: f, Now: a.now}); err != nil {
		t.Fatal(err)
	}
	var home *redistest.Server
	for _, n := range cluster.Nodes {
		if n.Addr == server("rt:{"+a.subject.String()+"}") {
			home = n
		}
	}
	before := commandCalls(t, home, "wait")
	p := family.RotateRequest{Subject: a.subject, Family: f.ID, Generation: 1, Hash: [32]byte{1}, Successor: [32]byte{2}, Attempt: family.Attempt{9}, Now: a.now}
	if v, err := store.Rotate(t.Context(), p); err != nil || v.Outcome != family.Reused {
		t.Fatalf("%v, %v", v.Outcome, err)
	}
	if commandCalls(t, home, "wait") == before {
		t.Error("no replica was waited for where the session is")
	}
}

// TestWhatCannotBeReadIsEndedAllTheSame: a newer build's records, in a rolling
// upgrade, end when they are revoked.
func TestWhatCannotBeReadIsEndedAllTheSame(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store := newStore(t, c)
	for name, revoke := range map[string]func(a *account, f family.Record) family.RevokeResult{
		"the one":      func(a *account, f family.Record) family.RevokeResult { return a.revoke(f.ID) },
		"all of them":  func(a *account, _ family.Record) family.RevokeResult { return a.revoke(family.ID{}) },
		"by one login": func(a *account, f family.Record) family.RevokeResult { return a.supersede(f.ID) },
	} {
		a := newAccount(t, store)
		f := a.start(0)
		key := "rt:{" + a.subject.String() + "}"
		newer := append([]byte{2}, []byte("what this build cannot read, of whatever length it may be")...)
		c.HSet(t.Context(), key, string(f.ID[:]), newer)
		before := entries(t, c)
		if res := revoke(a, f); len(res.Ended) != 1 || res.Ended[0] != f.ID {
			t.Errorf("%s: %+v", name, res)
		}
		if got, err := store.Find(t.Context(), a.subject, f.ID, a.now); err != nil || got.Revoked == "" {
			t.Errorf("%s: the record is %+v, %v", name, got, err)
		}
		if entries(t, c) != before+1 {
			t.Errorf("%s: not announced", name)
		}
	}
}

// supersede ends a family by a login in its place.
func (a *account) supersede(id family.ID) family.RevokeResult {
	a.t.Helper()
	f := a.record()
	res, err := a.store.Start(context.Background(), family.StartRequest{Record: f, Supersedes: []family.ID{id}, Now: a.now})
	if err != nil {
		a.t.Fatal(err)
	}
	return family.RevokeResult{Ended: res.Superseded}
}

// TestAServerThatTakesNoWrites: what works on a server that is full, that is a
// replica, or that has lost its own, and what is refused with ErrUnavailable.
func TestAServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		begin []string
		works string // all else is refused
	}{
		{"full", []string{"CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"}, "Find List Revoke RevokeAgain RevokeAll Ping"},
		{"a replica", []string{"REPLICAOF", "127.0.0.1", "1"}, "List Ping"},
		{"without replicas", []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, "List Ping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := newClient(t, server.Addr)
			patient := newStore(t, c)
			// What is refused is tried again until the time is up.
			hasty, err := redisstore.New(redisstore.Config{Client: c, Timeout: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			a := newAccount(t, patient)
			f, g, dead := a.start(0), a.start(0), a.start(0)
			a.revoke(dead.ID)
			server.Must(tt.begin...)
			ctx, fresh, store := t.Context(), a.record(), patient
			revoke := func(id family.ID) error {
				_, err := store.Revoke(ctx, family.RevokeRequest{Subject: a.subject, Family: id, Reason: family.ReasonLogout, Attempt: family.Attempt{1}, Now: a.now})
				return err
			}
			for _, op := range []struct {
				name string
				call func() error
			}{
				{"Start", func() error {
					_, err := store.Start(ctx, family.StartRequest{Record: fresh, Now: a.now})
					return err
				}},
				{"Rotate", func() error {
					_, err := store.Rotate(ctx, family.RotateRequest{Subject: a.subject, Family: f.ID, Hash: f.Current, Successor: [32]byte{1}, Attempt: family.Attempt{1}, Now: a.now.Add(10 * time.Minute)})
					return err
				}},
				{"Settle", func() error { return store.Settle(ctx, a.subject, f.ID, 0) }},
				{"Find", func() error { _, err := store.Find(ctx, a.subject, f.ID, a.now); return err }},
				{"List", func() error {
					list, err := store.List(ctx, a.subject, a.now)
					if err == nil && len(list) != 2 {
						t.Errorf("%d listed", len(list))
					}
					return err
				}},
				{"Ping", func() error { return store.Ping(ctx) }},
				{"Revoke", func() error { return revoke(g.ID) }},
				{"RevokeAgain", func() error { return revoke(g.ID) }},
				{"RevokeAll", func() error { return revoke(family.ID{}) }},
			} {
				works := strings.Contains(" "+tt.works+" ", " "+op.name+" ")
				if store = hasty; works {
					store = patient
				}
				if err := op.call(); works && err != nil || !works && !errors.Is(err, family.ErrUnavailable) {
					t.Errorf("%s: %v", op.name, err)
				}
			}
		})
	}
}
