package sqlstore_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/pgtest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/sqlstore"
)

// onFaulty runs a test on a store of each kind whose driver is faulty.
func onFaulty(t *testing.T, test func(t *testing.T, f *faulty, cfg sqlstore.Config)) {
	t.Helper()
	for _, k := range []struct {
		name string
		open func(t *testing.T) (*faulty, sqlstore.Config)
	}{
		{"PostgreSQL", func(t *testing.T) (*faulty, sqlstore.Config) {
			f := newFaulty(t, "pgx", pgtest.Start(t).URL())
			return f, sqlstore.Config{DB: f.db(t), Dialect: sqlstore.PostgreSQL}
		}},
		{"SQLite", func(t *testing.T) (*faulty, sqlstore.Config) {
			f := newFaulty(t, "sqlite", filepath.Join(t.TempDir(), "sessions.db"))
			return f, sqlstore.Config{DB: f.db(t), Dialect: sqlstore.SQLite}
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f, cfg := k.open(t)
			cfg.Timeout = 300 * time.Millisecond
			test(t, f, cfg)
		})
	}
}

var faults = []fault{refuse, cut, swallow, deadlocked, serialized}

// TestOneFaultAtEachStatement: whatever happens to any one statement or answer of a
// user's sessions, nobody is signed out, nothing takes effect twice, and no other
// error than "try again" is seen.
func TestOneFaultAtEachStatement(t *testing.T) {
	t.Parallel()
	onFaulty(t, func(t *testing.T, f *faulty, cfg sqlstore.Config) {
		ring := storelife.NewRing(t)
		for _, what := range faults {
			t.Run(what.String(), func(t *testing.T) {
				cfg := cfg
				if what == swallow {
					cfg.Timeout /= 3 // which is what each of these costs
				}
				store := newStore(t, cfg)
				hit := true
				position := 0
				for ; hit; position++ {
					var n atomic.Int64
					hit = false
					f.setPlan(func(statement string) fault {
						if n.Add(1) == int64(position)+1 {
							hit = true
							return what
						}
						return pass
					})
					rec := new(storelife.Events)
					s := storelife.NewService(t, ring, storelife.Plain{Store: store}, rec, 2)
					storelife.Life(t, s, rec, fmt.Sprintf("user-%v-%d", what, position), true)
					s.Close()
					f.setPlan(nil)
					if rec.Of(refresh.EventReuse) != 0 || rec.Of(refresh.EventStoreBehind) != 0 {
						t.Fatalf("fault at statement %d: events %v", position, rec)
					}
				}
				if position < 30 {
					t.Fatalf("only %d statements seen", position)
				}
				t.Logf("%d positions", position-1)
			})
		}
	})
}

// TestRandomFaults: the same with a fault at one statement in ten.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	onFaulty(t, func(t *testing.T, f *faulty, cfg sqlstore.Config) {
		store := newStore(t, cfg)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		rec := new(storelife.Events)
		s := storelife.NewService(t, storelife.NewRing(t), storelife.Plain{Store: store}, rec, 0)
		var ended atomic.Int64 // statements that end something without a fault
		f.setPlan(func(statement string) fault {
			if r.IntN(10) == 0 {
				return faults[r.IntN(len(faults))]
			}
			if strings.HasPrefix(statement, "COMMIT") {
				ended.Add(1)
			}
			return pass
		})
		failures := 0
		for i := range 20 {
			failures += storelife.Life(t, s, rec, fmt.Sprintf("user-%d", i), false)
		}
		f.setPlan(nil)
		if rec.Of(refresh.EventReuse) != 0 || rec.Of(refresh.EventStoreBehind) != 0 || ended.Load() == 0 {
			t.Fatalf("events %v", rec)
		}
		t.Logf("%d answers of \"try again\"", failures)
	})
}
