package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/answer"
	"github.com/sessionkit/sessionkit/internal/bearer"
	"github.com/sessionkit/sessionkit/refresh"
)

// A refusal is one of the answers of RFC 6750 section 3.1 and RFC 9470
// section 3.
type refusal struct {
	status      int
	code        string // empty: the request had no credentials
	description string
	attributes  string // further members of the challenge
	signIn      bool   // a page navigation is sent to the sign-in page
	err         error  // answered by refresh.WriteError instead
}

// refusalFor maps what authenticate failed with.
func refusalFor(err error) *refusal {
	switch {
	case errors.Is(err, errNoCredentials):
		return &refusal{status: http.StatusUnauthorized, description: "Sign in first.", signIn: true}
	case errors.Is(err, bearer.ErrRepeated):
		return &refusal{status: http.StatusBadRequest, code: "invalid_request", description: "The access token was sent more than once."}
	case errors.Is(err, refresh.ErrCrossOrigin), errors.Is(err, refresh.ErrUnavailable):
		return &refusal{err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// The request's own time ran out while its session was being renewed:
		// that says nothing about the session.
		return &refusal{err: refresh.ErrUnavailable}
	}
	// Whatever else is wrong with a token looks alike: expired, revoked,
	// forged, of a refused session.
	return &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "The session has ended. Sign in again.", signIn: true}
}

// refuse answers a request that does not pass: a page navigation with a
// redirect to the sign-in page, an HTMX request with HX-Redirect, and
// everything else as RFC 6750 says.
func (a *Auth) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	if no.err != nil {
		refresh.WriteError(w, no.err)
		return
	}
	if no.signIn && a.loginPath != "" {
		switch {
		case r.Header.Get("HX-Request") == "true":
			// The page that the user looks at, not the fragment it asked for.
			w.Header().Set("HX-Redirect", a.signIn(currentPage(r)))
		case isNavigation(r):
			answer.Harden(w.Header())
			http.Redirect(w, r, a.signIn(returnTo(r)), http.StatusSeeOther)
			return
		}
	}
	if no.status == http.StatusUnauthorized || no.status == http.StatusForbidden {
		w.Header().Set("WWW-Authenticate", no.challenge())
	}
	code := no.code
	if code == "" {
		code = "unauthorized"
	}
	answer.Error(w, no.status, code, no.description)
}

// challenge is the WWW-Authenticate value. Its parts are our own constants,
// roles, scopes and ACR values that were checked when the guard was made.
func (no *refusal) challenge() string {
	if no.code == "" {
		return "Bearer"
	}
	return fmt.Sprintf("Bearer error=%q, error_description=%q%s", no.code, no.description, no.attributes)
}

// forbid refuses a request whose session is good but not good enough. A
// session that was renewed on the way keeps its new cookies.
func (a *Auth) forbid(w http.ResponseWriter, r *http.Request, c *access.Claims, no *refusal, g *refresh.Grant) {
	a.sessions.Record(r, refresh.Event{Kind: refresh.EventForbidden, Subject: c.Subject, SessionID: c.SessionID, Generation: uint32(c.Generation), Err: errors.New(no.code)})
	if g != nil {
		a.commit(w.Header(), r, g)
	}
	a.refuse(w, r, no)
}

// RequireRole demands a session with at least one of the roles. Others get
// 403 insufficient_scope. It includes RequireAuth.
func (a *Auth) RequireRole(roles ...string) func(http.Handler) http.Handler {
	roles = slices.Clone(roles)
	no := &refusal{status: http.StatusForbidden, code: "insufficient_scope", description: "The session lacks the role."}
	return a.allow(func(c *access.Claims) *refusal {
		for _, role := range roles {
			if c.HasRole(role) {
				return nil
			}
		}
		return no
	})
}

// RequireScope demands a session with all of the scopes. Others get 403
// insufficient_scope, naming them (RFC 6750 section 3). It includes
// RequireAuth. Names outside the grammar of RFC 6749 section 3.3 are never
// granted.
func (a *Auth) RequireScope(scopes ...string) func(http.Handler) http.Handler {
	scopes = slices.Clone(scopes)
	no := &refusal{status: http.StatusForbidden, code: "insufficient_scope", description: "The session lacks the scope."}
	if !slices.ContainsFunc(scopes, func(s string) bool { return !isScope(s) }) {
		no.attributes = fmt.Sprintf(", scope=\"%s\"", strings.Join(scopes, " "))
	}
	return a.allow(func(c *access.Claims) *refusal {
		for _, s := range scopes {
			if !isScope(s) || !c.HasScope(s) {
				return no
			}
		}
		return nil
	})
}

// isScope checks the scope-token of RFC 6749 section 3.3.
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// A StepUp says how the user must have signed in (RFC 9470).
type StepUp struct {
	// MaxAge is how long ago at most. 0: any time. Refreshing a session does
	// not make its sign-in younger; signing in again does. What is negative is
	// never met.
	MaxAge time.Duration
	// ACR are the acceptable authentication contexts. Empty: any.
	ACR []string
}

// RequireStepUp demands a session whose sign-in meets s. Others get 401
// insufficient_user_authentication, which tells the client what to ask of the
// user; a page navigation is sent to the sign-in page. It includes
// RequireAuth. Names outside the scope grammar are never met.
func (a *Auth) RequireStepUp(s StepUp) func(http.Handler) http.Handler {
	no := &refusal{status: http.StatusUnauthorized, code: "insufficient_user_authentication", description: "Sign in again to do this.", signIn: true}
	acr := slices.DeleteFunc(slices.Clone(s.ACR), func(v string) bool { return !isScope(v) })
	if len(acr) > 0 {
		no.attributes += fmt.Sprintf(", acr_values=\"%s\"", strings.Join(acr, " "))
	}
	if s.MaxAge != 0 {
		no.attributes += fmt.Sprintf(", max_age=\"%s\"", strconv.FormatInt(int64(max(0, s.MaxAge)/time.Second), 10))
	}
	return a.allow(func(c *access.Claims) *refusal {
		if s.MaxAge != 0 && (c.AuthTime.IsZero() || a.sessions.Now().Sub(c.AuthTime) > s.MaxAge) {
			return no
		}
		if len(s.ACR) > 0 && !slices.Contains(acr, c.ACR) {
			return no
		}
		return nil
	})
}

func (a *Auth) allow(check func(*access.Claims) *refusal) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return a.guard(next, guard{live: a.live, allow: check}) }
}

// isNavigation reports whether a browser shows the answer as a page.
func isNavigation(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (a *Auth) signIn(returnTo string) string {
	if returnTo == "" {
		return a.loginPath
	}
	return a.loginPath + "?return_to=" + url.QueryEscape(returnTo)
}

// returnTo is where a navigation wanted to go. Only a GET can be done again.
func returnTo(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return ""
	}
	return LocalPath(r.RequestURI, "")
}

// currentPage is the page that an HTMX request was made from.
func currentPage(r *http.Request) string {
	u, err := url.Parse(r.Header.Get("HX-Current-URL"))
	if err != nil || u.Host != r.Host {
		return ""
	}
	return LocalPath(u.RequestURI(), "")
}

// maxLocalPath bounds a return_to, in bytes.
const maxLocalPath = 2048

// LocalPath returns s if it is the path, with or without a query, of a page on
// this host, and fallback otherwise. Use it on every return_to that a client
// supplies, before redirecting there: what browsers might take for another
// host (//evil.example, /\evil.example, control characters) is not local
// (ASVS V3.7.2).
func LocalPath(s, fallback string) string {
	if len(s) == 0 || len(s) > maxLocalPath || s[0] != '/' || strings.HasPrefix(s, "//") {
		return fallback
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '\\' {
			return fallback
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return fallback
	}
	return s
}
