package family

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// MemoryConfig sizes a MemoryStore.
type MemoryConfig struct {
	// MaxFamilies bounds the records held. Tombstones give way to new
	// families; when all are alive a new login fails with ErrUnavailable; nobody is signed
	// out to make room. 0 means 100,000 (about 60 MB).
	MaxFamilies int
}

// MemoryStore is a Store in this process: for one instance that may forget
// its sessions when it restarts, and for tests. It is safe for concurrent use.
type MemoryStore struct {
	max int

	mu       sync.Mutex
	subjects map[Subject]map[ID]*Record
	count    int
	// sweepAt is the number of records at which expired ones are looked
	// for next: twice what the last sweep left, so that sweeping costs
	// each login a constant.
	sweepAt int
}

// minSweep keeps small stores from sweeping at every login.
const minSweep = 1024

// NewMemoryStore returns an empty store. It fails for a negative bound.
func NewMemoryStore(cfg MemoryConfig) (*MemoryStore, error) {
	if cfg.MaxFamilies < 0 {
		return nil, fmt.Errorf("family: MemoryConfig.MaxFamilies is negative: use 0 for the default of 100,000")
	}
	if cfg.MaxFamilies == 0 {
		cfg.MaxFamilies = 100_000
	}
	return &MemoryStore{max: cfg.MaxFamilies, subjects: make(map[Subject]map[ID]*Record), sweepAt: min(minSweep, cfg.MaxFamilies)}, nil
}

// Start implements Store.
func (m *MemoryStore) Start(ctx context.Context, req StartRequest) (StartResult, error) {
	if err := ctx.Err(); err != nil {
		return StartResult{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	families := m.subjects[req.Record.Subject]
	if families[req.Record.ID] != nil { // ids are random: this is the request itself, again
		return StartResult{Evicted: evictedBy(families, req.Record.Attempt)}, nil
	}

	live := m.live(req.Record.Subject, req.Now)
	evict, refused := Admit(len(live), req)
	if refused {
		return StartResult{Refused: true}, nil
	}
	if m.count >= m.sweepAt {
		m.sweep(req.Now, false)
	}
	if m.count >= m.max {
		m.sweep(req.Now, true) // better forget why somebody was signed out
	}
	if m.count >= m.max {
		return StartResult{}, fmt.Errorf("%w: the memory store holds its limit of %d families", ErrUnavailable, m.max)
	}
	var res StartResult
	for _, old := range live[:evict] {
		*old = old.Tombstone(ReasonLimit, req.Record.Attempt, req.Now)
		res.Evicted = append(res.Evicted, old.ID)
	}
	if families = m.subjects[req.Record.Subject]; families == nil {
		families = make(map[ID]*Record, 1)
		m.subjects[req.Record.Subject] = families
	}
	f := req.Record
	f.AMR = slices.Clone(f.AMR)
	families[f.ID] = &f
	m.count++
	return res, nil
}

// Rotate implements Store.
func (m *MemoryStore) Rotate(ctx context.Context, p RotateRequest) (Verdict, error) {
	if err := ctx.Err(); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.find(p.Subject, p.Family, p.Now)
	v := Decide(f, p)
	if v.Changed {
		*f = v.Record
	}
	return v, nil
}

// Settle implements Store.
func (m *MemoryStore) Settle(ctx context.Context, subject Subject, id ID, generation uint32) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.subjects[subject][id]; f != nil {
		*f, _ = f.Settle(generation)
	}
	return nil
}

// Revoke implements Store.
func (m *MemoryStore) Revoke(ctx context.Context, req RevokeRequest) ([]ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	live := m.live(req.Subject, req.Now)
	if !req.Family.IsZero() {
		live = slices.DeleteFunc(live, func(f *Record) bool { return f.ID != req.Family })
	} else {
		live = slices.DeleteFunc(live, func(f *Record) bool { return f.ID == req.Except })
		live = live[:max(0, len(live)-req.KeepNewest)]
	}
	for _, f := range live {
		*f = f.Tombstone(req.Reason, req.Attempt, req.Now)
	}
	var dead []ID
	for id, f := range m.subjects[req.Subject] {
		if f.Revoked != "" && m.find(req.Subject, id, req.Now) != nil && (req.Family.IsZero() || req.Family == id) {
			dead = append(dead, id)
		}
	}
	return dead, nil
}

// Find implements Store.
func (m *MemoryStore) Find(ctx context.Context, subject Subject, id ID, now time.Time) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.find(subject, id, now); f != nil {
		return *f, nil
	}
	return Record{}, nil
}

// List implements Store.
func (m *MemoryStore) List(ctx context.Context, subject Subject, now time.Time) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	live := m.live(subject, now)
	list := make([]Record, 0, len(live))
	for _, f := range slices.Backward(live) {
		list = append(list, *f)
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

// find returns the record that a store with expiring records would still have.
func (m *MemoryStore) find(subject Subject, id ID, now time.Time) *Record {
	f := m.subjects[subject][id]
	if f == nil || expired(f, now) {
		return nil
	}
	return f
}

// live returns the subject's live families, oldest first.
func (m *MemoryStore) live(subject Subject, now time.Time) []*Record {
	var live []*Record
	for _, f := range m.subjects[subject] {
		if f.Alive(now) {
			live = append(live, f)
		}
	}
	slices.SortFunc(live, func(a, b *Record) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return live
}

// sweep drops every expired record, and the tombstones if it must.
func (m *MemoryStore) sweep(now time.Time, tombstones bool) {
	for subject, families := range m.subjects {
		for id, f := range families {
			if expired(f, now) || tombstones && f.Revoked != "" {
				delete(families, id)
				m.count--
			}
		}
		if len(families) == 0 {
			delete(m.subjects, subject)
		}
	}
	m.sweepAt = min(m.max, max(minSweep, 2*m.count))
}

func expired(f *Record, now time.Time) bool {
	if f.Revoked != "" {
		return !now.Before(f.RevokedAt.Add(TombstoneRetention))
	}
	return !f.Alive(now)
}

// evictedBy returns the families that gave way to a login.
func evictedBy(families map[ID]*Record, a Attempt) []ID {
	var ids []ID
	for id, f := range families {
		if f.Revoked == ReasonLimit && f.Attempt == a {
			ids = append(ids, id)
		}
	}
	return ids
}
