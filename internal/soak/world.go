package main

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Times are those of production, scaled by the access token's lifetime: what
// the protocol assumes of honest clients has to hold here too. What a token's
// age seems to be is off by as much as the clocks differ, so that a round trip,
// a crash and the clocks together stay below the settle time.
type times struct{ lifetime, skew time.Duration }

func (t times) settle() time.Duration   { return t.lifetime / 2 }
func (t times) crash() time.Duration    { return t.lifetime / 20 } // how old a crashed browser's cookies are
func (t times) network() time.Duration  { return t.lifetime / 60 } // of one way, at most
func (t times) patience() time.Duration { return t.lifetime / 15 } // after which a client gives up
func (t times) outage() time.Duration   { return t.lifetime / 20 } // of the store, before a request is given up or goes on

// bound is how long a request may be on its way to the store: what remains of
// the settle time when the clocks differ, the successor came as late as its
// client would wait, and a crash took it back. The network and an outage stay
// below it; a machine that is too slow does not.
func (t times) bound() time.Duration { return t.settle() - t.skew - t.patience() - t.crash() }

// staleAfter is when an instance knows that it may have missed a revocation.
const staleAfter = 3 * time.Second

// A world is the instances, their Redis, and everything that was ever issued.
type world struct {
	times
	t         testing.TB
	options   options
	server    *redistest.Server   // or
	sentinel  *redistest.Sentinel // the one that is not nil
	failovers failovers
	instances []*instance
	users     []*user
	families  sync.Map // session id -> *trackedSession
	account   account
	calm      atomic.Bool
	probes    sync.WaitGroup

	mu      sync.Mutex
	thieves []*thief
}

type instance struct {
	offset   time.Duration
	sessions *refresh.Sessions
	handler  http.Handler
}

func (in *instance) now() time.Time { return time.Now().Add(in.offset) }

func (w *world) family(sid string) *trackedSession {
	f, _ := w.families.LoadOrStore(sid, new(trackedSession))
	return f.(*trackedSession)
}

// HandleEvent implements refresh.EventHandler.
func (w *world) HandleEvent(_ context.Context, e refresh.Event) {
	w.account.event(e.Kind)
	switch e.Kind {
	case refresh.EventSettled:
		if late, ok := w.family(e.SessionID).settle(e.Generation, w.failovers.now()); ok {
			w.account.reported(late)
		}
	case refresh.EventReuse:
		w.family(e.SessionID).reused.Store(true)
	}
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	redis.SetLogger(silent{})
	w := &world{times: times{o.lifetime, o.skew}, t: t, options: o}
	if o.sentinel {
		w.sentinel = redistest.StartSentinel(t, 2, 3)
	} else {
		w.server = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	}
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	for i := range o.instances {
		// The first is as far ahead as the last is behind.
		offset := w.skew / 2
		if o.instances > 1 {
			offset -= w.skew * time.Duration(i) / time.Duration(o.instances-1)
		}
		w.instances = append(w.instances, w.newInstance(ring, w.newClient(uint64(1000+i)), offset))
	}
	return w
}

// silent drops what go-redis logs of servers that were killed.
type silent struct{}

// Printf drops it.
func (silent) Printf(context.Context, string, ...any) {}

// newClient returns a client whose connections to Redis fail at random.
func (w *world) newClient(chance uint64) redis.UniversalClient {
	plan := w.faults(rand.New(rand.NewPCG(w.options.seed, chance)))
	var client redis.UniversalClient
	// RESP 2 is what the proxy speaks.
	if w.sentinel == nil {
		proxy := redistest.NewProxy(w.t, w.server.Addr)
		proxy.SetPlan(plan)
		client = redis.NewClient(&redis.Options{
			Addr: proxy.Addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: 64,
			ReadTimeout: 200 * time.Millisecond, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond,
		})
	} else {
		var mu sync.Mutex
		proxies := make(map[string]*redistest.Proxy)
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !slices.Contains(w.sentinel.Addrs, addr) {
				mu.Lock()
				if proxies[addr] == nil {
					proxies[addr] = redistest.NewProxy(w.t, addr)
					proxies[addr].SetPlan(plan)
				}
				addr = proxies[addr].Addr
				mu.Unlock()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		client = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: w.sentinel.MasterName, SentinelAddrs: w.sentinel.Addrs, Dialer: dial,
			Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: 64,
			ReadTimeout: 300 * time.Millisecond, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond,
		})
	}
	w.t.Cleanup(func() { client.Close() })
	return client
}

// faults chooses what a proxy does. It is called from one proxy at a time,
// except while a failover moves a client from one to the next.
func (w *world) faults(r *rand.Rand) func([]string) redistest.Fault {
	var mu sync.Mutex
	return func([]string) redistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if w.calm.Load() || r.Float64() >= w.options.faults {
			return redistest.Pass
		}
		w.account.faults.Add(1)
		return redistest.Fault(1 + r.IntN(5))
	}
}

func (w *world) newInstance(ring *access.KeyRing, client redis.UniversalClient, offset time.Duration) *instance {
	w.t.Helper()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: w.outage()})
	check(err)
	in := &instance{offset: offset}
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: "https://soak.example", Keys: ring, Store: store, Events: w,
		Tokens:   access.Config{Lifetime: w.lifetime, Now: func() time.Time { return time.Now().Add(offset) }},
		Sessions: refresh.Config{Rotation: refresh.Rotation{SettleTime: w.settle()}, Timeout: w.outage(), FeedStaleAfter: staleAfter},
	})
	check(err)
	in.sessions = kit.Sessions
	w.t.Cleanup(func() { kit.Close() })
	in.handler = w.routes(kit)
	return in
}

// routes is an app.
func (w *world) routes(kit *sessionkit.Kit) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(rw http.ResponseWriter, r *http.Request) {
		login := refresh.Login{Subject: r.Header.Get("X-User"), Remember: r.Header.Get("X-Forget") == ""}
		native := r.Header.Get("X-Device-ID") != ""
		var g *refresh.Grant
		var err error
		if native {
			g, err = kit.LoginNative(r, login)
		} else {
			g, err = kit.Login(rw, r, login)
		}
		switch {
		case err != nil:
			kit.WriteError(rw, r, err)
		case native:
			kit.WriteTokens(rw, g)
		default:
			rw.Header().Set("X-Session", g.Claims.SessionID)
		}
	})
	mux.Handle("/auth/", kit.Handler("/auth"))
	mux.Handle("GET /api", kit.RequireAuth(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		rw.Header().Set("X-Session", c.SessionID)
		// Some handlers take their time; the renewal leaves with their answer.
		if d, err := time.ParseDuration(r.Header.Get("X-Work")); err == nil {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
		rw.WriteHeader(http.StatusNoContent)
	})))
	mux.Handle("POST /password", kit.RequireAuth(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		if err := kit.Sessions.RevokeOthers(r.Context(), c, family.ReasonPassword); err != nil {
			kit.WriteError(rw, r, err)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	})))
	return mux
}

// trouble stops, freezes, fills, demotes and restarts Redis, or kills its primary,
// until ctx ends.
func (w *world) trouble(ctx context.Context, r *rand.Rand) {
	for {
		pause(ctx, w.lifetime/2+time.Duration(r.Int64N(int64(w.lifetime))))
		switch {
		case ctx.Err() != nil:
			return
		case w.sentinel != nil:
			w.failover()
		case r.IntN(4) == 0: // full
			w.server.Do("CONFIG", "SET", "maxmemory", "1")
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Do("CONFIG", "SET", "maxmemory", "0")
		case r.IntN(4) == 0: // demoted: it may not write
			w.server.Do("REPLICAOF", "127.0.0.1", "1")
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Do("REPLICAOF", "NO", "ONE")
		case r.IntN(2) == 0:
			w.server.Pause()
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Resume()
		default:
			w.server.Kill()
			w.server.Restart()
		}
		w.account.restarts.Add(1)
	}
}

// failover kills the primary once two replicas are in sync, and starts it again
// when another server has taken its place, however long the machine takes.
func (w *world) failover() {
	var old *redistest.Server
	until := func(ok func() bool) {
		for !ok() {
			pause(context.Background(), 50*time.Millisecond)
		}
	}
	until(func() bool {
		if old = w.sentinel.Primary(); old == nil {
			return false
		}
		info, err := old.Do("INFO", "replication")
		return err == nil && strings.Count(info, "state=online") == 2
	})
	w.failovers.begin()
	began := time.Now()
	old.Kill()
	until(func() bool {
		p := w.sentinel.Primary()
		return p != nil && p != old || time.Since(began) > closing
	})
	w.account.promoted(time.Since(began))
	// It comes back as what it was, and is turned into a replica; or goes on as
	// the primary if the sentinels could not agree in time.
	old.Restart()
	until(func() bool { return w.sentinel.Primary() != nil })
	w.failovers.end()
}

// exchange sends a request of a session to an instance, through a network that delays and
// loses. ok is false when the client does not get to see the answer.
func (w *world) exchange(ctx context.Context, r *rand.Rand, in *instance, sid string, req *http.Request) (res *http.Response, ok bool) {
	w.account.requests.Add(1)
	sent := time.Now()
	w.travel(ctx, r)
	if ctx.Err() != nil {
		return nil, false
	}
	if r.IntN(50) == 0 {
		w.account.lostRequests.Add(1)
		return nil, false
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.IntN(30) == 0 {
		// The page aborts the fetch, at whatever moment.
		w.account.aborts.Add(1)
		stop := time.AfterFunc(time.Duration(r.Int64N(int64(20*time.Millisecond))), cancel)
		defer stop.Stop()
	}
	rec := httptest.NewRecorder()
	in.handler.ServeHTTP(rec, req.WithContext(asking))
	work, err := time.ParseDuration(req.Header.Get("X-Work"))
	if err != nil {
		work = 0
	}
	if time.Since(sent)-work > w.bound() {
		w.account.slow.Add(1)
		if sid != "" {
			w.family(sid).slow.Store(true)
		}
	}
	if asking.Err() != nil {
		return nil, false
	}
	w.travel(ctx, r)
	switch {
	case ctx.Err() != nil:
		return nil, false
	case r.IntN(15) == 0:
		w.account.lostResponses.Add(1)
		return nil, false
	case time.Since(sent)-work > w.patience():
		w.account.lateResponses.Add(1)
		return nil, false
	}
	if rec.Code == http.StatusServiceUnavailable {
		w.account.unavailable.Add(1)
		// The session may have been renewed before what it guards failed.
		renewed := req.URL.Path != "/password" && req.URL.Path != "/auth/logout-all" && len(rec.Result().Cookies()) > 0
		if renewed || rec.Header().Get("Retry-After") == "" {
			w.account.violated("%s: a 503 with cookies (%v), or without Retry-After", req.URL.Path, renewed)
		}
	}
	return rec.Result(), true
}

// travel takes as long as one way through the network.
func (w *world) travel(ctx context.Context, r *rand.Rand) {
	d := w.network() / 20
	if r.IntN(10) == 0 {
		d = w.network()
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(r.Int64N(int64(d) + 1))):
	}
}

func (w *world) any(r *rand.Rand) *instance { return w.instances[r.IntN(len(w.instances))] }
