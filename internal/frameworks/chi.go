package frameworks

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	"github.com/sessionkit/sessionkit"
)

func chiRouter(kit *sessionkit.Kit, late func()) http.Handler {
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestID, chimiddleware.Recoverer, chimiddleware.Compress(5))
	r.Post("/login", login(kit))
	r.Mount("/api/auth", kit.Handler("/api/auth"))
	r.Group(func(r chi.Router) {
		r.Use(kit.RequireAuth)
		r.Get("/api/me", me)
		for path, h := range handlers(kit, late) {
			r.HandleFunc("/api"+path, h)
		}
	})
	return r
}
