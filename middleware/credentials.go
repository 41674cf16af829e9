package middleware

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrNoCredentials: the request came without any.
	ErrNoCredentials = errors.New("middleware: no credentials")
	// ErrRepeated: credentials came more than once: several Authorization
	// headers, or a token in the query besides one (RFC 6750 section 3.1,
	// invalid_request).
	ErrRepeated = errors.New("middleware: credentials sent twice")
	// errToken: nothing follows the scheme, or it is DPoP.
	errToken = errors.New("middleware: no token that can be used")
)

// headerToken returns the token of the Authorization header (RFC 6750 section
// 2.1). present reports whether there is one of a scheme that is read here: it
// alone decides then. Tokens in the query are never accepted (RFC 9700 section
// 4.3.2), and one that comes beside the header is an error. Who reads the token
// judges its characters.
func (a *Auth) headerToken(r *http.Request) (token string, present bool, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		return "", true, ErrRepeated
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	dpop := strings.EqualFold(scheme, "DPoP")
	if !dpop && !a.reads(scheme) {
		return "", false, nil
	}
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return "", true, ErrRepeated
	}
	token = strings.Trim(rest, " ")
	if token == "" || dpop {
		// No token of ours is bound to a key of DPoP's.
		return "", true, errToken
	}
	return token, true, nil
}

// reads reports whether credentials of the scheme are an access token.
func (a *Auth) reads(scheme string) bool {
	for _, s := range a.schemes {
		if strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}
