package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A settler tells the store in the background which generations have settled:
// off the request path, each once, and again if the store was away.
type settler struct {
	s    *Service
	wake chan struct{}

	mu      sync.Mutex
	waiting map[family.ID]settled
}

type settled struct {
	subject    string
	generation uint32
}

// maxSettling bounds what waits for an unreachable store. What does not fit
// is reported again by the client's next access token; until then a
// predecessor stays acceptable longer than it had to.
const maxSettling = 100_000

func newSettler(s *Service) *settler {
	return &settler{s: s, wake: make(chan struct{}, 1), waiting: make(map[family.ID]settled)}
}

// add queues a generation; a newer one of the same family replaces it.
func (q *settler) add(id family.ID, v settled) {
	q.mu.Lock()
	if old, ok := q.waiting[id]; (ok && old.generation < v.generation) || (!ok && len(q.waiting) < maxSettling) {
		q.waiting[id] = v
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *settler) take() map[family.ID]settled {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.waiting
	q.waiting = make(map[family.ID]settled)
	return batch
}

func (q *settler) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		failed := false
		for id, v := range q.take() {
			if failed || ctx.Err() != nil || !q.settle(ctx, id, v) {
				failed = true
				q.add(id, v)
			}
		}
		if failed && !sleep(ctx, settleRetry) {
			return
		}
	}
}

// settleRetry is the pause after a failure of the store.
const settleRetry = time.Second

func (q *settler) settle(ctx context.Context, id family.ID, v settled) bool {
	subject, ok := q.s.codec.subjectKey(v.subject, id)
	if !ok {
		return true // the family's root secret left the ring, and the family with it
	}
	opCtx, cancel := context.WithTimeout(ctx, q.s.timeout)
	defer cancel()
	e := Event{Kind: EventSettled, Subject: v.subject, SessionID: id.String(), Generation: v.generation}
	if err := q.s.store.Settle(opCtx, subject, id, v.generation); err != nil {
		if ctx.Err() == nil {
			q.s.unavailable(ctx, e, err)
		}
		return false
	}
	q.s.record(ctx, e)
	return true
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

// Verify checks an access token for a request: signature and claims (package
// access names the errors), and ErrRevoked when this instance knows that the
// session was revoked. It asks no store.
//
// Seeing a token that is itself at least the settle time old proves that its
// client keeps the generation it came with: a client that had lost the
// response could not show it, and one that crashed would have come back with
// older cookies. Counting from the token's own issue, not from the rotation,
// matters: a replay hands out a fresh token, and the proof starts anew.
func (s *Service) Verify(accessToken string) (*access.Claims, error) {
	now := s.access.Now()
	c, err := s.access.VerifyAt(accessToken, now)
	if err != nil {
		return nil, err
	}
	if s.revoked.has(c.SessionID) {
		return nil, ErrRevoked
	}
	if now.Sub(c.IssuedAt) >= s.settle && !s.rules.SingleUse && c.Mark() {
		if id, err := family.ParseID(c.SessionID); err == nil {
			s.settler.add(id, settled{c.Subject, uint32(c.Generation)})
		}
	}
	return c, nil
}

// Live asks the store whether the session is still alive. It returns
// ErrRevoked, ErrGone or ErrUnavailable when it is not known to be.
func (s *Service) Live(ctx context.Context, c *access.Claims) error {
	f, err := s.find(ctx, c)
	switch {
	case err != nil:
		return err
	case f.Revoked != "":
		return &RefusedError{Err: ErrRevoked, SessionID: c.SessionID, Subject: c.Subject, Reason: f.Revoked}
	case f.ID.IsZero():
		return &RefusedError{Err: ErrGone, SessionID: c.SessionID, Subject: c.Subject}
	}
	return nil
}

// find asks the store for the claims' family; the zero Family when there is
// none.
func (s *Service) find(ctx context.Context, c *access.Claims) (family.Record, error) {
	id, err := family.ParseID(c.SessionID)
	if err != nil {
		return family.Record{}, access.ErrClaims
	}
	subject, ok := s.codec.subjectKey(c.Subject, id)
	if !ok {
		return family.Record{}, nil // its root secret left the ring, and the family with it
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f, err := s.store.Find(ctx, subject, id, s.access.Now())
	if err != nil {
		return family.Record{}, s.unavailable(ctx, Event{Subject: c.Subject, SessionID: c.SessionID}, err)
	}
	return f, nil
}

// Watch returns a context for long work on behalf of a session, such as a
// stream: it is cancelled when the session is revoked (its cause is then
// ErrRevoked), when its absolute lifetime ends (ErrGone), and with ctx.
// Access tokens that run out meanwhile do not matter. Call cancel when done.
func (s *Service) Watch(ctx context.Context, c *access.Claims) (_ context.Context, cancel context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	stop := s.revoked.watch(c.SessionID, end)
	var timer *time.Timer
	if !c.SessionExpiresAt.IsZero() {
		timer = time.AfterFunc(c.SessionExpiresAt.Sub(s.access.Now()), func() { end(ErrGone) })
	}
	context.AfterFunc(watched, func() {
		stop()
		if timer != nil {
			timer.Stop()
		}
	})
	return watched, func() { end(context.Canceled) }
}
