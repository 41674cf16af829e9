package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// three keeps three families of one subject, a second apart, oldest first.
func three(h *harness, t time.Time) (a, b, c family.Record) {
	a = h.keep(login(t))
	b = h.keep(loginOf(a.Subject, t.Add(time.Second)))
	c = h.keep(loginOf(a.Subject, t.Add(2*time.Second)))
	return a, b, c
}

var startRules = []rule{
	{"no limit: everybody stays", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		h.lists(a.Subject, t.Add(time.Minute), c, b, a)
	}},
	{"at the limit the oldest login gives way, with a tombstone", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		t = t.Add(time.Minute)
		h.expect(family.Rotated, present(a, 0, t)) // recent use does not make a login younger
		d := loginOf(a.Subject, t)
		if res := h.start(family.StartRequest{Record: d, MaxSessions: 3, Now: t}); res.Refused || !equalIDs(res.Evicted, ids(a)) {
			h.Fatalf("%+v, want %v evicted", res, a.ID)
		}
		h.lists(a.Subject, t, d, c, b)
		h.holds(a.Tombstone(family.ReasonLimit, d.Attempt, t), t)
	}},
	{"beyond a limit that was lowered as many give way as must", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := loginOf(a.Subject, t.Add(time.Minute))
		if res := h.start(family.StartRequest{Record: d, MaxSessions: 1, Now: d.CreatedAt}); res.Refused || !equalIDs(res.Evicted, ids(a, b, c)) {
			h.Fatalf("%+v, want all three evicted", res)
		}
		h.lists(a.Subject, d.CreatedAt, d)
	}},
	{"at a limit that refuses nothing is kept and nobody goes", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := loginOf(a.Subject, t.Add(time.Minute))
		if res := h.start(family.StartRequest{Record: d, MaxSessions: 3, RefuseAtLimit: true, Now: d.CreatedAt}); !res.Refused || len(res.Evicted) > 0 {
			h.Fatalf("%+v, want a refusal", res)
		}
		h.lists(a.Subject, d.CreatedAt, c, b, a)
		h.holdsNothing(d, d.CreatedAt)
	}},
	{"the dead and the expired do not count", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		h.revoke(one(b, family.ReasonLogout, t))
		d := loginOf(a.Subject, t.Add(time.Minute))
		req := family.StartRequest{Record: d, MaxSessions: 3, RefuseAtLimit: true, Now: d.CreatedAt}
		if res := h.start(req); res.Refused {
			h.Fatal("a revoked family counted")
		}
		h.lists(a.Subject, d.CreatedAt, d, c, a)
		e := loginOf(a.Subject, c.ExpiresAt())
		req = family.StartRequest{Record: e, MaxSessions: 2, RefuseAtLimit: true, Now: e.CreatedAt}
		if res := h.start(req); res.Refused {
			h.Fatal("an expired family counted")
		}
		h.lists(a.Subject, e.CreatedAt, e, d)
	}},
	{"logins of the same millisecond are ordered by id", func(h *harness) {
		t := now()
		low, high := login(t), login(t)
		high.Subject = low.Subject
		low.ID[0], high.ID[0] = 0x0a, 0xf0
		low.Current, high.Current = hash(low.ID, 0), hash(high.ID, 0)
		h.keep(high)
		h.keep(low)
		h.lists(low.Subject, t, high, low)
		d := loginOf(low.Subject, t.Add(time.Second))
		if res := h.start(family.StartRequest{Record: d, MaxSessions: 2, Now: d.CreatedAt}); !equalIDs(res.Evicted, ids(low)) {
			h.Errorf("evicted %v, want %v", res.Evicted, low.ID)
		}
	}},
	{"a login ends those that it supersedes and nobody else", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := loginOf(a.Subject, t.Add(time.Minute))
		res := h.start(family.StartRequest{Record: d, Supersedes: ids(a, c), Now: d.CreatedAt})
		if res.Refused || !equalIDs(res.Superseded, ids(a, c)) || len(res.Evicted) > 0 {
			h.Fatalf("%+v, want %v superseded", res, ids(a, c))
		}
		h.lists(a.Subject, d.CreatedAt, d, b)
		h.holds(a.Tombstone(family.ReasonSuperseded, d.Attempt, d.CreatedAt), d.CreatedAt)
		h.expect(family.Gone, present(c, 0, d.CreatedAt))
	}},
	{"superseded families are gone when the limit is judged", func(h *harness) {
		t := now()
		for _, refuse := range []bool{false, true} {
			a, b, c := three(h, t)
			d := loginOf(a.Subject, t.Add(time.Minute))
			res := h.start(family.StartRequest{Record: d, Supersedes: ids(b), MaxSessions: 3, RefuseAtLimit: refuse, Now: d.CreatedAt})
			if res.Refused || !equalIDs(res.Superseded, ids(b)) || len(res.Evicted) > 0 {
				h.Fatalf("%+v, want %v superseded and nobody evicted", res, b.ID)
			}
			h.lists(a.Subject, d.CreatedAt, d, c, a)
		}
	}},
	{"one login supersedes some and evicts others", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := loginOf(a.Subject, t.Add(time.Minute))
		res := h.start(family.StartRequest{Record: d, Supersedes: ids(a), MaxSessions: 2, Now: d.CreatedAt})
		if !equalIDs(res.Superseded, ids(a)) || !equalIDs(res.Evicted, ids(b)) {
			h.Fatalf("%+v, want %v superseded and %v evicted", res, a.ID, b.ID)
		}
		h.lists(a.Subject, d.CreatedAt, d, c)
	}},
	{"a login that is refused ends nobody, superseded families neither", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := loginOf(a.Subject, t.Add(time.Minute))
		res := h.start(family.StartRequest{Record: d, Supersedes: ids(a), MaxSessions: 2, RefuseAtLimit: true, Now: d.CreatedAt})
		if !res.Refused || len(res.Superseded)+len(res.Evicted) > 0 {
			h.Fatalf("%+v, want a refusal", res)
		}
		h.lists(a.Subject, d.CreatedAt, c, b, a)
		h.holdsNothing(d, d.CreatedAt)
	}},
	{"dead, expired, unknown and other subjects' families are not superseded", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		short := loginOf(a.Subject, t)
		short.Idle = time.Minute
		h.keep(short)
		h.revoke(one(b, family.ReasonLogout, t))
		other, unknown := h.keep(login(t)), login(t)
		d := loginOf(a.Subject, t.Add(time.Hour))
		res := h.start(family.StartRequest{Record: d, Supersedes: ids(b, other, unknown, short), Now: d.CreatedAt})
		if len(res.Superseded) > 0 {
			h.Fatalf("%+v, want nobody superseded", res)
		}
		h.lists(a.Subject, d.CreatedAt, d, c, a)
		h.lists(other.Subject, d.CreatedAt, other)
		h.holdsNothing(unknown, d.CreatedAt)
		if why := h.find(b, d.CreatedAt).Revoked; why != family.ReasonLogout {
			h.Errorf("the dead one's reason is %q", why)
		}
	}},
	{"a limit that was lowered by far is reached over several logins", func(h *harness) {
		t := now()
		subject := login(t).Subject
		for i := range family.MaxStep + 60 {
			h.keep(loginOf(subject, t.Add(time.Duration(i)*time.Millisecond)))
		}
		t = t.Add(time.Minute)
		for i, want := range []int{family.MaxStep, 57, 1} {
			f := loginOf(subject, t.Add(time.Duration(i)*time.Millisecond))
			req := family.StartRequest{Record: f, MaxSessions: 5, Now: f.CreatedAt}
			res := h.start(req)
			if len(res.Evicted) != want {
				h.Fatalf("login %d evicted %d, want %d", i+1, len(res.Evicted), want)
			}
			if again := h.start(req); !equalIDs(again.Evicted, res.Evicted) {
				h.Fatalf("login %d repeated evicted %d, want the same %d", i+1, len(again.Evicted), want)
			}
		}
		if n := len(h.list(subject, t.Add(time.Minute))); n != 5 {
			h.Errorf("%d are left, want 5", n)
		}
	}},
	{"subjects do not share a limit", func(h *harness) {
		t := now()
		a := h.keep(login(t))
		b := login(t)
		if res := h.start(family.StartRequest{Record: b, MaxSessions: 1, Now: t}); res.Refused || len(res.Evicted) > 0 {
			h.Fatalf("%+v", res)
		}
		h.lists(a.Subject, t, a)
		h.lists(b.Subject, t, b)
	}},
}

var revokeRules = []rule{
	{"one family: it alone goes, and leaves who did it, why and when", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		req := one(b, family.ReasonUser, t.Add(time.Minute))
		if dead := h.revoke(req); !equalIDs(dead, ids(b)) {
			h.Fatalf("revoked %v, want %v", dead, b.ID)
		}
		h.lists(a.Subject, req.Now, c, a)
		h.holds(b.Tombstone(family.ReasonUser, req.Attempt, req.Now), req.Now)
	}},
	{"all: everyone of the subject and no one else", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		other := h.keep(login(t))
		if dead := h.revoke(all(a.Subject, t.Add(time.Minute))); !equalIDs(dead, ids(a, b, c)) {
			h.Fatalf("revoked %v, want all three", dead)
		}
		h.lists(a.Subject, t.Add(time.Minute))
		h.lists(other.Subject, t, other)
	}},
	{"all but one", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		req := all(a.Subject, t.Add(time.Minute))
		req.Except = b.ID
		if dead := h.revoke(req); !equalIDs(dead, ids(a, c)) {
			h.Fatalf("revoked %v, want %v", dead, ids(a, c))
		}
		h.lists(a.Subject, req.Now, b)
	}},
	{"all but the newest", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		for _, keep := range []struct {
			newest int
			left   []family.Record
		}{{4, []family.Record{c, b, a}}, {3, []family.Record{c, b, a}}, {2, []family.Record{c, b}}, {1, []family.Record{c}}} {
			req := all(a.Subject, t.Add(time.Minute))
			req.KeepNewest = keep.newest
			h.revoke(req)
			h.lists(a.Subject, req.Now, keep.left...)
		}
	}},
	{"all but one and the newest: the one does not use up a place", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		d := h.keep(loginOf(a.Subject, t.Add(3*time.Second)))
		req := all(a.Subject, t.Add(time.Minute))
		req.Except, req.KeepNewest = d.ID, 1
		if dead := h.revoke(req); !equalIDs(dead, ids(a, b)) {
			h.Fatalf("revoked %v, want %v", dead, ids(a, b))
		}
		h.lists(a.Subject, req.Now, d, c)
	}},
	{"all: those that died before are not among those that it ended", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		t = t.Add(time.Minute)
		h.revoke(one(a, family.ReasonLogout, t))
		req := all(a.Subject, t.Add(time.Hour))
		req.KeepNewest = 1
		if dead := h.revoke(req); !equalIDs(dead, ids(b)) {
			h.Fatalf("revoked %v, want %v", dead, b.ID)
		}
		if dead := h.revoke(all(a.Subject, t.Add(2*time.Hour))); !equalIDs(dead, ids(c)) {
			h.Fatalf("revoked %v, want %v", dead, c.ID)
		}
		if dead := h.revoke(all(a.Subject, t.Add(2*time.Hour))); len(dead) > 0 {
			h.Fatalf("revoked %v again", dead)
		}
	}},
	{"a request that is repeated ended the same, and another finds them dead", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		req := one(a, family.ReasonLogout, t)
		for range 2 {
			if res := h.end(req); !res.Known || !equalIDs(res.Ended, ids(a)) {
				h.Fatalf("%+v, want %v ended", res, a.ID)
			}
		}
		if res := h.end(one(a, family.ReasonUser, t)); !res.Known || len(res.Ended) > 0 {
			h.Fatalf("%+v, want it known and nobody ended", res)
		}
		everyone := all(a.Subject, t)
		for range 2 {
			if dead := h.revoke(everyone); !equalIDs(dead, ids(b, c)) {
				h.Fatalf("revoked %v, want %v", dead, ids(b, c))
			}
		}
	}},
	{"more than one step can end: all go, the newest and one spared", func(h *harness) {
		t := now()
		subject := login(t).Subject
		var families []family.Record
		for i := range 3*family.MaxStep + 50 {
			families = append(families, h.keep(loginOf(subject, t.Add(time.Duration(i)*time.Millisecond))))
		}
		t = t.Add(time.Minute)
		req := all(subject, t)
		req.KeepNewest, req.Except = 2, families[0].ID
		n := len(families)
		if dead := h.revoke(req); !equalIDs(dead, ids(families[1:n-2]...)) {
			h.Fatalf("%d ended, want %d", len(dead), n-3)
		}
		h.lists(subject, t, families[n-1], families[n-2], families[0])
		if dead := h.revoke(all(subject, t)); len(dead) != 3 {
			h.Fatalf("%d ended, want 3", len(dead))
		}
		h.lists(subject, t)
	}},
	{"a generation that is acceptable, or was until the current one settled, ends its family", func(h *harness) {
		t := now()
		for _, presented := range []uint32{2, 3, 4} {
			f := h.keep(at(login(t), 3, true))
			req := one(f, family.ReasonLogout, t)
			req.Proven, req.CheckGeneration, req.Generation = true, true, presented
			if res := h.end(req); !res.Known || res.LeftBehind || !equalIDs(res.Ended, ids(f)) {
				h.Errorf("generation %d of 3: %+v, want it ended", presented, res)
			}
			h.lists(f.Subject, t)
		}
	}},
	{"a generation that was left behind ends nothing", func(h *harness) {
		t := now()
		for _, g := range []struct{ presented, current uint32 }{{0, 2}, {1, 3}, {5, 1 << 30}} {
			f := h.keep(at(login(t), g.current, false))
			req := one(f, family.ReasonLogout, t)
			req.Proven, req.CheckGeneration, req.Generation = true, true, g.presented
			if res := h.end(req); res.Known || !res.LeftBehind || len(res.Ended) > 0 {
				h.Errorf("generation %d of %d: %+v, want it left behind", g.presented, g.current, res)
			}
			h.lists(f.Subject, t, f)
			h.revoke(one(f, family.ReasonLogout, t))
			if res := h.end(req); !res.Known || res.LeftBehind || len(res.Ended) > 0 {
				h.Errorf("generation %d of a dead family: %+v, want it known", g.presented, res)
			}
		}
	}},
	{"an unknown family that the caller cannot prove: nothing", func(h *harness) {
		t := now()
		f := login(t)
		if res := h.end(one(f, family.ReasonUser, t)); res.Known || len(res.Ended) > 0 {
			h.Fatalf("%+v", res)
		}
		h.holdsNothing(f, t)
	}},
	{"an unknown or expired family that the caller proves leaves a tombstone", func(h *harness) {
		t := now()
		f := login(t)
		short := loginOf(f.Subject, t)
		short.Idle = time.Minute
		h.keep(short)
		t = t.Add(time.Hour)
		for _, f := range []family.Record{f, short} {
			req := one(f, family.ReasonLogout, t)
			req.Proven = true
			for range 2 {
				if res := h.end(req); !res.Known || !equalIDs(res.Ended, ids(f)) {
					h.Fatalf("%+v, want it ended", res)
				}
			}
			h.holds(f.Tombstone(req.Reason, req.Attempt, t), t)
			again := req
			again.Attempt = attempt()
			if res := h.end(again); !res.Known || len(res.Ended) > 0 {
				h.Fatalf("%+v, want it known", res)
			}
		}
		h.lists(f.Subject, t)
	}},
	{"a login that arrives after its proven revocation stays dead", func(h *harness) {
		t := now()
		f := login(t)
		req := one(f, family.ReasonDenied, t)
		req.Proven = true
		h.revoke(req)
		h.start(family.StartRequest{Record: f, Now: t})
		h.lists(f.Subject, t)
		h.expect(family.Gone, present(f, 0, t))
	}},
	{"proven families that the store does not know are bounded", func(h *harness) {
		t := now()
		subject := login(t).Subject
		for i := range family.MaxStep + 10 {
			f := loginOf(subject, t)
			req := one(f, family.ReasonLogout, t)
			req.Proven = true
			if res := h.end(req); res.Known != (i < family.MaxStep) || len(res.Ended) > 0 != res.Known {
				h.Fatalf("family %d: %+v", i+1, res)
			}
		}
		// A session of the subject ends all the same.
		live := h.keep(loginOf(subject, t))
		req := one(live, family.ReasonLogout, t)
		req.Proven = true
		if dead := h.revoke(req); !equalIDs(dead, ids(live)) {
			h.Errorf("revoked %v, want %v", dead, live.ID)
		}
		h.lists(subject, t)
	}},
	{"of a great many tombstones the newest are kept", func(h *harness) {
		t := now()
		subject := login(t).Subject
		var last family.Record
		for i := range 2*family.MaxStep + 10 {
			last = h.keep(loginOf(subject, t.Add(time.Duration(i)*time.Second)))
			h.revoke(one(last, family.ReasonLogout, last.CreatedAt))
		}
		if why := h.find(last, last.CreatedAt).Revoked; why != family.ReasonLogout {
			h.Errorf("the newest tombstone's reason is %q", why)
		}
		h.lists(subject, last.CreatedAt)
	}},
	{"an expired family needs no tombstone", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		late := f.ExpiresAt()
		if dead := h.revoke(one(f, family.ReasonUser, late)); len(dead) > 0 {
			h.Fatalf("revoked %v", dead)
		}
		h.holdsNothing(f, late)
	}},
	{"a tombstone outlives the family's own expiry, and then goes", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		end := f.ExpiresAt().Add(-time.Millisecond)
		req := one(f, family.ReasonLogout, end)
		h.revoke(req)
		tomb := f.Tombstone(req.Reason, req.Attempt, end)
		h.holds(tomb, end.Add(family.TombstoneRetention-time.Millisecond))
		h.holdsNothing(f, end.Add(family.TombstoneRetention))
		if v := h.expect(family.Gone, present(f, 0, end.Add(family.TombstoneRetention))); v.Record.Revoked != "" {
			h.Errorf("reason %q, want none", v.Record.Revoked)
		}
	}},
	{"a reason of 32 printable bytes is kept", func(h *harness) {
		t := now()
		for _, why := range []family.Reason{"x", family.Reason(strings.Repeat("~", 32)), `{"a" b|c}\' %`} {
			f := h.keep(login(t))
			h.revoke(one(f, why, t))
			if got := h.find(f, t).Revoked; got != why {
				h.Errorf("reason %q, want %q", got, why)
			}
		}
	}},
	{"revoked between a rotation and its replay: gone", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		h.expect(family.Rotated, present(f, 0, t))
		h.revoke(one(f, family.ReasonLogout, t))
		h.expect(family.Gone, present(f, 0, t))
		h.expect(family.Gone, present(f, 1, t))
	}},
}

var recordRules = []rule{
	{"every field of a record comes back as it went in", func(h *harness) {
		t := now().Truncate(time.Second).Add(7 * time.Millisecond)
		f := at(login(t), 41, true)
		f.Prior = attempt()
		f.RotatedAt = t.Add(1234567 * time.Millisecond)
		f.AuthTime = t.Add(-time.Hour).Truncate(time.Second)
		f.AbsoluteExpiry = t.Add(400*24*time.Hour + time.Millisecond)
		h.keep(f)
		h.holds(f, t)
		h.lists(f.Subject, t, f)
	}},
	{"empty fields stay empty", func(h *harness) {
		t := now()
		f := login(t)
		f.Remember, f.ACR, f.AMR, f.Fingerprint, f.Device = false, "", nil, family.Fingerprint{}, family.Device{}
		h.keep(f)
		h.holds(f, t)
		h.lists(f.Subject, t, f)
	}},
	{"authentication context of the greatest size", func(h *harness) {
		t := now()
		for _, c := range []struct {
			acr string
			amr []string
		}{
			{strings.Repeat("a", 60), nil},
			{"", []string{strings.Repeat("b", 59)}},
			{"", strings.Split(strings.Repeat("c", 30), "")},
			{"urn:mace:incommon:iap:silver", []string{"pwd", "otp", "mfa", "hwk"}},
		} {
			f := login(t)
			f.ACR, f.AMR = c.acr, c.amr
			h.keep(f)
			h.holds(f, t)
			v := h.expect(family.Rotated, present(f, 0, t))
			h.holds(v.Record, t)
		}
	}},
	{"device labels of the greatest size, in any script, and addresses of both kinds", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		for i, d := range []family.Device{
			{UserAgent: strings.Repeat("x", 47), IP: "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe"},
			{UserAgent: strings.Repeat("日", 15), IP: "203.0.113.255"},
			{UserAgent: "a\"b'c{d}\\e", IP: "::1"},
			{IP: "0.0.0.0"},
			{UserAgent: "curl"},
			{},
		} {
			p := present(f, uint32(i), t)
			p.Device = d
			v := h.expect(family.Rotated, p)
			if v.Record.Device != d {
				h.Errorf("device %+v, want %+v", v.Record.Device, d)
			}
			h.holds(v.Record, t)
		}
	}},
	{"ids and attempts of any bytes", func(h *harness) {
		t := now()
		subject := login(t).Subject
		for _, b := range []string{"\x00", "\xff", "\n", "\r\n", "}", "{", "*", "%s", "\x80\x00", "0", " ", "c", "d", "a"} {
			f := loginOf(subject, t)
			copy(f.ID[:15], strings.Repeat(b, 15))
			f.ID[15] |= 1 // all zeros names no family
			copy(f.Attempt[:], strings.Repeat(b, 6))
			f.Attempt[5] = 1
			f.Current = hash(f.ID, 0)
			h.keep(f)
			h.holds(f, t)
			p := present(f, 0, t)
			copy(p.Attempt[:], strings.Repeat(b, 6))
			p.Attempt[5] = 2
			copy(p.Successor[:], strings.Repeat(b, 32))
			v := h.expect(family.Rotated, p)
			h.holds(v.Record, t)
			h.expect(family.Repeated, p)
			if dead := h.revoke(one(f, family.ReasonLogout, t)); !equalIDs(dead, ids(f)) {
				h.Errorf("%q: revoked %v", b, dead)
			}
			h.expect(family.Gone, present(f, 1, t))
		}
		h.lists(subject, t)
	}},
	{"generations up to the last", func(h *harness) {
		t := now()
		for _, g := range []uint32{0, 1, 255, 256, 65535, 1 << 24, 1<<30 - 1, 1 << 30} {
			f := h.keep(at(login(t), g, false))
			h.holds(f, t)
			v := h.expect(family.Rotated, present(f, g, t))
			h.settle(f, g+1)
			v.Record.Settled = true
			h.holds(v.Record, t)
		}
	}},
	{"rotation keeps the login's own facts", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		v := h.expect(family.Rotated, present(f, 0, t.Add(time.Hour)))
		want := at(f, 1, false)
		want.Attempt, want.Prior, want.RotatedAt = v.Record.Attempt, f.Attempt, t.Add(time.Hour)
		h.holds(want, t.Add(time.Hour))
	}},
	{"the list is newest login first and holds no dead ones", func(h *harness) {
		t := now()
		a, b, c := three(h, t)
		short := loginOf(a.Subject, t.Add(3*time.Second))
		short.Idle = time.Hour
		h.keep(short)
		h.lists(a.Subject, t.Add(time.Minute), short, c, b, a)
		h.revoke(one(b, family.ReasonLogout, t))
		h.lists(a.Subject, short.ExpiresAt(), c, a)
		h.lists(a.Subject, a.ExpiresAt(), c)
		h.lists(a.Subject, c.ExpiresAt())
	}},
	{"a long list is cut: the newest are in it", func(h *harness) {
		t := now()
		subject := login(t).Subject
		var families []family.Record
		for i := range family.ListLimit + 20 {
			f := loginOf(subject, t.Add(time.Duration(i)*time.Millisecond))
			f.ACR, f.AMR = "", nil
			families = append(families, h.keep(f))
		}
		slices.Reverse(families)
		h.lists(subject, t.Add(time.Minute), families[:family.ListLimit]...)
		// Those at both ends of a long row are found, renewed and ended like others.
		for _, f := range []family.Record{families[0], families[len(families)-1]} {
			v := h.expect(family.Rotated, present(f, 0, t.Add(time.Minute)))
			h.holds(v.Record, t.Add(time.Minute))
			h.revoke(one(f, family.ReasonUser, t.Add(time.Minute)))
		}
		h.lists(subject, t.Add(time.Minute), families[1:family.ListLimit+1]...)
		// Those that expire make room for none.
		short := loginOf(subject, t.Add(time.Hour))
		short.Idle = time.Minute
		h.keep(short)
		h.lists(subject, short.ExpiresAt(), families[1:family.ListLimit+1]...)
	}},
	{"an unknown subject has an empty list", func(h *harness) {
		t := now()
		h.lists(login(t).Subject, t)
		if dead := h.revoke(all(login(t).Subject, t)); len(dead) > 0 {
			h.Errorf("revoked %v", dead)
		}
	}},
}
