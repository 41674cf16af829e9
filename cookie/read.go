package cookie

import (
	"net/http"
	"slices"
	"strings"
)

// Read returns a cookie of the request as it was sent: whoever reads a token
// judges its characters. Names are compared exactly: a browser that enforces
// "__Host-" does not for "__host-". Quotes around a value are part of it, and
// no value of ours has any. It fails with ErrAbsent, ErrDuplicate or
// ErrMalformed. It does not allocate, and passes over the Cookie headers once.
func (j *Jar) Read(r *http.Request, n Name) (string, error) {
	name := j.full[n]
	value, found := "", false
	for _, line := range r.Header["Cookie"] { // HTTP/2 may split it
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			v, ok := valueOf(pair, name)
			if !ok {
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
	case value == "" || len(value) > maxSize:
		return "", ErrMalformed
	}
	return value, nil
}

// valueOf returns the value of a cookie-pair if it has the name. A name without
// "=" is a cookie with an empty value, as net/http reads it.
func valueOf(pair, name string) (value string, ok bool) {
	for pair != "" && isBlank(pair[0]) {
		pair = pair[1:]
	}
	if value, ok = strings.CutPrefix(pair, name); !ok {
		return "", false
	}
	for value != "" && isBlank(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if value == "" {
		return "", true
	}
	return value[1:], value[0] == '='
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// maxValues is more cookies than browsers keep for a domain (Chromium 180,
// Firefox 150), so that planting some cannot push the real one out.
const maxValues = 200

// ReadAll returns the different well-formed values that the request has for a
// cookie, at most 200: for a logout, which has to end the session even if
// somebody planted a second cookie of that name.
func (j *Jar) ReadAll(r *http.Request, n Name) []string {
	var values []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			v, ok := valueOf(pair, j.full[n])
			if ok && isToken(v) && len(values) < maxValues && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
	}
	return values
}

func isToken(v string) bool { return v != "" && len(v) <= maxSize && isValue(v) }
