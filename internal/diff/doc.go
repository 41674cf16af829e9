// Package diff holds the access tokens of package access against go-jose, an
// implementation by others: what the kit accepts, go-jose has to accept with
// the same claims, and what go-jose alone accepts is explained, rule by rule.
// It is a module of its own, so that go-jose is nobody's dependency.
package diff
