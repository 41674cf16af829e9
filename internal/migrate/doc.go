// Package migrate moves apps from gin-jwt, scs and gorilla/sessions to the kit, and
// tests each way against the library itself: both kinds of sessions are accepted for
// a while, and nobody is signed out. docs/migrate.md quotes its files. It is a module
// of its own, so that users of the kit have none of these libraries in their go.sum.
package migrate
