package refresh_test

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// phone is a native app whose n-th proof comes with a request.
func phone(n byte) refresh.Client {
	c := laptop
	c.UserAgent, c.DeviceID = "App/1.0", "phone"
	c.Key, c.Proof = family.Key{Kind: family.KeyDPoP, Thumbprint: [32]byte{1, 2, 3}}, family.Proof{n}
	return c
}

func (k *kit) loginPhone(subject string) *refresh.Grant {
	k.t.Helper()
	g, err := k.Start(context.Background(), refresh.Login{Subject: subject, Remember: true, Client: phone(0)})
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func TestALoginWithADeviceKeyIsBound(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	g := k.loginPhone("alice")
	thumbprint := phone(0).Key.Thumbprint
	for n := range byte(3) {
		if g.Claims.KeyThumbprint != base64.RawURLEncoding.EncodeToString(thumbprint[:]) || !g.Claims.DeviceBound {
			t.Errorf("after %d refreshes the token says %q, %v", n, g.Claims.KeyThumbprint, g.Claims.DeviceBound)
		}
		k.age(g)
		next, err := k.Refresh(t.Context(), g.RefreshToken, phone(n+1))
		if err != nil || next.Claims.Generation != uint64(n)+1 {
			t.Fatalf("refresh %d: %+v, %v", n, next, err)
		}
		g = next
	}
	other := k.login("alice")
	if other.Claims.DeviceBound || other.Claims.KeyThumbprint != "" {
		t.Error("a login without a key is bound")
	}
	list, err := k.List(t.Context(), g.Claims)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, s := range list {
		if s.DeviceBound != s.Current {
			t.Errorf("the list says %+v", s)
		}
	}
}

// TestABoundSessionIsRefusedWithoutItsProof: and goes on.
func TestABoundSessionIsRefusedWithoutItsProof(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	g := k.loginPhone("alice")
	k.age(g)
	next, err := k.Refresh(t.Context(), g.RefreshToken, phone(1))
	if err != nil {
		t.Fatal(err)
	}
	k.age(next)
	without, other, browser := phone(0), phone(9), phone(9)
	without.Key, without.Proof = family.Key{}, family.Proof{}
	other.Key.Thumbprint[0]++
	browser.Key.Kind = family.KeyDBSC
	for name, tt := range map[string]struct {
		client refresh.Client
		event  refresh.EventKind
	}{
		"without a proof":                   {without, refresh.EventProofMissing},
		"with a proof that was used before": {phone(1), refresh.EventProofRefused},
		"with a proof of another key":       {other, refresh.EventProofRefused},
		"with a proof of a browser's":       {browser, refresh.EventProofRefused},
	} {
		for _, token := range []string{g.RefreshToken, next.RefreshToken} {
			before := k.rec.count(tt.event)
			_, err := k.Refresh(t.Context(), token, tt.client)
			var facts *refresh.RefusedError
			if !errors.Is(err, refresh.ErrUnproven) || !errors.Is(err, refresh.ErrRefused) || !errors.As(err, &facts) || facts.SessionID != g.Claims.SessionID {
				t.Errorf("%s: %v", name, err)
			}
			if k.rec.count(tt.event) != before+1 {
				t.Errorf("%s: no event %s", name, tt.event)
			}
		}
	}
	if _, err := k.Refresh(t.Context(), next.RefreshToken, phone(2)); err != nil {
		t.Errorf("its owner: %v", err)
	}
}

// TestAProofCountsOnceAmongParallelRequests: equal calls are usually one; with a
// proof, one of them is a thief's.
func TestAProofCountsOnceAmongParallelRequests(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		for name, change := range map[string]func(*refresh.Config){
			"as usual":   func(*refresh.Config) {},
			"single use": func(c *refresh.Config) { c.Rotation.StrictSingleUse = true },
		} {
			k := newKit(t, change)
			g := k.loginPhone("alice")
			k.age(g)
			k.store.takes = time.Second // so that they meet
			var accepted, unproven atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					switch _, err := k.Refresh(t.Context(), g.RefreshToken, phone(1)); {
					case err == nil:
						accepted.Add(1)
					case errors.Is(err, refresh.ErrUnproven):
						unproven.Add(1)
					default:
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			if accepted.Load() != 1 || unproven.Load() != 15 {
				t.Errorf("%s: %d accepted, %d unproven", name, accepted.Load(), unproven.Load())
			}
		}
	})
}

// TestALostAnswerIsGivenAgain to a request with a proof of its own.
func TestALostAnswerIsGivenAgain(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	g := k.loginPhone("alice")
	k.age(g)
	lost, err := k.Refresh(t.Context(), g.RefreshToken, phone(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Refresh(t.Context(), g.RefreshToken, phone(2))
	if err != nil || again.RefreshToken != lost.RefreshToken {
		t.Errorf("%v", err)
	}
}

func TestDeviceKeys(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		set := func(mode refresh.DeviceKeys) func(*refresh.Config) {
			return func(c *refresh.Config) { c.DeviceKeys = mode }
		}
		off := newKit(t, set(refresh.DeviceKeysOff))
		if g := off.loginPhone("alice"); g.Claims.DeviceBound {
			t.Error("off: a login was bound")
		}

		require := newKit(t, set(refresh.DeviceKeysRequire))
		bound, unbound := require.loginPhone("alice"), require.login("alice")
		end := unbound.IssuedAt.Add(time.Minute)
		if bound.ExpiresIn() != 600 || unbound.Claims.ExpiresAt.After(end) || unbound.Claims.ExpiresAt.Before(end.Add(-time.Second)) {
			t.Errorf("require: access tokens last %d s, unbound ones %d s", bound.ExpiresIn(), unbound.ExpiresIn())
		}
		time.Sleep(50 * time.Second)
		again, err := require.Refresh(t.Context(), unbound.RefreshToken, laptop)
		if err != nil || again.Claims.ExpiresAt.After(end) {
			t.Errorf("require: a refresh after 50 s: %v, until %v", err, again.Claims.ExpiresAt)
		}
		time.Sleep(10 * time.Second)
		if facts := require.refused(again, refresh.ErrRevoked); facts.Reason != family.ReasonUnbound {
			t.Errorf("require: the reason is %q", facts.Reason)
		}
		if _, err := require.Verify(again.AccessToken); err == nil {
			t.Error("require: an access token outlives the minute")
		}
		if _, err := require.Refresh(t.Context(), bound.RefreshToken, phone(1)); err != nil {
			t.Errorf("require: the bound session: %v", err)
		}
		// Switched off again: what is bound stays bound.
		later := newKit(t, set(refresh.DeviceKeysOff), func(c *refresh.Config) { c.Access, c.Store = require.tokens, require.store })
		if _, err := later.Refresh(t.Context(), bound.RefreshToken, laptop); !errors.Is(err, refresh.ErrFingerprint) && !errors.Is(err, refresh.ErrUnproven) {
			t.Errorf("off: a bound session without its proof: %v", err)
		}
		without := phone(0)
		without.Key, without.Proof = family.Key{}, family.Proof{}
		if _, err := later.Refresh(t.Context(), bound.RefreshToken, without); !errors.Is(err, refresh.ErrUnproven) {
			t.Errorf("off: a bound session without its proof: %v", err)
		}
	})
}
