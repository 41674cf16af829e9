package refresh_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestALoginDoesNotSurviveADeactivationThatItRaces: the hook allows the login,
// then the account is closed and its sessions are revoked, and only then does
// the store keep the new one.
func TestALoginDoesNotSurviveADeactivationThatItRaces(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var closed atomic.Bool
		var late *lateStart
		k := newKit(t, func(c *refresh.Config) {
			late = &lateStart{Store: c.Store, before: func() { closed.Store(true) }}
			c.Store = late
			c.Claims = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
				if closed.Load() {
					return refresh.SubjectClaims{}, refresh.ErrDenied
				}
				return refresh.SubjectClaims{}, nil
			}
		})
		if _, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop}); !errors.Is(err, refresh.ErrDenied) {
			t.Errorf("the login ended with %v", err)
		}
		synctest.Wait()
		f, err := k.store.Find(t.Context(), late.family.Subject, late.family.ID, k.tokens.Now())
		if err != nil || f.Revoked != family.ReasonDenied {
			t.Errorf("the family is %q, %v", f.Revoked, err)
		}
	})
}

// lateStart is a store before which something else happens.
type lateStart struct {
	family.Store
	before func()
	family family.Record
}

func (s *lateStart) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	s.before()
	s.family = req.Record
	return s.Store.Start(ctx, req)
}

// TestSessionsOfAnOlderRootSecretCount against the limit, whichever way it is
// kept.
func TestSessionsOfAnOlderRootSecretCount(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		faketime.Test(t, func(t *testing.T) {
			k := newKit(t, func(c *refresh.Config) { c.MaxSessions, c.RefuseAtLimit = 3, refuse })
			older := []*refresh.Grant{k.login("alice")}
			time.Sleep(time.Second)
			older = append(older, k.login("alice"))
			next := k.keys
			next.Secrets = append([][]byte{newKeys(t).Secrets[0]}, k.keys.Secrets...)
			if err := k.ring.Replace(next); err != nil {
				t.Fatal(err)
			}
			newer := k.login("alice")
			_, err := k.Start(context.Background(), refresh.Login{Subject: "alice", Client: laptop})
			if refuse {
				if !errors.Is(err, refresh.ErrLimit) {
					t.Errorf("the fourth login: %v", err)
				}
				k.renew(older[0])
				if err := k.Revoke(context.Background(), "alice", older[1].Claims.SessionID, family.ReasonUser); err != nil {
					t.Error(err)
				}
				k.login("alice") // there is room again
			} else {
				if err != nil {
					t.Errorf("the fourth login: %v", err)
				}
				k.refused(older[0], refresh.ErrRevoked)
				k.renew(older[1])
			}
			k.renew(newer)
		})
	}
}

// countedStore counts what would change the store.
type countedStore struct {
	family.Store
	changes atomic.Int64
}

func (s *countedStore) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	s.changes.Add(1)
	return s.Store.Start(ctx, req)
}

func (s *countedStore) Rotate(ctx context.Context, req family.RotateRequest) (family.Verdict, error) {
	s.changes.Add(1)
	return s.Store.Rotate(ctx, req)
}

func TestClaimsThatCannotBeIssuedChangeNothing(t *testing.T) {
	for name, claims := range map[string]refresh.SubjectClaims{
		"too large":       {Roles: []string{strings.Repeat("x", 64<<10)}},
		"not UTF-8":       {Roles: []string{"\xff"}},
		"reserved claim":  {Custom: map[string]string{"sub": "admin"}},
		"bad scope":       {Scopes: []string{"a b"}},
		"unmarshallable":  {Custom: map[string]any{"x": make(chan int)}},
		"panicking claim": {Custom: bomb{}},
	} {
		faketime.Test(t, func(t *testing.T) {
			var bad atomic.Bool
			var store *countedStore
			k := newKit(t, func(c *refresh.Config) {
				store = &countedStore{Store: c.Store}
				c.Store = store
				c.Claims = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
					if bad.Load() {
						return claims, nil
					}
					return refresh.SubjectClaims{}, nil
				}
			})
			g := k.login("alice")
			before := store.changes.Load()
			bad.Store(true)
			_, login := k.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop})
			_, renewal := k.Refresh(t.Context(), g.RefreshToken, laptop)
			for what, err := range map[string]error{"login": login, "refresh": renewal} {
				if !errors.Is(err, refresh.ErrCannotIssue) || errors.Is(err, refresh.ErrUnavailable) {
					t.Errorf("%s, %s: %v", name, what, err)
				}
			}
			if n := store.changes.Load() - before; n != 0 {
				t.Errorf("%s: the store was asked %d times", name, n)
			}
			bad.Store(false)
			k.renew(g)
		})
	}
}
