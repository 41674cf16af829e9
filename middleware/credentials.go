package middleware

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

var (
	// ErrNoCredentials: the request came without any.
	ErrNoCredentials = errors.New("middleware: no credentials")
	// ErrRepeated: credentials came more than once: several Authorization
	// headers, or a token in the query besides one (RFC 6750 section 3.1,
	// invalid_request).
	ErrRepeated = errors.New("middleware: credentials sent twice")
	// errToken: nothing follows the scheme.
	errToken = errors.New("middleware: no token that can be used")
)

// A credential is what an Authorization header holds.
type credential struct {
	token   string
	present bool // the scheme is one that is read here: the header alone decides
	dpop    bool // the scheme is DPoP (RFC 9449 section 7.1)
}

// headerToken returns the token of the Authorization header (RFC 6750 section
// 2.1). Tokens in the query are never accepted (RFC 9700 section 4.3.2), and one
// that comes beside the header is an error. Who reads the token judges its
// characters.
func (a *Auth) headerToken(r *http.Request) (c credential, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return c, nil
	}
	if len(values) > 1 {
		c.present = true
		return c, ErrRepeated
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	c.dpop = strings.EqualFold(scheme, "DPoP")
	if c.present = c.dpop || a.reads(scheme); !c.present {
		return c, nil
	}
	if queryHas(r.URL.RawQuery, "access_token") {
		return c, ErrRepeated
	}
	if c.token = strings.Trim(rest, " "); c.token == "" {
		return c, errToken
	}
	return c, nil
}

// queryHas reports whether a query has a parameter, however the name is encoded,
// and whatever its value: also one that url.ParseQuery leaves out.
func queryHas(query, name string) bool {
	for query != "" {
		var pair string
		if end := strings.IndexAny(query, "&;"); end >= 0 {
			pair, query = query[:end], query[end+1:]
		} else {
			pair, query = query, ""
		}
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); err == nil && decoded == name {
			return true
		}
	}
	return false
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
