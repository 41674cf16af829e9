package cookie

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxSize is what browsers keep of a cookie, name and value together
	// (RFC 6265bis section 5.6).
	maxSize = 4096
	// maxLifetime is the longest that browsers keep a cookie (RFC 6265bis
	// section 5.5).
	maxLifetime = 400 * 24 * time.Hour
)

// Jar writes and reads the cookies of one configuration. It is immutable and
// safe for concurrent use.
type Jar struct {
	full       [names]string
	attributes string
	sealer     sealer
}

// New returns a Jar. It fails when the configuration cannot work, with an error
// that names the field at fault and the remedy.
func New(cfg Config) (*Jar, error) {
	full, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	attributes := "; Path=/"
	if cfg.Domain != "" {
		attributes += "; Domain=" + cfg.Domain
	}
	if !cfg.InsecureHTTP {
		attributes += "; Secure"
	}
	attributes += "; HttpOnly"
	switch cfg.SameSite {
	case http.SameSiteStrictMode:
		attributes += "; SameSite=Strict"
	case http.SameSiteNoneMode:
		attributes += "; SameSite=None"
	default:
		attributes += "; SameSite=Lax"
	}
	return &Jar{full: full, attributes: attributes, sealer: sealer{keys: cfg.Keys}}, nil
}

// Name returns the full name of a cookie, prefix included.
func (j *Jar) Name(n Name) string { return j.full[n] }

// Set writes a cookie into a response's header, in place of an earlier one of
// that name: a response must not set a cookie twice (RFC 6265bis section
// 4.1.1). The value consists of letters, digits, '-', '_' and '.', which every
// framework passes on unchanged. With a maxAge of 0 the cookie ends with the
// browser session; otherwise it is kept for so long, rounded down to seconds,
// at least one second and at most 400 days. There is no Expires, which would
// depend on two clocks that agree. It fails with ErrValue, ErrTooLarge or
// ErrLifetime, and leaves the header alone then.
func (j *Jar) Set(h http.Header, n Name, value string, maxAge time.Duration) error {
	switch {
	case !isValue(value):
		return ErrValue
	case len(j.full[n])+len(value) > maxSize:
		return ErrTooLarge
	case maxAge < 0:
		return ErrLifetime
	}
	line := j.full[n] + "=" + value + j.attributes
	if maxAge > 0 {
		line += "; Max-Age=" + strconv.FormatInt(max(1, int64(min(maxAge, maxLifetime)/time.Second)), 10)
	}
	j.Unset(h, n)
	h.Add("Set-Cookie", line)
	return nil
}

// Delete tells the browser to forget a cookie, in place of an earlier
// Set-Cookie of that name. The attributes are those that it was set with,
// without which browsers ignore the deletion.
func (j *Jar) Delete(h http.Header, n Name) {
	j.Unset(h, n)
	// Expires is for frameworks that copy a cookie and take a Max-Age of 0 for
	// none.
	h.Add("Set-Cookie", j.full[n]+"="+j.attributes+"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
}

// Unset takes every Set-Cookie of the cookie out of a response's header again,
// whoever wrote the line.
func (j *Jar) Unset(h http.Header, n Name) {
	for field, lines := range h {
		if !isSetCookie(field) {
			continue
		}
		if h[field] = slices.DeleteFunc(lines, j.isLineOf(n)); len(h[field]) == 0 {
			delete(h, field)
		}
	}
}

// isSetCookie also finds a field that somebody put into the map by hand:
// net/http sends it as it is.
func isSetCookie(field string) bool { return strings.EqualFold(field, "Set-Cookie") }

// isLineOf returns a test for lines that browsers take for the cookie: they
// drop blanks around the name (RFC 6265bis section 5.6).
func (j *Jar) isLineOf(n Name) func(line string) bool {
	return func(line string) bool {
		name, _, ok := strings.Cut(line, "=")
		return ok && strings.Trim(name, " \t") == j.full[n]
	}
}

// isValue reports whether Set writes the value.
func isValue(s string) bool {
	for i := range len(s) {
		if !valueByte[s[i]] {
			return false
		}
	}
	return s != ""
}

var valueByte = func() (table [256]bool) {
	for _, c := range []byte(alphanumeric + "-_.") {
		table[c] = true
	}
	return table
}()
