package storetest

import (
	"context"
	"math"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A row is one case of family.Decide: a record, a token laid before it, and
// the answer.
type row struct {
	name   string
	record family.Record
	token  uint32
	adapt  func(*family.RotateRequest)
	want   family.Outcome
}

// rows returns the table that docs/protocol.md draws, in its order, over
// families that began at t.
func rows(t time.Time) []row {
	f := func(generation uint32, settled bool) family.Record { return at(login(t), generation, settled) }
	elsewhere := func(p *family.RotateRequest) { p.Fingerprint = client("cafe", "firefox", "laptop") }
	// heldUp is made so long after the record's last rotation.
	heldUp := func(d time.Duration) func(*family.RotateRequest) {
		return func(p *family.RotateRequest) { p.Now, p.Policy.Settle = t.Add(d), time.Minute }
	}
	stranger := func(p *family.RotateRequest) { p.Fingerprint = client("home", "curl", "laptop") }
	unnamed := func(p *family.RotateRequest) { p.Fingerprint = client("home", "firefox", "") }
	revoking := func(p *family.RotateRequest) { stranger(p); p.Policy.RevokeOnMismatch = true }
	strict := func(p *family.RotateRequest) { p.Policy.SingleUse = true }
	refusing := func(p *family.RotateRequest) { p.Policy.RefuseStoreBehind = true }
	foreign := func(p *family.RotateRequest) { p.Hash[0] ^= 1; p.Successor[0] ^= 1 }
	after := func(d time.Duration) func(*family.RotateRequest) {
		return func(p *family.RotateRequest) { p.Now = t.Add(d) }
	}
	busy := f(4, false)
	busy.RotatedAt = t.Add(lifetime - time.Hour)
	// made is g, not settled, made and handed out at these times; ruled asks
	// at a time, where settling takes a minute.
	made := func(rotated, used time.Duration, change ...func(*family.Record)) family.Record {
		r := f(2, false)
		r.RotatedAt, r.UsedAt = t.Add(rotated), t.Add(used)
		for _, c := range change {
			c(&r)
		}
		return r
	}
	ruled := func(d time.Duration, change ...func(*family.Policy)) func(*family.RotateRequest) {
		return func(p *family.RotateRequest) {
			p.Now, p.Policy.Settle = t.Add(d), time.Minute
			for _, c := range change {
				c(&p.Policy)
			}
		}
	}
	settled := func(r *family.Record) { r.Settled = true }
	row4 := func(r *family.Record) { r.TwiceInRow = family.SharedAfter - 1 }
	row5 := func(r *family.Record) { r.Twice, r.TwiceInRow = true, family.SharedAfter }
	forgotten := func(r *family.Record) { r.Remember = false }
	end := func(p *family.Policy) { p.EndShared = true }
	once := func(p *family.Policy) { p.SingleUse = true }
	shortIdle := func(p *family.Policy) { p.Idle = time.Hour }
	longer := func(p *family.Policy) { p.Idle, p.Absolute, p.Browser = 2*idle, 2*lifetime, 2*lifetime }
	shortLife := func(p *family.Policy) { p.Absolute = 2 * time.Hour }
	shortBrowser := func(p *family.Policy) { p.Browser = 2 * time.Hour }
	const h = time.Hour
	dpop, dbsc := deviceKey(family.KeyDPoP, "phone"), deviceKey(family.KeyDBSC, "laptop")
	keyed := func(key family.Key) family.Record {
		r := f(2, false)
		r.Key = key
		return r
	}
	proof := func(key family.Key, change ...func(*family.RotateRequest)) func(*family.RotateRequest) {
		return func(p *family.RotateRequest) {
			p.Key, p.Proof = key, family.Proof{7}
			for _, c := range change {
				c(p)
			}
		}
	}
	used := keyed(dpop)
	used.Seen = []family.SeenProof{{Proof: family.Proof{7}, By: [4]byte{9}}}
	within := func(d time.Duration) func(*family.Policy) {
		return func(p *family.Policy) { p.KeyWithin = d }
	}
	stepUp := func(p *family.RotateRequest) { p.StepUp = &family.StepUp{Time: t.Truncate(time.Second), ACR: "again"} }
	unbound := f(0, false)
	unbound.Fingerprint = family.Fingerprint{}
	return []row{
		{"at its idle timeout: gone", f(2, true), 2, after(idle), family.Gone},
		{"a millisecond before its idle timeout: rotated", f(2, true), 2, after(idle - time.Millisecond), family.Rotated},
		{"at the end of its absolute lifetime, however busy: gone", busy, 4, after(lifetime), family.Gone},
		{"a millisecond before that end: rotated", busy, 4, after(lifetime - time.Millisecond), family.Rotated},

		{"at the idle timeout of today, if that is shorter: gone", made(0, 0), 2, ruled(h, shortIdle), family.Gone},
		{"a millisecond before it: rotated", made(0, 0), 2, ruled(h-time.Millisecond, shortIdle), family.Rotated},
		{"used meanwhile, the idle timeout of today starts from there: rotated", made(0, h/2), 2, ruled(h, shortIdle), family.Rotated},
		{"at the absolute lifetime of today, if that is shorter: gone", made(h, h), 2, ruled(2*h, shortLife), family.Gone},
		{"a millisecond before that lifetime: rotated", made(h, h), 2, ruled(2*h-time.Millisecond, shortLife), family.Rotated},
		{"at the lifetime of today of logins that end with the browser: gone", made(h, h, forgotten), 2, ruled(2*h, shortBrowser), family.Gone},
		{"each kind of login has its own lifetime: rotated", made(h, h), 2, ruled(2*h, shortBrowser), family.Rotated},
		{"the other kind too: rotated", made(h, h, forgotten), 2, ruled(2*h, shortLife), family.Rotated},
		{"timeouts of today that are longer change nothing: gone", made(0, 0), 2, ruled(idle, longer), family.Gone},

		{"an enforced component differs: other client", f(2, true), 2, stranger, family.OtherClient},
		{"an enforced component is missing: other client", f(2, true), 2, unnamed, family.OtherClient},
		{"an enforced component differs, policy says revoke: other client", f(2, true), 2, revoking, family.OtherClient},
		{"a reported component differs: rotated", f(2, true), 2, elsewhere, family.Rotated},
		{"nothing is bound: rotated for anybody", unbound, 0, stranger, family.Rotated},
		{"another client cannot end the family by replaying", f(2, true), 1, stranger, family.OtherClient},
		{"another client cannot move the store forward", f(2, true), 7, stranger, family.OtherClient},

		{"bound to a key, with a proof of it: rotated", keyed(dpop), 2, proof(dpop), family.Rotated},
		{"bound to a key, the predecessor with a proof: replay", keyed(dpop), 1, proof(dpop), family.Replayed},
		{"bound to a key, without a proof: unproven", keyed(dpop), 2, nil, family.Unproven},
		{"bound to a key, with a proof of another: unproven", keyed(dpop), 2, proof(deviceKey(family.KeyDPoP, "other")), family.Unproven},
		{"bound to a key, with a proof that was used: unproven", used, 2, proof(dpop), family.Unproven},
		{"bound to a key, a proof that was used does not end the family by a replay", used, 0, proof(dpop), family.Unproven},
		{"bound to a key, an old token without a proof: unproven", keyed(dpop), 0, nil, family.Unproven},
		{"bound to a key, ahead of the store without a proof: unproven", keyed(dpop), 7, nil, family.Unproven},
		{"bound to a key, an old token with a proof: reuse", keyed(dpop), 0, proof(dpop), family.Reused},
		{"bound to a key, another client with a proof: other client", keyed(dpop), 2, proof(dpop, stranger), family.OtherClient},
		{"bound to a browser's key: no token rotates", keyed(dbsc), 2, nil, family.Unproven},
		{"bound to a browser's key: no token of a past generation harms", keyed(dbsc), 0, nil, family.Unproven},
		{"not bound, with a proof: rotated", f(2, false), 2, proof(dpop), family.Rotated},
		{"not bound, a moment before it has to be: rotated", f(2, false), 2, ruled(time.Minute-time.Millisecond, within(time.Minute)), family.Rotated},
		{"not bound when it has to be: gone", f(2, false), 2, ruled(time.Minute, within(time.Minute)), family.Gone},
		{"not bound when it has to be, another client: other client", f(2, false), 2, func(p *family.RotateRequest) { ruled(time.Minute, within(time.Minute))(p); stranger(p) }, family.OtherClient},
		{"bound when it has to be: rotated", keyed(dpop), 2, proof(dpop, ruled(time.Minute, within(time.Minute))), family.Rotated},

		{"p = g, fresh, a step-up: rotated", made(0, 0), 2, func(p *family.RotateRequest) { ruled(0)(p); stepUp(p) }, family.Rotated},
		{"p = g-1, a step-up: replay", f(2, false), 1, stepUp, family.Replayed},
		{"p = g+1, a step-up: store behind", f(2, false), 3, stepUp, family.StoreBehind},
		{"p = g-1, settled, a step-up: reuse", f(2, true), 1, stepUp, family.Reused},

		{"p = g, younger than the fresh time: fresh", made(0, 0), 2, ruled(45*time.Second - time.Millisecond), family.Fresh},
		{"p = g, as old as the fresh time: rotated", made(0, 0), 2, ruled(45 * time.Second), family.Rotated},
		{"p = g, the first one, younger than the fresh time: fresh", f(0, false), 0, ruled(0), family.Fresh},
		{"p = g, handed out again within the fresh time: fresh", made(0, h), 2, ruled(h + 44*time.Second), family.Fresh},
		{"p = g, fresh, another hash: reuse", made(0, 0), 2, func(p *family.RotateRequest) { ruled(0)(p); foreign(p) }, family.Reused},
		{"p = g, fresh, another client: other client", made(0, 0), 2, func(p *family.RotateRequest) { ruled(0)(p); stranger(p) }, family.OtherClient},
		{"p = g, fresh, a reported component differs: fresh", made(0, 0), 2, func(p *family.RotateRequest) { ruled(0)(p); elsewhere(p) }, family.Fresh},
		{"p = g, fresh, single use: rotated", made(0, 0), 2, ruled(0, once), family.Rotated},
		{"p = g, made by a clock that is ahead as clocks may be: fresh", made(30*time.Second, 30*time.Second), 2, ruled(0), family.Fresh},
		{"p = g, made by a clock that is further ahead: rotated", made(h, h), 2, ruled(0), family.Rotated},
		{"p = g, handed out by a clock that is further ahead: as old as it is", made(0, h), 2, ruled(45 * time.Second), family.Rotated},
		{"p = g, settled, made by a clock that is ahead: fresh", made(30*time.Second, 30*time.Second, settled), 2, ruled(0), family.Fresh},

		{"p = g, not settled: rotated", f(0, false), 0, nil, family.Rotated},
		{"p = g, settled: rotated", f(2, true), 2, nil, family.Rotated},
		{"p = g, another hash: reuse", f(2, false), 2, foreign, family.Reused},

		{"p = g-1, not settled: replay", f(2, false), 1, nil, family.Replayed},
		{"p = g-1, again as another tab may: replay", made(0, 0), 1, ruled(20 * time.Second), family.Replayed},
		{"p = g-1, again and later than that: replay, counted", made(0, 0), 1, ruled(20*time.Second + time.Millisecond), family.Replayed},
		{"p = g-1, again after the settle time: replay, late", made(0, 0), 1, ruled(time.Minute + time.Millisecond), family.Replayed},
		{"p = g-1, again and again: replay, counted once", made(0, 0, func(r *family.Record) { r.Twice, r.TwiceInRow = true, 2 }), 1, ruled(h), family.Replayed},
		{"p = g-1, twice as often in a row as honest clients: replay, shared", made(0, 0, row4), 1, ruled(h), family.Replayed},
		{"p = g-1, shared, the time after: replay, shared", made(0, 0, row5), 1, ruled(h), family.Replayed},
		{"p = g-1, shared, again as another tab may: replay", made(0, 0, row4), 1, ruled(20 * time.Second), family.Replayed},
		{"p = g-1, shared, policy says end: reuse", made(0, 0, row4), 1, ruled(h, end), family.Reused},
		{"p = g-1, not shared yet, policy says end: replay", made(0, 0), 1, ruled(h, end), family.Replayed},
		{"p = g, shared, policy says end: rotated", made(0, 0, row5), 2, ruled(h, end), family.Rotated},
		{"p = g-1, again at once: replay, not written down", made(0, 0), 1, ruled(5 * time.Second), family.Replayed},
		{"p = g-1, again after an eighth of the fresh time: replay, used", made(0, 0), 1, ruled(6 * time.Second), family.Replayed},
		{"p = g-1, from before g, not settled: replay, not used", made(0, 0), 1, ruled(-h), family.Replayed},

		{"p = g-1, settled: reuse", f(2, true), 1, nil, family.Reused},
		{"p = g-1, not settled, another successor: reuse", f(2, false), 1, foreign, family.Reused},
		{"p = g-1, not settled, single use: reuse", f(2, false), 1, strict, family.Reused},
		{"p = g-2, not settled: reuse", f(2, false), 0, nil, family.Reused},
		{"p = g-2, settled: reuse", f(3, true), 1, nil, family.Reused},

		{"p = g-1, settled, from before it can have settled: overtaken", f(2, true), 1, heldUp(29 * time.Second), family.Overtaken},
		{"p = g-1, settled, from when it can have settled: reuse", f(2, true), 1, heldUp(31 * time.Second), family.Reused},
		{"p = g-2, from before g: overtaken", f(2, true), 0, heldUp(-31 * time.Second), family.Overtaken},
		{"p = g-2, from about when g was made: reuse", f(2, true), 0, heldUp(-29 * time.Second), family.Reused},

		{"p = g+1: store behind", f(2, true), 3, nil, family.StoreBehind},
		{"p = g+1, whatever the hash: store behind", f(2, false), 3, foreign, family.StoreBehind},
		{"p = g+1, single use: store behind", f(2, false), 3, strict, family.StoreBehind},
		{"p far beyond g: store behind", f(0, false), 1 << 30, nil, family.StoreBehind},
		{"p = g+1, policy says refuse: refused", f(2, true), 3, refusing, family.StoreBehindRefused},
	}
}

var rotationRules = append([]rule{
	{"unknown family: gone", func(h *harness) {
		t := now()
		f := login(t)
		h.expect(family.Gone, present(f, 0, t))
		h.holdsNothing(f, t)
	}},
	{"unknown family of a known subject: gone, the known one untouched", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Gone, present(loginOf(f.Subject, t), 0, t))
		h.holds(f, t)
	}},
	{"a family is known by its subject and its id", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		other := f
		other.Subject = login(t).Subject
		h.expect(family.Gone, present(other, 0, t))
		h.settle(other, 0)
		if dead := h.revoke(one(other, family.ReasonLogout, t)); len(dead) > 0 {
			h.Errorf("revoked for another subject: %v", dead)
		}
		h.holds(f, t)
	}},
	{"revoked: gone, and the reason is told", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.revoke(one(f, family.ReasonPassword, t))
		for p := range uint32(3) {
			if v := h.expect(family.Gone, present(f, p, t)); v.Record.Revoked != family.ReasonPassword {
				h.Errorf("generation %d: reason %q, want %q", p, v.Record.Revoked, family.ReasonPassword)
			}
		}
	}},
	{"reuse kills every generation of the family and no other family", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 3, true))
		sibling := h.keep(loginOf(f.Subject, t))
		h.expect(family.Reused, present(f, 2, t))
		for p := range uint32(6) {
			if v := h.expect(family.Gone, present(f, p, t)); v.Record.Revoked != family.ReasonReuse {
				h.Errorf("generation %d: reason %q, want %q", p, v.Record.Revoked, family.ReasonReuse)
			}
		}
		h.lists(f.Subject, t, sibling)
	}},
	{"the successor of the successor is accepted, and the chain goes on", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		for p := range uint32(20) {
			t = t.Add(time.Minute)
			v := h.expect(family.Rotated, present(f, p, t))
			if v.Record.Generation != p+1 || v.Record.Current != hash(f.ID, p+1) || v.Record.Settled {
				h.Fatalf("after generation %d: %+v", p, v.Record)
			}
		}
	}},
	{"a settled generation's predecessor is reuse, always", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Rotated, present(f, 0, t))
		h.expect(family.Replayed, present(f, 0, t))
		h.settle(f, 1)
		h.expect(family.Reused, present(f, 0, t))
	}},
	{"a replay answers as long as it takes", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Rotated, present(f, 0, t))
		before := h.find(f, t)
		for range 10 {
			t = t.Add(24 * time.Hour)
			h.expect(family.Replayed, present(f, 0, t))
			before.UsedAt = t // and nothing else
			h.holds(before, t)
		}
	}},
	{"a replay that comes after a rotation unsettles nothing", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 3, true))
		h.expect(family.Rotated, present(f, 3, t))
		h.settle(f, 3) // the generation before: too late
		h.expect(family.Replayed, present(f, 3, t))
	}},
	{"settling another generation than the current one changes nothing", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 3, false))
		for _, g := range []uint32{0, 2, 4, 1 << 30, math.MaxUint32} {
			h.settle(f, g)
			h.holds(f, t)
		}
		h.expect(family.Replayed, present(f, 2, t))
	}},
	{"settling an unknown, expired or revoked family changes nothing", func(h *harness) {
		t := now()
		f := login(t)
		h.settle(f, 0)
		h.holdsNothing(f, t)
		h.keep(f)
		h.revoke(one(f, family.ReasonLogout, t))
		before := h.find(f, t)
		h.settle(f, 0)
		h.holds(before, t)
	}},
	{"the idle timeout slides with each rotation, never past the absolute lifetime", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		step := idle - time.Hour
		h.expect(family.Rotated, present(f, 0, t.Add(step)))
		h.expect(family.Rotated, present(f, 1, t.Add(2*step)))
		last := t.Add(lifetime - time.Millisecond)
		h.expect(family.Rotated, present(f, 2, last))
		h.lists(f.Subject, last, h.find(f, last))
		h.expect(family.Gone, present(f, 3, t.Add(lifetime)))
		h.lists(f.Subject, t.Add(lifetime))
	}},
	{"a rotation by a slow clock does not shorten the idle timeout", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		if v := h.expect(family.Rotated, present(f, 0, t.Add(-30*time.Second))); !v.Record.RotatedAt.Equal(t) {
			h.Errorf("RotatedAt moved back from %v to %v", t, v.Record.RotatedAt)
		}
	}},
	{"a client all of whose answers are lost stays signed in while it is busy, to the end of the login", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		last := t.Add(lifetime - time.Millisecond)
		h.expect(family.Rotated, present(f, 0, t.Add(time.Hour)))
		for at := t.Add(time.Hour + idle - time.Second); at.Before(last); at = at.Add(idle - time.Second) {
			h.expect(family.Replayed, present(f, 0, at))
		}
		h.expect(family.Replayed, present(f, 0, last))
		h.lists(f.Subject, last, h.find(f, last))
		h.expect(family.Gone, present(f, 0, t.Add(lifetime)))
	}},
	{"a fresh generation is handed out as often as asked for, and rotated when it is old enough", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		at := func(generation uint32, d time.Duration) family.RotateRequest {
			p := present(f, generation, t.Add(d))
			p.Policy.Settle = time.Minute
			return p
		}
		for d := time.Duration(0); d < 45*time.Second; d += 5 * time.Second {
			h.expect(family.Fresh, at(0, d))
			h.holds(f, t)
		}
		h.expect(family.Rotated, at(0, 45*time.Second))
		h.expect(family.Fresh, at(1, 50*time.Second))
		h.expect(family.Replayed, at(0, 51*time.Second)) // handed out again
		h.expect(family.Fresh, at(1, 95*time.Second))
		h.expect(family.Rotated, at(1, 96*time.Second))
	}},
	{"a clock that was hours ahead is corrected by the next rotation: reuse is found, and the idle timeout is not cut", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		at := func(generation uint32, d time.Duration) family.RotateRequest {
			p := present(f, generation, t.Add(d))
			p.Policy.Settle = time.Minute
			return p
		}
		h.expect(family.Rotated, at(0, 6*time.Hour))
		v := h.expect(family.Rotated, at(1, time.Minute))
		if latest := t.Add(time.Minute + family.ClockSkew); v.Record.RotatedAt.After(latest) {
			h.Errorf("RotatedAt is %v, want at most %v", v.Record.RotatedAt, latest)
		}
		h.expect(family.Rotated, at(2, 3*time.Minute))
		h.expect(family.Reused, at(0, 4*time.Minute))
	}},
	{"a clock that is hours behind does not cut the idle timeout", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Rotated, present(f, 0, t.Add(6*time.Hour)))
		h.expect(family.Rotated, present(f, 1, t))
		h.expect(family.Replayed, present(f, 1, t))
		got := h.find(f, t)
		if used := got.LastUsed(); used.Before(t.Add(6 * time.Hour)) {
			h.Errorf("last used at %v, want no earlier than %v", used, t.Add(6*time.Hour))
		}
	}},
	{"generations that are presented twice in a row are counted, and one that is not ends the row", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		at := func(generation uint32) family.RotateRequest {
			p := present(f, generation, t)
			p.Policy.Settle = time.Minute
			return p
		}
		twice := func(g uint32) family.Verdict {
			t = t.Add(10 * time.Minute)
			h.expect(family.Rotated, at(g))
			t = t.Add(5 * time.Minute)
			h.expect(family.Replayed, at(g))
			t = t.Add(time.Minute)
			return h.expect(family.Replayed, at(g))
		}
		for g := range uint32(family.SharedAfter - 1) {
			if v := twice(g); v.Shared || v.Record.TwiceInRow != uint8(g)+1 {
				h.Fatalf("generation %d: shared %t, in a row %d", g, v.Shared, v.Record.TwiceInRow)
			}
		}
		t = t.Add(10 * time.Minute)
		h.expect(family.Rotated, at(family.SharedAfter-1))
		for g := range uint32(family.SharedAfter + 2) {
			v := twice(family.SharedAfter + g)
			if want := g >= family.SharedAfter-1; v.Shared != want {
				h.Fatalf("generation %d after the row ended: shared %t, in a row %d", g, v.Shared, v.Record.TwiceInRow)
			}
		}
		t = t.Add(10 * time.Minute)
		p := at(2*family.SharedAfter + 1)
		p.Policy.EndShared = true
		if v := h.expect(family.Reused, p); !v.Shared || v.Record.Revoked != family.ReasonShared {
			h.Fatalf("shared %t, reason %q", v.Shared, v.Record.Revoked)
		}
		if v := h.expect(family.Reused, p); !v.Shared {
			h.Error("the attempt that ended it does not hear again why")
		}
		if v := h.expect(family.Gone, at(0)); v.Record.Revoked != family.ReasonShared {
			h.Errorf("reason %q", v.Record.Revoked)
		}
	}},
	{"what is only reported follows the client; what is enforced stays", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t)
		p.Fingerprint = client("cafe", "firefox", "laptop")
		p.Device = family.Device{UserAgent: "Chrome on Android", IP: "2001:db8::1"}
		v := h.expect(family.Rotated, p)
		if v.Differs != family.IP || v.Record.Fingerprint != p.Fingerprint || v.Record.Device != p.Device {
			h.Errorf("Differs %q, family %+v", v.Differs, v.Record)
		}
		h.holds(v.Record, t)
		p = present(f, 1, t)
		p.Fingerprint = client("cafe", "firefox", "laptop")
		if v = h.expect(family.Rotated, p); v.Differs != 0 {
			h.Errorf("Differs is %q for a client that the family has followed", v.Differs)
		}
	}},
	{"an enforced component that the login lacked stays unbound", func(h *harness) {
		t := now()
		f := login(t)
		f.Fingerprint = client("home", "firefox", "")
		h.keep(f)
		if v := h.expect(family.Rotated, present(f, 0, t)); v.Record.Fingerprint != f.Fingerprint {
			h.Errorf("fingerprint %v, want %v", v.Record.Fingerprint, f.Fingerprint)
		}
	}},
	{"a mismatch leaves the family alone, or ends it where policy says so", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 2, false))
		p := present(f, 2, t)
		p.Fingerprint = client("home", "firefox", "phone")
		if v := h.expect(family.OtherClient, p); v.Differs != family.DeviceID {
			h.Errorf("Differs is %q, want %q", v.Differs, family.DeviceID)
		}
		h.holds(f, t)
		p.Policy.RevokeOnMismatch, p.Attempt = true, attempt()
		h.expect(family.OtherClient, p)
		if v := h.expect(family.Gone, present(f, 2, t)); v.Record.Revoked != family.ReasonMismatch {
			h.Errorf("reason %q, want %q", v.Record.Revoked, family.ReasonMismatch)
		}
	}},
	{"a store that lost writes is moved forward by the token, once", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 2, true)) // what survived; the client is at 4
		v := h.expect(family.StoreBehind, present(f, 4, t))
		if v.Record.Generation != 5 || v.Record.Current != hash(f.ID, 5) || v.Record.Settled {
			h.Fatalf("after moving forward: %+v", v.Record)
		}
		h.expect(family.Replayed, present(f, 4, t)) // the other tab
		h.expect(family.Rotated, present(f, 5, t))
	}},
	{"a store that lost a rotation hands out the same successor again", func(h *harness) {
		t := now()
		f := login(t)
		first := h.keep(f)
		lost := h.expect(family.Rotated, present(first, 0, t))
		second := f // the record before, in a store that forgot: another subject stands for it
		second.Subject = login(t).Subject
		h.keep(second)
		again := h.expect(family.Rotated, present(second, 0, t))
		if lost.Record.Current != again.Record.Current {
			h.Error("the family forked")
		}
	}},
}, decisionTable()...)

// decisionTable makes a rule of every row: the store answers, and keeps
// afterwards, what Decide says.
func decisionTable() []rule {
	var rules []rule
	for i, r := range rows(time.Time{}) {
		rules = append(rules, rule{r.name, func(h *harness) {
			t := now()
			r := rows(t)[i]
			h.keep(r.record)
			p := present(r.record, r.token, t)
			if r.adapt != nil {
				r.adapt(&p)
			}
			want := family.Decide(&r.record, p)
			if want.Outcome != r.want {
				h.Fatalf("Decide says %v, the table %v", want.Outcome, r.want)
			}
			if d := diffVerdict(h.rotate(p), want); d != "" {
				h.Fatal(d)
			}
			if want.Outcome == family.Gone && !r.record.Alive(p.Now) {
				h.holdsNothing(r.record, p.Now)
				return
			}
			h.holds(want.Record, p.Now)
		}})
	}
	return rules
}

var retryRules = []rule{
	{"each operation done twice answers and leaves what it did once", func(h *harness) {
		t := now()
		for _, r := range rows(t) {
			h.keep(r.record)
			p := present(r.record, r.token, t)
			if r.adapt != nil {
				r.adapt(&p)
			}
			first := h.rotate(p)
			after := h.find(r.record, p.Now)
			for range 3 {
				second := h.rotate(p)
				if !sameAnswer(first, second) {
					h.Errorf("%s: first %v of generation %d, then %v of generation %d", r.name,
						first.Outcome, first.Record.Generation, second.Outcome, second.Record.Generation)
				}
				if d := diffFamily(h.find(r.record, p.Now), after); d != "" {
					h.Errorf("%s: the retry changed the record: %s", r.name, d)
				}
			}
		}
	}},
	{"a late retry of the attempt before the last is neither replay nor reuse", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		late := present(f, 0, t)
		h.expect(family.Rotated, late)
		h.expect(family.Replayed, present(f, 0, t)) // another tab
		h.expect(family.Rotated, present(f, 1, t))
		h.settle(f, 2)
		v := h.expect(family.Repeated, late)
		if v.Record.Generation != 2 || v.Record.Current != hash(f.ID, 2) {
			h.Errorf("the retry was given generation %d", v.Record.Generation)
		}
		h.lists(f.Subject, t, v.Record)
	}},
	{"another attempt with the same token is no retry", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Rotated, present(f, 0, t))
		h.expect(family.Rotated, present(f, 1, t))
		h.expect(family.Reused, present(f, 0, t))
	}},
	{"an attempt's name does not carry over to other generations", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		first := present(f, 0, t)
		h.expect(family.Rotated, first)
		for g := uint32(1); g < 4; g++ {
			h.expect(family.Rotated, present(f, g, t))
		}
		p := present(f, 1, t)
		p.Attempt = first.Attempt
		h.expect(family.Reused, p)
	}},
	{"a rotation repeated after a logout does not bring the family back", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t)
		h.expect(family.Rotated, p)
		h.revoke(one(f, family.ReasonLogout, t))
		h.expect(family.Gone, p)
		h.lists(f.Subject, t)
	}},
	{"the attempt that ended a family hears again how", func(h *harness) {
		t := now()
		f := h.keep(at(login(t), 2, true))
		p := present(f, 1, t)
		h.expect(family.Reused, p)
		h.expect(family.Reused, p)
		h.expect(family.Gone, present(f, 1, t))
	}},
	{"start repeated keeps one family and evicts nobody twice", func(h *harness) {
		t := now()
		old := h.keep(login(t))
		spare := h.keep(loginOf(old.Subject, t.Add(time.Second)))
		f := loginOf(old.Subject, t.Add(2*time.Second))
		req := family.StartRequest{Record: f, MaxSessions: 2, Now: f.CreatedAt}
		for range 3 {
			if res := h.start(req); res.Refused || !equalIDs(res.Evicted, ids(old)) {
				h.Fatalf("%+v, want only %v evicted", res, old.ID)
			}
			h.lists(f.Subject, req.Now, f, spare)
		}
	}},
	{"start repeated at the limit is not refused for what it kept", func(h *harness) {
		t := now()
		f := login(t)
		req := family.StartRequest{Record: f, MaxSessions: 1, RefuseAtLimit: true, Now: t}
		for range 3 {
			if res := h.start(req); res.Refused || len(res.Evicted) > 0 {
				h.Fatalf("%+v, want the family kept", res)
			}
		}
	}},
	{"start repeated after a rotation does not set the family back", func(h *harness) {
		t := now()
		f := login(t)
		req := family.StartRequest{Record: f, Now: t}
		h.start(req)
		h.expect(family.Rotated, present(f, 0, t))
		h.expect(family.Rotated, present(f, 1, t))
		want := h.find(f, t)
		h.start(req)
		h.holds(want, t)
	}},
	{"start repeated after a logout does not bring the family back", func(h *harness) {
		t := now()
		f := login(t)
		req := family.StartRequest{Record: f, Now: t}
		h.start(req)
		h.revoke(one(f, family.ReasonLogout, t))
		h.start(req)
		h.lists(f.Subject, t)
		h.expect(family.Gone, present(f, 0, t))
	}},
	{"settle repeated after the next rotation settles nothing", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.settle(f, 0)
		h.settle(f, 0)
		h.expect(family.Rotated, present(f, 0, t))
		h.settle(f, 0)
		h.expect(family.Replayed, present(f, 0, t))
	}},
	{"revoke repeated answers the same and keeps the first reason", func(h *harness) {
		t := now()
		a := h.keep(login(t))
		b := h.keep(loginOf(a.Subject, t.Add(time.Second)))
		c := h.keep(loginOf(a.Subject, t.Add(2*time.Second)))
		req := all(a.Subject, t.Add(3*time.Second))
		req.KeepNewest = 1
		for range 3 {
			if dead := h.revoke(req); !equalIDs(dead, ids(a, b)) {
				h.Fatalf("revoked %v, want %v", dead, ids(a, b))
			}
			h.lists(a.Subject, req.Now, c)
		}
		h.revoke(one(a, family.ReasonUser, req.Now))
		if got := h.find(a, req.Now).Revoked; got != family.ReasonLogoutAll {
			h.Errorf("reason %q, want %q", got, family.ReasonLogoutAll)
		}
	}},
	{"a context that has ended is ErrUnavailable", func(h *harness) {
		ctx, cancel := context.WithCancel(h.Context())
		cancel()
		t := now()
		f := h.keep(login(t))
		for name, err := range attemptAll(ctx, h.store, f, t) {
			unavailable(h, name, err)
		}
		h.holds(f, t)
	}},
	{"a deadline that has passed is ErrUnavailable", func(h *harness) {
		ctx, cancel := context.WithTimeout(h.Context(), -time.Second)
		defer cancel()
		t := now()
		f := h.keep(login(t))
		for name, err := range attemptAll(ctx, h.store, f, t) {
			unavailable(h, name, err)
		}
	}},
	{"ping answers", func(h *harness) {
		if err := h.store.Ping(h.Context()); err != nil {
			h.Error(err)
		}
	}},
}
