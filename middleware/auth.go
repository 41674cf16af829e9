package middleware

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/internal/answer"
	"github.com/sessionkit/sessionkit/internal/bearer"
	"github.com/sessionkit/sessionkit/refresh"
)

// Config says how requests are authenticated. Only Sessions is mandatory.
type Config struct {
	// Sessions issues and refreshes the tokens.
	Sessions *refresh.Service
	// LoginPath is the local path of the sign-in page, such as "/login".
	// Page navigations without a session are sent there with a return_to
	// parameter. Empty: pages get 401 like everything else.
	LoginPath string
	// NoTransparentRefresh answers 401 when the access token in the cookie
	// has expired, instead of renewing it: for apps whose scripts call the
	// refresh endpoint themselves.
	NoTransparentRefresh bool
	// StripCookies takes the kit's cookies out of the request that the
	// handler sees (ASVS V10.1.1): for handlers that pass requests on to
	// other servers. It costs a copy of the headers.
	StripCookies bool
	// Live asks the store at every request whether the session is still
	// alive. The default trusts what this instance knows of revocations:
	// its own at once and, with a store that has a feed, those of all
	// instances within milliseconds. RequireLive does it for one route.
	Live bool
	// LiveWhenStale asks the store while this instance's feed of revocations
	// is cut off (refresh.Config.FeedStaleAfter), and answers 503 if that
	// fails too. The default goes on without: a session revoked elsewhere
	// meanwhile lasts until its access token expires.
	LiveWhenStale bool
	// OutageGrace accepts access tokens that expired at most so long ago
	// while the store is away and they cannot be renewed: for apps to which
	// being available is worth more than ending sessions in time. Sessions
	// known to be revoked stay refused; each use is an event. At most the
	// lifetime of access tokens, for which revocations are remembered. 0:
	// never.
	OutageGrace time.Duration
}

// Auth guards handlers. It is immutable and safe for concurrent use.
type Auth struct {
	sessions  *refresh.Service
	cookies   *cookie.Jar
	loginPath string
	refreshes bool
	strip     bool
	live      bool
	whenStale bool
	outage    time.Duration
}

// New returns an Auth, or an error that names the field at fault.
func New(cfg Config) (*Auth, error) {
	if cfg.Sessions == nil {
		return nil, errors.New("middleware: Config.Sessions is nil: make it with refresh.New")
	}
	if cfg.LoginPath != "" && LocalPath(cfg.LoginPath, "") != cfg.LoginPath {
		return nil, errors.New("middleware: Config.LoginPath is no local path: use something like /login")
	}
	if strings.ContainsAny(cfg.LoginPath, "?#") {
		return nil, errors.New("middleware: Config.LoginPath has a query or fragment: leave the path alone")
	}
	if cfg.OutageGrace < 0 || cfg.OutageGrace > cfg.Sessions.AccessLifetime() {
		return nil, errors.New("middleware: Config.OutageGrace is negative or exceeds the lifetime of access tokens: use 0 for never")
	}
	if cfg.Live && cfg.OutageGrace > 0 {
		return nil, errors.New("middleware: Config.Live asks the store at every request, so OutageGrace could not help: drop one of the two")
	}
	return &Auth{
		sessions: cfg.Sessions, cookies: cfg.Sessions.Cookies(), loginPath: cfg.LoginPath,
		refreshes: !cfg.NoTransparentRefresh, strip: cfg.StripCookies, live: cfg.Live,
		whenStale: cfg.LiveWhenStale, outage: cfg.OutageGrace,
	}, nil
}

// RequireAuth lets requests with a session pass to next, which finds it with
// Session; all others are answered with 401, or a redirect for pages.
//
// An Authorization header, if there is one, alone decides. Otherwise it is
// the access cookie; when that is absent, expired or unusable, the refresh
// cookie: the session is renewed, next runs, and its response carries the new
// cookies. Requests with unsafe methods, and WebSocket handshakes, that rely on
// cookies and come from another origin get 403, before anything is renewed.
// While the store is away a renewal gets 503 with Retry-After; valid access
// tokens go on working.
//
// It never deletes cookies: a late refusal must not wipe a fresh login.
func (a *Auth) RequireAuth(next http.Handler) http.Handler {
	return a.guard(next, guard{live: a.live})
}

// OptionalAuth lets all requests pass to next, with their session if they
// have one. Credentials that are no good count as none; so do those that
// cannot be checked because the store is away. Only a request that is
// malformed (credentials sent twice) or cross-origin is refused.
func (a *Auth) OptionalAuth(next http.Handler) http.Handler {
	return a.guard(next, guard{live: a.live, optional: true})
}

// RequireLive is RequireAuth that asks the store whether the session is
// alive, at the price of one round trip: for what must not rely on the feed.
// While the store is away it answers 503.
func (a *Auth) RequireLive(next http.Handler) http.Handler {
	return a.guard(next, guard{live: true})
}

// A guard is what one wrapped handler demands.
type guard struct {
	live     bool
	optional bool
	allow    func(*access.Claims) *refusal
}

func (a *Auth) guard(next http.Handler, g guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Guards may be nested: the session is then known.
		c, known := access.FromContext(r.Context())
		known = known && a.sessions.Issued(c)
		var grant *refresh.Grant
		var err error
		if !known {
			c, grant, err = a.authenticate(r)
		}
		if err == nil && (grant == nil || grant.Shared) && (g.live || a.whenStale && a.sessions.FeedStale()) {
			err = a.sessions.Live(r.Context(), c)
		}
		if err != nil && !g.pass(err) {
			a.refuse(w, r, refusalFor(err))
			return
		}
		if err != nil { // optional: without a session of this guard's
			a.run(next, w, r)
			return
		}
		if g.allow != nil {
			if no := g.allow(c); no != nil {
				a.forbid(w, r, c, no, grant)
				return
			}
		}
		if !known {
			r = r.WithContext(access.NewContext(r.Context(), c))
		}
		if grant == nil {
			a.run(next, w, r)
			return
		}
		a.runRenewed(next, w, r, grant)
	})
}

// pass reports whether a failed authentication leaves the request anonymous.
func (g *guard) pass(err error) bool {
	return g.optional && !errors.Is(err, refresh.ErrCrossOrigin) && !errors.Is(err, bearer.ErrRepeated)
}

func (a *Auth) run(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if a.strip {
		r = a.stripped(r)
	}
	next.ServeHTTP(w, r)
}

// runRenewed runs next for a session that this request renewed.
func (a *Auth) runRenewed(next http.Handler, w http.ResponseWriter, r *http.Request, g *refresh.Grant) {
	cw := &committer{ResponseWriter: w, commit: func(h http.Header) { a.commit(h, r, g) }}
	a.run(next, cw, r)
	cw.once()
}

// commit writes the cookies of a renewal, just before the response's headers
// go out. What the handler did meanwhile wins: a login or logout has set the
// cookies already, and a session that was revoked gets none.
func (a *Auth) commit(h http.Header, r *http.Request, g *refresh.Grant) {
	if a.cookies.Pending(h, cookie.Refresh) || a.cookies.Pending(h, cookie.Access) || a.sessions.Stale(r.Context(), g) {
		return
	}
	if err := a.sessions.WriteCookies(h, r, g); err != nil {
		a.sessions.Record(r, refresh.Event{Kind: refresh.EventUnavailable, Subject: g.Claims.Subject, SessionID: g.Claims.SessionID, Err: err})
	}
}

// errNoCredentials: the request came without any.
var errNoCredentials = errors.New("middleware: no credentials")

// authenticate says who sent the request. grant is not nil when the session
// was renewed. The error is errNoCredentials, or one of packages access,
// bearer and refresh, or that of the request's context.
func (a *Auth) authenticate(r *http.Request) (*access.Claims, *refresh.Grant, error) {
	text, present, err := bearer.Token(r)
	switch {
	case errors.Is(err, bearer.ErrScheme):
		return nil, nil, errNoCredentials
	case err != nil:
		return nil, nil, err
	case !present:
		return a.authenticateCookies(r)
	}
	c, err := a.verify(r, text)
	if errors.Is(err, access.ErrExpired) && a.outage > 0 {
		c, err = a.sessions.VerifyInOutage(r.Context(), text, a.outage)
	}
	return c, nil, err
}

func (a *Auth) authenticateCookies(r *http.Request) (*access.Claims, *refresh.Grant, error) {
	failed := errNoCredentials
	text, err := a.cookies.Read(r, cookie.Access)
	if err == nil {
		c, err := a.verify(r, text)
		if err == nil {
			if err := a.checkOrigin(r); err != nil {
				return nil, nil, err
			}
			return c, nil, nil
		}
		failed = err
	}
	if _, err := a.cookies.Read(r, cookie.Refresh); !a.refreshes || errors.Is(err, cookie.ErrAbsent) {
		return nil, nil, failed
	}
	// Before anything is renewed. A request without cookies relies on none,
	// wherever it comes from.
	if err := a.checkOrigin(r); err != nil {
		return nil, nil, err
	}
	g, err := a.sessions.RefreshCookies(r)
	switch {
	case errors.Is(err, refresh.ErrUnavailable) && errors.Is(failed, access.ErrExpired) && a.outage > 0:
		if c, e := a.sessions.VerifyInOutage(r.Context(), text, a.outage); e == nil {
			return c, nil, nil
		}
		return nil, nil, err
	case err != nil:
		return nil, nil, err
	}
	return g.Claims, g, nil
}

// verify checks an access token, and reports one that only a forger, or a key
// that left the ring, can explain.
func (a *Auth) verify(r *http.Request, text string) (*access.Claims, error) {
	c, err := a.sessions.Verify(text)
	if err != nil && !errors.Is(err, access.ErrExpired) && !errors.Is(err, refresh.ErrRevoked) {
		a.sessions.Record(r, refresh.Event{Kind: refresh.EventInvalidToken, Err: err})
	}
	return c, err
}

func (a *Auth) checkOrigin(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if len(r.Header["Upgrade"]) == 0 {
			return nil
		}
	}
	return a.sessions.CheckOrigin(r)
}

// stripped returns the request without the kit's cookies. All others stay as
// they were sent, to the letter.
func (a *Auth) stripped(r *http.Request) *http.Request {
	kept := make([]string, 0, 1)
	for _, line := range r.Header["Cookie"] {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name != a.cookies.Name(cookie.Access) && name != a.cookies.Name(cookie.Refresh) && name != a.cookies.Name(cookie.Device) {
				pairs = append(pairs, strings.Trim(pair, " \t"))
			}
		}
		if len(pairs) > 0 {
			kept = append(kept, strings.Join(pairs, "; "))
		}
	}
	r = r.WithContext(r.Context())
	r.Header = r.Header.Clone()
	delete(r.Header, "Cookie")
	if len(kept) > 0 {
		r.Header["Cookie"] = kept
	}
	return r
}

// SameOrigin refuses requests with unsafe methods that another origin caused,
// with 403: for forms that need no session yet, such as the sign-in form.
func (a *Auth) SameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.checkOrigin(r); err != nil {
			refresh.WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Login opens a session for a user whom the app has just authenticated. See
// refresh.Service.Login.
func (a *Auth) Login(w http.ResponseWriter, r *http.Request, p refresh.LoginParams) (*refresh.Grant, error) {
	return a.sessions.Login(w, r, p)
}

// Logout ends the session whose tokens the request carries. See
// refresh.Service.Logout.
func (a *Auth) Logout(w http.ResponseWriter, r *http.Request) error {
	return a.sessions.Logout(w, r)
}

// Watch returns a context that ends with the request's session, for streams:
// when the session is revoked (its cause is then refresh.ErrRevoked), when
// its absolute lifetime is over (refresh.ErrGone), and with the request.
// Without a session in the request's context it is over at once.
func (a *Auth) Watch(r *http.Request) (context.Context, context.CancelFunc) {
	c, ok := Session(r.Context())
	if !ok {
		ctx, cancel := context.WithCancelCause(r.Context())
		cancel(errNoCredentials)
		return ctx, func() {}
	}
	return a.sessions.Watch(r.Context(), c)
}

// Handler serves the kit's endpoints below a path, such as "/auth":
//
//	POST   /auth/token/refresh   refresh.Service.RefreshHandler
//	POST   /auth/logout          refresh.Service.LogoutHandler
//	POST   /auth/logout-all      refresh.Service.LogoutAllHandler
//	GET    /auth/sessions        refresh.Service.ListHandler
//	DELETE /auth/sessions/{id}   refresh.Service.EndHandler
//
// Mount it with mux.Handle("/auth/", auth.Handler("/auth")).
func (a *Auth) Handler(path string) http.Handler {
	path = strings.TrimRight(path, "/")
	mux := http.NewServeMux()
	mux.Handle(path+"/token/refresh", a.sessions.RefreshHandler())
	mux.Handle(path+"/logout", a.sessions.LogoutHandler())
	mux.Handle(path+"/logout-all", a.RequireAuth(a.sessions.LogoutAllHandler()))
	mux.Handle(path+"/sessions", a.RequireAuth(a.sessions.ListHandler()))
	mux.Handle(path+"/sessions/{id}", a.RequireAuth(a.sessions.EndHandler()))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer.Error(w, http.StatusNotFound, "not_found", "There is no such resource.")
	})
	return mux
}

// Session returns the session of a request that passed a guard: the claims of
// its access token. They are shared between requests: read only.
func Session(ctx context.Context) (*access.Claims, bool) { return access.FromContext(ctx) }

// Custom decodes the app's own claims of the request's session into a T, such
// as struct{Tenant string `json:"tenant"`}. It fails with access.ErrClaims
// when they do not fit or the request has no session.
func Custom[T any](ctx context.Context) (T, error) {
	var v T
	c, ok := access.FromContext(ctx)
	if !ok {
		return v, access.ErrClaims
	}
	if err := c.Decode(&v); err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}
