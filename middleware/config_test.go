package middleware_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

func TestNewNamesTheFieldAtFault(t *testing.T) {
	for field, change := range map[string]func(*middleware.Config){
		"ClearSiteData":  func(c *middleware.Config) { c.ClearSiteData = []string{"cache", `storage"`} },
		"TrustedProxies": func(c *middleware.Config) { c.TrustedProxies = []netip.Prefix{{}} },
		"Schemes":        func(c *middleware.Config) { c.Schemes = []string{"Basic"} },
	} {
		cfg := middleware.Config{Sessions: newApp(t).sessions}
		change(&cfg)
		if _, err := middleware.New(cfg); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%v, want an error that names Config.%s", err, field)
		}
	}
}

func TestCookieKeysFollowTheRing(t *testing.T) {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	source := middleware.CookieKeys(ring)
	before := source()
	if len(before) != 1 || len(before[0]) != 32 || &before[0] != &source()[0] {
		t.Errorf("keys %d", len(before))
	}
	keys.Secrets = append([][]byte{bytes.Clone(newApp(t).keys.Secrets[0])}, keys.Secrets...)
	if err := ring.Replace(keys); err != nil {
		t.Fatal(err)
	}
	if after := source(); len(after) != 2 || !bytes.Equal(after[1], before[0]) {
		t.Error("the ring was replaced, the keys were not")
	}
}

func TestTrustedOrigin(t *testing.T) {
	trust := http.NewCrossOriginProtection()
	if err := trust.AddTrustedOrigin("https://other.example"); err != nil {
		t.Fatal(err)
	}
	request := func(origin string) *http.Request {
		r, _ := http.NewRequest("POST", "https://app.example/", nil)
		r.Header.Set("Origin", origin)
		return r
	}
	a := newApp(t)
	if err := a.CheckOrigin(request("https://other.example")); !errors.Is(err, middleware.ErrCrossOrigin) || a.rec.of(refresh.EventCrossOrigin) != 1 {
		t.Errorf("another origin: %v", err)
	}
	a = newApp(t, func(c *middleware.Config) { c.CrossOrigin = trust })
	if err := a.CheckOrigin(request("https://other.example")); err != nil {
		t.Errorf("a trusted origin: %v", err)
	}
	if err := a.CheckOrigin(request("http://other.example")); !errors.Is(err, middleware.ErrCrossOrigin) {
		t.Errorf("the plain http twin of a trusted origin: %v", err)
	}
}
