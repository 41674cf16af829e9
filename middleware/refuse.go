package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

// A Refusal is what a refused request is told.
type Refusal struct {
	Status int
	// Code is the error code of RFC 6749, 6750 or 9470, or one in their
	// manner, such as invalid_token.
	Code string
	// Description is one of the kit's own sentences: it may be shown.
	Description string
	// Challenge is the value of WWW-Authenticate, already set; empty without.
	Challenge string
	// Cause is why, for logs. It may be nil, holds no secret, and is not to be
	// shown: all refusals of a token look alike to its holder.
	Cause error
}

// refused is a Refusal in the making: one of the answers of RFC 6750 section 3.1
// and RFC 9470 section 3, or RFC 9449 section 7.1.
type refused struct {
	Refusal
	dpop       bool   // the challenge asks for DPoP
	bare       bool   // the challenge has no error: there were no credentials
	attributes string // further members of the challenge
	signIn     bool   // a page navigation is sent to the sign-in page
	retry      bool   // the same request may succeed in a moment
	plain      bool   // without a challenge
}

// retryAfter is what clients are told while the store is away, in seconds.
const retryAfter = "1"

// refusedFor maps the errors of this package, of refresh and of access.
func refusedFor(err error) *refused {
	no := func(status int, code, description string) *refused {
		return &refused{Refusal: Refusal{Status: status, Code: code, Description: description, Cause: err}}
	}
	var bad *badRequest
	var proof *proofError
	switch {
	case errors.As(err, &proof):
		f := no(http.StatusUnauthorized, proof.code, proof.description)
		if f.dpop = true; proof.tokens {
			f.Status, f.plain = http.StatusBadRequest, true
		}
		return f
	case errors.As(err, &bad):
		return no(bad.status, bad.code, bad.description)
	case errors.Is(err, ErrNoCredentials):
		f := no(http.StatusUnauthorized, "unauthorized", "Sign in first.")
		f.bare, f.signIn = true, true
		return f
	case errors.Is(err, ErrRepeated):
		return no(http.StatusBadRequest, "invalid_request", "The access token was sent more than once.")
	case errors.Is(err, ErrCrossOrigin):
		return no(http.StatusForbidden, "cross_origin", "The request came from another origin.")
	case errors.Is(err, refresh.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// The request's own time ran out while its session was being renewed:
		// that says nothing about the session.
		f := no(http.StatusServiceUnavailable, "temporarily_unavailable", "The service is briefly unavailable. Try again.")
		f.retry = true
		return f
	case errors.Is(err, refresh.ErrLimit):
		return no(http.StatusForbidden, "access_denied", "Too many sessions. End one first.")
	case errors.Is(err, refresh.ErrImpersonated):
		return no(http.StatusForbidden, "access_denied", "Only the user may do this.")
	case errors.Is(err, refresh.ErrOutdated):
		return no(http.StatusUnauthorized, "invalid_token", "Renew the access token, and ask again.")
	case errors.Is(err, refresh.ErrNotFound):
		return no(http.StatusNotFound, "not_found", "There is no such session.")
	case errors.Is(err, refresh.ErrSubject):
		return no(http.StatusBadRequest, "invalid_request", "The subject is not valid.")
	case errors.Is(err, refresh.ErrUnbound):
		return no(http.StatusBadRequest, "invalid_request", "The sign-in does not name the device or address that sessions are bound to.")
	case errors.Is(err, refresh.ErrRefused), isTokenError(err):
		// Whatever else is wrong with a token looks alike: expired, revoked,
		// forged, of a refused session.
		f := no(http.StatusUnauthorized, "invalid_token", "The session has ended. Sign in again.")
		f.signIn = true
		return f
	}
	return no(http.StatusInternalServerError, "server_error", "Something went wrong.")
}

// refuse answers a request that a guard stops: a page navigation with a
// redirect to the sign-in page, an HTMX request with HX-Redirect, and
// everything else as RFC 6750 says.
func (a *Auth) refuse(w http.ResponseWriter, r *http.Request, f *refused) {
	if f.signIn && a.cfg.LoginPath != "" {
		switch {
		case r.Header.Get("HX-Request") == "true":
			// The page that the user looks at, not the fragment it asked for.
			w.Header().Set("HX-Redirect", a.signIn(currentPage(r)))
		case isNavigation(r):
			harden(w.Header())
			http.Redirect(w, r, a.signIn(returnTo(r)), http.StatusSeeOther)
			return
		}
	}
	switch f.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		a.setChallenge(r, f)
	}
	a.write(w, r, f)
}

// setChallenge makes the WWW-Authenticate value, for the scheme that the request
// used. Its parts are our own constants, roles, scopes and ACR values that were
// checked when the guard was made.
func (a *Auth) setChallenge(r *http.Request, f *refused) {
	s := a.own(r)
	members := fmt.Sprintf("error=%q, error_description=%q%s", f.Code, f.Description, f.attributes)
	switch {
	case f.plain:
	case f.dpop || s != nil && s.dpop:
		f.Challenge = fmt.Sprintf("DPoP %s, algs=%q", members, access.DPoPAlgorithms)
	case f.bare:
		f.Challenge = "Bearer"
	default:
		f.Challenge = "Bearer " + members
	}
}

// write sets the headers of a refusal, and lets the app write the rest.
func (a *Auth) write(w http.ResponseWriter, r *http.Request, f *refused) {
	harden(w.Header())
	if f.Challenge != "" {
		w.Header().Set("WWW-Authenticate", f.Challenge)
	}
	if f.retry {
		w.Header().Set("Retry-After", retryAfter)
	}
	if f.Code == codeNonce || f.dpop && a.cfg.DPoP.RequireNonce {
		w.Header().Set(nonceHeader, a.nonce())
	}
	a.cfg.Refuse(w, r, f.Refusal)
}

// WriteError answers a request that failed with an error of Login, Logout or of
// package refresh, as the kit's own endpoints do: all refusals of a refresh
// token look alike.
func (a *Auth) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	f := refusedFor(err)
	if f.dpop || errors.Is(err, refresh.ErrOutdated) {
		a.setChallenge(r, f)
	} else if f.Status == http.StatusUnauthorized {
		f = &refused{Refusal: Refusal{Status: http.StatusUnauthorized, Code: "invalid_grant", Description: "The session has ended. Sign in again.", Challenge: "Bearer", Cause: err}}
	} else if errors.Is(err, ErrRepeated) {
		a.setChallenge(r, f)
	}
	a.write(w, r, f)
}

// endpoint answers with what serve fails with, and to other methods with 405.
func (a *Auth) endpoint(serve func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			a.write(w, r, &refused{Refusal: Refusal{Status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "This resource does not support the method."}})
			return
		}
		if err := serve(w, r); err != nil {
			a.WriteError(w, r, err)
		}
	})
}

// isNavigation reports whether a browser shows the answer as a page. A download
// navigates too, and would save the sign-in page as the file.
func isNavigation(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if mode == "" && dest == "" {
		return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
	}
	switch dest {
	case "document", "iframe", "frame", "fencedframe":
		return mode == "" || mode == "navigate"
	case "":
		return mode == "navigate"
	}
	return false
}

func (a *Auth) signIn(returnTo string) string {
	if returnTo == "" {
		return a.cfg.LoginPath
	}
	return a.cfg.LoginPath + "?return_to=" + url.QueryEscape(returnTo)
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

// isTokenError reports whether err says that an access token is no good.
func isTokenError(err error) bool {
	for _, sentinel := range []error{
		access.ErrExpired, access.ErrMalformed, access.ErrSignature, access.ErrUnknownKey,
		access.ErrNotYetValid, access.ErrClaims, errToken, refresh.ErrInvalidToken,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}
