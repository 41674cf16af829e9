package proxies

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
	"github.com/sessionkit/sessionkit/refresh"
)

// An app is an app that uses the kit, behind a proxy.
type app struct {
	*authtest.Kit
	addr   string // host:port, or the path of a Unix socket
	public atomic.Int64
}

func start(t *testing.T, cfg sessionkit.Config, network string) *app {
	t.Helper()
	a := &app{Kit: authtest.New(t, cfg)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "alice", Remember: true}); err != nil {
			a.WriteError(w, r, err)
		}
	})
	mux.Handle("/app/auth/", a.Handler("/app/auth"))
	mux.Handle("/auth/", a.Handler("/auth"))
	guarded := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, a.RequireAuth(h)) }
	who := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, middleware.Subject(r.Context())) }
	guarded("/me", who)
	guarded("/app/me", who)
	guarded("/authorization", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Authorization"]) })
	mux.HandleFunc("/ip", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, a.BrowserClient(r).IP) })
	mux.Handle("/public", a.OptionalAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.public.Add(1)
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("X-Accel-Expires", "60")
		io.WriteString(w, "for all")
	})))
	guarded("/upgrade", upgrade)

	s := httptest.NewUnstartedServer(mux)
	if network == "unix" {
		s.Listener.Close()
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		must(t, err)
		s.Listener = l
	}
	s.Start()
	t.Cleanup(s.Close)
	a.addr = s.Listener.Addr().String()
	return a
}

// upgrade talks another protocol: it repeats lines.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "echo" {
		http.Error(w, "no Upgrade header", http.StatusUpgradeRequired)
		return
	}
	header := w.Header()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n")
	header.Write(conn)
	io.WriteString(conn, "\r\n")
	line, _ := rw.ReadString('\n')
	io.WriteString(conn, line)
}

var proxyTrusted = middleware.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}

// An access token of 3.5 KB, with the other cookies of a sign-in, is more than
// nginx takes in the header of an answer by default.
func TestLargeCookies(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		a := start(t, sessionkit.Config{}, "tcp")
		s := a.SignIn(authtest.User{Subject: "alice", Custom: map[string]string{"pad": strings.Repeat("x", 2300)}})
		if n := len(s.Grant.AccessToken); n < 3450 || n > 3600 {
			t.Fatalf("the token has %d bytes", n)
		}
		b := proxy(t, setup{upstream: a.addr}).browser()
		b.signIn()
		b.want("with the recommended settings", b.do("GET", "/me"), 200, "alice")
		b.expire()
		b.want("renewed", b.do("GET", "/me"), 200, "alice")

		want := 200
		if strings.HasSuffix(t.Name(), "/nginx") {
			want = 502
		}
		bare := proxy(t, setup{upstream: a.addr, bare: true}).browser()
		bare.want("with the defaults", bare.do("POST", "/login"), want, "")

		// An answer that renews has no device cookie: it takes a little more to
		// be too large. Cookies know no ports: one browser comes through both.
		a.SignIn(authtest.User{Subject: "alice", Custom: map[string]string{"pad": strings.Repeat("x", 2600)}})
		bare.http.Jar = b.http.Jar
		for range 3 {
			b.expire()
			bare.want("renewed with the defaults", bare.do("GET", "/me"), want, "")
		}
		b.want("after a renewal was lost", b.do("GET", "/me"), 200, "alice")
	})
}

// The client's address is what the proxy wrote, and what the client itself wrote
// before it does not count.
func TestForwardedFor(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		for _, c := range []struct {
			name, network string
			cfg           middleware.Config
			want          string
		}{
			{"a trusted proxy", "tcp", proxyTrusted, "127.0.0.2"},
			{"a proxy that nobody named", "tcp", middleware.Config{}, "127.0.0.1"},
			{"a network with clients in it", "tcp", middleware.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "203.0.113.9"},
			{"a Unix socket", "unix", middleware.Config{TrustUnixSockets: true}, "127.0.0.2"},
			{"a Unix socket that is not trusted", "unix", middleware.Config{}, "invalid IP"},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := start(t, sessionkit.Config{HTTP: c.cfg}, c.network)
				b := proxy(t, setup{upstream: a.addr}).browser()
				b.want("address", b.do("GET", "/ip", "X-Forwarded-For", "203.0.113.9"), 200, c.want)
				b.signIn()
				b.expire()
				b.want("session", b.do("GET", "/me"), 200, "alice")
			})
		}
	})
}

// Without an address a session cannot be bound to one: the sign-in says so.
func TestUnixSocketAndStrictBinding(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		for trust, want := range map[bool]int{false: 400, true: 200} {
			a := start(t, sessionkit.Config{HTTP: middleware.Config{TrustUnixSockets: trust}, Sessions: refresh.Config{Binding: refresh.BindStrict()}}, "unix")
			b := proxy(t, setup{upstream: a.addr}).browser()
			b.want(fmt.Sprintf("sign in, TrustUnixSockets %v", trust), b.do("POST", "/login"), want, "")
		}
	})
}

// A proxy that asks for a password leaves its header on the request. The kit
// does not look at it.
func TestBasicAuthInFront(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		a := start(t, sessionkit.Config{HTTP: proxyTrusted}, "tcp")
		users := write(t, t.TempDir(), "users", "staging:{PLAIN}secret\n")
		b := proxy(t, setup{
			upstream: a.addr,
			server:   "auth_basic staging; auth_basic_user_file " + users + ";",
			top:      "userlist staff\n\tuser staging insecure-password secret\n",
			frontend: "http-request auth unless { http_auth(staff) }\n",
		}).browser()
		b.want("without the password", b.do("GET", "/me"), 401, "")
		basic := []string{"Authorization", "Basic c3RhZ2luZzpzZWNyZXQ="}
		b.want("without a session", b.do("GET", "/me", basic...), 401, "")
		b.want("sign in", b.do("POST", "/login", basic...), 200, "")
		b.want("with both", b.do("GET", "/authorization", basic...), 200, "[Basic c3RhZ2luZzpzZWNyZXQ=]")
		b.expire()
		b.want("renewed", b.do("GET", "/me", basic...), 200, "alice")
		b.want("sign out", b.do("POST", "/auth/logout", basic...), 204, "")
		b.want("signed out", b.do("GET", "/me", basic...), 401, "")
	})
}

// A cache in front keeps no answer with the cookies of a renewal, although the
// handler lets it keep the page.
func TestCacheInFront(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		run := func(ignore string) (renewal, stranger answer, asked int64) {
			a := start(t, sessionkit.Config{HTTP: proxyTrusted}, "tcp")
			f := proxy(t, setup{
				upstream: a.addr,
				http:     "proxy_cache_path " + t.TempDir() + " keys_zone=c:1m;",
				server:   "proxy_cache c; proxy_cache_valid 200 1m;" + ignore,
				top:      "cache c\n\ttotal-max-size 4\n\tmax-age 60\n",
				backend:  "http-request cache-use c\n\thttp-response cache-store c\n",
			})
			b := f.browser()
			b.signIn()
			b.expire()
			renewal = b.do("GET", "/public")
			stranger = f.browser().do("GET", "/public")
			f.browser().do("GET", "/public")
			return renewal, stranger, a.public.Load()
		}
		ignores := []string{""}
		if strings.HasSuffix(t.Name(), "/nginx") {
			ignores = append(ignores, "proxy_ignore_headers Set-Cookie;")
		}
		for _, ignore := range ignores {
			renewal, stranger, asked := run(ignore)
			if len(renewal.Cookies()) != 2 || len(stranger.Cookies()) != 0 {
				t.Errorf("%q: cookies of the renewal %v, of a stranger %v", ignore, renewal.Cookies(), stranger.Cookies())
			}
			if asked != 2 {
				t.Errorf("%q: the app was asked %d times, want twice: the cache keeps the second answer", ignore, asked)
			}
		}
		if len(ignores) > 1 {
			_, stranger, _ := run("proxy_ignore_headers Set-Cookie Cache-Control Expires X-Accel-Expires;")
			if len(stranger.Cookies()) == 0 {
				t.Error("a cache that ignores Cache-Control gives no cookies away: the document says that it does")
			}
		}
	})
}

// Browsers say in Sec-Fetch-Site whether a request is of the same origin. For
// those that do not, Origin is compared with Host.
func TestRewrittenHost(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		trusting := http.NewCrossOriginProtection()
		for _, c := range []struct {
			name    string
			setup   setup
			trusted bool
			old     int // for a browser without Sec-Fetch-Site
		}{
			{"kept", setup{}, false, 200},
			{"rewritten", setup{bare: true, backend: "http-request set-header Host app.internal"}, false, 403},
			{"rewritten, and the origin is trusted", setup{bare: true, backend: "http-request set-header Host app.internal"}, true, 200},
		} {
			t.Run(c.name, func(t *testing.T) {
				cfg := middleware.Config{}
				if c.trusted {
					cfg.CrossOrigin = trusting
				}
				a := start(t, sessionkit.Config{HTTP: cfg}, "tcp")
				c.setup.upstream = a.addr
				b := proxy(t, c.setup).browser()
				if c.trusted {
					must(t, trusting.AddTrustedOrigin(b.url.String()))
				}
				b.signIn()
				own := []string{"Origin", b.url.String()}
				b.want("of the same origin", b.do("POST", "/me", append(own, "Sec-Fetch-Site", "same-origin")...), 200, "alice")
				b.want("without Sec-Fetch-Site", b.do("POST", "/me", own...), c.old, "")
				b.want("of another origin", b.do("POST", "/me", "Origin", "https://evil.example"), 403, "")
				b.want("of another origin, as browsers say it", b.do("POST", "/me", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), 403, "")
			})
		}
	})
}

// A proxy that takes a prefix off the path makes the app send users back to
// where the page is not.
func TestRewrittenPath(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		page := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
		for _, c := range []struct {
			name  string
			setup setup
			want  string
		}{
			{"kept", setup{}, "/app/login?return_to=%2Fapp%2Fme%3Fx%3D1"},
			{"taken off", setup{server: `location /app/ { ` + nginxRecommended + ` proxy_pass http://app/; }`, frontend: "http-request replace-path /app(/.*) \\1\n"}, "/app/login?return_to=%2Fme%3Fx%3D1"},
		} {
			t.Run(c.name, func(t *testing.T) {
				a := start(t, sessionkit.Config{LoginPath: "/app/login"}, "tcp")
				c.setup.upstream = a.addr
				b := proxy(t, c.setup).browser()
				res := b.do("GET", "/app/me?x=1", page...)
				if b.want("a page without a session", res, 303, ""); res.Header.Get("Location") != c.want {
					t.Errorf("Location %q, want %q", res.Header.Get("Location"), c.want)
				}
				b.want("sign in", b.do("POST", cmp.Or(map[string]string{"kept": "/login"}[c.name], "/app/login")), 200, "")
				b.expire()
				b.want("a session below the prefix", b.do("GET", "/app/me"), 200, "alice")
				b.want("the endpoints below the prefix", b.do("POST", "/app/auth/logout"), 204, "")
				b.want("signed out", b.do("GET", "/app/me"), 401, "")
			})
		}
	})
}

// HTTP/2 at the front, where a browser sends each cookie in a header of its own.
func TestHTTP2AtTheFront(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		a := start(t, sessionkit.Config{HTTP: proxyTrusted}, "tcp")
		b := proxy(t, setup{upstream: a.addr}).browser()
		b.signIn()
		for range 2 {
			b.expire()
			res := b.do("GET", "/me")
			b.want("renewed", res, 200, "alice")
			if res.ProtoMajor != 2 || len(res.Cookies()) != 2 {
				t.Errorf("%s, cookies %v", res.Proto, res.Cookies())
			}
		}
	})
}

// An upgrade reaches the app where the proxy passes its two headers on, and the
// answer brings the cookies of a renewal.
func TestUpgrade(t *testing.T) {
	each(t, func(t *testing.T, proxy func(*testing.T, setup) *front) {
		a := start(t, sessionkit.Config{HTTP: proxyTrusted}, "tcp")
		bare := 101
		if strings.HasSuffix(t.Name(), "/nginx") {
			bare = 426
		}
		for _, c := range []struct {
			name   string
			bare   bool
			status int
			origin string
		}{
			{"with the recommended settings", false, 101, ""},
			{"from another origin", false, 403, "https://evil.example"},
			{"with the defaults", true, bare, ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				b := proxy(t, setup{upstream: a.addr, bare: c.bare}).browser()
				b.signIn()
				b.expire()
				r, err := http.NewRequest("GET", b.url.String()+"/upgrade", nil)
				must(t, err)
				for _, cookie := range b.http.Jar.Cookies(b.url) {
					r.AddCookie(cookie)
				}
				r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0")
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "echo")
				r.Header.Set("Origin", cmp.Or(c.origin, b.url.String()))
				conn, err := tls.Dial("tcp", b.url.Host, &tls.Config{RootCAs: b.ca, NextProtos: []string{"http/1.1"}})
				must(t, err)
				defer conn.Close()
				must(t, r.Write(conn))
				in := bufio.NewReader(conn)
				res, err := http.ReadResponse(in, r)
				must(t, err)
				if res.StatusCode != c.status {
					t.Fatalf("%s, want %d", res.Status, c.status)
				}
				if c.status != 101 {
					return
				}
				if len(res.Cookies()) != 2 {
					t.Errorf("cookies %v", res.Cookies())
				}
				io.WriteString(conn, "hello\n")
				if line, err := in.ReadString('\n'); line != "hello\n" {
					t.Errorf("%q, %v", line, err)
				}
			})
		}
	})
}

// The document shows the settings that are tested here.
func TestDocumentShowsTheSettings(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "proxies.md"))
	must(t, err)
	for language, settings := range map[string][]string{"nginx": {nginxRecommended, nginxUpgrade}, "haproxy": {haproxyRecommended}} {
		for _, s := range settings {
			if !strings.Contains(string(text), "```"+language+s+"```") {
				t.Errorf("docs/proxies.md does not show %s", s)
			}
		}
	}
}
