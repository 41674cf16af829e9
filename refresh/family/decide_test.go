package family_test

import (
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// decideAt is the time of the presentations here.
var decideAt = time.Date(2026, 5, 6, 7, 8, 9, 123e6, time.UTC)

// chainHash stands for the hash of a generation's secret.
func chainHash(generation uint32) [32]byte {
	return [32]byte{1, byte(generation), byte(generation >> 8)}
}

// familyAt is a live family, bound to a client, at a generation.
func familyAt(generation uint32, settled bool) *family.Record {
	return &family.Record{
		Subject: family.Subject{1}, ID: family.ID{2},
		Generation: generation, Current: chainHash(generation), Settled: settled,
		Attempt: family.Attempt{'c'}, Prior: family.Attempt{'p'},
		CreatedAt: decideAt.Add(-48 * time.Hour), RotatedAt: decideAt.Add(-time.Hour), AuthTime: decideAt.Add(-48 * time.Hour).Truncate(time.Second),
		Idle: 24 * time.Hour, AbsoluteExpiry: decideAt.Add(72 * time.Hour),
		Remember: true, ACR: "gold", AMR: []string{"pwd"},
		Fingerprint: family.Fingerprint{{'i'}, {'u'}, {'d'}},
		Device:      family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
	}
}

// tokenOf is a generation's token, presented by its own client.
func tokenOf(generation uint32) family.RotateRequest {
	return family.RotateRequest{
		Subject: family.Subject{1}, Family: family.ID{2},
		Generation: generation, Hash: chainHash(generation), Successor: chainHash(generation + 1),
		Attempt: family.Attempt{'n'}, Fingerprint: family.Fingerprint{{'i'}, {'u'}, {'d'}},
		Device: family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.9"},
		Policy: family.Policy{Enforced: family.UserAgent | family.DeviceID}, Now: decideAt,
	}
}

func TestDecide(t *testing.T) {
	type edit = func(*family.Record, *family.RotateRequest)
	tombstone := func(why family.Reason, by family.Attempt) edit {
		return func(f *family.Record, _ *family.RotateRequest) { *f = f.Tombstone(why, by, decideAt.Add(-time.Hour)) }
	}
	now := func(at time.Time) edit { return func(_ *family.Record, p *family.RotateRequest) { p.Now = at } }
	attempt := func(a byte) edit {
		return func(_ *family.Record, p *family.RotateRequest) { p.Attempt = family.Attempt{a} }
	}
	rules := func(set func(*family.Policy)) edit {
		return func(_ *family.Record, p *family.RotateRequest) { set(&p.Policy) }
	}
	// late is a presentation so long after g was made, where settling takes a minute.
	late := func(after time.Duration) edit {
		return func(f *family.Record, p *family.RotateRequest) {
			p.Now, p.Policy.Settle = f.RotatedAt.Add(after), time.Minute
		}
	}
	single := rules(func(r *family.Policy) { r.SingleUse = true })
	short := rules(func(r *family.Policy) { r.Settle = 2 * time.Second })
	print := func(i, u, d byte) edit {
		return func(_ *family.Record, p *family.RotateRequest) { p.Fingerprint = family.Fingerprint{{i}, {u}, {d}} }
	}
	hash := func(_ *family.Record, p *family.RotateRequest) { p.Hash[9]++ }
	successor := func(_ *family.Record, p *family.RotateRequest) { p.Successor[9]++ }
	unbound := func(f *family.Record, _ *family.RotateRequest) { f.Fingerprint = family.Fingerprint{} }
	mine, other := family.Attempt{'n'}, family.Attempt{'o'}
	expiry := familyAt(0, false).ExpiresAt()
	const g = 5

	for _, c := range []struct {
		name    string
		settled bool
		token   uint32
		edits   []edit
		want    family.Outcome
		differs family.Components
		changed bool
	}{
		{"revoked: gone", false, g, []edit{tombstone("logout", other)}, family.Gone, 0, false},
		{"revoked for reuse, by another attempt: gone", false, g, []edit{tombstone("reuse", other)}, family.Gone, 0, false},
		{"revoked for reuse, by this attempt: reuse, again", false, g - 1, []edit{tombstone("reuse", mine)}, family.Reused, 0, false},
		{"revoked for a mismatch, by this attempt: other client, again", false, g, []edit{tombstone("fingerprint", mine)}, family.OtherClient, 0, false},
		{"revoked for another reason, by an attempt of this name: gone", false, g, []edit{tombstone("limit", mine)}, family.Gone, 0, false},
		{"revoked, whatever else is wrong: gone", false, g, []edit{tombstone("logout", other), print('x', 'x', 'x'), now(expiry)}, family.Gone, 0, false},
		{"expired: gone", false, g, []edit{now(expiry)}, family.Gone, 0, false},
		{"a moment before it expires: rotated", false, g, []edit{now(expiry.Add(-1))}, family.Rotated, 0, true},
		{"expired, another client: gone", false, g, []edit{now(expiry), print('x', 'x', 'x')}, family.Gone, 0, false},
		{"expired, a retry: gone", false, g - 1, []edit{now(expiry), attempt('c')}, family.Gone, 0, false},

		{"an enforced component differs: other client", false, g, []edit{print('i', 'x', 'd')}, family.OtherClient, family.UserAgent, false},
		{"both differ: other client", false, g, []edit{print('x', 'x', 'x')}, family.OtherClient, family.IP | family.UserAgent | family.DeviceID, false},
		{"an enforced component is missing: other client", false, g, []edit{print('i', 'u', 0)}, family.OtherClient, family.DeviceID, false},
		{"policy says revoke: other client, and the family ends", false, g, []edit{print('i', 'u', 'x'), rules(func(r *family.Policy) { r.RevokeOnMismatch = true })}, family.OtherClient, family.DeviceID, true},
		{"a reported component differs: rotated", true, g, []edit{print('x', 'u', 'd')}, family.Rotated, family.IP, true},
		{"a reported component differs, policy says revoke: rotated", true, g, []edit{print('x', 'u', 'd'), rules(func(r *family.Policy) { r.RevokeOnMismatch = true })}, family.Rotated, family.IP, true},
		{"nothing enforced: rotated", true, g, []edit{print('x', 'x', 'x'), rules(func(r *family.Policy) { r.Enforced = 0 })}, family.Rotated, family.IP | family.UserAgent | family.DeviceID, true},
		{"nothing bound: rotated", true, g, []edit{unbound, print('x', 'x', 'x')}, family.Rotated, 0, true},
		{"another client replays a settled generation's predecessor: other client", true, g - 1, []edit{print('i', 'u', 'x')}, family.OtherClient, family.DeviceID, false},
		{"another client, ahead of the store: other client", true, g + 1, []edit{print('i', 'u', 'x')}, family.OtherClient, family.DeviceID, false},
		{"another client with an attempt's name: other client", false, g - 1, []edit{attempt('c'), print('i', 'u', 'x')}, family.OtherClient, family.DeviceID, false},

		{"p = g-1, the attempt that made g: repeated", false, g - 1, []edit{attempt('c')}, family.Repeated, 0, false},
		{"p = g-1, the attempt that made g, settled meanwhile: repeated", true, g - 1, []edit{attempt('c')}, family.Repeated, 0, false},
		{"p = g-2, the attempt that made g-1: repeated", true, g - 2, []edit{attempt('p')}, family.Repeated, 0, false},
		{"p = g-1, single use, the attempt that made g: repeated", false, g - 1, []edit{attempt('c'), rules(func(r *family.Policy) { r.SingleUse = true })}, family.Repeated, 0, false},
		{"p = g-1, the attempt that made g-1: reuse", true, g - 1, []edit{attempt('p')}, family.Reused, 0, true},
		{"p = g-2, the attempt that made g: reuse", true, g - 2, []edit{attempt('c')}, family.Reused, 0, true},
		{"p = g, the attempt that made g: rotated", true, g, []edit{attempt('c')}, family.Rotated, 0, true},

		{"p = g, not settled: rotated", false, g, nil, family.Rotated, 0, true},
		{"p = g, settled: rotated", true, g, nil, family.Rotated, 0, true},
		{"p = g, another hash: reuse", true, g, []edit{hash}, family.Reused, 0, true},

		{"p = g-1, not settled: replay", false, g - 1, nil, family.Replayed, 0, false},
		{"p = g-1, not settled, a reported component differs: replay", false, g - 1, []edit{print('x', 'u', 'd')}, family.Replayed, family.IP, false},
		{"p = g-1, not settled, another successor: reuse", false, g - 1, []edit{successor}, family.Reused, 0, true},
		{"p = g-1, not settled, single use: reuse", false, g - 1, []edit{rules(func(r *family.Policy) { r.SingleUse = true })}, family.Reused, 0, true},
		{"p = g-1, settled: reuse", true, g - 1, nil, family.Reused, 0, true},
		{"p = g-2, not settled: reuse", false, g - 2, nil, family.Reused, 0, true},
		{"p = 0: reuse", false, 0, nil, family.Reused, 0, true},

		{"p = g+1: store behind", true, g + 1, nil, family.StoreBehind, 0, true},
		{"p = g+1, whatever the hash: store behind", false, g + 1, []edit{hash}, family.StoreBehind, 0, true},
		{"p = g+1000: store behind", false, g + 1000, nil, family.StoreBehind, 0, true},
		{"p = g+1, policy says refuse: refused, the family untouched", true, g + 1, []edit{rules(func(r *family.Policy) { r.RefuseStoreBehind = true })}, family.StoreBehindRefused, 0, false},
		{"p = g, policy says refuse: rotated", true, g, []edit{rules(func(r *family.Policy) { r.RefuseStoreBehind = true })}, family.Rotated, 0, true},

		// g was made at decideAt less an hour; settling takes a minute.
		{"p = g-1, settled, from before g can have settled: overtaken", true, g - 1, []edit{late(29_999 * time.Millisecond)}, family.Overtaken, 0, false},
		{"p = g-1, settled, as late as clocks may differ: reuse", true, g - 1, []edit{late(30 * time.Second)}, family.Reused, 0, true},
		{"p = g-1, settled, from before g: overtaken", true, g - 1, []edit{late(-time.Minute)}, family.Overtaken, 0, false},
		{"p = g-1, not settled, from before g: replay", false, g - 1, []edit{late(-time.Minute)}, family.Replayed, 0, false},
		{"p = g-1, not settled, from before g, another successor: reuse", false, g - 1, []edit{late(-time.Minute), successor}, family.Reused, 0, true},
		{"p = g-2, from long before g: overtaken", false, g - 2, []edit{late(-30001 * time.Millisecond)}, family.Overtaken, 0, false},
		{"p = g-2, from before g, as clocks may differ: reuse", false, g - 2, []edit{late(-30 * time.Second)}, family.Reused, 0, true},
		{"another client, from long before g: other client", true, g - 2, []edit{late(-time.Hour), print('x', 'x', 'x')}, family.OtherClient, family.IP | family.UserAgent | family.DeviceID, false},
		{"single use, p = g-1, from long before g: overtaken", false, g - 1, []edit{late(-time.Minute), single}, family.Overtaken, 0, false},
		{"single use, p = g-1, from after g: reuse", false, g - 1, []edit{late(0), single}, family.Reused, 0, true},
		{"a short settle time, g-1, before half of it: overtaken", true, g - 1, []edit{late(999 * time.Millisecond), short}, family.Overtaken, 0, false},
		{"a short settle time, g-1, after half of it: reuse", true, g - 1, []edit{late(time.Second), short}, family.Reused, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := familyAt(g, c.settled), tokenOf(c.token)
			for _, e := range c.edits {
				e(f, &p)
			}
			before := *f
			v := family.Decide(f, p)
			if v.Outcome != c.want || v.Differs != c.differs || v.Changed != c.changed {
				t.Fatalf("%v, differs %q, changed %t; want %v, %q, %t", v.Outcome, v.Differs, v.Changed, c.want, c.differs, c.changed)
			}
			checkFamily(t, before, v, p)
			if d := familyDiff(*f, before); d != "" {
				t.Errorf("Decide wrote to the record: %s", d)
			}
		})
	}
}

// checkFamily checks the record after a decision, by its outcome.
func checkFamily(t *testing.T, before family.Record, v family.Verdict, p family.RotateRequest) {
	t.Helper()
	want := before
	switch {
	case !v.Changed:
	case v.Outcome == family.Reused:
		want = before.Tombstone(family.ReasonReuse, p.Attempt, p.Now)
	case v.Outcome == family.OtherClient:
		want = before.Tombstone(family.ReasonMismatch, p.Attempt, p.Now)
	default:
		want.Generation, want.Current, want.Settled = p.Generation+1, p.Successor, false
		want.Prior, want.Attempt = before.Attempt, p.Attempt
		if v.Outcome == family.StoreBehind {
			want.Prior = family.Attempt{} // the store lost the attempt that made p
		}
		want.RotatedAt, want.Device = p.Now, p.Device
		for i := range want.Fingerprint {
			if p.Policy.Enforced&(1<<i) == 0 && p.Fingerprint[i] != [12]byte{} {
				want.Fingerprint[i] = p.Fingerprint[i]
			}
		}
	}
	if d := familyDiff(v.Record, want); d != "" {
		t.Errorf("the record after it: %s", d)
	}
}

// familyDiff names the first difference of two records.
func familyDiff(got, want family.Record) string {
	switch {
	case got.Subject != want.Subject || got.ID != want.ID:
		return "another family"
	case got.Revoked != want.Revoked || !got.RevokedAt.Equal(want.RevokedAt):
		return "revoked otherwise"
	case got.Generation != want.Generation || got.Current != want.Current || got.Settled != want.Settled:
		return "another generation"
	case got.Attempt != want.Attempt || got.Prior != want.Prior:
		return "other attempts"
	case !got.CreatedAt.Equal(want.CreatedAt) || !got.AuthTime.Equal(want.AuthTime) || !got.AbsoluteExpiry.Equal(want.AbsoluteExpiry) || got.Idle != want.Idle:
		return "another login"
	case !got.RotatedAt.Equal(want.RotatedAt):
		return "rotated at another time"
	case got.Remember != want.Remember || got.ACR != want.ACR || len(got.AMR) != len(want.AMR):
		return "authenticated otherwise"
	case got.Fingerprint != want.Fingerprint || got.Device != want.Device:
		return "another client"
	}
	return ""
}

func TestDecideWithoutAFamilyIsGone(t *testing.T) {
	v := family.Decide(nil, tokenOf(0))
	if v.Outcome != family.Gone || v.Changed || !v.Record.ID.IsZero() {
		t.Errorf("%+v", v)
	}
}

func TestASlowClockDoesNotMoveTheRotationBack(t *testing.T) {
	f, p := familyAt(3, true), tokenOf(3)
	p.Now = f.RotatedAt.Add(-time.Minute)
	if v := family.Decide(f, p); v.Outcome != family.Rotated || !v.Record.RotatedAt.Equal(f.RotatedAt) {
		t.Errorf("%v, rotated at %v, was %v", v.Outcome, v.Record.RotatedAt, f.RotatedAt)
	}
}

// TestNothingOutlivesTheLogin: at no time, with no token and under no rules is
// a refresh accepted after the absolute lifetime, and none ever moves the
// login's times.
func TestNothingOutlivesTheLogin(t *testing.T) {
	accepted := 0
	for _, idle := range []time.Duration{time.Hour, 24 * time.Hour, 1000 * time.Hour} {
		for hours := -50; hours < 300; hours += 5 {
			for token := range uint32(9) {
				for bits := range 16 {
					f, p := familyAt(5, bits&1 != 0), tokenOf(token)
					f.Idle, p.Now = idle, decideAt.Add(time.Duration(hours)*time.Hour)
					p.Policy.SingleUse = bits&2 != 0
					if bits&4 != 0 {
						p.Attempt = f.Attempt
					} else if bits&8 != 0 {
						p.Attempt = f.Prior
					}
					v := family.Decide(f, p)
					if !v.Outcome.Accepted() {
						continue
					}
					accepted++
					if !p.Now.Before(f.AbsoluteExpiry) || p.Now.Sub(f.RotatedAt) >= idle {
						t.Fatalf("generation %d is accepted at %v: %v", token, p.Now, v.Outcome)
					}
					a := v.Record
					if !a.AbsoluteExpiry.Equal(f.AbsoluteExpiry) || !a.AuthTime.Equal(f.AuthTime) || !a.CreatedAt.Equal(f.CreatedAt) || a.ExpiresAt().After(f.AbsoluteExpiry) {
						t.Fatalf("generation %d moved the login: %+v", token, a)
					}
				}
			}
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted")
	}
}

func TestSettle(t *testing.T) {
	revoked := familyAt(5, false).Tombstone(family.ReasonLogout, family.Attempt{'n'}, decideAt)
	revoked.Generation = 5
	for _, c := range []struct {
		name       string
		family     family.Record
		generation uint32
		settled    bool
		changed    bool
	}{
		{"the current generation settles", *familyAt(5, false), 5, true, true},
		{"settling twice is settling once", *familyAt(5, true), 5, true, false},
		{"the predecessor does not", *familyAt(5, false), 4, false, false},
		{"a generation that the store has yet to see does not", *familyAt(5, false), 6, false, false},
		{"a revoked family does not", revoked, 5, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, changed := c.family.Settle(c.generation)
			want := c.family
			want.Settled = c.settled
			if d := familyDiff(f, want); d != "" || changed != c.changed {
				t.Errorf("changed %t, want %t; %s", changed, c.changed, d)
			}
		})
	}
}

func TestTombstoneKeepsNoSecret(t *testing.T) {
	f := familyAt(5, true)
	want := family.Record{Subject: f.Subject, ID: f.ID, Attempt: family.Attempt{'n'}, Revoked: "logout", RevokedAt: decideAt}
	if d := familyDiff(f.Tombstone("logout", family.Attempt{'n'}, decideAt), want); d != "" {
		t.Error(d)
	}
}

func TestOutcomesHaveNamesAndAnswers(t *testing.T) {
	for o, c := range map[family.Outcome]struct {
		name     string
		accepted bool
	}{
		family.Gone: {"gone", false}, family.OtherClient: {"other_client", false},
		family.Repeated: {"repeated", true}, family.Rotated: {"rotated", true}, family.Replayed: {"replayed", true},
		family.StoreBehind: {"store_behind", true}, family.StoreBehindRefused: {"store_behind_refused", false},
		family.Reused: {"reused", false}, family.Overtaken: {"overtaken", false}, 99: {"unknown", false},
	} {
		if o.String() != c.name || o.Accepted() != c.accepted {
			t.Errorf("%d is %q, accepted %t; want %q, %t", o, o, o.Accepted(), c.name, c.accepted)
		}
	}
}

// TestAThiefWhoKeepsPaceIsNotNoticed states a limit. Somebody who replays each
// predecessor before its successor settles cannot be told from a second tab,
// by any protocol that lets honest clients lose a response; what stops him is
// the fingerprint. One step out of pace gives him away.
func TestAThiefWhoKeepsPaceIsNotNoticed(t *testing.T) {
	f := *familyAt(0, true)
	step := func(p family.RotateRequest) family.Outcome {
		p.Attempt = family.Attempt{byte(f.Generation), 1, byte(p.Generation)}
		v := family.Decide(&f, p)
		if v.Changed {
			f = v.Record
		}
		return v.Outcome
	}
	for g := range uint32(8) {
		owner, thief, stranger := step(tokenOf(g)), step(tokenOf(g)), tokenOf(g)
		if owner != family.Rotated || thief != family.Replayed {
			t.Fatalf("generation %d: owner %v, thief %v", g, owner, thief)
		}
		stranger.Fingerprint = family.Fingerprint{{'x'}, {'x'}, {'x'}}
		if o := step(stranger); o != family.OtherClient {
			t.Fatalf("generation %d: a thief with another fingerprint: %v", g, o)
		}
		f, _ = f.Settle(g + 1)
	}
	if late := step(tokenOf(7)); late != family.Reused {
		t.Errorf("a thief who comes after the settling: %v, want %v", late, family.Reused)
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name       string
		live, max  int
		refuse     bool
		evict      int
		wantRefuse bool
	}{
		{"no limit", 1000, 0, false, 0, false},
		{"no limit that could refuse", 1000, 0, true, 0, false},
		{"below the limit", 1, 3, false, 0, false},
		{"the last place", 2, 3, true, 0, false},
		{"at the limit the oldest goes", 3, 3, false, 1, false},
		{"above the limit as many go as must", 7, 3, false, 5, false},
		{"at the limit, refusing", 3, 3, true, 0, true},
		{"a limit of one", 1, 1, false, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			evict, refused := family.Admit(c.live, family.StartRequest{MaxSessions: c.max, RefuseAtLimit: c.refuse})
			if evict != c.evict || refused != c.wantRefuse {
				t.Errorf("%d, %t; want %d, %t", evict, refused, c.evict, c.wantRefuse)
			}
		})
	}
}
