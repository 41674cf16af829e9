package sqlstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sessionkit/sessionkit/internal/pgtest"
	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/sqlstore"
)

// heard are the revocations that a follower was told of.
type heard struct {
	mu     sync.Mutex
	news   *sync.Cond
	ids    map[family.ID]bool
	synced atomic.Int64
}

func newHeard() *heard {
	h := &heard{ids: make(map[family.ID]bool)}
	h.news = sync.NewCond(&h.mu)
	return h
}

func (h *heard) Revoked(id family.ID, _ time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids[id] = true
	h.news.Broadcast()
}

func (h *heard) Synced() { h.synced.Add(1) }

func (h *heard) has(t *testing.T, session string) bool {
	t.Helper()
	id, err := family.ParseID(session)
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ids[id]
}

// TestAnotherInstanceHearsOfRevocations: by looking, and by a notification; also of
// what was revoked while nobody listened.
func TestAnotherInstanceHearsOfRevocations(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).URL()
	for name, listens := range map[string]bool{"looking": false, "listening": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var woken, connections atomic.Int64
			open := func() *sqlstore.Store {
				cfg := sqlstore.Config{DB: openDB(t, "pgx", url), Dialect: sqlstore.PostgreSQL, Prefix: name + "_"}
				if listens {
					cfg.Listen = func(ctx context.Context, channel string, wake func()) error {
						conn, err := pgx.Connect(ctx, url)
						if err != nil {
							return err
						}
						defer conn.Close(context.Background())
						if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
							return err
						}
						for first := connections.Add(1) == 1; ; {
							wake()
							if _, err := conn.WaitForNotification(ctx); err != nil {
								return err
							}
							woken.Add(1)
							if first { // the first connection breaks, and says nothing of it
								return context.Canceled
							}
						}
					}
				}
				return newStore(t, cfg)
			}
			here, there := open(), open()
			h := newHeard()
			ctx, stop := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() { over <- here.Follow(ctx, time.Hour, h) }()
			redistest.Await(t, 20*time.Second, "the first look", func() bool { return h.synced.Load() > 0 })

			s := storelife.NewService(t, storelife.NewRing(t), storelife.Plain{Store: there}, new(storelife.Events), 0)
			for range 3 {
				g, err := s.Start(t.Context(), refresh.Login{Subject: "alice", Client: storelife.Client})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll); err != nil {
					t.Fatal(err)
				}
				redistest.Await(t, 20*time.Second, "the revocation", func() bool { return h.has(t, g.Claims.SessionID) })
			}
			if listens {
				redistest.Await(t, 20*time.Second, "a connection in the place of the one that broke", func() bool { return connections.Load() > 1 })
				if woken.Load() == 0 {
					t.Error("nobody was notified")
				}
			}
			stop()
			<-over
			late := newHeard()
			g, err := s.Start(t.Context(), refresh.Login{Subject: "alice", Client: storelife.Client})
			if err == nil {
				err = s.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll)
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop = context.WithCancel(t.Context())
			defer stop()
			go func() { over <- here.Follow(ctx, time.Hour, late) }()
			redistest.Await(t, 20*time.Second, "what was revoked meanwhile", func() bool { return late.has(t, g.Claims.SessionID) })
			stop()
			<-over
		})
	}
}

// BenchmarkFeed measures how long after the answer to a revocation another instance
// hears of it.
func BenchmarkFeed(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			open := k.new(b)
			here, there := newStore(b, open(b)), newStore(b, open(b))
			h := newHeard()
			ctx, stop := context.WithCancel(b.Context())
			over := make(chan error, 1)
			go func() { over <- here.Follow(ctx, time.Hour, h) }()
			s := storelife.NewService(b, storelife.NewRing(b), storelife.Plain{Store: there}, new(storelife.Events), 0)
			for b.Loop() {
				g, err := s.Start(b.Context(), refresh.Login{Subject: "alice", Client: storelife.Client})
				if err == nil {
					err = s.RevokeAll(b.Context(), "alice", family.ReasonLogoutAll)
				}
				if err != nil {
					b.Fatal(err)
				}
				id, _ := family.ParseID(g.Claims.SessionID)
				h.mu.Lock()
				for !h.ids[id] {
					h.news.Wait()
				}
				h.mu.Unlock()
			}
			stop()
			<-over
		})
	}
}
