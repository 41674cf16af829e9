package main

import (
	"testing"
	"time"
)

var flags options

func init() { flags.register() }

// TestSoak is a short run of the program.
func TestSoak(t *testing.T) {
	o := flags
	if testing.Short() {
		o.duration = min(o.duration, 8*time.Second)
	}
	o.complete()
	t.Logf("seed %d", o.seed)
	w := newWorld(t, o)
	w.run(t.Context())
	t.Logf("%v, %d clients:\n%s", o.duration, o.clients, w.report())
	for _, v := range w.account.list() {
		t.Error(v)
	}
	if w.account.finalAlive.Load() == 0 || w.account.thefts.Load() == 0 || w.account.crashes.Load() == 0 {
		t.Error("too little happened")
	}
}
