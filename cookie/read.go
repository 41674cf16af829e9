package cookie

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Read returns the value that Set was given, also when a framework on the way
// has put it in quotes or percent-encoded it. What Set cannot have written is
// returned as it was sent, or is ErrMalformed: whoever reads a token judges its
// characters. Names are compared exactly: a browser that enforces "__Host-"
// does not for "__host-".
//
// It fails with ErrAbsent, with ErrDuplicate when the request has two values,
// however they are encoded, and with ErrMalformed when the value is empty,
// wrongly encoded or longer than Set allows. It passes over the Cookie headers
// once, and does not allocate for values that nobody encoded.
func (j *Jar) Read(r *http.Request, n Name) (string, error) {
	name := j.full[n]
	value, found := "", false
	for _, line := range r.Header["Cookie"] { // HTTP/2 may split it
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			raw, ok := valueOf(pair, name)
			if !ok {
				continue
			}
			v := decode(raw)
			if found && v != value {
				return "", ErrDuplicate
			}
			value, found = v, true
		}
	}
	switch {
	case !found:
		return "", ErrAbsent
	case value == "":
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

// decode undoes what frameworks do to a value. It returns "" for what Set
// cannot have written, as far as it sees without looking at each character:
// this is on the path of every request.
func decode(raw string) string {
	if n := len(raw); n > 1 && raw[0] == '"' && raw[n-1] == '"' {
		raw = raw[1 : n-1]
	}
	if strings.IndexByte(raw, '%') >= 0 {
		decoded, err := url.PathUnescape(raw)
		if err != nil || !isValue(decoded) {
			return ""
		}
		raw = decoded
	}
	if len(raw) > maxSize {
		return ""
	}
	return raw
}

// maxValues is more cookies than browsers keep for a domain (Chromium 180,
// Firefox 150), so that planting some cannot push the real one out.
const maxValues = 200

// ReadAll returns the different values that the request has for a cookie and
// that Set can have written, in the order in which they came, at most 200. It
// undoes encodings as Read does. It is for a logout, which has to end the
// session even if somebody planted a second cookie of that name.
func (j *Jar) ReadAll(r *http.Request, n Name) []string {
	var values []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			raw, ok := valueOf(pair, j.full[n])
			if !ok {
				continue
			}
			if v := decode(raw); isValue(v) && !slices.Contains(values, v) {
				if values = append(values, v); len(values) == maxValues {
					return values
				}
			}
		}
	}
	return values
}
