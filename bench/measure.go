package bench

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// An Op is something to measure. Run does it n times, as worker w; workers run
// at the same time when more than one core is measured.
type Op struct {
	Name string
	Run  func(w, n int) error
}

// A Cost is what one operation takes: medians over the rounds.
type Cost struct {
	Name          string
	NS            float64 // wall-clock nanoseconds, all cores together
	Bytes, Allocs float64
	rounds        []float64 // NS of each round
}

// Ratio returns how much dearer c is than base: the median over the rounds, in
// each of which the two ran one after the other.
func (c *Cost) Ratio(base *Cost) float64 {
	r := make([]float64, len(c.rounds))
	for i := range r {
		r[i] = c.rounds[i] / base.rounds[i]
	}
	return median(r)
}

func median(values []float64) float64 { return percentile(values, 0.5) }

func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// Measure runs the operations in alternating slices of time on so many cores.
func Measure(ops []Op, cores, rounds int, slice time.Duration) ([]*Cost, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	counts := make([]int, len(ops))
	costs := make([]*Cost, len(ops))
	for i, op := range ops {
		n := 1
		for {
			took, _, _, err := timed(op, cores, n)
			if err != nil {
				return nil, err
			}
			if took >= slice/8 || n >= 1<<30 {
				counts[i] = max(1, int(float64(n)*float64(slice)/float64(max(took, 1))))
				break
			}
			n *= 4
		}
		costs[i] = &Cost{Name: op.Name}
	}
	bytes, allocs := make([][]float64, len(ops)), make([][]float64, len(ops))
	for range rounds {
		for i, op := range ops {
			took, b, a, err := timed(op, cores, counts[i])
			if err != nil {
				return nil, err
			}
			done := float64(counts[i] * cores)
			costs[i].rounds = append(costs[i].rounds, float64(took)/done)
			bytes[i], allocs[i] = append(bytes[i], b/done), append(allocs[i], a/done)
		}
	}
	for i, c := range costs {
		c.NS, c.Bytes, c.Allocs = median(c.rounds), median(bytes[i]), median(allocs[i])
	}
	return costs, nil
}

// timed runs op n times on each of so many workers.
func timed(op Op, workers, n int) (took time.Duration, bytes, allocs float64, err error) {
	var before, after runtime.MemStats
	errs := make([]error, workers)
	var all sync.WaitGroup
	runtime.ReadMemStats(&before)
	start := time.Now()
	for w := 1; w < workers; w++ {
		all.Go(func() { errs[w] = op.Run(w, n) })
	}
	errs[0] = op.Run(0, n)
	all.Wait()
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	for _, e := range errs {
		if e != nil {
			return 0, 0, 0, e
		}
	}
	return took, float64(after.TotalAlloc - before.TotalAlloc), float64(after.Mallocs - before.Mallocs), nil
}
