//go:build race

package middleware_test

// The race detector allocates on its own account.
const race = true
