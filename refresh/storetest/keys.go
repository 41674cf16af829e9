package storetest

import (
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

var keyRules = []rule{
	{"the first proof of a key binds the family, later ones renew it", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		key := deviceKey(family.KeyDBSC, "laptop")
		v := h.bind(bindTo(f, key, t.Add(time.Minute)))
		if v.Outcome != family.Bound || v.Record.Key != key {
			h.Fatalf("Bind: %v with %v, want Bound", v.Outcome, v.Record.Key)
		}
		h.holds(v.Record, t.Add(time.Minute))
		later := h.bind(bindTo(f, key, t.Add(time.Hour)))
		if later.Outcome != family.Renewed || !later.Record.UsedAt.Equal(t.Add(time.Hour)) {
			h.Fatalf("Bind: %v, used %v; want Renewed, and that it counts as use", later.Outcome, later.Record.UsedAt)
		}
		h.holds(later.Record, t.Add(time.Hour))
		h.lists(f.Subject, t.Add(time.Hour), later.Record)
	}},
	{"another key binds nothing", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		bound := h.bind(bindTo(f, deviceKey(family.KeyDBSC, "laptop"), t))
		if v := h.bind(bindTo(f, deviceKey(family.KeyDBSC, "thief"), t.Add(time.Second))); v.Outcome != family.Unproven {
			h.Fatalf("Bind: %v, want Unproven", v.Outcome)
		}
		h.holds(bound.Record, t.Add(time.Second))
	}},
	{"a family that is bound to a native app's key is not bound to a browser's", func(h *harness) {
		t := now()
		f := login(t)
		f.Key = deviceKey(family.KeyDPoP, "phone")
		h.keep(f)
		if v := h.bind(bindTo(f, deviceKey(family.KeyDBSC, "phone"), t)); v.Outcome != family.Unproven {
			h.Fatalf("Bind: %v, want Unproven", v.Outcome)
		}
		h.holds(f, t)
	}},
	{"binding twice is binding once", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		req := bindTo(f, deviceKey(family.KeyDBSC, "laptop"), t.Add(time.Minute))
		first := h.bind(req)
		if v := h.bind(req); v.Outcome != family.Bound {
			h.Fatalf("Bind again: %v, want Bound", v.Outcome)
		}
		h.holds(first.Record, t.Add(time.Minute))
	}},
	{"a renewal that comes late moves nothing back", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		key := deviceKey(family.KeyDBSC, "laptop")
		h.bind(bindTo(f, key, t))
		last := h.bind(bindTo(f, key, t.Add(time.Hour)))
		h.bind(bindTo(f, key, t.Add(time.Minute)))
		h.holds(last.Record, t.Add(time.Hour))
	}},
	{"a client that changed is reported and followed", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		req := bindTo(f, deviceKey(family.KeyDBSC, "laptop"), t.Add(time.Minute))
		req.Fingerprint, req.Device = client("cafe", "firefox", ""), family.Device{UserAgent: "Chrome on Windows", IP: "203.0.113.9"}
		v := h.bind(req)
		if v.Outcome != family.Bound || v.Differs != family.IP|family.DeviceID {
			h.Fatalf("Bind: %v, differs %v; want Bound, ip and device_id", v.Outcome, v.Differs)
		}
		h.holds(v.Record, t.Add(time.Minute))
		if want := client("cafe", "firefox", "laptop"); v.Record.Fingerprint != want {
			h.Error("a component that is missing must not unbind")
		}
	}},
	{"a family that is over is not bound: gone, with the reason", func(h *harness) {
		t := now()
		key := deviceKey(family.KeyDBSC, "laptop")
		f := h.keep(login(t))
		h.revoke(one(f, family.ReasonLogout, t))
		if v := h.bind(bindTo(f, key, t)); v.Outcome != family.Gone || v.Record.Revoked != family.ReasonLogout {
			h.Errorf("revoked: %v, %q", v.Outcome, v.Record.Revoked)
		}
		idled := h.keep(login(t))
		if v := h.bind(bindTo(idled, key, t.Add(idle))); v.Outcome != family.Gone {
			h.Errorf("expired: %v", v.Outcome)
		}
		if v := h.bind(bindTo(login(t), key, t)); v.Outcome != family.Gone {
			h.Errorf("unknown: %v", v.Outcome)
		}
		limited := bindTo(h.keep(login(t)), key, t.Add(time.Hour))
		limited.Policy.Idle = time.Hour
		if v := h.bind(limited); v.Outcome != family.Gone {
			h.Errorf("by the idle timeout of today: %v", v.Outcome)
		}
	}},
	{"a proof counts once, its blind retry as often as it comes", func(h *harness) {
		t := now()
		f := login(t)
		f.Key = deviceKey(family.KeyDPoP, "phone")
		h.keep(f)
		p := proved(f, 0, f.Key, 1, t)
		h.expect(family.Rotated, p)
		h.expect(family.Repeated, p)
		h.expect(family.Unproven, proved(f, 1, f.Key, 1, t))
		fresh := proved(f, 1, f.Key, 2, t)
		fresh.Policy.Settle = time.Minute
		h.expect(family.Fresh, fresh)
		h.expect(family.Fresh, fresh)
		again := proved(f, 1, f.Key, 2, t)
		again.Policy.Settle = time.Minute
		h.expect(family.Unproven, again)
	}},
	{"the newest proofs are remembered", func(h *harness) {
		t := now()
		f := login(t)
		f.Key = deviceKey(family.KeyDPoP, "phone")
		h.keep(f)
		for i := range uint32(5) {
			v := h.expect(family.Rotated, proved(f, i, f.Key, byte(i+1), t))
			h.holds(v.Record, t)
		}
		for i := range byte(family.MaxSeen) {
			h.expect(family.Unproven, proved(f, 5, f.Key, 5-i, t))
		}
	}},
	{"a family that has to have a key ends without one, and says why", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t.Add(time.Minute))
		p.Policy.KeyWithin = time.Minute
		for range 2 {
			if v := h.expect(family.Gone, p); v.Record.Revoked != family.ReasonUnbound {
				h.Errorf("the reason is %q", v.Record.Revoked)
			}
		}
		h.lists(f.Subject, t.Add(time.Minute))
	}},
	{"a step-up is kept with the rotation, and by later ones", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t)
		p.StepUp = &family.StepUp{Time: t.Add(time.Hour).Truncate(time.Second), ACR: strings.Repeat("x", 20), AMR: strings.Split(strings.Repeat("m", 14), "")}
		v := h.expect(family.Rotated, p)
		if v.Record.StepUp.By != p.Attempt {
			h.Errorf("the step-up is of %x, want %x", v.Record.StepUp.By, p.Attempt)
		}
		h.holds(v.Record, t)
		h.expect(family.Repeated, p)
		h.holds(v.Record, t)
		next := h.expect(family.Rotated, present(f, 1, t))
		h.holds(next.Record, t)
		second := present(f, 2, t)
		second.StepUp = &family.StepUp{Time: t.Truncate(time.Second)}
		v = h.expect(family.Rotated, second)
		h.holds(v.Record, t)
	}},
	{"a step-up that is refused changes nothing", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		p := present(f, 0, t)
		p.StepUp, p.Fingerprint = &family.StepUp{Time: t}, client("home", "curl", "laptop")
		h.expect(family.OtherClient, p)
		h.holds(f, t)
	}},
	{"data is set, replaced and taken away", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		for _, data := range []string{"organisation 7", strings.Repeat("\x00\xff", family.MaxData/2), "", "x"} {
			for range 2 {
				got := h.setData(f, data, t)
				if f.Data = data; got.Data != data {
					h.Fatalf("SetData returns %q, want %q", got.Data, data)
				}
				h.holds(f, t)
				h.lists(f.Subject, t, f)
			}
		}
		v := h.expect(family.Rotated, present(f, 0, t))
		if v.Record.Data != "x" {
			h.Errorf("after a rotation the data is %q", v.Record.Data)
		}
		h.holds(v.Record, t)
	}},
	{"data of a family that is over is not set", func(h *harness) {
		t := now()
		f := h.keep(login(t))
		if got := h.setData(f, "x", t.Add(idle)); !got.ID.IsZero() {
			h.Errorf("expired: %+v", got)
		}
		h.revoke(one(f, family.ReasonLogout, t))
		if got := h.setData(f, "x", t); got.Revoked != family.ReasonLogout || got.Data != "" {
			h.Errorf("revoked: %+v", got)
		}
		if got := h.setData(login(t), "x", t); !got.ID.IsZero() {
			h.Errorf("unknown: %+v", got)
		}
	}},
	{"everything that a family can have comes back as it went in", func(h *harness) {
		t := now()
		f := login(t)
		f.Key = deviceKey(family.KeyDPoP, "phone")
		f.Seen = []family.SeenProof{{Proof: family.Proof{3}, By: [4]byte{4}}, {Proof: family.Proof{1}, By: [4]byte{2}}}
		f.StepUp = family.StepUp{By: attempt(), Time: t.Truncate(time.Second), ACR: "a", AMR: []string{"b", "c"}}
		f.Actor, f.ActorReason = strings.Repeat("s", 120), strings.Repeat("r", family.MaxActor-120)
		f.Data = strings.Repeat("d", family.MaxData)
		h.keep(f)
		h.holds(f, t)
		h.lists(f.Subject, t, f)
		v := h.expect(family.Rotated, proved(f, 0, f.Key, 9, t))
		h.holds(v.Record, t)
		h.revoke(one(f, family.ReasonLogout, t))
		if got := h.find(f, t); got.Data != "" || got.Actor != "" || !got.Key.IsZero() {
			h.Errorf("a tombstone keeps %+v", got)
		}
	}},
	{"families with an actor are not counted, and end none", func(h *harness) {
		t := now()
		user := h.keep(login(t))
		support := loginOf(user.Subject, t.Add(time.Second))
		support.Actor, support.ActorReason = "support", "a call"
		if res := h.start(family.StartRequest{Record: support, MaxSessions: 1, RefuseAtLimit: true, Now: support.CreatedAt}); res.Refused || len(res.Evicted) > 0 {
			h.Fatalf("the support's session: %+v", res)
		}
		next := loginOf(user.Subject, t.Add(2*time.Second))
		res := h.start(family.StartRequest{Record: next, MaxSessions: 1, Now: next.CreatedAt})
		if len(res.Evicted) != 1 || res.Evicted[0] != user.ID {
			h.Fatalf("the user's next session ends %v, want the user's own", res.Evicted)
		}
		h.lists(user.Subject, next.CreatedAt, next, support)
		kept := all(user.Subject, next.CreatedAt)
		kept.KeepNewest = 1
		if ended := h.revoke(kept); len(ended) > 0 {
			h.Errorf("all but the newest one ends %v", ended)
		}
		if ended := h.revoke(all(user.Subject, next.CreatedAt)); len(ended) != 2 {
			h.Errorf("all: %d families end, want 2", len(ended))
		}
	}},
	{"a superseded family with an actor makes no room", func(h *harness) {
		t := now()
		user := h.keep(login(t))
		support := loginOf(user.Subject, t.Add(time.Second))
		support.Actor = "support"
		h.keep(support)
		next := loginOf(user.Subject, t.Add(2*time.Second))
		res := h.start(family.StartRequest{Record: next, MaxSessions: 1, RefuseAtLimit: true, Supersedes: []family.ID{support.ID}, Now: next.CreatedAt})
		if !res.Refused {
			h.Errorf("%+v, want the login refused", res)
		}
	}},
}
