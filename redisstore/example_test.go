package redisstore_test

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/redisstore"
)

func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redisstore.New(redisstore.Config{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	warnings, err := store.Check(context.Background())
	if err != nil {
		log.Print(err) // the server is away: sessions answer 503 until it is back
	}
	for _, w := range warnings {
		log.Print(w)
	}
	// Hand the store to refresh.New.
}
