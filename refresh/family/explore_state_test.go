package family_test

import (
	"cmp"
	"slices"
)

// A credential is a refresh token with the access token that it came with. Its
// generation is relative to the store's.
type credential struct {
	gen  int8
	fork int8 // 0 unless successors are random
	age  int8 // of the access token; the lifetime and all beyond are one
}

type parcelKind int8

const (
	nothing   parcelKind = iota
	asking               // on its way to the service
	insisting            // the same, asking for a refresh
	orphaned             // a request whose browser crashed meanwhile
	orphanInsisting
	retried   // executed, the reply was lost, and about to be executed again
	answering // on its way to the jar
)

// A parcel is a credential under way.
type parcel struct {
	kind parcelKind
	at   int8 // ticks since it was sent
	credential
}

// A storeRecord is what the store has, with generations relative to the current
// record's. Attempts that nobody can repeat any more are 0.
type storeRecord struct {
	gen, cur, prev int8 // cur and prev are forks
	settled        bool
	attempt, prior int8
	rotated, used  int8 // ticks ago, where a rule asks
	twice          bool // where it is counted
	at             int8 // in the past: how long ago it was replaced; -1 for none
}

// A jarSnapshot is a jar of the past, that a crash may bring back.
type jarSnapshot struct {
	at int8 // how long ago it was replaced; -1 for none
	credential
}

// A situation is everything that decides what can happen next.
type situation struct {
	store   storeRecord
	past    [4]storeRecord
	jar     credential
	jars    [6]jarSnapshot
	slots   [2]parcel
	dup     parcel     // executed, and about to be executed again for nobody
	settle  int8       // a generation about to settle; noSettle for none
	missed  bool       // the browser lost an answer with the current generation, where it is counted
	stolen  credential // gen is noToken while nothing was stolen
	dead    bool       // the owner has been back, and settled what followed on stolen
	revoked bool
	ended   bool // an honest client was refused
}

const (
	noSettle        = 100
	noToken         = 100
	oldest          = -4 // generations so old are all alike
	firstGeneration = 1 << 20
	dupName         = 3 // the attempts of the slots are 1 and 2
	thiefName       = 4
)

func (w *modelWorld) start() situation {
	s := situation{settle: noSettle}
	s.stolen.gen = noToken
	for i := range s.past {
		s.past[i].at = -1
	}
	for i := range s.jars {
		s.jars[i].at = -1
	}
	return s
}

// crashBrowser takes the jar back. What the disk held of it is now all that is known.
func crashBrowser(s situation, old credential) situation {
	s.jar, s.missed = old, true
	for i := range s.jars {
		s.jars[i] = jarSnapshot{at: -1}
	}
	for k := range s.slots {
		switch m := &s.slots[k]; m.kind {
		case asking:
			m.kind = orphaned
		case insisting:
			m.kind = orphanInsisting
		case answering:
			*m = parcel{}
		case retried:
			if s.dup.kind == nothing {
				s.rename(int8(k)+1, dupName)
				s.dup = *m
			}
			*m = parcel{}
		}
	}
	return s
}

// rollBackStore takes the store back; what it lost does not come again.
func rollBackStore(s situation, k int) situation {
	s.store = s.past[k]
	for i := range s.past {
		if i == k || s.past[i].at < s.store.at {
			s.past[i] = storeRecord{at: -1}
		}
	}
	s.store.at = 0
	return s
}

// push keeps the store's record as one that it may fall back to.
func (s *situation) push() {
	old := s.store
	old.at = 0
	for i := range s.past {
		if s.past[i].at < 0 {
			s.past[i] = old
			return
		}
	}
	panic("more records than the exploration has room for")
}

// remember keeps the jar as one that a crash may bring back.
func (s *situation) remember(t credential) {
	for i := range s.jars {
		if s.jars[i].at < 0 || s.jars[i].credential == t {
			s.jars[i] = jarSnapshot{0, t}
			return
		}
	}
	panic("more jars than the exploration has room for")
}

// rename gives an attempt another name.
func (s *situation) rename(from, to int8) {
	for _, r := range s.records() {
		for _, name := range []*int8{&r.attempt, &r.prior} {
			if *name == from {
				*name = to
			}
		}
	}
}

func (s *situation) records() [1 + len(situation{}.past)]*storeRecord {
	return [...]*storeRecord{&s.store, &s.past[0], &s.past[1], &s.past[2], &s.past[3]}
}

func (s *situation) tokens() [11]*credential {
	return [...]*credential{
		&s.jar, &s.slots[0].credential, &s.slots[1].credential, &s.dup.credential, &s.stolen,
		&s.jars[0].credential, &s.jars[1].credential, &s.jars[2].credential, &s.jars[3].credential, &s.jars[4].credential, &s.jars[5].credential,
	}
}

// canon brings states that differ in nothing that matters to one form.
func (x *exploration) canon(s *situation) {
	if s.revoked || s.ended {
		*s = situation{revoked: s.revoked, ended: s.ended, jar: s.jar}
		return
	}
	// Attempts that cannot come again.
	for name, m := range [...]parcel{1: s.slots[0], 2: s.slots[1], dupName: s.dup, thiefName: {}} {
		if name > 0 && m.kind != retried {
			s.rename(int8(name), 0)
		}
	}
	// Generations count from the store's.
	shift := s.store.gen
	for _, t := range s.tokens() {
		if t.gen != noToken {
			t.gen = max(t.gen-shift, oldest)
		}
	}
	for _, m := range []*parcel{&s.slots[0], &s.slots[1], &s.dup} {
		if m.kind == nothing {
			*m = parcel{}
		}
	}
	if s.settle != noSettle {
		if s.settle = s.settle - shift; s.settle <= oldest {
			s.settle = noSettle
		}
	}
	for _, r := range s.records() {
		if r.at >= 0 {
			r.gen = max(r.gen-shift, oldest)
		}
		r.used = min(r.used, x.old)
		switch {
		case x.grace || x.fromRotation:
		case r.settled:
			r.rotated = x.settle // at least
		case x.counting:
			r.rotated = min(r.rotated, x.apart)
		default:
			r.rotated = r.used // who asks for the rotation asks whether it settled
		}
	}
	s.missed = s.missed && x.counting
	if s.stolen.gen < 0 && s.store.settled {
		s.dead = true
	}
	x.canonHistory(s)
	if compareParcels(s.slots[0], s.slots[1]) > 0 {
		s.slots[0], s.slots[1] = s.slots[1], s.slots[0]
		s.rename(1, 9)
		s.rename(2, 1)
		s.rename(9, 2)
	}
	if x.random {
		s.renumber()
	}
}

// canonHistory drops what the present repeats, and sorts the rest.
func (x *exploration) canonHistory(s *situation) {
	now := jarSnapshot{-1, s.jar}
	for i := range s.jars {
		j := &s.jars[i]
		for k := range s.jars {
			if o := &s.jars[k]; k != i && o.at >= 0 && o.credential == j.credential && (o.at < j.at || o.at == j.at && k < i) {
				j.at = -1
			}
		}
		if j.credential == now.credential || j.at < 0 {
			*j = jarSnapshot{at: -1}
		}
	}
	for i := range s.past {
		p := &s.past[i]
		same := s.store
		same.at = p.at
		for k := range s.past {
			o := s.past[k]
			if k != i && o.at >= 0 && (o.at < p.at || o.at == p.at && k < i) {
				if o.at = p.at; o == *p {
					p.at = -1
				}
			}
		}
		if p.at < 0 || same == *p || !x.rollbacks {
			*p = storeRecord{at: -1}
		}
	}
	slices.SortFunc(s.jars[:], func(a, b jarSnapshot) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.gen, b.gen), cmp.Compare(a.fork, b.fork), cmp.Compare(a.age, b.age))
	})
	slices.SortFunc(s.past[:], func(a, b storeRecord) int {
		settled := 0
		if a.settled != b.settled {
			if settled = 1; b.settled {
				settled = -1
			}
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.gen, b.gen), settled, cmp.Compare(a.attempt, b.attempt),
			cmp.Compare(a.prior, b.prior), cmp.Compare(a.cur, b.cur), cmp.Compare(a.prev, b.prev), cmp.Compare(a.rotated, b.rotated), cmp.Compare(a.used, b.used))
	})
}

func compareParcels(a, b parcel) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.at, b.at), cmp.Compare(a.gen, b.gen), cmp.Compare(a.fork, b.fork), cmp.Compare(a.age, b.age))
}

// renumber names random successors by their first appearance.
func (s *situation) renumber() {
	names := map[int8]int8{0: 0}
	name := func(f *int8) {
		if _, ok := names[*f]; !ok {
			names[*f] = int8(len(names))
		}
		*f = names[*f]
	}
	for _, r := range s.records() {
		name(&r.cur)
		name(&r.prev)
	}
	for _, t := range s.tokens() {
		name(&t.fork)
	}
}
