package cookie

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A Name is one of the kit's cookies.
type Name int

const (
	Access  Name = iota // the access token
	Refresh             // the refresh token
	Device              // the sealed id of the browser
	Browser             // a constant that ends with the browser session
	names
)

// A Prefix is what browsers enforce by a cookie's name (RFC 6265bis section
// 4.1.3).
type Prefix int

const (
	// PrefixHost, "__Host-", ties the cookie to this host over TLS: no
	// sibling domain can plant it. The default.
	PrefixHost Prefix = iota
	// PrefixHostHTTP, "__Host-Http-", also keeps scripts from writing it, in
	// browsers that know the prefix. To all others it is a name like any.
	PrefixHostHTTP
	// PrefixSecure, "__Secure-", only demands TLS. It allows a Domain, and
	// with it every subdomain to read and plant the cookie.
	PrefixSecure
)

// Config says how the cookies look. Keys is mandatory.
type Config struct {
	// Prefix is put before the names.
	Prefix Prefix
	// SameSite is Lax when zero: with Strict, whoever follows a link from a
	// mail arrives signed out. Requests of other origins are to be refused by
	// http.CrossOriginProtection in any case. None is for apps that run in
	// another site's frame.
	SameSite http.SameSite
	// Domain shares the cookies with subdomains. Needs PrefixSecure.
	Domain string
	// BaseName tells apps on one host apart: "shop" makes "shop-access". The
	// port is no part of a cookie's scope. Empty: access, refresh, device.
	BaseName string
	// InsecureHTTP drops Secure and the prefix, for development over plain
	// http with clients other than browsers on localhost.
	InsecureHTTP bool
	// Keys returns the secrets that seal values, newest first, each of at
	// least 32 random bytes. It is called at each use, so that keys can be
	// replaced at run time; the same keys should come in the same slice.
	Keys func() [][]byte
}

// validate returns the full names of the cookies, or why the configuration
// cannot work.
func (c *Config) validate() (full [names]string, err error) {
	if c.Keys == nil || len(c.Keys()) == 0 {
		return full, errors.New("cookie: Config.Keys is empty: supply at least one secret of 32 random bytes")
	}
	for _, k := range c.Keys() {
		if len(k) < minKey {
			return full, fmt.Errorf("cookie: Config.Keys holds a secret of %d bytes: use at least %d random ones", len(k), minKey)
		}
	}
	prefix, ok := map[Prefix]string{PrefixHost: "__Host-", PrefixHostHTTP: "__Host-Http-", PrefixSecure: "__Secure-"}[c.Prefix]
	if !ok {
		return full, errors.New("cookie: Config.Prefix is unknown: use one of the Prefix constants")
	}
	switch c.SameSite {
	case 0, http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode:
	default:
		return full, errors.New("cookie: Config.SameSite must be Lax, Strict or None: leaving it to the browser is not the same everywhere")
	}
	if c.Domain != "" && (c.Prefix != PrefixSecure || c.InsecureHTTP) {
		return full, errors.New("cookie: Config.Domain needs PrefixSecure: browsers refuse a __Host- cookie with a Domain")
	}
	if c.Domain != "" && !isDomain(c.Domain) {
		return full, errors.New("cookie: Config.Domain is no domain name: use one like example.com")
	}
	if c.InsecureHTTP {
		if c.Prefix != PrefixHost {
			return full, errors.New("cookie: Config.InsecureHTTP has no prefix: drop Prefix")
		}
		if c.SameSite == http.SameSiteNoneMode {
			return full, errors.New("cookie: Config.InsecureHTTP excludes SameSite=None, which browsers accept only with Secure")
		}
		prefix = ""
	}
	if c.BaseName != "" {
		if !isBaseName(c.BaseName) {
			return full, errors.New("cookie: Config.BaseName must be 1 to 32 letters, digits, '-' or '_', and must not start with \"__\"")
		}
		prefix += c.BaseName + "-"
	}
	return [names]string{Access: prefix + "access", Refresh: prefix + "refresh", Device: prefix + "device", Browser: prefix + "browser"}, nil
}

func isBaseName(s string) bool {
	return len(s) <= 32 && !strings.HasPrefix(s, "__") && strings.Trim(s, alphanumeric+"-_") == ""
}

func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, alphanumeric+"-") != "" {
			return false
		}
	}
	return true
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
