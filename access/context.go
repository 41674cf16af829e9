package access

import "context"

type contextKey struct{}

// NewContext returns a context that carries a verified token's claims, for
// middleware. The claims are shared: read only.
func NewContext(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the claims that NewContext put there.
func FromContext(ctx context.Context) (*Claims, bool) {
	c, ok := ctx.Value(contextKey{}).(*Claims)
	return c, ok
}
