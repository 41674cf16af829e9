package redisstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scripts travel to their server in a lane. A call that finds the lane empty
// goes by itself and at once; those that come while it is under way go
// together when it is back, or when patience is out, in one pipeline. A busy
// server so gets a few large messages in place of many small ones, each of
// which costs both sides more than the script in it. The price is paid where
// the server is far away: who meets another on the way waits for up to patience.
//
// Calls that a server does not know the script of, after a restart or a
// failover, are made again one by one, with its text.
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
	patience = 500 * time.Microsecond
)

// A call is one execution of a script on the server that has its key.
type call struct {
	ctx    context.Context // of its caller, with a deadline
	script *redis.Script
	keys   []string
	args   []any

	back  chan struct{} // closed when reply and err are there
	reply any
	err   error
}

// send makes one call.
func (s *Store) send(ctx context.Context, script *redis.Script, keys []string, args []any) (any, error) {
	c := &call{ctx: ctx, script: script, keys: keys, args: args}
	node, err := s.master(ctx, keys[0])
	if err != nil || node == nil {
		return s.alone(c)
	}
	l := s.laneTo(node.Options().Addr)
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
	if c.err == errNoTrip || redis.HasErrorPrefix(c.err, "NOSCRIPT") {
		return s.alone(c)
	}
	return c.reply, c.err
}

// errNoTrip: the trip ended before it had an answer for the call.
var errNoTrip = errors.New("redisstore: no answer from the pipeline")

// alone makes a call by itself: by the script's hash, and by its text if need be.
func (s *Store) alone(c *call) (any, error) {
	return c.script.Run(c.ctx, s.client, c.keys, c.args...).Result()
}

// laneTo returns the lane to the server of an address.
func (s *Store) laneTo(addr string) *lane {
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

// trip makes calls together and lets each have its answer. It lasts as long as
// the most patient of its callers. A client's hooks may panic; the program must
// not end for it, where no caller can recover.
func (s *Store) trip(load []*call) {
	// Whoever gave up meanwhile neither wants it done nor listens.
	load = slices.DeleteFunc(load, func(c *call) bool { return c.ctx.Err() != nil })
	if len(load) == 0 {
		return
	}
	var latest time.Time
	for _, c := range load {
		c.err = errNoTrip
		if end, _ := c.ctx.Deadline(); end.After(latest) {
			latest = end
		}
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(load[0].ctx), latest)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "redisstore: a hook of the client panicked", "calls", len(load))
		}
		for _, c := range load {
			close(c.back)
		}
	}()
	pipe := s.client.Pipeline()
	cmds := make([]*redis.Cmd, len(load))
	for i, c := range load {
		cmds[i] = c.script.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	pipe.Exec(ctx) // its error is that of a command
	for i, c := range load {
		c.reply, c.err = cmds[i].Result()
	}
}
