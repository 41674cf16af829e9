package family

import (
	"bytes"
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// MemoryConfig sizes a MemoryStore.
type MemoryConfig struct {
	// MaxFamilies bounds the records held. Tombstones give way to new
	// families, the oldest first; when all are alive a new login fails with
	// ErrUnavailable; nobody is signed out to make room. 0 means 100,000
	// (about 60 MB).
	MaxFamilies int
}

// MemoryStore is a Store in this process: for one instance that may forget
// its sessions when it restarts, and for tests. It is safe for concurrent use.
type MemoryStore struct {
	max int

	mu       sync.Mutex
	accounts map[Subject]*account
	due      dueHeap   // every entry, the one that may be forgotten first on top
	dead     list.List // of *entry: tombstones, the oldest first
	looked   int       // at how many entries, for the test that bounds it
}

// An account is what is kept of one subject.
type account struct {
	entries map[ID]*entry
	live    []*entry // oldest first; those that have expired go later
	acted   int      // how many of live have an Actor
	dead    []*entry // tombstones in the order of death, at most MaxStep
}

// An entry is a record and its places.
type entry struct {
	Record
	due    time.Time // not forgotten earlier
	at     int       // in the heap
	buried *list.Element
}

const (
	// forgetEach is the number of due entries that each login looks at, which is
	// more than it adds.
	forgetEach = 16
	// forgetFull is that number when there is no room.
	forgetFull = 1000
	// lookMost is the number of an account's families that one call, or one step
	// of a revocation, looks at for those that have expired.
	lookMost = 2 * ListLimit
)

// NewMemoryStore returns an empty store. It fails for a negative bound.
func NewMemoryStore(cfg MemoryConfig) (*MemoryStore, error) {
	if cfg.MaxFamilies < 0 {
		return nil, fmt.Errorf("family: MemoryConfig.MaxFamilies is negative: use 0 for the default of 100,000")
	}
	if cfg.MaxFamilies == 0 {
		cfg.MaxFamilies = 100_000
	}
	return &MemoryStore{max: cfg.MaxFamilies, accounts: make(map[Subject]*account)}, nil
}

// Start implements Store.
func (m *MemoryStore) Start(ctx context.Context, req StartRequest) (StartResult, error) {
	if err := ctx.Err(); err != nil {
		return StartResult{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	subject, id, by := req.Record.Subject, req.Record.ID, req.Record.Attempt
	acc := m.account(subject)
	if acc.entries[id] != nil { // ids are random: this is the request itself, again
		return StartResult{Superseded: acc.endedBy(by, ReasonSuperseded), Evicted: acc.endedBy(by, ReasonLimit)}, nil
	}
	m.forget(req.Now, forgetEach)
	if req.MaxSessions > 0 && len(acc.live)-acc.acted >= req.MaxSessions {
		m.forgetOf(acc, req.Now)
	}
	var res StartResult
	var superseded, evicted []*entry
	for _, old := range req.Supersedes {
		if e := acc.entries[old]; e != nil && e.Alive(req.Now) && !slices.Contains(superseded, e) {
			superseded, res.Superseded = append(superseded, e), append(res.Superseded, old)
		}
	}
	evict, refused := Admit(acc.counted(superseded), req)
	if refused {
		return StartResult{Refused: true}, nil
	}
	if !m.makeRoom(req.Now) {
		return StartResult{}, fmt.Errorf("%w: the memory store holds its limit of %d families", ErrUnavailable, m.max)
	}
	for _, e := range acc.oldest(evict, superseded) {
		evicted, res.Evicted = append(evicted, e), append(res.Evicted, e.ID)
	}
	m.end(acc, superseded, ReasonSuperseded, by, req.Now)
	m.end(acc, evicted, ReasonLimit, by, req.Now)
	f := req.Record
	f.AMR = slices.Clone(f.AMR)
	f.Seen = slices.Clone(f.Seen)
	m.add(f)
	return res, nil
}

// counted is the number of live families that count, without the superseded.
func (a *account) counted(superseded []*entry) int {
	n := len(a.live) - a.acted
	for _, e := range superseded {
		if e.Actor == "" {
			n--
		}
	}
	return n
}

// oldest returns the n oldest live families that count, without the superseded.
func (a *account) oldest(n int, superseded []*entry) (list []*entry) {
	for _, e := range a.live {
		if len(list) == n {
			break
		}
		if e.Actor == "" && !slices.Contains(superseded, e) {
			list = append(list, e)
		}
	}
	return list
}

// Rotate implements Store.
func (m *MemoryStore) Rotate(ctx context.Context, p RotateRequest) (Verdict, error) {
	if err := ctx.Err(); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	acc := m.account(p.Subject)
	e := acc.find(p.Family, p.Now)
	if e == nil {
		return Decide(nil, p), nil
	}
	v := Decide(&e.Record, p)
	switch {
	case v.Changed && v.Record.Revoked != "":
		m.end(acc, []*entry{e}, v.Record.Revoked, v.Record.Attempt, v.Record.RevokedAt)
	case v.Changed:
		e.Record = v.Record
	}
	return v, nil
}

// Bind implements Store.
func (m *MemoryStore) Bind(ctx context.Context, req BindRequest) (Verdict, error) {
	if err := ctx.Err(); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.account(req.Subject).find(req.Family, req.Now)
	if e == nil {
		return req.Decide(nil), nil
	}
	v := req.Decide(&e.Record)
	if v.Changed {
		e.Record = v.Record
	}
	return v, nil
}

// SetData implements Store.
func (m *MemoryStore) SetData(ctx context.Context, subject Subject, id ID, data string, now time.Time) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.account(subject).find(id, now)
	if e == nil {
		return Record{}, nil
	}
	if e.Revoked == "" {
		e.Data = data
	}
	return e.Record, nil
}

// Settle implements Store.
func (m *MemoryStore) Settle(ctx context.Context, subject Subject, id ID, generation uint32) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.account(subject).entries[id]; e != nil {
		e.Record, _ = e.Settle(generation)
	}
	return nil
}

// Revoke implements Store. Other calls may come between its steps.
func (m *MemoryStore) Revoke(ctx context.Context, req RevokeRequest) (RevokeResult, error) {
	var res RevokeResult
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return RevokeResult{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if !req.Family.IsZero() {
			return m.revokeOne(req), nil
		}
		var ended []ID
		ended, more = m.revokeStep(req, len(res.Ended) == 0)
		res.Ended = append(res.Ended, ended...)
	}
	return res, nil
}

func (m *MemoryStore) revokeOne(req RevokeRequest) RevokeResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(req.Now, forgetEach)
	acc := m.account(req.Subject)
	e := acc.find(req.Family, req.Now)
	switch {
	case e == nil:
		if !req.Proven || len(acc.dead) >= MaxStep || !m.makeRoom(req.Now) {
			return RevokeResult{}
		}
		if old := acc.entries[req.Family]; old != nil {
			m.remove(old)
		}
		f := Record{Subject: req.Subject, ID: req.Family}
		m.add(f.Tombstone(req.Reason, req.Attempt, req.Now))
	case e.Revoked != "":
		if e.Attempt != req.Attempt {
			return RevokeResult{Known: true}
		}
	case req.LeftBehind(e.Generation):
		return RevokeResult{LeftBehind: true}
	default:
		m.end(acc, []*entry{e}, req.Reason, req.Attempt, req.Now)
	}
	return RevokeResult{Ended: []ID{req.Family}, Known: true}
}

// revokeStep ends up to MaxStep families and reports whether there are more. The
// first step names those that the attempt has ended before.
func (m *MemoryStore) revokeStep(req RevokeRequest, first bool) (ended []ID, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	acc := m.account(req.Subject)
	m.forgetOf(acc, req.Now)
	if first {
		for _, e := range acc.dead {
			if e.Attempt == req.Attempt && !expired(&e.Record, req.Now) {
				ended = append(ended, e.ID)
			}
		}
	}
	var step []*entry
	for i, e := range acc.withoutNewest(req) {
		if more = i == lookMost || len(step) == MaxStep; more {
			break
		}
		m.looked++
		if !e.Alive(req.Now) || e.ID == req.Except || req.KeepNewest > 0 && e.Actor != "" {
			continue
		}
		step, ended = append(step, e), append(ended, e.ID)
	}
	m.end(acc, step, req.Reason, req.Attempt, req.Now)
	return ended, more
}

// withoutNewest returns the families that are older than those that KeepNewest
// spares.
func (a *account) withoutNewest(req RevokeRequest) []*entry {
	last, spared := len(a.live), 0
	for ; last > 0 && spared < req.KeepNewest; last-- {
		if e := a.live[last-1]; e.Alive(req.Now) && e.ID != req.Except && e.Actor == "" {
			spared++
		}
	}
	return a.live[:last]
}

// Find implements Store.
func (m *MemoryStore) Find(ctx context.Context, subject Subject, id ID, now time.Time) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.account(subject).find(id, now); e != nil {
		return e.Record, nil
	}
	return Record{}, nil
}

// List implements Store. Of an account with thousands of families that have
// expired and are not forgotten yet it looks at the newest.
func (m *MemoryStore) List(ctx context.Context, subject Subject, now time.Time) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	live := m.account(subject).live
	list := make([]Record, 0, min(len(live), ListLimit))
	for _, e := range slices.Backward(live[max(0, len(live)-lookMost):]) {
		if len(list) == ListLimit {
			break
		}
		m.looked++
		if e.Alive(now) {
			list = append(list, e.Record)
		}
	}
	return list, nil
}

// Ping implements Store. Memory always answers.
func (m *MemoryStore) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// account returns what is kept of a subject, which may be nothing.
func (m *MemoryStore) account(subject Subject) *account {
	if acc := m.accounts[subject]; acc != nil {
		return acc
	}
	return &account{}
}

// find returns the entry that a store with expiring records would still have.
func (a *account) find(id ID, now time.Time) *entry {
	e := a.entries[id]
	if e == nil || expired(&e.Record, now) {
		return nil
	}
	return e
}

// endedBy returns the families that an attempt ended for a reason.
func (a *account) endedBy(by Attempt, why Reason) []ID {
	var ids []ID
	for _, e := range a.dead {
		if e.Revoked == why && e.Attempt == by {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// add keeps a record that is not there.
func (m *MemoryStore) add(f Record) {
	acc := m.accounts[f.Subject]
	if acc == nil {
		acc = &account{entries: make(map[ID]*entry, 1)}
		m.accounts[f.Subject] = acc
	}
	e := &entry{Record: f, due: forgotten(&f)}
	acc.entries[f.ID] = e
	heap.Push(&m.due, e)
	if f.Revoked != "" {
		m.bury(acc, e)
		return
	}
	at, _ := slices.BinarySearchFunc(acc.live, e, older)
	acc.live = slices.Insert(acc.live, at, e)
	acc.count(e, 1)
}

// count notes that a live entry came (1) or went (-1).
func (a *account) count(e *entry, n int) {
	if e.Actor != "" {
		a.acted += n
	}
}

// leave takes families out of those that live, and looks at no others.
func (a *account) leave(families []*entry) {
	at := make([]int, len(families), len(families)+1)
	for i, e := range families {
		a.count(e, -1)
		at[i], _ = slices.BinarySearchFunc(a.live, e, older)
	}
	slices.Sort(at)
	at = append(at, len(a.live))
	left := at[0]
	for i := range families {
		left += copy(a.live[left:], a.live[at[i]+1:at[i+1]])
	}
	clear(a.live[left:])
	a.live = a.live[:left]
}

// end makes tombstones of live families.
func (m *MemoryStore) end(acc *account, families []*entry, why Reason, by Attempt, now time.Time) {
	if len(families) == 0 {
		return
	}
	acc.leave(families)
	for _, e := range families {
		m.looked++
		e.Record = e.Tombstone(why, by, now)
	}
	for _, e := range families {
		e.due = forgotten(&e.Record)
		heap.Fix(&m.due, e.at)
		m.bury(acc, e)
	}
}

// bury puts a tombstone where those of its account are; the oldest gives way.
func (m *MemoryStore) bury(acc *account, e *entry) {
	e.buried = m.dead.PushBack(e)
	if acc.dead = append(acc.dead, e); len(acc.dead) > MaxStep {
		m.remove(acc.dead[0])
	}
}

// remove forgets an entry.
func (m *MemoryStore) remove(e *entry) {
	acc := m.accounts[e.Subject]
	if e.buried != nil {
		m.dead.Remove(e.buried)
		acc.dead = slices.DeleteFunc(acc.dead, func(other *entry) bool { return other == e })
	} else if at, ok := slices.BinarySearchFunc(acc.live, e, older); ok {
		acc.live = slices.Delete(acc.live, at, at+1)
		acc.count(e, -1)
	}
	m.drop(acc, e)
}

// drop forgets an entry that is in no list of its account any more.
func (m *MemoryStore) drop(acc *account, e *entry) {
	heap.Remove(&m.due, e.at)
	delete(acc.entries, e.ID)
	if len(acc.entries) == 0 {
		delete(m.accounts, e.Subject)
	}
}

// forgetOf removes those of an account's oldest families that have expired.
func (m *MemoryStore) forgetOf(acc *account, now time.Time) {
	var gone []*entry
	for _, e := range acc.live[:min(len(acc.live), lookMost)] {
		if m.looked++; expired(&e.Record, now) {
			gone = append(gone, e)
		}
	}
	acc.leave(gone)
	for _, e := range gone {
		m.drop(acc, e)
	}
}

// forget removes what has expired among the first entries that may have, so many
// at most. Those that were used meanwhile are due later.
func (m *MemoryStore) forget(now time.Time, most int) {
	for ; most > 0 && len(m.due) > 0 && !now.Before(m.due[0].due); most-- {
		m.looked++
		if e := m.due[0]; expired(&e.Record, now) {
			m.remove(e)
		} else {
			e.due = forgotten(&e.Record)
			heap.Fix(&m.due, e.at)
		}
	}
}

// makeRoom reports whether there is room for one more entry. It is better to
// forget why somebody was signed out than to refuse a login.
func (m *MemoryStore) makeRoom(now time.Time) bool {
	if len(m.due) >= m.max {
		m.forget(now, forgetFull)
	}
	if oldest := m.dead.Front(); len(m.due) >= m.max && oldest != nil {
		m.remove(oldest.Value.(*entry))
	}
	return len(m.due) < m.max
}

// forgotten is when a record ceases to be known if nothing happens to it.
func forgotten(f *Record) time.Time {
	if f.Revoked != "" {
		return f.RevokedAt.Add(TombstoneRetention)
	}
	return f.ExpiresAt()
}

func expired(f *Record, now time.Time) bool { return !now.Before(forgotten(f)) }

// older orders families by age.
func older(a, b *entry) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// A dueHeap is a container/heap of entries by the time they are due.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
