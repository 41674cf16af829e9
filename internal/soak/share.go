package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A sharedSession is used by two clients: its owner, who renews when the access
// token has run out, and a thief who has copied the cookies and keeps pace: he
// renews before each of the owner's renewals or after it, so that there is always
// somebody's successor that has not settled, and uses no access token as old as the
// settle time. He comes no closer to the owner's renewals than parallel tabs do.
// Nothing of theirs is lost, and both use the instance that ends such sessions.
type sharedSession struct {
	*trackedSession
	w            *world
	owner, thief *user
	precedes     bool              // he renews before the owner does
	former       map[string]string // the thief's cookies before his last rotation
	renewals     int               // of the owner, since the thief keeps pace
	failover     int64
}

// share lets an owner and a thief share one session after the other, until ctx ends.
func (w *world) share(ctx context.Context, r *rand.Rand, owner *user) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(w.lifetime/2))))
		owner.login(ctx, r)
		_, jar, sid := owner.state()
		if sid == "" {
			continue
		}
		s := &sharedSession{trackedSession: w.family(sid), w: w, owner: owner, precedes: r.IntN(2) == 0, failover: w.failovers.now()}
		s.trackedSession.thief.Store(true)
		s.thief = newUser(w, owner.name, false)
		s.thief.habits, s.thief.jar, s.thief.sid = owner.habits, jar, sid
		w.account.rides.Add(1)
		for s.round(ctx, r) {
			if f := w.failovers.now(); f != s.failover { // which may have lost what was counted
				s.failover, s.renewals = f, 0
			}
			if s.renewals > family.SharedAfter {
				w.account.violated("%s: a thief kept pace for %d renewals of the owner, and nobody noticed", owner.name, s.renewals)
			}
		}
		if ctx.Err() != nil {
			return
		}
		if owner.signedOut(sid); s.shared.Load() {
			w.account.ridesShared.Add(1)
			w.account.noticed(s.renewals)
		} else {
			w.account.ridesReused.Add(1)
		}
	}
}

// round is what happens between two renewals of the owner. It is false when the
// session is over, or ctx.
func (s *sharedSession) round(ctx context.Context, r *rand.Rand) bool {
	_, jar, _ := s.owner.state()
	expires, settle := read(jar["__Host-access"]).expires, s.w.settle()
	near := s.w.parallel() + settle/10 + time.Duration(r.Int64N(int64(settle/10)))
	if s.precedes {
		s.pauseUntil(ctx, expires.Add(-near))
		_, s.former, _ = s.thief.state()
		if !s.renew(ctx, s.thief, "/auth/token/refresh", http.StatusOK) {
			return false
		}
		s.onTime(time.Until(expires) > s.w.parallel())
	}
	rotated := time.Now()
	s.pauseUntil(ctx, expires.Add(settle/100))
	if !s.renew(ctx, s.owner, "/api", http.StatusNoContent) {
		return false
	}
	renewed := time.Now()
	s.renewals++
	if s.precedes {
		// His access token grows old: the former refresh token brings another.
		s.pauseUntil(ctx, rotated.Add(settle*9/10))
		s.thief.mu.Lock()
		s.thief.jar = s.former
		s.thief.mu.Unlock()
	} else {
		s.pauseUntil(ctx, renewed.Add(near))
	}
	if !s.renew(ctx, s.thief, "/auth/token/refresh", http.StatusOK) {
		return false
	}
	s.onTime(time.Since(renewed) < settle*95/100)
	// The owner shows that he keeps what he has.
	s.pauseUntil(ctx, renewed.Add(settle*12/10))
	return s.renew(ctx, s.owner, "/api", http.StatusNoContent)
}

// onTime notes that the machine was too slow for the thief to keep pace.
func (s *sharedSession) onTime(ok bool) {
	if !ok {
		s.renewals = 0
	}
}

// renew makes a request that renews if need be, until it is answered, and for the
// thief one with the access token that it brought. It is false when it is refused.
func (s *sharedSession) renew(ctx context.Context, who *user, path string, want int) bool {
	method := map[string]string{"/api": "GET"}[path]
	if method == "" {
		method = "POST"
	}
	began := time.Now()
	defer func() { s.onTime(time.Since(began) < s.w.patience()) }()
	for ctx.Err() == nil {
		life, jar, _ := who.state()
		rec := httptest.NewRecorder()
		s.w.account.requests.Add(1)
		s.w.ending.handler.ServeHTTP(rec, who.request(method, path, "", jar).WithContext(ctx))
		switch {
		case ctx.Err() != nil:
		case rec.Code == http.StatusServiceUnavailable:
			s.w.account.unavailable.Add(1)
			pause(ctx, 20*time.Millisecond)
		case rec.Code == http.StatusUnauthorized:
			s.refused.Store(true)
			return false
		case rec.Code != want:
			s.w.account.violated("%s: status %d for a session that is shared", who.name, rec.Code)
			return false
		default:
			who.keep(life, rec.Result())
			if who == s.thief && path != "/api" {
				s.w.account.rideTokens.Add(1)
				return s.renew(ctx, who, "/api", http.StatusNoContent)
			}
			return true
		}
	}
	return false
}

// pauseUntil waits for a moment, or until ctx ends.
func (s *sharedSession) pauseUntil(ctx context.Context, at time.Time) {
	pause(ctx, time.Until(at))
	s.onTime(time.Since(at) < s.w.patience())
}
