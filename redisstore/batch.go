package redisstore

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// maxJoined is the number of calls in a pipeline: few enough to let the server do
// other work.
const maxJoined = 128

// maxPipelines is the number of pipelines to one server at a time, so that a
// connection that is stuck does not hold up all calls.
const maxPipelines = 3

// A batch sends the scripts for one server: a call at once where fewer than
// maxPipelines are under way, else together with those that wait. One large
// message costs a busy server and client less than many small ones.
type batch struct {
	mu      sync.Mutex
	running int
	waiting []*call
}

// A call is one execution of a script.
type call struct {
	ctx    context.Context // of the caller, with a deadline
	script *script
	keys   []string
	args   []any
	cmd    *redis.Cmd
	done   chan struct{} // closed when cmd is answered; cmd is nil if it was not sent
}

// send executes a script, joined with others that wait for the same server.
// What no pipeline answered, or what has no name yet or none that the server
// knows, is executed by itself.
func (s *Store) send(ctx context.Context, script *script, keys []string, args []any) (any, error) {
	if node, err := s.master(ctx, keys[0]); err == nil && node != nil && script.name.Load() != nil {
		b, _ := s.batches.LoadOrStore(node.Options().Addr, new(batch))
		c := &call{ctx: ctx, script: script, keys: keys, args: args, done: make(chan struct{})}
		s.join(b.(*batch), c)
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if c.cmd != nil && !redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") {
			return c.cmd.Result()
		}
	}
	return script.Run(ctx, s.client, keys, args...).Result()
}

func (s *Store) join(b *batch, c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting = append(b.waiting, c); b.running < maxPipelines {
		b.running++
		go s.sendWaiting(b)
	}
}

// sendWaiting sends what waits, one pipeline after the other.
func (s *Store) sendWaiting(b *batch) {
	for {
		b.mu.Lock()
		calls := slices.Clone(b.waiting[:min(len(b.waiting), maxJoined)])
		b.waiting = slices.Delete(b.waiting, 0, len(calls))
		if len(calls) == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		for c, cmd := range s.pipeline(calls) {
			c.cmd = cmd
		}
		for _, c := range calls {
			close(c.done)
		}
	}
}

// pipeline lasts no longer than a caller waits at most. Callers that gave up
// neither want their script executed nor listen.
func (s *Store) pipeline(calls []*call) map[*call]*redis.Cmd {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(calls[0].ctx), s.timeout)
	defer cancel()
	cmds, _ := bounded(ctx, s, s.honoursContext, func(ctx context.Context) (map[*call]*redis.Cmd, error) {
		pipe, cmds := s.client.Pipeline(), make(map[*call]*redis.Cmd, len(calls))
		for _, c := range calls {
			if c.ctx.Err() == nil {
				cmds[c] = c.script.EvalSha(ctx, pipe, c.keys, c.args...)
			}
		}
		pipe.Exec(ctx) // its error is that of a command
		return cmds, nil
	})
	return cmds
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

// run executes a script on its keys, by its hash, and by its text on a server
// that does not know it (after a restart, a failover, SCRIPT FLUSH).
func (s *Store) run(ctx context.Context, script *script, keys []string, args ...any) (any, error) {
	return do(ctx, s, func(ctx context.Context) (any, error) {
		return s.send(ctx, script, keys, args)
	})
}
