// Command webapp is the demo of sessionkit: a small app with a sign-in form, an
// API, a page, a stream and an administrator, whose sessions the kit keeps.
//
//	go run ./examples/webapp
//
// Several instances with the same -redis and -keys are one service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	redis.SetLogger(quiet{})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	addr, redis, keys, bind, proxies, alg string
	accessTTL, idle, absolute, settle     time.Duration
	maxSessions                           int
	insecure                              bool
}

func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("webapp", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.addr, "addr", "127.0.0.1:8080", "address to serve on; port 0 picks a free one")
	f.StringVar(&s.redis, "redis", "", "Redis URL; ?addr=… makes a Cluster, ?master_name=…&addr=… Sentinel (default: a store in this process)")
	f.StringVar(&s.keys, "keys", "", "file with the keys, created if absent (default: new keys at each start)")
	f.DurationVar(&s.accessTTL, "access-ttl", 10*time.Minute, "lifetime of access tokens")
	f.DurationVar(&s.idle, "idle", 336*time.Hour, "idle timeout of sessions")
	f.DurationVar(&s.absolute, "absolute", 720*time.Hour, "absolute lifetime of sessions")
	f.DurationVar(&s.settle, "settle", 0, "settle time; 0 is 60s or half of -access-ttl, whichever is less")
	f.IntVar(&s.maxSessions, "max-sessions", 0, "sessions per user, beyond which the oldest goes; 0 is the kit's default of 100")
	f.StringVar(&s.bind, "bind", "default", "fingerprint: default, strict or off")
	f.StringVar(&s.proxies, "trusted-proxies", "", "comma-separated networks whose X-Forwarded-For counts")
	f.BoolVar(&s.insecure, "insecure-cookies", false, "cookies without Secure and prefix, for plain http with clients other than browsers on localhost")
	f.StringVar(&s.alg, "alg", string(access.EdDSA), "EdDSA, ES256, PS256 or HS256")
	err = f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(stderr)
		f.PrintDefaults()
	case err != nil:
		fmt.Fprintln(stderr, "webapp:", err)
	}
	return s, err
}

// run serves until ctx ends, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := serve(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "webapp:", err)
		return 1
	}
	return 0
}

// logLevel is lower in tests, which read all there is.
var logLevel = slog.LevelInfo

func serve(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: logLevel}))
	store, closeStore, err := openStore(ctx, s.redis, log)
	if err != nil {
		return err
	}
	defer closeStore()
	app, err := newApp(s, store, log)
	if err != nil {
		return err
	}
	defer app.Close()

	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	// Streams watch this context, so that they do not hold up the shutdown.
	base, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	server := &http.Server{
		Handler:           app.routes(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(endStreams)
	fmt.Fprintf(stdout, "listening on http://%s\n\n%s", listener.Addr(), welcome)

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if server.Shutdown(drain) != nil {
		server.Close() // whoever is still sending has had time enough
	}
	return nil
}

// quiet drops what go-redis prints besides the errors it returns.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

const welcome = `Accounts: alice / wonderland (admin), bob / builder, carol / keyboard

Open the address in a browser, sign in, and watch the session renew itself.
Start with -access-ttl 20s to watch it in fast motion.
`

// openStore returns the store that -redis names, after it has answered.
func openStore(ctx context.Context, rawURL string, log *slog.Logger) (family.Store, func(), error) {
	if rawURL == "" {
		store, err := family.NewMemoryStore(family.MemoryConfig{})
		return store, func() {}, err
	}
	client, err := openRedis(rawURL)
	if err != nil {
		return nil, nil, fmt.Errorf("-redis: %w", err)
	}
	closeClient := func() { client.Close() }
	store, err := redisstore.New(redisstore.Config{Client: client, Logger: log})
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
		defer cancel()
		var warnings []redisstore.Warning
		if warnings, err = store.Check(ctx); err != nil {
			err = fmt.Errorf("-redis: cannot be used: %w", err)
		}
		for _, w := range warnings {
			log.Warn("redis", "warning", string(w))
		}
	}
	if err != nil {
		closeClient()
		return nil, nil, err
	}
	return store, closeClient, nil
}

// openRedis makes the client that a go-redis URL describes. It does not connect.
func openRedis(rawURL string) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	const timeout = 2 * time.Second
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, err
		}
		o.ContextTimeoutEnabled, o.DialTimeout = true, timeout
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, err
		}
		o.ContextTimeoutEnabled, o.DialTimeout = true, timeout
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled, o.DialTimeout = true, timeout
	return redis.NewClient(o), nil
}

// newApp puts the kit together from the flags.
func newApp(s settings, store family.Store, log *slog.Logger) (*app, error) {
	keys, err := openKeys(s, log)
	if err != nil {
		return nil, err
	}
	binding, ok := map[string]refresh.Binding{"default": {}, "strict": refresh.BindStrict(), "off": {Off: true}}[s.bind]
	if !ok {
		return nil, fmt.Errorf("-bind: %q is none of default, strict and off", s.bind)
	}
	proxies, sockets, err := parseNetworks(s.proxies)
	if err != nil {
		return nil, err
	}
	for name, d := range map[string]time.Duration{"-access-ttl": s.accessTTL, "-idle": s.idle, "-absolute": s.absolute} {
		if d < time.Second {
			return nil, fmt.Errorf("%s: %v is less than a second: use a longer time", name, d)
		}
	}
	switch {
	case s.idle <= s.accessTTL:
		return nil, fmt.Errorf("-idle: %v is not longer than -access-ttl %v, within which the use of a session is not noticed: use a longer -idle or a shorter -access-ttl", s.idle, s.accessTTL)
	case s.settle < 0 || s.settle > s.accessTTL/2:
		return nil, fmt.Errorf("-settle: %v is negative or longer than half of -access-ttl: use at most %v, or 0 for the default", s.settle, s.accessTTL/2)
	case s.maxSessions < 0:
		return nil, fmt.Errorf("-max-sessions: %d is negative: use 0 for the default of 100", s.maxSessions)
	}
	a := &app{users: newUsers(), live: newBroadcast(), lifetime: s.accessTTL}
	a.Kit, err = sessionkit.New(sessionkit.Config{
		Issuer: "https://webapp.example", Audience: "webapp", Keys: keys, Store: store, LoginPath: "/login",
		Claims: a.users.claims, Events: handlers{refresh.LogEvents(log), a.live}, Logger: log,
		Tokens: access.Config{Lifetime: s.accessTTL},
		Sessions: refresh.Config{
			IdleTimeout: s.idle, AbsoluteLifetime: s.absolute, Rotation: refresh.Rotation{SettleTime: s.settle},
			MaxSessions: s.maxSessions, Binding: binding,
		},
		HTTP:    middleware.Config{TrustedProxies: proxies, TrustUnixSockets: sockets},
		Cookies: cookie.Config{InsecureHTTP: s.insecure},
	})
	return a, err
}

func openKeys(s settings, log *slog.Logger) (*access.KeyRing, error) {
	var keys access.Keys
	var err error
	switch access.Algorithm(s.alg) {
	case access.EdDSA, access.ES256, access.PS256, access.HS256:
	default:
		return nil, fmt.Errorf("-alg: %q is none of EdDSA, ES256, PS256 and HS256", s.alg)
	}
	if s.keys == "" {
		log.Warn("new keys at each start: sessions end with this process; use -keys to keep them")
		keys, err = access.GenerateKeys(access.Algorithm(s.alg))
	} else if keys, err = access.OpenKeys(s.keys, access.Algorithm(s.alg)); err != nil {
		err = fmt.Errorf("-keys: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return access.NewKeyRing(keys)
}

func parseNetworks(list string) (networks []netip.Prefix, sockets bool, err error) {
	for text := range strings.SplitSeq(list, ",") {
		switch text = strings.TrimSpace(text); text {
		case "":
			continue
		case "unix":
			sockets = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, false, fmt.Errorf("-trusted-proxies: %q is neither a network such as 10.0.0.0/8 nor unix", text)
		}
		networks = append(networks, p)
	}
	return networks, sockets, nil
}
