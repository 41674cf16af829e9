package redisstore_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestOnlyApprovedAlgorithms: a program that may use approved algorithms only
// starts, signs in and renews.
func TestOnlyApprovedAlgorithms(t *testing.T) {
	const addr = "SESSIONKIT_FIPS_REDIS"
	if a := os.Getenv(addr); a != "" {
		store := newStore(t, newClient(t, a))
		now := time.Now()
		f := family.Record{CreatedAt: now, RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour)}
		if _, err := store.Start(context.Background(), family.StartRequest{Record: f, Now: now}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			p := family.RotateRequest{Successor: [32]byte{1}, Attempt: family.Attempt{1}, Now: now}
			if v, err := store.Rotate(context.Background(), p); err != nil || !v.Outcome.Accepted() {
				t.Fatalf("%v, %v", v.Outcome, err)
			}
		}
		return
	}
	t.Parallel()
	server := redistest.Start(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnlyApprovedAlgorithms$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", addr+"="+server.Addr)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
