package refresh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
)

// Config says how sessions live. Access and Store are mandatory; everything
// else has a default that is safe.
type Config struct {
	// Access issues and verifies the access tokens. Its key ring must hold a
	// root secret, from which the keys of refresh tokens are derived.
	Access *access.Tokens
	// Store keeps the families.
	Store family.Store
	// Cookies is where browsers keep their tokens. nil is the default of
	// package cookie, sealed with keys derived from the ring.
	Cookies *cookie.Jar

	// IdleTimeout ends a session that was not refreshed for so long (ASVS
	// V7.3.1). 0 means 14 days. A timeout beyond the absolute lifetime is
	// as good as none.
	IdleTimeout time.Duration
	// AbsoluteLifetime ends every session so long after its login, however
	// busy it is (ASVS V7.3.2, NIST SP 800-63B). 0 means 30 days; at most
	// 400, the longest that browsers keep a cookie.
	AbsoluteLifetime time.Duration
	// BrowserSessionLifetime is the absolute lifetime of a cookie login
	// without Remember, whose cookies go when the browser closes. 0 means 24
	// hours, or AbsoluteLifetime if that is shorter.
	BrowserSessionLifetime time.Duration

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

	// MaxSessions limits the live sessions of a subject. 0 is no limit.
	MaxSessions int
	// RefuseAtLimit refuses the login beyond MaxSessions, instead of ending
	// the subject's oldest session.
	RefuseAtLimit bool

	// Binding ties refresh tokens to their client. Zero is BindDefault.
	Binding Binding
	// TrustedProxies are the networks of our own proxies, whose
	// X-Forwarded-For counts. Empty: the header is ignored.
	TrustedProxies []netip.Prefix
	// CrossOrigin refuses requests that another origin caused. nil trusts no
	// other origin.
	CrossOrigin *http.CrossOriginProtection

	// ClearSiteData is what browsers are told to delete at a logout besides
	// the token cookies: "cache", "storage", "executionContexts", "cookies"
	// (of the whole registrable domain, those of other apps included) or
	// "*", all of it (ASVS V14.3.1; W3C Clear Site Data). Empty: nothing.
	// Browsers heed it on secure origins only, and "cache" takes them time.
	ClearSiteData []string

	// Claims is asked at login and at every refresh for what the subject may
	// do at that time. nil: access tokens carry no roles, scopes or custom
	// claims.
	Claims ClaimsFunc
	// Events receives what security monitoring wants to know. nil drops it.
	Events Recorder
	// Timeout bounds each operation on the store, and the claims hook. 0
	// means 2 seconds.
	Timeout time.Duration
	// FeedStaleAfter is how long the store's feed may be silent before this
	// instance no longer trusts it to know of all revocations. 0 means 5
	// seconds; at least 3. What happens then is middleware's Config.LiveWhenStale.
	FeedStaleAfter time.Duration
}

// A ClaimsFunc supplies a subject's claims. An error that is ErrDenied
// refuses the subject for good and revokes the session; any other error, a
// panic or exceeding Config.Timeout is a passing failure: the client is told
// to try again, and nothing is lost. It is called before anything is written,
// and may be called more than once for one refresh. It must heed its context:
// a request whose hook does not waits for it.
type ClaimsFunc func(ctx context.Context, subject string) (Authority, error)

// Authority is what a subject may do, as access tokens carry it.
type Authority struct {
	Roles  []string // RFC 9068 section 2.2.3.1
	Scopes []string // RFC 9068 section 2.2.3
	// Custom is a struct or map whose members become members of the token;
	// read it back with access.Claims.Decode.
	Custom any
}

// Service starts, refreshes, lists and revokes sessions. It is safe for
// concurrent use. Close it when the program ends.
type Service struct {
	access  *access.Tokens
	store   family.Store
	cookies *cookie.Jar
	codec   *codec

	idle, absolute, browser time.Duration
	settle                  time.Duration
	rules                   family.Policy
	maxSessions             int
	refuseAtLimit           bool
	binding                 Binding
	trusted                 []netip.Prefix
	crossOrigin             *http.CrossOriginProtection
	clearSiteData           string // the header's value
	claims                  ClaimsFunc
	events                  Recorder
	timeout                 time.Duration

	flights flights
	revoked *revocations
	settler *settler
	feed    feedState
	away    *observedStore

	stop context.CancelFunc
	done sync.WaitGroup
}

const (
	defaultIdle     = 14 * 24 * time.Hour
	defaultAbsolute = 30 * 24 * time.Hour
	defaultBrowser  = 24 * time.Hour
	maxAbsolute     = 400 * 24 * time.Hour
	defaultSettle   = time.Minute
	defaultTimeout  = 2 * time.Second
	// The feed has a heartbeat every other second at least.
	defaultStaleAfter = 5 * time.Second
	minStaleAfter     = 3 * time.Second
)

// New returns a Service, or an error that names the field at fault. If the
// store has a Feed, New starts following it.
func New(cfg Config) (*Service, error) {
	s := &Service{
		access: cfg.Access, store: cfg.Store, cookies: cfg.Cookies,
		rules:       family.Policy{RefuseStoreBehind: cfg.RefuseStoreBehind, SingleUse: cfg.StrictSingleUse},
		maxSessions: cfg.MaxSessions, refuseAtLimit: cfg.RefuseAtLimit,
		trusted: append([]netip.Prefix(nil), cfg.TrustedProxies...), crossOrigin: cfg.CrossOrigin,
		claims: cfg.Claims, events: cfg.Events, timeout: cfg.Timeout,
	}
	if s.access == nil {
		return nil, errors.New("refresh: Config.Access is nil: make one with access.New")
	}
	if s.store == nil {
		return nil, errors.New("refresh: Config.Store is nil: use NewMemoryStore, or redisstore.New for several instances")
	}
	if err := s.setTimes(cfg); err != nil {
		return nil, err
	}
	if cfg.MaxSessions < 0 {
		return nil, errors.New("refresh: Config.MaxSessions is negative: use 0 for no limit")
	}
	if cfg.RefuseAtLimit && cfg.MaxSessions == 0 {
		return nil, errors.New("refresh: Config.RefuseAtLimit needs a limit: set MaxSessions")
	}
	s.codec = newCodec(s.access.Keys(), s.access.Issuer())
	if len(s.codec.mac.keys()) == 0 {
		return nil, errors.New("refresh: the key ring of Config.Access holds no root secret: put 32 random bytes into access.Keys.Secrets")
	}
	if err := s.setClients(cfg); err != nil {
		return nil, err
	}
	if s.events == nil {
		s.events = noRecorder{}
	}
	s.start()
	return s, nil
}

func (s *Service) setTimes(cfg Config) error {
	for _, t := range []struct {
		name  string
		value time.Duration
		set   *time.Duration
		zero  time.Duration
	}{
		{"IdleTimeout", cfg.IdleTimeout, &s.idle, defaultIdle},
		{"AbsoluteLifetime", cfg.AbsoluteLifetime, &s.absolute, defaultAbsolute},
		{"BrowserSessionLifetime", cfg.BrowserSessionLifetime, &s.browser, defaultBrowser},
		{"SettleTime", cfg.SettleTime, &s.settle, min(defaultSettle, s.access.Lifetime()/2)},
		{"Timeout", cfg.Timeout, &s.timeout, defaultTimeout},
		{"FeedStaleAfter", cfg.FeedStaleAfter, &s.feed.staleAfter, defaultStaleAfter},
	} {
		switch {
		case t.value < 0:
			return fmt.Errorf("refresh: Config.%s is negative: use 0 for the default", t.name)
		case t.value == 0:
			*t.set = t.zero
		default:
			*t.set = t.value
		}
	}
	switch {
	case s.feed.staleAfter < minStaleAfter:
		return fmt.Errorf("refresh: Config.FeedStaleAfter is less than %v: a feed that works may be silent for 2 seconds", minStaleAfter)
	case s.absolute > maxAbsolute:
		return fmt.Errorf("refresh: Config.AbsoluteLifetime exceeds 400 days, the longest that browsers keep a cookie")
	case s.absolute < time.Second || s.idle < time.Second || s.browser < time.Second:
		return errors.New("refresh: Config.IdleTimeout, AbsoluteLifetime and BrowserSessionLifetime must be at least a second")
	case s.settle > s.access.Lifetime()/2:
		return fmt.Errorf("refresh: Config.SettleTime exceeds half the access token's lifetime (%v): no older token would be seen in time", s.access.Lifetime()/2)
	case cfg.StrictSingleUse && cfg.SettleTime != 0:
		return errors.New("refresh: Config.StrictSingleUse leaves nothing to settle: drop SettleTime")
	}
	s.browser = min(s.browser, s.absolute)
	s.rules.Settle = s.settle
	s.rules.Idle, s.rules.Absolute, s.rules.Browser = s.idle, s.absolute, s.browser
	return nil
}

func (s *Service) setClients(cfg Config) (err error) {
	if s.binding, err = cfg.Binding.withDefaults(); err != nil {
		return err
	}
	s.rules.Enforced, s.rules.RevokeOnMismatch = s.binding.Enforced, s.binding.Revoke
	for _, p := range s.trusted {
		if !p.IsValid() {
			return errors.New("refresh: Config.TrustedProxies holds an invalid network: use netip.ParsePrefix")
		}
	}
	if s.crossOrigin == nil {
		s.crossOrigin = http.NewCrossOriginProtection()
	}
	for _, what := range cfg.ClearSiteData {
		if !slices.Contains([]string{"cache", "cookies", "storage", "executionContexts", "*"}, what) {
			return fmt.Errorf("refresh: Config.ClearSiteData holds %q: use cache, storage, executionContexts, cookies or *", what)
		}
		if s.clearSiteData != "" {
			s.clearSiteData += ", "
		}
		s.clearSiteData += strconv.Quote(what)
	}
	if s.cookies == nil {
		s.cookies, err = cookie.New(cookie.Config{Keys: CookieKeys(s.access.Keys())})
	}
	return err
}

// CookieKeys derives the keys of a cookie.Jar from a key ring, for
// cookie.Config.Keys. They follow the ring when it is replaced at run time.
func CookieKeys(ring *access.KeyRing) func() [][]byte {
	const purpose = "sessionkit v1 cookie"
	var (
		mu   sync.Mutex
		from *access.Secret
		keys [][]byte
	)
	return func() [][]byte {
		secrets := ring.Secrets(purpose)
		mu.Lock()
		defer mu.Unlock()
		// The ring returns the same slice until it is replaced.
		if len(secrets) > 0 && from != &secrets[0] {
			from, keys = &secrets[0], make([][]byte, len(secrets))
			for i := range secrets {
				keys[i] = secrets[i].Key[:]
			}
		}
		return keys
	}
}

// start runs what works in the background until Close.
func (s *Service) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.revoked = newRevocations(2*s.access.Lifetime() + family.ClockSkew)
	s.settler = newSettler(s)
	feed, followed := s.store.(family.Feed)
	s.away = &observedStore{Store: s.store}
	s.store = s.away
	s.done.Go(func() { s.settler.run(ctx) })
	if followed {
		s.feed.stale.Store(true) // until it has caught up
		s.done.Go(func() { s.follow(ctx, feed) })
	}
}

// Close ends the service's background work and waits for it. It leaves the
// store open: whoever made it closes it. Closing twice is fine.
func (s *Service) Close() error {
	s.stop()
	s.done.Wait()
	return nil
}

// Ping reports whether the store answers in time, for health checks. Its
// error wraps ErrUnavailable.
func (s *Service) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.store.Ping(ctx)
}

// Cookies returns the jar in use.
func (s *Service) Cookies() *cookie.Jar { return s.cookies }

func (s *Service) record(ctx context.Context, e Event) {
	e.Time = s.access.Now()
	s.events.Record(ctx, e)
}

// Record passes an event of the app or of package middleware to
// Config.Events, with the time and, when r is not nil, the client filled in.
func (s *Service) Record(r *http.Request, e Event) {
	ctx := context.Background()
	if r != nil {
		ctx = r.Context()
		e.describe(Client{IP: clientIP(r, s.trusted), UserAgent: r.UserAgent()})
	}
	s.record(ctx, e)
}

// describe fills in what an event tells of a client.
func (e *Event) describe(c Client) {
	d := c.device()
	e.IP, e.UserAgent = d.IP, d.UserAgent
}

func (c Client) device() family.Device {
	d := family.Device{UserAgent: deviceLabel(c.UserAgent)}
	if c.IP.IsValid() {
		d.IP = c.IP.Unmap().WithZone("").String()
	}
	return d
}

// newAttempt names one call of the store. It is never zero, which is how a
// record says that it does not know.
func newAttempt() (a family.Attempt) {
	for a == (family.Attempt{}) {
		rand.Read(a[:])
	}
	return a
}

// Now is the time by the clock of Config.Access.
func (s *Service) Now() time.Time { return s.access.Now() }

// Issued reports whether the claims are of this service's tokens, for guards
// that find a session in a request's context.
func (s *Service) Issued(c *access.Claims) bool {
	return c.Issuer == s.access.Issuer() && slices.Contains(c.Audience, s.access.Audience())
}
