package redisstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"time"

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

// A client for production: by Sentinel, over TLS, and with limits.
func Example_sentinel() {
	sentinels := []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"}
	authorities := x509.NewCertPool() // with the certificate authority of your Redis

	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "sessions", SentinelAddrs: sentinels,
		ContextTimeoutEnabled: true, // or a stalled server holds goroutines for seconds
		DialTimeout:           time.Second,
		PoolSize:              50, // logins and pipelines under way, plus one for the feed
		TLSConfig:             &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
	})
	defer client.Close()

	store, err := redisstore.New(redisstore.Config{Client: client})
	fmt.Println(store != nil, err)
	// Output: true <nil>
}
