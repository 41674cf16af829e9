package cookie

import (
	"net/http"
	"strings"
)

// Read returns a cookie of the request. Names are compared exactly: a browser
// that enforces "__Host-" does not for "__host-". Quotes around a value are
// part of it, and no value of ours has any. It fails with ErrAbsent,
// ErrDuplicate or ErrMalformed. It does not allocate, and reads each byte of
// the Cookie headers at most twice.
func (j *Jar) Read(r *http.Request, n Name) (string, error) {
	name := j.full[n]
	value, found := "", false
	for _, line := range r.Header["Cookie"] { // HTTP/2 may split it
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			pair = strings.Trim(pair, " \t")
			// A name without "=" is a cookie with an empty value, as net/http
			// reads it.
			got, v, _ := strings.Cut(pair, "=")
			if got != name {
				continue
			}
			if found && v != value {
				return "", ErrDuplicate
			}
			value, found = v, true
		}
	}
	switch {
	case !found:
		return "", ErrAbsent
	case len(value) > maxSize || value == "" || !isValue(value):
		return "", ErrMalformed
	}
	return value, nil
}
