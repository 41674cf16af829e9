package redisstore_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestANewerBuildsFieldsSurvive: a family's fields that this build does not
// know stay as they are, and bother nobody, while it renews, settles, lists and
// revokes beside them.
func TestANewerBuildsFieldsSurvive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	rec := new(storelife.Events)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, c), rec, 0)
	g, other := start(t, s, "alice"), start(t, s, "alice")
	id, err := family.ParseID(g.Claims.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	key := server.Must("KEYS", "rt:{*}")
	unknown := map[string]string{string(id[:]) + "z": "of the family", "schema": "of the subject"}
	for field, v := range unknown {
		c.HSet(t.Context(), key, field, v)
	}
	for range 2 {
		before := g
		for range 2 { // a rotation and a replay
			if g, err = s.Refresh(t.Context(), before.RefreshToken, device); err != nil {
				t.Fatal(err)
			}
		}
	}
	redistest.Await(t, 10*time.Second, "the generation settles", func() bool {
		if _, err := s.Verify(g.AccessToken); err != nil {
			t.Fatal(err)
		}
		return rec.Of(refresh.EventSettled) > 0
	})
	list, err := s.List(t.Context(), g.Claims)
	if err != nil || len(list) != 2 {
		t.Errorf("%d sessions and not 2, %v", len(list), err)
	}
	if err := s.Revoke(t.Context(), "alice", other.Claims.SessionID, family.ReasonUser); err != nil {
		t.Errorf("a revocation beside them: %v", err)
	}
	for field, v := range unknown {
		if got := c.HGet(t.Context(), key, field).Val(); got != v {
			t.Errorf("field %q is %q and not %q", field[max(0, len(field)-6):], got, v)
		}
	}
	if _, err := s.Refresh(t.Context(), g.RefreshToken, device); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestTheDefaultsBoundTheWait: who configures nothing waits two seconds for a
// server that has stopped, however the request comes to need it.
func TestTheDefaultsBoundTheWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newPlan(t)
	p.defaults = true
	b := p.open(t, server.Addr, false)
	alice := b.login(t)
	server.Pause()
	for _, path := range []string{"/", "/auth/token/refresh"} {
		res, took := b.get(path, alice[1:]...)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.Cookies()) > 0 {
			t.Errorf("%s: %d, Retry-After %q, cookies %v", path, res.StatusCode, res.Header.Get("Retry-After"), res.Cookies())
		}
		// Half a second for the service's own limit, the rest for a busy machine.
		if took < time.Second || took > 2*time.Second+500*time.Millisecond+2*time.Second {
			t.Errorf("%s took %v", path, took)
		}
		t.Logf("%s: %v", path, took.Round(time.Millisecond))
	}
	server.Resume()
	redistest.Await(t, 20*time.Second, "the session goes on with the same cookies", func() bool {
		res, _ := b.get("/", alice[1:]...)
		return res.StatusCode == http.StatusNoContent && len(res.Cookies()) > 0
	})
}
