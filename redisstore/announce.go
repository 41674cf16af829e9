package redisstore

import (
	"context"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

const (
	// maxBatch is the number of families in one entry of the feed.
	maxBatch = 1000
	// maxUnannounced bounds what waits for a server that is away.
	maxUnannounced = 100_000
)

func (s *Store) feedKey() string { return s.prefix + ":feed" }

// dead are families of one subject that ended at a time.
type dead struct {
	subject family.Subject
	ids     []family.ID
	at      time.Time
	// unconfirmed: by a rotation, which waits for no replica.
	unconfirmed bool
}

// announce appends families to the feed, and notes with their subject that this
// is done: who revokes them again does not announce them again.
func (s *Store) announce(ctx context.Context, d dead) error {
	if len(d.ids) == 0 {
		return nil
	}
	if err := s.append(ctx, d.ids, d.at); err != nil {
		return err
	}
	note := s.run
	if d.unconfirmed {
		note = s.runDurably // replicas that have this write have that of the rotation too
	}
	if _, err := note(ctx, announcedScript, s.keys(d.subject), join(d.ids)); err != nil {
		s.log.WarnContext(ctx, "redisstore: an announcement was not noted: it will be repeated", "families", len(d.ids), "error", err)
	}
	return nil
}

// append writes families to the feed.
func (s *Store) append(ctx context.Context, ids []family.ID, at time.Time) error {
	for len(ids) > 0 {
		n := min(len(ids), maxBatch)
		window := max(s.window, time.Duration(s.followed.Load()))
		oldest := time.Now().Add(-window).UnixMilli()
		if _, err := s.runDurably(ctx, announceScript, []string{s.feedKey()}, join(ids[:n]), at.UnixMilli(), oldest, window.Milliseconds()); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// announceOrLater is for families that are dead in any case.
func (s *Store) announceOrLater(ctx context.Context, d dead) {
	if err := s.announce(ctx, d); err != nil {
		s.log.WarnContext(ctx, "redisstore: revocation not announced yet", "families", len(d.ids), "error", err)
		s.announceLater(d)
	}
}

// announceLater leaves families to the followers' goroutine.
func (s *Store) announceLater(d dead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unannounced)+len(d.ids) > maxUnannounced {
		s.log.Error("redisstore: too many revocations wait to be announced: other instances accept the access tokens of some until they expire", "families", len(d.ids))
		return
	}
	s.unannounced = append(s.unannounced, d.ids...)
}

// catchUp announces what could not be announced before. It does not note it with
// the subjects, of which there may be many: whoever revokes one of the families
// again announces it once more.
func (s *Store) catchUp(ctx context.Context) {
	s.mu.Lock()
	ids := s.unannounced
	s.unannounced = nil
	s.mu.Unlock()
	if err := s.append(ctx, ids, time.Now()); err != nil {
		s.announceLater(dead{ids: ids})
	}
}
