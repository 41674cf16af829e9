package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

// app is the demo: its own accounts, and the kit.
type app struct {
	*sessionkit.Kit
	users    *users
	live     *broadcast
	stolen   stolen
	lifetime time.Duration // of access tokens
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
	handle("POST /api/password", a.password, a.RequireAuth)
	handle("POST /admin/users/{name}/deactivate", a.setActive(false), admin)
	handle("POST /admin/users/{name}/activate", a.setActive(true), admin)

	mux.Handle("/auth/", a.Handler("/auth"))
	mux.Handle("/.well-known/jwks.json", a.Keys.JWKS())
	handle("GET /healthz", a.health)

	handle("GET /demo/events", a.events, a.RequireAuth)
	handle("POST /demo/steal", a.steal, a.RequireAuth)
	handle("POST /demo/replay", a.replay, a.RequireAuth)
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

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
}

// badBody is a request's body that cannot be used, and its answer.
type badBody struct {
	status      int
	description string
}

func (e *badBody) Error() string { return e.description }

const maxBody = 16 << 10

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A slow sender is not waited for; streams have no such limit.
	connection := http.NewResponseController(w)
	connection.SetReadDeadline(time.Now().Add(10 * time.Second))
	defer connection.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &badBody{http.StatusRequestEntityTooLarge, "The body is too large."}
	case err != nil || !utf8.Valid(body):
		return nil, &badBody{http.StatusBadRequest, "The body could not be read."}
	}
	return body, nil
}

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// decodeJSON reads the members of one JSON object into the fields that are
// named for them: exactly so, each at most once, and of the field's type.
// Unknown members are ignored.
func decodeJSON(body []byte, fields map[string]any) error {
	malformed := &badBody{http.StatusBadRequest, "The body is not the JSON object that is expected."}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return malformed
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] {
			return malformed
		}
		seen[name] = true
		var skip json.RawMessage
		field := fields[name]
		if field == nil {
			field = &skip
		}
		if d.Decode(field) != nil {
			return malformed
		}
	}
	if _, err := d.Token(); err != nil {
		return malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed
	}
	return nil
}

func parseForm(body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &badBody{http.StatusBadRequest, "The form could not be read."}
	}
	for _, v := range form {
		if len(v) > 1 {
			return nil, &badBody{http.StatusBadRequest, "A parameter is repeated."}
		}
	}
	return form, nil
}

func answerBadBody(w http.ResponseWriter, err error) {
	bad := &badBody{http.StatusBadRequest, "The request cannot be used."}
	errors.As(err, &bad)
	writeError(w, bad.status, "invalid_request", bad.description)
}
