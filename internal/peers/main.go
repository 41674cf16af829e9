// Command peers plays the same clients and the same accidents against several
// ways to renew a session, in simulated time, and counts who signs out how many
// honest clients and how long a thief lives.
//
//	go run . -renewals 500000 -thieves 2000
//	go run . -renewals 500000 -thieves 2000 -write ../../docs
//
// Each client is a browser of its own with its own chance, drawn from the seed, so
// that a run can be repeated to the digit. docs/comparison.md says what is played,
// and what the models of the peers were made from.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	var o options
	flag.IntVar(&o.renewals, "renewals", 100_000, "how many renewals each cell of the table has at least")
	flag.IntVar(&o.thieves, "thieves", 1000, "how many thieves of each kind")
	flag.Uint64Var(&o.seed, "seed", 1, "where chance starts")
	write := flag.String("write", "", "the folder with comparison.md, whose table is replaced, and comparison.svg")
	flag.Parse()
	rows := measure(o)
	table := markdown(o, rows)
	fmt.Print(table)
	if *write == "" {
		return
	}
	if err := save(*write, table, rows); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
