package refresh_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// start signs in at the laptop.
func (k *kit) start(p refresh.Login) *refresh.Grant {
	k.t.Helper()
	p.Client = laptop
	g, err := k.Start(context.Background(), p)
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

// A login may end sooner than the configuration says, and never later.
func TestALoginHasItsOwnAbsoluteLifetime(t *testing.T) {
	for _, tt := range []struct {
		name     string
		login    refresh.Login
		lifetime time.Duration
	}{
		{"none: the configuration's", refresh.Login{Remember: true}, 3 * time.Hour},
		{"shorter", refresh.Login{Remember: true, AbsoluteLifetime: time.Hour}, time.Hour},
		{"longer: the configuration's", refresh.Login{Remember: true, AbsoluteLifetime: 4 * time.Hour}, 3 * time.Hour},
		{"a browser login, shorter", refresh.Login{AbsoluteLifetime: time.Hour}, time.Hour},
		{"a browser login, longer: the configuration's", refresh.Login{AbsoluteLifetime: 3 * time.Hour}, 2 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k := newKit(t, func(c *refresh.Config) { c.AbsoluteLifetime, c.BrowserSessionLifetime = 3*time.Hour, 2*time.Hour })
				tt.login.Subject = "alice"
				g := k.start(tt.login)
				back := laptop
				back.BrowserKey = g.BrowserKey
				end := g.IssuedAt.Add(tt.lifetime)
				var err error
				for time.Until(end) > 0 {
					if !g.Claims.SessionExpiresAt.Equal(end.Truncate(time.Second)) || g.RefreshExpiresAt.After(end) {
						t.Fatalf("the session ends at %v, the refresh token at %v, want %v", g.Claims.SessionExpiresAt, g.RefreshExpiresAt, end)
					}
					time.Sleep(min(25*time.Minute, time.Until(end)))
					if g2, rerr := k.Refresh(t.Context(), g.RefreshToken, back); rerr != nil {
						err = rerr
						break
					} else {
						g = g2
					}
				}
				if !errors.Is(err, refresh.ErrGone) || time.Until(end) > 0 {
					t.Errorf("%v, %v before the end", err, time.Until(end))
				}
			})
		})
	}
}

func TestALoginHasItsOwnIdleTimeout(t *testing.T) {
	const lifetime = 10 * time.Minute // of access tokens
	for _, tt := range []struct {
		name       string
		own, holds time.Duration
	}{
		{"none: the configuration's", 0, time.Hour},
		{"shorter", 20 * time.Minute, 20 * time.Minute},
		{"longer: the configuration's", 2 * time.Hour, time.Hour},
	} {
		for _, ends := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				faketime.Test(t, func(t *testing.T) {
					k := newKit(t, func(c *refresh.Config) { c.IdleTimeout = time.Hour })
					g := k.start(refresh.Login{Subject: "alice", Remember: true, IdleTimeout: tt.own})
					time.Sleep(lifetime + time.Second)
					g = k.renew(g)
					stream, stop := k.WatchSession(t.Context(), g.Claims)
					defer stop()
					if !ends {
						time.Sleep(tt.holds - time.Second)
						if err := context.Cause(stream); err != nil {
							t.Errorf("the stream ended with %v", err)
						}
						k.renew(g)
						return
					}
					time.Sleep(tt.holds + lifetime + 2*time.Second)
					if err := context.Cause(stream); !errors.Is(err, refresh.ErrGone) {
						t.Errorf("the stream: %v", err)
					}
					k.refused(g, refresh.ErrGone)
				})
			})
		}
	}
}

func TestALoginHasItsOwnLimit(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.MaxSessions = 2 })
		var all []*refresh.Grant
		for range 3 {
			all = append(all, k.start(refresh.Login{Subject: "alice", Remember: true, MaxSessions: 3}))
			time.Sleep(time.Second)
		}
		k.renew(all[0])
		last := k.start(refresh.Login{Subject: "alice", Remember: true, MaxSessions: 1})
		for i, g := range all {
			if facts := k.refused(g, refresh.ErrRevoked); facts.Reason != family.ReasonLimit {
				t.Errorf("session %d: %q", i, facts.Reason)
			}
		}
		k.renew(last)

		strict := newKit(t, func(c *refresh.Config) { c.MaxSessions, c.RefuseAtLimit = 1, true })
		strict.start(refresh.Login{Subject: "alice", Remember: true})
		strict.start(refresh.Login{Subject: "alice", Remember: true, MaxSessions: 2})
		if _, err := strict.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop, MaxSessions: 2}); !errors.Is(err, refresh.ErrLimit) {
			t.Errorf("beyond its own limit: %v", err)
		}
	})
}

func TestTimesThatALoginCannotKeepAreRefused(t *testing.T) {
	k := newKit(t)
	for field, p := range map[string]refresh.Login{
		"IdleTimeout is -1ns":      {IdleTimeout: -1},
		"IdleTimeout is 10m0s":     {IdleTimeout: 10 * time.Minute},
		"AbsoluteLifetime is -1ns": {AbsoluteLifetime: -1},
		"AbsoluteLifetime is 1ms":  {AbsoluteLifetime: time.Millisecond},
		"MaxSessions is -1":        {MaxSessions: -1},
		"MaxSessions is 1001":      {MaxSessions: family.ListLimit + 1},
	} {
		p.Subject, p.Client = "alice", laptop
		if _, err := k.Start(t.Context(), p); err == nil || !strings.Contains(err.Error(), "Login."+field) {
			t.Errorf("%v, want an error that says Login.%s", err, field)
		}
	}
	if n := k.store.calls.Load(); n != 0 {
		t.Errorf("%d calls of the store", n)
	}
}
