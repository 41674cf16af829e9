package refresh_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A burst is requests of one session that come one after the other, faster
// than they are answered.
type burst struct {
	*kit
	token string
	every time.Duration

	all     sync.WaitGroup
	began   time.Time
	mu      sync.Mutex
	grants  []*refresh.Grant
	errs    []error
	answers []time.Duration // after the first request was made
}

// newBurst signs alice in. The store takes 50µs for a rotation.
func newBurst(t *testing.T, every time.Duration) *burst {
	b := &burst{kit: newKit(t), every: every, began: time.Now()}
	b.token = b.login("alice").RefreshToken
	b.store.takes = 50 * time.Microsecond
	return b
}

// request makes n more.
func (b *burst) request(n int) {
	for range n {
		b.all.Go(func() {
			g, err := b.Refresh(context.Background(), b.token, laptop)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.grants, b.errs, b.answers = append(b.grants, g), append(b.errs, err), append(b.answers, time.Since(b.began))
		})
		time.Sleep(b.every)
	}
}

// TestABurstAsksTheStoreOnce: a page asks for a hundred things at once, and the
// store is so close that it has answered the first before the last is there.
func TestABurstAsksTheStoreOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurst(t, 20*time.Microsecond)
		b.request(100)
		b.all.Wait()
		for i, g := range b.grants {
			if b.errs[i] != nil || g != b.grants[0] || !g.Shared {
				t.Fatalf("%v, %+v", b.errs[i], g)
			}
		}
		if n := b.store.rotations.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
		if took := time.Since(b.began); took > 4*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		// What was handed out can have been used: the store knows.
		g, err := b.Refresh(t.Context(), b.token, laptop)
		if err != nil || g.Outcome != family.Replayed || g.Shared || g.RefreshToken != b.grants[0].RefreshToken {
			t.Fatalf("afterwards: %v, %+v", err, g)
		}
		b.renew(b.renew(g))
		if _, err := b.Refresh(t.Context(), b.token, laptop); !errors.Is(err, refresh.ErrReused) {
			t.Errorf("two generations later: %v", err)
		}
	})
}

// TestTheRestOfABurst: who was alone when the store answered had the successor
// at once; the others share one replay, but not of a generation that is about
// to settle.
func TestTheRestOfABurst(t *testing.T) {
	for _, tt := range []struct {
		later       time.Duration
		least, most int64
	}{{time.Millisecond, 2, 2}, {50 * time.Second, 15, 61}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBurst(t, 25*time.Microsecond)
			b.request(1)
			b.all.Wait()
			time.Sleep(tt.later)
			b.request(60)
			b.all.Wait()
			for i, g := range b.grants {
				if b.errs[i] != nil || g.RefreshToken != b.grants[0].RefreshToken {
					t.Fatalf("%v, %+v", b.errs[i], g)
				}
			}
			if n := b.store.rotations.Load(); n < tt.least || n > tt.most {
				t.Errorf("%v later: the store was asked %d times", tt.later, n)
			}
		})
	}
}

// TestWhoeverIsAloneWaitsForNobody: neither the only request of a session, nor
// those of different sessions, are kept for others to join them.
func TestWhoeverIsAloneWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurst(t, 60*time.Microsecond)
		other := b.login("bob")
		b.all.Go(func() {
			if _, err := b.Refresh(context.Background(), other.RefreshToken, laptop); err != nil {
				t.Error(err)
			}
		})
		b.request(3)
		b.all.Wait()
		for i, after := range b.answers {
			if want := time.Duration(i)*60*time.Microsecond + 50*time.Microsecond; b.errs[i] != nil || after != want {
				t.Errorf("request %d: %v after %v and not %v", i, b.errs[i], after, want)
			}
		}
	})
}

// TestAnEndlessBurstIsNotWaitedFor: requests that keep coming do not keep the
// first from its answer.
func TestAnEndlessBurstIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurst(t, 20*time.Microsecond)
		b.request(1000)
		b.all.Wait()
		if took := b.answers[0]; took > 6*time.Millisecond {
			t.Errorf("the first had to wait for %v", took)
		}
		shared := 0
		for _, g := range b.grants {
			if g.Outcome == family.Rotated {
				shared++
			}
		}
		if shared < 200 || shared > 300 {
			t.Errorf("%d requests share the rotation", shared)
		}
	})
}

// TestRevokedWhileOthersCameAboard: the answer of the store is no longer true.
func TestRevokedWhileOthersCameAboard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurst(t, 20*time.Microsecond)
		b.request(5) // the store has answered after the third
		if err := b.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll); err != nil {
			t.Fatal(err)
		}
		b.request(5)
		b.all.Wait()
		for _, err := range b.errs {
			var refused *refresh.RefusedError
			if !errors.Is(err, refresh.ErrRevoked) || !errors.As(err, &refused) || refused.Reason != family.ReasonLogoutAll {
				t.Errorf("%v, %+v", err, refused)
			}
		}
		// Once more, for the reason.
		if n := b.store.rotations.Load(); n != 2 || b.rec.count(refresh.EventRefused) != 1 {
			t.Errorf("the store was asked %d times, %d events", n, b.rec.count(refresh.EventRefused))
		}
	})
}

// TestFailuresAreNotShared with those who come after them.
func TestFailuresAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurst(t, 20*time.Microsecond)
		b.store.fail.Store(true)
		b.request(3)
		b.store.fail.Store(false)
		b.request(1)
		b.all.Wait()
		failed := 0
		for _, err := range b.errs {
			if errors.Is(err, refresh.ErrUnavailable) {
				failed++
			} else if err != nil {
				t.Error(err)
			}
		}
		if n := b.store.rotations.Load(); failed != 3 || n != 2 {
			t.Errorf("%d of four failed, the store was asked %d times", failed, n)
		}
	})
}
