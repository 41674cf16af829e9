package refresh_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

var strong = refresh.AuthContext{ACR: "gold", AMR: []string{"pwd", "otp"}}

// steppedUp checks that a grant says that the user proved it again just now.
func steppedUp(t *testing.T, g *refresh.Grant, since time.Time) {
	t.Helper()
	c := g.Claims
	if c.AuthTime.Before(since.Truncate(time.Second)) || c.ACR != strong.ACR || !slices.Equal(c.AMR, strong.AMR) {
		t.Errorf("auth_time %v, acr %q, amr %q: want one since %v", c.AuthTime, c.ACR, c.AMR, since)
	}
}

// asAtLogin checks that a grant says what the login said.
func asAtLogin(t *testing.T, g, login *refresh.Grant) {
	t.Helper()
	c := g.Claims
	if !c.AuthTime.Equal(login.Claims.AuthTime) || c.ACR != "" || len(c.AMR) > 0 {
		t.Errorf("auth_time %v, acr %q, amr %q: want those of the login, %v", c.AuthTime, c.ACR, c.AMR, login.Claims.AuthTime)
	}
}

// With a refresh token in the request as browsers send it, or with an access
// token alone.
func TestAStepUpRenewsTheSessionInPlace(t *testing.T) {
	for name, withRefresh := range map[string]bool{"by the refresh token": true, "by the access token alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k := newKit(t)
				login := k.login("alice")
				time.Sleep(5 * time.Minute)
				shown := ""
				if withRefresh {
					shown = login.RefreshToken
				}
				began := time.Now()
				g, err := k.StepUp(t.Context(), login.Claims, shown, strong, laptop)
				if err != nil {
					t.Fatal(err)
				}
				steppedUp(t, g, began)
				if g.Claims.SessionID != login.Claims.SessionID || g.Claims.Subject != "alice" || g.RefreshToken == login.RefreshToken || g.AccessToken == login.AccessToken {
					t.Errorf("not the same session with new tokens: %+v", g.Claims)
				}
				if k.rec.count(refresh.EventStepUp) != 1 {
					t.Error("no event")
				}
				old, err := k.Refresh(t.Context(), login.RefreshToken, laptop)
				if err != nil {
					t.Fatal(err)
				}
				asAtLogin(t, old, login)
				for range 3 {
					g = k.renew(g)
					steppedUp(t, g, began)
				}
			})
		})
	}
}

// The replayed predecessor yields the same successor, whose renewals stay with
// the login's authentication context.
func TestOlderTokensOfAStepUpHaveTheLoginsContext(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		login := k.login("alice")
		time.Sleep(time.Minute)
		began := time.Now()
		first, err := k.StepUp(t.Context(), login.Claims, login.RefreshToken, strong, laptop)
		if err != nil {
			t.Fatal(err)
		}
		thief, err := k.Refresh(t.Context(), login.RefreshToken, laptop)
		if err != nil {
			t.Fatal(err)
		}
		asAtLogin(t, thief, login)
		asAtLogin(t, k.renew(thief), login)

		second, err := k.StepUp(t.Context(), first.Claims, first.RefreshToken, strong, laptop)
		if err != nil {
			t.Fatal(err)
		}
		steppedUp(t, second, began)
		old, err := k.Refresh(t.Context(), first.RefreshToken, laptop)
		if err != nil {
			t.Fatal(err)
		}
		asAtLogin(t, old, login) // of an earlier step-up than the newest
		steppedUp(t, k.renew(second), began)
	})
}

func TestAFailedStepUpChangesNothing(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		hook := func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
			return refresh.SubjectClaims{}, nil
		}
		k, store := newTroubled(t, func(c *refresh.Config) {
			c.Claims = func(ctx context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) { return hook(ctx, q) }
		})
		login := k.login("alice")
		other, support := newKit(t).login("alice"), k.start(refresh.Login{Subject: "alice", Actor: "sam", Reason: "ticket 7"})
		for _, tt := range []struct {
			name   string
			claims *access.Claims
			how    refresh.AuthContext
			client refresh.Client
			want   error
			before func()
		}{
			{"the store is away", login.Claims, strong, laptop, refresh.ErrUnavailable, func() { store.away.Store(true) }},
			{"the hook is away", login.Claims, strong, laptop, refresh.ErrUnavailable, func() {
				hook = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
					return refresh.SubjectClaims{}, errors.New("database gone")
				}
			}},
			{"claims that are too large", login.Claims, strong, refresh.Client{IP: laptop.IP, UserAgent: laptop.UserAgent, DeviceID: laptop.DeviceID, MaxAccessToken: 100}, refresh.ErrCannotIssue, nil},
			{"a context that is too long", login.Claims, refresh.AuthContext{ACR: string(make([]byte, 61))}, laptop, refresh.ErrCannotIssue, nil},
			{"a proof of the future", login.Claims, refresh.AuthContext{Time: time.Now().Add(time.Minute)}, laptop, refresh.ErrCannotIssue, nil},
			{"another client", login.Claims, strong, refresh.Client{DeviceID: "thief"}, refresh.ErrFingerprint, nil},
			{"claims of another service", &access.Claims{Subject: "alice", SessionID: login.Claims.SessionID}, strong, laptop, access.ErrClaims, nil},
			{"a session that the store does not know", other.Claims, strong, laptop, refresh.ErrGone, nil},
			{"somebody acts for the user", support.Claims, strong, laptop, refresh.ErrImpersonated, nil},
		} {
			for _, token := range []string{login.RefreshToken, ""} {
				store.away.Store(false)
				hook = func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
					return refresh.SubjectClaims{}, nil
				}
				if tt.before != nil {
					tt.before()
				}
				if _, err := k.StepUp(t.Context(), tt.claims, token, tt.how, tt.client); !errors.Is(err, tt.want) {
					t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
				}
			}
		}
		if k.rec.count(refresh.EventStepUp) != 0 {
			t.Error("an event says that it succeeded")
		}
		if _, err := k.Verify(login.AccessToken); err != nil {
			t.Errorf("the access token: %v", err)
		}
		g := k.renew(login)
		if g.Outcome != family.Rotated || g.Claims.Generation != 1 {
			t.Errorf("%v of generation %d", g.Outcome, g.Claims.Generation)
		}
		asAtLogin(t, g, login)
	})
}

// An answer of a step-up can be lost like any other, several times in a row, and
// the client that goes on with its old tokens stays signed in.
func TestLostAnswersOfAStepUp(t *testing.T) {
	for name, withRefresh := range map[string]bool{"by the refresh token": true, "by the access token alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k, store := newTroubled(t)
				login := k.login("alice")
				shown := ""
				if withRefresh {
					shown = login.RefreshToken
				}
				for i := range 3 { // of the store, and on the way to the client
					store.loses.Store(i < 2)
					_, err := k.StepUp(t.Context(), login.Claims, shown, strong, laptop)
					switch {
					case i == 0 && !errors.Is(err, refresh.ErrUnavailable),
						i == 1 && withRefresh && !errors.Is(err, refresh.ErrUnavailable),
						i == 2 && withRefresh && err != nil,
						i >= 1 && !withRefresh && !errors.Is(err, refresh.ErrOutdated):
						t.Errorf("try %d: %v", i, err)
					}
				}
				time.Sleep(2 * time.Minute)
				g, err := k.Refresh(t.Context(), login.RefreshToken, laptop)
				if err != nil {
					t.Fatal(err)
				}
				asAtLogin(t, g, login)
				shown = ""
				if withRefresh {
					shown = g.RefreshToken
				}
				began := time.Now()
				if g, err = k.StepUp(t.Context(), g.Claims, shown, strong, laptop); err != nil {
					t.Fatal(err)
				}
				steppedUp(t, k.renew(g), began)
			})
		})
	}
}

// A renewal comes between the two calls of the store.
func TestAStepUpThatLosesARace(t *testing.T) {
	for name, withRefresh := range map[string]bool{"by the refresh token": true, "by the access token alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k, store := newTroubled(t)
				login := k.login("alice")
				time.Sleep(freshTime)
				shown := ""
				if withRefresh {
					shown = login.RefreshToken
				}
				var other *refresh.Grant
				store.beforeRotate = func() {
					var err error
					if other, err = k.Refresh(t.Context(), login.RefreshToken, laptop); err != nil {
						t.Error(err)
					}
				}
				began := time.Now()
				g, err := k.StepUp(t.Context(), login.Claims, shown, strong, laptop)
				if err != nil {
					t.Fatal(err)
				}
				steppedUp(t, g, began)
				if g.Claims.Generation != other.Claims.Generation {
					t.Errorf("generations %d and %d", g.Claims.Generation, other.Claims.Generation)
				}
				asAtLogin(t, k.renew(other), login)
				steppedUp(t, k.renew(g), began)
			})
		})
	}
}

// Two tabs ask at the same time, and renew meanwhile. Whichever cookies the
// browser keeps, it stays signed in.
func TestStepUpsInTwoTabs(t *testing.T) {
	k := newKit(t)
	login := k.login("alice")
	k.age(login)
	var all [3]*refresh.Grant
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if i < 2 {
				all[i], err = k.StepUp(context.Background(), login.Claims, login.RefreshToken, strong, laptop)
			} else {
				all[i], err = k.Refresh(context.Background(), login.RefreshToken, laptop)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	k.age(all[0])
	for _, g := range all {
		if _, err := k.Refresh(context.Background(), g.RefreshToken, laptop); err != nil {
			t.Errorf("generation %d: %v", g.Claims.Generation, err)
		}
	}
}

// The claims hook hears of the step-up before it is kept, and at each renewal.
func TestTheClaimsHookHearsOfAStepUp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var asked []refresh.ClaimsRequest
		k, store := newTroubled(t, func(c *refresh.Config) {
			c.Claims = func(_ context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
				asked = append(asked, q)
				if q.Auth.ACR == "gold" {
					return refresh.SubjectClaims{Roles: []string{"treasurer"}}, nil
				}
				return refresh.SubjectClaims{}, nil
			}
		})
		login := k.login("alice")
		if q := asked[0]; q.SessionID != login.Claims.SessionID || q.Client.DeviceID != "laptop" || !q.Auth.Time.IsZero() {
			t.Errorf("at the login: %+v", q)
		}
		asked = nil
		g, err := k.StepUp(t.Context(), login.Claims, "", strong, laptop)
		if err != nil {
			t.Fatal(err)
		}
		if len(asked) != 1 || asked[0].Auth.ACR != "gold" || !asked[0].Auth.Time.Equal(g.Claims.AuthTime) || !g.Claims.HasRole("treasurer") {
			t.Errorf("asked %+v, roles %v", asked, g.Claims.Roles)
		}
		asked = nil
		finds := store.finds.Load()
		if g = k.renew(g); len(asked) != 1 || !g.Claims.HasRole("treasurer") || store.finds.Load() != finds+1 {
			t.Errorf("at a renewal: asked %+v, %d reads", asked, store.finds.Load()-finds)
		}
		asked = nil
		if old, err := k.Refresh(t.Context(), login.RefreshToken, laptop); !errors.Is(err, refresh.ErrReused) {
			t.Errorf("the login's refresh token after two renewals: %v, %v", old, err)
		}
	})
}

// A session with a key in a device steps up by what the guard has accepted.
func TestABoundSessionStepsUp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		login := k.login("alice")
		bind(t, k, login)
		for _, token := range []string{login.RefreshToken, ""} {
			if _, err := k.StepUp(t.Context(), login.Claims, token, strong, laptop); !errors.Is(err, refresh.ErrOutdated) {
				t.Errorf("by an access token from before the binding: %v", err)
			}
		}
		bound := *login.Claims
		bound.DeviceBound = true
		began := time.Now()
		g, err := k.StepUp(t.Context(), &bound, login.RefreshToken, strong, laptop)
		if err != nil {
			t.Fatal(err)
		}
		steppedUp(t, g, began)
		if !g.Claims.DeviceBound {
			t.Error("the new access token is not bound")
		}
		st, err := k.Status(t.Context(), g.AccessToken, login.RefreshToken, laptop)
		if err != nil || !st.DeviceBound {
			t.Errorf("%+v, %v", st, err)
		}
		if _, err := k.Status(t.Context(), "", login.RefreshToken, laptop); !errors.Is(err, refresh.ErrUnproven) {
			t.Errorf("without the key: %v", err)
		}
		if g.RefreshToken != "" {
			t.Error("there is a refresh token: it would open the session if the store forgot the key")
		}
		list, err := k.List(t.Context(), login.Claims)
		if err != nil || len(list) != 1 || !list[0].DeviceBound {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// bind ties a session to a browser's key, as a signed refresh does.
func bind(t *testing.T, k *kit, g *refresh.Grant) {
	t.Helper()
	id, err := family.ParseID(g.Claims.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	subject := k.subjectOf(g)
	v, err := k.store.Bind(t.Context(), family.BindRequest{
		Subject: subject, Family: id, Key: family.Key{Kind: family.KeyDBSC, Thumbprint: [32]byte{1}}, Attempt: family.Attempt{1}, Now: k.tokens.Now(),
	})
	if err != nil || v.Outcome != family.Bound {
		t.Fatalf("%v, %v", v.Outcome, err)
	}
}
