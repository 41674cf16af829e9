package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
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
}

func (c *slowConnection) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.changed)
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
