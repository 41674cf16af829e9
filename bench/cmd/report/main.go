// Report measures sessionkit and its peers and writes the results into
// docs/performance.md and the drawings beside it. Run it in bench/, on a
// machine that does nothing else.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sessionkit/sessionkit/bench"
)

func main() {
	small := flag.Bool("short", false, "measure little, to see that it works")
	docs := flag.String("docs", "../docs", "folder of performance.md")
	flag.Parse()
	if err := run(*small, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(small bool, docs string) error {
	path := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	scale := bench.Full()
	if small {
		scale = bench.Short()
	}
	start := time.Now()
	results, err := bench.MeasureAll(scale, func(step string) {
		fmt.Fprintf(os.Stderr, "%4.0fs %s\n", time.Since(start).Seconds(), step)
	})
	if err != nil {
		return err
	}
	filled, err := bench.Fill(string(text), results.Sections())
	if err != nil {
		return err
	}
	for name, plot := range results.Plots() {
		if err := os.WriteFile(filepath.Join(docs, name), []byte(plot.SVG()), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, []byte(filled), 0o644); err != nil {
		return err
	}
	for _, g := range results.Goals() {
		met := "met   "
		if !g.Met {
			met = "MISSED"
		}
		fmt.Printf("%s %s: %s, %s\n", met, g.What, g.Measured, g.Limit)
	}
	return nil
}
