package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

const (
	begins = "<!-- written by internal/peers -->\n"
	ends   = "<!-- end -->\n"
)

// markdown returns the table.
func markdown(o options, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Honest sign-outs per million renewals, by what happens to the clients (%d renewals or more in each cell, seed %d):\n\n| |", o.renewals, o.seed)
	for _, c := range cells {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(cells)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, c := range r.counts {
			fmt.Fprintf(&b, " %s |", rate(c))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nHow long a thief has access, all accidents together (%d of each kind, watched for 14 days): half of them at most · 95 %% of them at most · still in at the end:\n\n", o.thieves)
	b.WriteString("| | " + strings.Join(theftKinds, " | ") + " |\n|---|" + strings.Repeat("---|", len(theftKinds)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, lives := range r.lives {
			s := spreadOf(lives)
			fmt.Fprintf(&b, " %s · %s · %.1f %% |", lasts(s.half), lasts(s.most), 100*s.end)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// rate prints a count per million, or what a count of zero allows with 95 %
// confidence.
func rate(c count) string {
	if c.signedOut == 0 {
		return "0 (< " + number(3e6/float64(c.renewals)) + ")"
	}
	return number(c.perMillion())
}

// number prints three digits that count.
func number(x float64) string {
	switch {
	case x < 10:
		return fmt.Sprintf("%.1f", x)
	case x < 1000:
		return fmt.Sprintf("%.0f", x)
	}
	step := math.Pow(10, math.Floor(math.Log10(x))-2)
	n := int(math.Round(x/step) * step)
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

func lasts(d instant) string {
	switch {
	case d < 2*hour:
		return fmt.Sprintf("%d min", (d+minute/2)/minute)
	case d < 2*day:
		return fmt.Sprintf("%.1f h", float64(d)/float64(hour))
	}
	return fmt.Sprintf("%.1f d", float64(d)/float64(day))
}

// save puts the table into comparison.md, and the picture beside it.
func save(dir, table string, rows []row) error {
	path := filepath.Join(dir, "comparison.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the table: a line %q and a line %q", path, strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	if err := os.WriteFile(path, []byte(before+begins+table+ends+after), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "comparison.svg"), []byte(picture(rows)), 0o644)
}
