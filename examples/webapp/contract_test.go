package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

func TestMain(m *testing.M) {
	iterations = 1000
	logLevel = slog.LevelDebug
	redis.SetLogger(quiet{})
	status := m.Run()
	// No secret that the whole suite saw may be where it does not belong.
	for _, leak := range issued.leaks() {
		fmt.Println("leak:", leak)
		status = 1
	}
	if text, complete := issued.account(); complete {
		fmt.Println("searched for leaks:", text)
	} else if f := flag.Lookup("test.run"); f.Value.String() == "" && status == 0 {
		fmt.Println("too little was searched for leaks:", text)
		status = 1
	}
	if line := redistest.LeftOut(); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	os.Exit(status)
}

// serveDemo runs the program as main does, and returns where it listens.
func serveDemo(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), in, &stderr)
		in.Close()
	}()
	t.Cleanup(func() {
		for i, arg := range args {
			switch arg {
			case "-redis":
				issued.redis(args[i+1])
			case "-keys":
				issued.keys(args[i+1])
			}
		}
		stop()
		defer func() { issued.note("logs", stderr.String()) }()
		select {
		case code := <-status:
			if code != 0 {
				t.Errorf("exit status %d after a shutdown\n%s", code, stderr.String())
			}
		case <-time.After(15 * time.Second):
			t.Error("the program does not end")
		}
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("first line %q, %v\n%s", line, err, stderr.String())
	}
	go io.Copy(io.Discard, lines)
	return base
}

// A browser keeps cookies and says who it is.
type browser struct {
	t       testing.TB
	base    string
	mu      sync.Mutex
	cookies map[string]string
	header  http.Header
}

func newBrowser(t testing.TB, base string) *browser {
	return &browser{t: t, base: base, cookies: make(map[string]string), header: http.Header{"User-Agent": {"contract-test/1.0"}}}
}

func (b *browser) clone(base string) *browser {
	c := newBrowser(b.t, base)
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, v := range b.cookies {
		c.cookies[k] = v
	}
	c.header = b.header.Clone()
	return c
}

// An answer is a response, read.
type answer struct {
	*http.Response
	text string
}

func (a *answer) String() string { return fmt.Sprintf("%d %.200s", a.StatusCode, a.text) }

// member returns a member of a JSON body.
func (a *answer) member(name string) any {
	var m map[string]any
	json.Unmarshal([]byte(a.text), &m)
	return m[name]
}

var noRedirects = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       30 * time.Second,
}

// do sends a request. A body that begins with { is JSON, any other a form;
// headers are "Name: value", and override.
func (b *browser) do(method, path, body string, headers ...string) *answer {
	b.t.Helper()
	req, err := http.NewRequest(method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = b.header.Clone()
	switch {
	case strings.HasPrefix(body, "{"):
		req.Header.Set("Content-Type", "application/json")
	case body != "":
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.mu.Lock()
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	b.mu.Unlock()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := noRedirects.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	issued.response(res, string(text))
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := make(map[string]bool)
	for _, c := range res.Cookies() {
		if seen[c.Name] {
			b.t.Errorf("%s %s sets %s twice", method, path, c.Name)
		}
		seen[c.Name] = true
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return &answer{res, string(text)}
}

// want does a request and checks the status and, for errors, the code.
func (b *browser) want(status int, code, method, path, body string, headers ...string) *answer {
	b.t.Helper()
	a := b.do(method, path, body, headers...)
	if a.StatusCode != status || code != "" && a.member("error") != code {
		b.t.Errorf("%s %s %s = %d %s, want %d %s", method, path, body, a.StatusCode, a.text, status, code)
	}
	if a.StatusCode >= 400 && !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") && method != "HEAD" {
		if a.member("error") == nil || a.member("error_description") == nil {
			b.t.Errorf("%s %s: error without its members: %s", method, path, a.text)
		}
	}
	return a
}

func (b *browser) signIn(user, password string) *answer {
	b.t.Helper()
	return b.want(200, "", "POST", "/login", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password))
}

type pair struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	SessionID    string `json:"session_id"`
}

func (a *answer) pair(t testing.TB) (p pair) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), &p); err != nil || p.AccessToken == "" || p.RefreshToken == "" || p.TokenType != "Bearer" && p.TokenType != "DPoP" || p.ExpiresIn <= 0 || p.SessionID == "" {
		t.Fatalf("no token pair: %s", a.text)
	}
	return p
}

func (b *browser) bodyLogin(user, password string) pair {
	b.t.Helper()
	a := b.want(200, "", "POST", "/login", fmt.Sprintf(`{"username":%q,"password":%q,"transport":"body"}`, user, password))
	if len(a.Cookies()) > 0 {
		b.t.Error("body mode sets cookies")
	}
	return a.pair(b.t)
}

func TestLogin(t *testing.T) {
	base := serveDemo(t)
	b := newBrowser(t, base)
	a := b.signIn("alice", "wonderland")
	if a.member("subject") != "alice" || a.member("session_id") == nil || a.member("expires_in") != 600.0 {
		t.Errorf("login says %s", a.text)
	}
	if strings.Contains(a.text, b.cookies["__Host-refresh"]) || len(b.cookies) != 4 {
		t.Errorf("cookies %v, body %s", b.cookies, a.text)
	}
	for _, c := range a.Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite == 0 || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %s", c)
		}
		// What rotates is on disk, and what ends with the browser is constant.
		if onDisk := c.Name == "__Host-device" || c.Name == "__Host-refresh"; (c.MaxAge != 0) != onDisk {
			t.Errorf("a login that is not remembered: %s", c)
		}
	}
	a = newBrowser(t, base).want(200, "", "POST", "/login", `{"username":"bob","password":"builder","remember":true,"transport":"cookie"}`)
	for _, c := range a.Cookies() {
		if c.Name == "__Host-refresh" && c.MaxAge != 336*3600+601 {
			t.Errorf("a remembered login: %s", c)
		}
	}
	newBrowser(t, base).bodyLogin("carol", "keyboard")

	form := newBrowser(t, base)
	a = form.want(303, "", "POST", "/login", "username=bob&password=builder&return_to=%2Faccount%3Fx%3D1")
	if a.Header.Get("Location") != "/account?x=1" || len(form.cookies) != 4 {
		t.Errorf("form: Location %q, cookies %v", a.Header.Get("Location"), form.cookies)
	}
	for _, evil := range []string{"//evil.example", `/\evil.example`, "https://evil.example/", "", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b"} {
		a := newBrowser(t, base).want(303, "", "POST", "/login", "username=bob&password=builder&return_to="+url.QueryEscape(evil))
		if a.Header.Get("Location") != "/" {
			t.Errorf("return_to %q leads to %q", evil, a.Header.Get("Location"))
		}
	}

	n := newBrowser(t, base)
	for _, row := range []struct {
		status int
		code   string
		body   string
		header string
	}{
		{401, "invalid_credentials", `{"username":"alice","password":"wrong"}`, ""},
		{401, "invalid_credentials", `{"username":"nobody","password":"wonderland"}`, ""},
		{401, "invalid_credentials", "username=alice&password=wrong", ""},
		{400, "invalid_request", `{"username":"alice","password":"wonderland"`, ""},
		{400, "invalid_request", `{"username":"alice","password":"wonderland"} {}`, ""},
		{400, "invalid_request", `{"username":"alice","username":"bob","password":"wonderland"}`, ""},
		{400, "invalid_request", `{"username":7,"password":"wonderland"}`, ""},
		{400, "invalid_request", `{"username":"alice","password":"wonderland","remember":"yes"}`, ""},
		{400, "invalid_request", `{"username":"alice","password":"wonderland","transport":"pigeon"}`, ""},
		{400, "invalid_request", `{"username":"alice"}`, ""},
		{400, "invalid_request", `{"USERNAME":"alice","PASSWORD":"wonderland"}`, ""},
		{400, "invalid_request", "username=alice&username=bob&password=wonderland", ""},
		{400, "invalid_request", "username=%zz", ""},
		{415, "invalid_request", "username=alice&password=wonderland", "Content-Type: text/plain"},
		{413, "invalid_request", `{"username":"` + strings.Repeat("a", 20<<10) + `"}`, ""},
		{403, "", `{"username":"alice","password":"wonderland"}`, "Sec-Fetch-Site: cross-site"},
		{403, "", `{"username":"alice","password":"wonderland"}`, "Origin: https://evil.example"},
		{403, "", "username=alice&password=wonderland", "Origin: null"},
	} {
		var headers []string
		if row.header != "" {
			headers = append(headers, row.header)
		}
		if a := n.want(row.status, row.code, "POST", "/login", row.body, headers...); len(a.Cookies()) > 0 {
			t.Errorf("%s sets cookies", row.body)
		}
	}
	n.want(405, "invalid_request", "PUT", "/login", "{}")

	page := n.want(200, "", "GET", "/login?return_to=%2Faccount%22%3E%3Cscript%3E", "")
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || strings.Contains(page.text, `"><script>`) {
		t.Errorf("sign-in page: %s", page.text)
	}
	if page := n.want(200, "", "GET", "/login?return_to=%2Faccount", ""); !strings.Contains(page.text, `value="/account"`) {
		t.Error("the form forgets return_to")
	}
	if page := n.want(200, "", "GET", "/login?return_to=%2F%2Fevil.example", ""); strings.Contains(page.text, "evil") {
		t.Error("the form keeps an evil return_to")
	}
}

func TestLoginEndsTheSessionThatTheBrowserCameWith(t *testing.T) {
	b := newBrowser(t, serveDemo(t))
	b.signIn("alice", "wonderland")
	old := b.clone(b.base)
	b.signIn("bob", "builder")
	old.want(401, "", "GET", "/api/me", "")
	old.want(401, "invalid_grant", "POST", "/auth/token/refresh", "")
	if b.cookies["__Host-device"] == "" {
		t.Error("the device is forgotten")
	}
	if a := b.want(200, "", "GET", "/api/me", ""); a.member("subject") != "bob" {
		t.Errorf("signed in as %s", a.text)
	}
}

func TestProtectedEndpoints(t *testing.T) {
	base := serveDemo(t)
	b, n := newBrowser(t, base), newBrowser(t, base)
	b.signIn("bob", "builder")
	p := newBrowser(t, base).bodyLogin("alice", "wonderland")
	bearer := "Authorization: Bearer " + p.AccessToken

	a := b.want(200, "", "GET", "/api/me", "")
	if a.member("subject") != "bob" || fmt.Sprint(a.member("roles")) != "[]" || a.member("auth_time") == nil || a.member("expires_in").(float64) < 590 {
		t.Errorf("me: %s", a.text)
	}
	a = n.want(200, "", "GET", "/api/me", "", bearer)
	if a.member("subject") != "alice" || a.member("session_id") != p.SessionID || fmt.Sprint(a.member("roles")) != "[admin]" {
		t.Errorf("me: %s", a.text)
	}
	a = n.want(401, "", "GET", "/api/me", "")
	if a.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
	}
	a = n.want(401, "invalid_token", "GET", "/api/me", "", bearer+"x")
	if !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate: %q", a.Header.Get("WWW-Authenticate"))
	}
	b.want(401, "invalid_token", "GET", "/api/me", "", "Authorization: Bearer nonsense") // the header alone decides
	n.want(401, "", "GET", "/api/me?access_token="+p.AccessToken, "")
	n.want(400, "invalid_request", "GET", "/api/me?access_token="+p.AccessToken, "", bearer)

	if a := b.want(200, "", "GET", "/api/public", ""); a.text != `{"subject":"bob"}`+"\n" {
		t.Errorf("public: %q", a.text)
	}
	if a := n.want(200, "", "GET", "/api/public", ""); a.text != `{"subject":null}`+"\n" {
		t.Errorf("public: %q", a.text)
	}
	n.want(200, "", "GET", "/api/public", "", "Authorization: Bearer nonsense")

	n.want(200, "", "GET", "/api/admin", "", bearer)
	b.want(403, "insufficient_scope", "GET", "/api/admin", "")
	n.want(401, "", "GET", "/api/admin", "")

	b.want(200, "", "POST", "/api/transfer", "")
	n.want(200, "", "POST", "/api/transfer", "", bearer)
	b.want(403, "", "POST", "/api/transfer", "", "Sec-Fetch-Site: cross-site")
	b.want(403, "", "POST", "/api/transfer", "", "Sec-Fetch-Site: same-site")

	if a := b.want(200, "", "GET", "/account", ""); !strings.Contains(a.text, "bob") {
		t.Error("the account page does not know its user")
	}
	for _, h := range []string{"Accept: text/html", "Sec-Fetch-Mode: navigate"} {
		if a := n.want(303, "", "GET", "/account", "", h); a.Header.Get("Location") != "/login?return_to=%2Faccount" {
			t.Errorf("%s: Location %q", h, a.Header.Get("Location"))
		}
	}
	n.want(401, "", "GET", "/account", "")
	n.want(401, "", "GET", "/api/stream", "")
	for _, path := range []string{"/api/me", "/api/stream", "/account"} {
		if a := b.want(405, "invalid_request", "DELETE", path, ""); !strings.Contains(a.Header.Get("Allow"), "GET") {
			t.Errorf("%s: Allow %q", path, a.Header.Get("Allow"))
		}
	}
	n.want(404, "not_found", "GET", "/api/nothing", "")
	n.want(200, "", "GET", "/healthz", "")
	n.want(200, "", "GET", "/", "")
	if a := n.want(200, "", "GET", "/.well-known/jwks.json", ""); !strings.Contains(a.text, `"kty":"OKP"`) || strings.Contains(a.text, `"d"`) {
		t.Errorf("JWKS: %s", a.text)
	}
}

// rotate refreshes by cookie until the session moves on: a young generation is
// not rotated.
func (b *browser) rotate() *answer {
	b.t.Helper()
	for before := b.cookies["__Host-refresh"]; ; {
		a := b.answered("")
		if b.cookies["__Host-refresh"] != before || b.t.Failed() {
			return a
		}
	}
}

// answered refreshes until it is answered: with a short settle time an answer
// that takes long comes too late to be used.
func (b *browser) answered(body string) *answer {
	b.t.Helper()
	for {
		a := b.do("POST", "/auth/token/refresh", body)
		if a.StatusCode == 503 {
			continue
		}
		if a.StatusCode != 200 {
			b.t.Errorf("POST /auth/token/refresh: %d %s", a.StatusCode, a.text)
		}
		return a
	}
}

// rotatePair is rotate for a native app.
func (b *browser) rotatePair(p pair) pair {
	b.t.Helper()
	for {
		next := b.answered(fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken)).pair(b.t)
		if next.RefreshToken != p.RefreshToken || b.t.Failed() {
			return next
		}
	}
}

func TestRefreshEndpoint(t *testing.T) {
	base := serveDemo(t, "-settle", "20ms") // so that a generation is rotated after 10 ms
	const path = "/auth/token/refresh"
	b, n := newBrowser(t, base), newBrowser(t, base)
	b.signIn("bob", "builder")
	before := b.cookies["__Host-refresh"]
	a := b.rotate()
	if a.text != `{"expires_in":600}`+"\n" || b.cookies["__Host-refresh"] == before || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("cookie mode: %s, rotated %v", a.text, b.cookies["__Host-refresh"] != before)
	}
	b.want(200, "", "POST", path, `{}`)
	b.want(400, "invalid_request", "POST", path, fmt.Sprintf(`{"refresh_token":%q}`, before))

	p := n.bodyLogin("alice", "wonderland")
	second := n.rotatePair(p)
	if second.RefreshToken == p.RefreshToken || second.SessionID != p.SessionID {
		t.Error("JSON mode does not rotate")
	}
	again := n.want(200, "", "POST", path, fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken)).pair(t)
	if again.RefreshToken != second.RefreshToken {
		t.Error("a lost response is answered with another successor")
	}
	third := n.rotatePair(second)
	n.want(200, "", "POST", path, "grant_type=refresh_token&refresh_token="+third.RefreshToken).pair(t)

	for _, row := range []struct {
		status int
		code   string
		body   string
		header string
	}{
		{400, "invalid_grant", `{"refresh_token":"nonsense"}`, ""},
		{400, "invalid_grant", "grant_type=refresh_token&refresh_token=nonsense", ""},
		{401, "invalid_grant", "", ""},
		{400, "invalid_request", "{", ""},
		{400, "invalid_request", `{"refresh_token":"a","refresh_token":"b"}`, ""},
		{400, "invalid_request", `{"refresh_token":7}`, ""},
		{400, "invalid_request", `{"REFRESH_TOKEN":"a"}`, ""},
		{400, "invalid_request", `[]`, "Content-Type: application/json"},
		{400, "invalid_request", "grant_type=refresh_token", ""},
		{400, "invalid_request", "grant_type=refresh_token&refresh_token=a&refresh_token=b", ""},
		{400, "invalid_request", "refresh_token=a", ""},
		{400, "unsupported_grant_type", "grant_type=password&refresh_token=a", ""},
		{415, "invalid_request", "hello", "Content-Type: text/plain"},
		{413, "invalid_request", `{"refresh_token":"` + strings.Repeat("a", 20<<10) + `"}`, ""},
	} {
		var headers []string
		if row.header != "" {
			headers = append(headers, row.header)
		}
		n.want(row.status, row.code, "POST", path, row.body, headers...)
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
		if a := n.want(405, "", method, path, ""); a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", method, a.Header.Get("Allow"))
		}
	}
	// None of that did the session any harm.
	n.want(200, "", "POST", path, fmt.Sprintf(`{"refresh_token":%q}`, third.RefreshToken)).pair(t)
	// A token of two generations ago is theft, and kills the family.
	n.want(400, "invalid_grant", "POST", path, fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken))
	n.want(401, "", "GET", "/api/me", "", "Authorization: Bearer "+third.AccessToken)
}

func TestDeviceIDOfANativeClient(t *testing.T) {
	base := serveDemo(t)
	n := newBrowser(t, base)
	n.header.Set("X-Device-ID", "phone-1")
	p := n.bodyLogin("alice", "wonderland")
	body := fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken)
	other := newBrowser(t, base)
	other.want(400, "invalid_grant", "POST", "/auth/token/refresh", body)
	other.want(400, "invalid_grant", "POST", "/auth/token/refresh", body, "X-Device-ID: phone-2")
	// A device that changes what it calls itself is the same device; one that
	// has no id is known by that alone.
	n.want(200, "", "POST", "/auth/token/refresh", body, "User-Agent: desktop/1.0").pair(t)
	nameless := newBrowser(t, base)
	body = fmt.Sprintf(`{"refresh_token":%q}`, nameless.bodyLogin("bob", "builder").RefreshToken)
	nameless.want(400, "invalid_grant", "POST", "/auth/token/refresh", body, "User-Agent: thief/1.0")
	nameless.want(200, "", "POST", "/auth/token/refresh", body, "User-Agent: contract-test/2.0").pair(t) // an update
}

func TestLogout(t *testing.T) {
	base := serveDemo(t)
	b := newBrowser(t, base)
	b.signIn("alice", "wonderland")
	copied := b.clone(base)
	b.want(403, "", "POST", "/auth/logout", "", "Sec-Fetch-Site: cross-site")
	b.want(405, "", "GET", "/auth/logout", "")
	b.want(200, "", "GET", "/api/me", "")
	b.want(204, "", "POST", "/auth/logout", "")
	if b.cookies["__Host-refresh"] != "" || b.cookies["__Host-access"] != "" {
		t.Errorf("cookies after logout: %v", b.cookies)
	}
	copied.want(401, "", "GET", "/api/me", "")
	copied.want(401, "invalid_grant", "POST", "/auth/token/refresh", "")
	b.want(204, "", "POST", "/auth/logout", "")
	newBrowser(t, base).want(204, "", "POST", "/auth/logout", "")

	n := newBrowser(t, base)
	p := n.bodyLogin("alice", "wonderland")
	n.want(204, "", "POST", "/auth/logout", "", "Authorization: Bearer "+p.AccessToken)
	n.want(401, "", "GET", "/api/me", "", "Authorization: Bearer "+p.AccessToken)
	p = n.bodyLogin("alice", "wonderland")
	n.want(204, "", "POST", "/auth/logout", fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken))
	n.want(401, "", "GET", "/api/me", "", "Authorization: Bearer "+p.AccessToken)

	// Everywhere.
	b.signIn("alice", "wonderland")
	other := newBrowser(t, base)
	other.signIn("alice", "wonderland")
	bob := newBrowser(t, base)
	bob.signIn("bob", "builder")
	newBrowser(t, base).want(401, "", "POST", "/auth/logout-all", "")
	b.want(204, "", "POST", "/auth/logout-all", "")
	other.want(401, "", "GET", "/api/me", "")
	bob.want(200, "", "GET", "/api/me", "")
}

// nextMillisecond waits until a login is newer than the one before: which of
// two in one millisecond is the older, nobody can say.
func nextMillisecond() {
	for began := time.Now().UnixMilli(); time.Now().UnixMilli() == began; {
		runtime.Gosched()
	}
}

func TestSessionsList(t *testing.T) {
	base := serveDemo(t)
	b := newBrowser(t, base)
	b.signIn("alice", "wonderland")
	nextMillisecond()
	phone := newBrowser(t, base)
	phone.header.Set("User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1")
	phone.signIn("alice", "wonderland")
	bob := newBrowser(t, base)
	bob.signIn("bob", "builder")

	newBrowser(t, base).want(401, "", "GET", "/auth/sessions", "")
	a := b.want(200, "", "GET", "/auth/sessions", "")
	var list struct {
		Sessions []struct {
			ID        string `json:"id"`
			Current   bool   `json:"current"`
			CreatedAt string `json:"created_at"`
			LastUsed  string `json:"last_used_at"`
			UserAgent string `json:"user_agent"`
			IP        string `json:"ip"`
		} `json:"sessions"`
	}
	if err := json.Unmarshal([]byte(a.text), &list); err != nil || len(list.Sessions) != 2 {
		t.Fatalf("sessions: %s", a.text)
	}
	newest, oldest := list.Sessions[0], list.Sessions[1]
	if newest.UserAgent != "Safari on iPhone" || newest.Current || !oldest.Current || oldest.UserAgent != "contract-test/1.0" || oldest.IP != "127.0.0.1" || oldest.CreatedAt == "" || oldest.LastUsed == "" {
		t.Errorf("sessions: %s", a.text)
	}
	for _, id := range []string{"nonsense", "AAAAAAAAAAAAAAAAAAAAAA", bob.want(200, "", "GET", "/api/me", "").member("session_id").(string)} {
		b.want(404, "not_found", "DELETE", "/auth/sessions/"+id, "")
	}
	bob.want(200, "", "GET", "/api/me", "")
	b.want(403, "", "DELETE", "/auth/sessions/"+newest.ID, "", "Sec-Fetch-Site: cross-site")
	b.want(204, "", "DELETE", "/auth/sessions/"+newest.ID, "")
	phone.want(401, "", "GET", "/api/me", "")
	b.want(200, "", "GET", "/api/me", "")
	b.want(204, "", "DELETE", "/auth/sessions/"+oldest.ID, "")
	b.want(401, "", "GET", "/api/me", "")
}

func TestPasswordAndDeactivation(t *testing.T) {
	base := serveDemo(t)
	b, other, admin := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
	b.signIn("bob", "builder")
	other.signIn("bob", "builder")
	admin.signIn("alice", "wonderland")

	newBrowser(t, base).want(401, "", "POST", "/api/password", `{"old":"builder","new":"x"}`)
	b.want(403, "", "POST", "/api/password", `{"old":"wrong","new":"x"}`)
	b.want(400, "invalid_request", "POST", "/api/password", `{"old":"builder"}`)
	b.want(400, "invalid_request", "POST", "/api/password", `{`)
	other.want(200, "", "GET", "/api/me", "")
	b.want(204, "", "POST", "/api/password", `{"old":"builder","new":"mason"}`)
	b.want(200, "", "GET", "/api/me", "")
	b.want(200, "", "POST", "/auth/token/refresh", "")
	other.want(401, "", "GET", "/api/me", "")
	newBrowser(t, base).want(401, "invalid_credentials", "POST", "/login", `{"username":"bob","password":"builder"}`)
	other.signIn("bob", "mason")

	b.want(403, "insufficient_scope", "POST", "/admin/users/carol/deactivate", "")
	newBrowser(t, base).want(401, "", "POST", "/admin/users/carol/deactivate", "")
	admin.want(404, "not_found", "POST", "/admin/users/mallory/deactivate", "")
	admin.want(204, "", "POST", "/admin/users/bob/deactivate", "")
	b.want(401, "", "GET", "/api/me", "")
	b.want(401, "invalid_grant", "POST", "/auth/token/refresh", "")
	other.want(401, "", "GET", "/api/me", "")
	newBrowser(t, base).want(401, "invalid_credentials", "POST", "/login", `{"username":"bob","password":"mason"}`)
	admin.want(204, "", "POST", "/admin/users/bob/activate", "")
	newBrowser(t, base).signIn("bob", "mason")
}

// expired waits until the browser's access token has run out, which a request
// that must not renew it tells.
func expired(t *testing.T, b *browser) {
	t.Helper()
	token := b.cookies["__Host-access"]
	redistest.Await(t, 10*time.Second, "the access token expires", func() bool {
		return newBrowser(t, b.base).do("GET", "/api/me", "", "Authorization: Bearer "+token).StatusCode == 401
	})
}

func TestRenewal(t *testing.T) {
	base := serveDemo(t, "-access-ttl", "1s")
	b := newBrowser(t, base)
	b.signIn("alice", "wonderland")
	authTime := b.do("GET", "/api/me", "").member("auth_time")
	expired(t, b)
	old := b.clone(base)
	a := b.want(200, "", "GET", "/api/me", "")
	if len(a.Cookies()) != 2 || a.Header.Get("Cache-Control") != "no-store" || a.member("auth_time") != authTime || a.member("generation") != 1.0 {
		t.Errorf("renewed: %v, %v, %s", a.Cookies(), a.Header, a.text)
	}
	expired(t, b)
	b.want(403, "", "POST", "/api/transfer", "", "Sec-Fetch-Site: cross-site")
	expired(t, b)

	// 100 requests at once: all succeed, with one successor.
	before := b.cookies["__Host-refresh"]
	var wg sync.WaitGroup
	clones := make([]*browser, 100)
	for i := range clones {
		clones[i] = b.clone(base)
		wg.Go(func() { clones[i].want(200, "", "GET", "/api/me", "") })
	}
	wg.Wait()
	successors := make(map[string]bool)
	for _, c := range clones {
		successors[c.cookies["__Host-refresh"]] = true
	}
	if len(successors) != 1 || successors[before] {
		t.Errorf("%d successors", len(successors))
	}

	// Whoever still has the cookies of two generations ago is a thief.
	clones[0].want(200, "", "POST", "/auth/token/refresh", "")
	expired(t, clones[0])
	old.want(401, "", "GET", "/api/me", "")
	clones[0].want(401, "", "GET", "/api/me", "")
}

func TestSettling(t *testing.T) {
	base := serveDemo(t, "-access-ttl", "2s", "-settle", "100ms")
	b := newBrowser(t, base)
	b.signIn("alice", "wonderland")
	old := b.clone(base)
	b.want(200, "", "POST", "/auth/token/refresh", "")
	old.clone(base).want(200, "", "POST", "/auth/token/refresh", "") // a lost response
	// The access token in use grows older than the settle time, and then the
	// predecessor is dead.
	redistest.Await(t, 10*time.Second, "the generation settles", func() bool {
		if b.do("GET", "/api/me", "").StatusCode != 200 {
			return true
		}
		return old.clone(base).do("POST", "/auth/token/refresh", "").StatusCode == 401
	})
	b.want(401, "invalid_grant", "POST", "/auth/token/refresh", "")
}

func TestLifetimesAndLimits(t *testing.T) {
	base := serveDemo(t, "-access-ttl", "1s", "-absolute", "2s", "-max-sessions", "1", "-insecure-cookies")
	b := newBrowser(t, base)
	b.want(200, "", "POST", "/login", `{"username":"alice","password":"wonderland","remember":true}`)
	if b.cookies["access"] == "" || b.cookies["refresh"] == "" || b.cookies["device"] == "" {
		t.Errorf("cookies %v", b.cookies)
	}
	nextMillisecond()
	second := newBrowser(t, base)
	second.signIn("alice", "wonderland")
	b.want(401, "", "GET", "/api/me", "")
	redistest.Await(t, 10*time.Second, "the session ends, however busy it is", func() bool {
		return second.do("POST", "/auth/token/refresh", "").StatusCode == 401
	})
	second.want(401, "", "GET", "/api/me", "")
}

func TestStreamEndsWithTheSession(t *testing.T) {
	base := serveDemo(t, "-access-ttl", "1s")
	b := newBrowser(t, base)
	p := b.bodyLogin("alice", "wonderland")
	req, _ := http.NewRequest("GET", base+"/api/stream", nil)
	req.Header.Set("Authorization", "Bearer "+p.AccessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for range 3 { // longer than the access token lives
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: ") {
			t.Fatalf("stream: %q, %v", line, err)
		}
		lines.ReadString('\n')
	}
	b.want(204, "", "POST", "/auth/logout", fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken))
	ended := make(chan struct{})
	go func() { io.Copy(io.Discard, lines); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the stream outlives its session")
	}
}

func TestTwoInstancesOnOneRedis(t *testing.T) {
	server := redistest.Start(t)
	args := []string{"-redis", "redis://" + server.Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem"), "-access-ttl", "5s", "-settle", "1s"}
	one, two := serveDemo(t, args...), serveDemo(t, args...)

	b := newBrowser(t, one)
	b.signIn("alice", "wonderland")
	there := b.clone(two)
	there.want(200, "", "GET", "/api/me", "")
	there.want(200, "", "POST", "/auth/token/refresh", "")
	b.want(200, "", "POST", "/auth/token/refresh", "")
	if b.cookies["__Host-refresh"] != there.cookies["__Host-refresh"] {
		t.Error("two instances made two successors")
	}

	// 100 requests with one session, over both instances.
	expired(t, b)
	var wg sync.WaitGroup
	clones := make([]*browser, 100)
	for i := range clones {
		clones[i] = b.clone([]string{one, two}[i%2])
		wg.Go(func() { clones[i].want(200, "", "GET", "/api/me", "") })
	}
	wg.Wait()
	successors := make(map[string]bool)
	for _, c := range clones {
		successors[c.cookies["__Host-refresh"]] = true
	}
	if len(successors) != 1 {
		t.Errorf("%d successors", len(successors))
	}

	// A logout on one is known on the other within a second, without asking
	// the store: the access token there is still good otherwise.
	onOne, onTwo := clones[0], clones[1]
	onTwo.want(200, "", "GET", "/api/me", "")
	onOne.want(204, "", "POST", "/auth/logout", "")
	began := time.Now()
	bearer := "Authorization: Bearer " + onTwo.cookies["__Host-access"]
	redistest.Await(t, 10*time.Second, "the other instance hears of the logout", func() bool {
		return newBrowser(t, two).do("GET", "/api/me", "", bearer).StatusCode == 401
	})
	if d := time.Since(began); d > time.Second {
		t.Errorf("the other instance heard of the logout after %v", d)
	}

	// The store goes away: valid access tokens work on, renewals are told to
	// try again and lose nothing.
	b.signIn("bob", "builder")
	server.Pause()
	b.want(200, "", "GET", "/api/me", "")
	before := fmt.Sprint(b.cookies)
	if a := b.want(503, "", "POST", "/auth/token/refresh", ""); a.Header.Get("Retry-After") == "" || len(a.Cookies()) > 0 || fmt.Sprint(b.cookies) != before {
		t.Errorf("while the store is away: %v", a.Header)
	}
	b.want(503, "", "GET", "/healthz", "")
	b.want(503, "", "POST", "/api/password", `{"old":"builder","new":"wrecker"}`)
	server.Resume()
	redistest.Await(t, 10*time.Second, "the store is back", func() bool { return b.do("GET", "/healthz", "").StatusCode == 200 })
	b.want(200, "", "POST", "/auth/token/refresh", "")
	newBrowser(t, one).signIn("bob", "builder") // the old password, on any instance
	newBrowser(t, two).signIn("bob", "builder")
}

func TestAlgorithms(t *testing.T) {
	for _, alg := range []string{"EdDSA", "ES256", "PS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			b := newBrowser(t, serveDemo(t, "-alg", alg))
			b.signIn("alice", "wonderland")
			b.want(200, "", "GET", "/api/me", "")
			var set struct {
				Keys []map[string]any `json:"keys"`
			}
			a := b.want(200, "", "GET", "/.well-known/jwks.json", "")
			if err := json.Unmarshal([]byte(a.text), &set); err != nil || set.Keys == nil || (alg == "HS256") != (len(set.Keys) == 0) {
				t.Errorf("JWKS: %s", a.text)
			}
		})
	}
}

func TestKeysOutliveTheProgram(t *testing.T) {
	server := redistest.Start(t)
	args := []string{"-redis", "redis://" + server.Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem")}
	b := newBrowser(t, serveDemo(t, args...))
	b.signIn("alice", "wonderland")
	again := b.clone(serveDemo(t, args...))
	again.want(200, "", "GET", "/api/me", "")
	again.want(200, "", "POST", "/auth/token/refresh", "")
}

func TestThief(t *testing.T) {
	b := newBrowser(t, serveDemo(t, "-settle", "20ms"))
	newBrowser(t, b.base).want(401, "", "POST", "/demo/replay", "")
	b.signIn("alice", "wonderland")
	b.want(404, "not_found", "POST", "/demo/replay", "")
	b.want(204, "", "POST", "/demo/steal", "")
	b.rotate()
	b.rotate()
	if a := b.want(200, "", "POST", "/demo/replay", ""); a.member("outcome") != "reuse_detected" {
		t.Errorf("the thief hears %s", a.text)
	}
	b.want(401, "", "GET", "/api/me", "")
}

// A thief with all cookies is let in where there is no device key, and costs the
// owner nothing.
func TestThiefWithAllCookies(t *testing.T) {
	b := newBrowser(t, serveDemo(t, "-settle", "20ms"))
	newBrowser(t, b.base).want(401, "", "POST", "/demo/steal-all", "")
	b.signIn("alice", "wonderland")
	for range 3 {
		a := b.want(200, "", "POST", "/demo/steal-all", "")
		if a.member("outcome") != "accepted" || a.member("device_bound") != false || len(a.Cookies()) > 0 {
			t.Errorf("the thief hears %s, cookies %v", a.text, a.Cookies())
		}
		b.rotate()
	}
	b.want(200, "", "GET", "/api/me", "")
}

func TestPages(t *testing.T) {
	b := newBrowser(t, serveDemo(t))
	b.want(303, "", "POST", "/login", "username=alice&password=wonderland")
	for _, path := range []string{"/", "/account", "/login"} {
		a := b.want(200, "", "GET", path, "")
		if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
		if strings.Contains(a.text, "<style") || strings.Contains(a.text, "onclick") || strings.Contains(a.text, "http://") || strings.Contains(a.text, "https://") {
			t.Errorf("%s has what its policy forbids", path)
		}
	}
	for _, path := range []string{"/assets/style.css", "/assets/app.js"} {
		b.want(200, "", "GET", path, "")
	}
	for _, path := range []string{"/assets/", "/assets/home.html", "/assets/../main.go"} {
		if a := b.do("GET", path, ""); a.StatusCode == 200 {
			t.Errorf("%s is served", path)
		}
	}
	b.want(303, "", "POST", "/logout", "")
	if !slices.Contains([]int{303, 401}, b.do("GET", "/account", "").StatusCode) {
		t.Error("still signed in")
	}
}
