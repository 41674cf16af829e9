package refresh_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
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

// A session that the store lost is told from one that ended in its time, by the
// access token that comes with the refresh token.
func TestASessionThatIsGoneBeforeItsTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		shows bool          // the expired access token
		after time.Duration // since the last renewal
		early int
	}{
		{"lost an hour after its last use", true, time.Hour, 1},
		{"the client shows no access token", false, time.Hour, 0},
		{"idle for longer than allowed", true, 3 * time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				k := newKit(t, func(c *refresh.Config) { c.IdleTimeout = 2 * time.Hour })
				g := k.login("alice")
				k.store.Store = newMemoryStore(t)
				time.Sleep(c.after)
				client := laptop
				if c.shows {
					client.AccessToken = g.AccessToken
				}
				if _, err := k.Refresh(t.Context(), g.RefreshToken, client); !errors.Is(err, refresh.ErrGone) {
					t.Errorf("%v", err)
				}
				if n := k.rec.count(refresh.EventGoneEarly); n != c.early {
					t.Errorf("%d events, want %d", n, c.early)
				}
			})
		})
	}
}

// A keys file is followed while sessions are served.
func TestAKeysFileIsFollowed(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.pem")
		ring, err := access.OpenKeyRing(path, access.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
		if err != nil {
			t.Fatal(err)
		}
		rec := new(recorder)
		s, err := refresh.New(refresh.Config{Access: tokens, Store: newMemoryStore(t), Events: rec})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(10 * time.Second)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := access.ParseKeys(text)
		if err != nil {
			t.Fatal(err)
		}
		keys.Verifying = []*access.Key{keys.Signing}
		if keys.Signing, err = access.GenerateKey(access.EdDSA); err == nil {
			err = keys.Save(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if n := rec.count(refresh.EventKeysChanged); n != 1 {
			t.Errorf("%d changes", n)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := rec.count(refresh.EventKeysRefused); n != 1 {
			t.Errorf("%d refusals", n)
		}
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
