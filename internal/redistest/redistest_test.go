package redistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Must("SET", "k", "v")
	if got := s.Must("GET", "k"); got != "v" {
		t.Errorf("GET = %q", got)
	}
	s.Kill()
	if _, err := s.Do("PING"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart()
	if got := s.Must("GET", "k"); got != "" {
		t.Errorf("a server without persistence remembers %q", got)
	}
}

func TestSentinelPromotesAReplica(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 2, 3)
	s.Primary().Must("SET", "k", "v")
	s.Primary().Must("WAIT", "2", "5000")
	old := s.Primary()
	s.Failover()
	if s.Primary() == old {
		t.Fatal("nobody was promoted")
	}
	if got := s.Primary().Must("GET", "k"); got != "v" {
		t.Errorf("GET = %q", got)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	if n := len(c.Primaries()); n != 3 {
		t.Fatalf("%d primaries", n)
	}
	stored := 0
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		for _, p := range c.Primaries() {
			if _, err := p.Do("SET", key, "v"); err == nil {
				stored++
			} else if !strings.HasPrefix(err.Error(), "MOVED") {
				t.Error(err)
			}
		}
	}
	if stored != 5 {
		t.Errorf("%d of 5 keys stored", stored)
	}
	from, to := c.Primaries()[0], c.Primaries()[1]
	slots := c.SlotsOf(from, 1)
	if len(slots) != 1 {
		from, to = to, from
		slots = c.SlotsOf(from, 1)
	}
	c.MoveSlots(from, to, slots)
	c.AwaitReady()
	redistest.Await(t, 10*time.Second, "the slot has moved", func() bool { return len(c.SlotsOf(to, 3)) > 0 })
}
