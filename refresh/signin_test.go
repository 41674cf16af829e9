package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestPlantedCookiesDoNotPreventALogout: without the "__Host-" prefix a
// sibling domain can put cookies of the same names beside ours, in any order.
func TestPlantedCookiesDoNotPreventALogout(t *testing.T) {
	jar, err := cookie.New(cookie.Config{Prefix: cookie.PrefixSecure, Keys: func() [][]byte { return [][]byte{make([]byte, 32)} }})
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
			k := newKit(t, func(c *refresh.Config) { c.Cookies = jar })
			own, mallory := k.login("alice"), k.login("mallory")
			r := httptest.NewRequest("POST", "/logout", nil)
			for _, v := range tt.cookies(own.RefreshToken, mallory.RefreshToken) {
				r.Header.Add("Cookie", name+"="+v)
			}
			w := httptest.NewRecorder()
			k.LogoutHandler().ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Errorf("status %d", w.Code)
			}
			k.refused(own, refresh.ErrRevoked)
		})
	}
}

func TestALogoutWithCredentialsSentTwiceIsRefused(t *testing.T) {
	k := newKit(t)
	g := k.login("alice")
	r := httptest.NewRequest("POST", "/logout", nil)
	r.Header["Authorization"] = []string{"Bearer " + g.AccessToken, "Bearer " + g.AccessToken}
	w := httptest.NewRecorder()
	k.LogoutHandler().ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || len(w.Result().Cookies()) != 0 {
		t.Errorf("status %d, cookies %v", w.Code, w.Result().Cookies())
	}
	k.renew(g)
}

// TestALoginDoesNotSurviveADeactivationThatItRaces: the hook allows the login,
// then the account is closed and its sessions are revoked, and only then does
// the store keep the new one.
func TestALoginDoesNotSurviveADeactivationThatItRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Bool
		var late *lateStart
		k := newKit(t, func(c *refresh.Config) {
			late = &lateStart{Store: c.Store, before: func() { closed.Store(true) }}
			c.Store = late
			c.Claims = func(context.Context, string) (refresh.Authority, error) {
				if closed.Load() {
					return refresh.Authority{}, refresh.ErrDenied
				}
				return refresh.Authority{}, nil
			}
		})
		if _, err := k.Start(t.Context(), refresh.StartParams{Subject: "alice", Client: laptop}); !errors.Is(err, refresh.ErrDenied) {
			t.Errorf("the login ended with %v", err)
		}
		f, err := k.store.Find(t.Context(), late.family.Subject, late.family.ID, k.Now())
		if err != nil || f.Revoked != family.ReasonDenied {
			t.Errorf("the family is %q, %v", f.Revoked, err)
		}
	})
}

// lateStart is a store before which something else happens.
type lateStart struct {
	family.Store
	before func()
	family family.Record
}

func (s *lateStart) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	s.before()
	s.family = req.Record
	return s.Store.Start(ctx, req)
}

// TestSessionsOfAnOlderRootSecretCount against the limit, whichever way it is
// kept.
func TestSessionsOfAnOlderRootSecretCount(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t, func(c *refresh.Config) { c.MaxSessions, c.RefuseAtLimit = 3, refuse })
			older := []*refresh.Grant{k.login("alice")}
			time.Sleep(time.Second)
			older = append(older, k.login("alice"))
			next := k.keys
			next.Secrets = append([][]byte{newKeys(t).Secrets[0]}, k.keys.Secrets...)
			if err := k.ring.Replace(next); err != nil {
				t.Fatal(err)
			}
			newer := k.login("alice")
			_, err := k.Start(context.Background(), refresh.StartParams{Subject: "alice", Client: laptop})
			if refuse {
				if !errors.Is(err, refresh.ErrLimit) {
					t.Errorf("the fourth login: %v", err)
				}
				k.renew(older[0])
				if err := k.Revoke(context.Background(), "alice", older[1].Claims.SessionID, family.ReasonUser); err != nil {
					t.Error(err)
				}
				k.login("alice") // there is room again
			} else {
				if err != nil {
					t.Errorf("the fourth login: %v", err)
				}
				k.refused(older[0], refresh.ErrRevoked)
				k.renew(older[1])
			}
			k.renew(newer)
		})
	}
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
		{"a native app has no site data", []string{"cache"}, "Bearer ", ""},
	} {
		k := newKit(t, func(c *refresh.Config) { c.ClearSiteData = tt.config })
		g := k.login("alice")
		r := httptest.NewRequest("POST", "/logout", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-refresh", Value: g.RefreshToken})
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header+g.AccessToken)
		}
		w := httptest.NewRecorder()
		k.LogoutHandler().ServeHTTP(w, r)
		if got := w.Header().Get("Clear-Site-Data"); w.Code != 204 || got != tt.want {
			t.Errorf("%s: status %d, Clear-Site-Data %s", tt.rule, w.Code, got)
		}
		k.refused(g, refresh.ErrRevoked)
	}
}
