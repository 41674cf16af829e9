// Command webapp is the demo of sessionkit: a small app with a sign-in form, an
// API, a page, a stream and an administrator, whose sessions the kit keeps.
//
//	go run ./examples/webapp
//
// Several instances with the same -redis and -keys are one service.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
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

// run serves until ctx ends, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	status := 2
	if err == nil {
		status = 1
		err = serve(ctx, s, stdout, stderr)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(stderr, "webapp:", strings.Join(strings.Fields(err.Error()), " ")) // one line
	return status
}

// logLevel is lower in tests, which read all there is.
var logLevel = slog.LevelInfo

// serve opens what can fail before it logs anything: an error is then all that
// there is to read.
func serve(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: logLevel}))
	certificates, err := openCertificate(s)
	if err != nil {
		return err
	}
	keys, err := openKeys(s)
	if err != nil {
		return err
	}
	data, err := openData(ctx, s.redis, log)
	if err != nil {
		return err
	}
	defer data.close()
	listener, name, err := listen(s)
	if err != nil {
		return err
	}
	defer listener.Close()
	app, err := newApp(s, origin(listener, name), keys, data, log)
	if err != nil {
		return err
	}
	defer app.Close()

	server := &http.Server{
		Handler:           app.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second, // streams have their own deadlines
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         &tls.Config{Certificates: certificates},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	fmt.Fprintf(stdout, "listening on %s\n\n%s", name, welcome)
	if s.keys == "" {
		log.Warn("new keys at each start: sessions end with this process; use -keys to keep them")
	}
	for _, w := range data.warnings {
		log.Warn("redis", "warning", string(w))
	}

	failed := make(chan error, 1)
	go func() {
		if len(certificates) > 0 {
			failed <- server.ServeTLS(listener, "", "")
		} else {
			failed <- server.Serve(listener)
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Requests under way are answered; streams would hold that up, and end.
	app.endStreams()
	drain, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if server.Shutdown(drain) != nil {
		server.Close() // whoever is still sending has had time enough
	}
	return nil
}

const welcome = `Accounts: alice / wonderland (admin), bob / builder, carol / keyboard

Open the address in a browser, sign in, and watch the session renew itself.
Start with -access-ttl 20s to watch it in fast motion.
`

// listen opens -addr, and returns what it is called.
func listen(s settings) (net.Listener, string, error) {
	network, address := "tcp", s.addr
	if path, ok := strings.CutPrefix(s.addr, "unix:"); ok {
		network, address = "unix", path
		removeStaleSocket(path)
	}
	if address == "" {
		return nil, "", fmt.Errorf("-addr %q: no address: use one such as 127.0.0.1:8080 or unix:PATH", s.addr)
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, "", fmt.Errorf("-addr %s: %w: use a free address such as 127.0.0.1:0, or unix:PATH in a folder of yours", s.addr, err)
	}
	switch {
	case network == "unix":
		return listener, "unix:" + address, nil
	case s.tlsCert != "":
		return listener, "https://" + listener.Addr().String(), nil
	}
	return listener, "http://" + listener.Addr().String(), nil
}

// origin is the address that proofs of native apps name: the one that the program
// listens on, unless clients know it by others.
func origin(l net.Listener, name string) string {
	if address, ok := l.Addr().(*net.TCPAddr); ok && !address.IP.IsUnspecified() {
		return name
	}
	return ""
}

// removeStaleSocket removes the socket of a program that ended without doing
// so. One that somebody listens on stays, and so does every other file.
func removeStaleSocket(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		os.Remove(path)
	}
}

func openCertificate(s settings) ([]tls.Certificate, error) {
	if s.tlsCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert %s, -tls-key %s: %w: name PEM files of a certificate and its key", s.tlsCert, s.tlsKey, err)
	}
	return []tls.Certificate{certificate}, nil
}

func openKeys(s settings) (*access.KeyRing, error) {
	alg := access.Algorithm(s.alg)
	if s.keys == "" {
		keys, err := access.GenerateKeys(alg)
		if err != nil {
			return nil, err
		}
		return access.NewKeyRing(keys)
	}
	ring, err := access.OpenKeyRing(s.keys, alg)
	if err != nil {
		return nil, fmt.Errorf("-keys %s (-alg %s): %w: name a keys file of this user and algorithm, or a new one in a folder that exists", s.keys, s.alg, err)
	}
	if len(middleware.CookieKeys(ring)()) == 0 {
		return nil, fmt.Errorf("-keys %s: holds a signing key and no root secret: name a file that this program created, or a new one", s.keys)
	}
	return ring, nil
}

// data is where the demo keeps what it must not forget.
type data struct {
	store    family.Store
	users    *users
	warnings []redisstore.Warning
	close    func()
}

// openData opens the Redis of -redis, or memory without.
func openData(ctx context.Context, rawURL string, log *slog.Logger) (d data, err error) {
	if rawURL == "" {
		if d.store, err = family.NewMemoryStore(family.MemoryConfig{}); err != nil {
			return d, err
		}
		d.close = func() {}
		d.users, err = newUsers(ctx, &memoryFields{values: make(map[string]string)})
		return d, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := openRedis(ctx, rawURL)
	if err != nil {
		return d, err
	}
	d.close = func() { client.Close() }
	store, err := redisstore.New(redisstore.Config{Client: client, Logger: log})
	if err == nil {
		d.store = store
		d.warnings, err = store.Check(ctx)
	}
	if err == nil {
		d.users, err = newUsers(ctx, redisFields{client})
	}
	if err != nil {
		d.close()
		return d, redisError(rawURL, err)
	}
	return d, nil
}

// newApp puts the kit together from the flags.
func newApp(s settings, origin string, keys *access.KeyRing, d data, log *slog.Logger) (*app, error) {
	proxies, sockets, err := parseProxies(s.proxies)
	if err != nil {
		return nil, err
	}
	if s.proxies != "" {
		origin = "" // clients know the proxy's
	}
	a := &app{users: d.users, live: newBroadcast(), lifetime: s.accessTTL, keysMode: s.deviceKeys}
	a.stopping, a.endStreams = context.WithCancel(context.Background())
	a.Kit, err = sessionkit.New(sessionkit.Config{
		Issuer: "https://webapp.example", Audience: "webapp", Keys: keys, Store: d.store, LoginPath: "/login",
		Claims: a.users.claims, Events: handlers{refresh.LogEvents(log), a.live}, Logger: log,
		Tokens: access.Config{Lifetime: s.accessTTL},
		Sessions: refresh.Config{
			IdleTimeout: s.idle, AbsoluteLifetime: s.absolute, Rotation: refresh.Rotation{SettleTime: s.settle},
			MaxSessions: s.maxSessions, Binding: bindings[s.bind], DeviceKeys: deviceKeys[s.deviceKeys],
		},
		HTTP:    middleware.Config{TrustedProxies: proxies, TrustUnixSockets: sockets, DPoP: middleware.DPoP{Origin: origin}},
		Cookies: cookie.Config{InsecureHTTP: s.insecure},
	})
	return a, err
}
