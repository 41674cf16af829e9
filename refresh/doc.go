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
// Start opens a session at a login, Refresh renews it when an access token has
// run out, Revoke, RevokeAll, RevokeOthers and SignOut end sessions, List is for
// a page of devices, Status says how one stands, StepUp and SetData change the
// current one. All of that knows no HTTP: package middleware serves it.
//
// The protocol is one pure function, family.Decide, with one case per rule; see
// docs/protocol.md. A family.Store applies it atomically: family.NewMemoryStore in
// this process, package redisstore for many instances, or one of your own, which
// package storetest checks.
//
// Errors that are ErrRefused are final: the user signs in again. ErrUnavailable
// is passing, and nothing is lost by it: the same token can be presented again.
// What security monitoring wants to know goes to an EventHandler; LogEvents writes
// it to log/slog.
//
// The package does not authenticate users, limit rates, or keep accounts.
package refresh
