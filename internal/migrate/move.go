package migrate

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/refresh"
)

// oldSessions are those that the app had before.
type oldSessions interface {
	// read returns how the user of the request's old session is signed in to the
	// kit: nil without one. An error says that this could not be found out.
	read(r *http.Request) (*refresh.Login, error)
	// end deletes the old cookie, and ends the old session after some time where
	// the server keeps it.
	end(w http.ResponseWriter, r *http.Request, after time.Duration) error
}

// overlap is how long an old session is still good after its move: requests that
// were sent with it at the same time are not refused.
const overlap = time.Minute

// move gives a request with an old session one of the kit, before next sees it:
// next is a guard of the kit, or its endpoints. Whoever has the kit's cookies, also
// of a session that has ended, is not let in by an old one.
func move(kit *sessionkit.Kit, old oldSessions, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("__Host-refresh"); err == nil {
			next.ServeHTTP(w, r)
			return
		}
		login, err := old.read(r)
		if err != nil {
			// No answer is no reason to sign somebody out: 503.
			kit.WriteError(w, r, fmt.Errorf("%w: old sessions: %w", refresh.ErrUnavailable, err))
			return
		}
		if login == nil {
			next.ServeHTTP(w, r)
			return
		}
		_, err = kit.Login(w, r, *login)
		switch {
		case errors.Is(err, refresh.ErrDenied): // deactivated: the guard answers
			next.ServeHTTP(w, r)
			return
		case err != nil:
			kit.WriteError(w, r, err)
			return
		}
		if err := old.end(w, r, overlap); err != nil {
			slog.Error("an old session was moved and goes on", "err", err)
		}
		next.ServeHTTP(w, answered(r, w.Header()))
	})
}

// answered returns the request as if the browser had sent it with the cookies that
// its answer sets. The access token is left out: the guard then renews the session,
// and sees to it that no cache keeps an answer with cookies.
func answered(r *http.Request, h http.Header) *http.Request {
	next := r.Clone(r.Context())
	next.Header.Del("Cookie")
	set := make(map[string]bool)
	cookies := (&http.Response{Header: h}).Cookies()
	slices.Reverse(cookies) // the later line of a name counts
	for _, c := range append(cookies, r.Cookies()...) {
		if !set[c.Name] && c.MaxAge >= 0 && c.Name != "__Host-access" {
			next.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value, Quoted: c.Quoted})
		}
		set[c.Name] = true
	}
	return next
}

// endOld ends an old session that came with a sign-in or sign-out, so that it does
// not sign the user in again.
func endOld(kit *sessionkit.Kit, old oldSessions, next http.Handler) http.Handler {
	return kit.SameOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := old.end(w, r, 0); err != nil {
			kit.WriteError(w, r, fmt.Errorf("%w: old sessions: %w", refresh.ErrUnavailable, err))
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// newApp is the app while it moves.
func newApp(kit *sessionkit.Kit, old oldSessions, login http.Handler, pages map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /login", endOld(kit, old, login))
	mux.Handle("POST /auth/logout", endOld(kit, old, kit.Handler("/auth")))
	mux.Handle("/auth/", move(kit, old, kit.Handler("/auth")))
	for pattern, page := range pages {
		mux.Handle(pattern, move(kit, old, kit.RequireAuth(page)))
	}
	return mux
}
