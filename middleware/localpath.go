package middleware

import (
	"net/url"
	"strings"
)

// maxLocalPath bounds a return_to, in bytes.
const maxLocalPath = 2048

// LocalPath returns s if it is the path, with or without a query, of a page on
// this host, and fallback otherwise. Use it on every return_to that a client
// supplies, before redirecting there: what browsers might take for another
// host (//evil.example, /\evil.example, control characters) is not local
// (ASVS V3.7.2).
func LocalPath(s, fallback string) string {
	if len(s) == 0 || len(s) > maxLocalPath || s[0] != '/' || strings.HasPrefix(s, "//") {
		return fallback
	}
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '\\' {
			return fallback
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return fallback
	}
	return s
}
