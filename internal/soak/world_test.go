package soak

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
)

// Times are those of production, scaled by the access token's lifetime: what
// the protocol assumes of honest clients has to hold here too. With a lifetime
// of 20 s the clocks differ by 5 s at most.
type times struct{ lifetime time.Duration }

func (t times) settle() time.Duration  { return t.lifetime / 2 }
func (t times) skew() time.Duration    { return t.lifetime / 8 }  // of one instance, either way
func (t times) crash() time.Duration   { return t.lifetime / 12 } // how old a crashed browser's cookies are
func (t times) network() time.Duration { return t.lifetime / 30 } // of one way, at most

// staleAfter is when an instance knows that it may have missed a revocation.
const staleAfter = 3 * time.Second

// An account is what happened.
type account struct {
	logins, requests, unavailable                      atomic.Int64
	lostRequests, lostResponses, lateResponses, aborts atomic.Int64
	crashes, logouts, logoutsAll, passwords            atomic.Int64
	thefts, thiefRefreshes, tooLate                    atomic.Int64
	faults, restarts, endedWithThief, finalAlive       atomic.Int64
	revokedProbes, revokedAccess                       atomic.Int64

	mu         sync.Mutex
	violations []string
}

func (a *account) violated(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.violations) < 50 {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

// A family is what the simulation knows of a session.
type family struct {
	ended   atomic.Bool   // the user asked for its end; nothing is an error from here
	thief   atomic.Bool   // somebody has copied a token
	settled atomic.Uint32 // the newest generation known to have settled
	reused  atomic.Bool   // theft was noticed
}

// A world is the instances, their Redis, and everything that was ever issued.
type world struct {
	times
	t         testing.TB
	server    *redistest.Server
	proxies   []*redistest.Proxy
	instances []*instance
	families  sync.Map // session id -> *family
	account   account
	kinds     sync.Map // refresh.Kind -> *atomic.Int64
	calm      atomic.Bool
	probes    sync.WaitGroup
}

type instance struct {
	offset   time.Duration
	sessions *refresh.Service
	handler  http.Handler
}

func (in *instance) now() time.Time { return time.Now().Add(in.offset) }

func (w *world) family(sid string) *family {
	f, _ := w.families.LoadOrStore(sid, new(family))
	return f.(*family)
}

// Record implements refresh.Recorder.
func (w *world) Record(_ context.Context, e refresh.Event) {
	n, _ := w.kinds.LoadOrStore(e.Kind, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	switch e.Kind {
	case refresh.EventSettled:
		f := w.family(e.SessionID)
		for old := f.settled.Load(); e.Generation > old && !f.settled.CompareAndSwap(old, e.Generation); old = f.settled.Load() {
		}
	case refresh.EventReuse:
		f := w.family(e.SessionID)
		if f.reused.Store(true); !f.thief.Load() {
			w.account.violated("session %s: reuse was detected, generation %d, and there was no thief", e.SessionID, e.Generation)
		}
	}
}

func (w *world) count(k refresh.Kind) int64 {
	if n, ok := w.kinds.Load(k); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

func newWorld(t testing.TB, instances int, lifetime time.Duration, faults float64, seed uint64) *world {
	t.Helper()
	w := &world{times: times{lifetime}, t: t}
	w.server = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	for i := range instances {
		proxy := redistest.NewProxy(t, w.server.Addr)
		r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		if faults > 0 {
			proxy.SetPlan(func([]string) redistest.Fault {
				if w.calm.Load() || r.Float64() >= faults {
					return redistest.Pass
				}
				w.account.faults.Add(1)
				return redistest.Fault(1 + r.IntN(5))
			})
		}
		w.proxies = append(w.proxies, proxy)
		// The first is as far ahead as the last is behind.
		offset := w.skew()
		if instances > 1 {
			offset -= 2 * w.skew() * time.Duration(i) / time.Duration(instances-1)
		}
		w.instances = append(w.instances, w.newInstance(ring, proxy.Addr, offset))
	}
	return w
}

func (w *world) newInstance(ring *access.KeyRing, addr string, offset time.Duration) *instance {
	w.t.Helper()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	// RESP 2 is what the proxy speaks.
	client := redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, PoolSize: 64,
		ReadTimeout: 200 * time.Millisecond, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond,
	})
	w.t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(redisstore.Config{Client: client, Timeout: time.Second})
	check(err)
	tokens, err := access.New(access.Config{
		Issuer: "https://soak.example", Audience: "soak", Keys: ring, Lifetime: w.lifetime,
		Now: func() time.Time { return time.Now().Add(offset) },
	})
	check(err)
	in := &instance{offset: offset}
	in.sessions, err = refresh.New(refresh.Config{Access: tokens, Store: store, Events: w, SettleTime: w.settle(), Timeout: time.Second, FeedStaleAfter: staleAfter})
	check(err)
	w.t.Cleanup(func() { in.sessions.Close() })
	auth, err := middleware.New(middleware.Config{Sessions: in.sessions})
	check(err)
	in.handler = w.routes(auth, in.sessions)
	return in
}

// routes is an app.
func (w *world) routes(auth *middleware.Auth, sessions *refresh.Service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(rw http.ResponseWriter, r *http.Request) {
		p := refresh.LoginParams{Subject: r.Header.Get("X-User"), Remember: true}
		if r.Header.Get("X-Device-ID") != "" {
			p.Transport = refresh.Body
		}
		g, err := auth.Login(rw, r, p)
		switch {
		case err != nil:
			refresh.WriteError(rw, err)
		case p.Transport == refresh.Body:
			g.WriteJSON(rw)
		default:
			rw.Header().Set("X-Session", g.Claims.SessionID)
		}
	})
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.Handle("GET /api", auth.RequireAuth(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
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
	mux.Handle("POST /password", auth.RequireAuth(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		if err := sessions.RevokeOthers(r.Context(), c, refresh.ReasonPassword); err != nil {
			refresh.WriteError(rw, err)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	})))
	return mux
}

// trouble stops, freezes and restarts Redis until ctx ends.
func (w *world) trouble(ctx context.Context, r *rand.Rand) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.lifetime/2 + time.Duration(r.Int64N(int64(w.lifetime)))):
		}
		if r.IntN(2) == 0 {
			w.server.Pause()
			pause(context.Background(), time.Duration(r.Int64N(int64(min(w.lifetime/4, 3*time.Second)))))
			w.server.Resume()
		} else {
			w.server.Kill()
			w.server.Restart()
		}
		w.account.restarts.Add(1)
	}
}

// exchange sends a request to an instance, through a network that delays and
// loses. ok is false when the client does not get to see the answer.
func (w *world) exchange(ctx context.Context, r *rand.Rand, in *instance, req *http.Request) (res *http.Response, ok bool) {
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
	if asking.Err() != nil {
		return nil, false
	}
	work, _ := time.ParseDuration(req.Header.Get("X-Work"))
	w.travel(ctx, r)
	switch {
	case ctx.Err() != nil:
		return nil, false
	case r.IntN(15) == 0:
		w.account.lostResponses.Add(1)
		return nil, false
	case time.Since(sent)-work > 3*w.network():
		// This machine was too slow, and not the network that is simulated:
		// the client has given up by now.
		w.account.lateResponses.Add(1)
		return nil, false
	}
	if rec.Code == http.StatusServiceUnavailable {
		w.account.unavailable.Add(1)
		if rec.Header().Get("Retry-After") == "" || len(rec.Result().Cookies()) > 0 {
			w.account.violated("a 503 with cookies, or without Retry-After: %v", rec.Header())
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

// report prints the account.
func (w *world) report() string {
	a := &w.account
	var b bytes.Buffer
	row := func(n int64, what string) { fmt.Fprintf(&b, "%10d  %s\n", n, what) }
	row(a.logins.Load(), "sessions started")
	row(a.requests.Load(), "requests")
	row(w.count(refresh.EventRefresh), "rotations")
	row(w.count(refresh.EventReplayed), "replays answered with the same successor: lost responses, parallel tabs, crashes")
	row(w.count(refresh.EventSettled), "times that a generation was reported to be settled")
	row(w.count(refresh.EventStoreBehind), "times the store was behind")
	row(a.lostRequests.Load(), "requests lost")
	row(a.lostResponses.Load(), "responses lost")
	row(a.lateResponses.Load(), "responses given up because this machine was slow")
	row(a.aborts.Load(), "requests aborted by the page")
	row(a.crashes.Load(), "browser crashes, back with older cookies")
	row(a.faults.Load(), "faults between kit and Redis")
	row(a.restarts.Load(), "times Redis was killed or frozen")
	row(a.unavailable.Load(), "answers of \"try again\" (503)")
	row(a.logouts.Load()+a.logoutsAll.Load()+a.passwords.Load(), "logouts, logouts everywhere, password changes")
	row(a.revokedProbes.Load(), "attempts to renew what they had ended, all refused")
	row(a.revokedAccess.Load(), "access tokens of theirs, not expired, refused by an instance that had to hear of it")
	row(a.thefts.Load(), "refresh tokens stolen, with the fingerprint")
	row(a.tooLate.Load(), "of them presented after their successor had settled, all refused")
	row(w.count(refresh.EventReuse), "sessions ended because of reuse, each with a thief")
	row(a.thiefRefreshes.Load(), "renewals that a thief got from a generation not settled yet")
	row(a.finalAlive.Load(), "honest sessions alive at the end, each renewed once more")
	row(int64(len(a.violations)), "honest sign-outs, and anything else that must not be")
	return strings.TrimRight(b.String(), "\n")
}
