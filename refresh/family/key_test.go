package family_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestABoundFamilyYieldsNothingWithoutAProof tries every presentation that a
// thief with any of the family's tokens can make: none is accepted, and none
// changes anything.
func TestABoundFamilyYieldsNothingWithoutAProof(t *testing.T) {
	t.Parallel()
	owner := family.Key{Kind: family.KeyDPoP, Thumbprint: [32]byte{1}}
	browser := family.Key{Kind: family.KeyDBSC, Thumbprint: [32]byte{1}}
	for _, key := range []family.Key{owner, browser} {
		for _, thief := range []family.Key{{}, {Kind: family.KeyDPoP, Thumbprint: [32]byte{2}}, {Kind: 3 - key.Kind, Thumbprint: key.Thumbprint}} {
			for token := range uint32(10) {
				for _, settled := range []bool{false, true} {
					for _, policy := range []family.Policy{
						{}, {SingleUse: true}, {EndShared: true, Settle: time.Minute}, {RefuseStoreBehind: true},
						{RevokeOnMismatch: true}, {Settle: time.Minute, KeyWithin: time.Second},
					} {
						f, p := familyAt(5, settled), tokenOf(token)
						f.Key = key
						p.Key, p.Policy, p.StepUp = thief, policy, &family.StepUp{}
						name := fmt.Sprintf("kind %d, generation %d, settled %t, %+v", key.Kind, token, settled, policy)
						if v := family.Decide(f, p); v.Outcome != family.Unproven || v.Changed {
							t.Fatalf("%s: %v, changed %t", name, v.Outcome, v.Changed)
						}
						p.Attempt = f.Attempt // as a blind retry of its owner's
						if v := family.Decide(f, p); v.Outcome != family.Unproven || v.Changed {
							t.Fatalf("%s, by the attempt that made it: %v, changed %t", name, v.Outcome, v.Changed)
						}
					}
				}
			}
		}
	}
}

// TestABrowsersKeyBindsOnce: whoever comes first with a key that the service
// offered the family to has it, and nobody else after.
func TestABrowsersKeyBindsOnce(t *testing.T) {
	t.Parallel()
	f := *familyAt(5, true)
	key := func(b byte) family.Key { return family.Key{Kind: family.KeyDBSC, Thumbprint: [32]byte{b}} }
	bind := func(k family.Key, by byte, now time.Time) family.Verdict {
		v := family.BindRequest{Subject: f.Subject, Family: f.ID, Key: k, Attempt: family.Attempt{by}, Now: now}.Decide(&f)
		if v.Changed {
			f = v.Record
		}
		return v
	}
	at := familyAt(5, true).RotatedAt.Add(time.Minute)
	for i, step := range []struct {
		key  family.Key
		by   byte
		want family.Outcome
	}{
		{key(1), 11, family.Bound},
		{key(1), 11, family.Bound}, // a blind retry
		{key(2), 12, family.Unproven},
		{key(1), 13, family.Renewed},
		{key(2), 14, family.Unproven},
	} {
		before := f
		if v := bind(step.key, step.by, at.Add(time.Duration(i)*time.Minute)); v.Outcome != step.want {
			t.Fatalf("step %d: %v, want %v", i, v.Outcome, step.want)
		}
		if step.want == family.Unproven && f.UsedAt != before.UsedAt {
			t.Fatalf("step %d: another key counts as use", i)
		}
	}
	if v := family.Decide(&f, tokenOf(5)); v.Outcome != family.Unproven {
		t.Errorf("the refresh token of a bound family: %v", v.Outcome)
	}
}
