package access

import "strings"

// sameURL reports whether two http or https URLs name the same resource by the
// syntax-based and scheme-based normalization of RFC 3986 sections 6.2.2 and
// 6.2.3, as RFC 9449 section 4.3 wants. Query and fragment do not count.
func sameURL(a, b string) bool {
	a, aok := normalURL(a)
	b, bok := normalURL(b)
	return aok && bok && a == b
}

// normalURL returns the one spelling of an absolute URL without its query and
// fragment, or false for what is none.
func normalURL(s string) (string, bool) {
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		s = s[:end]
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = lower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", false
	}
	host, path := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	host = strings.TrimSuffix(lower(host), ":")
	if host = strings.TrimSuffix(host, defaultPort[scheme]); !isHost(host) {
		return "", false
	}
	path, ok = normalPath(path)
	return scheme + "://" + host + path, ok
}

var defaultPort = map[string]string{"http": ":80", "https": ":443"}

// lower is strings.ToLower for ASCII alone: what folds to ASCII is not it.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// isHost reports whether s may be a host with a port: names, addresses, and IPv6
// in brackets, without a user and without escapes.
func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~[]:", c) >= 0) {
			return false
		}
	}
	return s != "" && s[0] != ':'
}

const upperHex = "0123456789ABCDEF"

// normalPath returns a path in which no unreserved character is escaped and
// everything else that is not of the grammar is, with capitals, and without dot
// segments.
func normalPath(s string) (string, bool) {
	if isPlainPath(s) {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c, escaped := s[i], false
		if c == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", false
			}
			c, escaped = unhex(s[i+1])<<4|unhex(s[i+2]), true
			i += 2
		}
		switch {
		case isUnreserved(c), !escaped && strings.IndexByte("/!$&'()*+,;=:@", c) >= 0:
			b.WriteByte(c)
		case !escaped && c < 0x80:
			return "", false // a space, a quote, a control character
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return withoutDots(b.String()), true
}

// isPlainPath reports whether a path is normal already, as most are.
func isPlainPath(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if s[i-1] == '/' { // the path begins with a slash
				return false
			}
		case !isUnreserved(c) && c != '/':
			return false
		}
	}
	return true
}

// withoutDots removes dot segments (RFC 3986 section 5.2.4).
func withoutDots(path string) string {
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
			fallthrough
		case ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
