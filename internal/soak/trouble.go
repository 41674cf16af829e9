package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// faults chooses what a proxy does. It is called from one proxy at a time,
// except while a failover moves a client from one to the next.
func (w *world) faults(r *rand.Rand) func([]string) redistest.Fault {
	var mu sync.Mutex
	return func([]string) redistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if w.calm.Load() || r.Float64() >= w.options.faults {
			return redistest.Pass
		}
		w.account.faults.Add(1)
		return redistest.Fault(1 + r.IntN(5))
	}
}

// trouble stops, freezes, fills, demotes and restarts Redis, or kills its primary,
// until ctx ends.
func (w *world) trouble(ctx context.Context, r *rand.Rand) {
	for {
		pause(ctx, w.lifetime/2+time.Duration(r.Int64N(int64(w.lifetime))))
		switch {
		case ctx.Err() != nil:
			return
		case w.sentinel != nil:
			w.failover()
		case r.IntN(4) == 0: // full
			w.server.Do("CONFIG", "SET", "maxmemory", "1")
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Do("CONFIG", "SET", "maxmemory", "0")
		case r.IntN(4) == 0: // demoted: it may not write
			w.server.Do("REPLICAOF", "127.0.0.1", "1")
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Do("REPLICAOF", "NO", "ONE")
		case r.IntN(2) == 0:
			w.server.Pause()
			pause(context.Background(), time.Duration(r.Int64N(int64(w.outage()))))
			w.server.Resume()
		default:
			w.server.Kill()
			w.server.Restart()
		}
		w.account.restarts.Add(1)
	}
}

// failover kills the primary once two replicas are in sync, and starts it again
// when another server has taken its place for everybody, however long the machine
// takes. Earlier it would be a second primary: docs/operations.md.
func (w *world) failover() {
	var old *redistest.Server
	until := func(ok func() bool) {
		for !ok() {
			pause(context.Background(), 50*time.Millisecond)
		}
	}
	until(func() bool {
		if old = w.sentinel.Primary(); old == nil {
			return false
		}
		info, err := old.Do("INFO", "replication")
		return err == nil && strings.Count(info, "state=online") == 2
	})
	w.failovers.begin()
	began := time.Now()
	old.Kill()
	until(func() bool {
		p := w.sentinel.Primary()
		return p != nil && p != old || time.Since(began) > closing
	})
	w.account.promoted(time.Since(began))
	until(func() bool {
		p := w.sentinel.Primary()
		return p != nil && p != old && w.sentinel.Followed(p, old) || time.Since(began) > closing
	})
	// It comes back as what it was, and is turned into a replica; or goes on as
	// the primary if the sentinels could not agree in time.
	old.Restart()
	until(func() bool { return w.sentinel.Primary() != nil })
	w.failovers.end()
}

// stepClocks sets an instance's clock forward or back, again and again, until ctx
// ends: no two clocks differ by more than the skew.
func (w *world) stepClocks(ctx context.Context, r *rand.Rand) {
	for {
		pause(ctx, w.lifetime/8+time.Duration(r.Int64N(int64(w.lifetime/4))))
		if ctx.Err() != nil || w.skew <= 0 {
			return
		}
		in := w.any(r)
		offset := r.Int64N(int64(w.skew)) - int64(w.skew)/2
		if was := in.offset.Swap(offset); offset > was {
			w.account.forward.Add(1)
		} else {
			w.account.back.Add(1)
		}
	}
}
