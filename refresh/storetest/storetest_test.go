package storetest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/refresh/storetest"
)

func newMemoryStore(t testing.TB) *family.MemoryStore {
	t.Helper()
	m, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheMemoryStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) family.Store { return newMemoryStore(t) })
}

// A store is compared with the contract itself, by choices that can be made
// again.
func ExampleCompare() {
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	choices := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		if err := storetest.Compare(store, 20, choices.IntN); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("the store answers as the contract does")
	// Output: the store answers as the contract does
}

// mutant names the broken store that a child process runs the suite on.
const mutant = "STORETEST_MUTANT"

// TestRunFindsBrokenStores runs the suite on stores with one fault each, in a
// child process because it has to fail there, and looks for the rule that the
// fault breaks.
func TestRunFindsBrokenStores(t *testing.T) {
	if name := os.Getenv(mutant); name != "" {
		storetest.Run(t, func(t testing.TB) family.Store { return mutants[name].store(newMemoryStore(t)) })
		return
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestRunFindsBrokenStores$")
			cmd.Env = append(os.Environ(), mutant+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("the suite finds nothing wrong")
			}
			if rule := "/" + strings.ReplaceAll(m.breaks, " ", "_"); !strings.Contains(string(out), rule) {
				t.Errorf("the rule %q does not fail:\n%s", m.breaks, out)
			}
		})
	}
}

func TestCompareFindsBrokenStores(t *testing.T) {
	for name, m := range mutants {
		if m.quiet {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				if err := storetest.Compare(m.store(newMemoryStore(t)), 20, r.IntN); err != nil {
					if strings.Count(err.Error(), "\n") < 2 {
						t.Errorf("the report does not tell what led to the difference: %v", err)
					}
					return
				}
			}
			t.Error("2000 sequences show no difference")
		})
	}
}

func TestCompareFindsNothingWrongWithTheMemoryStore(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		if err := storetest.Compare(newMemoryStore(t), 20, r.IntN); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// mutants are stores with one fault each.
var mutants = map[string]struct {
	store  func(family.Store) family.Store
	breaks string // the rule
	quiet  bool   // one caller after the other cannot notice
}{
	"reads, decides and writes in three steps": {
		store: func(s family.Store) family.Store {
			return &racy{Store: s, records: make(map[family.ID]family.Record)}
		},
		breaks: "64 present one token: one rotates, all others get the same successor",
		quiet:  true,
	},
	"does not know its own attempts": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) {
				p.Attempt = family.Attempt{byte(rand.Int()), byte(rand.Int()), 3, 4, 5, 6}
			}}
		},
		breaks: "a late retry of the attempt before the last is neither replay nor reuse",
	},
	"lets anybody in": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.Enforced = 0 }}
		},
		breaks: "an enforced component differs: other client",
	},
	"has no strict mode": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.SingleUse = false }}
		},
		breaks: "p = g-1, not settled, single use: reuse",
	},
	"rotates generations however young they are": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.Settle = 0 }}
		},
		breaks: "a fresh generation is handed out as often as asked for, and rotated when it is old enough",
	},
	"does not end what is shared": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.EndShared = false }}
		},
		breaks: "p = g-1, shared, policy says end: reuse",
	},
	"knows no timeouts of today": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.Idle, p.Policy.Absolute, p.Policy.Browser = 0, 0, 0 }}
		},
		breaks: "at the idle timeout of today, if that is shorter: gone",
	},
	"does not refuse when it is behind": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.RefuseStoreBehind = false }}
		},
		breaks: "p = g+1, policy says refuse: refused",
	},
	"rounds time to seconds": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) {
				r.Record.CreatedAt = r.Record.CreatedAt.Truncate(time.Second)
			}}
		},
		breaks: "every field of a record comes back as it went in",
	},
	"cuts ids at a zero byte": {
		store: func(s family.Store) family.Store {
			cut := func(id *family.ID) {
				if i := slices.Index(id[:], 0); i >= 0 {
					clear(id[i:])
				}
			}
			return broken{Store: s, start: func(r *family.StartRequest) { cut(&r.Record.ID) }, rotate: func(p *family.RotateRequest) { cut(&p.Family) }}
		},
		breaks: "ids and attempts of any bytes",
	},
	"counts sessions without limit": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) { r.MaxSessions = 0 }}
		},
		breaks: "at the limit the oldest login gives way, with a tombstone",
	},
	"evicts where it should refuse": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) { r.RefuseAtLimit = false }}
		},
		breaks: "at a limit that refuses nothing is kept and nobody goes",
	},
	"supersedes nobody": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) { r.Supersedes = nil }}
		},
		breaks: "a login ends those that it supersedes and nobody else",
	},
	"takes any generation for good enough": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, revoke: func(r *family.RevokeRequest) { r.CheckGeneration = false }}
		},
		breaks: "a generation that was left behind ends nothing",
	},
	"leaves no tombstone of what it does not know": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, revoke: func(r *family.RevokeRequest) { r.Proven = false }}
		},
		breaks: "a login that arrives after its proven revocation stays dead",
	},
	"spares nobody": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, revoke: func(r *family.RevokeRequest) { r.Except = family.ID{} }}
		},
		breaks: "all but one",
	},
	"keeps one too few": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, revoke: func(r *family.RevokeRequest) { r.KeepNewest = max(0, r.KeepNewest-1) }}
		},
		breaks: "all but the newest",
	},
	"forgets the reason": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, revoke: func(r *family.RevokeRequest) { r.Reason = family.ReasonLogout }}
		},
		breaks: "revoked: gone, and the reason is told",
	},
	"binds no family to a key": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) { r.Record.Key = family.Key{} }}
		},
		breaks: "bound to a key, without a proof: unproven",
	},
	"remembers no proofs": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Proof = family.Proof{} }}
		},
		breaks: "a proof counts once, its blind retry as often as it comes",
	},
	"lets families go without a key": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.Policy.KeyWithin = 0 }}
		},
		breaks: "a family that has to have a key ends without one, and says why",
	},
	"forgets step-ups": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, rotate: func(p *family.RotateRequest) { p.StepUp = nil }}
		},
		breaks: "a step-up is kept with the rotation, and by later ones",
	},
	"counts who acts as the subject": {
		store: func(s family.Store) family.Store {
			return broken{Store: s, start: func(r *family.StartRequest) { r.Record.Actor = "" }}
		},
		breaks: "families with an actor are not counted, and end none",
	},
	"never settles":      {store: func(s family.Store) family.Store { return unsettling{s} }, breaks: "a settled generation's predecessor is reuse, always"},
	"settles whatever":   {store: func(s family.Store) family.Store { return eager{s} }, breaks: "settling another generation than the current one changes nothing"},
	"lists oldest first": {store: func(s family.Store) family.Store { return reversed{s} }, breaks: "the list is newest login first and holds no dead ones"},
	"returns bare context errors": {
		store:  func(s family.Store) family.Store { return bare{s} },
		breaks: "a context that has ended is ErrUnavailable",
		quiet:  true,
	},
}

// broken tampers with requests.
type broken struct {
	family.Store
	start  func(*family.StartRequest)
	rotate func(*family.RotateRequest)
	revoke func(*family.RevokeRequest)
}

func (b broken) Start(ctx context.Context, r family.StartRequest) (family.StartResult, error) {
	if b.start != nil {
		b.start(&r)
	}
	return b.Store.Start(ctx, r)
}

func (b broken) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	if b.rotate != nil {
		b.rotate(&p)
	}
	return b.Store.Rotate(ctx, p)
}

func (b broken) Revoke(ctx context.Context, r family.RevokeRequest) (family.RevokeResult, error) {
	if b.revoke != nil {
		b.revoke(&r)
	}
	return b.Store.Revoke(ctx, r)
}

type unsettling struct{ family.Store }

func (unsettling) Settle(context.Context, family.Subject, family.ID, uint32) error {
	return nil
}

type eager struct{ family.Store }

func (e eager) Settle(ctx context.Context, subject family.Subject, id family.ID, _ uint32) error {
	f, err := e.Find(ctx, subject, id, time.Now())
	if err != nil {
		return err
	}
	return e.Store.Settle(ctx, subject, id, f.Generation)
}

type reversed struct{ family.Store }

func (r reversed) List(ctx context.Context, subject family.Subject, now time.Time) ([]family.Record, error) {
	list, err := r.Store.List(ctx, subject, now)
	slices.Reverse(list)
	return list, err
}

type bare struct{ family.Store }

func (b bare) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	if err := ctx.Err(); err != nil {
		return family.Record{}, err
	}
	return b.Store.Find(ctx, subject, id, now)
}

// racy keeps the families that were rotated itself, without atomicity.
type racy struct {
	family.Store
	mu      sync.Mutex
	records map[family.ID]family.Record
}

func (r *racy) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	f, err := r.Find(ctx, p.Subject, p.Family, p.Now)
	if err != nil || f.ID.IsZero() {
		return family.Verdict{}, err
	}
	for range 100 {
		runtime.Gosched()
	}
	v := family.Decide(&f, p)
	if v.Changed {
		r.mu.Lock()
		r.records[p.Family] = v.Record
		r.mu.Unlock()
	}
	return v, nil
}

func (r *racy) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.records[id]; ok && f.Subject == subject {
		return f, nil
	}
	return r.Store.Find(ctx, subject, id, now)
}
