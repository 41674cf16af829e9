package bench

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// Results are all measurements of one run. What needs Redis is nil without.
type Results struct {
	Scale   Scale
	Version string // of the server
	Load    string // of the machine when the run began
	Took    time.Duration

	Hot       []Hot
	First     []*First
	Peers     map[access.Algorithm][]*Cost
	Sessions  []*Cost
	Refreshes []*Refresh
	Memory    *Cost // a refresh over the memory store
	Gin       *Cost
	Stampedes []*Stampede

	Background *Background
	Footprints []*Footprint

	FamiliesRedis, FamiliesMemory, Siblings []Growth
	Instances                               []Instances
	HotProfile, RefreshProfile              *Profile
}

// MeasureAll measures everything; progress is told what comes next.
func MeasureAll(s Scale, progress func(string)) (*Results, error) {
	start := time.Now()
	r := &Results{Scale: s, Load: load(), Peers: make(map[access.Algorithm][]*Cost)}
	var steps []step
	for _, alg := range Algorithms {
		steps = append(steps, step{"every request, " + string(alg), func() error { return add(&r.Hot)(MeasureHot(alg, s)) }},
			step{"first sight, " + string(alg), func() error { return push(&r.First)(MeasureFirst(alg, s)) }})
	}
	for _, alg := range peerAlgorithms {
		steps = append(steps, step{"peers, " + string(alg), func() (err error) { r.Peers[alg], err = MeasurePeers(alg, s); return }})
	}
	steps = append(steps,
		step{"peers without JWT", func() (err error) { r.Sessions, err = MeasureSessions(s); return }},
		step{"refresh without Redis", func() (err error) { r.Memory, r.Gin, err = MeasureLocalRefresh(s); return }},
		step{"profile of every request", func() (err error) { r.HotProfile, err = ProfileHot(s); return }},
		step{"Redis", func() error { return WithRedis(func(x *Redis) error { r.Version = x.Version(); return nil }) }})
	for _, alg := range []access.Algorithm{access.EdDSA, access.ES256, access.HS256} {
		steps = append(steps, step{"refresh, " + string(alg), func() error { return push(&r.Refreshes)(MeasureRefresh(alg, s)) }})
	}
	for _, kind := range Stampedes {
		steps = append(steps, step{"parallel requests", func() error { return push(&r.Stampedes)(kind.Measure(s)) }})
	}
	steps = append(steps, step{"profile of a refresh", func() (err error) { r.RefreshProfile, err = ProfileRefresh(s); return }},
		step{"background", func() (err error) { r.Background, err = MeasureBackground(s); return }})
	for _, n := range []int{1, 10} {
		steps = append(steps, step{"memory", func() error { return push(&r.Footprints)(MeasureFootprint(n, s)) }})
	}
	steps = append(steps,
		step{"growth: families", func() (err error) { r.FamiliesRedis, r.FamiliesMemory, err = MeasureFamilies(s); return }},
		step{"growth: sessions of one subject", func() (err error) { r.Siblings, err = MeasureSiblings(s); return }},
		step{"growth: instances", func() (err error) { r.Instances, err = MeasureInstances(s); return }})
	for _, st := range steps {
		progress(st.name)
		runtime.GC()
		if err := st.run(); err != nil {
			return nil, fmt.Errorf("%s: %w", st.name, err)
		}
	}
	r.Took = time.Since(start)
	return r, nil
}

type step struct {
	name string
	run  func() error
}

func add[T any](list *[]T) func([]T, error) error {
	return func(more []T, err error) error { *list = append(*list, more...); return err }
}

func push[T any](list *[]T) func(T, error) error {
	return func(one T, err error) error { *list = append(*list, one); return err }
}

// MeasureLocalRefresh measures the kit's refresh without a server, and that of
// gin-jwt v2.
func MeasureLocalRefresh(s Scale) (kit, gin *Cost, err error) {
	env, err := NewEnv(access.HS256)
	if err != nil {
		return nil, nil, err
	}
	k, err := env.NewKit(nil, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	defer k.Sessions.Close()
	f := &fleet{k: k}
	if f.next[0], err = f.login(0); err != nil {
		return nil, nil, err
	}
	other, err := ginRefresh(k)
	if err != nil {
		return nil, nil, err
	}
	costs, err := Measure([]Op{{"sessionkit, HS256, memory store", func(_, n int) error {
		for range n {
			if err := f.refresh(0); err != nil {
				return err
			}
		}
		return nil
	}}, other}, 1, s.Rounds, s.Slice)
	if err != nil {
		return nil, nil, err
	}
	return costs[0], costs[1], nil
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// A Goal is what the kit set out for, and what came of it.
type Goal struct {
	What, Limit, Measured string
	Met                   bool
}

// Goals compares the results with the goals.
func (r *Results) Goals() []Goal {
	var hot, bytes, allocs, first float64
	for _, h := range r.Hot {
		for i := range 2 {
			hot, bytes, allocs = max(hot, h.Kit[i].Ratio(h.Floor[i])), max(bytes, h.Kit[i].Bytes), max(allocs, h.Kit[i].Allocs)
		}
	}
	for _, f := range r.First {
		first = max(first, f.Kit.Ratio(f.Bare))
	}
	goals := []Goal{
		limit("a request with a token seen before, against the least possible; the worst row", hot, 1.5, ratio),
		limit("its allocations", allocs, 2.05, plain("%.1f")),
		limit("its bytes allocated", bytes, 400, plain("%.0f B")),
		limit("first sight of a token, against bare golang-jwt; the worst algorithm", first, 1.25, ratio),
	}
	for _, f := range r.Refreshes {
		goals = append(goals,
			limit("round trips of a refresh, "+string(f.Alg), f.Trips, 1, plain("%.2f")),
			limit("median refresh, "+string(f.Alg)+", against a trivial script and one signature", f.Ratio, 1.5, ratio),
			limit("the server's time for a refresh, "+string(f.Alg)+", against the raw script", f.ServerRatio, 2, ratio))
	}
	goals[1].Limit = "at most 2"
	for _, s := range r.Stampedes {
		goals = append(goals, limit(fmt.Sprintf("round trips of %d parallel requests of one session, %s, %s; median", parallelism, s.how(), away(s.Distance)), s.Trips, 3, plain("%.0f")))
	}
	if b := r.Background; b != nil {
		goals = append(goals,
			limit("commands that a request with a valid token waits for", float64(b.Inline), 0, plain("%.0f")),
			limit("extra commands for each access token and instance", b.SettlingsPerToken, 1, plain("%.2f")))
	}
	if len(r.Footprints) > 0 {
		f := r.Footprints[0]
		goals = append(goals,
			limit("memory of a session, one for each subject", f.Used, 450, plain("%.0f B")),
			limit("hashes that are no listpack", float64(f.Keys-f.Listpacks), 0, plain("%.0f")))
	}
	return goals
}

func limit(what string, v, most float64, format func(float64) string) Goal {
	return Goal{what, "at most " + format(most), format(v), v <= most}
}

func plain(format string) func(float64) string {
	return func(v float64) string { return fmt.Sprintf(format, v) }
}

// how says how the requests of a stampede come to the kit.
func (kind *Stampede) how() string {
	if kind.HTTP {
		return "over as many connections"
	}
	return "in the process"
}

func away(d time.Duration) string {
	if d == 0 {
		return "Redis on loopback"
	}
	return fmt.Sprintf("Redis %v away", d)
}

var errNoMarker = errors.New("bench: the document has no such section")
