package middleware

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sessionkit/sessionkit/refresh"
)

// ErrCrossOrigin: another origin caused the request; nothing was done.
var ErrCrossOrigin = errors.New("middleware: cross-origin request refused")

// CheckOrigin returns ErrCrossOrigin for a request with an unsafe method that
// another origin caused, by the rules of http.CrossOriginProtection. A
// WebSocket handshake is a GET that any page may cause and that opens a way to
// act: it counts as unsafe (RFC 6455 section 10.2).
//
// The kit asks it where cookies are used or set, and nowhere else: what comes
// with a token of its own needs no such protection.
func (a *Auth) CheckOrigin(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		if len(r.Header["Upgrade"]) == 0 {
			return nil
		}
	}
	judged := r
	if len(r.Header["Upgrade"]) > 0 {
		handshake := *r
		handshake.Method, judged = http.MethodPost, &handshake
	}
	if a.crossOrigin.Check(judged) == nil {
		return nil
	}
	a.record(r, refresh.Event{Kind: refresh.EventCrossOrigin, Err: fmt.Errorf("%w: Origin %.200q, Host %.200q", ErrCrossOrigin, r.Header.Get("Origin"), r.Host)})
	return ErrCrossOrigin
}

// SameOrigin refuses requests with unsafe methods that another origin caused,
// with 403: for forms that need no session yet.
func (a *Auth) SameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.CheckOrigin(r); err != nil {
			a.WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
