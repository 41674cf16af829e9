package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	jwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/middleware/authtest"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

func init() { gin.SetMode(gin.ReleaseMode) }

// A library is what an app had: its own sign-in at POST /login, and GET /me.
type library struct {
	app    http.Handler
	old    oldSessions
	cookie string
	// server: the server keeps the sessions, and can end them.
	server bool
	// away makes the store of the library fail; nil where there is none.
	away *atomic.Bool
}

// flaky is a store of scs that is away when a test says so.
type flaky struct {
	scs.Store
	away atomic.Bool
}

func (f *flaky) Find(token string) ([]byte, bool, error) {
	if f.away.Load() {
		return nil, false, errors.New("away")
	}
	return f.Store.Find(token)
}

func useSCS(*testing.T) library {
	store := &flaky{Store: memstore.NewWithCleanupInterval(0)}
	m := scs.New()
	synctest.Wait() // its goroutine is there
	m.Store.(*memstore.MemStore).StopCleanup()
	m.Store, m.Cookie.Secure = store, true
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(_ http.ResponseWriter, r *http.Request) { m.Put(r.Context(), "user", r.FormValue("user")) })
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.GetString(r.Context(), "user")) })
	return library{m.LoadAndSave(mux), scsSessions{m}, "session", true, &store.away}
}

func useGorilla(store sessions.Store, server bool) library {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "app")
		s.Values["user"] = r.FormValue("user")
		s.Save(r, w)
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "app")
		fmt.Fprint(w, s.Values["user"])
	})
	return library{mux, gorillaSessions{store, "app"}, "app", server, nil}
}

var gorillaKey = []byte("0123456789abcdef0123456789abcdef")

func useCookieStore(*testing.T) library {
	store := sessions.NewCookieStore(gorillaKey)
	store.MaxAge(24 * 60 * 60)
	return useGorilla(store, false)
}

func useFilesystemStore(t *testing.T) library {
	store := sessions.NewFilesystemStore(t.TempDir(), gorillaKey)
	store.MaxAge(24 * 60 * 60)
	return useGorilla(store, true)
}

func newGinJWT(t *testing.T) *jwt.GinJWTMiddleware {
	t.Helper()
	mw, err := jwt.New(&jwt.GinJWTMiddleware{
		Realm: "app", Key: gorillaKey, Timeout: time.Hour, MaxRefresh: 24 * time.Hour, IdentityKey: "id",
		SendCookie: true, SecureCookie: true, CookieHTTPOnly: true, TokenLookup: "header: Authorization, cookie: jwt",
		PayloadFunc:   func(data any) jwt.MapClaims { return jwt.MapClaims{"id": data} },
		Authenticator: func(c *gin.Context) (any, error) { return c.Query("user"), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

func useGinJWT(t *testing.T) library {
	mw := newGinJWT(t)
	g := gin.New()
	g.POST("/login", mw.LoginHandler)
	g.GET("/me", mw.MiddlewareFunc(), func(c *gin.Context) { c.String(200, "%v", jwt.ExtractClaims(c)["id"]) })
	return library{g, ginTokens{mw}, "jwt", false, nil}
}

var libraries = map[string]func(*testing.T) library{
	"scs": useSCS, "gorilla/sessions, cookies": useCookieStore, "gorilla/sessions, files": useFilesystemStore, "gin-jwt": useGinJWT,
}

// store is the kit's, which is away when a test says so.
type store struct {
	family.Store
	away atomic.Bool
}

func (s *store) Start(ctx context.Context, r family.StartRequest) (family.StartResult, error) {
	if s.away.Load() {
		return family.StartResult{}, fmt.Errorf("%w: a test", family.ErrUnavailable)
	}
	return s.Store.Start(ctx, r)
}

// A move is an app on its way: the library, and the app that replaces it.
type moving struct {
	library
	kit    *authtest.Kit
	store  *store
	denied atomic.Bool
	app    http.Handler
}

func start(t *testing.T, use func(*testing.T) library) *moving {
	t.Helper()
	memory, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := &moving{library: use(t), store: &store{Store: memory}}
	m.kit = authtest.New(t, sessionkit.Config{Store: m.store, Claims: func(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
		if m.denied.Load() {
			return refresh.SubjectClaims{}, refresh.ErrDenied
		}
		return refresh.SubjectClaims{}, nil
	}})
	me := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie(m.cookie); err == nil {
			t.Error("a handler sees the cookie that was deleted")
		}
		w.Header().Set("Cache-Control", "public, max-age=60")
		fmt.Fprint(w, middleware.Subject(r.Context()))
	})
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	transfer := m.kit.RequireStepUp(middleware.StepUp{MaxAge: time.Hour, ACR: []string{"password"}})(echo)
	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := m.kit.Login(w, r, refresh.Login{Subject: r.FormValue("user"), ACR: "password"}); err != nil {
			m.kit.WriteError(w, r, err)
		}
	})
	m.app = newApp(m.kit.Kit, m.old, login, map[string]http.Handler{"GET /me": me, "POST /echo": echo, "POST /transfer": transfer})
	return m
}

// A browser keeps cookies.
type browser struct {
	mu      sync.Mutex
	cookies map[string]string
}

func (b *browser) send(h http.Handler, method, path, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, "https://app.example"+path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	b.mu.Lock()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	b.mu.Unlock()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w.Result()
}

func text(res *http.Response) string {
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

func want(t *testing.T, res *http.Response, status int, body string) {
	t.Helper()
	if got := text(res); res.StatusCode != status || status == 200 && got != body {
		t.Errorf("%d %q, want %d %q", res.StatusCode, got, status, body)
	}
}

// signedIn is a browser that the old app has signed in.
func (m *moving) signedIn(t *testing.T) *browser {
	t.Helper()
	b := &browser{cookies: make(map[string]string)}
	b.send(m.library.app, "POST", "/login?user=alice", "")
	want(t, b.send(m.library.app, "GET", "/me", ""), 200, "alice")
	if b.cookies[m.cookie] == "" || len(b.cookies) != 1 {
		t.Fatalf("cookies %v", b.cookies)
	}
	return b
}

// sessions counts those in the user's list.
func (m *moving) sessions(t *testing.T, b *browser) int {
	t.Helper()
	var list struct{ Sessions []json.RawMessage }
	if err := json.NewDecoder(b.send(m.app, "GET", "/auth/sessions", "").Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	return len(list.Sessions)
}

func each(t *testing.T, f func(*testing.T, *moving)) {
	for name, use := range libraries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) { f(t, start(t, use)) })
		})
	}
}

func TestAnOldSessionMovesWithoutASignIn(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		res := b.send(m.app, "GET", "/me", "")
		want(t, res, 200, "alice")
		if got := res.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" {
			t.Errorf("Cache-Control %q beside cookies", got)
		}
		if b.cookies[m.cookie] != "" || b.cookies["__Host-refresh"] == "" || b.cookies["__Host-access"] == "" {
			t.Errorf("cookies %v", b.cookies)
		}
		if n := m.sessions(t, b); n != 1 {
			t.Errorf("%d sessions", n)
		}
		// The old code is gone one day.
		want(t, b.send(m.kit.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, middleware.Subject(r.Context()))
		})), "GET", "/me", ""), 200, "alice")
		if n := m.sessions(t, b); n != 1 {
			t.Errorf("%d sessions after the second request", n)
		}
	})
}

// A page that is open while the app is replaced.
func TestTheFirstRequestMayBeAnyRequest(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		for path, body := range map[string]string{"/echo": "the text of a form", "/auth/token/refresh": ""} {
			res := m.signedIn(t).send(m.app, "POST", path, body)
			if res.StatusCode != 200 || path == "/echo" && text(res) != body {
				t.Errorf("POST %s: %d", path, res.StatusCode)
			}
		}
		if got := text(m.signedIn(t).send(m.app, "GET", "/auth/session", "")); !strings.Contains(got, `"subject":"alice"`) {
			t.Error(got)
		}
	})
}

func TestRequestsSentTogetherAreAllServed(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		old := b.cookies[m.cookie]
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				tab := &browser{cookies: map[string]string{m.cookie: old}}
				want(t, tab.send(m.app, "GET", "/me", ""), 200, "alice")
				b.mu.Lock()
				b.cookies = tab.cookies
				b.mu.Unlock()
			})
		}
		wait.Wait()
		time.Sleep(time.Hour)
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
	})
}

func TestACopyOfAMovedSession(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		copied := &browser{cookies: map[string]string{m.cookie: b.cookies[m.cookie]}}
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
		time.Sleep(overlap)
		// Tokens that no server keeps go on until they end, as they always did.
		status := 200
		if m.server {
			status = 401
		}
		want(t, copied.send(m.app, "GET", "/me", ""), status, "alice")
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
	})
}

// A session that the user or an operator has ended does not come back by an old one.
func TestAnEndedSessionDoesNotComeBack(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		old := b.cookies[m.cookie]
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
		if err := m.kit.Sessions.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll); err != nil {
			t.Fatal(err)
		}
		b.cookies[m.cookie] = old
		want(t, b.send(m.app, "GET", "/me", ""), 401, "")
	})
}

func TestSigningOutEndsBoth(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		old := b.cookies[m.cookie]
		if res := b.send(m.app, "POST", "/auth/logout", "", "Sec-Fetch-Site", "cross-site"); res.StatusCode != 403 || b.cookies[m.cookie] == "" {
			t.Errorf("from another origin: %d", res.StatusCode)
		}
		want(t, b.send(m.app, "POST", "/auth/logout", ""), 204, "")
		want(t, b.send(m.app, "GET", "/me", ""), 401, "")
		if m.server {
			b.cookies[m.cookie] = old
			want(t, b.send(m.app, "GET", "/me", ""), 401, "")
		}
		b = m.signedIn(t)
		want(t, b.send(m.app, "POST", "/login?user=bob", ""), 200, "")
		want(t, b.send(m.app, "GET", "/me", ""), 200, "bob")
		if b.cookies[m.cookie] != "" {
			t.Error("a sign-in leaves the old session")
		}
	})
}

func TestNobodyIsSignedOutByAnOutage(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		for _, away := range []*atomic.Bool{&m.store.away, m.library.away} {
			if away == nil {
				continue
			}
			away.Store(true)
			res := b.send(m.app, "GET", "/me", "")
			want(t, res, 503, "")
			if res.Header.Get("Retry-After") == "" || len(res.Cookies()) != 0 {
				t.Errorf("header %v", res.Header)
			}
			away.Store(false)
		}
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
	})
}

func TestWhoIsNotMoved(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		refused := func(name string, b *browser, status int, method, path string, headers ...string) {
			t.Helper()
			res := b.send(m.app, method, path, "", headers...)
			if res.StatusCode != status || b.cookies["__Host-refresh"] != "" {
				t.Errorf("%s: %d, want %d", name, res.StatusCode, status)
			}
		}
		good := m.signedIn(t).cookies[m.cookie]
		for name, value := range map[string]string{"nobody": "", "a forged cookie": "x", "an altered one": good[:len(good)-8] + "AAAAAAAA"} {
			refused(name, &browser{cookies: map[string]string{m.cookie: value}}, 401, "GET", "/me")
		}
		refused("a request from another origin", m.signedIn(t), 403, "POST", "/echo", "Sec-Fetch-Site", "cross-site")
		m.denied.Store(true)
		refused("a user who was deactivated", m.signedIn(t), 401, "GET", "/me")
		m.denied.Store(false)
		late := m.signedIn(t)
		time.Sleep(25 * time.Hour)
		refused("an old session that has ended", late, 401, "GET", "/me")
	})
}

// The user has proved nothing when a session moves.
func TestAMoveIsNoStepUp(t *testing.T) {
	each(t, func(t *testing.T, m *moving) {
		b := m.signedIn(t)
		want(t, b.send(m.app, "POST", "/transfer", ""), 401, "")
		want(t, b.send(m.app, "POST", "/transfer", ""), 401, "")
		want(t, b.send(m.app, "POST", "/login?user=alice", ""), 200, "")
		want(t, b.send(m.app, "POST", "/transfer", "1"), 200, "1")
	})
}

func TestAMoveMakesNoSessionOfSCSLonger(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		m := start(t, useSCS)
		b := m.signedIn(t)
		time.Sleep(23 * time.Hour)
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
		time.Sleep(59 * time.Minute)
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
		time.Sleep(time.Minute)
		want(t, b.send(m.app, "GET", "/me", ""), 401, "")
	})
}

// A page would have refreshed its token.
func TestATokenOfGinJWTThatCouldBeRefreshed(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		m := start(t, useGinJWT)
		b := m.signedIn(t)
		time.Sleep(2 * time.Hour)
		want(t, b.send(m.library.app, "GET", "/me", ""), 401, "")
		want(t, b.send(m.app, "GET", "/me", ""), 200, "alice")
	})
}

// ginAPI is an API of native apps, on gin.
func ginAPI(t *testing.T) http.Handler {
	t.Helper()
	kit, mw := authtest.New(t, sessionkit.Config{}), newGinJWT(t)
	old := ginTokens{mw}
	g := gin.New()
	g.POST("/login", mw.LoginHandler)
	g.GET("/refresh_token", mw.RefreshHandler)
	g.POST("/auth/exchange", gin.WrapF(exchange(kit.Kit, old)))
	g.Any("/auth/token/refresh", gin.WrapH(kit.Handler("/auth")))
	g.GET("/me", either(kit.Kit, old), func(c *gin.Context) { c.String(200, middleware.Subject(c.Request.Context())) })
	g.GET("/role", either(kit.Kit, old), ginGuard(kit.RequireRole("admin")), func(c *gin.Context) { c.String(200, "") })
	return g
}

func oldToken(t *testing.T, res *http.Response) string {
	t.Helper()
	var body struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || body.Token == "" {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	return body.Token
}

func TestNativeAppsOfGinJWT(t *testing.T) {
	t.Parallel()
	faketime.Test(t, func(t *testing.T) {
		api := ginAPI(t)
		app := func() *browser { return &browser{cookies: make(map[string]string)} } // keeps no cookies between requests
		bearer := func(token string) []string {
			return []string{"Authorization", "Bearer " + token, "X-Device-ID", "phone"}
		}
		old := oldToken(t, app().send(api, "POST", "/login?user=alice", ""))

		// Not updated: the old token, and the old way to refresh it.
		want(t, app().send(api, "GET", "/me", "", bearer(old)...), 200, "alice")
		want(t, app().send(api, "GET", "/role", "", bearer(old)...), 401, "")
		time.Sleep(2 * time.Hour)
		want(t, app().send(api, "GET", "/me", "", bearer(old)...), 401, "")
		old = oldToken(t, app().send(api, "GET", "/refresh_token", "", bearer(old)...))
		want(t, app().send(api, "GET", "/me", "", bearer(old)...), 200, "alice")

		// Updated: the last token for a session of the kit, also when it has expired
		// meanwhile, and again when the answer was lost.
		time.Sleep(2 * time.Hour)
		var pair struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		for range 2 {
			res := app().send(api, "POST", "/auth/exchange", "", bearer(old)...)
			if err := json.NewDecoder(res.Body).Decode(&pair); err != nil || res.StatusCode != 200 || len(res.Cookies()) != 0 {
				t.Fatalf("%d, %v", res.StatusCode, err)
			}
		}
		want(t, app().send(api, "GET", "/me", "", bearer(pair.Access)...), 200, "alice")
		time.Sleep(25 * time.Hour)
		res := app().send(api, "POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, pair.Refresh), "Content-Type", "application/json", "X-Device-ID", "phone")
		if res.StatusCode != 200 {
			t.Errorf("refresh: %d %s", res.StatusCode, text(res))
		}

		for name, token := range map[string]string{"too late": old, "junk": "x", "a token of the kit": pair.Access} {
			if res := app().send(api, "POST", "/auth/exchange", "", bearer(token)...); res.StatusCode != 401 {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
		}
		want(t, app().send(api, "GET", "/me", ""), 401, "")
	})
}
