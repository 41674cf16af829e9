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
func (s *Store) runDurably(ctx context.Context, script *script, keys []string, args ...any) (any, error) {
	if s.wait.want < 0 {
		return s.run(ctx, script, keys, args...)
	}
	return do(ctx, s, func(ctx context.Context) (any, error) {
		node, err := s.master(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		want := 0
		if node != nil {
			want = min(s.wait.want, s.replicasOf(ctx, node))
		}
		if want == 0 {
			return script.Run(ctx, s.client, keys, args...).Result()
		}
		return s.runAndWait(ctx, node, want, script, keys, args)
	})
}

func (s *Store) runAndWait(ctx context.Context, node *redis.Client, want int, script *script, keys []string, args []any) (any, error) {
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
