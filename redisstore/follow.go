package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sessionkit/sessionkit/refresh/family"
)

const (
	// pageSize is the number of entries per read.
	pageSize = 1000
	// block is how long a read waits for news, and so the heartbeat.
	block = time.Second
	// gather is the pause after each read, so that a burst of revocations
	// costs the server 50 reads a second and not one for each.
	gather = 20 * time.Millisecond
	// overlap is how far before the last entry reading resumes after a
	// failure: entries that a failover lost and wrote again have other ids.
	overlap = 10 * time.Second
	// longestPause is the pause between tries while the server is away.
	longestPause = 2 * time.Second
	// remindEvery is how often the log says that it still is.
	remindEvery = 10 * time.Minute
)

// Follow implements family.Feed. While the server is away it tries again every
// other second; the log has one line when it goes, one when it is back, and a
// reminder every ten minutes.
func (s *Store) Follow(ctx context.Context, window time.Duration, on family.FeedHandler) error {
	// What is trimmed must be older than the followers' window, whatever
	// Config.FeedWindow says.
	for known := s.followed.Load(); int64(window) > known && !s.followed.CompareAndSwap(known, int64(window)); known = s.followed.Load() {
	}
	f := &follower{s: s, window: window, on: on}
	f.rewind(time.Now())
	var away outage
	for pause := lastPause; ctx.Err() == nil; {
		if err := f.read(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			away.failed(ctx, s, err)
			f.resume()
			sleep(ctx, pause)
			pause = min(2*pause, longestPause)
			continue
		}
		away.over(ctx, s)
		pause = lastPause
		s.catchUp(ctx)
	}
	return ctx.Err()
}

// An outage is what the log knows of a feed that is cut off.
type outage struct{ since, told time.Time }

func (o *outage) failed(ctx context.Context, s *Store, err error) {
	now := time.Now()
	switch {
	case o.since.IsZero():
		o.since, o.told = now, now
		s.log.WarnContext(ctx, "redisstore: revocation feed interrupted: trying again", "error", unavailable(err))
	case now.Sub(o.told) >= remindEvery:
		o.told = now
		s.log.WarnContext(ctx, "redisstore: revocation feed still interrupted", "for", now.Sub(o.since).Round(time.Second), "error", unavailable(err))
	}
}

func (o *outage) over(ctx context.Context, s *Store) {
	if !o.since.IsZero() {
		s.log.InfoContext(ctx, "redisstore: revocation feed works again", "after", time.Since(o.since).Round(time.Millisecond))
		*o = outage{}
	}
}

// A follower reads the stream once, from one place on.
type follower struct {
	s      *Store
	window time.Duration
	on     family.FeedHandler
	last   string    // id of the last entry seen
	synced time.Time // when all was known last; zero while catching up
}

// rewind starts again from the beginning of the window before a time.
func (f *follower) rewind(t time.Time) {
	f.last = streamID(t.Add(-f.window - overlap))
	f.synced = time.Time{}
}

// resume goes back a little.
func (f *follower) resume() {
	if ms, ok := millisOf(f.last); ok {
		f.last = streamID(time.UnixMilli(ms).Add(-overlap))
	}
	f.synced = time.Time{}
}

func streamID(t time.Time) string { return strconv.FormatInt(max(0, t.UnixMilli()), 10) + "-0" }

func millisOf(id string) (int64, bool) {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	return n, err == nil
}

// read takes what there is, and says Synced, by news.lua, which proves that the
// server may write; for the next second it waits for what comes.
func (f *follower) read(ctx context.Context) error {
	if time.Since(f.synced) < block {
		return f.wait(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, f.s.timeout)
	defer cancel()
	news, err := bounded(ctx, f.s, f.s.honoursContext, func(ctx context.Context) (news, error) {
		return f.s.news(ctx, f.last, pageSize, max(f.s.window, time.Duration(f.s.followed.Load())))
	})
	if err != nil {
		return err
	}
	if f.lost(news.last) {
		return nil
	}
	for _, m := range news.entries {
		f.deliver(m)
	}
	if len(news.entries) < pageSize {
		f.synced = time.Now()
		f.on.Synced()
	}
	return nil
}

// lost notices a stream that was deleted, or is written by a server whose clock
// is behind: new entries would have ids that seem to be read already.
func (f *follower) lost(last string) bool {
	if last == "" {
		f.last = "0-0" // whatever comes is new
		return false
	}
	ms, ok := millisOf(last)
	if !ok || compareIDs(last, f.last) >= 0 {
		return false
	}
	f.rewind(time.UnixMilli(ms))
	return true
}

// wait waits for news until the next heartbeat is due.
func (f *follower) wait(ctx context.Context) error {
	streams, err := f.xread(ctx, block)
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for _, stream := range streams {
		for _, m := range stream.Messages {
			f.deliver(m)
		}
		sleep(ctx, gather)
	}
	return nil
}

// xread gives up in time on a connection that has gone silent, and at once
// when ctx ends; go-redis interrupts a blocking read for neither. The read
// then ends by itself with its result unread.
func (f *follower) xread(ctx context.Context, wait time.Duration) ([]redis.XStream, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+f.s.timeout)
	defer cancel()
	args := &redis.XReadArgs{Streams: []string{f.s.feedKey(), f.last}, Count: pageSize, Block: wait}
	return bounded(ctx, f.s, false, func(ctx context.Context) ([]redis.XStream, error) {
		return f.s.feedClient.XRead(ctx, args).Result()
	})
}

// news is what news.lua returns.
type news struct {
	last    string // id of the last entry, empty where there is none
	entries []redis.XMessage
}

func (s *Store) news(ctx context.Context, after string, most int, window time.Duration) (news, error) {
	oldest := time.Now().Add(-window - overlap).UnixMilli()
	reply, err := newsScript.Run(ctx, s.feedClient, []string{s.feedKey()}, after, most, oldest).Result()
	if err != nil {
		return news{}, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 2 {
		return news{}, errReply
	}
	n := news{last: field(parts, 0)}
	list, _ := parts[1].([]any)
	for _, e := range list {
		entry, _ := e.([]any)
		if len(entry) != 2 {
			return news{}, errReply
		}
		m := redis.XMessage{ID: field(entry, 0), Values: make(map[string]any)}
		values, _ := entry[1].([]any)
		for i := 0; i+1 < len(values); i += 2 {
			m.Values[field(values, i)] = field(values, i+1)
		}
		n.entries = append(n.entries, m)
	}
	return n, nil
}

func compareIDs(a, b string) int {
	am, as, _ := strings.Cut(a, "-")
	bm, bs, _ := strings.Cut(b, "-")
	if c := compareNumbers(am, bm); c != 0 {
		return c
	}
	return compareNumbers(as, bs)
}

func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// deliver passes an entry on. Entries of other makes are passed over.
func (f *follower) deliver(m redis.XMessage) {
	f.last = m.ID
	joined, _ := m.Values["f"].(string)
	ids, err := idsOf(joined)
	if err != nil {
		return
	}
	at := time.Now()
	if text, ok := m.Values["t"].(string); ok {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			at = time.UnixMilli(ms)
		}
	}
	for _, id := range ids {
		f.on.Revoked(id, at)
	}
}
