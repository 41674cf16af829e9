package middleware_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestAStreamEndsWithItsSession over a real connection: events arrive, the
// cookies of the renewal with the first of them, and a logout in another tab
// ends the stream.
func TestAStreamEndsWithItsSession(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			a := newApp(t)
			causes := make(chan error, 1)
			s := httptest.NewUnstartedServer(a.site(a.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := a.WatchSession(r)
				defer cancel()
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "data: hello\n\n")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}))))
			s.EnableHTTP2 = http2
			s.StartTLS()
			defer s.Close()
			b := newBrowser(t, s)
			b.want(200, "POST", "/login/alice")
			b.forget()
			a.ahead.Add(int64(freshTime))
			before := b.cookie("__Host-refresh")
			res, err := b.Get(s.URL + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			events := bufio.NewReader(res.Body)
			if line, err := events.ReadString('\n'); err != nil || line != "data: hello\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if b.cookie("__Host-refresh") == before {
				t.Error("the stream began without the cookies of the renewal")
			}
			b.want(204, "POST", "/auth/logout")
			if _, err := io.ReadAll(events); err != nil {
				t.Errorf("the stream ended with %v", err)
			}
			if err := <-causes; !errors.Is(err, refresh.ErrRevoked) {
				t.Errorf("cause %v", err)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   func(a *app, k tokens, hangUp, done func())
		cause error
		after time.Duration
	}{
		{"the session is revoked", func(a *app, k tokens, _, _ func()) {
			if err := a.sessions.RevokeAll(context.Background(), "alice", family.ReasonPassword); err != nil {
				a.t.Error(err)
			}
		}, refresh.ErrRevoked, 0},
		{"its absolute lifetime is over, and no sooner", func(*app, tokens, func(), func()) {}, refresh.ErrGone, 24*time.Hour - freshTime},
		{"the client hangs up", func(_ *app, _ tokens, hangUp, _ func()) { hangUp() }, context.Canceled, 0},
		{"the handler has enough", func(_ *app, _ tokens, _, done func()) { done() }, context.Canceled, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				a := newApp(t)
				k := a.login("alice")
				start := a.now()
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				serve(a.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					watched, done := a.WatchSession(r)
					defer done()
					tt.end(a, k, hangUp, done)
					<-watched.Done()
					if err := context.Cause(watched); !errors.Is(err, tt.cause) {
						t.Errorf("cause %v, want %v", err, tt.cause)
					}
				})), k.request("GET", "/", all).WithContext(ctx))
				if got := a.now().Sub(start); got != tt.after {
					t.Errorf("ended after %v, want %v", got, tt.after)
				}
			})
		})
	}
}

// TestAStreamOfARevokedSessionNeverStarts: revoked between the guard and Watch.
func TestAStreamOfARevokedSessionNeverStarts(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	serve(a.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		serve(a.Handler("/auth"), k.request("POST", "/auth/logout", all))
		ctx, cancel := a.WatchSession(r)
		defer cancel()
		if !errors.Is(context.Cause(ctx), refresh.ErrRevoked) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
	})), k.request("GET", "/", all))
}
