package access_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
)

// ASVS 10.3.2: by whole names, not by parts of them.
func TestScopesAndRolesAreComparedWhole(t *testing.T) {
	c := &access.Claims{Scopes: []string{"readwrite", "mail:send"}, Roles: []string{"administrator"}}
	for scope, want := range map[string]bool{"readwrite": true, "mail:send": true, "read": false, "write": false, "Readwrite": false, "": false, "readwrite mail:send": false} {
		if c.HasScope(scope) != want {
			t.Errorf("scope %q: %v", scope, !want)
		}
	}
	for role, want := range map[string]bool{"administrator": true, "admin": false, "ADMINISTRATOR": false, "": false} {
		if c.HasRole(role) != want {
			t.Errorf("role %q: %v", role, !want)
		}
	}
}

func TestDecodeFailsWithErrClaims(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	_, c := issue(t, tokens, login)
	var wrong struct {
		Subject int `json:"sub"`
	}
	for name, err := range map[string]error{
		"ill-typed":          c.Decode(&wrong),
		"nil":                c.Decode(nil),
		"no pointer":         c.Decode(wrong),
		"claims of the app":  login.Decode(&struct{}{}),
		"nil pointer":        c.Decode((*struct{})(nil)),
		"zero value's claim": new(access.Claims).Decode(&wrong),
	} {
		if err != access.ErrClaims {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMarkIsTrueOnce(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	text, issued := issue(t, tokens, login)
	if !issued.FirstUse() || issued.FirstUse() {
		t.Error("what Issue returned")
	}
	// The first sight of a token, by many requests at once.
	var marks atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			c, err := tokens.Verify(text)
			if err != nil {
				t.Error(err)
				return
			}
			if c.FirstUse() {
				marks.Add(1)
			}
		})
	}
	wg.Wait()
	if n := marks.Load(); n != 1 {
		t.Errorf("%d of 16 requests were first", n)
	}
	other, _ := issue(t, tokens, login)
	if c, err := tokens.Verify(other); err != nil || !c.FirstUse() {
		t.Errorf("another token: %v", err)
	}
	if new(access.Claims).FirstUse() {
		t.Error("claims of the app")
	}
}

func TestContext(t *testing.T) {
	if c, ok := middleware.Session(context.Background()); ok || c != nil {
		t.Errorf("got %v, %v from an empty context", c, ok)
	}
	want := &access.Claims{Subject: "alice"}
	ctx, cancel := context.WithTimeout(middleware.NewContext(context.Background(), want), time.Hour)
	defer cancel()
	if c, ok := middleware.Session(ctx); !ok || c != want {
		t.Errorf("got %v, %v", c, ok)
	}
}
