package middleware_test

import (
	"net/http"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

// noWriter is a ResponseWriter that costs nothing.
type noWriter struct{}

func (noWriter) Header() http.Header             { return nil }
func (noWriter) Write(b []byte) (int, error)     { return len(b), nil }
func (noWriter) WriteHeader(int)                 {}
func (noWriter) WriteString(string) (int, error) { return 0, nil }

// TestTheHotPathCostsTwoAllocations: the request's context and the request
// that carries it, and no call of the store.
func TestTheHotPathCostsTwoAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	a := newApp(t)
	k := a.login("admin")
	found := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, ok := middleware.Session(r.Context()); !ok {
			t.Error("no session")
		}
	})
	for name, h := range map[string]http.Handler{
		"RequireAuth":   a.RequireAuth(found),
		"OptionalAuth":  a.OptionalAuth(found),
		"RequireRole":   a.RequireRole("admin")(found),
		"nested guards": a.RequireAuth(a.RequireScope("read")(a.RequireRole("admin")(found))),
	} {
		for cred, r := range map[string]*http.Request{
			"cookies":        k.request("GET", "/", all),
			"a Bearer token": k.request("GET", "/", "", "Authorization: Bearer "+k.grant.AccessToken),
			"an unsafe one":  k.request("POST", "/", all, "Sec-Fetch-Site: same-origin"),
		} {
			h.ServeHTTP(noWriter{}, r) // seen before
			before := a.store.calls.Load()
			if n := testing.AllocsPerRun(200, func() { h.ServeHTTP(noWriter{}, r) }); n > 2 {
				t.Errorf("%s with %s: %v allocations", name, cred, n)
			}
			if a.store.calls.Load() != before {
				t.Errorf("%s with %s asks the store", name, cred)
			}
		}
	}
}
