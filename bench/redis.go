package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
)

// ErrNoRedis: there is no redis-server to measure with.
var ErrNoRedis = errors.New("bench: redis-server is not installed")

// host lets redistest run servers outside a test.
type host struct {
	testing.TB
	dir   string
	after []func()
}

// hostError carries a failure of redistest up to WithRedis.
type hostError struct{ error }

func (h *host) Helper()                        {}
func (h *host) Failed() bool                   { return false }
func (h *host) Logf(string, ...any)            {}
func (h *host) TempDir() string                { return h.dir }
func (h *host) Cleanup(f func())               { h.after = append(h.after, f) }
func (h *host) Skipf(string, ...any)           { panic(hostError{ErrNoRedis}) }
func (h *host) Fatal(args ...any)              { panic(hostError{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(format string, a ...any) { panic(hostError{fmt.Errorf(format, a...)}) }

// WithRedis calls f with an empty server of its own, which ends with f.
func WithRedis(f func(*Redis) error) (err error) {
	dir, err := os.MkdirTemp("", "sessionkit-bench-")
	if err != nil {
		return err
	}
	h := &host{dir: dir}
	defer func() {
		for i := len(h.after) - 1; i >= 0; i-- {
			h.after[i]()
		}
		os.RemoveAll(dir)
		if p := recover(); p != nil {
			failed, ok := p.(hostError)
			if !ok {
				panic(p)
			}
			err = failed.error
		}
	}()
	s := redistest.Start(h)
	r := &Redis{server: s}
	r.Client = r.Connect()
	defer func() {
		for _, c := range r.clients {
			c.Close()
		}
	}()
	return f(r)
}

// A Redis is a server and a client of it.
type Redis struct {
	Client *redis.Client
	server *redistest.Server

	clients []*redis.Client
}

// Connect returns one more client, as each instance of an app has its own.
func (r *Redis) Connect() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: r.server.Addr, ContextTimeoutEnabled: true, PoolSize: clients + 2})
	r.clients = append(r.clients, c)
	return c
}

// Store returns a store with default settings, the feed included.
func (r *Redis) Store() (*redisstore.Store, error) {
	return redisstore.New(redisstore.Config{Client: r.Client})
}

// OwnStore is Store with a client of its own.
func (r *Redis) OwnStore() (*redisstore.Store, error) {
	return redisstore.New(redisstore.Config{Client: r.Connect()})
}

// A Command is what a server says of one kind of command.
type Command struct {
	Calls  int64
	Micros float64 // of the server, all calls together
}

// PerCall is the server's time for one call, in microseconds.
func (c Command) PerCall() float64 { return c.Micros / float64(max(1, c.Calls)) }

// Commands returns the server's statistics since Reset, those that scripts
// call included.
func (r *Redis) Commands() (map[string]Command, error) {
	text, err := r.Client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		return nil, err
	}
	stats := make(map[string]Command)
	for line := range strings.Lines(text) {
		name, values, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok {
			continue
		}
		var c Command
		for pair := range strings.SplitSeq(values, ",") {
			key, value, _ := strings.Cut(pair, "=")
			n, _ := strconv.ParseFloat(value, 64)
			switch key {
			case "calls":
				c.Calls = int64(n)
			case "usec":
				c.Micros = n
			}
		}
		stats[name] = c
	}
	return stats, nil
}

// Reset sets the statistics to zero.
func (r *Redis) Reset() error { return r.Client.ConfigResetStat(context.Background()).Err() }

// Memory returns what the server's data takes, in bytes.
func (r *Redis) Memory() (used, dataset int64, err error) {
	text, err := r.Client.Info(context.Background(), "memory").Result()
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch n, _ := strconv.ParseInt(value, 10, 64); name {
		case "used_memory":
			used = n
		case "used_memory_dataset":
			dataset = n
		}
	}
	return used, dataset, err
}

// CPU returns the processor time that this process and the server have used,
// in microseconds.
func (r *Redis) CPU() (client, server float64, err error) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0, 0, err
	}
	client = float64(own.Utime.Nano()+own.Stime.Nano()) / 1e3
	text, err := r.Client.Info(context.Background(), "cpu").Result()
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			n, _ := strconv.ParseFloat(value, 64)
			server += n * 1e6
		}
	}
	return client, server, err
}

// Version names the server.
func (r *Redis) Version() string {
	text, _ := r.Client.Info(context.Background(), "server").Result()
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return v
		}
	}
	return "unknown"
}
