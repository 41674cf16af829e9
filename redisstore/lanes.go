package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scripts travel to their server in a lane. A call that finds the lane empty
// goes by itself and at once; those that come while it is under way go
// together when it is back, in one pipeline. So an idle server is never waited
// for, and a busy one gets a few large messages in place of many small ones,
// each of which costs both sides more than the script in it.
//
// A lane only saves work. A call that comes back without an answer is made
// again in the ordinary way, which knows about redirections, servers that have
// not heard of a script, and when to try once more.
type lane struct {
	mu      sync.Mutex
	trips   int // under way; more than one only where patience ran out
	waiting []*call
	overdue *time.Timer // runs while calls wait
}

const (
	// maxLoad is the number of calls that travel together: enough to make the
	// cost of a message small, few enough to let the server do other work.
	maxLoad = 128
	// patience is how long calls wait for those ahead. Behind one that has a
	// long way to go, or is stuck, the next trip then begins all the same.
	patience = 2 * time.Millisecond
)

// A call is one execution of a script on the server that has its key.
type call struct {
	ctx    context.Context // of its caller
	node   *redis.Client
	script *redis.Script
	keys   []string
	args   []any

	back  chan struct{} // closed when reply and err are there
	reply any
	err   error
}

// send makes one call.
func (s *Store) send(ctx context.Context, script *redis.Script, key string, args []any) (any, error) {
	c := &call{ctx: ctx, script: script, keys: []string{key}, args: args}
	var err error
	if c.node, err = s.master(ctx, key); err != nil || c.node == nil {
		return s.alone(c)
	}
	l := s.laneTo(c.node)
	if l.enter(c) {
		defer func() {
			if load := l.next(); load != nil {
				go s.carry(l, load)
			}
		}()
		return s.alone(c)
	}
	select {
	case <-c.back:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.err != nil {
		return s.alone(c)
	}
	return c.reply, nil
}

// alone makes a call in the ordinary way.
func (s *Store) alone(c *call) (any, error) {
	return c.script.Run(c.ctx, s.client, c.keys, c.args...).Result()
}

// laneTo returns the lane to a server, of which there is one for each address.
func (s *Store) laneTo(node *redis.Client) *lane {
	addr := node.Options().Addr
	known, ok := s.lanes.Load(addr)
	if !ok {
		l := new(lane)
		l.overdue = time.AfterFunc(patience, func() { s.carry(l, l.late()) })
		known, _ = s.lanes.LoadOrStore(addr, l)
	}
	return known.(*lane)
}

// enter begins a trip for the call, which the caller ends with next; or it
// puts the call among those that wait for one.
func (l *lane) enter(c *call) (alone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trips == 0 {
		l.trips++
		return true
	}
	c.back = make(chan struct{})
	if l.waiting = append(l.waiting, c); len(l.waiting) == 1 {
		l.overdue.Reset(patience)
	}
	return false
}

// next ends a trip. If it was the only one it becomes that of those who wait.
func (l *lane) next() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trips--; l.trips > 0 {
		return nil
	}
	return l.load()
}

// late begins one more trip than there are.
func (l *lane) late() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.load()
}

// load begins a trip with those who wait, if there are any.
func (l *lane) load() []*call {
	n := min(len(l.waiting), maxLoad)
	if n == 0 {
		return nil
	}
	load := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) > 0 {
		l.overdue.Reset(patience)
	} else {
		l.waiting = nil
		l.overdue.Stop()
	}
	l.trips++
	return load
}

// carry makes one trip after the other for as long as calls wait.
func (s *Store) carry(l *lane, load []*call) {
	for ; load != nil; load = l.next() {
		s.trip(load)
	}
}

// trip makes calls together and lets each have its answer. It has a time limit
// of its own, so as not to end with one of its callers.
func (s *Store) trip(load []*call) {
	// Whoever gave up meanwhile neither wants it done nor listens.
	load = slices.DeleteFunc(load, func(c *call) bool { return c.ctx.Err() != nil })
	if len(load) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(load[0].ctx), s.timeout)
	defer cancel()
	pipe := load[0].node.Pipeline()
	cmds := make([]*redis.Cmd, len(load))
	for i, c := range load {
		cmds[i] = c.script.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	pipe.Exec(ctx) // its error is that of a command
	for i, c := range load {
		c.reply, c.err = cmds[i].Result()
		close(c.back)
	}
}
