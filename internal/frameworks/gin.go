package frameworks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
)

// ginGuard makes a guard a middleware of gin.
func ginGuard(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed, c.Request, c.Writer = true, r, &ginWriter{c.Writer, w}
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// ginWriter is gin's writer, whose headers leave through the guard's.
type ginWriter struct {
	gin.ResponseWriter
	guard http.ResponseWriter
}

func (w *ginWriter) Write(b []byte) (int, error)       { return w.guard.Write(b) }
func (w *ginWriter) WriteString(s string) (int, error) { return io.WriteString(w.guard, s) }
func (w *ginWriter) Flush()                            { w.guard.(http.Flusher).Flush() }
func (w *ginWriter) Unwrap() http.ResponseWriter       { return w.guard }
func (w *ginWriter) WriteHeaderNow() {
	w.guard.WriteHeader(w.Status())
	w.ResponseWriter.WriteHeaderNow()
}
func (w *ginWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.guard).Hijack()
}

// ginGuardShort is ginGuard in the fewest lines: handlers write to gin's own
// writer, past the guard's.
func ginGuardShort(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed, c.Request = true, r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

func ginEngine(kit *sessionkit.Kit, late func(), adapt func(func(http.Handler) http.Handler) gin.HandlerFunc) http.Handler {
	g := gin.New()
	g.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	g.POST("/login", gin.WrapF(login(kit)))
	g.Any("/api/auth/*path", gin.WrapH(kit.Handler("/api/auth")))
	api := g.Group("/api", adapt(kit.RequireAuth))
	api.GET("/me", func(c *gin.Context) {
		cacheable(c.Header)
		c.String(http.StatusOK, middleware.Subject(c.Request.Context()))
	})
	api.POST("/echo", func(c *gin.Context) {
		body, _ := c.GetRawData()
		c.Data(http.StatusOK, "text/plain", body)
	})
	api.GET("/empty", func(c *gin.Context) {})
	api.GET("/late", func(c *gin.Context) {
		late()
		c.String(http.StatusOK, middleware.Subject(c.Request.Context()))
	})
	api.GET("/stream", func(c *gin.Context) {
		n := 0
		c.Stream(func(w io.Writer) bool {
			fmt.Fprintf(w, "%d\n", n)
			n++
			return n < 3
		})
	})
	api.GET("/panic", func(*gin.Context) { panic("broken") })
	api.GET("/hijack", func(c *gin.Context) { hijack(c.Writer, c.Request) })
	api.POST("/signout", func(c *gin.Context) { kit.Logout(c.Writer, c.Request) })
	return g
}
