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
	if a := &w.account; a.finalAlive.Load() == 0 || a.thefts.Load() == 0 || a.crashes.Load() == 0 || a.streams.Load() == 0 || a.forward.Load()+a.back.Load() == 0 {
		t.Error("too little happened")
	}
}
