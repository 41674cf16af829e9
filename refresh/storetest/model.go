package storetest

import (
	"bytes"
	"slices"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
)

// A model is the contract of refresh.Store, executed as plainly as can be: a
// list of records, no locks, nothing clever. It shares no code with any store
// but the decisions that package refresh makes for all of them.
type model struct {
	records []*refresh.Family
}

// get returns the record that is known at now: alive, or a tombstone that is
// still kept.
func (m *model) get(subject refresh.SubjectKey, id refresh.FamilyID, now time.Time) *refresh.Family {
	for _, f := range m.records {
		if f.Subject == subject && f.ID == id && known(f, now) {
			return f
		}
	}
	return nil
}

func known(f *refresh.Family, now time.Time) bool { return now.Before(forgotten(f)) }

// forgotten is when a record ceases to be known.
func forgotten(f *refresh.Family) time.Time {
	if f.Revoked != "" {
		return f.RevokedAt.Add(refresh.TombstoneRetention)
	}
	return f.ExpiresAt()
}

// live returns the subject's live families, oldest first.
func (m *model) live(subject refresh.SubjectKey, now time.Time) []*refresh.Family {
	var live []*refresh.Family
	for _, f := range m.records {
		if f.Subject == subject && f.Alive(now) {
			live = append(live, f)
		}
	}
	slices.SortFunc(live, func(a, b *refresh.Family) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return live
}

func (m *model) start(req refresh.StartRequest) refresh.StartResult {
	for _, f := range m.records {
		if f.Subject == req.Family.Subject && f.ID == req.Family.ID {
			return refresh.StartResult{Evicted: m.endedBy(f.Subject, req.Family.Attempt)}
		}
	}
	live := m.live(req.Family.Subject, req.Now)
	evict, refused := refresh.Admit(len(live), req)
	if refused {
		return refresh.StartResult{Refused: true}
	}
	var res refresh.StartResult
	for _, f := range live[:evict] {
		*f = f.Tombstone(refresh.ReasonLimit, req.Family.Attempt, req.Now)
		res.Evicted = append(res.Evicted, f.ID)
	}
	m.records = append(m.records, &req.Family)
	return res
}

// endedBy returns the families that an attempt evicted.
func (m *model) endedBy(subject refresh.SubjectKey, by refresh.Attempt) []refresh.FamilyID {
	var list []refresh.FamilyID
	for _, f := range m.records {
		if f.Subject == subject && f.Revoked == refresh.ReasonLimit && f.Attempt == by {
			list = append(list, f.ID)
		}
	}
	return list
}

func (m *model) rotate(p refresh.Presentation) refresh.Verdict {
	f := m.get(p.Subject, p.Family, p.Now)
	v := refresh.Decide(f, p)
	if v.Changed {
		*f = v.Family
	}
	return v
}

func (m *model) settle(subject refresh.SubjectKey, id refresh.FamilyID, generation uint32) {
	for _, f := range m.records {
		if f.Subject == subject && f.ID == id {
			*f, _ = f.Settle(generation)
		}
	}
}

// revoke returns the families that the request names and that are dead
// afterwards.
func (m *model) revoke(req refresh.RevokeRequest) []refresh.FamilyID {
	live := m.live(req.Subject, req.Now)
	if req.Family.IsZero() {
		live = slices.DeleteFunc(live, func(f *refresh.Family) bool { return f.ID == req.Except })
		live = live[:max(0, len(live)-req.KeepNewest)]
	} else {
		live = slices.DeleteFunc(live, func(f *refresh.Family) bool { return f.ID != req.Family })
	}
	for _, f := range live {
		*f = f.Tombstone(req.Reason, req.Attempt, req.Now)
	}
	var dead []refresh.FamilyID
	for _, f := range m.records {
		named := req.Family.IsZero() || req.Family == f.ID
		if f.Subject == req.Subject && named && f.Revoked != "" && known(f, req.Now) {
			dead = append(dead, f.ID)
		}
	}
	return dead
}

func (m *model) find(subject refresh.SubjectKey, id refresh.FamilyID, now time.Time) refresh.Family {
	if f := m.get(subject, id, now); f != nil {
		return *f
	}
	return refresh.Family{}
}

func (m *model) list(subject refresh.SubjectKey, now time.Time) []refresh.Family {
	var list []refresh.Family
	for _, f := range slices.Backward(m.live(subject, now)) {
		list = append(list, *f)
	}
	return list
}
