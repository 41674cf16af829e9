package redisstore_test

import (
	"math/rand/v2"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/refresh/storetest"
)

func newClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

func newStore(t testing.TB, c redis.UniversalClient) *redisstore.Store {
	t.Helper()
	s, err := redisstore.New(redisstore.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	c := newClient(t, redistest.Start(t).Addr)
	storetest.Run(t, func(t testing.TB) family.Store { return newStore(t, c) })
}

func TestStoreAnswersAsThePureFunction(t *testing.T) {
	t.Parallel()
	s := newStore(t, newClient(t, redistest.Start(t).Addr))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		if err := storetest.Compare(s, 30, r.IntN); err != nil {
			t.Fatal(err)
		}
	}
}
