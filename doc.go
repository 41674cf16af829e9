// Package sessionkit gives an existing net/http app sessions that renew
// themselves: access tokens that live for minutes, refresh tokens that rotate,
// and the promise that no honest client is signed out by the machinery. A stolen
// refresh token ends its session once the owner has used a newer one for longer
// than the settle time.
//
// A complete program:
//
//	func main() {
//		keys, err := access.OpenKeyRing("keys.pem", access.EdDSA)
//		check(err)
//		kit, err := sessionkit.New(sessionkit.Config{Issuer: "http://localhost:8080", Keys: keys})
//		check(err)
//		mux := http.NewServeMux()
//		mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
//			user := r.FormValue("user") // check the password here
//			if _, err := kit.Login(w, r, refresh.Login{Subject: user}); err != nil {
//				kit.WriteError(w, r, err)
//			}
//		})
//		mux.Handle("/auth/", kit.Handler("/auth")) // refresh, logout, session list
//		mux.Handle("GET /hello", kit.RequireAuth(http.HandlerFunc(hello)))
//		log.Fatal(http.ListenAndServe("localhost:8080", mux))
//	}
//
//	func hello(w http.ResponseWriter, r *http.Request) {
//		fmt.Fprintf(w, "Hello, %s.\n", middleware.Subject(r.Context()))
//	}
//
// Where to go on:
//
//   - Package middleware has everything HTTP: guards (RequireAuth, RequireRole,
//     RequireStepUp), sign-in and sign-out, the endpoints. A Kit has its methods.
//   - Package refresh has sessions without HTTP: revoking, listing, the claims
//     hook, events.
//   - Package redisstore keeps sessions for several instances; without a store
//     they are in memory, and a restart signs everybody out.
//   - Packages access and cookie have the keys and the cookies; package
//     refresh/family the protocol, for whoever writes a store.
//   - Package middleware/authtest signs users in for the tests of an app.
//
// The kit does not check passwords, limit rates or keep accounts.
package sessionkit
