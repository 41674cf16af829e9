// Command soak plays thousands of clients against several instances of the
// real middleware on a real Redis that fails at random, and accounts for every
// session: no honest client may be signed out, and no token may be good for
// anything once its successor has settled.
//
//	go run ./internal/soak -for 10m -clients 2000 -lifetime 20s
//	go run ./internal/soak -for 10m -clients 2000 -lifetime 20s -sentinel
//
// The clients are browsers with parallel tabs, and native apps. Their requests
// and responses are slow, get lost, and come late; browsers crash and come back
// with older cookies; the instances' clocks differ. Thieves copy tokens out of
// some clients, with the fingerprint or without it, and present them when they
// please.
//
// The exit status is 1 when something happened that must not. The seed that is
// printed repeats what the clients, thieves and faults choose, though not the
// scheduling of goroutines. docs/reliability.md reads an account line by line.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"

	"github.com/sessionkit/sessionkit/internal/ledger"
)

// options are what a run can be told.
type options struct {
	duration  time.Duration
	clients   int
	lifetime  time.Duration
	skew      time.Duration
	instances int
	faults    float64
	sentinel  bool
	seed      uint64
	ledger    string
}

// register makes the options flags.
func (o *options) register() {
	flag.DurationVar(&o.duration, "for", 20*time.Second, "how long the clients go on")
	flag.IntVar(&o.clients, "clients", 150, "how many clients there are")
	flag.DurationVar(&o.lifetime, "lifetime", 6*time.Second, "lifetime of access tokens; the other times are scaled by it")
	flag.DurationVar(&o.skew, "skew", 0, "between the fastest and the slowest clock; 0 means a quarter of the lifetime")
	flag.IntVar(&o.instances, "instances", 3, "how many instances there are")
	flag.Float64Var(&o.faults, "faults", 0.03, "the share of commands to Redis that something happens to; with 0 Redis is never killed either")
	flag.BoolVar(&o.sentinel, "sentinel", false, "a primary with replicas and sentinels, whose primary is killed again and again")
	flag.StringVar(&o.ledger, "ledger", "", "the file that the result is appended to")
	flag.Uint64Var(&o.seed, "seed", 0, "where chance starts; 0 draws one")
}

// complete fills in what was left open.
func (o *options) complete() {
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	if o.skew == 0 {
		o.skew = o.lifetime / 4
	}
}

func main() {
	var o options
	o.register()
	flag.Parse()
	o.complete()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Fprintln(os.Stderr, "seed", o.seed)
	p := new(process)
	w := newWorld(p, o)
	began := time.Now()
	w.run(ctx)
	fmt.Printf("%v, %d clients, %d instances whose clocks differ by up to %v, access tokens of %v, sentinel %v, seed %d\n\n%s\n",
		time.Since(began).Round(time.Second), o.clients, o.instances, o.skew, o.lifetime, o.sentinel, o.seed, w.report())
	if o.ledger != "" {
		if err := ledger.Append(o.ledger, w.entry(began)); err != nil {
			p.Fatal(err)
		}
	}
	violations := w.account.list()
	for _, v := range violations {
		fmt.Println("VIOLATED:", v)
	}
	p.finish()
	if len(violations) > 0 {
		os.Exit(1)
	}
}
