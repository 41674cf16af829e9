//go:build race

package access_test

// The race detector allocates on its own account.
const race = true
