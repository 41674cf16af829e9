package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/refresh"
)

// TestEveryAnswerIsHardened: whatever the kit itself answers, nobody caches,
// renders, frames, sniffs or embeds it, and it is a JSON object or nothing.
func TestEveryAnswerIsHardened(t *testing.T) {
	a := newApp(t)
	k := a.login("alice")
	h := a.Handler("/auth")
	answers := map[string]*http.Response{
		"refused":          serve(a.RequireAuth(greet), k.request("GET", "/", "")),
		"forged":           serve(a.RequireAuth(greet), k.request("GET", "/", "", "Authorization: Bearer x")),
		"cross-origin":     serve(a.RequireAuth(greet), k.request("POST", "/", all, "Sec-Fetch-Site: cross-site")),
		"forbidden":        serve(a.RequireRole("admin")(greet), k.request("GET", "/", all)),
		"repeated":         serve(a.RequireAuth(greet), k.request("GET", "/", "", "Authorization: Bearer a", "Authorization: Bearer b")),
		"unknown endpoint": serve(h, k.request("GET", "/auth/x", all)),
		"sessions":         serve(h, k.request("GET", "/auth/sessions?callback=f", all)),
		"wrong method":     serve(h, k.request("GET", "/auth/token/refresh", all)),
		"refreshed":        serve(h, k.request("POST", "/auth/token/refresh", expired)),
		"logged out":       serve(h, k.request("POST", "/auth/logout", all)),
		"refresh refused":  serve(h, k.request("POST", "/auth/token/refresh", expired)),
	}
	for name, res := range answers {
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cross-Origin-Resource-Policy": "same-origin",
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "",
		} {
			if got := res.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		body := text(res)
		switch {
		case res.StatusCode == http.StatusNoContent && body == "":
		case res.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(body, "{"):
			t.Errorf("%s: %s %q", name, res.Header.Get("Content-Type"), body)
		}
		for _, secret := range []string{k.grant.AccessToken, k.grant.RefreshToken} {
			if strings.Contains(body, secret) {
				t.Errorf("%s: a token in the body", name)
			}
		}
	}
}

// TestCacheableAnswersLoseTheirCaching: a response that brings new cookies is
// kept by no cache, whatever the handler wants, and however it is written.
func TestCacheableAnswersLoseTheirCaching(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a page for caches": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.Write([]byte("hello"))
		},
		"an explicit status": func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Cache-Control"] = []string{"public", "s-maxage=60"}
			w.WriteHeader(http.StatusOK)
		},
		"nothing written": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "immutable") },
		"not modified": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			w.WriteHeader(http.StatusNotModified)
		},
		"flushed first": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			http.NewResponseController(w).Flush()
		},
		"a file": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			http.ServeContent(w, r, "x.css", time.Unix(946684800, 0), strings.NewReader("body{}"))
		},
	} {
		a := newApp(t)
		k := a.login("alice")
		res := serve(a.RequireAuth(handler), k.request("GET", "/", expired))
		if got := res.Header.Values("Cache-Control"); len(res.Cookies()) == 0 || len(got) != 1 || got[0] != "no-store" {
			t.Errorf("%s: %d cookies with Cache-Control %q", name, len(res.Cookies()), got)
		}
		// Without a renewal the handler's word stands.
		res = serve(a.RequireAuth(handler), k.request("GET", "/", all))
		if len(res.Cookies()) > 0 || res.Header.Get("Cache-Control") == "no-store" {
			t.Errorf("%s, nothing renewed: %q", name, res.Header.Values("Cache-Control"))
		}
	}
}

// TestHeadersForClassesOfCachesGo: whatever the header that a shared cache ranks
// above Cache-Control, and however its name is written.
func TestHeadersForClassesOfCachesGo(t *testing.T) {
	names := []string{
		"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Vercel-Cdn-Cache-Control", "Surrogate-Control",
		"Edge-Control", "X-Accel-Expires", "Expires", "Pragma", "cdn-cache-control", "SURROGATE-CONTROL", "cache-control",
	}
	public := func(w http.ResponseWriter, r *http.Request) {
		for _, name := range names {
			w.Header()[name] = []string{"max-age=3600"} // as it is written
		}
		w.Header().Set("X-Cache-Controlled", "kept")
		w.Write([]byte("hello"))
	}
	a := newApp(t)
	for name, h := range map[string]http.Handler{
		"a renewal": a.RequireAuth(http.HandlerFunc(public)),
		"a sign-in": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range names {
				w.Header()[name] = []string{"max-age=3600"}
			}
			w.Header().Set("X-Cache-Controlled", "kept")
			if _, err := a.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
				t.Error(err)
			}
		}),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, a.login("alice").request("GET", "/", expired)) // a sign-in ends the session that comes with it
		sent := w.Header()
		for _, field := range names {
			if v := sent[field]; len(v) > 0 && field != "Pragma" {
				t.Errorf("%s: %s: %q", name, field, v)
			}
		}
		if len(sent["Set-Cookie"]) == 0 || sent.Get("Cache-Control") != "no-store" || sent.Get("Pragma") != "no-cache" || sent.Get("X-Cache-Controlled") != "kept" {
			t.Errorf("%s: %v", name, sent)
		}
	}
}
