package main

import (
	"context"
	"io"
	"log/slog"
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
func (t times) parallel() time.Duration { return t.settle() / 2 }  // family.Policy.ParallelTime, for settle times up to 40 s

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
	ending    *instance // ends sessions that two clients share
	users     []*user
	families  sync.Map // session id -> *trackedSession
	account   account
	calm      atomic.Bool
	probes    sync.WaitGroup

	mu      sync.Mutex
	thieves []*thief
}

type instance struct {
	offset   atomic.Int64 // of its clock
	sessions *refresh.Sessions
	handler  http.Handler
}

func (in *instance) now() time.Time { return time.Now().Add(time.Duration(in.offset.Load())) }

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
	case refresh.EventBound:
		w.family(e.SessionID).bind(w.failovers.now())
	case refresh.EventReuse:
		w.family(e.SessionID).reused.Store(true)
	}
	if e.Reason == family.ReasonShared {
		w.family(e.SessionID).shared.Store(true)
	}
}

// Enabled implements slog.Handler.
func (w *world) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler: it counts the writes that may not survive a failover.
func (w *world) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "not confirmed by a replica") {
		w.account.unconfirmed.Add(1)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (w *world) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w *world) WithGroup(string) slog.Handler { return w }

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
		w.instances = append(w.instances, w.newInstance(ring, w.newClient(uint64(1000+i)), offset, false))
	}
	w.ending = w.newInstance(ring, w.newClient(999), 0, true)
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

func (w *world) newInstance(ring *access.KeyRing, client redis.UniversalClient, offset time.Duration, endShared bool) *instance {
	w.t.Helper()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: w.outage(), Logger: slog.New(w)})
	check(err)
	in := new(instance)
	in.offset.Store(int64(offset))
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: "https://soak.example", Keys: ring, Store: store, Events: w, LoginPath: "/sign-in",
		Tokens: access.Config{Lifetime: w.lifetime, Now: in.now},
		Sessions: refresh.Config{
			Rotation: refresh.Rotation{SettleTime: w.settle(), EndShared: endShared},
			Timeout:  w.outage(), FeedStaleAfter: staleAfter,
		},
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
	mux.Handle("GET /stream", kit.RequireAuth(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		watched, stop := kit.WatchSession(r)
		defer stop()
		for news := time.Tick(w.lifetime / 10); ; {
			io.WriteString(rw, "data: news\n\n")
			http.NewResponseController(rw).Flush()
			select {
			case <-news:
			case <-watched.Done():
				return
			}
		}
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
	w.arrived(sid, time.Since(sent)-work)
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

// arrived notes when a request was on its way for longer than is assumed.
func (w *world) arrived(sid string, after time.Duration) {
	if after <= w.bound() {
		return
	}
	w.account.slow.Add(1)
	if sid != "" {
		w.family(sid).slow.Store(true)
	}
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
