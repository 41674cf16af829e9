// Command figures computes the figures of docs/reliability.md from the ledger of
// runs, docs/ledger.jsonl, and measures the one that no other program does.
//
//	go run ./internal/soak -for 10m -clients 2000 -lifetime 20s -ledger docs/ledger.jsonl
//	go run ./internal/soak -for 10m -clients 150 -lifetime 20s -sentinel -ledger docs/ledger.jsonl
//	go run ./internal/figures -measure 10s -ledger docs/ledger.jsonl
//	go run ./internal/figures -ledger docs/ledger.jsonl -write docs/reliability.md
//
// Each run appends a line, so that runs in pieces add up.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/internal/ledger"
)

const (
	begins = "<!-- written by internal/figures -->\n"
	ends   = "<!-- end of the figures -->\n"
)

func main() {
	path := flag.String("ledger", "docs/ledger.jsonl", "the ledger")
	measure := flag.Duration("measure", 0, "revoke sessions for so long, and append how long it takes to be refused everywhere")
	instances := flag.Int("instances", 8, "how many instances follow")
	rate := flag.Int("rate", 1000, "revocations a second")
	page := flag.String("write", "", "the page that gets the figures")
	flag.Parse()
	if err := run(*path, *page, *measure, *instances, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(path, page string, measure time.Duration, instances, rate int) error {
	if measure > 0 {
		e, err := revocations(instances, rate, measure)
		if err != nil {
			return err
		}
		if err := ledger.Append(path, e); err != nil {
			return err
		}
	}
	all, err := ledger.Read(path)
	if err != nil {
		return err
	}
	text := report(all)
	fmt.Print(text)
	if page == "" {
		return nil
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the figures: a line %q and a line %q", page, strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	return os.WriteFile(page, []byte(before+begins+text+ends+after), 0o644)
}
