package frameworks

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
)

// An adapter is an app on one framework: given a kit, it serves the routes of
// the suite. late is called by the handler of /api/late before it answers.
type adapter struct {
	start func(t *testing.T, kit *sessionkit.Kit, late func()) *httptest.Server
	// What the framework, or the short way of using it, does not give.
	noStream   bool // answers are sent whole
	noHijack   bool
	keepsCache bool // a handler's own caching headers stay on a renewal
	repeats    bool // a sign-out in a guarded handler repeats Set-Cookie
}

func handlerOf(build func(*sessionkit.Kit, func()) http.Handler) func(*testing.T, *sessionkit.Kit, func()) *httptest.Server {
	return func(t *testing.T, kit *sessionkit.Kit, late func()) *httptest.Server {
		s := httptest.NewUnstartedServer(build(kit, late))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
}

// refusal is the app's own format of errors.
func refusal(w http.ResponseWriter, _ *http.Request, f middleware.Refusal) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.Status)
	fmt.Fprintf(w, `{"type":"about:blank","status":%d,"code":%q}`, f.Status, f.Code)
}

// A browser is a client with cookies.
type browser struct {
	t    *testing.T
	http *http.Client
	url  *url.URL
}

func (a *adapter) browser(t *testing.T) (*browser, *authtest.Kit, *gate) {
	t.Helper()
	g := &gate{make(chan struct{}), make(chan struct{})}
	kit := authtest.New(t, sessionkit.Config{HTTP: middleware.Config{Refuse: refusal}})
	s := a.start(t, kit.Kit, func() {
		close(g.entered)
		<-g.leave
	})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, s.Client(), u}
	b.http.Jar, err = cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, kit, g
}

// A gate holds a handler until the test lets it go.
type gate struct{ entered, leave chan struct{} }

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, path, body string, header ...string) answer {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url.String()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		return answer{res, ""}
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res, string(text)}
}

func (b *browser) want(a answer, status int, body string) {
	b.t.Helper()
	if a.StatusCode != status || body != "" && a.body != body {
		b.t.Errorf("%s %s = %d %q, want %d %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, status, body)
	}
}

func (b *browser) signIn() {
	b.t.Helper()
	b.want(b.do("POST", "/login", "user=alice"), 200, "")
}

// expire takes the access cookie away, as if its token had run out.
func (b *browser) expire() {
	b.http.Jar.SetCookies(b.url, []*http.Cookie{{Name: "__Host-access", Path: "/", Secure: true, MaxAge: -1}})
}

// renewed checks that the answer carries the cookies of a renewal, once, and that
// no cache may keep it.
func (b *browser) renewed(a answer, keepsCache bool) {
	b.t.Helper()
	count := make(map[string]int)
	for _, c := range a.Cookies() {
		count[c.Name]++
	}
	if count["__Host-access"] != 1 || count["__Host-refresh"] != 1 || len(count) != 2 {
		b.t.Errorf("%s: cookies %v, want those of a renewal once", a.Request.URL.Path, count)
	}
	if keepsCache {
		return
	}
	if got := a.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" || a.Header.Get("CDN-Cache-Control") != "" {
		b.t.Errorf("%s: Cache-Control %q, CDN-Cache-Control %q on a renewal", a.Request.URL.Path, got, a.Header.Get("CDN-Cache-Control"))
	}
}

// conform runs the suite.
func conform(t *testing.T, a adapter) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *adapter)
	}{
		{"without a session the app's own refusal is sent", refusals},
		{"the session is read where the framework keeps the request", sessionIsRead},
		{"a renewal reaches the client however the handler answers", renewals},
		{"a handler that answers late loses no cookie", lateAnswer},
		{"a POST whose session is renewed keeps its body", wholeBody},
		{"a hijacked connection carries the cookies", hijacked},
		{"the endpoints work below a prefix", endpoints},
		{"a sign-out in a guarded handler wins over the renewal", signOut},
		{"an Authorization header of another scheme is not looked at", basicAuth},
		{"a token of one request is not taken for that of another", bearer},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, &a)
		})
	}
}

func refusals(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	res := b.do("GET", "/api/me", "")
	b.want(res, 401, `{"type":"about:blank","status":401,"code":"unauthorized"}`)
	if res.Header.Get("WWW-Authenticate") != "Bearer" || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("header %v", res.Header)
	}
	b.want(b.do("GET", "/api/auth/sessions", ""), 401, `{"type":"about:blank","status":401,"code":"unauthorized"}`)
	b.signIn()
	b.want(b.do("POST", "/api/echo", "x", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), 403, `{"type":"about:blank","status":403,"code":"cross_origin"}`)
}

func sessionIsRead(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	res := b.do("GET", "/api/me", "")
	b.want(res, 200, "alice")
	if len(res.Cookies()) != 0 || res.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("a request that renews nothing has its headers changed: %v", res.Header)
	}
}

func renewals(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/api/me", 200, "alice"},
		{"/api/empty", 200, ""},
		{"/api/stream", 200, "0\n1\n2\n"},
		{"/api/panic", 500, ""},
	} {
		b.expire()
		res := b.do("GET", c.path, "")
		b.want(res, c.status, c.body)
		b.renewed(res, a.keepsCache && c.path == "/api/me")
		if c.path == "/api/stream" && !a.noStream && res.ContentLength >= 0 {
			t.Errorf("the stream was sent whole")
		}
		res = b.do("GET", "/api/me", "")
		b.want(res, 200, "alice")
		if len(res.Cookies()) != 0 {
			t.Errorf("after %s the client has no good access cookie", c.path)
		}
	}
}

func lateAnswer(t *testing.T, a *adapter) {
	b, _, g := a.browser(t)
	b.signIn()
	b.expire()
	done := make(chan answer)
	go func() { done <- b.do("GET", "/api/late", "") }()
	<-g.entered
	b.want(b.do("GET", "/api/me", ""), 200, "alice")
	close(g.leave)
	res := <-done
	b.want(res, 200, "alice")
	b.renewed(res, a.keepsCache)
}

func wholeBody(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	b.expire()
	body := strings.Repeat("0123456789abcdef", 1<<14)
	res := b.do("POST", "/api/echo", body)
	if res.StatusCode != 200 || res.body != body {
		t.Errorf("%d, and %d bytes of %d came back", res.StatusCode, len(res.body), len(body))
	}
	b.renewed(res, false)
}

func hijacked(t *testing.T, a *adapter) {
	if a.noHijack {
		return
	}
	b, _, _ := a.browser(t)
	b.signIn()
	b.expire()
	res := b.do("GET", "/api/hijack", "", "Connection", "Upgrade", "Upgrade", "test", "Sec-Fetch-Site", "same-origin")
	b.want(res, 101, "")
	b.renewed(res, false)
}

func endpoints(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	if res := b.do("GET", "/api/auth/sessions", ""); res.StatusCode != 200 || !strings.Contains(res.body, `"sessions"`) {
		t.Errorf("list: %d %s", res.StatusCode, res.body)
	}
	res := b.do("POST", "/api/auth/token/refresh", "")
	b.want(res, 200, "")
	b.renewed(res, false)
	b.want(b.do("GET", "/api/auth/nothing", ""), 404, "")
	b.want(b.do("POST", "/api/auth/logout", ""), 204, "")
	b.want(b.do("GET", "/api/me", ""), 401, "")
	if n := len(b.http.Jar.Cookies(b.url)); n > 1 {
		t.Errorf("%d cookies after the sign-out", n)
	}
}

func signOut(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	b.expire()
	res := b.do("POST", "/api/signout", "")
	b.want(res, 200, "")
	count := make(map[string]int)
	for _, c := range res.Cookies() {
		count[c.Name]++
	}
	if !a.repeats && (count["__Host-access"] != 1 || count["__Host-refresh"] != 1) {
		t.Errorf("cookies %v", res.Header["Set-Cookie"])
	}
	b.want(b.do("GET", "/api/me", ""), 401, "")
}

func basicAuth(t *testing.T, a *adapter) {
	b, _, _ := a.browser(t)
	b.signIn()
	for _, header := range []string{"Basic c3RhZ2luZzpzZWNyZXQ=", ""} {
		b.want(b.do("GET", "/api/me", "", "Authorization", header), 200, "alice")
		b.expire()
		res := b.do("GET", "/api/me", "", "Authorization", header)
		b.want(res, 200, "alice")
		b.renewed(res, a.keepsCache)
	}
	b.want(b.do("GET", "/api/me", "", "Authorization", "Bearer null"), 401, "")
}

// Frameworks that use the memory of a request again must not make the kit
// take one token for another of the same length.
func bearer(t *testing.T, a *adapter) {
	b, kit, _ := a.browser(t)
	good := kit.SignIn(authtest.User{Subject: "alice"}).Grant.AccessToken
	other := kit.SignIn(authtest.User{Subject: "carol"}).Grant.AccessToken
	b.http.Jar = nil
	for range 3 {
		b.want(b.do("GET", "/api/me", "", "Authorization", "Bearer "+good), 200, "alice")
		b.want(b.do("GET", "/api/me", "", "Authorization", "Bearer "+strings.Repeat("x", len(good))), 401, "")
		b.want(b.do("GET", "/api/me", "", "Authorization", "Bearer "+other), 200, "carol")
	}
}
