package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// ofTheFeed reports whether a command is one of a follower.
func ofTheFeed(command []string) bool {
	script := strings.HasPrefix(strings.ToLower(command[0]), "eval") && command[3] == "rt:feed"
	return script || strings.EqualFold(command[0], "XREAD")
}

// TestFeedGapsOnTheNetwork: an instance that is cut off from the feed, however
// the network does it, hears afterwards of all that the stream still holds,
// and of what comes then.
func TestFeedGapsOnTheNetwork(t *testing.T) {
	t.Parallel()
	const stream = "rt:feed"
	for _, tt := range []struct {
		name  string
		fault redistest.Fault
		// during is what happens to the stream in the gap, after the first
		// of the revocations made in it. It returns what is to be heard
		// besides those that follow.
		during func(s *redistest.Server, first map[family.ID]time.Time) map[family.ID]time.Time
	}{
		{"commands do not arrive", redistest.Refuse, nil},
		{"replies are cut off", redistest.Cut, nil},
		{"replies never come", redistest.Swallow, nil},
		{
			"the gap is longer than the stream is", redistest.Cut,
			func(s *redistest.Server, _ map[family.ID]time.Time) map[family.ID]time.Time {
				s.Must("XTRIM", stream, "MAXLEN", "0")
				return nil
			},
		},
		{
			"a server whose clock is an hour behind takes over", redistest.Cut,
			func(s *redistest.Server, first map[family.ID]time.Time) map[family.ID]time.Time {
				s.Must("DEL", stream)
				old := time.Now().Add(-time.Hour).UnixMilli()
				for id := range first {
					s.Must("XADD", stream, strconv.FormatInt(old, 10)+"-*", "f", string(id[:]), "t", strconv.FormatInt(time.Now().UnixMilli(), 10))
				}
				return first
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			direct := func() redis.UniversalClient { return newClient(t, server.Addr) }
			cutOff := follow(t, 1, func() redis.UniversalClient {
				return closing(t, redis.NewClient(&redis.Options{Addr: proxy.Addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true}))
			})[0]
			store := newStore(t, direct())
			some := func() map[family.ID]time.Time {
				sent := make(map[family.ID]time.Time)
				for range 20 {
					sent[revoke(t, store)] = time.Now()
				}
				return sent
			}
			hears := func(when string, sent map[family.ID]time.Time) {
				t.Helper()
				redistest.Await(t, 30*time.Second, when+", all is heard", func() bool { return cutOff.missing(sent) == 0 })
			}
			hears("before the gap", some())

			// After two failures no read from before the gap is under way.
			var failed atomic.Int64
			proxy.SetPlan(func(command []string) redistest.Fault {
				if !ofTheFeed(command) {
					return redistest.Pass
				}
				failed.Add(1)
				return tt.fault
			})
			redistest.Await(t, 30*time.Second, "the feed is cut off", func() bool { return failed.Load() >= 2 })
			sent := some()
			if n := cutOff.missing(sent); n != len(sent) {
				t.Fatalf("%d of %d revocations came through the gap", len(sent)-n, len(sent))
			}
			if tt.during != nil {
				sent = tt.during(server, sent)
			}
			proxy.SetPlan(nil)
			hears("after the gap", sent)
			hears("later", some())
		})
	}
}

// TestTheFeedKeepsItsWindow: the stream is bounded by time. What is older than
// the window goes as new entries come, and with nothing new, all of it.
func TestTheFeedKeepsItsWindow(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store, err := redisstore.New(redisstore.Config{Client: c, FeedWindow: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	const old, young = 5000, 50
	fill := func(n int, age time.Duration) {
		pipe := c.Pipeline()
		for range n {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "rt:feed", ID: fmt.Sprintf("%d-*", time.Now().Add(-age).UnixMilli()), Values: []any{"f", "0123456789abcdef", "t", "0"}})
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fill(old, 2*time.Minute)
	fill(young, 20*time.Second)
	revoke(t, store)
	// Redis drops whole nodes of 100 entries.
	if n := c.XLen(t.Context(), "rt:feed").Val(); n < young+1 || n > young+1+100 {
		t.Errorf("%d entries, of which %d are in the window", n, young+1)
	}
	if ttl := c.PTTL(t.Context(), "rt:feed").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the stream lives for %v", ttl)
	}
}

// A branch is an instance with a clock that can be moved, whose feed can be
// looked at.
type branch struct {
	*shop
	sessions *refresh.Sessions
	streams  chan error // how the streams ended
	started  chan struct{}
}

// A plan is what branches have in common.
type plan struct {
	ring     *access.KeyRing
	ahead    atomic.Int64 // of the clock, in nanoseconds
	defaults bool         // the kit's timeouts, and not short ones
}

func (p *plan) now() time.Time          { return time.Now().Add(time.Duration(p.ahead.Load())) }
func (p *plan) advance(d time.Duration) { p.ahead.Add(int64(d)) }

func (p *plan) open(t *testing.T, addr string, askStore bool, grace ...time.Duration) *branch {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	store, err := redisstore.New(redisstore.Config{Client: c})
	check(err)
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: p.ring, Now: p.now})
	check(err)
	b := &branch{shop: &shop{rec: new(storelife.Events)}, streams: make(chan error, 100), started: make(chan struct{}, 100)}
	cfg := refresh.Config{Access: tokens, Store: store, Events: b.rec, AbsoluteLifetime: lifetime, AskStoreWhenFeedStale: askStore}
	if !p.defaults {
		cfg.Timeout, cfg.FeedStaleAfter = time.Second, 3*time.Second
	}
	b.sessions, err = refresh.New(cfg)
	check(err)
	t.Cleanup(func() { b.sessions.Close() })
	guard := middleware.Config{Sessions: b.sessions}
	for _, guard.OutageGrace = range grace {
	}
	auth, err := middleware.New(guard)
	check(err)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })))
	mux.Handle("GET /stream", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := auth.WatchSession(r)
		defer cancel()
		b.started <- struct{}{}
		<-ctx.Done()
		b.streams <- context.Cause(ctx)
	})))
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Login(w, r, refresh.Login{Subject: rand.Text(), Remember: true}); err != nil {
			auth.WriteError(w, r, err)
		}
	})
	b.handler = mux
	redistest.Await(t, 20*time.Second, "the feed has caught up", func() bool { return !b.sessions.FeedStale() })
	return b
}

// lifetime is the absolute one of a branch's sessions.
const lifetime = time.Hour

func newPlan(t *testing.T) *plan { return &plan{ring: storelife.NewRing(t)} }

// TestWhileTheFeedIsCutOff: an instance notices; by default it goes on with
// what it knows, with AskStoreWhenFeedStale it asks the store; afterwards it is as if
// nothing had been.
func TestWhileTheFeedIsCutOff(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	p := newPlan(t)
	other := p.open(t, server.Addr, false)
	careless := p.open(t, proxy.Addr, false)
	careful := p.open(t, proxy.Addr, true)
	alice, bob := other.login(t), other.login(t)
	expect := func(when string, b *branch, cookies []string, status int) {
		t.Helper()
		res, _ := b.get("/", cookies[0])
		if res.StatusCode != status || len(res.Cookies()) > 0 || (status == http.StatusServiceUnavailable) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("%s: %d and not %d, Retry-After %q, cookies %v", when, res.StatusCode, status, res.Header.Get("Retry-After"), res.Cookies())
		}
	}
	proxy.SetPlan(func(command []string) redistest.Fault {
		if ofTheFeed(command) {
			return redistest.Swallow
		}
		return redistest.Pass
	})
	redistest.Await(t, 30*time.Second, "both notice", func() bool { return careless.sessions.FeedStale() && careful.sessions.FeedStale() })
	if res, _ := other.get("/auth/logout", alice...); res.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d", res.StatusCode)
	}
	expect("revoked elsewhere, careless", careless, alice, http.StatusNoContent)
	expect("revoked elsewhere, careful", careful, alice, http.StatusUnauthorized)
	expect("alive, careful", careful, bob, http.StatusNoContent)
	proxy.SetPlan(func([]string) redistest.Fault { return redistest.Swallow })
	expect("alive, the store is away too, careless", careless, bob, http.StatusNoContent)
	expect("alive, the store is away too, careful", careful, bob, http.StatusServiceUnavailable)
	proxy.SetPlan(nil)
	redistest.Await(t, 30*time.Second, "both have caught up", func() bool { return !careless.sessions.FeedStale() && !careful.sessions.FeedStale() })
	for _, b := range []*branch{careless, careful} {
		expect("afterwards, revoked", b, alice, http.StatusUnauthorized)
		expect("afterwards, alive", b, bob, http.StatusNoContent)
		redistest.Await(t, 10*time.Second, "events tell of both", func() bool {
			return b.rec.Of(refresh.EventFeedStale) == 1 && b.rec.Of(refresh.EventFeedRecovered) == 1
		})
	}
}

// TestOutageGraceWithRedisDead: who wants it has expired tokens accepted for a
// while, nobody else; a session known to be revoked is refused all the same,
// and no session is lost.
func TestOutageGraceWithRedisDead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no")
	p := newPlan(t)
	off := p.open(t, server.Addr, false)
	on := p.open(t, server.Addr, false, 5*time.Minute)
	alice, revoked := on.login(t), on.login(t)
	if res, _ := on.get("/auth/logout", revoked...); res.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d", res.StatusCode)
	}
	server.Kill()
	for _, step := range []struct {
		name    string
		after   time.Duration
		off, on int
	}{
		{"before the token's end", 9 * time.Minute, http.StatusNoContent, http.StatusNoContent},
		{"within the grace", 4 * time.Minute, http.StatusServiceUnavailable, http.StatusNoContent},
		{"after it", 3 * time.Minute, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		p.advance(step.after)
		for b, want := range map[*branch]int{off: step.off, on: step.on} {
			if res, _ := b.get("/", alice...); res.StatusCode != want || len(res.Cookies()) > 0 {
				t.Errorf("%s, grace %v: %d and not %d, cookies %v", step.name, b == on, res.StatusCode, want, res.Cookies())
			}
		}
		if res, _ := on.get("/", revoked...); res.StatusCode < 400 {
			t.Errorf("%s, a revoked session: %d", step.name, res.StatusCode)
		}
	}
	if n := on.rec.Of(refresh.EventOutage); n != 1 {
		t.Errorf("%d events for one use", n)
	}
	server.Restart()
	redistest.Await(t, 20*time.Second, "the session goes on with the same cookies", func() bool {
		res, _ := on.get("/", alice...)
		return res.StatusCode == http.StatusNoContent && len(res.Cookies()) > 0
	})
}

// TestStreamsEndOnEveryInstance: with the session's revocation anywhere, and
// at the end of its life; those of others go on.
func TestStreamsEndOnEveryInstance(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newPlan(t)
	var branches []*branch
	for range 8 {
		branches = append(branches, p.open(t, server.Addr, false))
	}
	watch := func(cookies []string) {
		t.Helper()
		for _, b := range branches {
			go func() {
				r := httptest.NewRequest("GET", "/stream", nil).WithContext(t.Context())
				r.Header.Set("Cookie", strings.Join(cookies, "; "))
				w := httptest.NewRecorder()
				if b.handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.streams <- fmt.Errorf("status %d", w.Code)
				}
			}()
			select {
			case <-b.started:
			case err := <-b.streams:
				t.Fatalf("the stream does not start: %v", err)
			}
		}
	}
	ends := func(with error, began time.Time) {
		t.Helper()
		limit := time.After(20 * time.Second)
		var took []time.Duration
		for i, b := range branches {
			select {
			case err := <-b.streams:
				if took = append(took, time.Since(began)); !errors.Is(err, with) {
					t.Errorf("instance %d: %v and not %v", i, err, with)
				}
			case <-limit:
				t.Fatalf("on instance %d it goes on", i)
			}
		}
		t.Logf("%v: all have ended after %v", with, slices.Max(took).Round(time.Millisecond))
	}
	alice, bob := branches[0].login(t), branches[0].login(t)
	watch(alice)
	watch(bob)
	began := time.Now()
	if res, _ := branches[3].get("/auth/logout", alice...); res.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d", res.StatusCode)
	}
	ends(refresh.ErrRevoked, began)
	for i, b := range branches {
		if len(b.streams) > 0 {
			t.Errorf("instance %d: the other session's stream ended too: %v", i, <-b.streams)
		}
	}
	began = time.Now()
	if res, _ := branches[5].get("/auth/logout", bob...); res.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d", res.StatusCode)
	}
	ends(refresh.ErrRevoked, began)

	// A stream that begins five seconds before the end lasts no longer.
	carol := branches[0].login(t)
	p.advance(lifetime - 5*time.Second)
	res, _ := branches[0].get("/", carol...)
	for _, c := range res.Cookies() {
		at := slices.IndexFunc(carol, func(pair string) bool { return strings.HasPrefix(pair, c.Name+"=") })
		carol[at] = c.Name + "=" + c.Value
	}
	watch(carol)
	ends(refresh.ErrGone, time.Now())
}

// TestTheFeedIsKeptForItsFollowers: a FeedWindow shorter than what followers
// need, which is how long access tokens live, loses them nothing.
func TestTheFeedIsKeptForItsFollowers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store, err := redisstore.New(redisstore.Config{Client: c, FeedWindow: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := newListener()
	done := make(chan struct{})
	go func() { defer close(done); store.Follow(ctx, time.Hour, l) }()
	<-l.synced
	defer func() { stop(); <-done }()
	for range 300 {
		id := fmt.Sprintf("%d-*", time.Now().Add(-30*time.Minute).UnixMilli())
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "rt:feed", ID: id, Values: []any{"f", "0123456789abcdef", "t", "0"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	revoke(t, store)
	if n := c.XLen(t.Context(), "rt:feed").Val(); n != 301 {
		t.Errorf("%d entries are left of 301", n)
	}
	if ttl := c.PTTL(t.Context(), "rt:feed").Val(); ttl < 59*time.Minute {
		t.Errorf("the stream lives for %v", ttl)
	}
}
