package interop

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// jars are those of Debian's packages libokhttp-java and libandroid-json-org-java.
var jars = []string{"/usr/share/java/okhttp.jar", "/usr/share/java/okio.jar", "/usr/share/java/json-android.jar"}

// compileKotlin compiles the first Kotlin block of docs/native.md together with the
// app of this test, and returns the class path.
func compileKotlin(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"kotlinc", "java"} {
		if _, err := exec.LookPath(program); err != nil {
			leaveOut(t, "%v: install kotlin, libokhttp-java and libandroid-json-org-java", err)
		}
	}
	for _, jar := range jars {
		if _, err := os.Stat(jar); err != nil {
			leaveOut(t, "%v: install libokhttp-java and libandroid-json-org-java", err)
		}
	}
	doc, err := os.ReadFile("../../docs/native.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "\n```kotlin\n")
	client, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		t.Fatal("docs/native.md has no Kotlin client")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "Session.kt")
	if err := os.WriteFile(source, []byte(client), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "app.jar")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	compile := exec.CommandContext(ctx, "kotlinc", "-nowarn", "-include-runtime", "-cp", strings.Join(jars, ":"), "-d", out, source, "kotlin/Main.kt", "kotlin/Compat.kt")
	if text, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("kotlinc: %v\n%s", err, text)
	}
	return strings.Join(append(jars, out), ":")
}

// A world is a server whose clock and whose answers the app of a test can change.
type world struct {
	ahead    atomic.Int64
	renewals atomic.Int64
	lose     atomic.Bool
	url      string
}

func newWorld(t *testing.T, demandNonces bool) *world {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	x := new(world)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	x.url = server.URL
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: "https://app.example", Keys: ring,
		Tokens: access.Config{Now: func() time.Time { return time.Now().Add(time.Duration(x.ahead.Load())) }},
		HTTP:   middleware.Config{DPoP: middleware.DPoP{Origin: server.URL, RequireNonce: demandNonces}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kit.Close() })
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") == "wrong" { // your own check
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
			return
		}
		g, err := kit.LoginNative(r, refresh.Login{Subject: "alice"})
		if err != nil {
			kit.WriteError(w, r, err)
			return
		}
		kit.WriteTokens(w, g)
	})
	me := kit.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, middleware.Subject(r.Context()))
	}))
	mux.Handle("/me", me)
	mux.Handle("/me/", me)
	endpoints := kit.Handler("/auth")
	mux.Handle("/auth/", endpoints)
	mux.HandleFunc("/auth/token/refresh", func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		endpoints.ServeHTTP(answer, r)
		if answer.Code == http.StatusOK {
			x.renewals.Add(1)
			if x.lose.CompareAndSwap(true, false) {
				panic(http.ErrAbortHandler) // done, and nobody hears of it
			}
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
	mux.HandleFunc("/world/expire", func(http.ResponseWriter, *http.Request) {
		x.renewals.Store(0)
		x.ahead.Add(int64(20 * time.Minute))
	})
	mux.HandleFunc("/world/lose", func(http.ResponseWriter, *http.Request) { x.lose.Store(true) })
	mux.HandleFunc("/world/renewals", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, x.renewals.Load()) })
	mux.HandleFunc("/world/revoke", func(w http.ResponseWriter, r *http.Request) {
		if err := kit.Sessions.RevokeAll(r.Context(), "alice", refresh.ReasonLogoutAll); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	return x
}

// TestTheKotlinClient runs the client of docs/native.md.
func TestTheKotlinClient(t *testing.T) {
	path := compileKotlin(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	app := exec.CommandContext(ctx, "java", "-cp", path, "MainKt", newWorld(t, false).url)
	out, err := app.CombinedOutput()
	if err != nil || strings.Count(string(out), " works\n") != 14 || strings.Contains(string(out), "FAILS") {
		t.Errorf("%v\n%s", err, out)
	}
}
