package refresh_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// tenants is a claims hook that puts the session's data into the tokens.
type tenants struct {
	asked []string
	err   map[string]error // by data
}

func (h *tenants) claims(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
	h.asked = append(h.asked, q.Data)
	return refresh.SubjectClaims{Custom: map[string]string{"tenant": q.Data}}, h.err[q.Data]
}

func tenantOf(t *testing.T, g *refresh.Grant) string {
	t.Helper()
	var c struct{ Tenant string }
	if err := g.Claims.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c.Tenant
}

func newTenants(t *testing.T) (*kit, *trouble, *tenants) {
	h := &tenants{err: make(map[string]error)}
	k, store := newTroubled(t, func(c *refresh.Config) { c.Claims = h.claims })
	return k, store, h
}

func TestDataGivenAtTheLogin(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k, store, h := newTenants(t)
		g := k.start(refresh.Login{Subject: "alice", Remember: true, Data: "acme"})
		for range 3 {
			if tenantOf(t, g) != "acme" {
				t.Errorf("tenant %q", tenantOf(t, g))
			}
			h.asked = nil
			finds := store.finds.Load()
			if g = k.renew(g); len(h.asked) != 1 || store.finds.Load() != finds+1 {
				t.Errorf("asked %q, %d reads", h.asked, store.finds.Load()-finds)
			}
		}
		list, err := k.List(t.Context(), g.Claims)
		if err != nil || list[0].Data != "acme" {
			t.Errorf("%+v, %v", list, err)
		}
		// Sessions without data cost no read.
		plain, finds := k.login("bob"), store.finds.Load()
		if plain = k.renew(plain); store.finds.Load() != finds || tenantOf(t, plain) != "" {
			t.Errorf("%d reads", store.finds.Load()-finds)
		}
	})
}

func TestDataIsChanged(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k, store, h := newTenants(t)
		g := k.login("alice")
		time.Sleep(4 * time.Minute)
		now, err := k.SetData(t.Context(), g.Claims, "acme", laptop)
		if err != nil {
			t.Fatal(err)
		}
		if tenantOf(t, now) != "acme" || now.RefreshToken != "" || now.AccessToken == g.AccessToken {
			t.Errorf("%+v", now)
		}
		if c := now.Claims; !c.ExpiresAt.Equal(g.Claims.ExpiresAt) || c.SessionID != g.Claims.SessionID || c.Generation != g.Claims.Generation || !c.AuthTime.Equal(g.Claims.AuthTime) {
			t.Errorf("a token that is not the same but for the hook's claims: %+v", c)
		}
		if _, err := k.Verify(now.AccessToken); err != nil {
			t.Error(err)
		}
		if k.rec.count(refresh.EventData) != 1 {
			t.Error("no event")
		}
		// The refresh token is from before, and does not say that there is data.
		h.asked = nil
		next := k.renew(g)
		if tenantOf(t, next) != "acme" || len(h.asked) != 2 || h.asked[0] != "" || h.asked[1] != "acme" {
			t.Errorf("tenant %q, asked %q", tenantOf(t, next), h.asked)
		}
		h.asked = nil
		if next = k.renew(next); len(h.asked) != 1 || tenantOf(t, next) != "acme" {
			t.Errorf("asked %q", h.asked)
		}
		// It is taken back, between the read and the rotation.
		store.beforeRotate = func() {
			if _, err := k.SetData(t.Context(), next.Claims, "", laptop); err != nil {
				t.Error(err)
			}
		}
		if next = k.renew(next); tenantOf(t, next) != "" {
			t.Errorf("tenant %q", tenantOf(t, next))
		}
	})
}

// What the store turns out to have is asked about after the rotation. A passing
// failure loses nothing, and a refusal ends the session.
func TestTheHookFailsWhenItIsAskedOnceMore(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k, _, h := newTenants(t)
		g := k.login("alice")
		if _, err := k.SetData(t.Context(), g.Claims, "acme", laptop); err != nil {
			t.Fatal(err)
		}
		k.age(g)
		h.err["acme"] = errors.New("database gone")
		if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, refresh.ErrUnavailable) {
			t.Fatalf("%v", err)
		}
		time.Sleep(time.Hour)
		delete(h.err, "acme")
		next, err := k.Refresh(t.Context(), g.RefreshToken, laptop)
		if err != nil || next.Outcome != family.Replayed || tenantOf(t, next) != "acme" {
			t.Fatalf("%+v, %v", next, err)
		}
		h.err["acme"] = refresh.ErrDenied
		if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, refresh.ErrDenied) {
			t.Errorf("%v", err)
		}
		if facts := k.refused(next, refresh.ErrRevoked); facts.Reason != family.ReasonDenied {
			t.Errorf("reason %q", facts.Reason)
		}
	})
}

func TestDataThatCannotBeSet(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k, store, h := newTenants(t)
		g := k.login("alice")
		dead := k.login("alice")
		if err := k.Revoke(t.Context(), "alice", dead.Claims.SessionID, family.ReasonUser); err != nil {
			t.Fatal(err)
		}
		other := newKit(t).login("alice")
		h.err["flaky"] = errors.New("database gone")
		small := laptop
		small.MaxAccessToken = 100
		for _, tt := range []struct {
			name, data string
			claims     *access.Claims
			client     refresh.Client
			away       bool
			want       error
		}{
			{"257 bytes", strings.Repeat("x", 257), g.Claims, laptop, false, refresh.ErrCannotIssue},
			{"not UTF-8", "\xff", g.Claims, laptop, false, refresh.ErrCannotIssue},
			{"a token that no longer fits", "acme", g.Claims, small, false, refresh.ErrCannotIssue},
			{"the hook is away", "flaky", g.Claims, laptop, false, refresh.ErrUnavailable},
			{"the store is away", "acme", g.Claims, laptop, true, refresh.ErrUnavailable},
			{"a revoked session", "acme", dead.Claims, laptop, false, refresh.ErrRevoked},
			{"a session that the store does not know", "acme", other.Claims, laptop, false, refresh.ErrGone},
			{"claims of another service", "acme", &access.Claims{Subject: "alice", SessionID: g.Claims.SessionID}, laptop, false, access.ErrClaims},
		} {
			store.away.Store(tt.away)
			if _, err := k.SetData(t.Context(), tt.claims, tt.data, tt.client); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		store.away.Store(false)
		if _, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Data: strings.Repeat("x", 257)}); !errors.Is(err, refresh.ErrCannotIssue) {
			t.Errorf("at a login: %v", err)
		}
		if k.rec.count(refresh.EventData) != 0 {
			t.Error("an event says that it succeeded")
		}
		if g = k.renew(g); tenantOf(t, g) != "" {
			t.Errorf("tenant %q", tenantOf(t, g))
		}
		if _, err := k.SetData(t.Context(), g.Claims, strings.Repeat("x", 256), laptop); err != nil {
			t.Errorf("256 bytes: %v", err)
		}
		// The hook refuses the subject: the session ends, as at a renewal.
		h.err["denied"] = refresh.ErrDenied
		if _, err := k.SetData(t.Context(), g.Claims, "denied", laptop); !errors.Is(err, refresh.ErrDenied) {
			t.Errorf("%v", err)
		}
		k.refused(g, refresh.ErrRevoked)
	})
}
