package e2e

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// newApp is a small app for what the demo leaves out, behind a stage. Its
// access tokens live for two seconds.
func newApp(t *testing.T, clear []string, cfg middleware.Config) *stage {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := access.GenerateKeys(access.EdDSA)
	check(err)
	ring, err := access.NewKeyRing(keys)
	check(err)
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring, Lifetime: 2 * time.Second})
	check(err)
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	check(err)
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
	check(err)
	t.Cleanup(func() { sessions.Close() })
	cfg.Sessions, cfg.ClearSiteData = sessions, clear
	auth, err := middleware.New(cfg)
	check(err)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "sign in") })
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := auth.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			auth.WriteError(w, r, err)
		}
	})
	mux.HandleFunc("GET /sessionkit.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../examples/webapp/assets/sessionkit.js")
	})
	mux.HandleFunc("POST /api/echo", func(w http.ResponseWriter, r *http.Request) {
		auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })).ServeHTTP(w, r)
	})
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.Handle("GET /api/me", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		json.NewEncoder(w).Encode(map[string]any{"subject": c.Subject, "session_id": c.SessionID, "generation": c.Generation})
	})))
	mux.Handle("GET /socket", auth.RequireAuth(socket(auth, true)))
	mux.Handle("GET /raw-socket", auth.RequireAuth(socket(auth, false)))
	return newStage(t, "localhost", serve(t, "localhost", mux))
}

// socket speaks just enough of RFC 6455 to send the subject, and to hang up when
// the session ends. Some libraries write the answer with the ResponseWriter's
// headers, and others their own, in which the new cookies are lost.
func socket(auth *middleware.Auth, headers bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		accept := base64.StdEncoding.EncodeToString(sum[:])
		if headers {
			h := w.Header()
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
			h.Set("Sec-WebSocket-Accept", accept)
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		if !headers {
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept)
		}
		c, _ := middleware.Session(r.Context())
		conn.Write(append([]byte{0x81, byte(len(c.Subject))}, c.Subject...))
		ctx, stop := auth.WatchSession(r)
		defer stop()
		left, leave := context.WithCancel(ctx)
		go func() { defer leave(); io.Copy(io.Discard, conn) }()
		<-left.Done()
	})
}

// TestWebSocket: a WebSocket opens although the access token has expired, whether
// or not the new cookies reach the browser, and ends with the session.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path    string
		arrives bool
	}{
		"the answer carries the cookies": {"/socket", true},
		"the answer loses the cookies":   {"/raw-socket", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newApp(t, nil, middleware.Config{})
			b := newBrowser(t)
			b.signIn(s.base, "alice", "")
			b.visit(s.base + "/e2e/page")
			before, token := b.me(), b.cookies(s.base)["__Host-refresh"].Value
			b.expire()
			if got := js[string](b.tab, fmt.Sprintf(`
				window.closed_ = false
				window.socket = new WebSocket(location.origin.replace('http', 'ws') + %q)
				socket.onclose = () => { window.closed_ = true }
				return await new Promise((r, no) => { socket.onmessage = e => r(e.data); socket.onerror = () => no(new Error('refused')) })`, c.path)); got != "alice" {
				t.Fatalf("the socket says %q", got)
			}
			if arrived := b.cookies(s.base)["__Host-refresh"].Value != token; arrived != c.arrives {
				t.Errorf("new cookies arrived: %v", arrived)
			}
			b.alive(before, "a WebSocket")
			if m := b.me(); m.Generation != before.Generation+1 {
				t.Errorf("generation %d after %d", m.Generation, before.Generation)
			}
			b.expire()
			if js[bool](b.tab, `return window.closed_`) {
				t.Fatal("the socket ended with the access token")
			}
			if got := b.status("POST", "/auth/logout"); got != 204 {
				t.Fatal(got)
			}
			b.until(limit, "the socket ends", func() bool { return js[bool](b.tab, `return window.closed_`) })
		})
	}
}

// TestClearSiteData: a logout empties the browser's storage where the app asks
// for it, and leaves the device cookie.
func TestClearSiteData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		clear []string
		left  string
	}{"asked for": {[]string{"storage"}, ""}, "not asked for": {nil, "mine"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newApp(t, c.clear, middleware.Config{})
			b := newBrowser(t)
			b.signIn(s.base, "alice", "")
			b.visit(s.base + "/e2e/page")
			js[int](b.tab, `localStorage.setItem('draft', 'mine'); return 0`)
			if got := b.status("POST", "/auth/logout"); got != 204 {
				t.Fatal(got)
			}
			b.visit(s.base + "/e2e/page?afterwards")
			if got := js[string](b.tab, `return localStorage.getItem('draft') || ''`); got != c.left {
				t.Errorf("the storage holds %q, want %q", got, c.left)
			}
			if cookies := b.cookies(s.base); cookies["__Host-refresh"] != nil || cookies["__Host-device"] == nil {
				t.Errorf("cookies: %v", cookies)
			}
		})
	}
}

// locked is how a script renews by itself, once for all tabs.
const locked = `
	const guarded = async path => {
		const first = await fetch(path)
		if (first.status !== 401) return first
		return navigator.locks.request('refresh', async () => {
			const again = await fetch(path) // another tab may have renewed meanwhile
			if (again.status !== 401) return again
			const r = await fetch('/auth/token/refresh', {method: 'POST'})
			return r.ok ? fetch(path) : r
		})
	}
`

// TestTabsThatRenewThemselves: where the app has turned transparent renewal off,
// three tabs with ten requests each renew once, under a Web Lock.
func TestTabsThatRenewThemselves(t *testing.T) {
	t.Parallel()
	s := newApp(t, nil, middleware.Config{NoTransparentRefresh: true})
	b := newBrowser(t)
	b.signIn(s.base, "alice", "")
	page := s.base + "/e2e/page"
	b.visit(page)
	before := b.me()
	tabs := []*tab{b.tab, b.open(page), b.open(page)}
	b.expire()
	if m := b.me(); m.Status != 401 {
		t.Fatalf("an expired access token: %+v", m)
	}
	results := parallel(tabs, func(tb *tab) []me {
		return js[[]me](tb, locked+`return await Promise.all(Array.from({length: 10}, async () => {
			const r = await guarded('/api/me'); const j = r.ok ? await r.json() : {}; j.Status = r.status; return j
		}))`)
	})
	for _, answers := range results {
		for _, m := range answers {
			if m.Status != 200 || m.Session != before.Session || m.Generation != before.Generation+1 {
				t.Errorf("%+v, before %+v", m, before)
			}
		}
	}
	if n := len(s.passed(func(x exchange) bool { return strings.HasPrefix(x.path, "/auth/token/refresh") })); n != 1 {
		t.Errorf("%d renewals", n)
	}
}
