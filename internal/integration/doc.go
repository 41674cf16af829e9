// Package integration holds tests that need libraries which users of the kit
// should not find in their go.sum: a property tester, and a Redis in memory.
package integration
