// Package refresh keeps sessions: families of refresh tokens that rotate on
// each use, and the access tokens that go with them.
//
// It makes two promises. No honest client is ever signed out by the machinery:
// parallel requests, lost responses, browsers that crash, retries and a store
// that loses its last writes all end in the same successor. And a stolen token
// is worthless once its owner has been back: replaying it then revokes the
// whole family.
//
//	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
//
// A Service does everything by itself: Start at login, Refresh when an access
// token has run out, Revoke, RevokeAll and RevokeOthers, List for a page of
// devices. Over HTTP, Login and Logout serve an app's own handlers, and
// RefreshHandler and its kin are handlers to mount; package middleware guards
// an app's handlers and mounts them all.
//
// The protocol is one pure function, Decide, with one case per rule; see
// docs/protocol.md. A Store applies it atomically: NewMemoryStore in this
// process, package redisstore for many instances, or one of your own, which
// package storetest checks.
//
// Errors that are ErrRefused are final: the user signs in again. ErrUnavailable
// is passing, and nothing is lost by it: the same token can be presented again.
// What security monitoring wants to know goes to a Recorder; LogEvents writes
// it to log/slog.
//
// The package does not authenticate users, limit rates, or keep accounts.
package refresh
