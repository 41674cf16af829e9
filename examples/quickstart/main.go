// Command quickstart is the smallest honest program that uses sessionkit.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

func main() {
	keys, err := access.OpenKeyRing("keys.pem", access.EdDSA)
	check(err)
	kit, err := sessionkit.New(sessionkit.Config{Issuer: "http://localhost:8080", Keys: keys})
	check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("user") != "alice" || r.FormValue("password") != "wonderland" { // your own check
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
		} else if _, err := kit.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			kit.WriteError(w, r, err)
		}
	})
	mux.Handle("/auth/", kit.Handler("/auth")) // refresh, logout, list of sessions
	mux.Handle("GET /hello", kit.RequireAuth(http.HandlerFunc(hello)))
	log.Fatal(http.ListenAndServe("localhost:8080", mux))
}

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello, %s.\n", middleware.Subject(r.Context()))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
