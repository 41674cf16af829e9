package refresh

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// sameRequest is all that the protocol could tell two calls of Refresh apart by.
// Calls that are equal in it may share one answer.
type sameRequest struct {
	text           string // of a token that is authentic
	fingerprint    family.Fingerprint
	ip             netip.Addr
	maxAccessToken int
	key            family.Key
}

// A coalescer lets equal calls that meet share one answer. Unlike in package
// singleflight the work is done by the goroutine of the caller that came
// first: handing it to another, and the result back, would take longer than
// the work, and a caller can wait with a deadline of its own.
type coalescer struct {
	mu      sync.Mutex
	pending map[sameRequest]*answer
}

type answer struct {
	ready chan struct{} // closed when grant and err are there
	grant *Grant
	err   error
}

// do returns what work returns, or what it returns to an equal call under way.
func (c *coalescer) do(ctx context.Context, key sameRequest, timeout time.Duration, work func() (*Grant, error)) (*Grant, error) {
	c.mu.Lock()
	a, joined := c.pending[key]
	if !joined {
		if c.pending == nil {
			c.pending = make(map[sameRequest]*answer)
		}
		// What waiting callers get if the work ends without an answer.
		a = &answer{ready: make(chan struct{}), err: ErrUnavailable}
		c.pending[key] = a
	}
	c.mu.Unlock()
	if !joined {
		defer func() {
			c.forget(key, a)
			close(a.ready)
		}()
		a.grant, a.err = work()
		return a.grant, a.err
	}
	// The work ends by its own deadline unless a hook ignores its context.
	limit := time.NewTimer(timeout + timeout/4)
	defer limit.Stop()
	select {
	case <-a.ready:
		return a.grant, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case <-limit.C:
		c.forget(key, a) // so that the next call does the work itself
		return nil, fmt.Errorf("%w: no answer within %v", ErrUnavailable, timeout)
	}
}

// forget lets the next call begin anew.
func (c *coalescer) forget(key sameRequest, a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[key] == a {
		delete(c.pending, key)
	}
}
