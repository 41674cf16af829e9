package refresh_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A slowConnection is one on which nothing more arrives, with net/http's read
// deadlines.
type slowConnection struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (c *slowConnection) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *slowConnection) Read([]byte) (int, error) {
	if c.deadline.IsZero() {
		select {} // for ever
	}
	time.Sleep(time.Until(c.deadline))
	return 0, os.ErrDeadlineExceeded
}

func (c *slowConnection) Close() error { return nil }

func TestSlowBodiesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		for name, h := range map[string]http.Handler{"refresh": k.RefreshHandler(), "logout": k.LogoutHandler()} {
			c := &slowConnection{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest("POST", "/", c)
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = 100
			began := time.Now()
			h.ServeHTTP(c, r)
			if took := time.Since(began); c.Code != http.StatusRequestTimeout || took > 10*time.Second {
				t.Errorf("%s: %d after %v", name, c.Code, took)
			}
			if !c.deadline.IsZero() {
				t.Errorf("%s: the deadline outlives the body", name)
			}
		}
	})
}
