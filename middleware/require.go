package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func forbidden(code, description string) *refused {
	return &refused{Refusal: Refusal{Status: http.StatusForbidden, Code: code, Description: description}}
}

// RequireRole demands a session with at least one of the roles. Others get
// 403 insufficient_scope. It includes RequireAuth.
func (a *Auth) RequireRole(roles ...string) func(http.Handler) http.Handler {
	roles = slices.Clone(roles)
	no := forbidden("insufficient_scope", "The session lacks the role.")
	return a.allow(func(c *access.Claims) *refused {
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
	no := forbidden("insufficient_scope", "The session lacks the scope.")
	if !slices.ContainsFunc(scopes, func(s string) bool { return !isScope(s) }) {
		no.attributes = fmt.Sprintf(", scope=\"%s\"", strings.Join(scopes, " "))
	}
	return a.allow(func(c *access.Claims) *refused {
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

// A StepUp says how the user must have proved who they are (RFC 9470).
type StepUp struct {
	// MaxAge is how long ago at most. 0: any time. Refreshing a session does
	// not make it younger; Auth.StepUp and signing in again do. What is
	// negative is never met.
	MaxAge time.Duration
	// ACR are the acceptable authentication contexts. Empty: any.
	ACR []string
	// AMR are the methods that must all have been used, such as "otp" (RFC
	// 8176). Empty: any. The challenge has no word for them: name an ACR too
	// where clients are to know what to ask for.
	AMR []string
	// DeviceBound demands a session that is bound to a key of its client's
	// device (refresh.DeviceKeys). Others get 403 device_key_required: asking the
	// user again would not help.
	DeviceBound bool
}

// RequireStepUp demands a session whose user met s, at the sign-in or by
// Auth.StepUp since. Others get 401 insufficient_user_authentication, which
// tells the client what to ask of the user; a page navigation is sent to the
// sign-in page. Somebody who acts for the user has proved nothing of the user
// and gets 403 access_denied. It includes RequireAuth. ACR names outside the
// scope grammar are never met.
func (a *Auth) RequireStepUp(s StepUp) func(http.Handler) http.Handler {
	no := forbidden("insufficient_user_authentication", "Sign in again to do this.")
	no.Status, no.signIn = http.StatusUnauthorized, true
	acr := slices.DeleteFunc(slices.Clone(s.ACR), func(v string) bool { return !isScope(v) })
	if len(acr) > 0 {
		no.attributes += fmt.Sprintf(", acr_values=\"%s\"", strings.Join(acr, " "))
	}
	if s.MaxAge != 0 {
		no.attributes += fmt.Sprintf(", max_age=\"%s\"", strconv.FormatInt(int64(max(0, s.MaxAge)/time.Second), 10))
	}
	amr, unbound := slices.Clone(s.AMR), forbidden("device_key_required", "The session is not bound to a key of its device.")
	return a.allow(func(c *access.Claims) *refused {
		switch {
		case c.Actor != "":
			return onlyTheUser
		case s.DeviceBound && !c.DeviceBound:
			return unbound
		case s.MaxAge != 0 && !a.isRecent(c, s.MaxAge):
			return no
		case len(s.ACR) > 0 && !slices.Contains(acr, c.ACR):
			return no
		case slices.ContainsFunc(amr, func(method string) bool { return !slices.Contains(c.AMR, method) }):
			return no
		}
		return nil
	})
}

var onlyTheUser = refusedFor(refresh.ErrImpersonated)

// RefuseImpersonated lets only the user pass, and nobody who acts for them (see
// refresh.Login.Actor): for passwords, keys, consent, and whatever else support
// staff have no business with. Others get 403 access_denied. It includes
// RequireAuth.
func (a *Auth) RefuseImpersonated(next http.Handler) http.Handler {
	return a.allow(func(c *access.Claims) *refused {
		if c.Actor != "" {
			return onlyTheUser
		}
		return nil
	})(next)
}

func (a *Auth) allow(check func(*access.Claims) *refused) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return a.guard(next, guard{live: a.cfg.Live, allow: check}) }
}

// isRecent reports whether the user signed in at most so long ago. A sign-in
// that is dated in the future, beyond what clocks may differ by, is none.
func (a *Auth) isRecent(c *access.Claims, maxAge time.Duration) bool {
	age := a.sessions.Access().Now().Sub(c.AuthTime)
	return !c.AuthTime.IsZero() && age <= maxAge && age >= -family.ClockSkew
}
