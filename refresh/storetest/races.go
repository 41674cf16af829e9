package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// sameAnswer reports whether a caller can tell two verdicts apart. The attempt
// that did something hears Repeated when it asks again: that is the same to
// the client.
func sameAnswer(first, second family.Verdict) bool {
	if second.Outcome == family.Repeated && (first.Outcome == family.Rotated || first.Outcome == family.StoreBehind) {
		return first.Record.Generation == second.Record.Generation && first.Record.Current == second.Record.Current
	}
	return first.Outcome == second.Outcome && first.Record.Revoked == second.Record.Revoked &&
		(!first.Outcome.Accepted() || first.Record.Current == second.Record.Current)
}

func equalIDs(got, want []family.ID) bool { return slices.Equal(sorted(got), sorted(want)) }

// attemptAll calls every method and returns their errors.
func attemptAll(ctx context.Context, s family.Store, f family.Record, now time.Time) map[string]error {
	errs := make(map[string]error)
	_, errs["Start"] = s.Start(ctx, family.StartRequest{Record: loginOf(f.Subject, now), Now: now})
	_, errs["Rotate"] = s.Rotate(ctx, present(f, 0, now))
	errs["Settle"] = s.Settle(ctx, f.Subject, f.ID, 0)
	_, errs["Revoke"] = s.Revoke(ctx, one(f, family.ReasonLogout, now))
	_, errs["Find"] = s.Find(ctx, f.Subject, f.ID, now)
	_, errs["List"] = s.List(ctx, f.Subject, now)
	errs["Ping"] = s.Ping(ctx)
	return errs
}

func unavailable(h *harness, name string, err error) {
	h.Helper()
	if !errors.Is(err, family.ErrUnavailable) {
		h.Errorf("%s: %v, want an error that is ErrUnavailable", name, err)
	}
}

// racers is how many present one token at the same time.
const racers = 64

// race runs f in parallel, all released at once.
func race(h *harness, f func(i int) error) {
	h.Helper()
	var wg sync.WaitGroup
	gate := make(chan struct{})
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() { <-gate; errs[i] = f(i) })
	}
	close(gate)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		h.Fatal(err)
	}
}

// raceRotate lays one token before the family in parallel, each time as an
// attempt of its own, and counts the outcomes.
func raceRotate(h *harness, f family.Record, generation uint32, now time.Time) map[family.Outcome]int {
	h.Helper()
	verdicts := make([]family.Verdict, racers)
	race(h, func(i int) (err error) {
		verdicts[i], err = h.store.Rotate(h.Context(), present(f, generation, now))
		return err
	})
	count := make(map[family.Outcome]int)
	for _, v := range verdicts {
		count[v.Outcome]++
		if v.Outcome.Accepted() && (v.Record.Generation != generation+1 || v.Record.Current != hash(f.ID, generation+1)) {
			h.Errorf("%v gave generation %d: the family forked", v.Outcome, v.Record.Generation)
		}
	}
	return count
}

var raceRules = []rule{
	{"64 present one token: one rotates, all others get the same successor", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		for p := range uint32(4) {
			if n := raceRotate(h, f, p, t); n[family.Rotated] != 1 || n[family.Replayed] != racers-1 {
				h.Fatalf("generation %d: %v, want 1 rotated and %d replayed", p, n, racers-1)
			}
			h.settle(f, p+1)
		}
	}},
	{"64 present one token to a store that is behind: one moves it, all others get the same successor", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 1, true))
		if n := raceRotate(h, f, 3, t); n[family.StoreBehind] != 1 || n[family.Replayed] != racers-1 {
			h.Fatalf("%v, want 1 store behind and %d replayed", n, racers-1)
		}
	}},
	{"64 replay a settled generation's predecessor: one is told of reuse, all others of its end", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 2, true))
		if n := raceRotate(h, f, 1, t); n[family.Reused] != 1 || n[family.Gone] != racers-1 {
			h.Fatalf("%v, want 1 reused and %d gone", n, racers-1)
		}
	}},
	{"64 execute one attempt: all hear the same", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t)
		verdicts := make([]family.Verdict, racers)
		race(h, func(i int) (err error) {
			verdicts[i], err = h.store.Rotate(h.Context(), p)
			return err
		})
		for _, v := range verdicts {
			if v.Outcome != family.Rotated && v.Outcome != family.Repeated || v.Record.Current != hash(f.ID, 1) {
				h.Errorf("%v, generation %d", v.Outcome, v.Record.Generation)
			}
		}
	}},
	{"64 sign in at a limit: it is kept, and each eviction is reported once", func(h *harness) {
		t := now()
		subject := login(t).Subject
		results := make([]family.StartResult, racers)
		race(h, func(i int) (err error) {
			f := loginOf(subject, t.Add(time.Duration(i)*time.Millisecond))
			results[i], err = h.store.Start(h.Context(), family.StartRequest{Record: f, MaxSessions: 5, Now: t.Add(time.Minute)})
			return err
		})
		seen := make(map[family.ID]bool)
		for _, r := range results {
			for _, id := range r.Evicted {
				if seen[id] {
					h.Errorf("%v was evicted twice", id)
				}
				seen[id] = true
			}
		}
		if live := h.list(subject, t.Add(time.Minute)); len(live) != 5 || len(seen) != racers-5 {
			h.Errorf("%d alive and %d evicted, want 5 and %d", len(live), len(seen), racers-5)
		}
	}},
	{"64 sign in at a limit that refuses: as many get in as fit", func(h *harness) {
		t := now()
		subject := login(t).Subject
		results := make([]family.StartResult, racers)
		race(h, func(i int) (err error) {
			req := family.StartRequest{Record: loginOf(subject, t), MaxSessions: 5, RefuseAtLimit: true, Now: t}
			results[i], err = h.store.Start(h.Context(), req)
			return err
		})
		kept := 0
		for _, r := range results {
			if !r.Refused {
				kept++
			}
		}
		if live := h.list(subject, t); len(live) != 5 || kept != 5 {
			h.Errorf("%d alive and %d kept, want 5", len(live), kept)
		}
	}},
	{"a logout among 63 rotations wins", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		race(h, func(i int) (err error) {
			if i == racers/2 {
				_, err = h.store.Revoke(h.Context(), one(f, family.ReasonLogout, t))
				return err
			}
			v, err := h.store.Rotate(h.Context(), present(f, 0, t))
			if err == nil && !v.Outcome.Accepted() && v.Outcome != family.Gone {
				err = errors.New("unexpected outcome " + v.Outcome.String())
			}
			return err
		})
		h.lists(f.Subject, t)
		if got := h.find(f, t).Revoked; got != family.ReasonLogout {
			h.Errorf("reason %q, want %q", got, family.ReasonLogout)
		}
	}},
}
