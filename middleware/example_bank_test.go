package middleware_test

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
)

// A bank: five-minute access tokens, several instances behind a load balancer,
// Redis with Sentinel, roles from its own database.
func newBank(keys *access.KeyRing, rolesOf refresh.ClaimsFunc) (*middleware.Auth, error) {
	tokens, err := access.New(access.Config{
		Issuer: "https://bank.example", Audience: "bank", Keys: keys, Lifetime: 5 * time.Minute,
	})
	if err != nil {
		return nil, err
	}
	store, err := redisstore.New(redisstore.Config{Client: redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "sessions", SentinelAddrs: []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"},
		ContextTimeoutEnabled: true,
	})})
	if err != nil {
		return nil, err
	}
	sessions, err := refresh.New(refresh.Config{
		Access: tokens, Store: store,
		Binding:        refresh.BindStrict(),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		MaxSessions:    5,
		Claims:         rolesOf,
		Events:         refresh.LogEvents(nil),
	})
	if err != nil {
		return nil, err
	}
	return middleware.New(middleware.Config{Sessions: sessions, LoginPath: "/login"})
}

// Transfers want a sign-in at most five minutes old; statements only a session.
func bankRoutes(auth *middleware.Auth, transfer, statements http.Handler) *http.ServeMux {
	recent := auth.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})
	mux := http.NewServeMux()
	mux.Handle("POST /transfer", recent(transfer))
	mux.Handle("GET /statements", auth.RequireAuth(statements))
	mux.Handle("/auth/", auth.Handler("/auth"))
	return mux
}

var _, _ = newBank, bankRoutes
