package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func exampleTokens() *access.Tokens { return exampleTokensAt(time.Now) }

// exampleTokensAt has a clock of its own.
func exampleTokensAt(now func() time.Time) *access.Tokens {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		panic(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		panic(err)
	}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring, Now: now})
	if err != nil {
		panic(err)
	}
	return tokens
}

func exampleSessions(cfg refresh.Config) *refresh.Sessions {
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
	clock := time.Now()
	tokens := exampleTokensAt(func() time.Time { return clock })
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
	if err != nil {
		panic(err)
	}
	defer sessions.Close()

	ctx, phone := context.Background(), refresh.Client{UserAgent: "BankApp/4.2", DeviceID: "d1"}
	first, err := sessions.Start(ctx, refresh.Login{Subject: "alice", Remember: true, Client: phone})
	if err != nil {
		panic(err)
	}
	clock = clock.Add(time.Hour)
	second, err := sessions.Refresh(ctx, first.RefreshToken, phone)
	if err != nil {
		panic(err)
	}
	lost, err := sessions.Refresh(ctx, first.RefreshToken, phone)
	fmt.Println(lost.Outcome, lost.RefreshToken == second.RefreshToken, err)

	clock = clock.Add(time.Hour)
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

// The app's own database says what a user may do, at every refresh.
func ExampleClaimsFunc() {
	active := true
	sessions := exampleSessions(refresh.Config{Claims: func(ctx context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
		if !active {
			return refresh.SubjectClaims{}, refresh.ErrDenied
		}
		return refresh.SubjectClaims{Roles: []string{"teller"}}, nil
	}})
	defer sessions.Close()

	g, err := sessions.Start(context.Background(), refresh.Login{Subject: "alice", Remember: true})
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
	sessions := exampleSessions(refresh.Config{Events: refresh.LogEvents(log)})
	defer sessions.Close()
	if _, err := sessions.Start(context.Background(), refresh.Login{Subject: "alice", Client: refresh.Client{UserAgent: "BankApp/4.2"}}); err != nil {
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

func ExampleSessions_WatchSession() {
	sessions := exampleSessions(refresh.Config{})
	defer sessions.Close()
	g, err := sessions.Start(context.Background(), refresh.Login{Subject: "alice"})
	if err != nil {
		panic(err)
	}
	ctx, cancel := sessions.WatchSession(context.Background(), g.Claims)
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

func (t *throttle) HandleEvent(_ context.Context, e refresh.Event) {
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
func ExampleEventHandler() {
	limit := &throttle{failures: make(map[string]int)}
	sessions := exampleSessions(refresh.Config{Events: limit})
	defer sessions.Close()
	attempt := func(ip, token string) {
		if !limit.allow(ip) {
			fmt.Println("slow down")
			return
		}
		_, err := sessions.Refresh(context.Background(), token, refresh.Client{IP: netip.MustParseAddr(ip)})
		fmt.Println(err)
	}
	for range 4 {
		attempt("192.0.2.1", "guess")
	}
	// Output:
	// refresh: invalid token
	// refresh: invalid token
	// refresh: invalid token
	// slow down
}
