package refresh_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// trouble is a store that can be away, lose its replies, or be overtaken, and
// that counts what it is asked.
type trouble struct {
	family.Store
	away         atomic.Bool
	loses        atomic.Bool // the effect happens, and the reply is lost
	beforeRotate func()      // once
	finds        atomic.Int64
	writes       atomic.Int64
}

func (s *trouble) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	s.writes.Add(1)
	return answer(s, func() (family.StartResult, error) { return s.Store.Start(ctx, req) })
}

func (s *trouble) Rotate(ctx context.Context, req family.RotateRequest) (family.Verdict, error) {
	s.writes.Add(1)
	if f := s.beforeRotate; f != nil {
		s.beforeRotate = nil
		f()
	}
	return answer(s, func() (family.Verdict, error) { return s.Store.Rotate(ctx, req) })
}

func (s *trouble) SetData(ctx context.Context, subject family.Subject, id family.ID, data string, now time.Time) (family.Record, error) {
	s.writes.Add(1)
	return answer(s, func() (family.Record, error) { return s.Store.SetData(ctx, subject, id, data, now) })
}

func (s *trouble) Settle(ctx context.Context, subject family.Subject, id family.ID, generation uint32) error {
	s.writes.Add(1)
	_, err := answer(s, func() (struct{}, error) { return struct{}{}, s.Store.Settle(ctx, subject, id, generation) })
	return err
}

func (s *trouble) Revoke(ctx context.Context, req family.RevokeRequest) (family.RevokeResult, error) {
	s.writes.Add(1)
	return answer(s, func() (family.RevokeResult, error) { return s.Store.Revoke(ctx, req) })
}

func (s *trouble) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	s.finds.Add(1)
	if s.away.Load() {
		return family.Record{}, refresh.ErrUnavailable
	}
	return s.Store.Find(ctx, subject, id, now)
}

func answer[T any](s *trouble, do func() (T, error)) (T, error) {
	var none T
	if s.away.Load() {
		return none, refresh.ErrUnavailable
	}
	v, err := do()
	if s.loses.Load() {
		return none, refresh.ErrUnavailable
	}
	return v, err
}

// newTroubled is newKit over a store with trouble.
func newTroubled(t testing.TB, change ...func(*refresh.Config)) (*kit, *trouble) {
	t.Helper()
	store := &trouble{Store: newMemoryStore(t)}
	return newKit(t, append([]func(*refresh.Config){func(c *refresh.Config) { c.Store = store }}, change...)...), store
}

// subjectOf is the key by which the store knows the session's subject.
func (k *kit) subjectOf(g *refresh.Grant) family.Subject {
	return refresh.SubjectKey(k.tokens, g.RefreshToken)
}
