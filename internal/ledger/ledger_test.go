package ledger_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/ledger"
)

// TestAtMost compares with published tables of exact Poisson limits (95 %, one sided).
func TestAtMost(t *testing.T) {
	t.Parallel()
	for count, want := range map[int64]float64{0: 2.996, 1: 4.744, 2: 6.296, 5: 10.513, 10: 16.962, 50: 63.287} {
		if got := ledger.AtMost(count); math.Abs(got-want) > 0.002 {
			t.Errorf("%d: %.4f, want %.3f", count, got, want)
		}
	}
}

func TestRunsAddUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	for i := range 3 {
		e := ledger.Entry{Kind: ledger.Sentinel, Date: time.Unix(int64(i), 0).UTC(), Commit: "c", Clients: &ledger.Clients{Renewals: int64(i)}}
		if i == 1 {
			e.Failovers = &ledger.Failovers{Count: 2, Away: []float64{0.5, 2}}
		}
		if err := ledger.Append(path, e); err != nil {
			t.Fatal(err)
		}
	}
	all, err := ledger.Read(path)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	if all[2].Renewals != 2 || all[1].Failovers.Away[1] != 2 || all[0].Failovers != nil || all[0].Revocations != nil {
		t.Errorf("read back: %+v", all)
	}
}

func TestALineThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"{", `{"kind":"soak","renewed":3}`, ""} {
		path := filepath.Join(t.TempDir(), "ledger.jsonl")
		if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := ledger.Read(path); err == nil {
			t.Errorf("%q reads as %+v", line, all)
		}
	}
}
