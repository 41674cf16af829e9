package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// replication is how writes that must survive a failover wait for replicas.
type replication struct {
	want    int
	timeout time.Duration

	mu    sync.Mutex
	known map[string]replicas // by the server's address
}

type replicas struct {
	connected int
	at        time.Time
}

// believe is how long the number of a server's replicas is believed. None is
// believed for a moment only: a server that was just promoted is about to have
// some, and what it acknowledges meanwhile must wait for them.
func (r replicas) believe() time.Duration {
	if r.connected == 0 {
		return 50 * time.Millisecond
	}
	return 5 * time.Second
}

// runDurably is run, followed by WAIT on the same connection and in the same
// round trip. A replica that does not confirm in time is logged: the write is
// done, it is only not certain to survive this server.
func (s *Store) runDurably(ctx context.Context, script *redis.Script, key string, args ...any) (any, error) {
	if s.wait.want < 0 {
		return s.run(ctx, script, key, args...)
	}
	return do(ctx, s, func(ctx context.Context) (any, error) {
		node, err := s.master(ctx, key)
		if err != nil {
			return nil, err
		}
		want := 0
		if node != nil {
			want = min(s.wait.want, s.replicasOf(ctx, node))
		}
		if want == 0 {
			return script.Run(ctx, s.client, []string{key}, args...).Result()
		}
		return s.runAndWait(ctx, node, want, script, key, args)
	})
}

// master returns the server that holds the key, nil for clients of which that
// cannot be asked.
func (s *Store) master(ctx context.Context, key string) (*redis.Client, error) {
	switch c := s.client.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	}
	return nil, nil
}

func (s *Store) runAndWait(ctx context.Context, node *redis.Client, want int, script *redis.Script, key string, args []any) (any, error) {
	exec := func(queue func(redis.Scripter) *redis.Cmd) (any, error) {
		pipe := node.Pipeline()
		cmd := queue(pipe)
		wait := pipe.Do(ctx, "WAIT", want, s.wait.timeout.Milliseconds())
		_, err := pipe.Exec(ctx)
		if reply, cmdErr := cmd.Result(); cmdErr != nil {
			return nil, cmdErr
		} else if n, waitErr := wait.Int(); waitErr != nil || n < want {
			s.log.WarnContext(ctx, "redisstore: a write is not confirmed by a replica", "confirmed", n, "wanted", want)
			return reply, nil
		} else {
			return reply, err
		}
	}
	keys := []string{key}
	reply, err := exec(func(p redis.Scripter) *redis.Cmd { return script.EvalSha(ctx, p, keys, args...) })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = exec(func(p redis.Scripter) *redis.Cmd { return script.Eval(ctx, p, keys, args...) })
	}
	if redis.HasErrorPrefix(err, "MOVED") {
		// A pipeline to one node follows no redirection.
		if c, ok := s.client.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
	}
	return reply, err
}

// replicasOf returns how many replicas are connected to the server; none where
// it does not say.
func (s *Store) replicasOf(ctx context.Context, node *redis.Client) int {
	addr := node.Options().Addr
	s.wait.mu.Lock()
	r, ok := s.wait.known[addr]
	s.wait.mu.Unlock()
	if ok && time.Since(r.at) < r.believe() {
		return r.connected
	}
	text, err := node.Info(ctx, "replication").Result()
	if err == nil {
		r.connected = infoNumber(text, "connected_slaves")
	} else if errors.Is(err, context.DeadlineExceeded) {
		return r.connected
	} else {
		r.connected = 0
	}
	r.at = time.Now()
	s.wait.mu.Lock()
	if s.wait.known == nil {
		s.wait.known = make(map[string]replicas)
	}
	s.wait.known[addr] = r
	s.wait.mu.Unlock()
	return r.connected
}

func infoNumber(text, name string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// A Warning is something about the server that will lose sessions.
type Warning string

// Check asks the server, at the start of a program, whether sessions are safe
// with it: that it answers, that this user may run the scripts, and on every
// master that no maxmemory-policy can evict sessions. What the server does not
// let us know is passed over. The error wraps family.ErrUnavailable.
func (s *Store) Check(ctx context.Context) ([]Warning, error) {
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	if err := s.dryRun(ctx); err != nil {
		return nil, err
	}
	return do(ctx, s, s.lookAtMemory)
}

// lookAtMemory asks every master how it may evict.
func (s *Store) lookAtMemory(ctx context.Context) ([]Warning, error) {
	var mu sync.Mutex
	var warnings []Warning
	look := func(ctx context.Context, c *redis.Client) error {
		text, err := c.Info(ctx, "memory").Result()
		if err != nil {
			return nil // a server that does not say
		}
		if w := evictionWarning(text); w != "" {
			mu.Lock()
			defer mu.Unlock()
			warnings = append(warnings, Warning(c.Options().Addr+": "+w))
		}
		return nil
	}
	var err error
	switch c := s.client.(type) {
	case *redis.Client:
		err = look(ctx, c)
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, look)
	}
	return warnings, err
}

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

// dryRun executes every script where it finds nothing, so that a missing
// permission shows before the first login and not in the middle of one.
func (s *Store) dryRun(ctx context.Context) error {
	key, id := s.prefix+":{probe}", strings.Repeat("\x00", 16)
	for _, probe := range []struct {
		script *redis.Script
		key    string
		args   []any
	}{
		{rotateScript, key, []any{id, strings.Repeat("\x00", moveSize) + "00000", ""}},
		{settleScript, key, []any{id, 0}},
		{findScript, key, []any{id}},
		{revokeScript, key, []any{"", "", 0, "probe", "", 0, 0}},
		{probeScript, key, nil},
	} {
		if _, err := s.run(ctx, probe.script, probe.key, probe.args...); err != nil {
			return err
		}
	}
	return nil
}
