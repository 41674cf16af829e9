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
		UsedAt: decideAt.Add(-time.Hour), Remember: true, ACR: "gold", AMR: []string{"pwd"},
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
	// minutely settles in a minute; ago is so long after g was made and handed out.
	minutely := rules(func(r *family.Policy) { r.Settle = time.Minute })
	ago := func(made, handed time.Duration) edit {
		return func(f *family.Record, p *family.RotateRequest) {
			f.RotatedAt, f.UsedAt, p.Policy.Settle = p.Now.Add(-made), p.Now.Add(-handed), time.Minute
		}
	}
	inRow := func(n uint8, twice bool) edit {
		return func(f *family.Record, _ *family.RotateRequest) { f.TwiceInRow, f.Twice = n, twice }
	}
	end := rules(func(r *family.Policy) { r.EndShared = true })
	idle := func(d time.Duration) edit { return rules(func(r *family.Policy) { r.Idle = d }) }
	life := func(remembered, browser time.Duration) edit {
		return rules(func(r *family.Policy) { r.Absolute, r.Browser = remembered, browser })
	}
	browser := func(f *family.Record, _ *family.RotateRequest) { f.Remember = false }
	const ms, most = time.Millisecond, family.SharedAfter
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

		{"expired by the idle timeout of today: gone", false, g, []edit{idle(time.Hour)}, family.Gone, 0, false},
		{"a moment before that: rotated", false, g, []edit{idle(time.Hour + 1)}, family.Rotated, 0, true},
		{"an idle timeout of today that is longer: gone as before", false, g, []edit{idle(1000 * time.Hour), now(expiry)}, family.Gone, 0, false},
		{"expired by the lifetime of today: gone", false, g, []edit{life(48*time.Hour, 0)}, family.Gone, 0, false},
		{"a moment before that: rotated", false, g, []edit{life(48*time.Hour+1, 0)}, family.Rotated, 0, true},
		{"expired by the lifetime of today, for the browser's time: gone", false, g, []edit{browser, life(0, 48*time.Hour)}, family.Gone, 0, false},
		{"remembered, the other lifetime: rotated", false, g, []edit{life(0, time.Hour)}, family.Rotated, 0, true},
		{"not remembered, the other lifetime: rotated", false, g, []edit{browser, life(time.Hour, 0)}, family.Rotated, 0, true},
		{"a lifetime of today that is longer: gone as before", false, g, []edit{life(9000*time.Hour, 9000*time.Hour), now(familyAt(0, false).AbsoluteExpiry)}, family.Gone, 0, false},
		{"expired by today, a retry: gone", false, g - 1, []edit{idle(time.Hour), attempt('c')}, family.Gone, 0, false},
		{"revoked as shared, by this attempt: reuse, again", false, g - 1, []edit{tombstone("shared", mine)}, family.Reused, 0, false},
		{"revoked as shared, by another attempt: gone", false, g - 1, []edit{tombstone("shared", other)}, family.Gone, 0, false},

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

		{"p = g, within the fresh time: fresh", false, g, []edit{ago(45*time.Second-ms, 45*time.Second-ms)}, family.Fresh, 0, false},
		{"p = g, after the fresh time: rotated", false, g, []edit{ago(45*time.Second, 45*time.Second)}, family.Rotated, 0, true},
		{"p = g, handed out again within the fresh time: fresh", false, g, []edit{ago(time.Hour, 44*time.Second)}, family.Fresh, 0, false},
		{"p = g, fresh, another hash: reuse", false, g, []edit{ago(0, 0), hash}, family.Reused, 0, true},
		{"p = g, fresh, another client: other client", false, g, []edit{ago(0, 0), print('i', 'u', 'x')}, family.OtherClient, family.DeviceID, false},
		{"p = g, fresh, a reported component differs: fresh", false, g, []edit{ago(0, 0), print('x', 'u', 'd')}, family.Fresh, family.IP, false},
		{"p = g, fresh, the attempt that made g: fresh", false, g, []edit{ago(0, 0), attempt('c')}, family.Fresh, 0, false},
		{"p = g, single use: never fresh", false, g, []edit{ago(0, 0), single}, family.Rotated, 0, true},
		{"p = g, no settle time: never fresh", false, g, []edit{ago(0, 0), rules(func(r *family.Policy) { r.Settle = 0 })}, family.Rotated, 0, true},
		{"p = g, made as far in the future as clocks may differ: fresh", false, g, []edit{ago(-family.ClockSkew, -family.ClockSkew)}, family.Fresh, 0, false},
		{"p = g, made further in the future: rotated", false, g, []edit{ago(-family.ClockSkew-ms, -family.ClockSkew-ms)}, family.Rotated, 0, true},
		{"p = g, handed out further in the future: as old as it was made", false, g, []edit{ago(45*time.Second, -time.Hour)}, family.Rotated, 0, true},
		{"p = g, a short settle time: fresh for half of it", false, g, []edit{ago(time.Second-ms, time.Second-ms), short}, family.Fresh, 0, false},
		{"p = g, a short settle time, half of it over: rotated", false, g, []edit{ago(time.Second, time.Second), short}, family.Rotated, 0, true},
		{"p = g, twice in a row before: rotated, the row ends", false, g, []edit{ago(time.Hour, time.Hour), inRow(2, false)}, family.Rotated, 0, true},
		{"p = g, twice this time: rotated, the row goes on", false, g, []edit{ago(time.Hour, time.Hour), inRow(2, true)}, family.Rotated, 0, true},

		{"p = g, not settled: rotated", false, g, nil, family.Rotated, 0, true},
		{"p = g, settled: rotated", true, g, nil, family.Rotated, 0, true},
		{"p = g, another hash: reuse", true, g, []edit{hash}, family.Reused, 0, true},

		{"p = g-1, not settled: replay", false, g - 1, nil, family.Replayed, 0, true},
		{"p = g-1, not settled, a reported component differs: replay", false, g - 1, []edit{print('x', 'u', 'd')}, family.Replayed, family.IP, true},
		{"p = g-1, an eighth of the fresh time after the rotation: replay, as use", false, g - 1, []edit{ago(5625*ms, 5625*ms)}, family.Replayed, 0, true},
		{"p = g-1, sooner: replay, not written down", false, g - 1, []edit{ago(5624*ms, 5624*ms)}, family.Replayed, 0, false},
		{"p = g-1, not settled, from before the last use: replay, not written down", false, g - 1, []edit{minutely, ago(10*time.Second, -time.Hour)}, family.Replayed, 0, false},
		{"p = g-1, as another tab may: replay, not counted", false, g - 1, []edit{ago(20*time.Second, 0)}, family.Replayed, 0, false},
		{"p = g-1, later than that: replay, counted", false, g - 1, []edit{ago(20*time.Second+ms, 0)}, family.Replayed, 0, true},
		{"p = g-1, later than that, again: replay, counted once", false, g - 1, []edit{ago(50*time.Second, 0), inRow(1, true)}, family.Replayed, 0, false},
		{"p = g-1, shared: replay", false, g - 1, []edit{ago(time.Hour, 0), inRow(most-1, false)}, family.Replayed, 0, true},
		{"p = g-1, shared, policy says end: reuse", false, g - 1, []edit{ago(time.Hour, 0), inRow(most-1, false), end}, family.Reused, 0, true},
		{"p = g-1, shared before the policy said end: reuse", false, g - 1, []edit{ago(time.Hour, 0), inRow(most, true), end}, family.Reused, 0, true},
		{"p = g-1, shared, as another tab may, policy says end: replay", false, g - 1, []edit{ago(20*time.Second, 0), inRow(most, false), end}, family.Replayed, 0, false},
		{"p = g-1, not shared, policy says end: replay", false, g - 1, []edit{ago(time.Hour, 0), inRow(most-2, false), end}, family.Replayed, 0, true},
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
	case v.Outcome == family.Reused && v.Shared:
		want = before.Tombstone(family.ReasonShared, p.Attempt, p.Now)
	case v.Outcome == family.Replayed:
		fresh := p.Policy.FreshTime()
		if p.Now.Sub(before.LastUsed()) >= fresh/8 {
			want.UsedAt = p.Now
		}
		if since := p.Now.Sub(before.RotatedAt); p.Policy.Settle > 0 && since > p.Policy.ParallelTime() && !before.Twice {
			want.Twice, want.TwiceInRow = true, min(before.TwiceInRow+1, family.SharedAfter)
		}
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
		want.RotatedAt, want.UsedAt, want.Device = p.Now, p.Now, p.Device
		if latest := p.Now.Add(family.ClockSkew); before.RotatedAt.After(latest) {
			want.RotatedAt = latest
		}
		if before.LastUsed().After(p.Now) {
			want.UsedAt = before.LastUsed()
		}
		want.Twice = false
		if !before.Twice {
			want.TwiceInRow = 0
		}
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
	case !got.LastUsed().Equal(want.LastUsed()):
		return "used at another time"
	case got.Twice != want.Twice || got.TwiceInRow != want.TwiceInRow:
		return "counted otherwise"
	case !got.RotatedAt.Equal(want.RotatedAt):
		return "rotated at another time"
	case got.Remember != want.Remember || got.ACR != want.ACR || len(got.AMR) != len(want.AMR):
		return "authenticated otherwise"
	case got.Key != want.Key || got.Data != want.Data || got.Actor != want.Actor || got.StepUp.By != want.StepUp.By:
		return "bound, stepped up or acted for otherwise"
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

// TestClocksThatDiffer: what a rotation writes when its clock is before the
// last rotation's.
func TestClocksThatDiffer(t *testing.T) {
	for _, c := range []struct {
		name   string
		behind time.Duration
		back   time.Duration // by how much RotatedAt moves
	}{
		{"a slow clock moves nothing back", 20 * time.Second, 0},
		{"as slow as clocks may be", family.ClockSkew, 0},
		{"a rotation from the future is pulled back to what a right clock may write", 6 * time.Hour, 6*time.Hour - family.ClockSkew},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := familyAt(3, true), tokenOf(3)
			p.Now = f.RotatedAt.Add(-c.behind)
			v := family.Decide(f, p)
			if v.Outcome != family.Rotated || !v.Record.RotatedAt.Equal(f.RotatedAt.Add(-c.back)) {
				t.Errorf("%v, rotated at %v, was %v", v.Outcome, v.Record.RotatedAt, f.RotatedAt)
			}
			if before, after := f.ExpiresAt(), v.Record.ExpiresAt(); !after.Equal(before) {
				t.Errorf("expires at %v, was %v", after, before)
			}
		})
	}
}

// TestLateAndShared: what a verdict says of replays.
func TestLateAndShared(t *testing.T) {
	for _, c := range []struct {
		name         string
		after        time.Duration
		inRow        uint8
		late, shared bool
	}{
		{"at once", 0, 4, false, false},
		{"as another tab may", 20 * time.Second, 4, false, false},
		{"later than that, for the fifth time in a row", 20*time.Second + 1, 4, false, true},
		{"later than that, for the fourth time in a row", 20*time.Second + 1, 3, false, false},
		{"at the settle time", time.Minute, 0, false, false},
		{"after the settle time", time.Minute + 1, 0, true, false},
		{"two weeks later", 14 * 24 * time.Hour, 0, true, false},
		{"two weeks later, for the fifth time in a row", 14 * 24 * time.Hour, 4, true, true},
		{"before the rotation, held up", -time.Hour, 4, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := familyAt(3, false), tokenOf(2)
			f.Idle, f.AbsoluteExpiry = 1000*time.Hour, decideAt.Add(1000*time.Hour)
			f.TwiceInRow, p.Policy.Settle, p.Now = c.inRow, time.Minute, f.RotatedAt.Add(c.after)
			for range 2 { // the second time it is a retry
				v := family.Decide(f, p)
				if v.Outcome != family.Replayed || v.Late != c.late || v.Shared != c.shared {
					t.Errorf("%v, late %t, shared %t; want late %t, shared %t", v.Outcome, v.Late, v.Shared, c.late, c.shared)
				}
				f = &v.Record
			}
		})
	}
}

func TestFreshTime(t *testing.T) {
	for settle, want := range map[time.Duration]time.Duration{
		0: 0, 2 * time.Second: time.Second, 20 * time.Second: 10 * time.Second, 24 * time.Second: 10 * time.Second,
		30 * time.Second: 15 * time.Second, time.Minute: 45 * time.Second, 50 * time.Second: 35 * time.Second, 10 * time.Minute: 45 * time.Second,
	} {
		p := family.Policy{Settle: settle}
		if got := p.FreshTime(); got != want {
			t.Errorf("settle time %v: fresh for %v, want %v", settle, got, want)
		}
		if p.SingleUse = true; p.FreshTime() != 0 {
			t.Errorf("settle time %v: fresh under single use", settle)
		}
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
		family.Repeated: {"repeated", true}, family.Fresh: {"fresh", true}, family.Rotated: {"rotated", true}, family.Replayed: {"replayed", true},
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
