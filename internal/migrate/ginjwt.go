package migrate

import (
	"net/http"
	"time"

	jwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// ginTokens are those of appleboy/gin-jwt, which names the user by IdentityKey.
type ginTokens struct{ *jwt.GinJWTMiddleware }

// identity returns whom a token names that is looked for in one place alone,
// such as "cookie: jwt"; "" without one. A token that has expired counts as long
// as it could be refreshed.
func (g ginTokens) identity(r *http.Request, lookup string) string {
	one := *g.GinJWTMiddleware
	one.TokenLookup, one.SendAuthorization = lookup, false
	c := &gin.Context{Request: r}
	claims, err := one.GetClaimsFromJWT(c)
	if err != nil {
		refreshable, err := one.CheckIfTokenExpire(c)
		if err != nil {
			return ""
		}
		claims = jwt.MapClaims(refreshable)
	}
	user, _ := claims[one.IdentityKey].(string)
	return user
}

func (g ginTokens) read(r *http.Request) (*refresh.Login, error) {
	if user := g.identity(r, "cookie: "+g.CookieName); user != "" {
		return &refresh.Login{Subject: user, Remember: true}, nil
	}
	return nil, nil
}

func (g ginTokens) end(w http.ResponseWriter, r *http.Request, _ time.Duration) error {
	if _, err := r.Cookie(g.CookieName); err == nil {
		http.SetCookie(w, &http.Cookie{
			Name: g.CookieName, Path: "/", Domain: g.CookieDomain, MaxAge: -1,
			Secure: g.SecureCookie, HttpOnly: g.CookieHTTPOnly, SameSite: g.CookieSameSite,
		})
	}
	return nil
}

// ginGuard makes a guard a middleware of gin.
func ginGuard(guard func(http.Handler) http.Handler) gin.HandlerFunc {
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

// either accepts the tokens of apps that were not updated yet, and all that the kit
// accepts. Handlers find the user with middleware.Subject, whichever it was.
func either(kit *sessionkit.Kit, old ginTokens) gin.HandlerFunc {
	news := ginGuard(func(next http.Handler) http.Handler { return move(kit, old, kit.RequireAuth(next)) })
	return func(c *gin.Context) {
		user := old.identity(c.Request, "header: Authorization")
		if user == "" {
			news(c)
			return
		}
		c.Request = c.Request.WithContext(middleware.NewContext(c.Request.Context(), &access.Claims{Subject: user}))
		one := *old.GinJWTMiddleware
		one.TokenLookup = "header: Authorization"
		one.MiddlewareFunc()(c) // refuses a token that has expired
	}
}

// exchange gives an app that was updated a session of the kit for its last token.
// It may be asked again when the answer was lost.
func exchange(kit *sessionkit.Kit, old ginTokens) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := old.identity(r, "header: Authorization")
		if user == "" {
			kit.WriteError(w, r, middleware.ErrNoCredentials)
			return
		}
		g, err := kit.LoginNative(r, refresh.Login{Subject: user})
		if err != nil {
			kit.WriteError(w, r, err)
			return
		}
		kit.WriteTokens(w, g)
	}
}
