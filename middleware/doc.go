// Package middleware guards net/http handlers with sessions that renew
// themselves.
//
//	auth, err := middleware.New(middleware.Config{Sessions: sessions, LoginPath: "/login"})
//
//	mux.Handle("GET /account", auth.RequireAuth(account))
//	mux.Handle("/auth/", auth.Handler("/auth"))
//
// The app's own sign-in handler calls auth.Login. A guarded handler finds its
// session with Session(r.Context()); that the access token had run out and was
// renewed on the way, it never notices.
//
// Guards are plain func(http.Handler) http.Handler and work with any router.
// OptionalAuth lets everybody pass; RequireRole, RequireScope and RequireStepUp
// demand more than a session; they include RequireAuth, and may be nested.
// WatchSession gives streams a context that ends with the session.
//
// Answers follow RFC 6750 and RFC 9470 for APIs; page navigations are sent to
// the sign-in page, HTMX requests too, by their own header. Requests with
// unsafe methods that rely on cookies are refused when another origin caused
// them.
//
// A valid access token costs no I/O. The package knows no store and no tokens'
// format; that is refresh and access.
package middleware
