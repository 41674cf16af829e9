package main

import (
	"slices"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// An instant is milliseconds since the simulation began.
type instant int64

const (
	second = instant(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// A token is a refresh token together with the access token that it came with.
type token struct {
	session int // the login that it descends from
	id      int // among those of its session
	issued  instant
}

// A verdict is what a presentation comes to.
type verdict int

const (
	accepted verdict = iota
	refused
	later // try again
)

// A server is what one flow keeps of one login: its rules and its state.
type server interface {
	// renew presents a refresh token, and returns the id of what follows.
	renew(id int, now instant) (int, verdict)
	// use presents an access token that came with a refresh token.
	use(id int, issued, now instant)
	// clone returns a copy, for a failover to fall back to.
	clone() server
}

// A flow is a way to renew sessions.
type flow struct {
	name   string
	source string // what the model was made from
	login  func() server
}

// flows are the peers and the kit. The first token of a login has the id 0.
func flows() []flow {
	return []flow{
		{"sessionkit", "the code: `family.Decide` with the defaults", func() server { return newKit() }},
		{"plain rotation", "RFC 9700 §4.14.2 to the letter; Auth0's documentation of refresh token rotation, whose overlap period is 0 unless set", func() server { return newWindow(0) }},
		{"rotation, 10 s window", "Ory Hydra's documentation and source (`rotation_grace_period`, 0 unless set): within the window, counted from the first use, each use makes a new successor, and siblings live on", func() server { return newWindow(10 * second) }},
		{"rotation, 30 s window", "the same with 30 s, which is what Okta documents as its default", func() server { return newWindow(30 * second) }},
		{"gin-jwt v3", "source of appleboy/gin-jwt 3.5.1: the token is looked up, then the new one is stored and the old one deleted; a token that is not found gets 401, and nothing is revoked", func() server { return &checkDelete{newIssued()} }},
		{"SuperTokens, until the child is used", "source of supertokens-core 12.1.1 for the interface versions up to 5.4, which supertokens-golang 0.25 speaks: the parent is good until a child is used", newChildren},
		{"SuperTokens, 30 s window", "source of supertokens-core 12.1.1, interface version 5.6: within 30 s of the rotation the parent gets another successor, and the one before dies", func() server { return newLatest(30 * second) }},
		{"Supabase, 10 s reuse interval", "source of supabase/auth 2.196.0, algorithm 1 with the interval of the hosted service: the parent of the active token gets the active token, at any time; others get a new one within the interval", func() server { return newReuseInterval(10 * second) }},
	}
}

// kit is the kit's own protocol, decided by its own code on one record.
type kit struct {
	record   family.Record
	reported []report
	attempt  uint32
}

// A report is a settled generation on its way to the store.
type report struct {
	generation uint32
	at         instant
}

const (
	settleTime  = minute      // the kit's default
	reportDelay = second / 10 // reports go out in the background
	firstDay    = 1_800_000_000_000
)

func clock(now instant) time.Time { return time.UnixMilli(firstDay + int64(now)) }

// secret stands for the hash of a derived secret: a function of the generation.
func secret(generation uint32) [32]byte {
	return [32]byte{byte(generation), byte(generation >> 8), byte(generation >> 16), 1}
}

func newKit() *kit {
	return &kit{record: family.Record{
		ID: family.ID{1}, Current: secret(0), CreatedAt: clock(0).Add(-time.Hour), RotatedAt: clock(0).Add(-time.Hour),
		Idle: 20000 * time.Hour, AbsoluteExpiry: clock(0).Add(20000 * time.Hour), Remember: true,
	}}
}

func (k *kit) renew(id int, now instant) (int, verdict) {
	k.hear(now)
	k.attempt++
	generation := uint32(id)
	v := family.Decide(&k.record, family.RotateRequest{
		Family: k.record.ID, Generation: generation, Hash: secret(generation), Successor: secret(generation + 1),
		Attempt: family.Attempt{byte(k.attempt), byte(k.attempt >> 8), byte(k.attempt >> 16), 1},
		Policy:  family.Policy{Settle: time.Duration(settleTime) * time.Millisecond}, Now: clock(now),
	})
	if v.Changed {
		k.record = v.Record
	}
	switch {
	case v.Outcome.Accepted():
		return int(k.record.Generation), accepted
	case v.Outcome == family.Overtaken:
		return 0, later
	}
	return 0, refused
}

func (k *kit) use(id int, issued, now instant) {
	if now-issued >= settleTime {
		k.reported = append(k.reported, report{uint32(id), now + reportDelay})
	}
	k.hear(now)
}

// hear has the reports arrive that have had the time for it.
func (k *kit) hear(now instant) {
	for len(k.reported) > 0 && k.reported[0].at <= now {
		k.record, _ = k.record.Settle(k.reported[0].generation)
		k.reported = k.reported[1:]
	}
}

func (k *kit) clone() server {
	c := *k
	c.reported = slices.Clone(k.reported)
	return &c
}

// A known is a token that a server has issued. Ids are never given twice, also
// after a failover: the tokens that it lost stay unknown.
type known struct {
	id, parent int
	used       instant // first, or last, as the flow has it
	dead       bool
}

// issued are the tokens that a server knows, oldest first.
type issued struct {
	tokens []known
	next   *int
}

func newIssued() issued {
	next := 1
	return issued{[]known{{id: 0, parent: -1}}, &next}
}

func (s *issued) find(id int) *known {
	for i := len(s.tokens) - 1; i >= 0; i-- {
		if s.tokens[i].id == id {
			return &s.tokens[i]
		}
	}
	return nil
}

func (s *issued) issue(parent int) int {
	id := *s.next
	*s.next++
	s.tokens = append(s.tokens, known{id: id, parent: parent})
	return id
}

func (s issued) clone() issued { return issued{slices.Clone(s.tokens), s.next} }

// window is rotation with a window from a token's first use, within which each
// use makes another successor. A use after it ends the family. Without a window
// it is single use.
type window struct {
	issued
	grace   instant
	revoked bool
}

func newWindow(grace instant) server { return &window{issued: newIssued(), grace: grace} }

func (w *window) renew(id int, now instant) (int, verdict) {
	t := w.find(id)
	switch {
	case w.revoked || t == nil:
		return 0, refused
	case !t.dead:
		t.dead, t.used = true, now
	case now-t.used >= w.grace:
		w.revoked = true
		return 0, refused
	}
	return w.issue(id), accepted
}

func (w *window) use(int, instant, instant) {}

func (w *window) clone() server { return &window{w.issued.clone(), w.grace, w.revoked} }

// checkDelete looks a token up, stores a new one, and then deletes the old one.
type checkDelete struct{ issued }

// betweenCheckAndDelete is a round trip to the token store.
const betweenCheckAndDelete = 2

func (c *checkDelete) renew(id int, now instant) (int, verdict) {
	t := c.find(id)
	if t == nil || t.dead && now >= t.used {
		return 0, refused
	}
	if !t.dead {
		t.dead, t.used = true, now+betweenCheckAndDelete
	}
	return c.issue(id), accepted
}

func (c *checkDelete) use(int, instant, instant) {}

func (c *checkDelete) clone() server { return &checkDelete{c.issued.clone()} }

// children keeps one current token. It gets a new child whenever it comes, and a
// child becomes the current token when it, or its access token, is used. Children
// are not stored: a token names its parent.
type children struct {
	parents *[]int // by id; shared with the copies
	current int
	revoked bool
}

func newChildren() server { return &children{parents: &[]int{-1}} }

func (c *children) renew(id int, now instant) (int, verdict) {
	c.use(id, 0, now)
	if c.revoked || id != c.current {
		c.revoked = true
		return 0, refused
	}
	*c.parents = append(*c.parents, id)
	return len(*c.parents) - 1, accepted
}

func (c *children) use(id int, _, _ instant) {
	if (*c.parents)[id] == c.current {
		c.current = id
	}
}

func (c *children) clone() server {
	n := *c
	return &n
}

// latest keeps one current token and its parent, which gets another successor for
// a while: the one before is then dead.
type latest struct {
	grace             instant
	current, previous int
	rotated           instant
	next              *int
	revoked           bool
}

func newLatest(grace instant) server {
	next := 1
	return &latest{grace: grace, previous: -1, next: &next}
}

func (l *latest) renew(id int, now instant) (int, verdict) {
	switch {
	case l.revoked:
		return 0, refused
	case id == l.current:
		l.previous, l.rotated = l.current, now
	case id == l.previous && now-l.rotated < l.grace: // counted from the rotation
	default:
		l.revoked = true
		return 0, refused
	}
	l.current = *l.next
	*l.next++
	return l.current, accepted
}

func (l *latest) use(int, instant, instant) {}

func (l *latest) clone() server {
	c := *l
	return &c
}

// reuseInterval has one active token. Its parent gets it again, at any time; any
// other gets a new one within an interval of its last use.
type reuseInterval struct {
	issued
	interval instant
	revoked  bool
}

func newReuseInterval(interval instant) server {
	return &reuseInterval{issued: newIssued(), interval: interval}
}

func (r *reuseInterval) renew(id int, now instant) (int, verdict) {
	t := r.find(id)
	if r.revoked || t == nil {
		return 0, refused
	}
	if t.dead {
		active := r.active()
		switch {
		case active != nil && active.parent == id:
			return active.id, accepted
		case now-t.used > r.interval:
			r.revoked = true
			return 0, refused
		}
	}
	t.dead, t.used = true, now
	return r.issue(id), accepted
}

// active returns the newest token that was not used.
func (r *reuseInterval) active() *known {
	for i := len(r.tokens) - 1; i >= 0; i-- {
		if !r.tokens[i].dead {
			return &r.tokens[i]
		}
	}
	return nil
}

func (r *reuseInterval) use(int, instant, instant) {}

func (r *reuseInterval) clone() server {
	return &reuseInterval{r.issued.clone(), r.interval, r.revoked}
}
