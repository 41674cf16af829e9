package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A stage is a proxy in front of an app. It has pages of its own, below /e2e/
// and without the demo's Content-Security-Policy, and remembers what passed.
type stage struct {
	base string
	app  string        // the first backend
	lag  time.Duration // the way back of each answer takes so long

	mu    sync.Mutex
	seen  []exchange
	fault fault
}

// A fault answers a request in the place of the app, and reports whether it did.
type fault func(w http.ResponseWriter, r *http.Request, app http.Handler) bool

// An exchange is a request that passed, and its answer.
type exchange struct {
	method, path string // the path with its query
	purpose      string // Sec-Purpose
	worker       bool   // sent by the stage's service worker
	status       int
	renewed      string // the refresh cookie in the answer
	access       bool   // the request had an access cookie
	site         string // Sec-Fetch-Site
	skipped      string // Secure-Session-Skipped
}

// newStage takes turns between the backends.
func newStage(t *testing.T, host string, backends ...string) *stage {
	t.Helper()
	s := &stage{app: backends[0]}
	var targets []*url.URL
	for _, b := range backends {
		u, err := url.Parse(strings.Replace(b, "localhost", "127.0.0.1", 1))
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, u)
	}
	var turn atomic.Int64
	proxy := &httputil.ReverseProxy{
		Director: func(r *http.Request) {
			to := targets[turn.Add(1)%int64(len(targets))]
			r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
		},
		ModifyResponse: s.note,
		FlushInterval:  -1,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		f := s.fault
		s.mu.Unlock()
		if f == nil || !f(w, r, proxy) {
			proxy.ServeHTTP(w, r)
		}
	})
	mux.HandleFunc("GET /e2e/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>stage</title><p>A page that does nothing.")
	})
	mux.HandleFunc("GET /e2e/worker.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Service-Worker-Allowed", "/")
		io.WriteString(w, worker)
	})
	s.base = serve(t, host, mux)
	return s
}

// worker is a service worker that answers each request from the network.
const worker = `
addEventListener('install', () => skipWaiting())
addEventListener('activate', e => e.waitUntil(clients.claim()))
addEventListener('fetch', e => {
	if (e.request.mode === 'navigate') return e.respondWith(fetch(e.request))
	const headers = new Headers(e.request.headers)
	headers.set('X-Worker', '1')
	e.respondWith(fetch(new Request(e.request, {headers})))
})`

func (s *stage) note(res *http.Response) error {
	r := res.Request
	x := exchange{
		method: r.Method, path: r.URL.RequestURI(), purpose: r.Header.Get("Sec-Purpose"),
		worker: r.Header.Get("X-Worker") != "", status: res.StatusCode,
		site: r.Header.Get("Sec-Fetch-Site"), skipped: r.Header.Get("Secure-Session-Skipped"),
	}
	_, err := r.Cookie("__Host-access")
	x.access = err == nil
	for _, c := range res.Cookies() {
		if c.Name == "__Host-refresh" {
			x.renewed = c.Value
		}
	}
	s.mu.Lock()
	s.seen = append(s.seen, x)
	s.mu.Unlock()
	if s.lag > 0 {
		select {
		case <-time.After(s.lag):
		case <-r.Context().Done():
		}
	}
	return nil
}

// setFault changes what happens to requests from now on; nil ends it.
func (s *stage) setFault(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// once is a fault of the first request to a path.
func once(path string, f func(w http.ResponseWriter, r *http.Request, app http.Handler)) fault {
	var done atomic.Bool
	return func(w http.ResponseWriter, r *http.Request, app http.Handler) bool {
		if r.URL.Path != path || !done.CompareAndSwap(false, true) {
			return false
		}
		f(w, r, app)
		return true
	}
}

// lose has the app do its work, and nobody hear of it.
func lose(_ http.ResponseWriter, r *http.Request, app http.Handler) {
	app.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// passed returns what passed and pleases.
func (s *stage) passed(pleases func(exchange) bool) []exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []exchange
	for _, x := range s.seen {
		if pleases(x) {
			all = append(all, x)
		}
	}
	return all
}
