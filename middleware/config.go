package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
)

// Config says how requests are authenticated. Only Sessions is mandatory.
type Config struct {
	// Sessions issues and refreshes the tokens.
	Sessions *refresh.Sessions
	// Cookies is where browsers keep their tokens. nil is the default of
	// package cookie, sealed with keys derived from the key ring.
	Cookies *cookie.Jar
	// LoginPath is the local path of the sign-in page, such as "/login".
	// Page navigations without a session are sent there with a return_to
	// parameter. Empty: pages get 401 like everything else.
	LoginPath string
	// Refuse writes the answer to a request that is refused, by a guard or by
	// one of the kit's endpoints, in the app's own format. Headers such as
	// WWW-Authenticate and Retry-After are set already. nil writes the JSON of
	// RFC 6749 section 5.2.
	Refuse func(w http.ResponseWriter, r *http.Request, f Refusal)
	// Schemes are names that count as "Bearer" in an Authorization header,
	// besides it. A header of any other scheme belongs to a proxy or the
	// platform and is not looked at.
	Schemes []string
	// NoTransparentRefresh answers 401 when the access token in the cookie
	// has expired, instead of renewing it: for apps whose scripts call the
	// refresh endpoint themselves.
	NoTransparentRefresh bool
	// HideTokens takes the kit's cookies, and an Authorization header that
	// was read, out of the request that the handler sees (ASVS V10.1.1): for
	// handlers that pass requests on to other servers. The kit's own code
	// behind the guard still finds them. It costs a copy of the headers.
	HideTokens bool
	// Live asks the store at every request whether the session is still
	// alive. The default trusts what this instance knows of revocations:
	// its own at once and, with a store that has a feed, those of all
	// instances within milliseconds. RequireLive does it for one route.
	Live bool
	// OutageGrace accepts access tokens that expired at most so long ago
	// while the store is away and they cannot be renewed: for apps to which
	// being available is worth more than ending sessions in time. Sessions
	// known to be revoked stay refused; each use is an event. At most the
	// lifetime of access tokens, for which revocations are remembered. 0:
	// never.
	OutageGrace time.Duration
	// TrustedProxies are the networks of our own proxies, whose
	// X-Forwarded-For counts. Empty: the header is ignored. Name each proxy
	// and not the network that its clients are in too: whoever connects from
	// there chooses the address that sessions are bound to.
	TrustedProxies []netip.Prefix
	// TrustUnixSockets takes peers on a Unix socket for our own proxies.
	TrustUnixSockets bool
	// CrossOrigin refuses requests that another origin caused. nil trusts no
	// other origin.
	CrossOrigin *http.CrossOriginProtection
	// ClearSiteData is what browsers are told to delete at a sign-out besides
	// the token cookies: "cache", "storage", "executionContexts", "cookies"
	// (of the whole registrable domain, those of other apps included) or
	// "*", all of it (ASVS V14.3.1; W3C Clear Site Data). Empty: nothing.
	// Browsers heed it on secure origins only, and "cache" takes them time.
	ClearSiteData []string
	// DPoP has the settings of sessions that native apps bind to their device.
	DPoP DPoP
	// DBSC has the settings of sessions that browsers bind to their device. The
	// zero value is for almost everybody.
	DBSC DBSC
}

// Auth guards handlers, signs users in and out, and serves the kit's
// endpoints. It is immutable and safe for concurrent use.
type Auth struct {
	sessions      *refresh.Sessions
	cookies       *cookie.Jar
	crossOrigin   *http.CrossOriginProtection
	clientIP      clientIP
	schemes       []string
	clearSiteData string // the header's value
	proofs        usedProofs
	keys          deviceKeys
	cfg           Config // of the rest
}

// New returns an Auth, or an error that names the field at fault.
func New(cfg Config) (*Auth, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &Auth{
		sessions: cfg.Sessions, cookies: cfg.Cookies, crossOrigin: cfg.CrossOrigin,
		clientIP: clientIP{slices.Clone(cfg.TrustedProxies), cfg.TrustUnixSockets},
		schemes:  append([]string{"Bearer"}, cfg.Schemes...), cfg: cfg,
	}
	if a.crossOrigin == nil {
		a.crossOrigin = http.NewCrossOriginProtection()
	}
	if cfg.Refuse == nil {
		a.cfg.Refuse = refuseJSON
	}
	quoted := make([]string, len(cfg.ClearSiteData))
	for i, what := range cfg.ClearSiteData {
		quoted[i] = strconv.Quote(what)
	}
	a.clearSiteData = strings.Join(quoted, ", ")
	if a.cookies == nil {
		var err error
		if a.cookies, err = cookie.New(cookie.Config{Keys: CookieKeys(cfg.Sessions.Access().Keys())}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (c *Config) validate() error {
	if c.Sessions == nil {
		return errors.New("middleware: Config.Sessions is nil: make it with refresh.New")
	}
	if err := cmp.Or(c.validatePaths(), c.DPoP.validate(), c.DBSC.validate()); err != nil {
		return err
	}
	lifetime := c.Sessions.Access().Lifetime()
	switch {
	case c.OutageGrace < 0 || c.OutageGrace > lifetime:
		return fmt.Errorf("middleware: Config.OutageGrace is negative or exceeds the lifetime of access tokens (%v): use 0 for never", lifetime)
	case c.Live && c.OutageGrace > 0:
		return errors.New("middleware: Config.Live asks the store at every request, so OutageGrace could not help: drop one of the two")
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return errors.New("middleware: Config.TrustedProxies holds an invalid network: use netip.ParsePrefix")
		}
	}
	for _, s := range c.Schemes {
		if !isToken(s) || strings.EqualFold(s, "Basic") || strings.EqualFold(s, "DPoP") {
			return fmt.Errorf("middleware: Config.Schemes holds %q: use the name of a scheme whose credentials are an access token", s)
		}
	}
	for _, what := range c.ClearSiteData {
		if !slices.Contains([]string{"cache", "cookies", "storage", "executionContexts", "*"}, what) {
			return fmt.Errorf("middleware: Config.ClearSiteData holds %q: use cache, storage, executionContexts, cookies or *", what)
		}
	}
	return nil
}

func (c *Config) validatePaths() error {
	switch {
	case c.LoginPath == "":
		return nil
	case LocalPath(c.LoginPath, "") != c.LoginPath:
		return errors.New("middleware: Config.LoginPath is no local path: use something like /login")
	case strings.ContainsAny(c.LoginPath, "?#"):
		return errors.New("middleware: Config.LoginPath has a query or fragment: leave the path alone")
	}
	return nil
}

// isToken checks for a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
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
