package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Warning is something about the server that will lose sessions.
type Warning string

// Check asks every master, at the start of a program, whether sessions are safe
// with it: that it answers, that this user may do there all that the store does,
// with real effects on keys that are gone afterwards, and that no
// maxmemory-policy can evict sessions. What the server does not let us know of
// its memory is passed over. The error names the command that fails and the
// remedy, and wraps family.ErrUnavailable.
func (s *Store) Check(ctx context.Context) ([]Warning, error) {
	c := &check{s: s}
	var refused *refusal
	_, err := do(ctx, s, func(ctx context.Context) (any, error) {
		c.warnings = nil
		err := c.run(ctx)
		errors.As(err, &refused)
		return nil, err
	})
	switch {
	case err == nil:
		return c.warnings, nil
	case refused != nil: // it was tried again until the time was up
		return nil, refused
	}
	return nil, err
}

// A check is one execution of Check.
type check struct {
	s        *Store
	mu       sync.Mutex
	warnings []Warning
}

func (c *check) run(ctx context.Context) error {
	err := c.s.client.Ping(ctx).Err()
	if err != nil {
		return refused("the server", "PING", err)
	}
	switch client := c.s.client.(type) {
	case *redis.Client:
		err = c.master(ctx, client)
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, c.master)
	default:
		err = c.commands(ctx, client, "the server", c.keys(0))
	}
	if err != nil {
		return err
	}
	return c.feed(ctx)
}

// master checks one server.
func (c *check) master(ctx context.Context, node *redis.Client) error {
	addr := node.Options().Addr
	keys, err := c.keysOn(ctx, addr)
	if err != nil {
		return err
	}
	if keys != nil {
		if err := c.commands(ctx, node, addr, keys); err != nil {
			return err
		}
		if err := c.replication(ctx, node); err != nil {
			return err
		}
	}
	text, err := node.Info(ctx, "memory").Result()
	if err != nil {
		return nil // a server that does not say
	}
	if w := evictionWarning(text); w != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.warnings = append(c.warnings, Warning(addr+": "+w))
	}
	return nil
}

// keys are those of a probe, of which there are many: those of one are in one
// slot of a Cluster.
func (c *check) keys(n int) []string {
	hash := c.s.prefix + ":{probe" + strconv.Itoa(n) + "}"
	return []string{hash, hash + ":i", hash + ":feed"}
}

// keysOn returns keys of the server of an address; none where the server holds
// no slots.
func (c *check) keysOn(ctx context.Context, addr string) ([]string, error) {
	cluster, ok := c.s.client.(*redis.ClusterClient)
	if !ok {
		return c.keys(0), nil
	}
	for n := range 10_000 {
		keys := c.keys(n)
		node, err := cluster.MasterForKey(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		if node.Options().Addr == addr {
			return keys, nil
		}
	}
	return nil, nil
}

// commands runs the probe, which tries every command that a script uses.
func (c *check) commands(ctx context.Context, node redis.Scripter, addr string, keys []string) error {
	reply, err := probeScript.Eval(ctx, node, keys).Result()
	if err != nil {
		return refused(addr, "EVAL", err)
	}
	if err := probeScript.EvalSha(ctx, node, keys).Err(); err != nil {
		return refused(addr, "EVALSHA", err)
	}
	failed, ok := reply.([]any)
	if !ok {
		return errReply
	}
	if len(failed) >= 2 {
		return refused(addr, field(failed, 0), serverError(field(failed, 1)))
	}
	return nil
}

// replication checks what a write that must survive a failover needs.
func (c *check) replication(ctx context.Context, node *redis.Client) error {
	if c.s.wait.want < 0 {
		return nil
	}
	addr := node.Options().Addr
	if err := node.Info(ctx, "replication").Err(); redis.HasErrorPrefix(err, "NOPERM") {
		return refused(addr, "INFO", err)
	}
	if err := node.Do(ctx, "WAIT", 0, 1).Err(); err != nil {
		return refused(addr, "WAIT", err)
	}
	return nil
}

// feed checks what a follower does, on the feed itself: it changes nothing.
func (c *check) feed(ctx context.Context) error {
	args := &redis.XReadArgs{Streams: []string{c.s.feedKey(), "$"}, Count: 1, Block: -1}
	if err := c.s.feedClient.XRead(ctx, args).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return refused(c.s.feedServer, "XREAD on the feed", err)
	}
	if _, err := c.s.news(ctx, "0-0", 1, c.s.window); err != nil {
		return refused(c.s.feedServer, "EVAL, EVALSHA, XTRIM, XRANGE or XREVRANGE on the feed", err)
	}
	return nil
}

// A serverError is the error of a command in a script.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// A refusal is a command that a server does not carry out.
type refusal struct {
	addr, command string
	cause         error
}

// refused makes a refusal of a server's error, and passes others on.
func refused(addr, command string, err error) error {
	var server redis.Error
	if !errors.As(err, &server) {
		return err
	}
	return &refusal{addr: addr, command: command, cause: err}
}

func (r *refusal) Error() string {
	remedy := "allow it as docs/operations.md shows under \"The smallest ACL\", or use a server or proxy that has it"
	switch {
	case redis.HasErrorPrefix(r.cause, "READONLY"), redis.HasErrorPrefix(r.cause, "NOREPLICAS"):
		remedy = "use the address of the primary, and see that it may write"
	case redis.HasErrorPrefix(r.cause, "OOM"):
		remedy = "give the server more memory"
	case r.command == "WAIT":
		remedy += ", or set Config.WaitReplicas to -1 and accept that a failover can undo a revocation"
	}
	return fmt.Sprintf("%v: redis: %s refuses %s (%s): %s", family.ErrUnavailable, r.addr, r.command, strings.TrimSpace(r.cause.Error()), remedy)
}

// Unwrap lets retries see the server's error.
func (r *refusal) Unwrap() []error { return []error{family.ErrUnavailable, r.cause} }

func evictionWarning(info string) string {
	policy := ""
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			policy = value
		}
	}
	if policy == "" || policy == "noeviction" {
		return ""
	}
	if infoNumber(info, "maxmemory") == 0 {
		return "maxmemory-policy " + policy + " will evict sessions, which signs users out, once a maxmemory is set: use noeviction"
	}
	return "maxmemory-policy " + policy + " can evict sessions, which signs users out: use noeviction"
}
