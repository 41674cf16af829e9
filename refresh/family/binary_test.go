package family_test

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

var (
	_ encoding.BinaryMarshaler   = (*family.Record)(nil)
	_ encoding.BinaryUnmarshaler = (*family.Record)(nil)
)

// full is a record of which every field that a live one has is set.
func full() family.Record {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	return family.Record{
		Subject: family.Subject{1, 15: 2}, ID: family.ID{3, 15: 4},
		Generation: 0x01020304, Current: [32]byte{5, 31: 6}, Settled: true,
		Attempt: family.Attempt{7}, Prior: family.Attempt{8}, Twice: true, TwiceInRow: 3,
		CreatedAt: at(1_700_000_000_001), RotatedAt: at(1_700_000_000_002), UsedAt: at(1_700_000_000_003),
		AuthTime: at(1_700_000_000_000), Idle: time.Hour, AbsoluteExpiry: at(1_700_000_000_004),
		Remember: true, ACR: "acr", AMR: []string{"pwd", "otp"},
		StepUp: family.StepUp{By: family.Attempt{9}, Time: at(1_700_000_005_000), ACR: "mfa", AMR: []string{"hwk"}},
		Actor:  "support", ActorReason: "ticket", Data: "cart",
		Fingerprint: family.Fingerprint{{10}, {11}, {12}},
		Device:      family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
		Key:         family.Key{Kind: family.KeyDPoP, Thumbprint: [32]byte{13}},
		Seen:        []family.SeenProof{{Proof: family.Proof{14}, By: [4]byte{15}}, {Proof: family.Proof{16}}},
	}
}

func marshal(t *testing.T, f family.Record) []byte {
	t.Helper()
	b, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goldenRecord = "" +
	"0101000000000000000000000000000002030000000000000000000000000000040f0102030405000000000000000000000000000000000000000000" +
	"0000000000000000000607000000000008000000000003018bcfe56801018bcfe56802018bcfe56803006553f10000000e10018bcfe568040a000000" +
	"00000000000000000b00000000000000000000000c0000000000000000000000020d0000000000000000000000000000000000000000000000000000" +
	"0000000000020e00000000000f00000010000000000000000000000361637202000370776400036f7470001046697265666f78206f6e204c696e7578" +
	"00093139322e302e322e310007737570706f727400067469636b6574000463617274090000000000006553f10500036d666101000368776b"

const goldenTombstone = "" +
	"810100000000000000000000000000000203000000000000000000000000000004010000000002018bcfe5680100057265757365"

// TestBinaryFormIsWhatItWas: what an older build wrote is read, and written again
// as it was.
func TestBinaryFormIsWhatItWas(t *testing.T) {
	t.Parallel()
	live := full()
	dead := live.Tombstone(family.ReasonReuse, family.Attempt{1, 5: 2}, live.CreatedAt)
	for _, tt := range []struct {
		record family.Record
		golden string
	}{{live, goldenRecord}, {dead, goldenTombstone}} {
		if got := hex.EncodeToString(marshal(t, tt.record)); got != tt.golden {
			t.Errorf("written: %s, want %s", got, tt.golden)
		}
		b, err := hex.DecodeString(tt.golden)
		if err != nil {
			t.Fatal(err)
		}
		var got family.Record
		if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, tt.record) {
			t.Errorf("read: %+v, %v, want %+v", got, err, tt.record)
		}
	}
}

// TestBinaryFormHasEveryField: a field that the form forgot would be lost without
// a word.
func TestBinaryFormHasEveryField(t *testing.T) {
	t.Parallel()
	whole := full()
	v := reflect.ValueOf(&whole).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || strings.HasPrefix(field.Name, "Revoked") {
			continue
		}
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set by this test", field.Name)
		}
		less := whole
		reflect.ValueOf(&less).Elem().Field(i).SetZero()
		var got family.Record
		if err := got.UnmarshalBinary(marshal(t, less)); err != nil || !reflect.DeepEqual(got, less) {
			t.Errorf("without %s: %+v, %v", field.Name, got, err)
		}
	}
	var zero, got family.Record
	if err := got.UnmarshalBinary(marshal(t, zero)); err != nil || !reflect.DeepEqual(got, zero) {
		t.Errorf("the zero record: %+v, %v", got, err)
	}
}

// TestANewerFormSurvives: what a newer build appended is kept through a change by
// this one.
func TestANewerFormSurvives(t *testing.T) {
	t.Parallel()
	var f family.Record
	if err := f.UnmarshalBinary(append(marshal(t, full()), "newer"...)); err != nil {
		t.Fatal(err)
	}
	p := family.RotateRequest{Generation: f.Generation, Hash: f.Current, Key: f.Key, Proof: family.Proof{1}, Now: f.CreatedAt, Attempt: family.Attempt{1}}
	v := family.Decide(&f, p)
	if v.Outcome != family.Rotated {
		t.Fatal(v.Outcome)
	}
	if b := marshal(t, v.Record); !bytes.HasSuffix(b, []byte("newer")) {
		t.Errorf("%q", b)
	}
	if b := marshal(t, f.Tombstone(family.ReasonLogout, p.Attempt, p.Now)); bytes.Contains(b, []byte("newer")) {
		t.Errorf("a tombstone keeps it: %q", b)
	}
}

func TestBinaryFormRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	good := marshal(t, full())
	f := full()
	dead := marshal(t, f.Tombstone(family.ReasonReuse, family.Attempt{1}, f.CreatedAt))
	change := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": {}, "a newer version": change(good, 0, 2), "an unknown flag": change(good, 33, 0xff),
		"a tombstone with more behind": append(bytes.Clone(dead), 1), "a tombstone without a reason": append(dead[:len(dead)-len("reuse")-2:len(dead)-len("reuse")-2], 0, 0),
	} {
		got := family.Record{Data: "before"}
		if err := got.UnmarshalBinary(b); err == nil || got.Data != "before" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, whole := range [][]byte{good, dead} {
		for n := range whole {
			if err := new(family.Record).UnmarshalBinary(whole[:n]); err == nil {
				t.Fatalf("%d of %d bytes are taken for a record", n, len(whole))
			}
		}
	}
	for name, f := range map[string]family.Record{
		"a time before 1970": {CreatedAt: time.Unix(-1, 0)}, "a time too late": {RotatedAt: time.UnixMilli(1 << 48)},
		"a negative time": {Idle: -time.Second}, "a text too long": {Data: strings.Repeat("x", 1<<16)}, "a list too long": {AMR: make([]string, 256)},
	} {
		if b, err := f.MarshalBinary(); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
}

func FuzzRecord(f *testing.F) {
	live := full()
	dead := live.Tombstone(family.ReasonReuse, family.Attempt{1}, live.CreatedAt)
	for _, r := range []family.Record{live, dead, {}} {
		b, err := r.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, "newer"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r family.Record
		if r.UnmarshalBinary(b) != nil {
			return
		}
		if again, err := r.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is written as %x, %v", b, again, err)
		}
	})
}
