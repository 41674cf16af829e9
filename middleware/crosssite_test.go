package middleware_test

import (
	"net/http"
	"testing"

	"github.com/sessionkit/sessionkit/refresh"
)

// An identity provider's form posts across sites. The handler of the POST
// validates it and redirects to a GET of the app's own, which signs in.
func TestSignInAfterACrossSitePost(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /saml", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Direct") != "" {
			if _, err := a.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
				a.WriteError(w, r, err)
			}
			return
		}
		// Here the app validates the answer and keeps it under a one-time code.
		http.Redirect(w, r, "/signed-in?code=once", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /signed-in", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			a.WriteError(w, r, err)
		}
	})
	send := func(method, path, direct string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://example.com"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.RemoteAddr = "example.com", "192.0.2.1:1234"
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
		if method == "POST" {
			r.Header.Set("Origin", "https://idp.example")
		}
		if direct != "" {
			r.Header.Set("X-Direct", direct)
		}
		return serve(mux, r)
	}
	if res := send("POST", "/saml", "yes"); res.StatusCode != 403 || len(res.Cookies()) > 0 {
		t.Errorf("signing in by the POST itself: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	if res := send("POST", "/saml", ""); res.StatusCode != 303 || res.Header.Get("Location") != "/signed-in?code=once" {
		t.Errorf("the recipe's POST: %d", res.StatusCode)
	}
	if res := send("GET", "/signed-in?code=once", ""); res.StatusCode != 200 || len(res.Cookies()) == 0 {
		t.Errorf("the recipe's GET: %d, cookies %v", res.StatusCode, res.Cookies())
	}
}
