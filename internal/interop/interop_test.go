package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leaveOut ends a test that needs what is not here: an error where all must be here.
func leaveOut(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("SESSIONKIT_REQUIRE_SERVERS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf("left out: "+format, args...)
}

// newClient installs the client's package, and returns its folder. Without Node.js
// 20, or a registry that has the package, the test is left out.
func newClient(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			leaveOut(t, "%v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		leaveOut(t, "npm ci: %v\n%s", err, out)
	}
	return dir
}

func TestAClientByOthers(t *testing.T) {
	dir := newClient(t)
	for name, demand := range map[string]bool{"nonces are offered": false, "nonces are demanded": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			client := exec.CommandContext(ctx, "node", "client.mjs", newWorld(t, demand).url)
			client.Dir = dir
			out, err := client.CombinedOutput()
			if err != nil || strings.Count(string(out), " works\n") != 4 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
