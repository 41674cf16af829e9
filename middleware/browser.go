package middleware

import (
	"net/http"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// DeviceIDHeader is where a native app names its device, at sign-in and at each
// refresh: a random id that it keeps.
const DeviceIDHeader = "X-Device-ID"

// allCookies are the kit's.
var allCookies = [...]cookie.Name{cookie.Access, cookie.Refresh, cookie.Browser, cookie.Device}

// tokenCookies are those that open a session, and go when it ends. The device
// cookie stays: it names the browser and opens nothing.
var tokenCookies = [...]cookie.Name{cookie.Refresh, cookie.Access, cookie.Browser}

// maxCookie is what browsers keep of a cookie, name and value together (RFC
// 6265bis section 5.6).
const maxCookie = 4096

// client describes who sent the request, but for what names its device: a
// browser shows that in cookies and a native app in a header, and never the
// one what is the other's.
func (a *Auth) client(r *http.Request) refresh.Client {
	return refresh.Client{IP: a.clientIP.of(r), UserAgent: r.UserAgent()}
}

// native is client for a request with tokens in its body.
func (a *Auth) native(r *http.Request) refresh.Client {
	c := a.client(r)
	if v := strings.Join(r.Header.Values(DeviceIDHeader), "\x00"); v != "" {
		c.DeviceID = "header " + v
	}
	return c
}

// BrowserClient describes who sent a request with tokens in cookies, as Login
// and the guards do: for apps that call refresh.Sessions.Refresh themselves.
func (a *Auth) BrowserClient(r *http.Request) refresh.Client {
	c := a.client(r)
	if id, _ := a.device(r); id != nil {
		c.DeviceID = deviceIDOf(id)
	}
	c.BrowserKey, _ = a.cookies.Read(r, cookie.Browser)
	c.AccessToken, _ = a.cookies.Read(r, cookie.Access)
	c.MaxAccessToken = maxCookie - len(a.cookies.Name(cookie.Access))
	return c
}

const deviceIDBytes = 16

func deviceIDOf(id []byte) string { return "cookie " + string(id) }

// device opens the device cookie. stale: it should be set anew.
func (a *Auth) device(r *http.Request) (id []byte, stale bool) {
	value, err := a.cookies.Read(r, cookie.Device)
	if err != nil {
		return nil, false
	}
	id, stale, err = a.cookies.Open(cookie.Device, value)
	if err != nil || len(id) != deviceIDBytes {
		return nil, false
	}
	return id, stale
}

// deviceLifetime is the longest that browsers keep a cookie. It starts anew
// at each sign-in and with renewals, so the device cookie outlives every session
// that it is bound to.
const deviceLifetime = 400 * 24 * time.Hour

// setCookies puts a grant's tokens into the header's Set-Cookie lines, in
// place of earlier ones of these names, and keeps the response out of caches.
//
// The refresh cookie is kept on disk, where a crash takes back seconds, and not
// minutes or hours as from the session cookies that some browsers restore. What
// ends a login with its browser is a constant cookie beside it.
func (a *Auth) setCookies(h http.Header, g *refresh.Grant) error {
	if g.RefreshToken == "" {
		return a.setAccessCookie(h, g) // the refresh cookie is to stay as it is
	}
	if err := a.cookies.Set(h, cookie.Refresh, g.RefreshToken, refreshAge(g)); err != nil {
		return err
	}
	if err := a.cookies.Set(h, cookie.Access, g.AccessToken, accessAge(g)); err != nil {
		a.cookies.Unset(h, cookie.Refresh)
		return err
	}
	noStore(h)
	return nil
}

// renewCookies is setCookies for the answer to a request that renewed its
// session. A device cookie that is a day old, or was sealed with a key on its
// way out, is set again: browsers may cap its life at days.
func (a *Auth) renewCookies(h http.Header, r *http.Request, g *refresh.Grant) error {
	if id, stale := a.device(r); stale {
		sealed, err := a.cookies.Seal(cookie.Device, id)
		if err == nil {
			err = a.cookies.Set(h, cookie.Device, sealed, deviceLifetime)
		}
		if err != nil {
			return err
		}
	}
	return a.setCookies(h, g)
}

// deleteCookies removes the token cookies, and what a browser has of a session
// that is bound to its device: it would go on renewing it.
func (a *Auth) deleteCookies(h http.Header, bound bool) {
	noStore(h)
	for _, n := range tokenCookies {
		a.cookies.Delete(h, n)
	}
	clear := a.clearSiteData
	if bound && !strings.Contains(clear, `"storage"`) && !strings.Contains(clear, `"*"`) {
		clear = strings.TrimPrefix(clear+`, "storage"`, ", ")
	}
	if clear != "" {
		h.Set("Clear-Site-Data", clear)
	}
}

// setAccessCookie is setCookies for a new access token of the same generation.
func (a *Auth) setAccessCookie(h http.Header, g *refresh.Grant) error {
	noStore(h)
	return a.cookies.Set(h, cookie.Access, g.AccessToken, accessAge(g))
}

// accessAge is how long a browser keeps the access cookie: 0 is until it closes.
func accessAge(g *refresh.Grant) time.Duration {
	switch {
	case g.Claims.DeviceBound:
		// The browser signs for a new one as soon as this one is gone.
		return boundAge(g.Claims.ExpiresAt.Sub(g.IssuedAt))
	case !g.Remember:
		return 0
	}
	return refreshAge(g)
}

// boundAge is how long the cookie of a bound session lasts whose token has so
// long left: a little less, so that the browser renews it before an instance
// whose clock is ahead refuses it.
func boundAge(left time.Duration) time.Duration {
	return max(left-min(left/10, family.ClockSkew), time.Second)
}

func refreshAge(g *refresh.Grant) time.Duration {
	return max(g.RefreshExpiresAt.Sub(g.IssuedAt), time.Second)
}
