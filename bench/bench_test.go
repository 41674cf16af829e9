package bench

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// run makes an Op a benchmark.
func run(b *testing.B, op Op) {
	b.Run(strings.ReplaceAll(op.Name, " ", "_"), func(b *testing.B) {
		b.ReportAllocs()
		if err := op.Run(0, b.N); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	for _, alg := range Algorithms {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("alg=%s/tokens=%d", alg, n), func(b *testing.B) {
				withKit(b, alg, 0, func(k *Kit) ([]Op, error) { return hotOps(k, n) })
			})
		}
	}
}

func BenchmarkFirstSight(b *testing.B) {
	for _, alg := range Algorithms {
		b.Run("alg="+string(alg), func(b *testing.B) { withKit(b, alg, -1, firstOps) })
	}
}

func BenchmarkPeers(b *testing.B) {
	for _, alg := range peerAlgorithms {
		b.Run("alg="+string(alg), func(b *testing.B) {
			withKit(b, alg, 0, func(k *Kit) ([]Op, error) { return peerOps(k, k) })
		})
	}
	b.Run("sessions", func(b *testing.B) {
		inRedis(b, func(r *Redis) error {
			ops, err := sessionOps(r)
			for _, op := range ops {
				run(b, op)
			}
			return err
		})
	})
}

func withKit(b *testing.B, alg access.Algorithm, entries int, ops func(*Kit) ([]Op, error)) {
	env, err := NewEnv(alg)
	if err != nil {
		b.Fatal(err)
	}
	k, err := env.NewKit(nil, entries, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Sessions.Close()
	all, err := ops(k)
	if err != nil {
		b.Fatal(err)
	}
	for _, op := range all {
		run(b, op)
	}
}

// BenchmarkRefresh is 64 clients over Redis: the raw script and the kit.
func BenchmarkRefresh(b *testing.B) {
	for _, alg := range peerAlgorithms {
		for _, kind := range []string{"raw", "kit"} {
			b.Run("alg="+string(alg)+"/by="+kind, func(b *testing.B) {
				inRedis(b, func(r *Redis) error {
					f, end, err := fleetOn(r, alg)
					if err != nil {
						return err
					}
					defer end()
					op := f.raw
					if kind == "kit" {
						op = f.refresh
					}
					client, server, err := r.CPU()
					if err != nil {
						return err
					}
					b.ReportAllocs()
					b.ResetTimer()
					_, _, err = share(b.N, op)
					b.StopTimer()
					if err != nil {
						return err
					}
					client2, server2, err := r.CPU()
					b.ReportMetric((client2-client)/float64(b.N), "client-µs/op")
					b.ReportMetric((server2-server)/float64(b.N), "server-µs/op")
					return err
				})
			})
		}
	}
}

// BenchmarkDeviceKeyRefresh is a renewal for a signature of a browser's key beside an
// ordinary one, in turn, over Redis: medians in microseconds, and their ratio.
func BenchmarkDeviceKeyRefresh(b *testing.B) {
	for _, alg := range peerAlgorithms {
		b.Run("alg="+string(alg), func(b *testing.B) {
			inRedis(b, func(r *Redis) error {
				f, end, err := fleetOn(r, alg)
				if err != nil {
					return err
				}
				defer end()
				s, err := newSigner(f.k)
				if err != nil {
					return err
				}
				var ordinary, signed []float64
				timed := func(to *[]float64, call func() error) error {
					began := time.Now()
					err := call()
					*to = append(*to, float64(time.Since(began).Nanoseconds())/1000)
					return err
				}
				for i := 0; b.Loop(); i++ {
					if err := errors.Join(timed(&ordinary, func() error { return f.refresh(i % clients) }), timed(&signed, s.refresh)); err != nil {
						return err
					}
				}
				a, c := percentile(ordinary, 0.5), percentile(signed, 0.5)
				b.ReportMetric(a, "ordinary-µs")
				b.ReportMetric(c, "signed-µs")
				b.ReportMetric(c/a, "ratio")
				return nil
			})
		})
	}
}

func inRedis(tb testing.TB, f func(*Redis) error) {
	tb.Helper()
	switch err := WithRedis(f); {
	case errors.Is(err, ErrNoRedis) && os.Getenv("SESSIONKIT_REQUIRE_SERVERS") == "":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
}

// TestRequestsAllocate: two allocations for a token seen before, whatever the
// algorithm and wherever it comes in, and none more than golang-jwt at first
// sight.
func TestRequestsAllocate(t *testing.T) {
	for _, alg := range Algorithms {
		_, k := newKit(t, alg, 0, nil)
		ops, err := hotOps(k, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ops {
			if n := allocs(t, op); n > 2 {
				t.Errorf("%s, %s: %v allocations", alg, op.Name, n)
			}
		}
		_, first := newKit(t, alg, -1, nil)
		if ops, err = firstOps(first); err != nil {
			t.Fatal(err)
		}
		if bare, kit := allocs(t, ops[0]), allocs(t, ops[1]); kit > bare {
			t.Errorf("%s, first sight: %v allocations, golang-jwt makes %v", alg, kit, bare)
		}
	}
}

func allocs(t *testing.T, op Op) float64 {
	t.Helper()
	if err := op.Run(0, 1); err != nil {
		t.Fatal(err)
	}
	const calls = 50
	// Each run makes the writer that all of its requests share.
	n := testing.AllocsPerRun(10, func() {
		if err := op.Run(0, calls); err != nil {
			t.Error(err)
		}
	})
	return float64(int(n / calls))
}

// TestARefreshIsOneRoundTrip counts the server's commands.
func TestARefreshIsOneRoundTrip(t *testing.T) {
	inRedis(t, func(r *Redis) error {
		f, end, err := fleetOn(r, access.HS256)
		if err != nil {
			return err
		}
		defer end()
		if err := r.Reset(); err != nil {
			return err
		}
		const calls = 200
		if _, _, err := share(calls, f.refresh); err != nil {
			return err
		}
		stats, err := r.Commands()
		if err != nil {
			return err
		}
		for name, c := range stats {
			switch name {
			case "evalsha":
				if c.Calls != calls {
					t.Errorf("%d scripts for %d refreshes", c.Calls, calls)
				}
			// What scripts call counts too; the rest is the feed's, of new
			// connections, and of this test.
			case "hmget", "hset", "pexpire", "pttl", "xread", "xinfo|stream", "info", "config|resetstat", "hello", "client|setinfo", "client|maint_notifications":
			default:
				t.Errorf("%d times %s", c.Calls, name)
			}
		}
		return nil
	})
}

// TestWhatIsComparedDoesTheSame: peers refuse a token with a broken signature,
// like the kit.
func TestWhatIsComparedDoesTheSame(t *testing.T) {
	for _, alg := range peerAlgorithms {
		_, k := newKit(t, alg, 0, nil)
		good := login(t, k, "alice").AccessToken
		bad := []byte(good)
		bad[len(bad)-10] ^= 1
		for _, p := range Peers {
			h, err := p.New(k)
			if err != nil {
				t.Fatal(err)
			}
			if h == nil {
				continue
			}
			for token, accepted := range map[string]bool{good: true, string(bad): false} {
				out := &sink{header: make(map[string][]string)}
				h.ServeHTTP(out, request("Authorization", "Bearer "+token))
				if (out.status < 300) != accepted {
					t.Errorf("%s, %s: %d for a token that is to be accepted: %v", p.Name, alg, out.status, accepted)
				}
			}
		}
	}
}

func TestFillReplacesWhatIsBetweenTheMarks(t *testing.T) {
	document := "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n"
	want := "a\n<!-- measured: x -->\nnew\n<!-- end -->\nb\n<!-- measured: y -->\n1\n2\n<!-- end -->\n"
	got, err := Fill(document, map[string]string{"x": "new", "y": "1\n2\n"})
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	if again, err := Fill(got, map[string]string{"x": "new", "y": "1\n2\n"}); err != nil || again != want {
		t.Errorf("a second time: %q, %v", again, err)
	}
	if _, err := Fill(document, map[string]string{"z": ""}); !errors.Is(err, errNoMarker) {
		t.Errorf("a section without a mark: %v", err)
	}
}

// TestTheDocumentHasEverySection: the report would fail after minutes of
// measuring otherwise.
func TestTheDocumentHasEverySection(t *testing.T) {
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	none := &Results{Memory: &Cost{}, Gin: &Cost{}, Background: &Background{}, Sessions: []*Cost{{}}}
	if _, err := Fill(string(text), none.Sections()); err != nil {
		t.Error(err)
	}
	for name := range none.Plots() {
		if !strings.Contains(string(text), "]("+name+")") {
			t.Errorf("the document does not show %s", name)
		}
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	p := Plot{"title", "x", "y", []Series{{"one", []float64{1, 10, 1e6}, []float64{0.5, 12, 3}}, {"none", nil, nil}}}
	d := xml.NewDecoder(strings.NewReader(p.SVG()))
	circles := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 3 {
		t.Errorf("%d points", circles)
	}
}

func TestMediansAndRatios(t *testing.T) {
	a, b := &Cost{rounds: []float64{2, 4, 90}}, &Cost{rounds: []float64{1, 2, 30}}
	if got := a.Ratio(b); got != 2 {
		t.Errorf("ratio %v", got)
	}
	if got := percentile([]float64{3, 1, 2}, 1); got != 3 {
		t.Errorf("highest %v", got)
	}
	if got := count(1234567); got != "1,234,567" {
		t.Errorf("count %s", got)
	}
}
