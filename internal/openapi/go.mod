module github.com/sessionkit/sessionkit/internal/openapi

go 1.25.2

replace github.com/sessionkit/sessionkit => ../..

require (
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	github.com/sessionkit/sessionkit v0.0.0
)

require (
	github.com/felixge/httpsnoop v1.1.0 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/gorilla/securecookie v1.1.2 // indirect
	golang.org/x/text v0.14.0 // indirect
)
