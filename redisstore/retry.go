package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// do calls f until it succeeds, fails for good, or the time is up; every error
// wraps family.ErrUnavailable. Being called again is harmless: every
// operation may be executed twice.
func do[T any](ctx context.Context, s *Store, f func(context.Context) (T, error)) (T, error) {
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > s.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err := ctx.Err(); err != nil {
			var none T
			return none, unavailable(err)
		}
		result, err := bounded(ctx, s, s.honoursContext, f)
		if err == nil {
			return result, nil
		}
		if !s.passing(ctx, err) || !sleep(ctx, pause) {
			var none T
			return none, unavailable(err)
		}
	}
}

const (
	firstPause = 10 * time.Millisecond
	lastPause  = 160 * time.Millisecond
)

// bounded calls f and returns with ctx at the latest. A client that does not
// honour its context would overrun it by the client's own timeouts; f then
// ends in the background, and nobody reads what it returns.
func bounded[T any](ctx context.Context, s *Store, honoured bool, f func(context.Context) (T, error)) (T, error) {
	if honoured {
		return guarded(ctx, s, f)
	}
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := guarded(ctx, s, f)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// errPanic: a hook of the app's client panicked.
var errPanic = errors.New("redisstore: a hook of the client panicked")

// guarded calls f, and makes an error of a panic: a hook of the app's client must
// not end the program where nobody can recover.
func guarded[T any](ctx context.Context, s *Store, f func(context.Context) (T, error)) (result T, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "redisstore: a hook of the client panicked", "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f(ctx)
}

// passing reports whether an error is one that a failover, a migrating slot or
// a starting server gives, and that is gone a moment later.
func (s *Store) passing(ctx context.Context, err error) bool {
	var op *net.OpError
	dial := errors.As(err, &op) && op.Op == "dial"
	if c, ok := s.client.(*redis.ClusterClient); ok && (dial || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		// go-redis does not look for a new topology because a node is dead, or
		// has stopped to answer.
		c.ReloadState(ctx)
	}
	if ctx.Err() != nil {
		return false
	}
	if dial {
		return true
	}
	for _, prefix := range [...]string{"TRYAGAIN", "MOVED", "ASK", "CLUSTERDOWN", "LOADING", "READONLY", "NOREPLICAS", "MASTERDOWN"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// unavailable wraps a failure of Redis. The text of a server's error names
// commands and scripts, never values.
func unavailable(err error) error {
	if err == nil || errors.Is(err, family.ErrUnavailable) {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > 200 {
		text = text[:200]
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: redis: %w", family.ErrUnavailable, context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: redis: %w", family.ErrUnavailable, context.Canceled)
	}
	return fmt.Errorf("%w: redis: %s", family.ErrUnavailable, text)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
