// Command quickstart is the smallest honest program that uses sessionkit.
package main

import (
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

func main() {
	home, err1 := os.UserHomeDir() // keys belong where "git add ." does not take them
	keys, err2 := access.OpenKeyRing(home+"/.quickstart-keys.pem", access.EdDSA)
	kit, err3 := sessionkit.New(sessionkit.Config{Issuer: "http://localhost:8080", Keys: keys})
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("user") != "alice" || r.FormValue("password") != "wonderland" { // your own check
			http.Error(w, "wrong user or password", http.StatusUnauthorized)
		} else if _, err := kit.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			kit.WriteError(w, r, err)
		}
	})
	http.Handle("/auth/", kit.Handler("/auth")) // refresh, logout, list of sessions
	http.Handle("GET /hello", kit.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("Hello, " + middleware.Subject(r.Context()) + ".\n"))
	})))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
