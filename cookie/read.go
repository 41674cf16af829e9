package cookie

import (
	"net/http"
	"slices"
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
	case !isToken(value):
		return "", ErrMalformed
	}
	return value, nil
}

// maxValues is more cookies than browsers keep for a domain (Chromium 180,
// Firefox 150), so that planting some cannot push the real one out.
const maxValues = 200

// Values returns the different well-formed values that the request has for a
// cookie, at most 200: for a logout, which has to end the session even if
// somebody planted a second cookie of that name.
func (j *Jar) Values(r *http.Request, n Name) []string {
	var values []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, v, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name == j.full[n] && isToken(v) && len(values) < maxValues && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
	}
	return values
}

func isToken(v string) bool { return v != "" && len(v) <= maxSize && isValue(v) }
