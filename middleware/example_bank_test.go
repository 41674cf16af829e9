package middleware_test

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
)

// A bank: five-minute access tokens, several instances behind two load
// balancers, Redis with Sentinel, roles from its own database.
func newBank(keys *access.KeyRing, rolesOf refresh.ClaimsFunc) (*sessionkit.Kit, error) {
	store, err := redisstore.New(redisstore.Config{Client: redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "sessions", SentinelAddrs: []string{"10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"},
		ContextTimeoutEnabled: true,
	})})
	if err != nil {
		return nil, err
	}
	return sessionkit.New(sessionkit.Config{
		Issuer: "https://bank.example", Keys: keys, Store: store, Claims: rolesOf, LoginPath: "/login",
		Tokens:   access.Config{Lifetime: 5 * time.Minute},
		Sessions: refresh.Config{Binding: refresh.BindStrict(), MaxSessions: 5},
		HTTP:     middleware.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.1.4/32"), netip.MustParsePrefix("10.0.1.5/32")}},
	})
}

// Transfers want a sign-in at most five minutes old; statements only a session.
func bankRoutes(kit *sessionkit.Kit, transfer, statements http.Handler) *http.ServeMux {
	recent := kit.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})
	mux := http.NewServeMux()
	mux.Handle("POST /transfer", recent(transfer))
	mux.Handle("GET /statements", kit.RequireAuth(statements))
	mux.Handle("/auth/", kit.Handler("/auth"))
	return mux
}

var _, _ = newBank, bankRoutes
