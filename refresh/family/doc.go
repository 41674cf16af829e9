// Package family is the protocol of refresh-token families, and nothing else:
// what is kept of one login (Record), what a presented token is answered
// (Decide), what a new login does to older ones (Admit), when a predecessor
// dies (Record.Settle), and what a Store and its Feed promise.
//
// Decide is one pure function with one case per rule; docs/protocol.md draws
// it. A Store applies it atomically. NewMemoryStore returns one in this
// process; package redisstore has one for many instances. Whoever writes
// another reads this package, and lets package refresh/storetest judge it.
//
// The package imports the standard library alone. It knows no HTTP, no tokens'
// text, no keys and no clock: time reaches it in requests.
package family
