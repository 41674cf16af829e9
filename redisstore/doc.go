// Package redisstore keeps sessions in Redis, so that many instances of an app
// serve them: a family.Store and a family.Feed over a client that the app
// already has, for a standalone server, Sentinel, Cluster or Valkey.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.New(redisstore.Config{Client: client})
//	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
//
// Each operation is one script on one key; those that are due at the same time
// share their round trips. All families of a subject are in one hash, whose
// name is a keyed hash of the subject; what it holds makes no token. Scripts
// may be executed twice, as clients do when a reply is lost, to the effect and
// with the answer of once.
//
// Revocations are also appended to a stream that every instance follows. It is
// trimmed by time alone, and read again from before the gap after every
// interruption, so that nothing is missed.
//
// The store needs Redis 6.2 or Valkey, a maxmemory-policy of noeviction, and
// nothing else of the server: no modules, no TIME in scripts, no KEYS or SCAN.
// It never dials and never closes the client.
package redisstore
