package interop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
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

// newServer is an app with native clients.
func newServer(t *testing.T, demandNonces bool) string {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: "https://app.example", Keys: ring,
		HTTP: middleware.Config{DPoP: middleware.DPoP{Origin: server.URL, RequireNonce: demandNonces}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kit.Close() })
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		g, err := kit.LoginNative(r, refresh.Login{Subject: "alice"})
		if err != nil {
			kit.WriteError(w, r, err)
			return
		}
		kit.WriteTokens(w, g)
	})
	me := kit.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(middleware.Subject(r.Context())))
	}))
	mux.Handle("/me", me)
	mux.Handle("/me/", me)
	mux.Handle("/auth/", kit.Handler("/auth"))
	return server.URL
}

func TestAClientByOthers(t *testing.T) {
	dir := newClient(t)
	for name, demand := range map[string]bool{"nonces are offered": false, "nonces are demanded": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			client := exec.CommandContext(ctx, "node", "client.mjs", newServer(t, demand))
			client.Dir = dir
			out, err := client.CombinedOutput()
			if err != nil || strings.Count(string(out), " works\n") != 4 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
