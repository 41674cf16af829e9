package bench

import (
	"fmt"
	"math"
	"runtime"
	"sort"
	"strings"
	"time"
)

// A table is rows of a Markdown table, the first one its head.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

func (t table) String() string {
	var b strings.Builder
	for i, cells := range t {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
		}
	}
	return b.String()
}

// Sections are the generated parts of the document, by the name in their marks.
func (r *Results) Sections() map[string]string {
	return map[string]string{
		"run": r.run(), "goals": r.goals(), "hot": r.hot(), "first": r.first(), "peers": r.peers(), "sessions": r.sessions(),
		"refresh": r.refresh(), "parallel": r.parallel(), "background": r.background(), "memory": r.memory(),
		"families": r.families(), "siblings": r.siblings(), "instances": r.instances(), "scale": r.scale(),
		"profile-hot": profileTables(r.HotProfile), "profile-refresh": r.refreshParts() + profileTables(r.RefreshProfile),
	}
}

// Plots are the drawings, by file name.
func (r *Results) Plots() map[string]*Plot {
	line := func(name string, all []Growth, y func(Growth) float64) Series {
		s := Series{Name: name}
		for _, g := range all {
			s.X, s.Y = append(s.X, float64(g.Size)), append(s.Y, y(g))
		}
		return s
	}
	p50, server := func(g Growth) float64 { return g.P50 }, func(g Growth) float64 { return g.Server }
	rates := Series{Name: "all instances together"}
	for _, i := range r.Instances {
		rates.X, rates.Y = append(rates.X, float64(i.Count)), append(rates.Y, i.Rate)
	}
	return map[string]*Plot{
		"performance-families.svg": {"A rotation among many families", "families", "microseconds", []Series{
			line("Redis, median call", r.FamiliesRedis, p50), line("Redis, the server's part", r.FamiliesRedis, server), line("memory store", r.FamiliesMemory, p50)}},
		"performance-siblings.svg": {"A rotation, by the sessions of its subject", "sessions of one subject", "microseconds", []Series{
			line("median call", r.Siblings, p50), line("the server's part", r.Siblings, server)}},
		"performance-instances.svg": {"Refreshes a second on one machine", "instances", "refreshes a second", []Series{rates}},
	}
}

func (r *Results) run() string {
	size := "a full run"
	if r.Scale.Short {
		size = "a run with `-short`, good for nothing but to see that it works"
	}
	v := versions()
	var names []string
	for _, m := range []string{"github.com/golang-jwt/jwt/v5", "github.com/redis/go-redis/v9"} {
		names = append(names, strings.TrimPrefix(m, "github.com/")+" "+v[m])
	}
	for _, p := range Peers[1:] {
		names = append(names, strings.TrimPrefix(p.Module, "github.com/")+" "+v[p.Module])
	}
	for _, m := range []string{"github.com/alexedwards/scs/v2", "github.com/gorilla/sessions"} {
		names = append(names, strings.TrimPrefix(m, "github.com/")+" "+v[m])
	}
	server := "no redis-server"
	if r.Version != "" {
		server = "redis-server " + r.Version + " on loopback"
	}
	return fmt.Sprintf("%s, %s/%s, %d cores of %s, %s. %s. It took %v; the load average when it began was %s. Peers: %s.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), server,
		strings.ToUpper(size[:1])+size[1:], r.Took.Round(time.Second), r.Load, strings.Join(names, ", "))
}

func (r *Results) goals() string {
	t := table{{"goal", "limit", "measured", ""}}
	missed := 0
	for _, g := range r.Goals() {
		met := "met"
		if !g.Met {
			met = "**missed**"
			missed++
		}
		t.row(g.What, g.Limit, g.Measured, met)
	}
	verdict := "\nAll of them are met in this run.\n"
	if missed > 0 {
		verdict = fmt.Sprintf("\n%d of %d are missed in this run.\n", missed, len(t)-1)
	}
	return t.String() + verdict
}

func (r *Results) hot() string {
	t := table{{"algorithm", "live tokens", "cores", "token in", "least possible", "RequireAuth", "ratio", "B", "allocs"}}
	for _, h := range r.Hot {
		for i, where := range [2]string{"header", "cookie"} {
			t.row(string(h.Alg), count(h.Tokens), fmt.Sprint(h.Cores), where, ns(h.Floor[i].NS), ns(h.Kit[i].NS), ratio(h.Kit[i].Ratio(h.Floor[i])),
				fmt.Sprintf("%.0f", h.Kit[i].Bytes), fmt.Sprintf("%.1f", h.Kit[i].Allocs))
		}
	}
	return t.String()
}

func (r *Results) first() string {
	t := table{{"algorithm", "golang-jwt", "B", "allocs", "access.Tokens.Verify", "B", "allocs", "ratio"}}
	for _, f := range r.First {
		t.row(string(f.Alg), ns(f.Bare.NS), fmt.Sprintf("%.0f", f.Bare.Bytes), fmt.Sprintf("%.0f", f.Bare.Allocs),
			ns(f.Kit.NS), fmt.Sprintf("%.0f", f.Kit.Bytes), fmt.Sprintf("%.0f", f.Kit.Allocs), ratio(f.Kit.Ratio(f.Bare)))
	}
	return t.String()
}

func costTable(what string, costs []*Cost, base int, against string) string {
	t := table{{what, "time", "B", "allocs", against}}
	for _, c := range costs {
		t.row(c.Name, ns(c.NS), fmt.Sprintf("%.0f", c.Bytes), fmt.Sprintf("%.0f", c.Allocs), ratio(c.Ratio(costs[base])))
	}
	return t.String()
}

func (r *Results) peers() string {
	var b strings.Builder
	for _, alg := range peerAlgorithms {
		if costs := r.Peers[alg]; len(costs) > 1 {
			b.WriteString(costTable(string(alg), costs, 1, "× sessionkit, seen before") + "\n")
		}
	}
	return b.String()
}

func (r *Results) sessions() string {
	return costTable("a request with a session", r.Sessions, 0, "× sessionkit")
}

func (r *Results) refresh() string {
	t := table{{"over Redis", "fastest tenth", "median", "99th percentile", "a second at 64 clients", "the server's time for the script", "processor time at 64 clients: client + server"}}
	row := func(name string, l Latency, parallel ...string) {
		t.row(append([]string{name, micros(l.P10), micros(l.P50), micros(l.P99)}, append(parallel, "", "", "")[:3]...)...)
	}
	parallel := func(rate, server float64, cpu [2]float64) []string {
		return []string{count(int(rate)), fmt.Sprintf("%.1f µs", server), fmt.Sprintf("%.0f + %.0f µs", cpu[0], cpu[1])}
	}
	for i, f := range r.Refreshes {
		if i == 0 {
			row("`return 1`", f.Trivial)
			row("HMGET, HSET, PEXPIRE", f.Raw, parallel(f.RawRate, f.RawServer, f.RawCPU)...)
		}
		row("sessionkit, "+string(f.Alg), f.Kit, parallel(f.KitRate, f.KitServer, f.KitCPU)...)
		row("one signature alone, "+string(f.Alg), f.Sign)
		t.row("HMGET, HSET, PEXPIRE and one signature, "+string(f.Alg), "", "", "", count(int(f.SignedRate)), "", "")
	}
	local := costTable("without a server, one core", []*Cost{r.Memory, r.Gin}, 0, "× sessionkit")
	return t.String() + "\n" + local
}

func (r *Results) parallel() string {
	t := table{{"requests at once", "where Redis is", "rounds", "round trips, median", "most"}}
	for _, s := range r.Stampedes {
		t.row(fmt.Sprintf("%d, %s", s.Parallelism, s.how()), away(s.Distance), fmt.Sprint(s.Rounds), fmt.Sprintf("%.0f", s.Trips), fmt.Sprintf("%.0f", s.Most))
	}
	return t.String()
}

func (r *Results) background() string {
	b := r.Background
	t := table{{"commands", "of a session in use for an hour", "why"}}
	t.row("refreshes", fmt.Sprintf("%.1f", b.Refreshes), fmt.Sprintf("%d access tokens an hour", b.TokensPerHour))
	t.row("settling, on each instance that sees the session", fmt.Sprintf("%.1f", b.Settlings), fmt.Sprintf("%.2f for each access token that is used for longer than the settle time", b.SettlingsPerToken))
	t.row("requests with a valid access token", fmt.Sprint(b.Inline), "none asks the store")
	t.row("the feed", "0", fmt.Sprintf("%.2f commands a second for each instance, however many sessions there are", b.Feed))
	return t.String()
}

func (r *Results) memory() string {
	t := table{{"sessions of a subject", "sessions", "bytes a session", "of them data", "hashes", "of them listpacks"}}
	for _, f := range r.Footprints {
		t.row(fmt.Sprint(f.PerSubject), count(f.Sessions), fmt.Sprintf("%.0f", f.Used), fmt.Sprintf("%.0f", f.Dataset), count(f.Keys), count(f.Listpacks))
	}
	return t.String()
}

func (r *Results) families() string {
	t := table{{"families", "Redis, median", "the server's part", "memory store"}}
	for i, m := range r.FamiliesMemory {
		redis, server := "", ""
		if i < len(r.FamiliesRedis) {
			redis, server = fmt.Sprintf("%.0f µs", r.FamiliesRedis[i].P50), fmt.Sprintf("%.1f µs", r.FamiliesRedis[i].Server)
		}
		t.row(count(m.Size), redis, server, fmt.Sprintf("%.1f µs", m.P50))
	}
	return t.String()
}

func (r *Results) siblings() string {
	t := table{{"sessions of the subject", "median", "the server's part"}}
	for _, g := range r.Siblings {
		t.row(count(g.Size), fmt.Sprintf("%.0f µs", g.P50), fmt.Sprintf("%.1f µs", g.Server))
	}
	return t.String()
}

func (r *Results) instances() string {
	t := table{{"instances", "refreshes a second, all together", "until all refuse a revoked session, median", "99th percentile"}}
	for _, i := range r.Instances {
		t.row(fmt.Sprint(i.Count), count(int(i.Rate)), micros(i.Heard.P50), micros(i.Heard.P99))
	}
	return t.String()
}

// scale is what the measured constants come to for a hundred million sessions.
func (r *Results) scale() string {
	if len(r.Footprints) == 0 || len(r.Refreshes) == 0 || r.Background == nil {
		return "No server was there to measure with.\n"
	}
	const (
		sessions  = 100e6
		inUse     = 0.1  // of all sessions, in any hour
		instances = 200  // that follow the feed
		node      = 12e9 // bytes of data on a primary
		busy      = 0.4  // of a core that a primary should use
	)
	f, k := r.Footprints[0], r.Refreshes[0]
	memory := sessions * f.Used
	hourly := r.Background.Refreshes + r.Background.Settlings
	commands := sessions * inUse * hourly / 3600
	// So many instances have few calls each, which hardly travel together: a
	// command costs the server what the raw one does, and the longer script.
	each := k.RawCPU[1] + k.KitServer - k.RawServer
	cores := commands * each / 1e6
	nodes := math.Max(math.Ceil(memory/node), math.Ceil(cores/busy))
	t := table{{"for 100 million sessions", "", "from"}}
	t.row("memory", fmt.Sprintf("%.0f GB", memory/1e9), fmt.Sprintf("%.0f B a session, one for each subject", f.Used))
	t.row("commands a second", count(int(commands)), fmt.Sprintf("one session in ten in use, each %.0f commands an hour, on one instance", hourly))
	t.row("cores of all primaries", fmt.Sprintf("%.1f", cores), fmt.Sprintf("%.0f µs of the server's processor a command, network included", each))
	t.row("primaries", fmt.Sprintf("%.0f", nodes), fmt.Sprintf("%.0f GB of data on each, %.0f %% of a core; as many replicas again", node/1e9, 100*busy))
	t.row("commands a second and primary", count(int(commands/nodes)), "keys spread by a keyed hash of the subject")
	t.row("of the feed", count(int(instances*r.Background.Feed)), fmt.Sprintf("a second, for %d instances, all on the one primary that holds the stream", instances))
	return t.String()
}

// refreshParts says where the processor time of a refresh goes, by what the
// time is spent for.
func (r *Results) refreshParts() string {
	p := r.RefreshProfile
	if p == nil {
		return ""
	}
	find := func(suffix string) (sum float64) {
		for name, cum := range p.Within {
			if strings.HasSuffix(name, suffix) {
				sum += cum
			}
		}
		return sum
	}
	t := table{{"part of a refresh's time in this process", "share"}}
	for _, part := range []struct {
		name    string
		percent float64
	}{
		{"the Redis client", find("redisstore.(*Store).run")},
		{"the signature", find("access.(*Key).sign")},
		{"the rest of the access token: writing its JSON and reading it back", find("access.(*Tokens).Issue") - find("access.(*Key).sign")},
		{"making HMACs (refresh token, subject, fingerprint)", find("refresh.appendMAC") + find("refresh.hashComponent")},
		{"growing the stacks of new goroutines", find("runtime.newstack")},
		{"allocating", find("runtime.mallocgc")},
		{"collecting garbage", find("runtime.gcBgMarkWorker")},
	} {
		t.row(part.name, fmt.Sprintf("%.0f %%", part.percent))
	}
	return "Parts overlap: allocations happen inside the others.\n\n" + t.String() + "\n"
}

func profileTables(p *Profile) string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	for _, part := range []struct {
		name string
		all  []Function
	}{{"processor time in the function itself", p.CPU}, {"bytes allocated by the function itself", p.Alloc}} {
		t := table{{part.name, "share"}}
		for _, f := range part.all[:min(8, len(part.all))] {
			t.row("`"+strings.ReplaceAll(f.Name, "|", "")+"`", fmt.Sprintf("%.0f %%", f.Flat))
		}
		b.WriteString(t.String() + "\n")
	}
	return b.String()
}

// Fill replaces the generated sections of a document, each of which stands
// between <!-- measured: name --> and <!-- end -->.
func Fill(document string, sections map[string]string) (string, error) {
	var names []string
	for name := range sections {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		mark := "<!-- measured: " + name + " -->\n"
		before, rest, ok := strings.Cut(document, mark)
		if !ok {
			return "", fmt.Errorf("%w: %s", errNoMarker, name)
		}
		_, after, ok := strings.Cut(rest, "<!-- end -->")
		if !ok {
			return "", fmt.Errorf("%w: %s has no end", errNoMarker, name)
		}
		document = before + mark + strings.TrimRight(sections[name], "\n") + "\n<!-- end -->" + after
	}
	return document, nil
}

func micros(nanos float64) string {
	if nanos >= 1e6 {
		return fmt.Sprintf("%.1f ms", nanos/1e6)
	}
	return fmt.Sprintf("%.0f µs", nanos/1e3)
}

// count writes a number with commas.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
