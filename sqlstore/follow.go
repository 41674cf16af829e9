package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

const (
	// feedKept is how long the feed keeps revocations: longer than the longest
	// access token.
	feedKept = 25 * time.Hour
	// overlap is how far before the window a follower begins, for transactions that
	// take their time and for the clocks of two servers.
	overlap = time.Minute
	// catchUpTimeout bounds the first look, which reads a whole window.
	catchUpTimeout = 30 * time.Second
	// gather is the pause after each look, so that a burst of notifications costs
	// the server 50 looks a second and not one for each.
	gather = 20 * time.Millisecond
	// remindEvery is how often the log says that the feed is still cut off.
	remindEvery = 10 * time.Minute
)

func (s *Store) feedWindow() time.Duration {
	return max(feedKept, time.Duration(s.followed.Load())) + overlap
}

// Follow implements family.Feed. While the database is away it tries again every
// other second at most; the log has one line when it goes, one when it is back,
// and a reminder every ten minutes.
func (s *Store) Follow(ctx context.Context, window time.Duration, on family.FeedHandler) error {
	for known := s.followed.Load(); int64(window) > known && !s.followed.CompareAndSwap(known, int64(window)); known = s.followed.Load() {
	}
	f := &follower{s: s, window: window, on: on, woken: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.listen != nil {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		wg.Go(func() { f.listen(ctx) })
	}
	var away outage
	for pause := lastPause; ctx.Err() == nil; {
		if err := f.look(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			away.failed(ctx, s, err)
			sleep(ctx, pause)
			pause = min(2*pause, 2*time.Second)
			continue
		}
		away.over(ctx, s)
		pause = lastPause
		f.wait(ctx)
	}
	return ctx.Err()
}

// A follower reads the feed once, from one place on.
type follower struct {
	s      *Store
	window time.Duration
	on     family.FeedHandler
	woken  chan struct{}

	cursor, server string // of the last look; empty before the first

	mu        sync.Mutex
	listening bool
}

// look reports what the last look did not see. What another server says that has
// taken this one's place may lack what was seen, and name anew what it names: then
// all is reported again.
func (f *follower) look(ctx context.Context) error {
	limit := f.s.timeout
	if f.cursor == "" {
		limit = catchUpTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f.s.attempt(ctx, reading, func(ctx context.Context, c *sql.Conn) error {
		var rows *sql.Rows
		var err error
		if f.cursor == "" {
			rows, err = c.QueryContext(ctx, f.s.sql.catchUp, (f.window + overlap).Milliseconds())
		} else {
			rows, err = c.QueryContext(ctx, f.s.sql.news, f.cursor)
		}
		var cursor, server, readOnly string
		err = each(rows, err, func() error {
			var ids []byte
			var at sql.NullInt64
			if err := rows.Scan(&cursor, &server, &readOnly, &ids, &at); err != nil {
				return err
			}
			if readOnly == "on" {
				return errReadOnly
			}
			f.deliver(ids, time.UnixMilli(at.Int64))
			return nil
		})
		if err != nil {
			return err
		}
		if f.cursor != "" && server != f.server {
			f.cursor = ""
			f.wake()
			return nil
		}
		f.cursor, f.server = cursor, server
		f.on.Synced()
		return nil
	})
}

// deliver passes a row on.
func (f *follower) deliver(ids []byte, at time.Time) {
	for ; len(ids) >= len(family.ID{}); ids = ids[len(family.ID{}):] {
		f.on.Revoked(family.ID(ids[:len(family.ID{})]), at)
	}
}

// wait waits until it is time to look again.
func (f *follower) wait(ctx context.Context) {
	interval := f.s.interval
	f.mu.Lock()
	if f.listening {
		interval = heartbeat
	}
	f.mu.Unlock()
	t := time.NewTimer(interval)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-f.woken:
		sleep(ctx, gather)
	}
}

func (f *follower) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// listen is woken by notifications as long as there is a follower.
func (f *follower) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.listenOnce(ctx)
		f.hears(false)
		if ctx.Err() == nil {
			f.s.log.WarnContext(ctx, "sqlstore: Config.Listen ended: the feed looks at the table meanwhile", "error", err)
			sleep(ctx, heartbeat)
		}
	}
}

func (f *follower) listenOnce(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	return f.s.listen(ctx, f.s.channel, func() {
		f.hears(true)
		f.wake()
	})
}

func (f *follower) hears(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listening = yes
}

// An outage is what the log knows of a feed that is cut off.
type outage struct{ since, told time.Time }

func (o *outage) failed(ctx context.Context, s *Store, err error) {
	now := time.Now()
	switch {
	case o.since.IsZero():
		o.since, o.told = now, now
		s.log.WarnContext(ctx, "sqlstore: revocation feed interrupted: trying again", "error", unavailable(err))
	case now.Sub(o.told) >= remindEvery:
		o.told = now
		s.log.WarnContext(ctx, "sqlstore: revocation feed still interrupted", "for", now.Sub(o.since).Round(time.Second), "error", unavailable(err))
	}
}

func (o *outage) over(ctx context.Context, s *Store) {
	if !o.since.IsZero() {
		s.log.InfoContext(ctx, "sqlstore: revocation feed works again", "after", time.Since(o.since).Round(time.Millisecond))
		*o = outage{}
	}
}
