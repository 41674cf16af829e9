package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
)

// A slowConnection is one on which nothing more arrives, with net/http's read
// deadlines.
type slowConnection struct {
	*httptest.ResponseRecorder
	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // closed when there is a deadline
	takes    time.Duration // how long the change of a deadline takes
	busy     atomic.Bool   // while it is changed
}

func (c *slowConnection) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.busy.Store(true)
	defer c.busy.Store(false)
	close(c.changed)
	time.Sleep(c.takes)
	return nil
}

func (c *slowConnection) Read([]byte) (int, error) {
	<-c.changed
	return 0, os.ErrDeadlineExceeded
}

func (c *slowConnection) Close() error { return nil }

// TestSlowBodiesAreNotWaitedFor: and the deadlines of a connection are nobody's
// but the server's, until the time is over.
func TestSlowBodiesAreNotWaitedFor(t *testing.T) {
	for path, status := range map[string]int{"/auth/token/refresh": http.StatusRequestTimeout, "/auth/logout": http.StatusNoContent} {
		faketime.Test(t, func(t *testing.T) {
			a := newApp(t)
			c := &slowConnection{ResponseRecorder: httptest.NewRecorder(), changed: make(chan struct{})}
			r := httptest.NewRequest("POST", path, c)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = 100
			began := time.Now()
			a.Handler("/auth").ServeHTTP(c, r)
			if took := time.Since(began); c.Code != status || took > 10*time.Second {
				t.Errorf("%s: %d after %v", path, c.Code, took)
			}
			if c.deadline.IsZero() || c.Header().Get("Connection") != "close" {
				t.Errorf("%s: the connection of a stalled body stays open", path)
			}
		})
	}
}

// TestAConnectionIsUsedByOneGoroutine: when the body ends just as the time for it
// is over, the answer waits for the change of the deadline.
func TestAConnectionIsUsedByOneGoroutine(t *testing.T) {
	for _, path := range []string{"/auth/token/refresh", "/auth/logout"} {
		faketime.Test(t, func(t *testing.T) {
			a := newApp(t)
			c := &slowConnection{ResponseRecorder: httptest.NewRecorder(), changed: make(chan struct{}), takes: time.Second}
			r := httptest.NewRequest("POST", path, c)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = 100
			a.Handler("/auth").ServeHTTP(c, r)
			if c.busy.Load() {
				t.Errorf("%s: the answer is complete, and the deadline still being changed", path)
			}
		})
	}
}

// TestDeadlinesAreLeftAlone where the body arrives.
func TestDeadlinesAreLeftAlone(t *testing.T) {
	a := newApp(t)
	c := &slowConnection{ResponseRecorder: httptest.NewRecorder(), changed: make(chan struct{})}
	r := httptest.NewRequest("POST", "/auth/token/refresh", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	a.Handler("/auth").ServeHTTP(c, r)
	if !c.deadline.IsZero() {
		t.Errorf("a deadline of %v", c.deadline)
	}
}
