package main

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// A process stands for the test that package redistest wants to serve, in a
// program that is none. What it does not implement is not called.
type process struct {
	testing.TB

	mu      sync.Mutex
	cleanup []func()
}

// Helper implements testing.TB.
func (p *process) Helper() {}

// Failed implements testing.TB: a program ends with its first failure.
func (p *process) Failed() bool { return false }

// Cleanup implements testing.TB.
func (p *process) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanup = append(p.cleanup, f)
}

// TempDir implements testing.TB.
func (p *process) TempDir() string {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Fatal implements testing.TB.
func (p *process) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	p.finish()
	os.Exit(1)
}

// Fatalf implements testing.TB.
func (p *process) Fatalf(format string, args ...any) { p.Fatal(fmt.Sprintf(format, args...)) }

// Skipf implements testing.TB: a program without its servers has failed.
func (p *process) Skipf(format string, args ...any) { p.Fatalf(format, args...) }

// finish cleans up, last things first.
func (p *process) finish() {
	for {
		p.mu.Lock()
		n := len(p.cleanup)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		f := p.cleanup[n-1]
		p.cleanup = p.cleanup[:n-1]
		p.mu.Unlock()
		f()
	}
}
