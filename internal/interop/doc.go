// Package interop holds the kit's side of DPoP (RFC 9449) against a client by
// others, the npm package dpop, in Node.js. It is a module of its own, since it
// needs more than Go.
package interop
