package refresh_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func TestStatus(t *testing.T) {
	var deny, fail bool
	setup := func(t *testing.T) (*kit, *trouble, *refresh.Grant) {
		k, store := newTroubled(t, func(c *refresh.Config) {
			c.IdleTimeout, c.AbsoluteLifetime = 2*time.Hour, 3*time.Hour
			c.Claims = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
				switch {
				case deny:
					return refresh.SubjectClaims{}, refresh.ErrDenied
				case fail:
					return refresh.SubjectClaims{}, errors.New("database gone")
				}
				return refresh.SubjectClaims{Roles: []string{"clerk"}}, nil
			}
		})
		g := k.login("alice")
		time.Sleep(time.Minute)
		store.finds.Store(0)
		store.writes.Store(0)
		return k, store, g
	}
	const (
		lifetime = 10 * time.Minute
		idle     = 2*time.Hour + lifetime + time.Second
	)
	for _, tt := range []struct {
		name            string
		before          func(*kit, *trouble, *refresh.Grant)
		access, refresh bool
		client          refresh.Client
		want            error
		finds           int64
		expiresIn       time.Duration // of the access token
		age             time.Duration // of the session, besides a minute
	}{
		{"a valid access token", nil, true, false, laptop, nil, 1, lifetime - time.Minute, 0},
		{"a valid access token and the refresh token", nil, true, true, laptop, nil, 1, lifetime - time.Minute, 0},
		{"the refresh token alone", nil, false, true, laptop, nil, 1, 0, 0},
		{"an expired access token and the refresh token", func(*kit, *trouble, *refresh.Grant) { time.Sleep(lifetime) }, true, true, laptop, nil, 1, 0, lifetime},
		{"an expired access token alone", func(*kit, *trouble, *refresh.Grant) { time.Sleep(lifetime) }, true, false, laptop, nil, 1, -time.Minute, lifetime},
		{"nothing", nil, false, false, laptop, refresh.ErrInvalidToken, 0, 0, 0},
		{"revoked here", func(k *kit, _ *trouble, g *refresh.Grant) {
			k.Revoke(context.Background(), "alice", g.Claims.SessionID, family.ReasonUser)
		}, true, true, laptop, refresh.ErrRevoked, 0, 0, 0},
		{"idle for too long", func(*kit, *trouble, *refresh.Grant) { time.Sleep(idle) }, true, true, laptop, refresh.ErrGone, 1, 0, 0},
		{"another client has the refresh token", nil, false, true, refresh.Client{DeviceID: "thief"}, refresh.ErrFingerprint, 1, 0, 0},
		{"the user is deactivated", func(*kit, *trouble, *refresh.Grant) { deny = true }, false, true, laptop, refresh.ErrDenied, 1, 0, 0},
		{"the store is away", func(_ *kit, s *trouble, _ *refresh.Grant) { s.away.Store(true) }, true, true, laptop, refresh.ErrUnavailable, 1, 0, 0},
		{"the store is away, and the access token has expired", func(_ *kit, s *trouble, _ *refresh.Grant) { time.Sleep(lifetime); s.away.Store(true) }, true, true, laptop, refresh.ErrUnavailable, 1, 0, 0},
		{"the hook is away", func(*kit, *trouble, *refresh.Grant) { fail = true }, false, true, laptop, refresh.ErrUnavailable, 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			deny, fail = false, false
			faketime.Test(t, func(t *testing.T) {
				k, store, g := setup(t)
				if tt.before != nil {
					tt.before(k, store, g)
				}
				store.writes.Store(0)
				var access, token string
				if tt.access {
					access = g.AccessToken
				}
				if tt.refresh {
					token = g.RefreshToken
				}
				st, err := k.Status(t.Context(), access, token, tt.client)
				if !errors.Is(err, tt.want) {
					t.Fatalf("%v, want %v", err, tt.want)
				}
				if store.finds.Load() != tt.finds || store.writes.Load() != 0 {
					t.Errorf("%d reads and %d writes of the store", store.finds.Load(), store.writes.Load())
				}
				if err != nil {
					return
				}
				want := refresh.Status{
					Subject: "alice", SessionID: g.Claims.SessionID, Roles: []string{"clerk"}, AuthTime: g.Claims.AuthTime,
					At: time.Now(), ExpiresAt: st.ExpiresAt,
					IdleExpiresAt: g.IssuedAt.Add(2 * time.Hour), SessionExpiresAt: g.IssuedAt.Add(3 * time.Hour),
				}
				if tt.access && (tt.expiresIn > 0 || !tt.refresh) && st.ExpiresAt.Sub(st.At).Round(2*time.Second) != tt.expiresIn {
					t.Errorf("the access token expires in %v, want %v", st.ExpiresAt.Sub(st.At), tt.expiresIn)
				}
				if !reflect.DeepEqual(*st, want) {
					t.Errorf("%+v\nwant %+v", *st, want)
				}
			})
		})
	}
}

// Asking is no proof that the client keeps its tokens, no renewal and no use.
func TestAskingForTheStatusChangesNothing(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k, store := newTroubled(t, func(c *refresh.Config) { c.IdleTimeout = time.Hour })
		g := k.login("alice")
		next := k.renew(g)
		store.writes.Store(0)
		time.Sleep(5 * time.Minute) // far beyond the settle time
		before, err := k.Status(t.Context(), next.AccessToken, next.RefreshToken, laptop)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		for range 10 {
			for _, tokens := range [][2]string{{next.AccessToken, next.RefreshToken}, {next.AccessToken, ""}, {"", next.RefreshToken}, {"", g.RefreshToken}} {
				st, err := k.Status(t.Context(), tokens[0], tokens[1], laptop)
				if err != nil || !st.IdleExpiresAt.Equal(before.IdleExpiresAt) {
					t.Errorf("%+v, %v: want the same end as before, %v", st, err, before.IdleExpiresAt)
				}
			}
		}
		if n := store.writes.Load(); n != 0 {
			t.Errorf("%d writes", n)
		}
		// The predecessor can still be replayed, which a settled one cannot.
		if lost, err := k.Refresh(t.Context(), g.RefreshToken, laptop); err != nil || lost.Outcome != family.Replayed {
			t.Errorf("%v", err)
		}
		// A stolen token says nothing, and ends nothing.
		newest := k.renew(k.renew(next))
		if _, err := k.Status(t.Context(), "", g.RefreshToken, laptop); !errors.Is(err, refresh.ErrReused) {
			t.Errorf("a token long out of use: %v", err)
		}
		k.renew(newest)
	})
}

func TestTheStatusOfABrowserLogin(t *testing.T) {
	k := newKit(t)
	g := k.start(refresh.Login{Subject: "alice"})
	if _, err := k.Status(t.Context(), "", g.RefreshToken, laptop); !errors.Is(err, refresh.ErrBrowserClosed) {
		t.Errorf("after the browser was closed: %v", err)
	}
	back := laptop
	back.BrowserKey = g.BrowserKey
	if _, err := k.Status(t.Context(), "", g.RefreshToken, back); err != nil {
		t.Error(err)
	}
	if k.rec.count(refresh.EventRefused) != 0 {
		t.Error("a question is an event")
	}
}
