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
	by := req.Record.Attempt
	for _, f := range m.records {
		if f.Subject == req.Record.Subject && f.ID == req.Record.ID {
			return family.StartResult{
				Superseded: m.endedBy(f.Subject, by, family.ReasonSuperseded), Evicted: m.endedBy(f.Subject, by, family.ReasonLimit),
			}
		}
	}
	var superseded, others []*family.Record
	for _, f := range m.live(req.Record.Subject, req.Now) {
		if slices.Contains(req.Supersedes, f.ID) {
			superseded = append(superseded, f)
		} else {
			others = append(others, f)
		}
	}
	others = slices.DeleteFunc(others, acted)
	evict, refused := family.Admit(len(others), req)
	if refused {
		return family.StartResult{Refused: true}
	}
	var res family.StartResult
	for _, f := range superseded {
		*f = f.Tombstone(family.ReasonSuperseded, by, req.Now)
		res.Superseded = append(res.Superseded, f.ID)
	}
	for _, f := range others[:evict] {
		*f = f.Tombstone(family.ReasonLimit, by, req.Now)
		res.Evicted = append(res.Evicted, f.ID)
	}
	m.records = append(m.records, &req.Record)
	return res
}

func acted(f *family.Record) bool { return f.Actor != "" }

// endedBy returns the families that an attempt ended for a reason.
func (m *model) endedBy(subject family.Subject, by family.Attempt, why family.Reason) []family.ID {
	var list []family.ID
	for _, f := range m.records {
		if f.Subject == subject && f.Revoked == why && f.Attempt == by {
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

func (m *model) bind(req family.BindRequest) family.Verdict {
	f := m.get(req.Subject, req.Family, req.Now)
	v := req.Decide(f)
	if v.Changed {
		*f = v.Record
	}
	return v
}

func (m *model) setData(subject family.Subject, id family.ID, data string, now time.Time) family.Record {
	f := m.get(subject, id, now)
	if f != nil && f.Revoked == "" {
		f.Data = data
	}
	return m.find(subject, id, now)
}

func (m *model) settle(subject family.Subject, id family.ID, generation uint32) {
	for _, f := range m.records {
		if f.Subject == subject && f.ID == id {
			*f, _ = f.Settle(generation)
		}
	}
}

func (m *model) revoke(req family.RevokeRequest) (res family.RevokeResult) {
	if !req.Family.IsZero() {
		return m.revokeOne(req)
	}
	live := slices.DeleteFunc(m.live(req.Subject, req.Now), func(f *family.Record) bool {
		return f.ID == req.Except || req.KeepNewest > 0 && acted(f)
	})
	for _, f := range live[:max(0, len(live)-req.KeepNewest)] {
		*f = f.Tombstone(req.Reason, req.Attempt, req.Now)
	}
	for _, f := range m.records {
		if f.Subject == req.Subject && f.Revoked != "" && f.Attempt == req.Attempt && known(f, req.Now) {
			res.Ended = append(res.Ended, f.ID)
		}
	}
	return res
}

func (m *model) revokeOne(req family.RevokeRequest) family.RevokeResult {
	f := m.get(req.Subject, req.Family, req.Now)
	switch {
	case f == nil && !req.Proven:
		return family.RevokeResult{}
	case f == nil:
		m.records = slices.DeleteFunc(m.records, func(f *family.Record) bool { return f.Subject == req.Subject && f.ID == req.Family })
		f = &family.Record{Subject: req.Subject, ID: req.Family}
		m.records = append(m.records, f)
	case f.Revoked != "" && f.Attempt != req.Attempt:
		return family.RevokeResult{Known: true}
	case f.Revoked == "" && req.LeftBehind(f.Generation):
		return family.RevokeResult{LeftBehind: true}
	}
	if f.Revoked == "" {
		*f = f.Tombstone(req.Reason, req.Attempt, req.Now)
	}
	return family.RevokeResult{Ended: []family.ID{req.Family}, Known: true}
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
