package frameworks

import (
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

func echoServer(kit *sessionkit.Kit, late func()) http.Handler {
	e := echo.New()
	e.Use(echomiddleware.Recover())
	e.POST("/login", echo.WrapHandler(login(kit)))
	e.Any("/api/auth/*", echo.WrapHandler(kit.Handler("/api/auth")))
	api := e.Group("/api", echo.WrapMiddleware(kit.RequireAuth))
	api.GET("/me", func(c *echo.Context) error {
		cacheable(c.Response().Header().Set)
		return c.String(http.StatusOK, middleware.Subject(c.Request().Context()))
	})
	api.POST("/echo", func(c *echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, "text/plain", body)
	})
	api.GET("/empty", func(c *echo.Context) error { return nil })
	api.GET("/late", func(c *echo.Context) error {
		late()
		return c.String(http.StatusOK, middleware.Subject(c.Request().Context()))
	})
	api.GET("/stream", func(c *echo.Context) error {
		for i := range 3 {
			fmt.Fprintf(c.Response(), "%d\n", i)
			if err := http.NewResponseController(c.Response()).Flush(); err != nil {
				return err
			}
		}
		return nil
	})
	api.GET("/panic", func(*echo.Context) error { panic("broken") })
	api.GET("/hijack", func(c *echo.Context) error {
		hijack(c.Response(), c.Request())
		return nil
	})
	api.POST("/signout", func(c *echo.Context) error { return kit.Logout(c.Response(), c.Request()) })
	return e
}
