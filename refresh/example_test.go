package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func exampleTokens() *access.Tokens {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		panic(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		panic(err)
	}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		panic(err)
	}
	return tokens
}

func exampleService(cfg refresh.Config) *refresh.Service {
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		panic(err)
	}
	cfg.Access, cfg.Store = exampleTokens(), store
	sessions, err := refresh.New(cfg)
	if err != nil {
		panic(err)
	}
	return sessions
}

// A login, a renewal, a lost response that is asked for again, and a thief.
func ExampleNew() {
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		panic(err)
	}
	sessions, err := refresh.New(refresh.Config{Access: exampleTokens(), Store: store})
	if err != nil {
		panic(err)
	}
	defer sessions.Close()

	ctx, phone := context.Background(), refresh.Client{UserAgent: "BankApp/4.2", DeviceID: "d1"}
	first, err := sessions.Start(ctx, refresh.StartParams{Subject: "alice", Remember: true, Client: phone})
	if err != nil {
		panic(err)
	}
	second, err := sessions.Refresh(ctx, first.RefreshToken, phone)
	if err != nil {
		panic(err)
	}
	lost, err := sessions.Refresh(ctx, first.RefreshToken, phone)
	fmt.Println(lost.Outcome, lost.RefreshToken == second.RefreshToken, err)

	if _, err = sessions.Refresh(ctx, second.RefreshToken, phone); err != nil {
		panic(err)
	}
	_, err = sessions.Refresh(ctx, first.RefreshToken, phone)
	fmt.Println(errors.Is(err, refresh.ErrReused))
	_, err = sessions.Refresh(ctx, second.RefreshToken, phone)
	fmt.Println(err)
	// Output:
	// replayed true <nil>
	// true
	// refresh: session revoked (reuse)
}

// A browser signs in, and its script calls the refresh endpoint.
func ExampleService_Login() {
	sessions := exampleService(refresh.Config{})
	defer sessions.Close()

	login := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", nil)
	if _, err := sessions.Login(login, r, refresh.LoginParams{Subject: "alice"}); err != nil {
		refresh.WriteError(login, err)
	}

	r = httptest.NewRequest("POST", "/auth/token/refresh", nil)
	for _, c := range login.Result().Cookies() {
		fmt.Println(c.Name)
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	sessions.RefreshHandler().ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// __Host-device
	// __Host-refresh
	// __Host-access
	// 200 {"expires_in":600}
}

// A native app keeps the pair itself and sends the refresh token as JSON.
func ExampleGrant_WriteJSON() {
	sessions := exampleService(refresh.Config{})
	defer sessions.Close()

	login := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", nil)
	r.Header.Set(refresh.DeviceIDHeader, "d1")
	g, err := sessions.Login(login, r, refresh.LoginParams{Subject: "alice", Transport: refresh.Body})
	if err != nil {
		panic(err)
	}
	g.WriteJSON(login)
	fmt.Println(login.Code, len(login.Result().Cookies()), "cookies")

	r = httptest.NewRequest("POST", "/auth/token/refresh", strings.NewReader(`{"refresh_token":"`+g.RefreshToken+`"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	sessions.RefreshHandler().ServeHTTP(w, r)
	fmt.Println("from another device:", w.Code)

	r = httptest.NewRequest("POST", "/auth/token/refresh", strings.NewReader(`{"refresh_token":"`+g.RefreshToken+`"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(refresh.DeviceIDHeader, "d1")
	w = httptest.NewRecorder()
	sessions.RefreshHandler().ServeHTTP(w, r)
	fmt.Println("from this one:", w.Code)
	// Output:
	// 200 0 cookies
	// from another device: 400
	// from this one: 200
}

// The app's own database says what a user may do, at every refresh.
func ExampleClaimsFunc() {
	active := true
	sessions := exampleService(refresh.Config{Claims: func(ctx context.Context, subject string) (refresh.Authority, error) {
		if !active {
			return refresh.Authority{}, refresh.ErrDenied
		}
		return refresh.Authority{Roles: []string{"teller"}}, nil
	}})
	defer sessions.Close()

	g, err := sessions.Start(context.Background(), refresh.StartParams{Subject: "alice"})
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Claims.Roles)
	active = false
	_, err = sessions.Refresh(context.Background(), g.RefreshToken, refresh.Client{})
	fmt.Println(errors.Is(err, refresh.ErrDenied))
	// Output:
	// [teller]
	// true
}

func ExampleLogEvents() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "sid" || a.Key == "at" || a.Key == slog.TimeKey {
			return slog.Attr{} // differs from run to run
		}
		return a
	}}))
	sessions := exampleService(refresh.Config{Events: refresh.LogEvents(log)})
	defer sessions.Close()
	if _, err := sessions.Start(context.Background(), refresh.StartParams{Subject: "alice", Client: refresh.Client{UserAgent: "BankApp/4.2"}}); err != nil {
		panic(err)
	}
	// Output: level=INFO msg="session login" event=login sub=alice generation=0 user_agent=BankApp/4.2
}

// Decide is what a store of your own applies inside a transaction.
func ExampleDecide() {
	now := time.Now()
	f := family.Record{Generation: 3, Current: [32]byte{3}, RotatedAt: now, Idle: time.Hour, AbsoluteExpiry: now.Add(time.Hour)}
	present := func(generation uint32) family.Verdict {
		return family.Decide(&f, family.RotateRequest{
			Generation: generation, Hash: [32]byte{byte(generation)}, Successor: [32]byte{byte(generation + 1)},
			Attempt: family.Attempt{1}, Now: now,
		})
	}
	fmt.Println(present(3).Outcome, present(2).Outcome, present(1).Outcome, present(9).Outcome)
	f.Settled = true
	fmt.Println(present(3).Outcome, present(2).Outcome)
	// Output:
	// rotated replayed reused store_behind
	// rotated reused
}

func ExampleService_Watch() {
	sessions := exampleService(refresh.Config{})
	defer sessions.Close()
	g, err := sessions.Start(context.Background(), refresh.StartParams{Subject: "alice"})
	if err != nil {
		panic(err)
	}
	ctx, cancel := sessions.Watch(context.Background(), g.Claims)
	defer cancel()
	if err := sessions.RevokeAll(context.Background(), "alice", family.ReasonLogoutAll); err != nil {
		panic(err)
	}
	<-ctx.Done()
	fmt.Println(errors.Is(context.Cause(ctx), refresh.ErrRevoked))
	// Output: true
}

// throttle counts failures by address, for a rate limiter in front of the
// refresh endpoint. A real one forgets, and is shared between instances.
type throttle struct {
	mu       sync.Mutex
	failures map[string]int
}

func (t *throttle) Record(_ context.Context, e refresh.Event) {
	switch e.Kind {
	case refresh.EventInvalidToken, refresh.EventRefused, refresh.EventFingerprint, refresh.EventReuse:
		t.mu.Lock()
		defer t.mu.Unlock()
		t.failures[e.IP]++
	}
}

func (t *throttle) allow(ip string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures[ip] < 3
}

// Failed refreshes feed the app's rate limiter.
func ExampleRecorder() {
	limit := &throttle{failures: make(map[string]int)}
	sessions := exampleService(refresh.Config{Events: limit})
	defer sessions.Close()
	refreshes := sessions.RefreshHandler()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ip, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !limit.allow(ip) {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "slow down", http.StatusTooManyRequests)
			return
		}
		refreshes.ServeHTTP(w, r)
	})
	for range 4 {
		r := httptest.NewRequest("POST", "/auth/token/refresh", strings.NewReader(`{"refresh_token":"guess"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 400
	// 400
	// 400
	// 429
}
