package openapi

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A service is an app with the kit's endpoints.
type service struct {
	*sessionkit.Kit
	h     http.Handler
	store *store
	huge  atomic.Bool // the claims fit into no token
}

func start(t *testing.T, cookies cookie.Config) *service {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	memory, err := family.NewMemoryStore(family.MemoryConfig{})
	must(err)
	keys, err := access.GenerateKeys(access.EdDSA)
	must(err)
	ring, err := access.NewKeyRing(keys)
	must(err)
	s := &service{store: &store{Store: memory}}
	s.Kit, err = sessionkit.New(sessionkit.Config{
		Issuer: origin, Keys: ring, Store: s.store, LoginPath: "/login", Cookies: cookies,
		Claims: func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
			if s.huge.Load() {
				return refresh.SubjectClaims{Custom: map[string]string{"x": strings.Repeat("x", 1<<16)}}, nil
			}
			return refresh.SubjectClaims{Roles: []string{"admin"}}, nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	must(err)
	t.Cleanup(func() { s.Close() })
	mux := http.NewServeMux()
	mux.Handle("/auth/", s.Handler("/auth"))
	mux.Handle("/.well-known/jwks.json", s.Keys.JWKS())
	s.h = mux
	return s
}

// signIn is a browser with a session.
func (s *service) signIn(t *testing.T, l refresh.Login) (*client, *refresh.Grant) {
	t.Helper()
	var g *refresh.Grant
	c := newClient(t, nil)
	c.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if g, err = s.Login(w, r, l); err != nil {
			t.Fatal(err)
		}
	})
	c.send(c.request("POST", "/login", nil))
	c.h = s.h
	return c, g
}

// signInNative is the refresh token of a native app.
func (s *service) signInNative(t *testing.T) string {
	t.Helper()
	g, err := s.LoginNative(newClient(t, nil).request("POST", "/login", nil, "X-Device-ID: phone"), refresh.Login{Subject: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	return g.RefreshToken
}

const (
	asJSON, asForm = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
	phone          = "X-Device-ID: phone"
	elsewhere      = "Sec-Fetch-Site: cross-site"
	byBrowser      = "Sec-Fetch-Mode: no-cors"

	token, session, list, one  = "/auth/token/refresh", "/auth/session", "/auth/sessions", "/auth/sessions/x"
	logout, logoutAll          = "/auth/logout", "/auth/logout-all"
	register, sign, publicKeys = "/auth/dbsc/register", "/auth/dbsc/refresh", "/.well-known/jwks.json"
)

var (
	twice    = []string{"Authorization: Bearer a", "Authorization: Bearer b"}
	page     = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin"}
	link     = []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", elsewhere}
	notNow   = append(slices.Clone(page), "Secure-Session-Skipped: unreachable")
	upgraded = []string{elsewhere, "Connection: Upgrade", "Upgrade: websocket"}
)

// try sends a request, and holds the answer to the document.
func (d *document) try(c *client, method, path, body, want string, headers ...string) *http.Response {
	c.t.Helper()
	r := c.request(method, path, strings.NewReader(body), headers...)
	if body == "" {
		r = c.request(method, path, nil, headers...)
	}
	res := c.send(r)
	d.check(c.t, r, body, res, want)
	return res
}

func TestTheDocumentSaysWhatIsAnswered(t *testing.T) {
	d := open(t)
	t.Run("it is OpenAPI 3.1", func(t *testing.T) {
		if ok, errs := d.ValidateDocument(); !ok {
			t.Error(errs)
		}
	})
	for name, f := range map[string]func(*testing.T, *document){
		"refresh": tryRefresh, "logout": tryLogout, "session": trySession, "guarded": tryGuarded,
		"device keys": tryKeys, "the store is away": tryOutage, "claims that cannot be issued": tryHuge,
	} {
		t.Run(name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) { f(t, d) })
		})
	}
	if t.Failed() {
		return
	}
	for answer := range d.answers() {
		if !d.seen[answer] {
			t.Errorf("the document has %q, which no request was answered with", answer)
		}
	}
}

func tryRefresh(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	nobody, native := newClient(t, s.h), s.signInNative(t)
	alice, _ := s.signIn(t, refresh.Login{Subject: "alice"})
	bound := s.bound(t, d)
	d.try(alice, "POST", token, "", "200")
	d.try(nobody, "POST", token, `{"refresh_token":"`+native+`"}`, "200", asJSON, phone)
	d.try(nobody, "POST", token, "grant_type=refresh_token&refresh_token="+native, "200", asForm, phone)
	d.try(bound.without(), "POST", token, "", "303", page...)
	d.try(nobody, "POST", token, `{"refresh_token":"x"}`, "400 invalid_grant", asJSON)
	for _, body := range []string{"[", "{}", `{"refresh_token":"x","refresh_token":"x"}`, `{"refresh_token":1}`} {
		d.try(nobody, "POST", token, body, "400 invalid_request", asJSON)
	}
	for _, body := range []string{"%", "a=b&a=b", "refresh_token=x", "grant_type=refresh_token"} {
		d.try(nobody, "POST", token, body, "400 invalid_request", asForm)
	}
	d.try(alice, "POST", token, `{"refresh_token":"x"}`, "400 invalid_request", asJSON)
	d.try(alice, "POST", token, "", "400 invalid_request", nobody.proof("POST", token, ""))
	d.try(nobody, "POST", token, "grant_type=password", "400 unsupported_grant_type", asForm)
	d.try(nobody, "POST", token, `{"refresh_token":"`+native+`"}`, "400 invalid_dpop_proof", asJSON, phone, "DPoP: x")
	d.try(nobody, "POST", token, `{"refresh_token":"`+native+`"}`, "400 use_dpop_nonce", asJSON, phone, nobody.proof("POST", token, ""))
	d.try(nobody, "POST", token, "", "401 invalid_grant")
	d.try(bound.without(), "POST", token, "", "401 device_proof_required")
	d.try(alice, "POST", token, "", "403 cross_origin", elsewhere)
	d.try(nobody, "POST", token, strings.Repeat("x", 20<<10), "413 invalid_request", asJSON)
	d.try(nobody, "POST", token, "x", "415 invalid_request", "Content-Type: text/plain")
	d.try(nobody, "POST", token, "x", "415 invalid_request")
	late := nobody.request("POST", token, io.NopCloser(slow{}), asJSON)
	d.check(t, late, "", nobody.send(late), "408 invalid_request")
}

func tryLogout(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	alice, _ := s.signIn(t, refresh.Login{Subject: "alice"})
	d.try(alice, "POST", logout, "", "400 invalid_request", twice...)
	d.try(alice, "POST", logout, "", "403 cross_origin", elsewhere)
	d.try(alice, "POST", logout, "", "204")
	d.try(alice, "POST", logout, "", "204")
	d.try(newClient(t, s.h), "POST", logout, `{"refresh_token":"`+s.signInNative(t)+`"}`, "204", asJSON)
}

func trySession(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	nobody := newClient(t, s.h)
	alice, g := s.signIn(t, refresh.Login{Subject: "alice", Data: "desk"})
	support, _ := s.signIn(t, refresh.Login{Subject: "alice", Actor: "sam", Reason: "ticket 7"})
	bound := s.bound(t, d)
	for _, c := range []*client{alice, support, bound, nobody} {
		d.try(c, "GET", session, "", "200")
	}
	d.try(nobody, "GET", session, "", "200", "Authorization: Bearer "+g.AccessToken)
	d.try(alice.without(), "GET", session, "", "200")
	d.try(alice, "GET", session, "", "400 invalid_request", twice...)
	d.try(nobody, "GET", session, "", "401 use_dpop_nonce", "Authorization: DPoP "+g.AccessToken, nobody.proof("GET", session, g.AccessToken))
	d.try(bound.without(), "GET", session, "", "401 device_proof_required")
	d.try(bound, "GET", session, "", "303", page...)
	d.try(bound, "GET", session, "", "401 html", link...)
	d.try(bound, "GET", session, "", "503 html", notNow...)
	d.try(nobody, "GET", publicKeys, "", "200")
}

func tryGuarded(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	nobody := newClient(t, s.h)
	alice, g := s.signIn(t, refresh.Login{Subject: "alice"})
	support, _ := s.signIn(t, refresh.Login{Subject: "alice", Actor: "sam", Reason: "ticket 7"})
	bound := s.bound(t, d).without()
	for _, at := range []struct{ method, path string }{{"GET", list}, {"DELETE", one}, {"POST", logoutAll}} {
		d.try(nobody, at.method, at.path, "", "303", page...)
		d.try(nobody, at.method, at.path, "", "400 invalid_request", twice...)
		d.try(nobody, at.method, at.path, "", "401 unauthorized")
		d.try(nobody, at.method, at.path, "", "401 invalid_token", "Authorization: Bearer x")
		d.try(nobody, at.method, at.path, "", "401 invalid_dpop_proof", "Authorization: DPoP "+g.AccessToken)
		d.try(nobody, at.method, at.path, "", "401 use_dpop_nonce", "Authorization: DPoP "+g.AccessToken, nobody.proof(at.method, at.path, g.AccessToken))
		d.try(bound, at.method, at.path, "", "401 device_proof_required")
		if at.method == "GET" {
			d.try(alice, at.method, at.path, "", "403 cross_origin", upgraded...)
			d.try(bound, at.method, at.path, "", "401 html", link...)
			d.try(bound, at.method, at.path, "", "503 html", notNow...)
			continue
		}
		d.try(alice, at.method, at.path, "", "403 cross_origin", elsewhere)
		d.try(support, at.method, at.path, "", "403 access_denied")
	}
	d.try(alice, "GET", list, "", "200")
	d.try(alice, "DELETE", one, "", "404 not_found")
	_, other := s.signIn(t, refresh.Login{Subject: "alice"})
	d.try(alice, "DELETE", list+"/"+other.Claims.SessionID, "", "204")
	d.try(alice, "POST", logoutAll, "", "204")
}

// bound is a browser whose session is bound to its key.
func (s *service) bound(t *testing.T, d *document) *client {
	t.Helper()
	c, _ := s.signIn(t, refresh.Login{Subject: "bob", Remember: true})
	d.try(c, "POST", register, "", "200", byBrowser, c.register())
	d.try(c, "POST", sign, "", "200", "Sec-Secure-Session-Id: "+c.session, c.signed())
	time.Sleep(time.Minute) // a generation that is younger is not renewed
	return c
}

func tryKeys(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	c := s.bound(t, d)
	d.try(c, "POST", register, "", "400 invalid_request", byBrowser)
	d.try(c, "POST", register, "", "400 invalid_request", "Sec-Fetch-Mode: cors", c.register())
	d.try(c, "POST", register, "", "400 invalid_request", byBrowser, "Secure-Session-Response: x")
	d.try(c, "POST", sign, "", "400 invalid_request")
	d.try(c, "POST", sign, "", "401 invalid_grant", "Sec-Secure-Session-Id: x")
	d.try(c, "POST", sign, "", "403 device_proof_required", "Sec-Secure-Session-Id: "+c.session)
	d.try(c, "POST", sign, "", "200", "Sec-Secure-Session-Id: "+c.session, c.signed())
	second := newClient(t, s.h)
	second.cookies, second.ticket = c.cookies, c.ticket
	d.try(second, "POST", register, "", "409 invalid_request", byBrowser, second.register())
	d.try(c, "POST", logout, "", "204")
	d.try(c, "POST", register, "", "401 invalid_grant", byBrowser, c.register())

	plain := start(t, cookie.Config{InsecureHTTP: true})
	without, g := plain.signIn(t, refresh.Login{Subject: "bob"})
	without.ticket = g.KeyTicket
	d.try(without, "POST", register, "", "404 not_found", byBrowser, without.register())
}

func tryOutage(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	alice, _ := s.signIn(t, refresh.Login{Subject: "alice"})
	native, bound := s.signInNative(t), s.bound(t, d)
	s.store.away.Store(true)
	const away = "503 temporarily_unavailable"
	d.try(alice, "POST", token, "", away)
	d.try(newClient(t, s.h), "POST", token, `{"refresh_token":"`+native+`"}`, away, asJSON, phone)
	d.try(alice, "GET", session, "", away)
	for range 2 {
		d.try(alice, "GET", list, "", away)
		d.try(alice, "POST", logoutAll, "", away)
		d.try(alice.without(), "DELETE", one, "", away)
	}
	d.try(alice, "POST", logout, "", away)
	d.try(bound, "POST", register, "", away, byBrowser, bound.register())
	d.try(bound.without(), "GET", list, "", "503 html", page...)
	res := d.try(bound, "POST", sign, "", "200", "Sec-Secure-Session-Id: "+bound.session, bound.signed())
	if n := len(res.Cookies()); n != 1 || res.Cookies()[0].MaxAge != 1 {
		t.Errorf("cookies %v", res.Cookies())
	}
}

func tryHuge(t *testing.T, d *document) {
	s := start(t, cookie.Config{})
	alice, _ := s.signIn(t, refresh.Login{Subject: "alice"})
	bound := s.bound(t, d)
	s.huge.Store(true)
	const failed = "500 server_error"
	d.try(alice, "POST", token, "", failed)
	d.try(bound, "POST", sign, "", failed, "Sec-Secure-Session-Id: "+bound.session, bound.signed())
	alice.without()
	d.try(alice, "GET", list, "", failed)
	d.try(alice, "POST", logoutAll, "", failed)
	d.try(alice, "DELETE", one, "", failed)
}

// Other methods, and other paths, are answered as the document says of them.
func TestMethodsThatTheDocumentDoesNotHave(t *testing.T) {
	s, d := start(t, cookie.Config{}), open(t)
	for path, operations := range d.Paths {
		allowed := make(map[string]bool)
		for method := range operations {
			allowed[strings.ToUpper(method)] = true
		}
		allowed["HEAD"] = allowed["GET"]
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"} {
			c, _ := s.signIn(t, refresh.Login{Subject: "alice"})
			res := c.send(c.request(method, path, nil))
			if got := res.StatusCode == http.StatusMethodNotAllowed; got == allowed[method] {
				t.Errorf("%s %s: %d", method, path, res.StatusCode)
			}
			if allowed[method] {
				continue
			}
			maps.DeleteFunc(allowed, func(_ string, ok bool) bool { return !ok })
			if allow := strings.Split(res.Header.Get("Allow"), ", "); !slices.Equal(slices.Sorted(slices.Values(allow)), slices.Sorted(maps.Keys(allowed))) {
				t.Errorf("%s %s: Allow %v", method, path, allow)
			}
			if got := what(t, res); got != "405 invalid_request" {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
	}
	c := newClient(t, s.h)
	if got := what(t, c.send(c.request("GET", "/auth/nothing", nil))); got != "404 not_found" {
		t.Error(got)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func first(matches [][]string) (all []string) {
	for _, m := range matches {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Every endpoint that is mounted is in the document, and every code that is
// explained.
func TestTheDocumentIsComplete(t *testing.T) {
	d := open(t)
	mounted := first(regexp.MustCompile(`mux\.Handle\((path\+"[^"]+)"`).FindAllStringSubmatch(read(t, "middleware/endpoints.go")+read(t, "middleware/dbsc.go"), -1))
	var documented []string
	for path := range d.Paths {
		if endpoint, ok := strings.CutPrefix(path, "/auth"); ok {
			documented = append(documented, `path+"`+endpoint)
		}
	}
	slices.Sort(documented)
	if !slices.Equal(mounted, documented) {
		t.Errorf("mounted %q, in the document %q", mounted, documented)
	}
	alice, _ := start(t, cookie.Config{}).signIn(t, refresh.Login{Subject: "alice"})
	for _, scheme := range d.Components.SecuritySchemes {
		if scheme.In == "cookie" && alice.cookies[scheme.Name] == "" {
			t.Errorf("no sign-in sets the cookie %s", scheme.Name)
		}
	}
	explained := first(regexp.MustCompile("(?m)^\\| [0-9, ]+ \\| `([a-z_]+)` \\|").FindAllStringSubmatch(read(t, "docs/errors.md"), -1))
	if codes := d.Components.Schemas.Error.Properties.Error.Enum; len(explained) < 12 || !slices.Equal(codes, explained) {
		t.Errorf("docs/errors.md explains %q, the document has %q", explained, codes)
	}
}
