package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// WatchSession returns a context for long work on behalf of a session, such as
// a stream. It is cancelled when the session is revoked (its cause is then
// ErrRevoked), when it ends by its idle timeout or absolute lifetime (ErrGone),
// and with ctx. Long work is not use: a client that only streams is idle. That
// an access token runs out meanwhile does not matter.
//
// Whether the session is idle is asked of the store when it could be for the
// first time, since other requests of the session keep it alive. While the
// feed is not trusted and Config.AskStoreWhenFeedStale is set, the store is
// asked every few seconds, and without an answer the context is cancelled too
// (ErrUnavailable). Call cancel when done.
func (s *Sessions) WatchSession(ctx context.Context, c *access.Claims) (_ context.Context, cancel context.CancelFunc) {
	watched, end := context.WithCancelCause(ctx)
	w := &sessionWatch{s: s, claims: c, end: end}
	stop := s.revoked.watch(c.SessionID, end)
	go w.run(watched)
	context.AfterFunc(watched, stop)
	return watched, func() { end(context.Canceled) }
}

// sessionWatch looks at the clock for one stream.
type sessionWatch struct {
	s      *Sessions
	claims *access.Claims
	end    context.CancelCauseFunc
}

func (w *sessionWatch) run(ctx context.Context) {
	// The session was used when the access token was issued, or later. No
	// login has a shorter idle timeout than an access token's lifetime; how
	// long this one's is, the store knows.
	lifetime := w.s.access.Lifetime()
	idleAt := w.claims.IssuedAt.Add(idleFor(lifetime, lifetime))
	for {
		at, now := idleAt, w.s.access.Now()
		if last := w.claims.SessionExpiresAt; !last.IsZero() && last.Before(at) {
			at = last
		}
		pause := at.Sub(now)
		if w.s.feed.askStore {
			pause = min(pause, w.s.feed.staleAfter)
		}
		if pause > 0 && !sleep(ctx, pause) {
			return
		}
		if now = w.s.access.Now(); now.Before(at) {
			if err := w.s.LiveIfStale(ctx, w.claims); err != nil {
				w.end(reason(err))
				return
			}
			continue
		}
		if last := w.claims.SessionExpiresAt; !last.IsZero() && !now.Before(last) {
			w.end(ErrGone)
			return
		}
		if idleAt = w.usedUntil(ctx, now); idleAt.IsZero() {
			return
		}
	}
}

// watchRetry is the pause when the store does not answer.
const watchRetry = 5 * time.Second

// usedUntil asks the store when the session ends if it is not used again. It
// returns the zero time when it has ended.
func (w *sessionWatch) usedUntil(ctx context.Context, now time.Time) time.Time {
	rec, err := w.s.find(ctx, w.claims)
	switch {
	case err != nil && !errors.Is(err, ErrUnavailable):
		w.end(ErrGone)
	case err != nil:
		// Being available is worth more here than ending an idle stream to
		// the second.
		return now.Add(watchRetry)
	case rec.Revoked != "":
		w.end(ErrRevoked)
	case rec.ID.IsZero() || !alive(w.s.policy.Limit(rec), now):
		w.end(ErrGone)
	default:
		limited := w.s.policy.Limit(rec)
		return limited.ExpiresAt()
	}
	return time.Time{}
}

// reason is the sentinel that a watch's context is cancelled with.
func reason(err error) error {
	for _, sentinel := range []error{ErrRevoked, ErrGone, ErrUnavailable} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return ErrGone
}

func alive(rec family.Record, now time.Time) bool { return rec.Alive(now) }
