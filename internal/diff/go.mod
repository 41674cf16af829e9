module github.com/sessionkit/sessionkit/internal/diff

go 1.25.2

require (
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/sessionkit/sessionkit v0.0.0
)

require github.com/golang-jwt/jwt/v5 v5.3.1 // indirect

replace github.com/sessionkit/sessionkit => ../..
