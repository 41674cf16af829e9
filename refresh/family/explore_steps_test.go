package family_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A happening leads from one situation to the next.
type happening struct {
	what       string
	credential credential
	outcome    family.Outcome
}

func (e happening) String() string {
	if e.credential == (credential{gen: noToken}) {
		return e.what
	}
	return fmt.Sprintf(e.what, e.credential, e.outcome)
}

func (t credential) String() string {
	fork := ""
	if t.fork > 0 {
		fork = string(rune('a' + t.fork))
	}
	return fmt.Sprintf("generation %+d%s (access token %d old)", t.gen, fork, t.age)
}

// An exploration is a walk through a world, under way or done.
type exploration struct {
	*modelWorld
	states []situation
	from   []int32
	events []happening
	seen   map[situation]struct{}
	check  func(*exploration, *situation) string
	bad    string
	// Ages from which on a generation is not fresh, and a second presentation
	// counts: all beyond are alike.
	old, apart int8

	outcomes map[family.Outcome]int
}

// explore visits all states, or as many as it takes to find one that check
// objects to.
func (w modelWorld) explore(check func(*exploration, *situation) string) *exploration {
	x := &exploration{modelWorld: &w, seen: make(map[situation]struct{}), check: check, outcomes: make(map[family.Outcome]int)}
	p := family.Policy{Settle: time.Minute}
	x.old, x.apart = int8((p.FreshTime()+w.length()-1)/w.length()), int8(p.ParallelTime()/w.length())+1
	x.add(0, happening{"a login", credential{gen: noToken}, 0}, w.start())
	for i := 0; i < len(x.states) && x.bad == ""; i++ {
		x.visit(int32(i))
	}
	return x
}

// story tells the shortest way to the bad state.
func (x *exploration) story() string {
	lines := []string{x.bad}
	ticks := 0
	for i := int32(len(x.states) - 1); i >= 0; i = x.from[i] {
		what := x.events[i].String()
		if what == tickPasses {
			ticks++
			continue
		}
		if ticks > 0 {
			lines = append(lines, fmt.Sprintf("time passes, ticks: %d", ticks))
		}
		if lines, ticks = append(lines, what), 0; i == 0 {
			break
		}
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

const tickPasses = "a tick passes"

// add enters a state, in its canonical form.
func (x *exploration) add(from int32, e happening, s situation) {
	if x.bad != "" {
		return
	}
	x.canon(&s)
	if _, ok := x.seen[s]; ok {
		return
	}
	x.seen[s] = struct{}{}
	x.states, x.from, x.events = append(x.states, s), append(x.from, from), append(x.events, e)
	x.bad = x.check(x, &s)
}

// visit enters all states that can follow. Tokens in events are relative to
// the store's generation before the event.
func (x *exploration) visit(i int32) {
	s := x.states[i]
	if s.revoked || s.ended {
		return
	}
	x.add(i, happening{tickPasses, credential{gen: noToken}, 0}, x.tick(s))
	x.send(i, s)
	for k := range s.slots {
		x.deliver(i, s, k)
	}
	if s.dup.kind != nothing {
		n := s
		n.dup = parcel{}
		v := x.rotate(&n, s.dup.credential, dupName)
		n.ended, n.missed = !v.Outcome.Accepted(), true
		x.add(i, happening{"a rotation with %v is executed a second time: %v", s.dup.credential, v.Outcome}, n)
	}
	if s.settle != noSettle {
		n := s
		n.settle = noSettle
		x.settles(&n, s.settle)
		x.add(i, happening{"the store is told that %v settled%.0s", credential{gen: s.settle}, 0}, n)
	}
	for _, old := range s.jars {
		if old.at >= 0 {
			x.add(i, happening{"the browser crashes and comes back with %v%.0s", old.credential, 0}, crashBrowser(s, old.credential))
		}
	}
	for k, old := range s.past {
		if old.at >= 0 && x.rollbacks {
			x.add(i, happening{"the store falls back to %v%.0s", credential{gen: old.gen}, 0}, rollBackStore(s, k))
		}
	}
	if x.thief {
		x.steal(i, s)
	}
}

// tick lets one tick pass: everything ages, and what took too long is lost.
func (x *exploration) tick(s situation) situation {
	s.store.rotated, s.store.used = min(s.store.rotated+1, x.settle), min(s.store.used+1, x.settle)
	for i := range s.past {
		if p := &s.past[i]; p.at >= 0 {
			p.rotated, p.used = min(p.rotated+1, x.settle), min(p.used+1, x.settle)
			if p.at++; p.at > x.lag {
				*p = storeRecord{at: -1}
			}
		}
	}
	s.jar.age = min(s.jar.age+1, x.access)
	for i := range s.jars {
		if j := &s.jars[i]; j.at >= 0 {
			j.age = min(j.age+1, x.access)
			if j.at++; j.at > x.restore {
				*j = jarSnapshot{at: -1}
			}
		}
	}
	for _, m := range []*parcel{&s.slots[0], &s.slots[1], &s.dup} {
		if m.kind == nothing {
			continue
		}
		limit := x.request
		if m.kind == retried {
			limit = x.retry
		} else if m.kind == answering {
			limit = x.response
		}
		m.age = min(m.age+1, x.access)
		if m.at++; m.at > limit {
			s.miss(m)
			*m = parcel{}
		}
	}
	return s
}

// send lets a tab send a request. One that can neither settle nor rotate on
// arrival changes nothing and is left out.
func (x *exploration) send(i int32, s situation) {
	k := slices.IndexFunc(s.slots[:], func(m parcel) bool { return m.kind == nothing })
	if k < 0 {
		return
	}
	if s.jar.age+x.request >= x.settle || x.fromRotation {
		n := s
		n.slots[k] = parcel{kind: asking, credential: s.jar}
		x.add(i, happening{"a tab sends a request with %v%.0s", s.jar, 0}, n)
	}
	if s.jar.age >= x.settle || !x.patient {
		n := s
		n.slots[k] = parcel{kind: insisting, credential: s.jar}
		x.add(i, happening{"a tab asks for a refresh with %v%.0s", s.jar, 0}, n)
	}
}

// deliver does all that can become of a message under way.
func (x *exploration) deliver(i int32, s situation, k int) {
	m := s.slots[k]
	switch s.slots[k] = (parcel{}); {
	case m.kind == nothing:
		return
	case m.kind == answering:
		n := s
		n.remember(n.jar)
		n.jar = m.credential
		n.missed = n.missed || m.gen < s.store.gen // the answer before is gone
		x.add(i, happening{"the response with %v arrives%.0s", m.credential, 0}, n)
	case m.age < x.access && (m.kind == asking || m.kind == orphaned):
		x.use(i, s, m.credential)
	default:
		x.present(i, s, k, m)
	}
	s.miss(&m)
	x.add(i, happening{"the message with %v is lost%.0s", m.credential, 0}, s)
}

// miss notes that the browser does not get what was on its way.
func (s *situation) miss(m *parcel) {
	if m.kind == answering && m.gen == s.store.gen || m.kind == retried {
		s.missed = true
	}
}

// use is a request with a valid access token: it may prove something.
func (x *exploration) use(i int32, s situation, t credential) {
	proof := t.age >= x.settle
	if x.fromRotation {
		proof = s.store.rotated >= x.settle
	}
	if !proof || x.grace || x.rules.SingleUse {
		return
	}
	n := s
	x.settles(&n, t.gen)
	x.add(i, happening{"a request shows %v in use, and it settles%.0s", t, 0}, n)
	if s.settle == noSettle {
		s.settle = t.gen
		x.add(i, happening{"a request shows %v in use, and the store will be told%.0s", t, 0}, s)
	}
}

// present is a request that rotates, with all that can become of the reply.
func (x *exploration) present(i int32, s situation, k int, m parcel) {
	name := int8(k) + 1
	v := x.rotate(&s, m.credential, name)
	if !v.Outcome.Accepted() {
		s.ended = true
		x.add(i, happening{"a rotation with %v: %v", m.credential, v.Outcome}, s)
		return
	}
	reply := parcel{kind: answering, credential: credential{gen: s.store.gen, fork: s.store.cur}}
	again := parcel{kind: retried, credential: m.credential}
	lost := s
	lost.missed = true
	x.add(i, happening{"a rotation with %v: %v, and the response is lost", m.credential, v.Outcome}, lost)
	if m.kind == asking || m.kind == insisting || m.kind == retried {
		n := s
		n.slots[k] = reply
		x.add(i, happening{"a rotation with %v: %v", m.credential, v.Outcome}, n)
	}
	if m.kind == asking || m.kind == insisting {
		n := s
		n.slots[k] = again
		x.add(i, happening{"a rotation with %v: %v, but the store's reply is lost", m.credential, v.Outcome}, n)
	}
	if m.kind != retried && x.duplicates && s.dup.kind == nothing {
		s.rename(name, dupName)
		s.dup = again
		x.add(i, happening{"a rotation with %v: %v, a duplicate lingers, and the response is lost", m.credential, v.Outcome}, s)
		if m.kind == asking || m.kind == insisting {
			s.slots[k] = reply
			x.add(i, happening{"a rotation with %v: %v, and a duplicate lingers", m.credential, v.Outcome}, s)
		}
	}
}

// steal lets the thief copy the jar's refresh token, and present what he has.
func (x *exploration) steal(i int32, s situation) {
	if loot := (credential{gen: s.jar.gen, fork: s.jar.fork}); s.stolen != loot {
		n := s
		n.stolen, n.dead = loot, false
		x.add(i, happening{"a thief copies %v%.0s", s.jar, 0}, n)
	}
	if s.stolen.gen == noToken {
		return
	}
	v := x.rotate(&s, s.stolen, thiefName)
	e := happening{"the thief presents %v: %v", s.stolen, v.Outcome}
	if s.dead && v.Outcome.Accepted() {
		x.bad = "a stolen token is accepted after its owner has been back"
	}
	x.add(i, e, s)
	if v.Outcome.Accepted() {
		s.dead = false
		s.stolen = credential{gen: s.store.gen, fork: s.store.cur}
		x.add(i, e, s)
	}
}

// rotate lays a token before the store.
func (x *exploration) rotate(s *situation, t credential, name int8) family.Verdict {
	f := x.family(&s.store)
	fork := int8(0)
	switch {
	case x.random && t.gen+1 == s.store.gen && t.fork == s.store.prev:
		fork = s.store.cur // as if unsealed with the presented secret
	case x.random:
		fork = 50 // a fresh one
	}
	p := family.RotateRequest{
		Generation: uint32(firstGeneration + int(t.gen)), Hash: modelSecret(t.gen, t.fork), Successor: modelSecret(t.gen+1, fork),
		Attempt: family.Attempt{byte(name)}, Policy: x.policy(), Now: modelNow, Key: x.key(),
	}
	v := family.Decide(&f, p)
	x.repeatable(&v, p)
	x.outcomes[v.Outcome]++
	if f = v.Record; !v.Changed {
		return v
	}
	s.push()
	if s.revoked = f.Revoked != ""; s.revoked {
		return v
	}
	age := func(t time.Time) int8 { return min(int8(modelNow.Sub(t)/x.length()), x.settle) }
	n := &s.store
	if v.Outcome == family.Replayed {
		n.used, n.twice = age(f.UsedAt), f.Twice && x.counting
		return v
	}
	prior := n.attempt
	if f.Prior == (family.Attempt{}) {
		prior = 0
	}
	*n = storeRecord{gen: int8(int(f.Generation) - firstGeneration), cur: fork, prev: t.fork, settled: f.Settled, attempt: name, prior: prior,
		rotated: age(f.RotatedAt), used: age(f.UsedAt)}
	s.missed = false
	return v
}

// repeatable checks that the operation done twice is the operation done once,
// and that it leaves the login's own facts alone.
func (x *exploration) repeatable(v *family.Verdict, p family.RotateRequest) {
	f := v.Record
	again := family.Decide(&f, p)
	same := again.Outcome == v.Outcome || again.Outcome == family.Repeated
	if !same || again.Changed || again.Outcome.Accepted() != v.Outcome.Accepted() {
		x.bad = fmt.Sprintf("the repetition of a rotation that came to %v comes to %v", v.Outcome, again.Outcome)
	}
	modelLogin := x.family(&storeRecord{})
	if f.Revoked == "" && (!f.AuthTime.Equal(modelLogin.AuthTime) || !f.AbsoluteExpiry.Equal(modelLogin.AbsoluteExpiry) || !f.CreatedAt.Equal(modelLogin.CreatedAt)) {
		x.bad = "a rotation moved the login"
	}
}

// settles tells the store that a generation is in use.
func (x *exploration) settles(s *situation, gen int8) {
	f, changed := x.family(&s.store).Settle(uint32(firstGeneration + int(gen)))
	if _, again := f.Settle(uint32(firstGeneration + int(gen))); again {
		x.bad = "settling twice is not settling once"
	}
	if changed {
		s.push()
		s.store.settled = f.Settled
	}
}

var (
	modelLogin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	modelNow   = modelLogin.Add(time.Hour)
)

// modelSecret stands for the hash of a token's secret.
func modelSecret(gen, fork int8) [32]byte { return [32]byte{1, byte(gen), byte(fork)} }

// key is the device key that the family has and its owner proves.
func (x *exploration) key() (k family.Key) {
	if x.bound {
		k.Kind = family.KeyDPoP
	}
	return k
}

// policy is what Decide goes by.
func (x *exploration) policy() family.Policy {
	p := x.rules
	if !x.rotatesFresh {
		p.Settle = x.length() * time.Duration(x.settle)
	}
	return p
}

// family is the record as Decide sees it.
func (x *exploration) family(r *storeRecord) family.Record {
	f := family.Record{
		ID: family.ID{1}, Generation: uint32(firstGeneration + int(r.gen)), Current: modelSecret(r.gen, r.cur), Settled: r.settled,
		CreatedAt: modelLogin, AuthTime: modelLogin, Idle: time.Hour,
		RotatedAt: modelNow.Add(-x.length() * time.Duration(r.rotated)), UsedAt: modelNow.Add(-x.length() * time.Duration(r.used)), Twice: r.twice,
		AbsoluteExpiry: modelLogin.Add(24 * time.Hour), Key: x.key(),
		Attempt: family.Attempt{byte(r.attempt)}, Prior: family.Attempt{byte(r.prior)},
	}
	if r.attempt == 0 {
		f.Attempt[1] = 1 // somebody's who is gone
	}
	if r.prior == 0 {
		f.Prior[1] = 1
	}
	if x.grace {
		f.Settled = r.rotated >= x.settle
	}
	return f
}
