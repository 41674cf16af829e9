module github.com/sessionkit/sessionkit/internal/proxies

go 1.25.2

require github.com/sessionkit/sessionkit v0.0.0

require (
	github.com/felixge/httpsnoop v1.1.0 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/gorilla/securecookie v1.1.2 // indirect
)

replace github.com/sessionkit/sessionkit => ../..
