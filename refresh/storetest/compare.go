package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// Compare puts a sequence of operations to the store and to a model of the
// contract, and returns the first difference, with the sequence that led to
// it. It returns nil when there is none.
//
// choose makes the sequence: it is asked again and again for a number from 0
// to n-1. Small numbers are simple choices, so a library that shrinks numbers
// shrinks the sequence. The operations are on two subjects with random keys,
// of a few families each; one sequence in several is done with each operation
// executed twice.
func Compare(store family.Store, steps int, choose func(n int) int) error {
	w := &walk{ctx: context.Background(), store: store, choose: choose, now: now()}
	for i := range w.subjects {
		w.subjects[i] = login(w.now).Subject
	}
	for range steps {
		if err := w.step(); err != nil {
			return w.report(err)
		}
	}
	if err := w.compareAll(); err != nil {
		return w.report(err)
	}
	return nil
}

// A walk is one sequence under way.
type walk struct {
	ctx    context.Context
	store  family.Store
	model  model
	choose func(n int) int

	now      time.Time
	subjects [2]family.Subject
	families []family.Record // as they were started
	tokens   []family.RotateRequest
	starts   []family.StartRequest
	revokes  []family.RevokeRequest
	binds    []family.BindRequest
	log      []string
}

var errDiffers = errors.New("storetest: the store differs from the contract")

func (w *walk) report(err error) error {
	return fmt.Errorf("%w\nafter\n  %s", err, strings.Join(w.log, "\n  "))
}

func differs(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDiffers, fmt.Sprintf(format, args...))
}

func (w *walk) note(format string, args ...any) {
	w.log = append(w.log, w.now.Format("Jan 02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// step does one operation. Rotations are the most likely.
func (w *walk) step() error {
	w.pass()
	if len(w.families) == 0 {
		return w.stepStart()
	}
	switch w.choose(16) {
	default:
		return w.stepRotate()
	case 6, 7:
		return w.stepSettle()
	case 8:
		return w.stepStart()
	case 9:
		return w.stepRevoke()
	case 10:
		return w.stepRetry()
	case 11:
		if err := w.compareList(w.subject()); err != nil {
			return err
		}
		return w.look(w.family())
	case 14:
		return w.stepBind()
	case 15:
		return w.stepSetData()
	}
}

// pass lets time pass: none, a little, or up to where something ends.
func (w *walk) pass() {
	var d time.Duration
	switch w.choose(8) {
	case 1, 2:
		d = time.Millisecond
	case 3:
		d = []time.Duration{time.Second, 20 * time.Second, 50 * time.Second, 70 * time.Second}[w.choose(4)]
	case 4:
		d = 10 * time.Minute
	case 5:
		d = 36 * time.Hour
	case 6:
		if len(w.model.records) > 0 {
			end := forgotten(w.model.records[w.choose(len(w.model.records))])
			d = end.Sub(w.now) + time.Duration(w.choose(3)-1)*time.Millisecond
		}
	}
	w.now = w.now.Add(max(0, d))
}

// steady reports whether no record is forgotten between then and now, so that
// a request with the time of then finds in every store what the model has.
func (w *walk) steady(then time.Time) bool {
	return !slices.ContainsFunc(w.model.records, func(f *family.Record) bool {
		end := forgotten(f)
		return end.After(then) && !end.After(w.now)
	})
}

func (w *walk) subject() family.Subject { return w.subjects[w.choose(len(w.subjects))] }

func (w *walk) family() *family.Record { return &w.families[w.choose(len(w.families))] }

// twice is how often an operation is executed: its repetition must not show.
func (w *walk) twice() int { return 1 + w.choose(4)/3 }

func (w *walk) stepStart() error {
	f := loginOf(w.subject(), w.now)
	// Ids that sort and look alike, and hold bytes that stores choke on.
	copy(f.ID[:8], strings.Repeat([]string{"\x00", "}", "\n", "\xff"}[w.choose(4)], 8))
	f.Current = hash(f.ID, 0)
	f.Idle = []time.Duration{idle, time.Hour, lifetime}[w.choose(3)]
	if w.choose(4) == 3 { // as a store that lost writes has it
		f = at(f, 3, w.choose(2) == 1)
		f.Prior = attempt()
	}
	f.Remember = w.choose(2) == 0
	switch w.choose(4) { // as two clients, or a clock that was ahead, leave it
	case 2:
		f.Twice, f.TwiceInRow = w.choose(2) == 1, []uint8{0, family.SharedAfter - 1, family.SharedAfter, 2}[w.choose(4)]
	case 3:
		f.RotatedAt = w.now.Add(time.Duration(w.choose(120)) * time.Second)
		f.UsedAt = f.RotatedAt.Add(time.Duration(w.choose(120)) * time.Second)
	}
	f.Fingerprint = w.client()
	if w.choose(6) == 5 {
		f.Key = w.key()
	}
	if w.choose(6) == 5 {
		f.Actor, f.ActorReason = "support", []string{"", "a call"}[w.choose(2)]
	}
	if w.choose(4) == 3 {
		f.Data = "organisation 7"
	}
	req := family.StartRequest{Record: f, MaxSessions: w.choose(4), RefuseAtLimit: w.choose(2) == 1, Now: w.now}
	var superseded []string
	for range min(len(w.families), max(0, w.choose(5)-2)) {
		old := w.family() // of either subject, alive or not
		req.Supersedes = append(req.Supersedes, old.ID)
		superseded = append(superseded, w.name(old.ID))
	}
	w.families = append(w.families, f)
	w.starts = append(w.starts, req)
	w.note("start %s, limit %d, refuse %t, in place of %v", w.name(f.ID), req.MaxSessions, req.RefuseAtLimit, superseded)
	return w.start(req)
}

func (w *walk) start(req family.StartRequest) error {
	for range w.twice() {
		want := w.model.start(req)
		got, err := w.store.Start(w.ctx, req)
		if err != nil {
			return err
		}
		if got.Refused != want.Refused || !equalIDs(got.Evicted, want.Evicted) || !equalIDs(got.Superseded, want.Superseded) {
			return differs("start: %+v, want %+v", got, want)
		}
	}
	return nil
}

// client returns one of a few fingerprints; each component may be missing.
func (w *walk) client() family.Fingerprint {
	c := []string{"home", "firefox", "laptop"}
	if k := w.choose(9); k > 2 {
		c[k%3] = []string{"other", ""}[k/3-1]
	}
	return client(c...)
}

func (w *walk) stepRotate() error {
	f := w.family()
	g := f.Generation
	if m := w.model.get(f.Subject, f.ID, w.now); m != nil && m.Revoked == "" {
		g = m.Generation
	}
	generation := max(0, int(g)+[]int{0, -1, 1, -2, 3}[w.choose(5)])
	p := present(*f, uint32(generation), w.now)
	p.Fingerprint = w.client()
	p.Device = family.Device{UserAgent: []string{"Firefox on Linux", ""}[w.choose(2)], IP: []string{"192.0.2.1", "2001:db8::1"}[w.choose(2)]}
	p.Policy = family.Policy{
		Enforced:          family.Components(w.choose(8)),
		RevokeOnMismatch:  w.choose(4) == 3,
		RefuseStoreBehind: w.choose(4) == 3,
		SingleUse:         w.choose(8) == 7,
		EndShared:         w.choose(2) == 1,
		Settle:            []time.Duration{0, time.Minute, 30 * time.Second, 4 * time.Hour}[w.choose(4)],
	}
	if w.choose(4) == 3 { // timeouts of today, some of them shorter
		lifetimes := []time.Duration{0, time.Hour, 3 * 24 * time.Hour, 2 * lifetime}
		p.Policy.Idle, p.Policy.Absolute, p.Policy.Browser = lifetimes[w.choose(4)], lifetimes[w.choose(4)], lifetimes[w.choose(4)]
	}
	if w.choose(16) == 15 {
		p.Hash[0] ^= 1
	}
	if w.choose(10) == 9 {
		p.Policy.KeyWithin = []time.Duration{time.Minute, lifetime}[w.choose(2)]
	}
	if k := w.key(); k.Kind == family.KeyDPoP || w.choose(4) == 3 {
		p.Key, p.Proof = k, family.Proof{byte(w.choose(5))}
	}
	if w.choose(6) == 5 {
		p.StepUp = &family.StepUp{Time: w.now.Truncate(time.Second), ACR: "again", AMR: []string{"pwd"}}
	}
	if slow := w.now.Add(-20 * time.Second); w.choose(8) == 7 && w.steady(slow) {
		p.Now = slow
	}
	w.tokens = append(w.tokens, p)
	return w.rotate(p)
}

func (w *walk) rotate(p family.RotateRequest) error {
	for range w.twice() {
		want := w.model.rotate(p)
		w.note("rotate %s with generation %d, %+v, client %s: %v", w.name(p.Family), p.Generation, p.Policy, want.Differs, want.Outcome)
		got, err := w.store.Rotate(w.ctx, p)
		if err != nil {
			return err
		}
		if d := diffVerdict(got, want); d != "" {
			return differs("rotate: %s", d)
		}
	}
	return nil
}

// key is one of a few device keys, or none.
func (w *walk) key() family.Key {
	kind := family.KeyKind(w.choose(3))
	if kind == family.KeyNone {
		return family.Key{}
	}
	return deviceKey(kind, []string{"one", "two"}[w.choose(2)])
}

func (w *walk) stepBind() error {
	f := w.family()
	req := bindTo(*f, deviceKey(family.KeyDBSC, []string{"one", "two"}[w.choose(2)]), w.now)
	req.Fingerprint = w.client()
	req.Device.UserAgent = []string{"Firefox on Linux", ""}[w.choose(2)]
	if w.choose(4) == 3 {
		req.Policy.Idle, req.Policy.Absolute = time.Hour, 3*24*time.Hour
	}
	w.binds = append(w.binds, req)
	return w.bind(req)
}

func (w *walk) bind(req family.BindRequest) error {
	for range w.twice() {
		want := w.model.bind(req)
		w.note("bind %s to %v %x: %v", w.name(req.Family), req.Key.Kind, req.Key.Thumbprint[:2], want.Outcome)
		got, err := w.store.Bind(w.ctx, req)
		if err != nil {
			return err
		}
		if d := diffVerdict(got, want); d != "" {
			return differs("bind: %s", d)
		}
	}
	return nil
}

func (w *walk) stepSetData() error {
	f, data := w.family(), []string{"", "a", strings.Repeat("z", family.MaxData)}[w.choose(3)]
	for range w.twice() {
		want := w.model.setData(f.Subject, f.ID, data, w.now)
		w.note("set data of %s, %d bytes", w.name(f.ID), len(data))
		got, err := w.store.SetData(w.ctx, f.Subject, f.ID, data, w.now)
		if err != nil {
			return err
		}
		if d := diffFamily(got, want); d != "" {
			return differs("set data: %s", d)
		}
	}
	return nil
}

func (w *walk) stepSettle() error {
	f := w.family()
	g := f.Generation
	if m := w.model.get(f.Subject, f.ID, w.now); m != nil {
		g = m.Generation
	}
	g = uint32(max(0, int(g)+[]int{0, 0, 0, -1, 1}[w.choose(5)]))
	w.note("settle generation %d of %s", g, w.name(f.ID))
	for range w.twice() {
		// An expired record that a store still has may settle: nobody can tell.
		w.model.settle(f.Subject, f.ID, g)
		if err := w.store.Settle(w.ctx, f.Subject, f.ID, g); err != nil {
			return err
		}
	}
	return w.look(f)
}

func (w *walk) stepRevoke() error {
	f := w.family()
	req := all(f.Subject, w.now)
	req.Reason = []family.Reason{family.ReasonLogout, family.ReasonUser}[w.choose(2)]
	switch w.choose(4) {
	case 0, 1:
		req.Family = f.ID
	case 2:
		req.Except = f.ID
	}
	if req.Family.IsZero() {
		req.KeepNewest = w.choose(3)
	} else {
		req.Proven = w.choose(2) == 1
		if m := w.model.get(f.Subject, f.ID, w.now); m != nil && w.choose(2) == 1 {
			req.CheckGeneration = true
			req.Generation = uint32(max(0, int(m.Generation)+[]int{0, -1, -2, 1}[w.choose(4)]))
		}
	}
	w.revokes = append(w.revokes, req)
	return w.revoke(req)
}

func (w *walk) revoke(req family.RevokeRequest) error {
	w.note("revoke family %s, proven %t, generation %d (%t), except %s, keep %d",
		w.name(req.Family), req.Proven, req.Generation, req.CheckGeneration, w.name(req.Except), req.KeepNewest)
	for range w.twice() {
		want := w.model.revoke(req)
		got, err := w.store.Revoke(w.ctx, req)
		if err != nil {
			return err
		}
		if got.Known != want.Known || got.LeftBehind != want.LeftBehind || !equalIDs(got.Ended, want.Ended) {
			return differs("revoke: %+v, want %+v", got, want)
		}
	}
	return nil
}

// stepRetry executes an earlier request again, as it was.
func (w *walk) stepRetry() error {
	switch w.choose(5) {
	default:
		if n := len(w.tokens); n > 0 {
			if p := w.tokens[n-1-w.choose(n)]; w.steady(p.Now) {
				w.note("again:")
				return w.rotate(p)
			}
		}
	case 2:
		if req := w.starts[len(w.starts)-1-w.choose(len(w.starts))]; w.steady(req.Now) {
			w.note("start %s again", w.name(req.Record.ID))
			return w.start(req)
		}
	case 3:
		if n := len(w.revokes); n > 0 {
			if req := w.revokes[n-1-w.choose(n)]; w.steady(req.Now) {
				w.note("again:")
				return w.revoke(req)
			}
		}
	case 4:
		if n := len(w.binds); n > 0 {
			if req := w.binds[n-1-w.choose(n)]; w.steady(req.Now) {
				w.note("again:")
				return w.bind(req)
			}
		}
	}
	return nil
}

// compareAll compares every record: the live ones by the lists, the others one
// by one.
func (w *walk) compareAll() error {
	for _, s := range w.subjects {
		if err := w.compareList(s); err != nil {
			return err
		}
	}
	for i := range w.families {
		f := &w.families[i]
		if m := w.model.find(f.Subject, f.ID, w.now); m.ID.IsZero() || m.Revoked != "" {
			if err := w.look(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// look compares the record of one family.
func (w *walk) look(f *family.Record) error {
	got, err := w.store.Find(w.ctx, f.Subject, f.ID, w.now)
	if err != nil {
		return err
	}
	if d := diffFamily(got, w.model.find(f.Subject, f.ID, w.now)); d != "" {
		return differs("find %s: %s", w.name(f.ID), d)
	}
	return nil
}

func (w *walk) compareList(subject family.Subject) error {
	got, err := w.store.List(w.ctx, subject, w.now)
	if err != nil {
		return err
	}
	if d := diffFamilies(got, w.model.list(subject, w.now)); d != "" {
		return differs("list: %s", d)
	}
	return nil
}

// name is a family as the report shows it.
func (w *walk) name(id family.ID) string {
	for i, f := range w.families {
		if f.ID == id {
			return fmt.Sprintf("#%d of %x", i+1, f.Subject[:2])
		}
	}
	return "none"
}

var randomRules = []rule{
	{"whatever happens in whatever order, the store answers as the contract does", func(h *harness) {
		for seed := range uint64(200) {
			random := rand.New(rand.NewPCG(seed, 0))
			if err := Compare(h.store, 20, random.IntN); err != nil {
				h.Fatalf("seed %d: %v", seed, err)
			}
		}
	}},
}
