package frameworks

import (
	"bufio"
	"fmt"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	fiberrecover "github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

// fiberGuard makes a guard a middleware of fiber. adaptor.HTTPMiddleware would
// pass the request on without its session.
func fiberGuard(guard func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		passed := false
		err := adaptor.HTTPHandler(guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.SetContext(r.Context())
		})))(c)
		if err != nil || !passed {
			return err
		}
		renewed := c.GetRespHeader("Cache-Control") == "no-store"
		err = c.Next()
		if renewed { // fiber has sent nothing yet
			c.Set("Cache-Control", "no-store")
			c.Response().Header.Del("CDN-Cache-Control")
		}
		return err
	}
}

func fiberApp(kit *sessionkit.Kit, late func()) *fiber.App {
	app := fiber.New()
	app.Use(fiberrecover.New())
	app.Post("/login", adaptor.HTTPHandler(login(kit)))
	app.All("/api/auth/*", adaptor.HTTPHandler(kit.Handler("/api/auth")))
	api := app.Group("/api", fiberGuard(kit.RequireAuth))
	api.Get("/me", func(c fiber.Ctx) error {
		cacheable(c.Set)
		return c.SendString(middleware.Subject(c.Context()))
	})
	api.Post("/echo", func(c fiber.Ctx) error { return c.Send(c.Body()) })
	api.Get("/empty", func(c fiber.Ctx) error { return nil })
	api.Get("/late", func(c fiber.Ctx) error {
		late()
		return c.SendString(middleware.Subject(c.Context()))
	})
	api.Get("/stream", func(c fiber.Ctx) error {
		return c.SendStreamWriter(func(w *bufio.Writer) {
			for i := range 3 {
				fmt.Fprintf(w, "%d\n", i)
				w.Flush()
			}
		})
	})
	api.Get("/panic", func(fiber.Ctx) error { panic("broken") })
	api.Post("/signout", adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) { kit.Logout(w, r) }))
	return app
}
