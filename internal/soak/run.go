package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// run lets the clients live for the given time, or until ctx ends, and then
// closes the account.
func (w *world) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.options.duration)
	defer cancel()
	seed := w.options.seed
	var lives, troubles sync.WaitGroup
	if w.options.faults > 0 {
		troubles.Go(func() { w.trouble(ctx, rand.New(rand.NewPCG(seed, 1))) })
	}
	troubles.Go(func() { w.stepClocks(ctx, rand.New(rand.NewPCG(seed, 2))) })
	for i := range max(1, w.options.clients/50) {
		owner := newUser(w, fmt.Sprintf("shared-%d", i), false)
		owner.habits = habits{}
		w.users = append(w.users, owner)
		lives.Go(func() { w.share(ctx, rand.New(rand.NewPCG(seed, uint64(100+i))), owner) })
	}
	for i := range w.options.clients {
		u := newUser(w, fmt.Sprintf("user-%d", i), i%4 == 3)
		w.users = append(w.users, u)
		lives.Go(func() { u.live(ctx, rand.New(rand.NewPCG(seed, uint64(10_000+i)))) })
	}
	lives.Wait()
	w.probes.Wait()
	troubles.Wait()
	w.calm.Store(true)
	w.close()
}

// live is a client's life: tabs or an app at work, and now and then an accident.
func (u *user) live(ctx context.Context, r *rand.Rand) {
	pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/2))))
	u.login(ctx, r)
	var tabs sync.WaitGroup
	defer tabs.Wait()
	n := 1 + r.IntN(4)
	if u.native {
		n = 1
	}
	for range n {
		own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		tabs.Go(func() {
			switch {
			case u.native:
				u.app(ctx, own)
			case u.habits.keyed:
				u.keyedTab(ctx, own)
			default:
				u.tab(ctx, own)
			}
		})
	}
	if u.habits.streaming {
		own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		tabs.Go(func() { u.stream(ctx, own) })
	}
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(2*u.w.lifetime))))
		if ctx.Err() != nil {
			return
		}
		_, _, sid := u.state()
		switch chance := r.IntN(100); {
		case sid == "":
			u.login(ctx, r)
		case chance < 30 && !u.native:
			u.crash(r)
		case chance < 40:
			u.leave(ctx, r)
		case chance < 50:
			own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
			tabs.Go(func() { u.rob(ctx, own) })
		}
	}
}

// closing is how long the account may take to close for one session.
const closing = 30 * time.Second

// close finds out what became of every session. Redis works again.
func (w *world) close() {
	w.awaitReports()
	w.lastReplays()
	current := make(map[string]*user)
	for _, u := range w.users {
		if _, _, sid := u.state(); sid != "" {
			current[sid] = u
		}
	}
	a := &w.account
	w.families.Range(func(key, value any) bool {
		sid, f := key.(string), value.(*trackedSession)
		u := current[sid]
		switch {
		case f.ended.Load():
			a.ended.Add(1)
		case f.asked.Load():
			a.unanswered.Add(1)
		case f.over() && f.thief.Load():
			a.caught.Add(1)
		case f.over() && f.slow.Load():
			a.outside.Add(1)
		case f.over():
			a.violated("session %s had no thief and was not ended by its user: reuse detected %v, user refused %v, stream ended %v", sid, f.reused.Load(), f.refused.Load(), f.cut.Load())
		case u == nil:
			a.violated("session %s is lost, and nobody has ended it", sid)
		case u.renews():
			if f.thief.Load() {
				a.shared.Add(1)
			} else {
				a.finalAlive.Add(1)
			}
		case f.thief.Load():
			a.caught.Add(1)
		default:
			a.violated("%s: at the end an honest session is refused: %s", u.name, sid)
		}
		return true
	})
	if sum := a.ended.Load() + a.unanswered.Load() + a.caught.Load() + a.shared.Load() + a.finalAlive.Load() + a.outside.Load(); sum != a.logins.Load() {
		a.violated("%d sessions are accounted for, and %d were started", sum, a.logins.Load())
	}
}

// awaitReports waits until what users have proved has been reported to the
// store: from then on a stolen predecessor is good for nothing.
func (w *world) awaitReports() {
	deadline := time.Now().Add(closing)
	w.families.Range(func(key, value any) bool {
		f := value.(*trackedSession)
		for {
			proved, settled := f.marks()
			switch {
			case settled.generation >= proved.generation || f.asked.Load() || f.over():
				return true
			case time.Now().After(deadline):
				w.account.violated("session %s: generation %d is known to be kept, and %d is the last that was reported", key, proved.generation, settled.generation)
				return true
			}
			pause(context.Background(), 5*time.Millisecond)
		}
	})
}

// lastReplays lets every thief come back whose token's successor has settled.
func (w *world) lastReplays() {
	for i, t := range w.thieves {
		_, settled := t.family.marks()
		if t.out || settled.generation <= t.generation {
			continue
		}
		for deadline := time.Now().Add(closing); !t.present(context.Background(), w.instances[i%len(w.instances)]); pause(context.Background(), 20*time.Millisecond) {
			if time.Now().After(deadline) {
				w.account.violated("%s: no answer at the end", t.name)
				break
			}
		}
	}
}

// renews renews the session once more.
func (u *user) renews() bool {
	if u.renewsByKey() {
		return true
	}
	_, jar, _ := u.state()
	for deadline := time.Now().Add(closing); time.Now().Before(deadline); pause(context.Background(), 20*time.Millisecond) {
		req := u.request("POST", "/auth/token/refresh", "", jar)
		if u.native {
			req = u.request("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil)
		}
		rec := httptest.NewRecorder()
		u.w.instances[0].handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusServiceUnavailable {
			return rec.Code == http.StatusOK
		}
	}
	return false
}
