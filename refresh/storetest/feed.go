package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// patience bounds what a feed may take to report. Feeds take milliseconds; a
// busy machine may take longer.
const patience = 10 * time.Second

// A report is one call of FeedHandler.Revoked.
type report struct {
	id family.ID
	at time.Time
}

// A follower collects what a feed reports.
type follower struct {
	h       *harness
	revoked chan report
	synced  chan struct{}
	seen    map[family.ID]bool
	ended   chan error
	stop    context.CancelFunc
}

// follow starts following the store's feed and waits for the first catch-up.
// It skips the test for stores without one.
func follow(h *harness, s family.Store) *follower {
	h.Helper()
	feed, ok := s.(family.Feed)
	if !ok {
		h.Skip("the store has no feed")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.Context()))
	f := &follower{
		h: h, stop: cancel, ended: make(chan error, 1), synced: make(chan struct{}, 1),
		revoked: make(chan report, 1<<16), seen: make(map[family.ID]bool),
	}
	go func() { f.ended <- feed.Follow(ctx, time.Hour, f) }()
	h.Cleanup(func() { f.end() })
	f.sync()
	return f
}

// Revoked implements family.FeedHandler.
func (f *follower) Revoked(id family.ID, at time.Time) {
	f.revoked <- report{id, at}
}

// Synced implements family.FeedHandler.
func (f *follower) Synced() {
	select {
	case f.synced <- struct{}{}:
	default:
	}
}

// sync waits for the next sign of life.
func (f *follower) sync() {
	f.h.Helper()
	select {
	case <-f.synced:
	case err := <-f.ended:
		f.ended <- err
		f.h.Fatalf("Follow ended: %v", err)
	case <-time.After(patience):
		f.h.Fatalf("the feed was not synced within %v", patience)
	}
}

// hears waits until all the families were reported. Those of other tests,
// whose time may be another, are ignored.
func (f *follower) hears(want ...family.Record) {
	f.h.Helper()
	limit := time.After(patience)
	for _, w := range want {
		for !f.seen[w.ID] {
			select {
			case r := <-f.revoked:
				f.seen[r.id] = true
				if d := r.at.Sub(w.CreatedAt).Abs(); r.id == w.ID && d > time.Hour {
					f.h.Errorf("revoked at %v, %v from the login", r.at, d)
				}
			case err := <-f.ended:
				f.ended <- err
				f.h.Fatalf("Follow ended: %v", err)
			case <-limit:
				f.h.Fatalf("the feed did not report %v within %v", w.ID, patience)
			}
		}
	}
}

// end stops following and returns what Follow returned.
func (f *follower) end() error {
	f.stop()
	select {
	case err := <-f.ended:
		f.ended <- err
		return err
	case <-time.After(patience):
		return errors.New("storetest: Follow goes on after its context has ended")
	}
}

var feedRules = []rule{
	{"what this handle revokes is reported", func(h *harness) {
		f := follow(h, h.store)
		t := now()
		a, b, c := three(h, t)
		h.revoke(one(a, family.ReasonLogout, t))
		f.hears(a)
		h.revoke(all(a.Subject, t))
		f.hears(b, c)
	}},
	{"what another handle revokes is reported", func(h *harness) {
		f := follow(h, h.store)
		other := &harness{T: h.T, open: h.open, store: h.open(h.T)}
		t := now()
		a := h.keep(login(t))
		other.revoke(one(a, family.ReasonLogout, t))
		f.hears(a)
		h.lists(a.Subject, t)
	}},
	{"evictions, superseded sessions, reuse and mismatches that revoke are reported", func(h *harness) {
		f := follow(h, h.store)
		t := now()
		evicted := h.keep(login(t))
		next := loginOf(evicted.Subject, t.Add(time.Second))
		h.start(family.StartRequest{Record: next, MaxSessions: 1, Now: next.CreatedAt})
		f.hears(evicted)
		h.start(family.StartRequest{Record: loginOf(next.Subject, next.CreatedAt), Supersedes: ids(next), Now: next.CreatedAt})
		f.hears(next)
		reused := h.keep(at(login(t), 2, true))
		h.expect(family.Reused, present(reused, 1, t))
		f.hears(reused)
		elsewhere := h.keep(login(t))
		p := present(elsewhere, 0, t)
		p.Fingerprint, p.Policy.RevokeOnMismatch = client("home", "curl", ""), true
		h.expect(family.OtherClient, p)
		f.hears(elsewhere)
	}},
	{"a family that the store does not know is reported where it is proven, and only there", func(h *harness) {
		f := follow(h, h.store)
		t := now()
		named, proven := login(t), login(t)
		h.revoke(one(named, family.ReasonUser, t))
		req := one(proven, family.ReasonLogout, t)
		req.Proven = true
		h.revoke(req)
		f.hears(proven)
		if f.seen[named.ID] {
			h.Error("somebody's id, merely named, was reported")
		}
	}},
	{"a new follower first hears what happened within its window", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		h.revoke(all(a.Subject, t.Add(time.Minute)))
		follow(h, h.store).hears(a, b, c)
		follow(h, h.open(h.T)).hears(a, b, c)
	}},
	{"two followers hear the same", func(h *harness) {
		f, g := follow(h, h.store), follow(h, h.open(h.T))
		a := h.keep(login(now()))
		h.revoke(one(a, family.ReasonLogout, a.CreatedAt))
		f.hears(a)
		g.hears(a)
	}},
	{"a feed that works says so again and again", func(h *harness) {
		f := follow(h, h.store)
		f.sync()
		f.sync()
	}},
	{"a great many revocations at once are all reported", func(h *harness) {
		f := follow(h, h.store)
		t := now()
		subject := login(t).Subject
		var families []family.Record
		for range 1500 {
			families = append(families, h.keep(loginOf(subject, t)))
		}
		h.revoke(all(subject, t))
		f.hears(families...)
	}},
	{"following ends with its context", func(h *harness) {
		f := follow(h, h.store)
		if err := f.end(); !errors.Is(err, context.Canceled) {
			h.Errorf("Follow = %v, want context.Canceled", err)
		}
	}},
}
