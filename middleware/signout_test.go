package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// native signs in an app that names no device.
func (a *app) native(subject string) *refresh.Grant {
	a.t.Helper()
	r := httptest.NewRequest("POST", "/login", nil)
	r.Header.Set("User-Agent", "Firefox/1.0")
	g, err := a.LoginNative(r, refresh.Login{Subject: subject})
	if err != nil {
		a.t.Fatal(err)
	}
	return g
}

// dead checks that the session of a grant has ended.
func (a *app) dead(g *refresh.Grant) {
	a.t.Helper()
	if err := a.sessions.Live(a.t.Context(), g.Claims); err == nil {
		a.t.Error("the session lives on")
	}
}

// alive checks that the session of a grant goes on.
func (a *app) alive(g *refresh.Grant) {
	a.t.Helper()
	if err := a.sessions.Live(a.t.Context(), g.Claims); err != nil {
		a.t.Errorf("the session has ended: %v", err)
	}
}

// TestPlantedCookiesDoNotPreventALogout: without the "__Host-" prefix a
// sibling domain can put cookies of the same names beside ours, in any order.
func TestPlantedCookiesDoNotPreventALogout(t *testing.T) {
	jar, err := cookie.New(cookie.Config{Domain: "example.com", Keys: func() [][]byte { return [][]byte{make([]byte, 32)} }})
	if err != nil {
		t.Fatal(err)
	}
	name := jar.Name(cookie.Refresh)
	for _, tt := range []struct {
		rule    string
		cookies func(own string, mallory string) []string
	}{
		{"alone", func(own, mallory string) []string { return []string{own} }},
		{"before it", func(own, mallory string) []string { return []string{"rubbish", own} }},
		{"behind it", func(own, mallory string) []string { return []string{own, "rubbish"} }},
		{"somebody else's token before it", func(own, mallory string) []string { return []string{mallory, own} }},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a := newApp(t, func(c *middleware.Config) { c.Cookies = jar })
			own, mallory := a.native("alice"), a.native("mallory")
			r := httptest.NewRequest("POST", "/auth/logout", nil)
			for _, v := range tt.cookies(own.RefreshToken, mallory.RefreshToken) {
				r.Header.Add("Cookie", name+"="+v)
			}
			w := httptest.NewRecorder()
			a.Handler("/auth").ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Errorf("status %d", w.Code)
			}
			a.dead(own)
		})
	}
}

func TestALogoutWithCredentialsSentTwiceIsRefused(t *testing.T) {
	a := newApp(t)
	g := a.native("alice")
	r := httptest.NewRequest("POST", "/auth/logout", nil)
	r.Header["Authorization"] = []string{"Bearer " + g.AccessToken, "Bearer " + g.AccessToken}
	w := httptest.NewRecorder()
	a.Handler("/auth").ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || len(w.Result().Cookies()) != 0 {
		t.Errorf("status %d, cookies %v", w.Code, w.Result().Cookies())
	}
	a.alive(g)
}

func TestClearSiteData(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		config []string
		header string
		want   string
	}{
		{"by default nothing else is deleted", nil, "", ""},
		{"a browser is told what to delete", []string{"cache", "storage"}, "", `"cache", "storage"`},
		{"everything", []string{"*"}, "", `"*"`},
		{"a token in a header, and cookies", []string{"cache"}, "Bearer ", `"cache"`},
	} {
		a := newApp(t, func(c *middleware.Config) { c.ClearSiteData = tt.config })
		g := a.native("alice")
		r := httptest.NewRequest("POST", "/auth/logout", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-refresh", Value: g.RefreshToken})
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header+g.AccessToken)
		}
		w := httptest.NewRecorder()
		a.Handler("/auth").ServeHTTP(w, r)
		if got := w.Header().Get("Clear-Site-Data"); w.Code != 204 || got != tt.want {
			t.Errorf("%s: status %d, Clear-Site-Data %s", tt.rule, w.Code, got)
		}
		a.dead(g)
	}
}

// TestAnotherOriginDeletesNoCookies: browsers do not send it ours, and keep what
// the answer says of them.
func TestAnotherOriginDeletesNoCookies(t *testing.T) {
	a := newApp(t)
	for site, deleted := range map[string]int{"cross-site": 0, "same-origin": 3} {
		r := httptest.NewRequest("POST", "/auth/logout", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		a.Handler("/auth").ServeHTTP(w, r)
		if got := len(w.Result().Cookies()); w.Code != http.StatusNoContent || got != deleted {
			t.Errorf("%s: %d, %d cookies", site, w.Code, got)
		}
	}
}
