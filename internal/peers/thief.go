package main

// A theftKind is when a thief comes with what he copied.
type theftKind int

const (
	eager   theftKind = iota // at once
	patient                  // hours later
	racing                   // just after the owner renewed with the same token
)

var theftKinds = []string{"comes at once", "comes hours later", "comes just after its owner renewed"}

const (
	atOnce      = 30 * second
	hoursLater  = 6 * hour // on average
	justBehind  = 2 * second
	beforeTheft = day
)

// A theft is what a thief does with one client's tokens: he copies the jar while
// the client is in use, presents the token when his kind does, and goes on with
// what he gets, whenever his access token has expired, for as long as he gets
// something.
type theft struct {
	kind theftKind
	from instant // not earlier
	done bool

	copied instant
	until  instant // he has access so long
	loot   token
}

// rob copies a token.
func (c *client) rob(t token) {
	f := c.theft
	f.copied, f.loot, f.until = c.now, t, t.issued+accessLifetime
	wait := atOnce
	switch f.kind {
	case patient:
		wait = c.some(hoursLater)
	case racing:
		wait = justBehind
	}
	c.after(wait, c.thieve)
}

// watched tells a thief who waits for it that a token was used.
func (c *client) watched(t token) {
	if f := c.theft; f != nil && f.kind == racing && !f.done && c.now >= f.from {
		f.done = true
		c.rob(t)
	}
}

// thieve presents what the thief has.
func (c *client) thieve() {
	t := c.theft
	s := c.servers[t.loot.session]
	id, v := s.renew(t.loot.id, c.now)
	switch v {
	case later:
		c.after(minute, c.thieve)
		return
	case refused:
		return
	}
	t.loot = token{t.loot.session, id, c.now}
	t.until = c.now + accessLifetime
	for d := pollEvery; d < accessLifetime; d += pollEvery {
		c.after(d, func() { c.servers[t.loot.session].use(t.loot.id, t.loot.issued, c.now) })
	}
	c.after(accessLifetime, c.thieve)
}
