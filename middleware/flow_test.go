package middleware_test

import (
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// A browser is a client with a cookie jar on a real server.
type browser struct {
	*http.Client
	t    testing.TB
	base string
}

func newBrowser(t testing.TB, s *httptest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *s.Client()
	c.Jar = jar
	return &browser{&c, t, s.URL}
}

func (b *browser) url() *url.URL {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// forget drops the access cookie, as if it had run out.
func (b *browser) forget() {
	b.Jar.SetCookies(b.url(), []*http.Cookie{{Name: "__Host-access", Path: "/", Secure: true, MaxAge: -1}})
}

func (b *browser) cookie(name string) string {
	for _, c := range b.Jar.Cookies(b.url()) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) do(method, path string) (status int, body string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		b.t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Error(err)
	}
	return res.StatusCode, string(text)
}

func (b *browser) want(status int, method, path string) {
	b.t.Helper()
	if got, body := b.do(method, path); got != status {
		b.t.Errorf("%s %s = %d %s, want %d", method, path, got, body, status)
	}
}

// site serves sign-in for anybody, the kit's endpoints and one guarded path.
func (a *app) site(guarded http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/{subject}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: r.PathValue("subject"), Remember: true}); err != nil {
			a.WriteError(w, r, err)
		}
	})
	mux.Handle("/auth/", a.Handler("/auth"))
	mux.Handle("/who", a.RequireAuth(greet))
	mux.Handle("/", guarded)
	return mux
}

// TestParallelTabsOnTwoInstances: one rotation, and whatever order the
// responses come back in, the browser ends with cookies that work.
func TestParallelTabsOnTwoInstances(t *testing.T) {
	a := newApp(t)
	second := newAuth(t, middleware.Config{Sessions: a.service(a.store)})
	var turn sync.Mutex
	next := a.RequireAuth(greet)
	other := second.RequireAuth(greet)
	s := httptest.NewUnstartedServer(a.site(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn.Lock()
		next, other = other, next
		h := next
		turn.Unlock()
		h.ServeHTTP(w, r)
	})))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that were dialled and not needed
	s.StartTLS()
	defer s.Close()
	b := newBrowser(t, s)
	b.want(200, "POST", "/login/alice")
	before := b.cookie("__Host-refresh")
	b.forget()
	a.ahead.Add(int64(freshTime))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { b.want(200, "GET", "/") })
	}
	wg.Wait()
	if n := a.store.rotations.Load(); n != 1 {
		t.Errorf("%d rotations", n)
	}
	if b.cookie("__Host-refresh") == before {
		t.Error("the browser never got the successor")
	}
	for range 3 {
		b.forget()
		b.want(200, "GET", "/")
	}
}

// TestALateResponseUndoesNothing: while a request that renewed its session is
// still at work, the user signs out, or in as somebody else, in another tab.
func TestALateResponseUndoesNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		tab  func(b *browser)
		who  int
	}{
		{"signed out", func(b *browser) { b.want(204, "POST", "/auth/logout") }, 401},
		{"signed out everywhere", func(b *browser) { b.want(204, "POST", "/auth/logout-all") }, 401},
		{"signed in anew", func(b *browser) { b.want(200, "POST", "/login/bob") }, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t)
			started, release := make(chan struct{}), make(chan struct{})
			s := httptest.NewTLSServer(a.site(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(started)
				<-release
				greet(w, r)
			}))))
			defer s.Close()
			b := newBrowser(t, s)
			b.want(200, "POST", "/login/alice")
			b.forget()
			var wg sync.WaitGroup
			wg.Go(func() {
				if status, body := b.do("GET", "/late"); status != 200 || body != "alice" {
					t.Errorf("the late response: %d %s", status, body)
				}
			})
			<-started
			tt.tab(b)
			now := b.cookie("__Host-refresh")
			close(release)
			wg.Wait()
			if b.cookie("__Host-refresh") != now {
				t.Error("the late response replaced the cookies")
			}
			if status, body := b.do("GET", "/who"); status != tt.who || status == 200 && body != "bob" {
				t.Errorf("afterwards: %d %s", status, body)
			}
		})
	}
}
