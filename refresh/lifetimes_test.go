package refresh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
)

// An idle session lasts IdleTimeout after its last request, and at most one
// lifetime of an access token (10 minutes here) longer.
func TestAnIdleSessionEndsInTime(t *testing.T) {
	const idle, lifetime = time.Hour, 10 * time.Minute
	for _, c := range []struct {
		name  string
		after time.Duration // from the last request
		ends  bool
	}{
		{"just before the idle timeout", idle - time.Second, false},
		{"one access token's lifetime after it, and a moment", idle + lifetime + 2*time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k := newKit(t, func(c *refresh.Config) { c.IdleTimeout = idle })
				g := k.login("alice")
				for range 3 { // a client that polls renews whenever its token has run out
					time.Sleep(lifetime + time.Second)
					g = k.renew(g)
				}
				time.Sleep(c.after)
				if c.ends {
					k.refused(g, refresh.ErrGone)
				} else {
					k.renew(g)
				}
			})
		})
	}
}

// The last request may come just before the access token runs out. The whole
// idle timeout counts from there, although nothing was renewed.
func TestTheLastRequestCountsThoughNothingWasRenewed(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.IdleTimeout = time.Hour })
		g := k.login("alice")
		time.Sleep(10*time.Minute - time.Second)
		if _, err := k.Verify(g.AccessToken); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		k.renew(g)
	})
}

// A stream is no use: with nothing else its session ends, and the stream too.
func TestAStreamEndsWithItsIdleSession(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.IdleTimeout = time.Hour })
		g := k.login("alice")
		stream, stop := k.WatchSession(t.Context(), g.Claims)
		defer stop()
		time.Sleep(time.Hour)
		if err := context.Cause(stream); err != nil {
			t.Fatalf("too early: %v", err)
		}
		time.Sleep(11 * time.Minute)
		if err := context.Cause(stream); !errors.Is(err, refresh.ErrGone) {
			t.Fatalf("cause %v", err)
		}
	})
}

// A stream of a session that is used otherwise goes on.
func TestAStreamOfABusySessionGoesOn(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.IdleTimeout, c.AbsoluteLifetime = time.Hour, 24*time.Hour })
		g := k.login("alice")
		stream, stop := k.WatchSession(t.Context(), g.Claims)
		defer stop()
		for range 23 {
			time.Sleep(time.Hour)
			g = k.renew(g)
		}
		if err := context.Cause(stream); err != nil {
			t.Fatalf("too early: %v", err)
		}
		time.Sleep(time.Hour + time.Second)
		if err := context.Cause(stream); !errors.Is(err, refresh.ErrGone) {
			t.Fatalf("after the absolute lifetime: cause %v", err)
		}
	})
}

// A client that loses every answer shows the same refresh token again and again.
func TestReplaysCountAsUse(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.IdleTimeout, c.AbsoluteLifetime = time.Hour, 24*time.Hour })
		g := k.login("alice")
		for range 20 {
			time.Sleep(time.Hour)
			k.renew(g)
		}
		time.Sleep(time.Hour + 11*time.Minute)
		k.refused(g, refresh.ErrGone)
	})
}
