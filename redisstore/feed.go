package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sessionkit/sessionkit/refresh/family"
)

const (
	// maxBatch is the number of families in one entry of the feed.
	maxBatch = 1000
	// maxUnannounced bounds what waits for a server that is away.
	maxUnannounced = 100_000
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
	// checkEvery is the number of heartbeats between looks at the stream itself.
	checkEvery = 5
)

func (s *Store) feedKey() string { return s.prefix + ":feed" }

// announce appends families to the feed.
func (s *Store) announce(ctx context.Context, ids []family.ID, at time.Time) error {
	for len(ids) > 0 {
		n := min(len(ids), maxBatch)
		joined := make([]byte, 0, 16*n)
		for _, id := range ids[:n] {
			joined = append(joined, id[:]...)
		}
		window := max(s.window, time.Duration(s.followed.Load()))
		oldest := time.Now().Add(-window).UnixMilli()
		if _, err := s.runDurably(ctx, announceScript, s.feedKey(), joined, at.UnixMilli(), oldest, window.Milliseconds()); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// announceOrLater is for families that are dead in any case.
func (s *Store) announceOrLater(ctx context.Context, ids []family.ID, at time.Time) {
	if len(ids) == 0 {
		return
	}
	if err := s.announce(ctx, ids, at); err != nil {
		s.log.WarnContext(ctx, "redisstore: revocation not announced yet", "families", len(ids), "error", err)
		s.announceLater(ids)
	}
}

func (s *Store) announceLater(ids []family.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unannounced)+len(ids) > maxUnannounced {
		s.log.Error("redisstore: too many revocations wait to be announced: other instances accept the access tokens of some until they expire", "families", len(ids))
		return
	}
	s.unannounced = append(s.unannounced, ids...)
}

// catchUp announces what could not be announced before.
func (s *Store) catchUp(ctx context.Context) {
	s.mu.Lock()
	ids := s.unannounced
	s.unannounced = nil
	s.mu.Unlock()
	if len(ids) > 0 {
		s.announceOrLater(ctx, ids, time.Now())
	}
}

// Follow implements family.Feed.
func (s *Store) Follow(ctx context.Context, window time.Duration, on family.FeedHandler) error {
	// What is trimmed must be older than the followers' window, whatever
	// Config.FeedWindow says.
	for known := s.followed.Load(); int64(window) > known && !s.followed.CompareAndSwap(known, int64(window)); known = s.followed.Load() {
	}
	f := &follower{s: s, window: window, on: on}
	f.rewind()
	for {
		err := f.read(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.log.WarnContext(ctx, "redisstore: revocation feed interrupted", "error", unavailable(err))
			f.resume()
			if !sleep(ctx, lastPause) {
				return ctx.Err()
			}
			continue
		}
		s.catchUp(ctx)
	}
}

// A follower reads the stream once, from one place on.
type follower struct {
	s      *Store
	window time.Duration
	on     family.FeedHandler
	last   string // id of the last entry seen
	synced bool   // all of the window has been read
	idle   int    // heartbeats since the stream was looked at
}

// rewind starts again from the beginning of the window.
func (f *follower) rewind() {
	f.last = streamID(time.Now().Add(-f.window - overlap))
	f.synced = false
}

// resume goes back a little.
func (f *follower) resume() {
	if ms, ok := millisOf(f.last); ok {
		f.last = streamID(time.UnixMilli(ms).Add(-overlap))
	}
	f.synced, f.idle = false, checkEvery
}

func streamID(t time.Time) string { return strconv.FormatInt(max(0, t.UnixMilli()), 10) + "-0" }

func millisOf(id string) (int64, bool) {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	return n, err == nil
}

// read takes what there is, or waits for a heartbeat.
func (f *follower) read(ctx context.Context) error {
	if f.idle >= checkEvery {
		if err := f.check(ctx); err != nil {
			return err
		}
	}
	wait := block
	if !f.synced {
		wait = -1 // does not wait
	}
	streams, err := f.xread(ctx, wait)
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	n := 0
	for _, stream := range streams {
		for _, m := range stream.Messages {
			f.deliver(m)
			n++
		}
	}
	if n < pageSize {
		f.synced = true
		f.on.Synced()
	}
	if n == 0 {
		f.idle++
	} else if n < pageSize {
		sleep(ctx, gather)
	}
	return nil
}

// xread gives up in time on a connection that has gone silent, and at once
// when ctx ends; go-redis interrupts a blocking read for neither. The read
// then ends by itself with its result unread.
func (f *follower) xread(ctx context.Context, wait time.Duration) ([]redis.XStream, error) {
	ctx, cancel := context.WithTimeout(ctx, max(wait, 0)+f.s.timeout)
	defer cancel()
	args := &redis.XReadArgs{Streams: []string{f.s.feedKey(), f.last}, Count: pageSize, Block: wait}
	return bounded(ctx, false, func(ctx context.Context) ([]redis.XStream, error) {
		return f.s.feedClient.XRead(ctx, args).Result()
	})
}

// check notices a stream that was deleted, or is written by a server whose
// clock is behind: new entries would have ids that seem to be read already.
func (f *follower) check(ctx context.Context) error {
	f.idle = 0
	ctx, cancel := context.WithTimeout(ctx, f.s.timeout)
	defer cancel()
	info, err := bounded(ctx, f.s.honoursContext, func(ctx context.Context) (*redis.XInfoStream, error) {
		return f.s.feedClient.XInfoStream(ctx, f.s.feedKey()).Result()
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "no such key"):
		f.last = "0-0" // whatever comes is new
		return nil
	case err != nil:
		return fmt.Errorf("xinfo: %w", err)
	}
	if ms, ok := millisOf(info.LastGeneratedID); ok && compareIDs(info.LastGeneratedID, f.last) < 0 {
		f.last = streamID(time.UnixMilli(ms).Add(-f.window - overlap))
		f.synced = false
	}
	return nil
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
