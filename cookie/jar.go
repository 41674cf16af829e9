package cookie

import (
	"net/http"
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

// New returns a Jar, or an error that names the field at fault.
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
// 4.1.1). With a maxAge of 0 the cookie ends with the browser session;
// otherwise it is kept for so long, rounded down to seconds, at least one
// second and at most 400 days. It fails with ErrValue, ErrTooLarge or
// ErrLifetime, and leaves the header alone then.
func (j *Jar) Set(h http.Header, n Name, value string, maxAge time.Duration) error {
	switch {
	case value == "" || !isValue(value):
		return ErrValue
	case len(j.full[n])+len(value) > maxSize:
		return ErrTooLarge
	case maxAge < 0:
		return ErrLifetime
	}
	line := j.full[n] + "=" + value + j.attributes
	if maxAge > 0 {
		seconds := max(1, int64(min(maxAge, maxLifetime)/time.Second))
		expires := time.Now().Add(time.Duration(seconds) * time.Second)
		line += "; Max-Age=" + strconv.FormatInt(seconds, 10) + "; Expires=" + expires.UTC().Format(http.TimeFormat)
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
	h.Add("Set-Cookie", j.full[n]+"="+j.attributes+"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
}

// IsSet reports whether a response's header sets or deletes the cookie.
func (j *Jar) IsSet(h http.Header, n Name) bool {
	for _, line := range h["Set-Cookie"] {
		if j.isLineOf(line, n) {
			return true
		}
	}
	return false
}

// Unset takes the cookie's Set-Cookie out of a response's header again.
func (j *Jar) Unset(h http.Header, n Name) {
	lines := h["Set-Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		if !j.isLineOf(line, n) {
			kept = append(kept, line)
		}
	}
	clear(lines[len(kept):])
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

func (j *Jar) isLineOf(line string, n Name) bool {
	name, _, ok := strings.Cut(line, "=")
	return ok && name == j.full[n]
}

// isValue checks for cookie-octets (RFC 6265bis section 4.1.1).
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return true
}
