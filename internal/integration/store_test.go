package integration_test

import (
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/refresh/storetest"
)

// sequences is how many random sequences of operations each store has to
// answer as the model does, in each round; -rapid.checks asks for another
// number.
const sequences = "1000"

// A sequence has from shortest to longest operations. What goes wrong goes
// wrong within a few; more sequences find more than longer ones.
const shortest, longest = 4, 12

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", sequences); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func newClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

func newStore(t testing.TB, c *redis.Client) family.Store {
	t.Helper()
	s, err := redisstore.New(redisstore.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newMemoryStore(t testing.TB) family.Store {
	t.Helper()
	s, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// differential compares a store with the model of the contract. All sequences
// use the one store: each has subjects of its own.
func differential(t *testing.T, s family.Store) {
	t.Helper()
	t.Parallel()
	for range 10 {
		rapid.Check(t, func(t *rapid.T) {
			choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
			if err := storetest.Compare(s, shortest+choose(longest-shortest+1), choose); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDifferentialMemoryStore(t *testing.T) { differential(t, newMemoryStore(t)) }

func TestDifferentialRedis(t *testing.T) {
	differential(t, newStore(t, newClient(t, redistest.Start(t).Addr)))
}
