package refresh_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
)

// TestABurstAsksTheStoreOnce: a page asks for a hundred things at once, and the
// store is so close that it has answered the first before the last has begun.
func TestABurstAsksTheStoreOnce(t *testing.T) {
	// On one core who comes first cannot finish before others have begun.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := k.Refresh(context.Background(), g.RefreshToken, laptop); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := k.store.rotations.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
		if took := time.Since(began); took > time.Millisecond {
			t.Errorf("they were kept waiting for %v", took)
		}
	})
}

// TestWhoeverIsAloneWaitsForNobody: neither the only request of a session, nor
// those of different sessions, are kept for others to join them.
func TestWhoeverIsAloneWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		grants := []*refresh.Grant{k.login("alice"), k.login("alice"), k.login("bob")}
		began := time.Now()
		var all sync.WaitGroup
		for _, g := range grants {
			all.Go(func() {
				for range 3 {
					next, err := k.Refresh(context.Background(), g.RefreshToken, laptop)
					if err != nil {
						t.Error(err)
						return
					}
					g = next
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("they were kept waiting for %v", took)
		}
		if n := k.store.rotations.Load(); n != 9 {
			t.Errorf("the store was asked %d times", n)
		}
	})
}

// TestAnEndlessStreamIsNotWaitedFor: requests that keep coming do not keep the
// first from its answer.
func TestAnEndlessStreamIsNotWaitedFor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		var all sync.WaitGroup
		answered := make(chan time.Duration)
		request := func() {
			if _, err := k.Refresh(context.Background(), g.RefreshToken, laptop); err != nil {
				t.Error(err)
			}
			select {
			case answered <- time.Since(began):
			case <-ctx.Done():
			}
		}
		for range 3 {
			all.Go(request)
		}
		all.Go(func() {
			for ctx.Err() == nil {
				time.Sleep(50 * time.Microsecond)
				all.Go(request)
			}
		})
		if took := <-answered; took > 10*time.Millisecond {
			t.Errorf("the first had to wait for %v", took)
		}
		stop()
		all.Wait()
	})
}
