package main

import (
	"context"
	"net/http"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

// app is the demo: its own accounts, and the kit.
type app struct {
	*sessionkit.Kit
	users    *users
	live     *broadcast
	stolen   stolen
	keysMode string        // the flag -device-keys
	lifetime time.Duration // of access tokens

	stopping   context.Context // over once the program ends
	endStreams context.CancelFunc
}

// routes shows what an app does to use the kit: wrap handlers, mount the
// kit's endpoints, and call Login in its own sign-in handler.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc, guards ...func(http.Handler) http.Handler) {
		var guarded http.Handler = h
		for _, guard := range guards {
			guarded = guard(guarded)
		}
		mux.Handle(pattern, guarded)
	}
	admin := a.RequireRole("admin")
	recent := a.RequireStepUp(middleware.StepUp{MaxAge: 5 * time.Minute})

	handle("GET /{$}", a.home, a.OptionalAuth)
	handle("GET /assets/", assets)
	handle("GET /sessionkit.js", module)
	handle("GET /login", a.loginPage)
	handle("POST /login", a.login)
	handle("POST /logout", a.logoutPage)
	handle("GET /account", a.account, a.RequireAuth)

	handle("GET /api/me", a.me, a.RequireAuth)
	handle("GET /api/public", a.public, a.OptionalAuth)
	handle("GET /api/admin", a.admin, admin)
	handle("POST /api/transfer", a.transfer, recent)
	handle("GET /api/stream", a.stream, a.RequireAuth)
	handle("POST /api/password", a.password, a.RefuseImpersonated)
	handle("POST /api/reauthenticate", a.reauthenticate, a.RefuseImpersonated)
	handle("POST /api/device", a.nameDevice, a.RequireAuth)
	handle("POST /admin/users/{name}/deactivate", a.setActive(false), admin)
	handle("POST /admin/users/{name}/activate", a.setActive(true), admin)
	handle("POST /admin/users/{name}/impersonate", a.impersonate, recent, admin)

	mux.Handle("/auth/", a.Handler("/auth"))
	mux.Handle("/.well-known/jwks.json", a.Keys.JWKS())
	handle("GET /healthz", a.health)

	handle("GET /demo/events", a.events, a.RequireAuth)
	handle("POST /demo/steal", a.steal, a.RequireAuth)
	handle("POST /demo/replay", a.replay, a.RequireAuth)
	handle("POST /demo/steal-all", a.stealAll, a.RequireAuth)
	return withErrors(mux)
}

// withErrors answers what the mux itself refuses in the form of all errors.
func withErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		// The mux has the status and, for a wrong method, the Allow header.
		refused := &headerOnly{header: make(http.Header)}
		h.ServeHTTP(refused, r)
		switch {
		case refused.status == http.StatusMethodNotAllowed:
			w.Header().Set("Allow", refused.header.Get("Allow"))
			writeError(w, http.StatusMethodNotAllowed, "invalid_request", "This resource does not support the method.")
		case refused.status >= 300 && refused.status < 400:
			mux.ServeHTTP(w, r)
		default:
			writeError(w, http.StatusNotFound, "not_found", "There is no such resource.")
		}
	})
}

// headerOnly keeps a response's status and header.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
