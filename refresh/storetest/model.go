package storetest

import (
	"bytes"
	"slices"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A model is the contract of family.Store, executed as plainly as can be: a
// list of records, no locks, nothing clever. It shares no code with any store
// but the decisions that package refresh makes for all of them.
type model struct {
	records []*family.Record
}

// get returns the record that is known at now: alive, or a tombstone that is
// still kept.
func (m *model) get(subject family.Subject, id family.ID, now time.Time) *family.Record {
	for _, f := range m.records {
		if f.Subject == subject && f.ID == id && known(f, now) {
			return f
		}
	}
	return nil
}

func known(f *family.Record, now time.Time) bool { return now.Before(forgotten(f)) }

// forgotten is when a record ceases to be known.
func forgotten(f *family.Record) time.Time {
	if f.Revoked != "" {
		return f.RevokedAt.Add(family.TombstoneRetention)
	}
	return f.ExpiresAt()
}

// live returns the subject's live families, oldest first.
func (m *model) live(subject family.Subject, now time.Time) []*family.Record {
	var live []*family.Record
	for _, f := range m.records {
		if f.Subject == subject && f.Alive(now) {
			live = append(live, f)
		}
	}
	slices.SortFunc(live, func(a, b *family.Record) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return live
}

func (m *model) start(req family.StartRequest) family.StartResult {
	for _, f := range m.records {
		if f.Subject == req.Record.Subject && f.ID == req.Record.ID {
			return family.StartResult{Evicted: m.endedBy(f.Subject, req.Record.Attempt)}
		}
	}
	live := m.live(req.Record.Subject, req.Now)
	evict, refused := family.Admit(len(live), req)
	if refused {
		return family.StartResult{Refused: true}
	}
	var res family.StartResult
	for _, f := range live[:evict] {
		*f = f.Tombstone(family.ReasonLimit, req.Record.Attempt, req.Now)
		res.Evicted = append(res.Evicted, f.ID)
	}
	m.records = append(m.records, &req.Record)
	return res
}

// endedBy returns the families that an attempt evicted.
func (m *model) endedBy(subject family.Subject, by family.Attempt) []family.ID {
	var list []family.ID
	for _, f := range m.records {
		if f.Subject == subject && f.Revoked == family.ReasonLimit && f.Attempt == by {
			list = append(list, f.ID)
		}
	}
	return list
}

func (m *model) rotate(p family.RotateRequest) family.Verdict {
	f := m.get(p.Subject, p.Family, p.Now)
	v := family.Decide(f, p)
	if v.Changed {
		*f = v.Record
	}
	return v
}

func (m *model) settle(subject family.Subject, id family.ID, generation uint32) {
	for _, f := range m.records {
		if f.Subject == subject && f.ID == id {
			*f, _ = f.Settle(generation)
		}
	}
}

// revoke returns the families that the request names and that are dead
// afterwards.
func (m *model) revoke(req family.RevokeRequest) []family.ID {
	live := m.live(req.Subject, req.Now)
	if req.Family.IsZero() {
		live = slices.DeleteFunc(live, func(f *family.Record) bool { return f.ID == req.Except })
		live = live[:max(0, len(live)-req.KeepNewest)]
	} else {
		live = slices.DeleteFunc(live, func(f *family.Record) bool { return f.ID != req.Family })
	}
	for _, f := range live {
		*f = f.Tombstone(req.Reason, req.Attempt, req.Now)
	}
	var dead []family.ID
	for _, f := range m.records {
		named := req.Family.IsZero() || req.Family == f.ID
		if f.Subject == req.Subject && named && f.Revoked != "" && known(f, req.Now) {
			dead = append(dead, f.ID)
		}
	}
	return dead
}

func (m *model) find(subject family.Subject, id family.ID, now time.Time) family.Record {
	if f := m.get(subject, id, now); f != nil {
		return *f
	}
	return family.Record{}
}

func (m *model) list(subject family.Subject, now time.Time) []family.Record {
	var list []family.Record
	for _, f := range slices.Backward(m.live(subject, now)) {
		list = append(list, *f)
	}
	return list
}
