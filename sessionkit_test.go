package sessionkit_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

func newRing(t *testing.T, secrets bool) *access.KeyRing {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	if !secrets {
		keys.Secrets = nil
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// TestNewNamesTheFieldAtFault: and logs nothing beside the error.
func TestNewNamesTheFieldAtFault(t *testing.T) {
	t.Parallel()
	ring := newRing(t, true)
	noEvents := refresh.LogEvents(slog.New(slog.DiscardHandler))
	for field, change := range map[string]func(*sessionkit.Config){
		"Config.Issuer":                    func(c *sessionkit.Config) { c.Issuer = "" },
		"Config.Keys is nil":               func(c *sessionkit.Config) { c.Keys = nil },
		"Config.Keys holds no root secret": func(c *sessionkit.Config) { c.Keys = newRing(t, false) },
		"Config.Tokens has":                func(c *sessionkit.Config) { c.Tokens.Audience = "a" },
		"Config.Sessions has":              func(c *sessionkit.Config) { c.Sessions.Events = noEvents },
		"Config.HTTP has":                  func(c *sessionkit.Config) { c.HTTP.LoginPath = "/login" },
		"access: Config.Lifetime":          func(c *sessionkit.Config) { c.Tokens.Lifetime = -time.Second },
		"refresh: Config.IdleTimeout":      func(c *sessionkit.Config) { c.Sessions.IdleTimeout = time.Minute },
		"middleware: Config.Schemes":       func(c *sessionkit.Config) { c.HTTP = middleware.Config{Schemes: []string{"Basic"}} },
		"middleware: Config.LoginPath":     func(c *sessionkit.Config) { c.LoginPath = "//elsewhere" },
		"cookie: Config.BaseName":          func(c *sessionkit.Config) { c.Cookies = cookie.Config{BaseName: "__Host"} },
	} {
		t.Run(field, func(t *testing.T) {
			var log bytes.Buffer
			cfg := sessionkit.Config{Issuer: "https://app.example", Keys: ring, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			change(&cfg)
			kit, err := sessionkit.New(cfg)
			if err == nil {
				kit.Close()
			}
			if err == nil || !strings.Contains(err.Error(), field) || log.Len() > 0 {
				t.Errorf("error %v, log %q", err, log.String())
			}
		})
	}
}

// TestSessionsInMemoryAreALineInTheLog: and one that says what that means.
func TestSessionsInMemoryAreALineInTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: "https://app.example", Keys: newRing(t, true), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	kit.Close()
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "a restart signs everybody out") {
		t.Errorf("log %q", text)
	}
}
