package frameworks

import (
	"fmt"
	"io"
	"net/http"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

func serveMux(kit *sessionkit.Kit, late func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", login(kit))
	mux.Handle("/api/auth/", kit.Handler("/api/auth"))
	mux.Handle("GET /api/me", kit.RequireAuth(http.HandlerFunc(me)))
	for path, h := range handlers(kit, late) {
		mux.Handle("/api"+path, kit.RequireAuth(h))
	}
	return recoverer(mux)
}

func me(w http.ResponseWriter, r *http.Request) {
	cacheable(w.Header().Set)
	fmt.Fprint(w, middleware.Subject(r.Context()))
}

// handlers are those of the suite for routers that take http.Handler.
func handlers(kit *sessionkit.Kit, late func()) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/echo": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		},
		"/empty": func(http.ResponseWriter, *http.Request) {},
		"/late": func(w http.ResponseWriter, r *http.Request) {
			late()
			me(w, r)
		},
		"/stream": func(w http.ResponseWriter, r *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "%d\n", i)
				http.NewResponseController(w).Flush()
			}
		},
		"/panic":   func(http.ResponseWriter, *http.Request) { panic("broken") },
		"/hijack":  hijack,
		"/signout": func(w http.ResponseWriter, r *http.Request) { kit.Logout(w, r) },
	}
}

func recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				http.Error(w, "broken", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
