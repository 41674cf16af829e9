package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// accidents are what can happen to a client. All rates are those of a bad day.
type accidents struct {
	tabs     bool // up to four tabs; else one
	loss     bool // requests and answers are lost
	crash    bool // the browser crashes, and comes back with older cookies
	failover bool // the store loses its last writes
	together bool // the tabs of a browser renew one at a time
}

const (
	accessLifetime = 10 * minute
	giveUp         = 8 * second // a tab waits for an answer so long
	losesRequest   = 0.002
	losesAnswer    = 0.005
	leaves         = 0.3       // of those who lost an answer: the lid is closed
	crashEvery     = 20 * hour // of use
	restore        = 30 * second
	failoverEvery  = hour
	lagAtMost      = second
	sitting        = 20 * minute
	pollEvery      = minute
	viewEvery      = minute
)

// An event is something that will happen to a client.
type event struct {
	at  instant
	seq int
	do  func()
}

// agenda is a heap of events.
type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// A jarEntry is a state of the jar, and since when.
type jarEntry struct {
	at instant
	token
}

// A client is one browser, the servers that it signed in at, and perhaps a thief.
type client struct {
	flow      flow
	accidents accidents
	chance    *rand.Rand
	now       instant
	agenda    agenda
	seq       int

	servers []server // one per login
	jar     token
	jars    []jarEntry // of the last while, oldest first
	open    bool       // somebody sits in front of it
	epoch   int        // answers to requests of an earlier one never arrive
	sat     int        // sittings so far
	busy    [4]bool
	tabs    int

	renewals, signedOut int

	theft *theft
}

func newClient(f flow, a accidents, seed1, seed2 uint64) *client {
	c := &client{flow: f, accidents: a, chance: rand.New(rand.NewPCG(seed1, seed2)), tabs: 1}
	if a.tabs {
		c.tabs = 1 + c.chance.IntN(len(c.busy))
	}
	c.login()
	c.after(instant(c.chance.Int64N(int64(hour))), c.sit)
	if a.failover {
		c.after(c.some(failoverEvery), c.failover)
	}
	return c
}

func (c *client) after(d instant, do func()) {
	c.seq++
	heap.Push(&c.agenda, event{c.now + d, c.seq, do})
}

// some draws a time with the given mean.
func (c *client) some(mean instant) instant {
	return instant(float64(mean)*c.chance.ExpFloat64()) + 1
}

func (c *client) chanceOf(p float64) bool { return c.chance.Float64() < p }

// run goes on until the given time.
func (c *client) run(until instant) {
	for len(c.agenda) > 0 && c.agenda[0].at <= until {
		e := heap.Pop(&c.agenda).(event)
		c.now = e.at
		e.do()
	}
	c.now = until
}

func (c *client) login() {
	c.servers = append(c.servers, c.flow.login())
	c.epoch++
	c.set(token{session: len(c.servers) - 1, issued: c.now})
}

// set puts a token into the jar, and keeps what a crash may bring back.
func (c *client) set(t token) {
	for len(c.jars) > 1 && c.jars[1].at < c.now-restore {
		c.jars = c.jars[1:]
	}
	c.jars = append(c.jars, jarEntry{c.now, t})
	c.jar = t
}

// sit begins a sitting: all tabs wake up at once.
func (c *client) sit() {
	c.open, c.busy = true, [4]bool{}
	c.epoch++
	c.sat++
	this := c.sat
	c.wake(this)
	if t := c.theft; t != nil && t.kind != racing && !t.done && c.now >= t.from {
		t.done = true
		c.after(instant(c.chance.Int64N(int64(5*minute))), func() { c.rob(c.jar) })
	}
	c.after(c.some(sitting), func() {
		if c.sat == this {
			c.leave()
		}
	})
	if d := c.some(crashEvery); c.accidents.crash && d < 2*hour {
		c.after(d, func() {
			if c.sat == this && c.open {
				c.crash()
			}
		})
	}
}

func (c *client) wake(this int) {
	for tab := range c.tabs {
		c.after(instant(c.chance.Int64N(300)), func() { c.poll(tab, this) })
	}
	c.after(c.some(viewEvery), func() { c.view(this) })
}

// leave ends a sitting. The next one comes between ten minutes and three days later.
func (c *client) leave() {
	c.open = false
	c.sat++
	pause := math.Exp(c.chance.Float64() * math.Log(float64(3*day)/float64(10*minute)))
	c.after(instant(pause*float64(10*minute)), c.sit)
}

// crash loses what is under way, and the cookies of a moment.
func (c *client) crash() {
	back := c.now - instant(c.chance.Int64N(int64(restore)))
	for len(c.jars) > 1 && c.jars[len(c.jars)-1].at > back {
		c.jars = c.jars[:len(c.jars)-1]
	}
	c.jar = c.jars[len(c.jars)-1].token
	c.sat++
	c.open = false
	c.epoch++
	c.after(5*second+instant(c.chance.Int64N(int64(minute))), c.sit)
}

// failover has the store fall back to what it was a moment ago.
func (c *client) failover() {
	n := len(c.servers) - 1
	old := c.servers[n].clone()
	c.after(instant(c.chance.Int64N(int64(lagAtMost))), func() {
		if n < len(c.servers) {
			c.servers[n] = old
		}
	})
	c.after(c.some(failoverEvery), c.failover)
}

// poll is a tab's background request; view is one of the visible tab.
func (c *client) poll(tab, this int) {
	if c.sat != this {
		return
	}
	c.request(tab)
	c.after(pollEvery, func() { c.poll(tab, this) })
}

func (c *client) view(this int) {
	if c.sat != this {
		return
	}
	c.request(0)
	c.after(c.some(viewEvery), func() { c.view(this) })
}

// way is how long a message travels.
func (c *client) way() instant {
	d := 20 + c.some(60)
	if c.chanceOf(0.02) {
		d += c.some(second)
	}
	return d
}

// request is one call of a tab: with the access token, or a renewal. A tab makes
// one renewal at a time; all of a browser's do so where they are together.
func (c *client) request(tab int) {
	if c.accidents.together {
		tab = 0
	}
	if c.busy[tab] {
		return
	}
	if t := c.jar; c.now-t.issued < accessLifetime {
		c.after(c.way(), func() { c.servers[t.session].use(t.id, t.issued, c.now) })
		return
	}
	c.busy[tab] = true
	c.present(tab, c.jar)
}

// present sends a refresh token, once.
func (c *client) present(tab int, t token) {
	epoch := c.epoch
	answered := false
	c.after(giveUp, func() { // nothing came: the tab asks again, unless its user has left
		if epoch != c.epoch || answered {
			return
		}
		c.busy[tab] = false
		switch {
		case !c.open:
		case c.accidents.loss && c.chanceOf(leaves):
			c.epoch++
			c.leave()
		default:
			c.request(tab)
		}
	})
	if c.accidents.loss && c.chanceOf(losesRequest) {
		return
	}
	c.after(c.way(), func() {
		id, v := c.servers[t.session].renew(t.id, c.now)
		next := token{t.session, id, c.now}
		if v == accepted {
			c.renewals++
			c.watched(t)
		}
		if c.accidents.loss && c.chanceOf(losesAnswer) {
			return
		}
		c.after(c.way(), func() {
			if epoch == c.epoch && !answered && c.now > 0 {
				answered = true
				c.answer(tab, t, next, v)
			}
		})
	})
}

// answer takes in what a renewal came to. Who is refused looks first whether
// another tab has got something newer meanwhile.
func (c *client) answer(tab int, asked, next token, v verdict) {
	c.busy[tab] = false
	switch {
	case v == accepted:
		c.set(next)
	case v == later:
		c.after(second, func() {
			if c.open {
				c.request(tab)
			}
		})
	case c.jar != asked:
		if c.open {
			c.request(tab)
		}
	default:
		c.signedOut++
		c.busy = [4]bool{}
		c.login()
	}
}
