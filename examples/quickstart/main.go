// Command quickstart is the smallest honest program that uses sessionkit.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func main() {
	keys, err := access.OpenKeys("keys.pem", access.EdDSA) // made at the first start
	check(err)
	ring, err := access.NewKeyRing(keys)
	check(err)
	tokens, err := access.New(access.Config{Issuer: "http://localhost:8080", Audience: "quickstart", Keys: ring})
	check(err)
	store, err := family.NewMemoryStore(family.MemoryConfig{}) // or redisstore.New
	check(err)
	sessions, err := refresh.New(refresh.Config{Access: tokens, Store: store})
	check(err)
	auth, err := middleware.New(middleware.Config{Sessions: sessions})
	check(err)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user")
		if user != "alice" || r.FormValue("password") != "wonderland" { // your own check
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
			return
		}
		if _, err := auth.Login(w, r, refresh.LoginParams{Subject: user}); err != nil {
			refresh.WriteError(w, err)
		}
	})
	mux.Handle("/auth/", auth.Handler("/auth")) // refresh, logout, session list
	mux.Handle("GET /hello", auth.RequireAuth(http.HandlerFunc(hello)))
	log.Fatal(http.ListenAndServe("localhost:8080", mux))
}

func hello(w http.ResponseWriter, r *http.Request) {
	session, _ := middleware.Session(r.Context())
	fmt.Fprintf(w, "Hello, %s.\n", session.Subject)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
