// Package bearer reads the Authorization header as RFC 6750 section 2.1 has it.
package bearer

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrRepeated: more than one Authorization header, or a second way of
	// sending a token besides (RFC 6750 section 3.1, invalid_request).
	ErrRepeated = errors.New("bearer: credentials sent twice")
	// ErrScheme: the header holds other credentials than a Bearer token.
	ErrScheme = errors.New("bearer: not the Bearer scheme")
	// ErrToken: nothing follows the scheme.
	ErrToken = errors.New("bearer: no token")
)

// Token returns the request's Bearer token. present reports whether the
// request has an Authorization header at all: it alone decides then. Tokens in
// the query are never accepted (RFC 9700 section 4.3.2), and one that comes
// beside the header is an error. Whoever reads the token judges its characters.
func Token(r *http.Request) (token string, present bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 || strings.Contains(r.URL.RawQuery, "access_token=") && r.URL.Query().Has("access_token") {
		return "", true, ErrRepeated
	}
	const scheme = "Bearer"
	v := values[0]
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", true, ErrScheme
	}
	v = v[len(scheme):]
	if v == "" || v[0] != ' ' {
		if v == "" {
			return "", true, ErrToken
		}
		return "", true, ErrScheme
	}
	if v = v[1:]; v == "" {
		return "", true, ErrToken
	}
	return v, true, nil
}
