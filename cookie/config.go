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
	// Browser is what a login that ends with the browser needs beside its
	// refresh token. It is a session cookie whose value stays the same as long
	// as the login, so an old copy that a browser restores does no harm.
	Browser
	names
)

// Config says how the cookies look. Keys is mandatory. The names begin with
// "__Host-", which ties a cookie to this host over TLS: no sibling domain can
// set or overwrite it (RFC 6265bis section 4.1.3.2).
type Config struct {
	// HostHTTP makes the names begin with "__Host-Http-", which also keeps
	// scripts from setting a cookie of the same name, in browsers that know it
	// (Chromium from 140). To others the names begin with "__Host-" as always.
	HostHTTP bool
	// Domain shares the cookies with a domain and all its subdomains. The names
	// then begin with "__Secure-", which demands TLS and nothing else. Every
	// host under Domain is trusted with every session:
	//
	//   - Its server receives all the cookies with each request, and can act
	//     as the user.
	//   - It can overwrite or delete the cookies: sign the user out, or sign
	//     the user in to an account of its choice without the user's notice.
	//   - It, or a script that runs in one of its pages, can set a second
	//     cookie of the same name with another Path or for one host. The
	//     browser sends both, Read fails with ErrDuplicate, and Delete does
	//     not remove the second: the user cannot stay signed in until it ends.
	//
	// What remains: scripts cannot read the cookies, and nobody can set them
	// over plain http. If some host under Domain is not yours, leave Domain empty.
	Domain string
	// SameSite is Lax when zero: with Strict, whoever follows a link from a
	// mail arrives signed out. Requests of other origins are to be refused by
	// http.CrossOriginProtection in any case. None is for apps that run in
	// another site's frame.
	SameSite http.SameSite
	// BaseName tells apps on one host apart: "shop" makes "shop-access". The
	// port is no part of a cookie's scope. Empty: access, refresh, device,
	// browser.
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
	switch c.SameSite {
	case 0, http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode:
	default:
		return full, errors.New("cookie: Config.SameSite must be Lax, Strict or None: leaving it to the browser is not the same everywhere")
	}
	prefix, err := c.prefix()
	if err != nil {
		return full, err
	}
	if c.BaseName != "" {
		if !isBaseName(c.BaseName) {
			return full, errors.New("cookie: Config.BaseName must be 1 to 32 letters, digits, '-' or '_', and must not start with \"__\"")
		}
		prefix += c.BaseName + "-"
	}
	return [names]string{Access: prefix + "access", Refresh: prefix + "refresh", Device: prefix + "device", Browser: prefix + "browser"}, nil
}

// prefix returns what browsers enforce by a cookie's name.
func (c *Config) prefix() (string, error) {
	switch {
	case c.InsecureHTTP && c.HostHTTP:
		return "", errors.New("cookie: Config.InsecureHTTP has no prefix: drop HostHTTP")
	case c.InsecureHTTP && c.Domain != "":
		return "", errors.New("cookie: Config.Domain needs TLS: drop InsecureHTTP or Domain")
	case c.InsecureHTTP && c.SameSite == http.SameSiteNoneMode:
		return "", errors.New("cookie: Config.InsecureHTTP excludes SameSite=None, which browsers accept only with Secure")
	case c.InsecureHTTP:
		return "", nil
	case c.Domain != "" && c.HostHTTP:
		return "", errors.New("cookie: Config.Domain excludes HostHTTP: browsers refuse a __Host- cookie with a Domain")
	case c.Domain != "" && !isDomain(c.Domain):
		return "", errors.New("cookie: Config.Domain is no domain name: use one like example.com")
	case c.Domain != "":
		return "__Secure-", nil
	case c.HostHTTP:
		return "__Host-Http-", nil
	}
	return "__Host-", nil
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
