package middleware_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// plain is a reader and nothing else, so that io.Copy asks the writer.
type plain struct{ io.Reader }

// serveAs runs h behind the guard on a real server and returns the response
// to a browser whose access token has run out.
func serveAs(t *testing.T, h http.HandlerFunc, http2 bool, change func(*http.Request) *http.Request) (*http.Response, string) {
	t.Helper()
	a := newApp(t)
	s := httptest.NewUnstartedServer(a.RequireAuth(h))
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	r := a.login("alice").request("GET", s.URL+"/", expired)
	r.RequestURI = ""
	r.Header.Set("User-Agent", "")
	if change != nil {
		r = change(r)
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestTheWriterKeepsItsAbilities: what a handler can do with the server's own
// writer it can do with ours, and the cookies arrive.
func TestTheWriterKeepsItsAbilities(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		method  string
		status  int
		body    string
	}{
		{"io.Copy", func(w http.ResponseWriter, r *http.Request) {
			if n, err := io.Copy(w, plain{strings.NewReader(large)}); err != nil || n != int64(len(large)) {
				t.Error(n, err)
			}
		}, "GET", 200, large},
		{"ReadFrom by name", func(w http.ResponseWriter, r *http.Request) {
			from, ok := w.(io.ReaderFrom)
			if ok != (r.ProtoMajor == 1) {
				t.Errorf("HTTP/%d: a ReaderFrom is %v", r.ProtoMajor, ok)
			}
			if !ok {
				io.WriteString(w, "abc")
			} else if n, err := from.ReadFrom(plain{strings.NewReader("abc")}); err != nil || n != 3 {
				t.Error(n, err)
			}
		}, "GET", 200, "abc"},
		{"http.ServeContent", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Unix(1, 0), strings.NewReader("abc"))
		}, "GET", 200, "abc"},
		{"deadlines", func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			later := time.Now().Add(time.Minute)
			if err := errors.Join(rc.SetReadDeadline(later), rc.SetWriteDeadline(later), rc.EnableFullDuplex()); err != nil && !errors.Is(err, http.ErrNotSupported) {
				t.Error(err)
			}
			io.WriteString(w, "abc")
		}, "GET", 200, "abc"},
		{"a stream in pieces", func(w http.ResponseWriter, r *http.Request) {
			for _, s := range []string{"a", "b", "c"} {
				io.WriteString(w, s)
				w.(http.Flusher).Flush()
			}
		}, "GET", 200, "abc"},
		{"headers after the first byte are too late, as ever", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			w.Header().Set("Cache-Control", "public")
		}, "GET", 200, "abc"},
		{"a trailer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "abc")
			w.Header().Set("X-Sum", "1")
		}, "GET", 200, "abc"},
		{"HEAD", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "abc") }, "HEAD", 200, ""},
		{"204", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, "GET", 204, ""},
		{"an error page with a content type of its own", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "GET", 404, "404 page not found\n"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", ""); w.WriteHeader(300) }, "GET", 300, ""},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", tt.name, http2), func(t *testing.T) {
				res, body := serveAs(t, tt.handler, http2, func(r *http.Request) *http.Request { r.Method = tt.method; return r })
				if res.StatusCode != tt.status || body != tt.body {
					t.Errorf("%d, %d bytes", res.StatusCode, len(body))
				}
				if cookies := set(t, res.Header); len(cookies) != 2 {
					t.Errorf("cookies %v", cookies)
				}
				if res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("Cache-Control %q", res.Header.Get("Cache-Control"))
				}
			})
		}
	}
}

// TestInformationalResponsesCarryNoCookies: the answer does, once.
func TestInformationalResponsesCarryNoCookies(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var early []textproto.MIMEHeader
		res, _ := serveAs(t, func(w http.ResponseWriter, r *http.Request) {
			for range 2 {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
			}
			io.WriteString(w, "abc")
		}, http2, func(r *http.Request) *http.Request {
			return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { early = append(early, h); return nil },
			}))
		})
		if len(early) != 2 || early[0].Get("Set-Cookie") != "" || len(set(t, res.Header)) != 2 {
			t.Errorf("HTTP/2 %v: early %v, then %v", http2, early, res.Header)
		}
	}
}

// dial sends a renewing browser's request over a connection of its own.
func dial(t *testing.T, a *app, h http.HandlerFunc) (net.Conn, *http.Response, *bufio.Reader) {
	t.Helper()
	s := httptest.NewServer(a.RequireAuth(h))
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := a.login("alice").request("GET", "/", expired, "Connection: Upgrade", "Upgrade: echo")
	r.Header.Set("User-Agent", "")
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, r)
	if err != nil {
		t.Fatal(err)
	}
	return conn, res, br
}

// TestHijackedConnections: a handler that writes the 101 by hand finds the
// cookies among the headers that it has to send; one that writes nothing of
// them has lost a response, and no session.
func TestHijackedConnections(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hijack  func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error)
		headers bool
		cookies int
	}{
		{"by type", func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() }, true, 2},
		{"by ResponseController", func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		}, true, 2},
		{"without the headers", func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t)
			_, res, br := dial(t, a, func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := tt.hijack(w)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n")
				if tt.headers {
					if err := w.Header().Write(rw); err != nil {
						t.Error(err)
					}
				}
				fmt.Fprint(rw, "\r\nhello\n")
				if err := rw.Flush(); err != nil {
					t.Error(err)
				}
			})
			if cookies := set(t, res.Header); res.StatusCode != 101 || len(cookies) != tt.cookies {
				t.Errorf("%d, cookies %v", res.StatusCode, cookies)
			}
			if line, err := br.ReadString('\n'); err != nil || line != "hello\n" {
				t.Errorf("%q, %v", line, err)
			}
		})
	}
}

// bare is a ResponseWriter without any ability.
type bare struct{ http.ResponseWriter }

// TestAbilitiesThatTheServerLacksAreErrors, not panics.
func TestAbilitiesThatTheServerLacksAreErrors(t *testing.T) {
	a := newApp(t)
	rec := httptest.NewRecorder()
	a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); ok {
			t.Error("an ability that the writer underneath has not")
		}
		rc := http.NewResponseController(w)
		_, _, hijack := rc.Hijack()
		for name, err := range map[string]error{"Flush": rc.Flush(), "Hijack": hijack, "SetReadDeadline": rc.SetReadDeadline(time.Time{})} {
			if !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
		io.Copy(w, plain{strings.NewReader("abc")})
		io.WriteString(w, "def")
	})).ServeHTTP(bare{rec}, a.login("alice").request("GET", "/", expired))
	if rec.Body.String() != "abcdef" || len(set(t, rec.Header())) != 2 {
		t.Errorf("%q %v", rec.Body, rec.Header())
	}
}

// TestOtherWrappersMayComeBetween: a timeout handler outside and inside.
func TestOtherWrappersMayComeBetween(t *testing.T) {
	a := newApp(t)
	for name, h := range map[string]http.Handler{
		"outside": http.TimeoutHandler(a.RequireAuth(greet), time.Minute, "too late"),
		"inside":  a.RequireAuth(http.TimeoutHandler(greet, time.Minute, "too late")),
	} {
		res := serve(h, a.login("alice").request("GET", "/", expired))
		if res.StatusCode != 200 || text(res) != "alice" || len(set(t, res.Header)) != 2 {
			t.Errorf("%s: %d %v", name, res.StatusCode, res.Header)
		}
	}
}
