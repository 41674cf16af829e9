// Package ledger keeps what long runs have shown, one line each, so that runs in
// pieces add up: docs/ledger.jsonl. Lines are appended and never changed.
package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Kinds of entries.
const (
	Soak     = "soak"     // one Redis that is killed, frozen and filled
	Sentinel = "sentinel" // a primary that is killed, and replicas
	Feed     = "feed"     // revocations on their way to all instances
)

// An Entry is one run. A count that a kind does not have is zero.
type Entry struct {
	Kind    string    `json:"kind"`
	Date    time.Time `json:"date"`
	Commit  string    `json:"commit"` // with a "+" where the sources were changed
	Seconds float64   `json:"seconds"`
	Seed    uint64    `json:"seed,omitempty"`

	*Clients     `json:",omitempty"`
	*Failovers   `json:",omitempty"`
	*Revocations `json:",omitempty"`
}

// Clients is what became of simulated clients.
type Clients struct {
	Clients   int   `json:"clients"`
	Renewals  int64 `json:"renewals"`
	Accidents int64 `json:"accidents"`  // lost messages, aborts, crashes, faults, outages
	SignedOut int64 `json:"signed_out"` // honest clients, and anything else that must not be
	Outside   int64 `json:"outside"`    // refused after a delay beyond what is promised
	Thefts    int64 `json:"thefts"`
	Stopped   int64 `json:"thieves_stopped"` // presentations of a token whose successor had settled, all refused
}

// Failovers is what they cost.
type Failovers struct {
	Count int64     `json:"failovers"`
	Away  []float64 `json:"away"` // seconds without a primary, each
}

// Revocations is how long they took to every instance.
type Revocations struct {
	Instances int     `json:"instances"`
	PerSecond int     `json:"per_second"`
	Sent      int     `json:"sent"`
	Refused   int     `json:"refused"` // instances that refuse, summed over the revocations
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
}

// Append adds an entry to a ledger, which is made if there is none.
func Append(path string, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		f.Close()
		return fmt.Errorf("ledger: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// Read reads a ledger. A line that cannot be read is an error that names it.
func Read(path string) ([]Entry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var all []Entry
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.DisallowUnknownFields()
		var e Entry
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("ledger: %s, line %d: %w", path, len(all)+1, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// Commit names the commit that the working folder is at, as Entry.Commit has it;
// "unknown" without git.
func Commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	if exec.Command("git", "diff", "--quiet", "HEAD", "--", "*.go", "*.lua").Run() != nil {
		name += "+"
	}
	return name
}

// AtMost returns the rate that a count still allows with 95 % confidence, one
// sided: the greatest mean of a Poisson distribution under which so few or fewer
// are seen in one of twenty cases. For a count of zero it is 3.0, the rule of three.
func AtMost(count int64) float64 {
	low, high := float64(count), 3*float64(count)+10
	for range 100 {
		if mean := (low + high) / 2; atMostSeen(count, mean) > 0.05 {
			low = mean
		} else {
			high = mean
		}
	}
	return high
}

// atMostSeen is the chance of a count or fewer under a mean.
func atMostSeen(count int64, mean float64) float64 {
	sum := 0.0
	for k := range count + 1 {
		lg, _ := math.Lgamma(float64(k) + 1)
		sum += math.Exp(float64(k)*math.Log(mean) - mean - lg)
	}
	return sum
}
