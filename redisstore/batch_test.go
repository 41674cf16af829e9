package redisstore_test

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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

// A watcher counts the messages with scripts that leave a client, and holds
// those up for whose number hold is true.
type watcher struct {
	hold    func(message int) bool
	release chan struct{}
	panics  bool // in messages with several

	messages atomic.Int64
	calls    atomic.Int64
	largest  atomic.Int64
}

func (v *watcher) leaves(ctx context.Context, calls int) error {
	n := int(v.messages.Add(1))
	v.calls.Add(int64(calls))
	for {
		most := v.largest.Load()
		if int64(calls) <= most || v.largest.CompareAndSwap(most, int64(calls)) {
			break
		}
	}
	if v.hold == nil || !v.hold(n) {
		return nil
	}
	select {
	case <-v.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *watcher) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (v *watcher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			if err := v.leaves(ctx, 1); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func (v *watcher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if strings.HasPrefix(cmds[0].Name(), "eval") {
			err := v.leaves(ctx, len(cmds))
			if v.panics {
				panic("a hook's mistake")
			}
			if err != nil {
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		return next(ctx, cmds)
	}
}

// watch lets v see the scripts of c from now on.
func (v *watcher) watch(c redis.UniversalClient) {
	v.release = make(chan struct{})
	c.AddHook(v)
}

// sessions starts n of them, each with an authentication context of its own.
func sessions(t *testing.T, c *redis.Client, n int) (*refresh.Sessions, []*refresh.Grant) {
	t.Helper()
	s := storelife.NewService(t, storelife.NewRing(t), storelife.Plain{Store: newStore(t, c)}, new(storelife.Events), 0)
	grants := make([]*refresh.Grant, n)
	for i := range grants {
		var err error
		if grants[i], err = s.Start(t.Context(), refresh.Login{Subject: fmt.Sprintf("user-%d", i), Remember: true, Client: device, ACR: fmt.Sprintf("level-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	renewAll(t, s, grants[:1]) // the server knows the script now
	return s, grants
}

// renewAll renews all sessions at once and checks that each got its own.
func renewAll(t *testing.T, s *refresh.Sessions, grants []*refresh.Grant) {
	t.Helper()
	var all sync.WaitGroup
	for i, g := range grants {
		all.Go(func() {
			next, err := s.Refresh(t.Context(), g.RefreshToken, device)
			for err == nil && next.Outcome == family.Fresh { // for some milliseconds
				next, err = s.Refresh(t.Context(), g.RefreshToken, device)
			}
			switch {
			case err != nil:
				t.Errorf("session %d: %v", i, err)
			case next.Outcome != family.Rotated || next.Claims.SessionID != g.Claims.SessionID || next.Claims.ACR != g.Claims.ACR || next.Claims.Generation != g.Claims.Generation+1:
				t.Errorf("session %d got what is another's: %v, %+v", i, next.Outcome, next.Claims)
			default:
				grants[i] = next
			}
		})
	}
	all.Wait()
}

// TestCallsThatWaitAreSentTogether: while messages are under way the other calls
// wait and join. Each gets the answer to its own, whatever becomes of the first
// message.
func TestCallsThatWaitAreSentTogether(t *testing.T) {
	t.Parallel()
	v := &watcher{hold: func(message int) bool { return message == 1 }}
	c := newClient(t, redistest.Start(t).Addr)
	s, grants := sessions(t, c, 200)
	v.watch(c)
	first := make(chan error, 1)
	go func() { _, err := s.Refresh(t.Context(), grants[0].RefreshToken, device); first <- err }()
	redistest.Await(t, 10*time.Second, "the first is under way", func() bool { return v.messages.Load() == 1 })
	renewAll(t, s, grants[1:]) // the first is stuck all the while
	select {
	case err := <-first:
		t.Errorf("the first is back: %v", err)
	default:
	}
	if messages, calls, largest := v.messages.Load(), v.calls.Load(), v.largest.Load(); calls != 200 || largest < 2 {
		t.Errorf("%d calls on %d messages, at most %d together", calls, messages, largest)
	} else {
		t.Logf("%d calls on %d messages, at most %d together", calls, messages, largest)
	}
	close(v.release)
	if err := <-first; err != nil {
		t.Errorf("the first, in the end: %v", err)
	}
}

// TestACallInABatchFailsAlone: a call that the server refuses is its own
// caller's trouble.
func TestACallInABatchFailsAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	v := &watcher{hold: func(message int) bool { return message == 1 }}
	c := newClient(t, server.Addr)
	s, grants := sessions(t, c, 60)
	keys := server.Must("KEYS", "rt:{*}")
	victim := start(t, s, "mallory")
	for key := range strings.FieldsSeq(server.Must("KEYS", "rt:{*}")) {
		if !strings.Contains(keys, key) {
			server.Must("DEL", key)
			server.Must("SET", key, "hello")
		}
	}
	v.watch(c)
	go s.Refresh(t.Context(), grants[0].RefreshToken, device)
	redistest.Await(t, 10*time.Second, "the first is under way", func() bool { return v.messages.Load() >= 1 })
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := s.Refresh(t.Context(), victim.RefreshToken, device); !errors.Is(err, family.ErrUnavailable) {
			t.Errorf("the one whose record is spoilt: %v", err)
		}
	})
	all.Go(func() { renewAll(t, s, grants[1:]) })
	all.Wait()
	close(v.release)
}

// TestABatchWhoseScriptsWereForgotten: a server that was restarted, or whose cache was
// flushed, does not know the script of any call of a batch.
func TestABatchWhoseScriptsWereForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	v := &watcher{hold: func(message int) bool { return message == 1 }}
	c := newClient(t, server.Addr)
	s, grants := sessions(t, c, 100)
	v.watch(c)
	first := make(chan error, 1)
	go func() { _, err := s.Refresh(t.Context(), grants[0].RefreshToken, device); first <- err }()
	redistest.Await(t, 10*time.Second, "the first is under way", func() bool { return v.messages.Load() == 1 })
	server.Must("SCRIPT", "FLUSH")
	renewAll(t, s, grants[1:])
	server.Must("SCRIPT", "FLUSH")
	close(v.release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestAPanickingHookIsNotTheEnd: a hook of the app's client that panics must
// not end the program where nobody can recover.
func TestAPanickingHookIsNotTheEnd(t *testing.T) {
	t.Parallel()
	v := &watcher{hold: func(message int) bool { return message == 1 }, panics: true}
	c := newClient(t, redistest.Start(t).Addr)
	s, grants := sessions(t, c, 100)
	v.watch(c)
	first := make(chan error, 1)
	go func() { _, err := s.Refresh(t.Context(), grants[0].RefreshToken, device); first <- err }()
	redistest.Await(t, 10*time.Second, "the first is under way", func() bool { return v.messages.Load() == 1 })
	for range 3 {
		renewAll(t, s, grants[1:]) // each by itself
	}
	close(v.release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestWhoGivesUpIsNotSent: a caller that leaves while it waits is
// answered at once, and its call is not made.
func TestWhoGivesUpIsNotSent(t *testing.T) {
	t.Parallel()
	v := &watcher{hold: func(message int) bool { return message == 1 }}
	c := newClient(t, redistest.Start(t).Addr)
	store := newStore(t, c)
	find := func(ctx context.Context) error {
		_, err := store.Find(ctx, family.Subject{}, family.ID{}, time.Now())
		return err
	}
	if err := find(t.Context()); err != nil { // the server knows the script now
		t.Fatal(err)
	}
	v.watch(c)
	first := make(chan error, 1)
	go func() { first <- find(t.Context()) }()
	redistest.Await(t, 10*time.Second, "the first is under way", func() bool { return v.messages.Load() == 1 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 50 {
		if err := find(gone); !errors.Is(err, context.Canceled) || !errors.Is(err, family.ErrUnavailable) {
			t.Fatalf("who gave up hears %v", err)
		}
	}
	if err := find(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := v.calls.Load(); n != 2 {
		t.Errorf("%d calls were made", n)
	}
	close(v.release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestAStalledServerIsGivenUpInTime: many callers at once, with a client that
// honours its context and with one that does not, wait no longer than told,
// and are served as soon as the server goes on.
func TestAStalledServerIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	for _, honours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ContextTimeoutEnabled=%v", honours), func(t *testing.T) {
			server := redistest.Start(t)
			c := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: honours, PoolSize: 100})
			defer c.Close()
			store, err := redisstore.New(redisstore.Config{Client: c, Timeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			find := func() error {
				_, err := store.Find(t.Context(), family.Subject{}, family.ID{}, time.Now())
				return err
			}
			if err := find(); err != nil {
				t.Fatal(err)
			}
			server.Pause()
			began := time.Now()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if err := find(); !errors.Is(err, family.ErrUnavailable) {
						t.Errorf("while the server is stopped: %v", err)
					}
				})
			}
			all.Wait()
			// The rest is for a busy machine.
			if took := time.Since(began); took > 300*time.Millisecond+2*time.Second {
				t.Errorf("given up after %v", took)
			}
			server.Resume()
			redistest.Await(t, 10*time.Second, "calls are answered again", func() bool { return find() == nil })
		})
	}
}

// TestAStuckNodeHoldsUpNoOther: calls to the other servers of a Cluster are not
// held up by those to one that has stopped.
func TestAStuckNodeHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
	defer c.Close()
	store := newStore(t, c)
	stuck := cluster.Primaries()[0]
	at := func(id byte) (family.Subject, bool) {
		key := family.Subject{id}
		node, err := c.MasterForKey(t.Context(), "rt:{"+key.String()+"}")
		if err != nil {
			t.Fatal(err)
		}
		return key, node.Options().Addr == stuck.Addr
	}
	find := func(ctx context.Context, key family.Subject) error {
		_, err := store.Find(ctx, key, family.ID{}, time.Now())
		return err
	}
	for id := range 60 {
		key, _ := at(byte(id))
		if err := find(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	stuck.Pause()
	defer stuck.Resume()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stopped, others sync.WaitGroup
	nodes := 0
	for id := range 60 {
		key, is := at(byte(id))
		if is {
			stopped.Go(func() { find(ctx, key) })
			nodes++
			continue
		}
		others.Go(func() {
			for range 20 {
				if err := find(ctx, key); err != nil {
					t.Errorf("on a server that works: %v", err)
				}
			}
		})
	}
	if nodes == 0 || nodes == 60 {
		t.Fatalf("%d of 60 keys are on one of three servers", nodes)
	}
	done := make(chan struct{})
	go func() { others.Wait(); close(done) }()
	waited := make(chan struct{})
	go func() { stopped.Wait(); close(waited) }()
	select {
	case <-done:
	case <-waited:
		t.Error("the calls to servers that work waited for those to the one that does not")
	}
	cancel()
	others.Wait()
	stopped.Wait()
}

// TestACrowdWithFaults: many honest users at once, whose scripts are sent
// together, over a network with a fault at one command in fifty.
func TestACrowdWithFaults(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	c := newCrowd(t, 2, func() *redisstore.Store { return newFaultyStore(t, proxy.Addr) })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	proxy.SetPlan(func(command []string) redistest.Fault {
		if strings.HasPrefix(strings.ToLower(command[0]), "eval") && r.IntN(50) == 0 {
			return redistest.Fault(1 + r.IntN(5))
		}
		return redistest.Pass
	})
	c.start()
	c.progress(t, 5000)
	proxy.SetPlan(nil)
	c.end(t)
}

// BenchmarkRotate64 renews the sessions of 64 clients at once.
func BenchmarkRotate64(b *testing.B) {
	server := redistest.Start(b)
	c := redis.NewClient(&redis.Options{Addr: server.Addr, ContextTimeoutEnabled: true, PoolSize: 80})
	defer c.Close()
	store := newStore(b, c)
	now := time.Now().Truncate(time.Millisecond)
	secret := func(id family.ID, g uint32) [32]byte {
		return sha256.Sum256(append(id[:], byte(g), byte(g>>8), byte(g>>16)))
	}
	const clients = 64
	var recs [clients]family.Record
	for i := range recs {
		f := family.Record{CreatedAt: now, RotatedAt: now, AuthTime: now.Truncate(time.Second), Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour)}
		crand.Read(f.ID[:])
		crand.Read(f.Subject[:])
		crand.Read(f.Attempt[:])
		f.Current = secret(f.ID, 0)
		if _, err := store.Start(b.Context(), family.StartRequest{Record: f, Now: now}); err != nil {
			b.Fatal(err)
		}
		recs[i] = f
	}
	b.ResetTimer()
	var n atomic.Int64
	var wg sync.WaitGroup
	for i := range recs {
		wg.Go(func() {
			f := recs[i]
			for g := uint32(0); n.Add(1) <= int64(b.N); g++ {
				p := family.RotateRequest{Subject: f.Subject, Family: f.ID, Generation: g, Hash: secret(f.ID, g), Successor: secret(f.ID, g+1), Now: now}
				crand.Read(p.Attempt[:])
				if v, err := store.Rotate(b.Context(), p); err != nil || v.Outcome != family.Rotated {
					b.Error(v.Outcome, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rotations/s")
}
