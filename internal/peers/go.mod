module github.com/sessionkit/sessionkit/internal/peers

go 1.25.2

require github.com/sessionkit/sessionkit v0.0.0

replace github.com/sessionkit/sessionkit => ../..
