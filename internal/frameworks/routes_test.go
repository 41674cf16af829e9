package frameworks

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

// Guards of one route, and guards in guards, in a router that takes middleware
// at each level.
func TestGuardsOfOneRoute(t *testing.T) {
	t.Parallel()
	a := adapter{start: handlerOf(func(kit *sessionkit.Kit, _ func()) http.Handler {
		who := func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s", middleware.Subject(r.Context()), chi.URLParam(r, "id"))
		}
		r := chi.NewRouter()
		r.Post("/login", login(kit))
		r.Group(func(r chi.Router) {
			r.Use(kit.RequireAuth, chimiddleware.Timeout(time.Minute))
			r.Get("/items/{id}", who)
			r.With(kit.RequireRole("admin")).Get("/admin", who)
			r.With(kit.RequireStepUp(middleware.StepUp{MaxAge: time.Hour})).Post("/transfer", who)
		})
		r.Route("/nested", func(r chi.Router) {
			r.Use(kit.OptionalAuth)
			r.With(kit.RequireAuth).Get("/", who)
		})
		return r
	})}
	b, _, _ := a.browser(t)
	b.want(b.do("GET", "/items/7", ""), 401, "")
	b.want(b.do("GET", "/nothing", ""), 404, "")
	b.signIn()
	b.want(b.do("GET", "/admin", ""), 403, "")
	b.want(b.do("POST", "/transfer", ""), 200, "alice ")
	for path, body := range map[string]string{"/items/7": "alice 7", "/nested/": "alice "} {
		b.want(b.do("GET", path, ""), 200, body)
		b.expire()
		res := b.do("GET", path, "")
		b.want(res, 200, body)
		b.renewed(res, false)
	}
}

// Of a repeated header fiber keeps the last, so that the kit cannot refuse it;
// it alone decides.
func TestRepeatedAuthorizationInFiber(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start  func(*testing.T, *sessionkit.Kit, func()) *httptest.Server
		status int
	}{
		"ServeMux": {handlerOf(serveMux), 400},
		"fiber":    {startFiber, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := adapter{start: c.start}
			b, kit, _ := a.browser(t)
			token := "Bearer " + kit.SignIn(authtest.User{Subject: "alice"}).Grant.AccessToken
			b.want(b.do("GET", "/api/me", "", "Authorization", token, "Authorization", "Bearer x"), c.status, "")
		})
	}
}
