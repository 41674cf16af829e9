// Package soak plays thousands of clients against several instances of the real
// middleware on a real Redis that fails at random, and accounts for every
// session: no honest client may be signed out, and no replay of a settled token
// may succeed.
//
//	go test ./internal/soak -v -for 10m -users 2000 -lifetime 20s
//
// The clients are browsers with parallel tabs, and native apps. Their requests
// and responses are slow, get lost, and come late; browsers crash and come back
// with older cookies; the instances' clocks differ. Thieves copy tokens out of
// some browsers, fingerprint included, and replay them when they please.
package soak
