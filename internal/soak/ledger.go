package main

import (
	"time"

	"github.com/sessionkit/sessionkit/internal/ledger"
	"github.com/sessionkit/sessionkit/refresh"
)

// entry is a run as the ledger keeps it.
func (w *world) entry(began time.Time) ledger.Entry {
	a := &w.account
	a.mu.Lock()
	defer a.mu.Unlock()
	e := ledger.Entry{
		Kind: ledger.Soak, Date: began.UTC().Truncate(time.Second), Commit: ledger.Commit(),
		Seconds: time.Since(began).Round(time.Second).Seconds(), Seed: w.options.seed,
		Clients: &ledger.Clients{
			Clients:  w.options.clients,
			Renewals: a.kinds[refresh.EventRefresh] + a.kinds[refresh.EventReplayed],
			Accidents: a.lostRequests.Load() + a.lostResponses.Load() + a.lateResponses.Load() + a.aborts.Load() +
				a.crashes.Load() + a.faults.Load() + a.restarts.Load(),
			SignedOut: int64(a.broken), Outside: a.outside.Load(), Thefts: a.thefts.Load(), Stopped: a.tooLate.Load(),
		},
	}
	if w.sentinel != nil {
		e.Kind = ledger.Sentinel
		e.Failovers = &ledger.Failovers{Count: int64(len(a.outages))}
		for _, away := range a.outages {
			e.Failovers.Away = append(e.Failovers.Away, away.Round(time.Millisecond).Seconds())
		}
	}
	return e
}
