package refresh_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/storetest"
)

func newMemoryStore(t testing.TB, limit int) *refresh.MemoryStore {
	t.Helper()
	m, err := refresh.NewMemoryStore(refresh.MemoryConfig{MaxFamilies: limit})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) refresh.Store { return newMemoryStore(t, 0) })
}

func TestMemoryStoreIsBounded(t *testing.T) {
	const limit = 100
	m := newMemoryStore(t, limit)
	now := time.Now()
	start := func(i int) error {
		f := refresh.Family{Subject: refresh.SubjectKey{byte(i)}, ID: refresh.FamilyID{byte(i), byte(i >> 8), 1}, CreatedAt: now, RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour)}
		_, err := m.Start(context.Background(), refresh.StartRequest{Family: f, Now: now})
		return err
	}
	for i := range limit {
		if err := start(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := start(limit); !errors.Is(err, refresh.ErrUnavailable) {
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
	if _, err := refresh.NewMemoryStore(refresh.MemoryConfig{MaxFamilies: -1}); err == nil {
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
type forgetful struct{ refresh.Store }

func (forgetful) Settle(context.Context, refresh.SubjectKey, refresh.FamilyID, uint32) error {
	return nil
}

// TestAFullMemoryStoreServesWhomItHolds: only new logins have to wait.
func TestAFullMemoryStoreServesWhomItHolds(t *testing.T) {
	m, ctx, now := newMemoryStore(t, 2), context.Background(), time.Now()
	families := make([]refresh.Family, 3)
	for i := range families {
		families[i] = refresh.Family{
			Subject: refresh.SubjectKey{1}, ID: refresh.FamilyID{byte(i + 1)}, Attempt: refresh.Attempt{byte(i + 1)},
			CreatedAt: now.Add(time.Duration(i)), RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour),
		}
	}
	start := func(i, limit int, at time.Time) error {
		_, err := m.Start(ctx, refresh.StartRequest{Family: families[i], MaxSessions: limit, Now: at})
		return err
	}
	if err := errors.Join(start(0, 0, now), start(1, 0, now)); err != nil {
		t.Fatal(err)
	}
	if err := start(2, 2, now); !errors.Is(err, refresh.ErrUnavailable) {
		t.Errorf("a login beyond the bound: %v", err)
	}
	if live, err := m.List(ctx, families[0].Subject, now); err != nil || len(live) != 2 {
		t.Errorf("%d alive (%v): the login that failed evicted somebody", len(live), err)
	}
	if err := start(0, 0, now); err != nil {
		t.Errorf("a login that is repeated: %v", err)
	}
	p := refresh.Presentation{Subject: families[0].Subject, Family: families[0].ID, Successor: [32]byte{1}, Now: now}
	if v, err := m.Rotate(ctx, p); err != nil || v.Outcome != refresh.Rotated {
		t.Errorf("a rotation: %v, %v", v.Outcome, err)
	}
	dead, err := m.Revoke(ctx, refresh.RevokeRequest{Subject: families[0].Subject, Reason: refresh.ReasonLogoutAll, Now: now})
	if err != nil || len(dead) != 2 {
		t.Errorf("revoked %v, %v", dead, err)
	}

	// Tombstones give way to the living.
	if err := start(2, 0, now); err != nil {
		t.Errorf("a login while tombstones fill the store: %v", err)
	}
}
