package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// server is the part of the demo that the app talks to, with access tokens of
// a second and a switch that loses the answers of refreshes.
type server struct {
	*httptest.Server
	lose      atomic.Int64
	refreshes atomic.Int64
}

func newServer(t *testing.T, change ...func(*middleware.Config)) *server {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.New(access.Config{Issuer: "test", Audience: "test", Keys: ring, Lifetime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessions.Close() })
	cfg := middleware.Config{Sessions: sessions}
	for _, f := range change {
		f(&cfg)
	}
	auth, err := middleware.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := new(server)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var c struct{ Username, Password string }
		if json.NewDecoder(r.Body).Decode(&c) != nil || c.Password != "wonderland" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		g, err := auth.LoginNative(r, refresh.Login{Subject: c.Username})
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		auth.WriteTokens(w, g)
	})
	mux.Handle("GET /api/me", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		json.NewEncoder(w).Encode(map[string]any{"subject": c.Subject, "generation": c.Generation})
	})))
	kit := auth.Handler("/auth")
	mux.HandleFunc("/auth/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/refresh") {
			s.refreshes.Add(1)
		}
		if strings.HasSuffix(r.URL.Path, "/refresh") && s.lose.Add(-1) >= 0 {
			kit.ServeHTTP(httptest.NewRecorder(), r) // done, and never heard of
			panic(http.ErrAbortHandler)
		}
		kit.ServeHTTP(w, r)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func command(t *testing.T, s *server, state string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(context.Background(), append([]string{"-server", s.URL, "-state", state}, args...), &out, &out)
	return out.String(), err
}

func TestLifeOfAnApp(t *testing.T) {
	s, state := newServer(t), filepath.Join(t.TempDir(), "state.json")
	if _, err := command(t, s, state, "me"); !errors.Is(err, errSignedOut) {
		t.Errorf("before signing in: %v", err)
	}
	if _, err := command(t, s, state, "login", "alice", "wrong"); !errors.Is(err, errSignedOut) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if out, err := command(t, s, state, "me"); err != nil || !strings.Contains(out, `"alice"`) {
		t.Errorf("me: %q, %v", out, err)
	}
	if out, err := command(t, s, state, "sessions"); err != nil || !strings.Contains(out, "SessionkitNative") {
		t.Errorf("sessions: %q, %v", out, err)
	}
	if _, err := command(t, s, state, "logout"); err != nil {
		t.Error(err)
	}
	if _, err := command(t, s, state, "me"); !errors.Is(err, errSignedOut) {
		t.Errorf("after signing out: %v", err)
	}
	if _, err := command(t, s, state, "nonsense"); err == nil {
		t.Error("an unknown command is no error")
	}
}

func TestRenewsByItselfAlsoWhenAnswersAreLost(t *testing.T) {
	s, state := newServer(t), filepath.Join(t.TempDir(), "state.json")
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	s.lose.Store(2)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	app, err := openApp(s.URL, state)
	if err != nil {
		t.Fatal(err)
	}
	for generation := 0.0; generation < 2; {
		text, err := app.get(ctx, "/api/me")
		if err != nil {
			t.Fatal(err)
		}
		var me map[string]any
		json.Unmarshal(text, &me)
		if g := me["generation"].(float64); g != generation && g != generation+1 {
			t.Fatalf("generation %v follows %v", g, generation)
		} else {
			generation = g
		}
	}
	if s.lose.Load() > 0 {
		t.Error("no answer was lost")
	}
}

func TestManyCallersRenewOnce(t *testing.T) {
	s, state := newServer(t), filepath.Join(t.TempDir(), "state.json")
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	app, err := openApp(s.URL, state)
	if err != nil {
		t.Fatal(err)
	}
	app.state.ExpiresAt = time.Time{} // as if it had run out
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if text, err := app.get(context.Background(), "/api/me"); err != nil || !strings.Contains(string(text), `"subject":"alice"`) {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
	wg.Wait()
	if n := s.refreshes.Load(); n != 1 {
		t.Errorf("%d renewals, want one for all callers", n)
	}
}

func TestAnotherDeviceCannotUseTheTokens(t *testing.T) {
	s, state := newServer(t), filepath.Join(t.TempDir(), "state.json")
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	thief, err := openApp(s.URL, state)
	if err != nil {
		t.Fatal(err)
	}
	thief.state.DeviceID = "another"
	if err := thief.renew(context.Background(), thief.state.AccessToken); !errors.Is(err, errSignedOut) {
		t.Errorf("another device: %v", err)
	}
}

// TestTheTokensOpenNothingWithoutTheKey: whoever copies all but the key has nothing.
func TestTheTokensOpenNothingWithoutTheKey(t *testing.T) {
	s, dir := newServer(t), t.TempDir()
	state, copied := filepath.Join(dir, "state.json"), filepath.Join(dir, "copied.json")
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"token_type":"DPoP"`) {
		t.Errorf("the session is not bound: %s", text)
	}
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	thief, err := openApp(s.URL, copied)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if text, err := thief.get(ctx, "/api/me"); err == nil {
		t.Errorf("the thief sees %s", text)
	}
	if err := thief.renew(ctx, thief.state.AccessToken); err == nil {
		t.Error("the thief renews the session")
	}
	if out, err := command(t, s, state, "me"); err != nil || !strings.Contains(out, `"alice"`) {
		t.Errorf("the owner: %q, %v", out, err)
	}
	if info, err := os.Stat(state + ".key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
}

// TestTheServerMayDemandNonces: the app learns them from the answers.
func TestTheServerMayDemandNonces(t *testing.T) {
	s, state := newServer(t, func(c *middleware.Config) { c.DPoP.RequireNonce = true }), filepath.Join(t.TempDir(), "state.json")
	if _, err := command(t, s, state, "login", "alice", "wonderland"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if out, err := command(t, s, state, "me"); err != nil || !strings.Contains(out, `"alice"`) {
			t.Errorf("%q, %v", out, err)
		}
	}
}

func TestTheUsageNamesTheCommands(t *testing.T) {
	for _, args := range [][]string{{"-help"}, {}} {
		var stdout, stderr bytes.Buffer
		if err := run(context.Background(), args, &stdout, &stderr); err == nil {
			t.Errorf("%q is no error", args)
		}
		for _, word := range []string{"login USER PASSWORD", "me", "watch", "sessions", "logout", "-server", "-state"} {
			if !strings.Contains(stderr.String(), "  "+word) {
				t.Errorf("%q: nothing of %s in %s", args, word, stderr.String())
			}
		}
	}
}
