package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sessionkit/sessionkit/internal/ledger"
)

// totals are what the entries of a ledger come to.
type totals struct {
	runs, renewals, accidents, signedOut, outside, thefts, stopped int64
	away                                                           []float64
	failovers, failoverLost                                        int64
	feed                                                           *ledger.Revocations
}

func add(all []ledger.Entry) totals {
	var t totals
	for _, e := range all {
		if c := e.Clients; c != nil {
			t.runs++
			t.renewals += c.Renewals
			t.accidents += c.Accidents
			t.signedOut += c.SignedOut
			t.outside += c.Outside
			t.thefts += c.Thefts
			t.stopped += c.Stopped
		}
		if f := e.Failovers; f != nil {
			t.failovers += f.Count
			t.away = append(t.away, f.Away...)
			t.failoverLost += e.SignedOut
		}
		if e.Revocations != nil {
			t.feed = e.Revocations // the newest counts
		}
	}
	slices.Sort(t.away)
	return t
}

// report writes the figures as a table.
func report(all []ledger.Entry) string {
	t := add(all)
	var b strings.Builder
	b.WriteString("| | measured | which allows |\n|---|---|---|\n")
	if t.renewals > 0 {
		fmt.Fprintf(&b, "| honest clients signed out | %s in %s renewals, with %s accidents (%d runs of the soak) | at most %s per million renewals |\n",
			grouped(t.signedOut), grouped(t.renewals), grouped(t.accidents), t.runs, digits(1e6*ledger.AtMost(t.signedOut)/float64(t.renewals)))
		fmt.Fprintf(&b, "| thieves who got anything after the successor had settled | 0 of %s who tried | at most %s in a thousand |\n",
			grouped(t.stopped), digits(1e3*ledger.AtMost(0)/float64(max(t.stopped, 1))))
	}
	if f := t.feed; f != nil {
		fmt.Fprintf(&b, "| from revocation to refusal, %d instances, %s revocations a second | p50 %s ms, p99 %s ms, longest %s ms | %s of %s arrived |\n",
			f.Instances, grouped(int64(f.PerSecond)), digits(f.P50), digits(f.P99), digits(f.Max), grouped(int64(f.Refused)), grouped(int64(f.Sent*f.Instances)))
	}
	if len(t.away) > 0 {
		fmt.Fprintf(&b, "| a failover (Sentinel, the primary is killed) | half of %d were over in %s s, the longest took %s s; honest clients signed out: %d | at most %s signed out in a hundred failovers |\n",
			t.failovers, digits(t.away[len(t.away)/2]), digits(t.away[len(t.away)-1]), t.failoverLost, digits(100*ledger.AtMost(t.failoverLost)/float64(t.failovers)))
	}
	fmt.Fprintf(&b, "\nRefused after a delay beyond what is promised, and counted as neither: %s.\n", grouped(t.outside))
	return b.String()
}

// digits prints three digits that count.
func digits(x float64) string {
	switch {
	case x >= 100:
		return grouped(int64(x + 0.5))
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
