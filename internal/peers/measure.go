package main

import (
	"runtime"
	"slices"
	"sync"
)

// options are what a run can be told.
type options struct {
	renewals, thieves int
	seed              uint64
}

// A cell is a set of accidents, alone or together.
type cell struct {
	title string
	accidents
}

// cells are the columns of the table.
var cells = []cell{
	{"tabs", accidents{tabs: true}},
	{"lost answers", accidents{loss: true}},
	{"crashes", accidents{crash: true}},
	{"failovers", accidents{failover: true}},
	{"all together", accidents{tabs: true, loss: true, crash: true, failover: true}},
	{"all, renewals one at a time", accidents{tabs: true, loss: true, crash: true, failover: true, together: true}},
}

const (
	clientLives  = 60 * day
	thiefWatched = 14 * day
)

// A row is what became of one flow.
type row struct {
	flow
	counts []count     // by cell
	lives  [][]instant // of thieves, by kind, sorted
}

// A count is honest clients signed out among renewals.
type count struct{ signedOut, renewals int }

// perMillion returns honest sign-outs per million renewals.
func (c count) perMillion() float64 { return 1e6 * float64(c.signedOut) / float64(c.renewals) }

// measure plays everything, on all processors.
func measure(o options) []row {
	rows := make([]row, len(flows()))
	jobs := make(chan func())
	var work sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	for i, f := range flows() {
		rows[i] = row{flow: f, counts: make([]count, len(cells)), lives: make([][]instant, len(theftKinds))}
		for k := range cells {
			jobs <- func() { rows[i].counts[k] = honest(f, cells[k].accidents, o) }
		}
		for k := range theftKinds {
			jobs <- func() { rows[i].lives[k] = thieves(f, theftKind(k), o) }
		}
	}
	close(jobs)
	work.Wait()
	return rows
}

// honest plays clients without thieves until there were enough renewals.
func honest(f flow, a accidents, o options) count {
	var sum count
	for i := uint64(0); sum.renewals < o.renewals; i++ {
		c := newClient(f, a, o.seed, i)
		c.run(clientLives)
		sum.signedOut += c.signedOut
		sum.renewals += c.renewals
	}
	return sum
}

// thieves plays clients of which each is robbed once, with all accidents, and
// returns how long the thieves had access, at most as long as they were watched.
func thieves(f flow, kind theftKind, o options) []instant {
	var lives []instant
	for i := range uint64(o.thieves) {
		c := newClient(f, accidents{tabs: true, loss: true, crash: true, failover: true}, o.seed, 1<<32+i)
		c.theft = &theft{kind: kind, from: beforeTheft}
		for !c.theft.done {
			c.run(c.now + day)
		}
		c.run(c.now + thiefWatched)
		lives = append(lives, min(max(c.theft.until-c.theft.copied, 0), thiefWatched))
	}
	slices.Sort(lives)
	return lives
}

// A spread is how long thieves live.
type spread struct {
	mean, half, most instant
	end              float64 // the share that is still in when nobody watches any more
}

func spreadOf(lives []instant) spread {
	var s spread
	for _, l := range lives {
		s.mean += l
		if l >= thiefWatched-accessLifetime {
			s.end++
		}
	}
	s.mean /= instant(len(lives))
	s.end /= float64(len(lives))
	s.half, s.most = lives[len(lives)/2], lives[len(lives)*95/100]
	return s
}
