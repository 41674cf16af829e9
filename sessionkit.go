package sessionkit

import (
	"cmp"
	"errors"
	"log/slog"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Config says what an app wants of its sessions. Issuer and Keys are mandatory.
// The first fields are for every app; the others have the settings of one
// package each, all with safe defaults. Each setting has one place: what the
// kit fills in itself must be empty there, and New says so.
type Config struct {
	// Issuer is who issues the tokens, usually the app's URL.
	Issuer string
	// Audience is the service that the tokens are for. Empty: the issuer.
	Audience string
	// Keys sign and verify: access.OpenKeyRing.
	Keys *access.KeyRing
	// Store keeps the sessions. nil keeps them in memory, for one instance:
	// a restart signs everybody out, and one line in the log says so.
	Store family.Store
	// Claims is asked at sign-in and at each renewal for what the subject may
	// do. nil: access tokens carry no roles, scopes or custom claims.
	Claims refresh.ClaimsFunc
	// Events receives what security monitoring wants to know. nil writes it
	// to Logger.
	Events refresh.EventHandler
	// LoginPath is the app's sign-in page, such as "/login". Empty: pages
	// without a session get 401 like everything else.
	LoginPath string
	// Logger is for Events and for what an operator should read at the start.
	// nil means slog.Default().
	Logger *slog.Logger

	// Tokens has the further settings of access tokens, such as Lifetime.
	Tokens access.Config
	// Sessions has the further settings of sessions, such as IdleTimeout.
	Sessions refresh.Config
	// HTTP has the further settings of requests, such as TrustedProxies.
	HTTP middleware.Config
	// Cookies has the settings of cookies, such as SameSite.
	Cookies cookie.Config
}

// A Kit is all of sessionkit, built from one Config. Its methods are those of
// middleware.Auth. It is safe for concurrent use. Close it when the program
// ends.
type Kit struct {
	*middleware.Auth
	// Sessions revokes and lists sessions outside requests.
	Sessions *refresh.Sessions
	// Keys are Config.Keys; Keys.JWKS serves the public ones.
	Keys *access.KeyRing
}

// New returns a Kit, or an error that names the field at fault and the remedy.
func New(cfg Config) (*Kit, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	logger := cmp.Or(cfg.Logger, slog.Default())
	cfg.Tokens.Issuer, cfg.Tokens.Audience, cfg.Tokens.Keys = cfg.Issuer, cmp.Or(cfg.Audience, cfg.Issuer), cfg.Keys
	tokens, err := access.New(cfg.Tokens)
	if err != nil {
		return nil, err
	}
	inMemory := cfg.Store == nil
	if inMemory {
		if cfg.Store, err = family.NewMemoryStore(family.MemoryConfig{}); err != nil {
			return nil, err
		}
	}
	if cfg.Events == nil {
		cfg.Events = refresh.LogEvents(logger)
	}
	if cfg.Cookies.Keys == nil {
		cfg.Cookies.Keys = middleware.CookieKeys(cfg.Keys)
	}
	jar, err := cookie.New(cfg.Cookies)
	if err != nil {
		return nil, err
	}
	cfg.Sessions.Access, cfg.Sessions.Store, cfg.Sessions.Claims, cfg.Sessions.Events = tokens, cfg.Store, cfg.Claims, cfg.Events
	sessions, err := refresh.New(cfg.Sessions)
	if err != nil {
		return nil, err
	}
	cfg.HTTP.Sessions, cfg.HTTP.Cookies, cfg.HTTP.LoginPath = sessions, jar, cfg.LoginPath
	auth, err := middleware.New(cfg.HTTP)
	if err != nil {
		return nil, errors.Join(err, sessions.Close())
	}
	if inMemory {
		logger.Warn("sessionkit: sessions are kept in memory: a restart signs everybody out; set Config.Store to keep them")
	}
	return &Kit{Auth: auth, Sessions: sessions, Keys: cfg.Keys}, nil
}

// check refuses a setting that is made in two places.
func (c *Config) check() error {
	switch {
	case c.Issuer == "":
		return errors.New("sessionkit: Config.Issuer is empty: name who issues the tokens, such as https://app.example")
	case c.Keys == nil:
		return errors.New("sessionkit: Config.Keys is nil: open or create them with access.OpenKeyRing")
	case len(middleware.CookieKeys(c.Keys)()) == 0:
		return errors.New("sessionkit: Config.Keys holds no root secret, of which cookies and refresh tokens are made: let access.OpenKeyRing create the file, or put 32 random bytes into access.Keys.Secrets")
	case c.Tokens.Issuer != "" || c.Tokens.Audience != "" || c.Tokens.Keys != nil:
		return errors.New("sessionkit: Config.Tokens has an Issuer, Audience or Keys: set those of Config itself")
	case c.Sessions.Access != nil || c.Sessions.Store != nil || c.Sessions.Claims != nil || c.Sessions.Events != nil:
		return errors.New("sessionkit: Config.Sessions has Access, Store, Claims or Events: set Store, Claims and Events of Config itself")
	case c.HTTP.Sessions != nil || c.HTTP.Cookies != nil || c.HTTP.LoginPath != "":
		return errors.New("sessionkit: Config.HTTP has Sessions, Cookies or a LoginPath: set Cookies and LoginPath of Config itself")
	}
	return nil
}

// Close ends the kit's background work and waits for it. It leaves Config.Store
// open: whoever made it closes it. Closing twice is fine; the error is always
// nil.
func (k *Kit) Close() error { return k.Sessions.Close() }
