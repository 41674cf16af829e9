package refresh

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A settler tells the store in the background which generations have settled,
// and which sessions are to end that could not end at once: off the request
// path, each once, and again if the store was away. What fails waits by itself
// and holds up nothing else: one shard of several may be down.
type settler struct {
	s    *Sessions
	wake chan struct{}

	mu     sync.Mutex
	fresh  map[family.ID]report
	failed map[family.ID]report
}

// A report is what the store has to be told of one family.
type report struct {
	Held
	end family.Reason // not empty: the session has to end
	// unsure: the store may not have the session yet, and must not keep it.
	unsure bool
	tries  int
	due    time.Time // of the next try
}

const (
	// maxReports bounds what waits for an unreachable store. What does not
	// fit is reported again by the client's next access token; until then a
	// predecessor stays acceptable longer than it had to.
	maxReports = 100_000
	// parallelReports are under way at once, and as many of those that failed
	// before: a shard that is down takes its time with each.
	parallelReports = 64
	firstRetry      = time.Second
	lastRetry       = 30 * time.Second
	// lookAgain is how often those that failed are looked through.
	lookAgain = 250 * time.Millisecond
)

func newSettler(s *Sessions) *settler {
	return &settler{s: s, wake: make(chan struct{}, 1), fresh: make(map[family.ID]report), failed: make(map[family.ID]report)}
}

func (q *settler) settle(h Held) { q.add(report{Held: h}) }

// end ends a session, now or as soon as the store answers.
func (q *settler) end(h Held, why family.Reason) { q.add(report{Held: h, end: why}) }

// undo ends a session that the store may or may not have kept.
func (q *settler) undo(h Held) { q.add(report{Held: h, end: family.ReasonLogout, unsure: true}) }

// add queues a report. An end replaces whatever waits for the family, and a
// newer generation an older one.
func (q *settler) add(r report) {
	q.mu.Lock()
	old, ok := q.fresh[r.family]
	if ok && old.end == "" && (r.end != "" || old.generation < r.generation) || !ok && len(q.fresh) < maxReports {
		q.fresh[r.family] = r
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// takeFresh removes what nobody has tried yet.
func (q *settler) takeFresh() map[family.ID]report {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.fresh
	q.fresh = make(map[family.ID]report)
	return batch
}

// takeFailed removes what is due again.
func (q *settler) takeFailed() map[family.ID]report {
	q.mu.Lock()
	defer q.mu.Unlock()
	due, now := make(map[family.ID]report), time.Now()
	for id, r := range q.failed {
		if !r.due.After(now) {
			due[id] = r
			delete(q.failed, id)
		}
	}
	return due
}

// run makes reports until ctx ends, and waits for those under way.
func (q *settler) run(ctx context.Context) {
	var loops sync.WaitGroup
	defer loops.Wait()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	loops.Go(func() { loop(ctx, q, again.C, q.takeFailed) })
	loop(ctx, q, q.wake, q.takeFresh)
}

// loop makes the reports that take returns, whenever it is woken.
func loop[T any](ctx context.Context, q *settler, wake <-chan T, take func() map[family.ID]report) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	places := make(chan struct{}, parallelReports)
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
		for _, r := range take() {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			deliveries.Go(func() {
				defer func() { <-places }()
				q.deliver(ctx, r)
			})
		}
	}
}

// deliver makes one report, or keeps it for later.
func (q *settler) deliver(ctx context.Context, r report) {
	if q.tell(ctx, r) == nil || ctx.Err() != nil {
		return
	}
	r.due = time.Now().Add(min(firstRetry<<min(r.tries, 5), lastRetry))
	r.tries++
	q.mu.Lock()
	defer q.mu.Unlock()
	old, ok := q.failed[r.family]
	newer := r.end != "" || old.end == "" && old.generation <= r.generation
	if ok && newer || !ok && len(q.failed) < maxReports {
		q.failed[r.family] = r
	}
}

func (q *settler) tell(ctx context.Context, r report) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = q.s.unavailable(ctx, Event{Subject: r.subject, Actor: r.actor, SessionID: r.family.String()}, errors.New("the store panicked"))
		}
	}()
	subject, ok := q.s.codec.subjectKey(r.subject, r.family)
	if !ok {
		return nil // the family's root secret left the ring, and the family with it
	}
	if r.end != "" {
		_, err := q.s.revoke(ctx, r.Held, family.RevokeRequest{Subject: subject, Family: r.family, Proven: r.unsure, Reason: r.end})
		return err
	}
	opCtx, cancel := context.WithTimeout(ctx, q.s.timeout)
	defer cancel()
	e := Event{Kind: EventSettled, Subject: r.subject, Actor: r.actor, SessionID: r.family.String(), Generation: r.generation}
	if err := q.s.store.Settle(opCtx, subject, r.family, r.generation); err != nil {
		if ctx.Err() == nil {
			q.s.unavailable(ctx, e, err)
		}
		return err
	}
	q.s.record(ctx, e)
	return nil
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
