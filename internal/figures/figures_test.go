package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/ledger"
	"github.com/sessionkit/sessionkit/internal/redistest"
)

// TestThePublishedFiguresAreTheLedgers: nobody has written them by hand.
func TestThePublishedFiguresAreTheLedgers(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	all, err := ledger.Read(filepath.Join(docs, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(docs, "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), begins)
	published, _, _ := strings.Cut(rest, ends)
	if want := report(all); published != want {
		t.Errorf("docs/reliability.md says\n%s\nand the ledger\n%s\nrun go run ./internal/figures -write docs/reliability.md", published, want)
	}
}

// TestReport adds runs up.
func TestReport(t *testing.T) {
	text := report([]ledger.Entry{
		{Kind: ledger.Soak, Clients: &ledger.Clients{Renewals: 1_000_000, Accidents: 5000, Stopped: 3000}},
		{Kind: ledger.Sentinel, Clients: &ledger.Clients{Renewals: 500_000}, Failovers: &ledger.Failovers{Count: 3, Away: []float64{3, 1, 2}}},
		{Kind: ledger.Feed, Revocations: &ledger.Revocations{Instances: 8, PerSecond: 1000, Sent: 10, Refused: 80, P50: 1, P99: 2.5, Max: 30}},
	})
	for _, want := range []string{
		"0 in 1,500,000 renewals, with 5,000 accidents (2 runs of the soak)", "at most 2.00 per million",
		"p50 1.00 ms, p99 2.50 ms, longest 30.0 ms | 80 of 80 arrived", "half of 3 were over in 2.00 s, the longest took 3.00 s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// TestRevocationsAreRefusedEverywhere is a short measurement.
func TestRevocationsAreRefusedEverywhere(t *testing.T) {
	need(t)
	e, err := revocations(3, 100, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r := e.Revocations; r.Sent != 100 || r.Refused != 300 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max {
		t.Errorf("%+v", r)
	}
}

// need leaves the test out where there is no Redis.
func need(t *testing.T) {
	t.Helper()
	redistest.Start(t)
}
