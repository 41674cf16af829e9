package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Config says how sessions live. Access and Store are mandatory; everything
// else has a default that is safe.
type Config struct {
	// Access issues and verifies the access tokens. Its key ring must hold a
	// root secret, from which the keys of refresh tokens are derived.
	Access *access.Tokens
	// Store keeps the families.
	Store family.Store

	// IdleTimeout ends a session that was not used for so long (ASVS V7.3.1):
	// never sooner after its last request, and at most one lifetime of an
	// access token later, since requests within that time are not counted one
	// by one. 0 means 14 days. It must exceed the access token's lifetime. A
	// timeout beyond the absolute lifetime is as good as none.
	IdleTimeout time.Duration
	// AbsoluteLifetime ends every session so long after its login, however
	// busy it is (ASVS V7.3.2, NIST SP 800-63B). 0 means 30 days; at most
	// 400, the longest that browsers keep a cookie.
	AbsoluteLifetime time.Duration
	// BrowserSessionLifetime is the absolute lifetime of a login without
	// Remember, which ends with the browser. 0 means 24 hours, or
	// AbsoluteLifetime if that is shorter.
	//
	// Shorter times than those of its login reach a session at its next
	// renewal; longer ones never do.
	BrowserSessionLifetime time.Duration

	// Rotation are the choices of the family protocol. The zero value is for
	// almost everybody.
	Rotation Rotation

	// MaxSessions limits the live sessions of a subject. 0 means 100, which
	// a person never meets and a script that signs in again and again does.
	// A Login can have another limit.
	MaxSessions int
	// RefuseAtLimit refuses the login beyond MaxSessions, instead of ending
	// the subject's oldest session.
	RefuseAtLimit bool

	// Binding ties refresh tokens to their client.
	Binding Binding
	// DeviceKeys says what is done about keys that cannot leave a client's
	// device. The zero value offers them.
	DeviceKeys DeviceKeys

	// Claims is asked at login and at every refresh for what the subject may
	// do at that time. nil: access tokens carry no roles, scopes or custom
	// claims.
	Claims ClaimsFunc
	// Events receives what security monitoring wants to know. nil drops it.
	Events EventHandler
	// Timeout bounds each operation on the store, and the claims hook. 0
	// means 2 seconds.
	Timeout time.Duration
	// FeedStaleAfter is how long the store's feed may be silent before this
	// instance no longer trusts it to know of all revocations. 0 means 5
	// seconds; at least 3.
	FeedStaleAfter time.Duration
	// AskStoreWhenFeedStale asks the store about each session while the feed
	// is not trusted, for requests and for streams, and refuses with
	// ErrUnavailable if that fails too. The default goes on without: a
	// session revoked elsewhere meanwhile lasts until its access token
	// expires.
	AskStoreWhenFeedStale bool
}

// Rotation are the choices of the family protocol (docs/protocol.md).
type Rotation struct {
	// SettleTime is the age at which an access token in use proves that its
	// client keeps the generation it came with. 0 means 60 seconds or half
	// the access token's lifetime, whichever is less: browsers that crash
	// come back with cookies up to 30 seconds old. At most half the access
	// token's lifetime, since an older one is seldom seen.
	SettleTime time.Duration
	// StrictSingleUse accepts a refresh token once and never again, as the
	// letter of RFC 9700 section 4.14.2 has it. It signs out honest clients
	// that lose a response or open two tabs.
	StrictSingleUse bool
	// RefuseStoreBehind refuses tokens that prove that the store lost
	// writes, instead of moving the store forward.
	RefuseStoreBehind bool
	// EndShared ends a session that two clients are seen to share
	// (EventShared), instead of only reporting it.
	EndShared bool
}

// DeviceKeys says whether sessions are bound to keys that cannot leave their
// client's device: a browser's (Device Bound Session Credentials), or a native
// app's (DPoP, RFC 9449). A session that is bound is renewed with a proof of its
// key and in no other way, whatever this says later.
type DeviceKeys uint8

const (
	// DeviceKeysOffer binds the sessions of clients that can; others go on as
	// they are.
	DeviceKeysOffer DeviceKeys = iota
	// DeviceKeysOff binds no new session.
	DeviceKeysOff
	// DeviceKeysRequire ends a session that was not bound within a minute of its
	// login, with family.ReasonUnbound: its access tokens last no longer, and a
	// refresh is refused. That reaches sessions from before it was set at their
	// next refresh.
	DeviceKeysRequire
)

// requireWithin is how long DeviceKeysRequire waits for a client to bind its
// session: a few lost answers, and a device whose key store is slow.
const requireWithin = time.Minute

// A ClaimsFunc supplies a subject's claims. An error that is ErrDenied
// refuses the subject for good and revokes the session; any other error, a
// panic or exceeding Config.Timeout is a passing failure: the client is told
// to try again, and nothing is lost. It is called before anything is written,
// and may be called more than once for one refresh: once more when the store
// turns out to know more of the session than it was told. Requests that renew
// the same session at the same time share one call, with the context values of
// whichever came first. If it ignores its context, the request blocks until it
// returns.
type ClaimsFunc func(ctx context.Context, q ClaimsRequest) (SubjectClaims, error)

// A ClaimsRequest says for which session claims are wanted.
type ClaimsRequest struct {
	Subject   string
	SessionID string
	// Actor is who acts for the subject, empty for the subject: see Login.
	Actor string
	// Data is what the app keeps with the session: see Login.
	Data string
	// Auth says how and when the user proved who they are. It is the zero
	// AuthContext, Time included, for a session without data, ACR, AMR and
	// step-up: the store is not read for it.
	Auth AuthContext
	// Client is whose request it is, without its browser key.
	Client Client
}

// An AuthContext says how and when a user proved who they are (RFC 9068 section
// 2.2.1).
type AuthContext struct {
	Time time.Time
	ACR  string
	AMR  []string
}

// SubjectClaims are what a subject may do, as access tokens carry it.
type SubjectClaims struct {
	Roles  []string // RFC 9068 section 2.2.3.1
	Scopes []string // RFC 9068 section 2.2.3
	// Custom is a struct or map whose members become members of the token;
	// read it back with access.Claims.Decode.
	Custom any
}

// Sessions starts, refreshes, lists and revokes sessions. It is safe for
// concurrent use. Close it when the program ends.
type Sessions struct {
	access     *access.Tokens
	store      *observedStore
	codec      *codec
	keys       *keyCodec
	policy     family.Policy
	limit      family.StartRequest // MaxSessions and RefuseAtLimit
	binding    Binding
	deviceKeys DeviceKeys
	claims     ClaimsFunc
	events     EventHandler
	timeout    time.Duration

	memory

	background struct {
		stop context.CancelFunc
		done sync.WaitGroup
	}
}

// memory is what an instance knows by itself.
type memory struct {
	coalesced coalescer
	lost      lostAnswers
	revoked   *revocations
	settler   *settler
	feed      feedState
}

const (
	defaultIdle     = 14 * 24 * time.Hour
	defaultAbsolute = 30 * 24 * time.Hour
	defaultBrowser  = 24 * time.Hour
	maxAbsolute     = 400 * 24 * time.Hour
	defaultSettle   = time.Minute
	defaultTimeout  = 2 * time.Second
	defaultSessions = 100
	// The feed has a heartbeat every other second at least.
	defaultStaleAfter = 5 * time.Second
	minStaleAfter     = 3 * time.Second
)

// New returns a Sessions, or an error that names the field at fault. If the
// store has a Feed, New starts following it.
func New(cfg Config) (*Sessions, error) {
	switch {
	case cfg.Access == nil:
		return nil, errors.New("refresh: Config.Access is nil: make one with access.New")
	case cfg.Store == nil:
		return nil, errors.New("refresh: Config.Store is nil: use family.NewMemoryStore, or redisstore.New for several instances")
	case cfg.MaxSessions < 0:
		return nil, errors.New("refresh: Config.MaxSessions is negative: use 0 for the default of 100")
	case cfg.MaxSessions > family.ListLimit:
		return nil, fmt.Errorf("refresh: Config.MaxSessions exceeds %d: use a lower limit", family.ListLimit)
	case cfg.RefuseAtLimit && cfg.MaxSessions == 0:
		return nil, errors.New("refresh: Config.RefuseAtLimit needs a limit: set MaxSessions")
	case cfg.DeviceKeys > DeviceKeysRequire:
		return nil, errors.New("refresh: Config.DeviceKeys is unknown: use DeviceKeysOffer, DeviceKeysOff or DeviceKeysRequire")
	case cfg.MaxSessions == 0:
		cfg.MaxSessions = defaultSessions
	}
	if err := cfg.setTimes(); err != nil {
		return nil, err
	}
	binding, err := cfg.Binding.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Sessions{
		access: cfg.Access, codec: newCodec(cfg.Access), keys: newKeyCodec(cfg.Access), policy: cfg.policy(binding),
		limit:   family.StartRequest{MaxSessions: cfg.MaxSessions, RefuseAtLimit: cfg.RefuseAtLimit},
		binding: binding, deviceKeys: cfg.DeviceKeys, claims: cfg.Claims, events: cfg.Events, timeout: cfg.Timeout,
	}
	if len(s.codec.mac.keys()) == 0 {
		return nil, errors.New("refresh: the key ring of Config.Access holds no root secret: put 32 random bytes into access.Keys.Secrets")
	}
	if s.events == nil {
		s.events = noEvents{}
	}
	s.start(cfg)
	return s, nil
}

// setTimes fills in defaults and refuses times that cannot be kept.
func (c *Config) setTimes() error {
	lifetime := c.Access.Lifetime()
	for _, t := range []struct {
		name string
		set  *time.Duration
		zero time.Duration
	}{
		{"IdleTimeout", &c.IdleTimeout, max(defaultIdle, 2*lifetime)},
		{"AbsoluteLifetime", &c.AbsoluteLifetime, defaultAbsolute},
		{"BrowserSessionLifetime", &c.BrowserSessionLifetime, defaultBrowser},
		{"Rotation.SettleTime", &c.Rotation.SettleTime, 0},
		{"Timeout", &c.Timeout, defaultTimeout},
		{"FeedStaleAfter", &c.FeedStaleAfter, defaultStaleAfter},
	} {
		switch {
		case *t.set < 0:
			return fmt.Errorf("refresh: Config.%s is negative: use 0 for the default", t.name)
		case *t.set == 0:
			*t.set = t.zero
		}
	}
	switch {
	case c.FeedStaleAfter < minStaleAfter:
		return fmt.Errorf("refresh: Config.FeedStaleAfter is less than %v: a feed that works may be silent for 2 seconds", minStaleAfter)
	case c.AbsoluteLifetime > maxAbsolute:
		return errors.New("refresh: Config.AbsoluteLifetime exceeds 400 days, the longest that browsers keep a cookie")
	case c.AbsoluteLifetime < time.Second || c.BrowserSessionLifetime < time.Second:
		return errors.New("refresh: Config.AbsoluteLifetime and BrowserSessionLifetime must be at least a second")
	case c.IdleTimeout <= lifetime:
		return fmt.Errorf("refresh: Config.IdleTimeout is %v, and access tokens last %v, within which the use of a session is not noticed: use a longer IdleTimeout, or a shorter access.Config.Lifetime", c.IdleTimeout, lifetime)
	case c.Rotation.SettleTime > lifetime/2:
		return fmt.Errorf("refresh: Config.Rotation.SettleTime exceeds half the access token's lifetime (%v): no older token would be seen in time", lifetime/2)
	case c.Rotation.StrictSingleUse && c.Rotation.SettleTime != 0:
		return errors.New("refresh: Config.Rotation.StrictSingleUse leaves nothing to settle: drop SettleTime")
	case c.Rotation.SettleTime == 0:
		c.Rotation.SettleTime = min(defaultSettle, lifetime/2)
	}
	c.BrowserSessionLifetime = min(c.BrowserSessionLifetime, c.AbsoluteLifetime)
	return nil
}

// policy is what the protocol needs to know of the configuration.
func (c *Config) policy(b Binding) family.Policy {
	policy := family.Policy{
		Enforced: b.Enforced, RevokeOnMismatch: b.Revoke,
		RefuseStoreBehind: c.Rotation.RefuseStoreBehind, SingleUse: c.Rotation.StrictSingleUse,
		EndShared: c.Rotation.EndShared, Settle: c.Rotation.SettleTime,
		Idle: idleFor(c.IdleTimeout, c.Access.Lifetime()), Absolute: c.AbsoluteLifetime, Browser: c.BrowserSessionLifetime,
	}
	if c.DeviceKeys == DeviceKeysRequire {
		policy.KeyWithin = requireWithin
	}
	return policy
}

// idleFor is how long after its last renewal a session with an idle timeout
// lasts. Requests within an access token's lifetime are not counted one by one:
// the last one may be that much later than the renewal. Access tokens end on a
// whole second.
func idleFor(timeout, lifetime time.Duration) time.Duration { return timeout + lifetime + time.Second }

// start runs what works in the background until Close.
func (s *Sessions) start(cfg Config) {
	ctx, stop := context.WithCancel(context.Background())
	s.background.stop = stop
	s.revoked = newRevocations(2*s.access.Lifetime() + family.ClockSkew)
	s.settler = newSettler(s)
	s.store = &observedStore{Store: cfg.Store}
	s.feed.staleAfter, s.feed.askStore = cfg.FeedStaleAfter, cfg.AskStoreWhenFeedStale
	s.background.done.Go(func() { s.settler.run(ctx) })
	s.background.done.Go(func() { s.access.Keys().Follow(ctx, func(err error) { s.keysChanged(ctx, err) }) })
	if feed, ok := cfg.Store.(family.Feed); ok {
		s.feed.stale.Store(true) // until it has caught up
		s.background.done.Go(func() { s.follow(ctx, feed) })
	}
}

func (s *Sessions) keysChanged(ctx context.Context, err error) {
	e := Event{Kind: EventKeysChanged, Err: err}
	if err != nil {
		e.Kind = EventKeysRefused
	}
	s.record(ctx, e)
}

// Close ends the background work and waits for it. It leaves the store open:
// whoever made it closes it. Closing twice is fine; the error is always nil.
func (s *Sessions) Close() error {
	s.background.stop()
	s.background.done.Wait()
	return nil
}

// Ping reports whether the store answers in time, for health checks. Its
// error wraps ErrUnavailable.
func (s *Sessions) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Ping(ctx)
}

// Access returns Config.Access.
func (s *Sessions) Access() *access.Tokens { return s.access }
