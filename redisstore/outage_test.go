package redisstore_test

import (
	"net/http"
	"net/http/httptest"
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
)

// TestOutages: whatever Redis goes through, requests with a valid access token
// do not notice; all others are told in bounded time to try again, keep their
// cookies, and go on when it is over, without a restart.
func TestOutages(t *testing.T) {
	t.Parallel()
	for _, o := range []struct {
		name       string
		begin, end func(t *testing.T, s *redistest.Server, p *redistest.Proxy)
		readable   bool // reading goes on: a live check is answered
	}{
		{
			name:  "the process is stopped",
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Pause() },
			end:   func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Resume() },
		},
		{
			name:  "the process is dead",
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Kill() },
			end:   func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Restart() },
		},
		{
			name: "the network is a black hole",
			begin: func(_ *testing.T, _ *redistest.Server, p *redistest.Proxy) {
				p.SetPlan(func([]string) redistest.Fault { return redistest.Swallow })
			},
			end: func(_ *testing.T, _ *redistest.Server, p *redistest.Proxy) { p.SetPlan(nil) },
		},
		{
			name:     "the memory is full",
			readable: true,
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				s.Must("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
			},
			end: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Must("CONFIG", "SET", "maxmemory", "0") },
		},
		{
			name: "the server became a replica that cannot be written to",
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				s.Must("REPLICAOF", "127.0.0.1", "1")
			},
			end: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) { s.Must("REPLICAOF", "NO", "ONE") },
		},
		{
			name: "somebody wrote another type into the key",
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				key := s.Must("KEYS", "rt:{*}")
				s.Must("RENAME", key, "aside")
				s.Must("SET", key, "hello")
				s.Must("SET", "which", key)
			},
			end: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				key := s.Must("GET", "which")
				s.Must("DEL", key)
				s.Must("RENAME", "aside", key)
			},
		},
		{
			name: "the password was changed",
			begin: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				s.Must("ACL", "SETUSER", "app", "resetpass", ">other")
				s.Must("CLIENT", "KILL", "USER", "app")
			},
			end: func(_ *testing.T, s *redistest.Server, _ *redistest.Proxy) {
				s.Must("ACL", "SETUSER", "app", "resetpass", ">secret")
			},
		},
	} {
		t.Run(o.name, func(t *testing.T) {
			// Restarts keep what was written, as production does. What a process has
			// written outlives it without fsync; with everysec a server whose disk is
			// busy puts off writing what it has answered.
			server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "no", "--user", "app", "on", ">secret", "~*", "+@all")
			proxy := redistest.NewProxy(t, server.Addr)
			a := newShop(t, proxy.Addr)
			alice := a.login(t)
			before := strings.Join(alice, "; ")

			o.begin(t, server, proxy)
			if res, _ := a.get("/", alice...); res.StatusCode != http.StatusNoContent || len(res.Cookies()) > 0 {
				t.Errorf("a valid access token: %d, cookies %v", res.StatusCode, res.Cookies())
			}
			for _, path := range []string{"/", "/live", "/auth/token/refresh"} {
				cookies := alice
				if path != "/live" {
					cookies = alice[1:] // the access token has run out
				} else if o.readable {
					continue
				}
				res, took := a.get(path, cookies...)
				if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
					t.Errorf("%s: %d, Retry-After %q, cookies %v", path, res.StatusCode, res.Header.Get("Retry-After"), res.Cookies())
				}
				// The service's limit and a quarter; the rest is for this machine.
				if took > storeTimeout+storeTimeout/4+2*time.Second {
					t.Errorf("%s took %v", path, took)
				}
			}
			o.end(t, server, proxy)

			redistest.Await(t, 20*time.Second, "the session goes on with the same cookies", func() bool {
				res, _ := a.get("/", alice[1:]...)
				if res.StatusCode == http.StatusUnauthorized {
					t.Fatal("the outage signed the user out")
				}
				return res.StatusCode == http.StatusNoContent && len(res.Cookies()) > 0
			})
			if strings.Join(alice, "; ") != before {
				t.Error("the cookies were touched")
			}
			if n := a.rec.Of(refresh.EventReuse); n > 0 {
				t.Errorf("%d honest requests were taken for theft", n)
			}
			if a.rec.Of(refresh.EventUnavailable) == 0 {
				t.Error("no event tells of the outage")
			}
		})
	}
}

// storeTimeout is short, so that the outages are.
const storeTimeout = 300 * time.Millisecond

// A shop is an app on the kit and Redis.
type shop struct {
	handler http.Handler
	rec     *storelife.Events
	ahead   atomic.Int64 // of its clock
}

func newShop(t *testing.T, addr string) *shop { return newShopWith(t, addr, storelife.NewRing(t)) }

func newShopWith(t *testing.T, addr string, ring *access.KeyRing) *shop {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, Username: "app", Password: "secret", DisableIdentity: true, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	store, err := redisstore.New(redisstore.Config{Client: c, Timeout: storeTimeout})
	check(err)
	s := &shop{rec: new(storelife.Events)}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring, Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }})
	check(err)
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store, Events: s.rec, Timeout: storeTimeout})
	check(err)
	t.Cleanup(func() { sessions.Close() })
	auth, err := middleware.New(middleware.Config{Sessions: sessions})
	check(err)
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", auth.RequireAuth(done))
	mux.Handle("GET /live", auth.RequireLive(done))
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Login(w, r, refresh.Login{Subject: "alice", Remember: true}); err != nil {
			auth.WriteError(w, r, err)
		}
	})
	s.handler = mux
	return s
}

// login returns the cookies, the access token's first.
func (s *shop) login(t *testing.T) []string {
	t.Helper()
	// A busy machine may keep a server waiting for longer than the store waits.
	var w *httptest.ResponseRecorder
	redistest.Await(t, 20*time.Second, "a sign-in", func() bool {
		w = httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest("POST", "/login", nil))
		return w.Code != http.StatusServiceUnavailable
	})
	cookies := make([]string, 1)
	for _, c := range w.Result().Cookies() {
		if pair := c.Name + "=" + c.Value; c.Name == "__Host-access" {
			cookies[0] = pair
		} else {
			cookies = append(cookies, pair)
		}
	}
	if len(cookies) != 3 || cookies[0] == "" {
		t.Fatalf("login: %d %v", w.Code, cookies)
	}
	s.ahead.Add(int64(46 * time.Second)) // a younger generation is not rotated
	return cookies
}

// get requests a path, by POST where that is what it takes.
func (s *shop) get(path string, cookies ...string) (*http.Response, time.Duration) {
	method := "GET"
	if strings.HasPrefix(path, "/auth/") {
		method = "POST"
	}
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Cookie", strings.Join(cookies, "; "))
	w := httptest.NewRecorder()
	began := time.Now()
	s.handler.ServeHTTP(w, r)
	return w.Result(), time.Since(began)
}
