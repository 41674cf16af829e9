package frameworks

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

// humaGuard makes a guard a middleware of huma, here on http.ServeMux.
func humaGuard(guard func(http.Handler) http.Handler) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(c)
		guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next(humago.NewContext(c.Operation(), r, w))
		})).ServeHTTP(w, r)
	}
}

type text struct {
	Cache       string `header:"Cache-Control"`
	CDN         string `header:"CDN-Cache-Control"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func humaAPI(kit *sessionkit.Kit, late func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", login(kit))
	mux.Handle("/api/auth/", kit.Handler("/api/auth"))
	api := humago.New(mux, huma.DefaultConfig("suite", "1.0.0"))
	secured := huma.NewGroup(api, "/api")
	secured.UseMiddleware(humaGuard(kit.RequireAuth))
	huma.Get(secured, "/me", func(ctx context.Context, _ *struct{}) (*text, error) {
		return &text{"public, max-age=60", "max-age=60", "text/plain", []byte(middleware.Subject(ctx))}, nil
	})
	huma.Register(secured, huma.Operation{OperationID: "echo", Method: http.MethodPost, Path: "/echo", DefaultStatus: http.StatusOK}, func(_ context.Context, in *struct {
		RawBody []byte `contentType:"application/x-www-form-urlencoded"`
	}) (*text, error) {
		return &text{ContentType: "text/plain", Body: in.RawBody}, nil
	})
	huma.Register(secured, huma.Operation{OperationID: "empty", Method: http.MethodGet, Path: "/empty", DefaultStatus: http.StatusOK}, func(context.Context, *struct{}) (*struct{}, error) {
		return nil, nil
	})
	huma.Get(secured, "/late", func(ctx context.Context, _ *struct{}) (*text, error) {
		late()
		return &text{ContentType: "text/plain", Body: []byte(middleware.Subject(ctx))}, nil
	})
	huma.Get(secured, "/stream", func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			for i := range 3 {
				fmt.Fprintf(c.BodyWriter(), "%d\n", i)
				http.NewResponseController(c.BodyWriter().(http.ResponseWriter)).Flush()
			}
		}}, nil
	})
	huma.Get(secured, "/panic", func(context.Context, *struct{}) (*struct{}, error) { panic("broken") })
	huma.Get(secured, "/hijack", func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			hijack(w, r)
		}}, nil
	})
	huma.Register(secured, huma.Operation{OperationID: "signout", Method: http.MethodPost, Path: "/signout", DefaultStatus: http.StatusOK}, func(context.Context, *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			kit.Logout(w, r)
		}}, nil
	})
	return recoverer(mux)
}
