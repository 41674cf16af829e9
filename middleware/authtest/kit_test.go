package authtest_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

func TestSignInCarriesAllOfTheUser(t *testing.T) {
	kit := authtest.New(t, sessionkit.Config{})
	s := kit.SignIn(authtest.User{
		Subject: "alice", Roles: []string{"admin", "staff"}, Scopes: []string{"read", "write"},
		Custom: struct {
			Tenant string `json:"tenant"`
		}{"acme"},
		Remember: true, ACR: "gold", AMR: []string{"pwd", "otp"},
	})
	var seen bool
	h := kit.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, _ := middleware.Session(r.Context())
		custom, err := middleware.Custom[struct{ Tenant string }](r.Context())
		seen = c.Subject == "alice" && slices.Equal(c.Roles, []string{"admin", "staff"}) && slices.Equal(c.Scopes, []string{"read", "write"}) &&
			c.ACR == "gold" && slices.Equal(c.AMR, []string{"pwd", "otp"}) && custom.Tenant == "acme" && err == nil
	}))
	for name, r := range map[string]*http.Request{"bearer": s.Bearer(get()), "cookies": s.Cookies(get()), "expired": s.Expired(get())} {
		seen = false
		if w := serve(h, r); w.Code != 200 || !seen {
			t.Errorf("%s: %d, seen %v", name, w.Code, seen)
		}
	}
	if left := s.Grant.RefreshExpiresAt.Sub(s.Grant.IssuedAt); left < 25*time.Hour {
		t.Errorf("not remembered: %v", left)
	}
}

// TestLaterRolesArriveAtTheNextRenewal, as in an app whose database changed.
func TestLaterRolesArriveAtTheNextRenewal(t *testing.T) {
	kit := authtest.New(t, sessionkit.Config{})
	admin := kit.RequireRole("admin")(http.HandlerFunc(hello))
	alice := kit.SignIn(authtest.User{Subject: "alice"})
	kit.SignIn(authtest.User{Subject: "alice", Roles: []string{"admin"}})
	if w := serve(admin, alice.Cookies(get())); w.Code != 403 {
		t.Errorf("before: %d", w.Code)
	}
	if w := serve(admin, alice.Expired(get())); w.Code != 200 {
		t.Errorf("after: %d", w.Code)
	}
}

// TestKitOverARealServer: the requests may be those of an http.Client.
func TestKitOverARealServer(t *testing.T) {
	kit := authtest.New(t, sessionkit.Config{})
	s := httptest.NewServer(kit.RequireAuth(http.HandlerFunc(hello)))
	defer s.Close()
	alice := kit.SignIn(authtest.User{Subject: "alice"})
	for name, decorate := range map[string]func(*http.Request) *http.Request{"bearer": alice.Bearer, "cookies": alice.Cookies, "expired": alice.Expired} {
		r, err := http.NewRequest("GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(decorate(r))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || len(res.Cookies()) != map[bool]int{true: 2}[name == "expired"] {
			t.Errorf("%s: %d %v", name, res.StatusCode, res.Cookies())
		}
	}
}

func TestKitsShareNothing(t *testing.T) {
	a, b := authtest.New(t, sessionkit.Config{}), authtest.New(t, sessionkit.Config{})
	alice := a.SignIn(authtest.User{Subject: "alice"})
	h := b.RequireAuth(http.HandlerFunc(hello))
	for name, r := range map[string]*http.Request{"bearer": alice.Bearer(get()), "cookies": alice.Cookies(get())} {
		if w := serve(h, r); w.Code != 401 {
			t.Errorf("%s of another kit: %d", name, w.Code)
		}
	}
}

func TestKitInParallel(t *testing.T) {
	kit := authtest.New(t, sessionkit.Config{})
	h := kit.RequireAuth(http.HandlerFunc(hello))
	var wg sync.WaitGroup
	for _, name := range []string{"alice", "bob", "alice", "carol"} {
		wg.Go(func() {
			if w := serve(h, kit.SignIn(authtest.User{Subject: name}).Expired(get())); w.Body.String() != "hello "+name {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		})
	}
	wg.Wait()
}

// failing is a test that may fail.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Fatal(...any) { f.failed = true; runtime.Goexit() }

func TestMistakesFailTheTest(t *testing.T) {
	for name, user := range map[string]authtest.User{
		"no subject":                       {},
		"claims that the kit has reserved": {Subject: "alice", Custom: map[string]string{"sub": "bob"}},
	} {
		f := &failing{TB: t}
		kit := authtest.New(f, sessionkit.Config{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			kit.SignIn(user)
		}()
		<-done
		if !f.failed {
			t.Errorf("%s: the test goes on", name)
		}
	}
}
