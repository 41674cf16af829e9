package family_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/refresh/storetest"
)

func newMemoryStore(t testing.TB, limit int) *family.MemoryStore {
	t.Helper()
	m, err := family.NewMemoryStore(family.MemoryConfig{MaxFamilies: limit})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) family.Store { return newMemoryStore(t, 0) })
}

func TestMemoryStoreIsBounded(t *testing.T) {
	const limit = 100
	m := newMemoryStore(t, limit)
	now := time.Now()
	start := func(i int) error {
		f := family.Record{Subject: family.Subject{byte(i)}, ID: family.ID{byte(i), byte(i >> 8), 1}, CreatedAt: now, RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour)}
		_, err := m.Start(context.Background(), family.StartRequest{Record: f, Now: now})
		return err
	}
	for i := range limit {
		if err := start(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := start(limit); !errors.Is(err, family.ErrUnavailable) {
		t.Fatalf("a full store says %v: nobody may be signed out to make room", err)
	}
	now = now.Add(time.Hour)
	for i := range limit {
		if err := start(limit + i); err != nil {
			t.Fatalf("expired families still take room: %v", err)
		}
	}
}

func TestNewMemoryStoreRefusesANegativeLimit(t *testing.T) {
	if _, err := family.NewMemoryStore(family.MemoryConfig{MaxFamilies: -1}); err == nil {
		t.Error("no error")
	}
}

func TestMemoryStoreComparedToItself(t *testing.T) {
	// Compare is only worth something if it can tell two stores apart.
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		if err := storetest.Compare(newMemoryStore(t, 0), 40, r.IntN); err != nil {
			t.Fatal(err)
		}
	}
	broken := 0
	for range 20 {
		if storetest.Compare(forgetful{newMemoryStore(t, 0)}, 40, r.IntN) != nil {
			broken++
		}
	}
	if broken == 0 {
		t.Error("Compare does not notice a store that never settles")
	}
}

// forgetful is a store with a bug.
type forgetful struct{ family.Store }

func (forgetful) Settle(context.Context, family.Subject, family.ID, uint32) error {
	return nil
}

// TestAFullMemoryStoreServesWhomItHolds: only new logins have to wait.
func TestAFullMemoryStoreServesWhomItHolds(t *testing.T) {
	m, ctx, now := newMemoryStore(t, 2), context.Background(), time.Now()
	families := make([]family.Record, 3)
	for i := range families {
		families[i] = family.Record{
			Subject: family.Subject{1}, ID: family.ID{byte(i + 1)}, Attempt: family.Attempt{byte(i + 1)},
			CreatedAt: now.Add(time.Duration(i)), RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour),
		}
	}
	start := func(i, limit int, at time.Time) error {
		_, err := m.Start(ctx, family.StartRequest{Record: families[i], MaxSessions: limit, Now: at})
		return err
	}
	if err := errors.Join(start(0, 0, now), start(1, 0, now)); err != nil {
		t.Fatal(err)
	}
	if err := start(2, 2, now); !errors.Is(err, family.ErrUnavailable) {
		t.Errorf("a login beyond the bound: %v", err)
	}
	if live, err := m.List(ctx, families[0].Subject, now); err != nil || len(live) != 2 {
		t.Errorf("%d alive (%v): the login that failed evicted somebody", len(live), err)
	}
	if err := start(0, 0, now); err != nil {
		t.Errorf("a login that is repeated: %v", err)
	}
	p := family.RotateRequest{Subject: families[0].Subject, Family: families[0].ID, Successor: [32]byte{1}, Now: now}
	if v, err := m.Rotate(ctx, p); err != nil || v.Outcome != family.Rotated {
		t.Errorf("a rotation: %v, %v", v.Outcome, err)
	}
	dead, err := m.Revoke(ctx, family.RevokeRequest{Subject: families[0].Subject, Reason: family.ReasonLogoutAll, Now: now})
	if err != nil || len(dead.Ended) != 2 {
		t.Errorf("revoked %v, %v", dead, err)
	}

	// Tombstones give way to the living.
	if err := start(2, 0, now); err != nil {
		t.Errorf("a login while tombstones fill the store: %v", err)
	}
}

// TestAMemoryStoresCallsAreBounded counts the entries that a call looks at: in a
// full store, and for an account with very many families. A call holds the store
// for everybody.
func TestAMemoryStoresCallsAreBounded(t *testing.T) {
	const many, bound = 20_000, 5_000
	ctx, begin := context.Background(), time.Now()
	login := func(account, n int, now time.Time) family.StartRequest {
		return family.StartRequest{Now: now, Record: family.Record{
			Subject: family.Subject{byte(account), byte(account >> 8)}, ID: family.ID{byte(n), byte(n >> 8), byte(n >> 16), 1},
			Attempt: family.Attempt{byte(n), byte(n >> 8), byte(n >> 16), 1}, CreatedAt: now, RotatedAt: now,
			Idle: time.Hour, AbsoluteExpiry: begin.Add(24 * time.Hour),
		}}
	}
	fill := func(t *testing.T, accounts int) *family.MemoryStore {
		m := newMemoryStore(t, many)
		for i := range many {
			if _, err := m.Start(ctx, login(i%accounts, i, begin)); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	for _, c := range []struct {
		name     string
		accounts int
		after    time.Duration
		used     bool // all but those of the login, meanwhile
		call     func(m *family.MemoryStore, now time.Time) error
	}{
		{"a login where all are alive", many, time.Minute, false, func(m *family.MemoryStore, now time.Time) error {
			if _, err := m.Start(ctx, login(1, many, now)); !errors.Is(err, family.ErrUnavailable) {
				return fmt.Errorf("a full store says %v", err)
			}
			return nil
		}},
		{"a login where all would have expired, had they not been used", many, 70 * time.Minute, true, func(m *family.MemoryStore, now time.Time) error {
			if _, err := m.Start(ctx, login(1, many, now)); !errors.Is(err, family.ErrUnavailable) {
				return fmt.Errorf("a full store says %v", err)
			}
			return nil
		}},
		{"a login where all have expired", many, 2 * time.Hour, false, func(m *family.MemoryStore, now time.Time) error {
			_, err := m.Start(ctx, login(1, many, now))
			return err
		}},
		{"a login of an account with many families, with a limit", 1, time.Minute, false, func(m *family.MemoryStore, now time.Time) error {
			req := login(0, many, now)
			req.MaxSessions = 100
			if _, err := m.Start(ctx, req); !errors.Is(err, family.ErrUnavailable) {
				return fmt.Errorf("a full store says %v", err)
			}
			return nil
		}},
		{"a login of an account with many families that have expired, with a limit", 1, 2 * time.Hour, false, func(m *family.MemoryStore, now time.Time) error {
			req := login(0, many, now)
			req.MaxSessions = 100
			_, err := m.Start(ctx, req)
			return err
		}},
		{"a sign-out of one of many", 1, time.Minute, false, func(m *family.MemoryStore, now time.Time) error {
			_, err := m.Revoke(ctx, family.RevokeRequest{Family: login(0, 7, now).Record.ID, Reason: family.ReasonLogout, Now: now})
			return err
		}},
		{"a list of many", 1, time.Minute, false, func(m *family.MemoryStore, now time.Time) error {
			list, err := m.List(ctx, family.Subject{}, now)
			if len(list) != family.ListLimit {
				return fmt.Errorf("%d, %w", len(list), err)
			}
			return err
		}},
		{"a list of many that have expired", 1, 2 * time.Hour, false, func(m *family.MemoryStore, now time.Time) error {
			_, err := m.List(ctx, family.Subject{}, now)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := fill(t, c.accounts)
			if c.used {
				for i := range many {
					p := family.RotateRequest{Subject: family.Subject{byte(i), byte(i >> 8)}, Family: login(0, i, begin).Record.ID, Successor: [32]byte{1}, Now: begin.Add(50 * time.Minute)}
					if v, err := m.Rotate(ctx, p); err != nil || v.Outcome != family.Rotated {
						t.Fatal(v.Outcome, err)
					}
				}
			}
			before := m.Looked()
			if err := c.call(m, begin.Add(c.after)); err != nil {
				t.Fatal(err)
			}
			if n := m.Looked() - before; n > bound {
				t.Errorf("looked at %d entries, more than %d", n, bound)
			}
		})
	}
	t.Run("a sign-out everywhere, in steps", func(t *testing.T) {
		t.Parallel()
		m := fill(t, 1)
		before := m.Looked()
		res, err := m.Revoke(ctx, family.RevokeRequest{Reason: family.ReasonLogoutAll, Now: begin.Add(time.Minute)})
		if err != nil || len(res.Ended) != many {
			t.Fatalf("ended %d, %v", len(res.Ended), err)
		}
		if n, steps := m.Looked()-before, many/family.MaxStep; n > bound*steps {
			t.Errorf("looked at %d entries in %d steps, more than %d each", n, steps, bound)
		}
	})
}
