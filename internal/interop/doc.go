// Package interop holds the kit's side of DPoP (RFC 9449) against a client by
// others, the npm package dpop, in Node.js, and runs the Kotlin client of
// docs/native.md. It is a module of its own, since it needs more than Go.
package interop
