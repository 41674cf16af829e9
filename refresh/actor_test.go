package refresh_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// sam acts for alice.
func (k *kit) actFor(subject string) *refresh.Grant {
	k.t.Helper()
	return k.start(refresh.Login{Subject: subject, Remember: true, Actor: "sam", Reason: "ticket 7"})
}

func TestTokensNameTheActorForAnHour(t *testing.T) {
	for name, remember := range map[string]bool{"remembered": true, "until the browser closes": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				var told []string
				k := newKit(t, func(c *refresh.Config) {
					c.Claims = func(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
						told = append(told, q.Actor)
						return refresh.SubjectClaims{}, nil
					}
				})
				g := k.start(refresh.Login{Subject: "alice", Remember: remember, Actor: "sam", Reason: "ticket 7", AbsoluteLifetime: 5 * time.Hour})
				back := laptop
				back.BrowserKey = g.BrowserKey
				end := g.IssuedAt.Add(time.Hour)
				for time.Until(end) > 0 {
					c, err := k.Verify(g.AccessToken)
					if err != nil || c.Actor != "sam" || c.Subject != "alice" || c.ExpiresAt.After(end) || c.SessionExpiresAt.After(end) || g.RefreshExpiresAt.After(end) {
						t.Fatalf("%+v, %v", c, err)
					}
					time.Sleep(9 * time.Minute)
					next, err := k.Refresh(t.Context(), g.RefreshToken, back)
					if err != nil {
						if time.Until(end) > 0 {
							t.Fatal(err)
						}
						break
					}
					g = next
				}
				if _, err := k.Refresh(t.Context(), g.RefreshToken, back); !errors.Is(err, refresh.ErrGone) {
					t.Errorf("after an hour: %v", err)
				}
				for _, actor := range told {
					if actor != "sam" {
						t.Errorf("the claims hook is told of %q", actor)
					}
				}
			})
		})
	}
}

// The user's sessions are none the worse for support staff who sign in.
func TestAnActorsSessionIsNotAmongTheUsers(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for _, refuse := range []bool{false, true} {
			k := newKit(t, func(c *refresh.Config) { c.MaxSessions, c.RefuseAtLimit = 2, refuse })
			first := k.login("alice")
			time.Sleep(time.Second)
			second := k.login("alice")
			held, err := k.HeldRefresh(first.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			var acts []*refresh.Grant
			for range 3 {
				acts = append(acts, k.start(refresh.Login{Subject: "alice", Remember: true, Actor: "sam", Reason: "ticket 7", Supersedes: []refresh.Held{held}}))
				time.Sleep(time.Second)
			}
			if err := k.Live(t.Context(), first.Claims); err != nil {
				t.Errorf("the user's session: %v", err)
			}
			list, err := k.List(t.Context(), first.Claims)
			if err != nil || len(list) != 5 || list[0].Actor != "sam" || list[0].Reason != "ticket 7" || list[4].Actor != "" {
				t.Errorf("%+v, %v", list, err)
			}
			// One of the support staff signs in anew in the same browser.
			held, err = k.HeldRefresh(acts[0].RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			k.start(refresh.Login{Subject: "alice", Remember: true, Actor: "sam", Reason: "ticket 8", Supersedes: []refresh.Held{held}})
			k.refused(acts[0], refresh.ErrRevoked)
			k.renew(acts[1])
			k.renew(second)
			if refuse {
				continue
			}
			// The user's own logins end the user's own sessions only.
			k.login("alice")
			k.refused(first, refresh.ErrRevoked)
			k.renew(acts[2])
		}
	})
}

// Each event of the session names both.
func TestEventsNameTheActor(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var deny, fail bool
		k, store := newTroubled(t, func(c *refresh.Config) {
			c.Claims = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
				switch {
				case deny:
					return refresh.SubjectClaims{}, refresh.ErrDenied
				case fail:
					return refresh.SubjectClaims{}, errors.New("database gone")
				}
				return refresh.SubjectClaims{}, nil
			}
		})
		g := k.actFor("alice")
		old := g
		g = k.renew(g) // refresh
		time.Sleep(2 * time.Minute)
		if _, err := k.Verify(g.AccessToken); err != nil { // settled
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := k.SetData(t.Context(), g.Claims, "x", laptop); err != nil { // data_changed
			t.Fatal(err)
		}
		k.Refresh(t.Context(), g.RefreshToken, refresh.Client{DeviceID: "other"}) // fingerprint_mismatch
		fail = true
		k.Refresh(t.Context(), g.RefreshToken, laptop) // store_unavailable
		fail = false
		store.away.Store(true)
		k.Refresh(t.Context(), g.RefreshToken, laptop) // store_unavailable
		k.Status(t.Context(), g.AccessToken, g.RefreshToken, laptop)
		k.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop, Actor: "sam", Reason: "ticket 7"})
		store.away.Store(false)
		k.Refresh(t.Context(), old.RefreshToken, laptop) // reuse_detected
		k.Refresh(t.Context(), g.RefreshToken, laptop)   // refresh_refused
		g = k.actFor("alice")
		held, err := k.HeldAccess(g.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.SignOut(t.Context(), laptop, held); err != nil { // revoked
			t.Fatal(err)
		}
		deny = true
		k.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop, Actor: "sam", Reason: "ticket 7"}) // denied
		time.Sleep(time.Minute)

		kinds := make(map[refresh.EventKind]bool)
		k.rec.mu.Lock()
		defer k.rec.mu.Unlock()
		for _, e := range k.rec.events {
			kinds[e.Kind] = true
			if e.Subject == "alice" && e.Actor != "sam" {
				t.Errorf("%+v", e)
			}
		}
		for _, kind := range []refresh.EventKind{
			refresh.EventLogin, refresh.EventRefresh, refresh.EventSettled, refresh.EventData, refresh.EventFingerprint,
			refresh.EventUnavailable, refresh.EventReuse, refresh.EventRefused, refresh.EventRevoked, refresh.EventDenied,
		} {
			if !kinds[kind] {
				t.Errorf("nothing is known of %s", kind)
			}
		}
		var log bytes.Buffer
		refresh.LogEvents(slog.New(slog.NewTextHandler(&log, nil))).HandleEvent(t.Context(), k.rec.events[0])
		if !strings.Contains(log.String(), "sub=alice actor=sam") {
			t.Errorf("%s", &log)
		}
	})
}

func TestActorsThatAreNone(t *testing.T) {
	k := newKit(t)
	for name, p := range map[string]refresh.Login{
		"no reason":         {Actor: "sam"},
		"no actor":          {Reason: "ticket 7"},
		"the user":          {Actor: "alice", Reason: "ticket 7"},
		"a line break":      {Actor: "sam\n", Reason: "ticket 7"},
		"an unprintable":    {Actor: "sam", Reason: "ticket\n7"},
		"too long together": {Actor: "sam", Reason: strings.Repeat("x", family.MaxActor-2)},
	} {
		p.Subject, p.Client = "alice", laptop
		if _, err := k.Start(t.Context(), p); err == nil || !strings.Contains(err.Error(), "Login.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k.store.calls.Load() != 0 {
		t.Error("the store was asked")
	}
}
