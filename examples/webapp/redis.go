package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// dialTimeout bounds the wait for a connection, and startTimeout all that
	// is asked of Redis before the program serves.
	dialTimeout  = 2 * time.Second
	startTimeout = 4 * time.Second
)

// quiet drops what go-redis prints besides the errors it returns.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// openRedis returns a client for what a go-redis URL describes, after it has
// answered.
func openRedis(ctx context.Context, rawURL string) (redis.UniversalClient, error) {
	client, network, addrs, err := newRedis(rawURL)
	if err != nil {
		return nil, fmt.Errorf("-redis %s: %w: use a URL such as redis://127.0.0.1:6379", withoutPassword(rawURL), err)
	}
	// A connection of our own tells why there is none: the client tries again
	// until its time is over, and that is then all it says.
	if err := dialAny(ctx, network, addrs); err != nil {
		client.Close()
		return nil, fmt.Errorf("-redis %s: %w: start Redis there, or name another address", withoutPassword(rawURL), err)
	}
	if err := client.Ping(ctx).Err(); err != nil {
		client.Close()
		return nil, redisError(rawURL, err)
	}
	return client, nil
}

func redisError(rawURL string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", startTimeout)
	}
	return fmt.Errorf("-redis %s: the server cannot be used: %w: mend that, or name another server", withoutPassword(rawURL), err)
}

// newRedis makes the client, and tells where it connects to.
func newRedis(rawURL string) (client redis.UniversalClient, network string, addrs []string, err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", nil, errors.New("not a URL")
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, "", nil, err
		}
		o.ContextTimeoutEnabled, o.DialTimeout = true, dialTimeout
		return redis.NewFailoverClient(o), "tcp", o.SentinelAddrs, nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(rawURL)
		if err != nil {
			return nil, "", nil, err
		}
		o.ContextTimeoutEnabled, o.DialTimeout = true, dialTimeout
		return redis.NewClusterClient(o), "tcp", o.Addrs, nil
	}
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, "", nil, err
	}
	o.ContextTimeoutEnabled, o.DialTimeout = true, dialTimeout
	return redis.NewClient(o), o.Network, []string{o.Addr}, nil
}

// dialAny returns nil once one of the addresses accepts a connection, or what
// keeps them from it.
func dialAny(ctx context.Context, network string, addrs []string) error {
	results := make(chan error, len(addrs))
	for _, addr := range addrs {
		go func() {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
			if err == nil {
				conn.Close()
			}
			results <- err
		}()
	}
	var failures []string
	for range addrs {
		err := <-results
		if err == nil {
			return nil
		}
		failures = append(failures, err.Error()) // has the address
	}
	return errors.New(strings.Join(failures, ", "))
}

// withoutPassword returns a URL that can be shown.
func withoutPassword(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return fmt.Sprintf("%q", rawURL[strings.LastIndexByte(rawURL, '@')+1:])
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "password") {
			query.Set(name, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}
