package storetest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A harness is a store under test, with shorthands that fail the test where
// the contract knows no error.
type harness struct {
	*testing.T
	open  func(testing.TB) family.Store
	store family.Store
}

func (h *harness) start(req family.StartRequest) family.StartResult {
	h.Helper()
	res, err := h.store.Start(h.Context(), req)
	if err != nil {
		h.Fatalf("Start: %v", err)
	}
	return res
}

// keep starts a family without a limit.
func (h *harness) keep(f family.Record) family.Record {
	h.Helper()
	if res := h.start(family.StartRequest{Record: f, Now: f.CreatedAt}); res.Refused || len(res.Evicted)+len(res.Superseded) > 0 {
		h.Fatalf("Start without a limit: %+v, want the family kept and nobody evicted", res)
	}
	return f
}

func (h *harness) rotate(p family.RotateRequest) family.Verdict {
	h.Helper()
	v, err := h.store.Rotate(h.Context(), p)
	if err != nil {
		h.Fatalf("Rotate: %v", err)
	}
	return v
}

// expect rotates and checks the outcome.
func (h *harness) expect(want family.Outcome, p family.RotateRequest) family.Verdict {
	h.Helper()
	v := h.rotate(p)
	if v.Outcome != want {
		h.Fatalf("Rotate of generation %d: %v, want %v", p.Generation, v.Outcome, want)
	}
	return v
}

func (h *harness) bind(req family.BindRequest) family.Verdict {
	h.Helper()
	v, err := h.store.Bind(h.Context(), req)
	if err != nil {
		h.Fatalf("Bind: %v", err)
	}
	return v
}

func (h *harness) setData(f family.Record, data string, now time.Time) family.Record {
	h.Helper()
	got, err := h.store.SetData(h.Context(), f.Subject, f.ID, data, now)
	if err != nil {
		h.Fatalf("SetData: %v", err)
	}
	return got
}

func (h *harness) settle(f family.Record, generation uint32) {
	h.Helper()
	if err := h.store.Settle(h.Context(), f.Subject, f.ID, generation); err != nil {
		h.Fatalf("Settle: %v", err)
	}
}

// end revokes and returns the whole answer.
func (h *harness) end(req family.RevokeRequest) family.RevokeResult {
	h.Helper()
	res, err := h.store.Revoke(h.Context(), req)
	if err != nil {
		h.Fatalf("Revoke: %v", err)
	}
	return res
}

// revoke returns the families that a request ended, sorted.
func (h *harness) revoke(req family.RevokeRequest) []family.ID {
	h.Helper()
	return sorted(h.end(req).Ended)
}

func (h *harness) find(f family.Record, now time.Time) family.Record {
	h.Helper()
	got, err := h.store.Find(h.Context(), f.Subject, f.ID, now)
	if err != nil {
		h.Fatalf("Find: %v", err)
	}
	return got
}

func (h *harness) list(subject family.Subject, now time.Time) []family.Record {
	h.Helper()
	got, err := h.store.List(h.Context(), subject, now)
	if err != nil {
		h.Fatalf("List: %v", err)
	}
	return got
}

// holds checks that the store's record of want is want.
func (h *harness) holds(want family.Record, now time.Time) {
	h.Helper()
	if d := diffFamily(h.find(want, now), want); d != "" {
		h.Fatalf("the store's record: %s", d)
	}
}

// holdsNothing checks that the store knows neither the family nor its tombstone.
func (h *harness) holdsNothing(f family.Record, now time.Time) {
	h.Helper()
	if got := h.find(f, now); !got.ID.IsZero() || got.Revoked != "" {
		h.Fatalf("Find = %+v, want the zero Family", got)
	}
}

// lists checks the subject's live families, in order.
func (h *harness) lists(subject family.Subject, now time.Time, want ...family.Record) {
	h.Helper()
	if d := diffFamilies(h.list(subject, now), want); d != "" {
		h.Fatalf("List: %s", d)
	}
}

// Logins and tokens.

// now is the time by which a test's story begins. It is close to the clock,
// for stores whose records expire by it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

const (
	idle     = 14 * 24 * time.Hour
	lifetime = 30 * 24 * time.Hour
)

// login returns a family of a new subject, as refresh.Sessions.Start makes it.
func login(at time.Time) family.Record {
	var f family.Record
	rand.Read(f.Subject[:])
	return loginOf(f.Subject, at)
}

// loginOf returns another family of the subject.
func loginOf(subject family.Subject, at time.Time) family.Record {
	f := family.Record{
		Subject: subject, Attempt: attempt(),
		CreatedAt: at, RotatedAt: at, UsedAt: at, AuthTime: at.Truncate(time.Second),
		Idle: idle, AbsoluteExpiry: at.Add(lifetime),
		Remember: true, ACR: "urn:example:mfa", AMR: []string{"pwd", "otp"},
		Fingerprint: client("home", "firefox", "laptop"),
		Device:      family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
	}
	rand.Read(f.ID[:])
	f.Current = hash(f.ID, 0)
	return f
}

// at returns f as it is after some rotations.
func at(f family.Record, generation uint32, settled bool) family.Record {
	f.Generation, f.Settled, f.Current = generation, settled, hash(f.ID, generation)
	return f
}

// present lays the token of a generation before the family, by the client
// that signed in, as an attempt of its own.
func present(f family.Record, generation uint32, now time.Time) family.RotateRequest {
	return family.RotateRequest{
		Subject: f.Subject, Family: f.ID, Generation: generation,
		Hash: hash(f.ID, generation), Successor: hash(f.ID, generation+1), Attempt: attempt(),
		Fingerprint: client("home", "firefox", "laptop"),
		Device:      family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
		Policy:      family.Policy{Enforced: family.UserAgent | family.DeviceID},
		Now:         now,
	}
}

// deviceKey is one of a few keys.
func deviceKey(kind family.KeyKind, name string) family.Key {
	return family.Key{Kind: kind, Thumbprint: sha256.Sum256([]byte(name))}
}

// bindTo lays a proof of a browser's key before the family.
func bindTo(f family.Record, key family.Key, now time.Time) family.BindRequest {
	return family.BindRequest{
		Subject: f.Subject, Family: f.ID, Key: key, Attempt: attempt(), Now: now,
		Fingerprint: client("home", "firefox", "laptop"),
		Device:      family.Device{UserAgent: "Firefox on Linux", IP: "192.0.2.1"},
	}
}

// proved is present with a proof of a native app's key.
func proved(f family.Record, generation uint32, key family.Key, proof byte, now time.Time) family.RotateRequest {
	p := present(f, generation, now)
	p.Key, p.Proof = key, family.Proof{proof}
	return p
}

// one selects a single family for revocation.
func one(f family.Record, why family.Reason, now time.Time) family.RevokeRequest {
	return family.RevokeRequest{Subject: f.Subject, Family: f.ID, Reason: why, Attempt: attempt(), Now: now}
}

// all selects every family of a subject.
func all(subject family.Subject, now time.Time) family.RevokeRequest {
	return family.RevokeRequest{Subject: subject, Reason: family.ReasonLogoutAll, Attempt: attempt(), Now: now}
}

// hash stands for the SHA-256 of a generation's secret: any function of the
// family and the generation will do, as long as the chain never forks.
func hash(id family.ID, generation uint32) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint32(id[:], generation))
}

func attempt() (a family.Attempt) {
	rand.Read(a[:])
	a[0] |= 1 // never zero
	return a
}

// client makes a fingerprint; an empty component is not bound.
func client(components ...string) (f family.Fingerprint) {
	for i, c := range components {
		if c != "" {
			h := sha256.Sum256([]byte(c))
			copy(f[i][:], h[:])
		}
	}
	return f
}

func ids(families ...family.Record) []family.ID {
	var list []family.ID
	for _, f := range families {
		list = append(list, f.ID)
	}
	return sorted(list)
}

func sorted(list []family.ID) []family.ID {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b family.ID) int { return bytes.Compare(a[:], b[:]) })
	return list
}

// Differences, in words. Empty means equal.

func diffFamilies(got, want []family.Record) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d families, want %d", len(got), len(want))
	}
	for i := range got {
		if d := diffFamily(got[i], want[i]); d != "" {
			return fmt.Sprintf("family %d of %d: %s", i+1, len(got), d)
		}
	}
	return ""
}

// diffFamily compares what is meaningful in a record: all of a live one, and
// what Family.Revoked says of a tombstone.
func diffFamily(got, want family.Record) string {
	if want.Revoked != "" {
		got = family.Record{Subject: got.Subject, ID: got.ID, Attempt: got.Attempt, Revoked: got.Revoked, RevokedAt: got.RevokedAt}
	}
	for _, field := range []struct {
		name      string
		equal     bool
		got, want any
	}{
		{"ID", got.ID == want.ID, got.ID, want.ID},
		{"Subject", got.Subject == want.Subject, got.Subject, want.Subject},
		{"Revoked", got.Revoked == want.Revoked, got.Revoked, want.Revoked},
		{"RevokedAt", got.RevokedAt.Equal(want.RevokedAt), got.RevokedAt, want.RevokedAt},
		{"Generation", got.Generation == want.Generation, got.Generation, want.Generation},
		{"Current", got.Current == want.Current, got.Current, want.Current},
		{"Settled", got.Settled == want.Settled, got.Settled, want.Settled},
		{"Attempt", got.Attempt == want.Attempt, got.Attempt, want.Attempt},
		{"Prior", got.Prior == want.Prior, got.Prior, want.Prior},
		{"CreatedAt", got.CreatedAt.Equal(want.CreatedAt), got.CreatedAt, want.CreatedAt},
		{"RotatedAt", got.RotatedAt.Equal(want.RotatedAt), got.RotatedAt, want.RotatedAt},
		{"LastUsed", got.LastUsed().Equal(want.LastUsed()), got.LastUsed(), want.LastUsed()},
		{"Twice", got.Twice == want.Twice, got.Twice, want.Twice},
		{"TwiceInRow", got.TwiceInRow == want.TwiceInRow, got.TwiceInRow, want.TwiceInRow},
		{"AuthTime", got.AuthTime.Equal(want.AuthTime), got.AuthTime, want.AuthTime},
		{"Idle", got.Idle == want.Idle, got.Idle, want.Idle},
		{"AbsoluteExpiry", got.AbsoluteExpiry.Equal(want.AbsoluteExpiry), got.AbsoluteExpiry, want.AbsoluteExpiry},
		{"Remember", got.Remember == want.Remember, got.Remember, want.Remember},
		{"ACR", got.ACR == want.ACR, got.ACR, want.ACR},
		{"AMR", slices.Equal(got.AMR, want.AMR), got.AMR, want.AMR},
		{"StepUp", equalStepUps(got.StepUp, want.StepUp), got.StepUp, want.StepUp},
		{"Actor", got.Actor == want.Actor && got.ActorReason == want.ActorReason, got.Actor + ": " + got.ActorReason, want.Actor + ": " + want.ActorReason},
		{"Data", got.Data == want.Data, got.Data, want.Data},
		{"Key", got.Key == want.Key, got.Key, want.Key},
		{"Seen", slices.Equal(got.Seen, want.Seen), got.Seen, want.Seen},
		{"Fingerprint", got.Fingerprint == want.Fingerprint, got.Fingerprint, want.Fingerprint},
		{"Device", got.Device == want.Device, got.Device, want.Device},
	} {
		if !field.equal {
			return fmt.Sprintf("%s is %v, want %v", field.name, field.got, field.want)
		}
	}
	return ""
}

func equalStepUps(a, b family.StepUp) bool {
	return a.By == b.By && (a.Time.Equal(b.Time) || a.By == family.Attempt{}) && a.ACR == b.ACR && slices.Equal(a.AMR, b.AMR)
}

// diffVerdict compares answers to a presentation. Changed is between a store
// and Decide, and not part of the answer. A store that still has the record of
// an expired family may return it with Gone.
func diffVerdict(got, want family.Verdict) string {
	if got.Outcome != want.Outcome {
		return fmt.Sprintf("outcome %v, want %v", got.Outcome, want.Outcome)
	}
	if got.Differs != want.Differs {
		return fmt.Sprintf("Differs is %q, want %q", got.Differs, want.Differs)
	}
	if got.Late != want.Late || got.Shared != want.Shared {
		return fmt.Sprintf("late %t, shared %t; want %t, %t", got.Late, got.Shared, want.Late, want.Shared)
	}
	if want.Outcome == family.Gone && want.Record.Revoked == "" {
		if got.Record.Revoked != "" {
			return fmt.Sprintf("gone for %q, want no reason", got.Record.Revoked)
		}
		return ""
	}
	return diffFamily(got.Record, want.Record)
}
