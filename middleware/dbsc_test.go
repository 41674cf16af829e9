package middleware_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
)

// A keyed browser binds its sessions, as Chromium does: it keeps cookies by name,
// and of a session the identifier, the key and the newest challenge.
type keyed struct {
	a       *app
	h       http.Handler
	cookies map[string]string
	ends    map[string]time.Time

	key       *ecdsa.PrivateKey
	offer     string // Secure-Session-Registration
	session   string // the identifier; "" without a session
	challenge string
	posts     int // to the refresh endpoint
}

func newKeyed(t testing.TB, change ...func(*middleware.Config)) *keyed {
	t.Helper()
	a := newApp(t, change...)
	mux := http.NewServeMux()
	mux.Handle("/auth/", a.Handler("/auth"))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.Login(w, r, refresh.Login{Subject: "alice", Remember: r.URL.RawQuery == ""}); err != nil {
			a.WriteError(w, r, err)
		}
	})
	mux.Handle("/open", a.OptionalAuth(greet))
	mux.Handle("/", a.RequireAuth(greet))
	return newKeyedOf(t, a, mux)
}

func newKeyedOf(t testing.TB, a *app, h http.Handler) *keyed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &keyed{a: a, h: h, cookies: make(map[string]string), ends: make(map[string]time.Time), key: key}
}

// copied is a second browser with all cookies of the first, and no key.
func (k *keyed) copied() *keyed {
	thief := newKeyedOf(k.a.t, k.a, k.h)
	thief.cookies, thief.ends = maps.Clone(k.cookies), maps.Clone(k.ends)
	return thief
}

// send sends one request, and keeps what the answer sets.
func (k *keyed) send(method, target string, headers ...string) *http.Response {
	k.a.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	k.expire()
	for name, value := range k.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Cookie" && value == "" {
			r.Header.Del("Cookie")
		}
	}
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, r)
	res := w.Result()
	k.keep(res)
	return res
}

// keep takes from an answer what a browser keeps.
func (k *keyed) keep(res *http.Response) {
	for _, c := range res.Cookies() {
		delete(k.ends, c.Name)
		switch {
		case c.MaxAge < 0 || c.MaxAge == 0 && c.Value == "":
			delete(k.cookies, c.Name)
			continue
		case c.MaxAge > 0:
			k.ends[c.Name] = k.a.now().Add(time.Duration(c.MaxAge) * time.Second)
		}
		k.cookies[c.Name] = c.Value
	}
	if v := res.Header.Get("Secure-Session-Registration"); v != "" {
		k.offer = v
	}
	if m := challengeField.FindStringSubmatch(res.Header.Get("Secure-Session-Challenge")); m != nil && (k.session == "" || m[2] == k.session) {
		k.challenge = m[1]
	}
	if strings.Contains(res.Header.Get("Clear-Site-Data"), `"storage"`) {
		k.session, k.challenge = "", ""
	}
}

// expire forgets cookies whose time is over.
func (k *keyed) expire() {
	for name, end := range k.ends {
		if !k.a.now().Before(end) {
			delete(k.cookies, name)
			delete(k.ends, name)
		}
	}
}

var (
	challengeField = regexp.MustCompile(`^"([A-Za-z0-9_-]+)";id="([A-Za-z0-9_-]+)"$`)
	offerField     = regexp.MustCompile(`^\(ES256 RS256\);path="([^"]+)";challenge="([A-Za-z0-9_-]+)"$`)
)

func (k *keyed) sign(header, payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	input := enc([]byte(header)) + "." + enc([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest[:])
	if err != nil {
		k.a.t.Fatal(err)
	}
	return input + "." + enc(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// registration is the proof for a registration.
func (k *keyed) registration(challenge string) string {
	point, err := k.key.PublicKey.Bytes()
	if err != nil {
		k.a.t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return k.sign(fmt.Sprintf(`{"alg":"ES256","jwk":{"crv":"P-256","kty":"EC","x":"%s","y":"%s"},"typ":"dbsc+jwt"}`, enc(point[1:33]), enc(point[33:])), fmt.Sprintf(`{"jti":"%s"}`, challenge))
}

// proof is the proof for a refresh.
func (k *keyed) proof() string {
	return k.sign(`{"alg":"ES256","typ":"dbsc+jwt"}`, fmt.Sprintf(`{"jti":"%s"}`, k.challenge))
}

const own = "Sec-Fetch-Site: same-origin"

func (k *keyed) signIn() {
	k.a.t.Helper()
	if res := k.send("POST", "/login", own); res.StatusCode != 200 {
		k.a.t.Fatalf("sign-in: %d", res.StatusCode)
	}
}

// register answers the offer, and takes over the session.
func (k *keyed) register(headers ...string) *http.Response {
	k.a.t.Helper()
	m := offerField.FindStringSubmatch(k.offer)
	if m == nil {
		k.a.t.Fatalf("offer %q", k.offer)
	}
	k.session = ""
	res := k.send("POST", m[1], append([]string{own, "Sec-Fetch-Mode: no-cors", "Secure-Session-Response: " + k.registration(m[2])}, headers...)...)
	var config struct {
		Session string `json:"session_identifier"`
	}
	if res.StatusCode == 200 {
		if err := json.NewDecoder(res.Body).Decode(&config); err != nil {
			k.a.t.Fatal(err)
		}
	}
	k.session = config.Session
	return res
}

// refresh renews the session: unsigned when there is no challenge, then signed.
func (k *keyed) refresh(headers ...string) *http.Response {
	k.a.t.Helper()
	for try := 0; ; try++ {
		fields := append([]string{own, "Sec-Fetch-Mode: no-cors", "Sec-Secure-Session-Id: " + k.session}, headers...)
		if k.challenge != "" {
			fields = append(fields, "Secure-Session-Response: "+k.proof())
		}
		k.posts++
		res := k.send("POST", "/auth/dbsc/refresh", fields...)
		if res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != 403 || try == 3 {
			k.session = ""
		}
		if res.StatusCode != 403 || k.session == "" {
			return res
		}
	}
}

// get sends a request of the origin itself: held until the session is renewed.
func (k *keyed) get(target string, headers ...string) *http.Response {
	k.a.t.Helper()
	k.expire()
	if _, ok := k.cookies["__Host-access"]; !ok && k.session != "" {
		k.refresh()
	}
	return k.send("GET", target, append([]string{own}, headers...)...)
}

func (k *keyed) want(status int, what string, res *http.Response) {
	k.a.t.Helper()
	if res.StatusCode != status {
		k.a.t.Errorf("%s: %d, want %d: %s", what, res.StatusCode, status, text(res))
	}
}

func (k *keyed) later(d time.Duration) { k.a.ahead.Add(int64(d)) }

// bound is a browser whose session is bound.
func newBound(t testing.TB, change ...func(*middleware.Config)) *keyed {
	t.Helper()
	k := newKeyed(t, change...)
	k.signIn()
	if res := k.register(); res.StatusCode != 200 {
		t.Fatalf("registration: %d %s", res.StatusCode, text(res))
	}
	if res := k.refresh(); res.StatusCode != 200 || k.a.rec.events[refresh.EventBound] != 1 {
		t.Fatalf("first refresh: %d, %v", res.StatusCode, k.a.rec.events)
	}
	return k
}

// A page is a navigation from elsewhere, typed, or from the origin itself.
func page(site string) []string {
	return []string{"Sec-Fetch-Site: " + site, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html"}
}

func TestABrowserBindsItsSession(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	before := k.a.store.calls.Load()
	res := k.register()
	k.want(200, "registration", res)
	if n := k.a.store.calls.Load() - before; n != 1 {
		t.Errorf("a registration asked the store %d times", n)
	}
	if age := k.ends["__Host-access"].Sub(k.a.now()); age > 2*time.Minute {
		t.Errorf("the first bound access cookie lasts %v: no request would renew it soon", age)
	}
	k.want(200, "the next request", k.get("/"))
	before = k.a.store.calls.Load()
	res = k.refresh()
	k.want(200, "the first signed refresh", res)
	if n := k.a.store.calls.Load() - before; n != 1 || k.posts != 1 {
		t.Errorf("it asked the store %d times in %d requests", n, k.posts)
	}
	if text(res) != "" || res.Header.Get("Secure-Session-Challenge") == "" {
		t.Error("a refresh that has a body or no challenge costs the next one a round trip")
	}
	if k.cookies["__Host-refresh"] != k.session {
		t.Error("the refresh cookie still opens something")
	}
	for range 5 {
		k.later(11 * time.Minute)
		k.posts, before = 0, k.a.store.calls.Load()
		k.want(200, "a request after the access cookie", k.get("/"))
		if n := k.a.store.calls.Load() - before; n != 1 || k.posts != 1 {
			t.Errorf("a refresh took %d requests and %d calls of the store", k.posts, n)
		}
	}
	k.later(3 * time.Hour)
	k.posts = 0
	k.want(200, "a request after hours", k.get("/"))
	if k.posts != 2 {
		t.Errorf("an old challenge: %d requests", k.posts)
	}
	res = k.get("/auth/sessions")
	if body := text(res); !strings.Contains(body, `"device_bound":true`) {
		t.Errorf("the list: %s", body)
	}
}

func TestTheSessionThatABrowserIsTold(t *testing.T) {
	t.Parallel()
	k := newKeyed(t, func(c *middleware.Config) { c.DBSC.RefreshInitiators = []string{"*.example.com"} })
	k.signIn()
	m := offerField.FindStringSubmatch(k.offer)
	if m == nil || m[1] != "/auth/dbsc/register" {
		t.Fatalf("offer %q", k.offer)
	}
	res := k.send("POST", m[1], own, "Sec-Fetch-Mode: no-cors", "Secure-Session-Response: "+k.registration(m[2]))
	got := text(res)
	want := regexp.MustCompile(`^\{"session_identifier":"[A-Za-z0-9_-]+","refresh_url":"/auth/dbsc/refresh","scope":\{"include_site":false\},"credentials":\[\{"type":"cookie","name":"__Host-access","attributes":"Path=/; Secure; HttpOnly; SameSite=Lax"\}\],"allowed_refresh_initiators":\["\*\.example\.com"\]\}\n$`)
	if !want.MatchString(got) || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s\n%v", got, res.Header)
	}
}

// TestACopyOfAllCookiesOpensNothing once the access token has expired: at no
// endpoint, by no header, and whatever the store holds.
func TestACopyOfAllCookiesOpensNothing(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	k.register()
	early := k.copied() // while the session was an ordinary one
	k.refresh()
	thief := k.copied()
	k.want(200, "with the access token's remaining minutes", thief.get("/"))
	k.later(11 * time.Minute)
	for name, thief := range map[string]*keyed{"copied before it was bound": early, "copied after": thief} {
		k.want(401, name+": an API", thief.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
		k.want(401, name+": the refresh endpoint", thief.send("POST", "/auth/token/refresh", own))
		for _, site := range []string{"cross-site", "same-site", "same-origin", "none"} {
			res := thief.send("GET", "/", page(site)...)
			if body := text(res); res.StatusCode == 200 || strings.Contains(body, "alice") {
				t.Errorf("%s: a page from %s: %d %s", name, site, res.StatusCode, body)
			}
		}
		// With a key of his own, and the identifier, which is no secret.
		thief.session = k.session
		k.want(403, name+": unsigned", thief.send("POST", "/auth/dbsc/refresh", own, "Sec-Secure-Session-Id: "+k.session))
		thief.challenge = k.challenge
		k.want(403, name+": signed with another key", thief.send("POST", "/auth/dbsc/refresh", own, "Sec-Secure-Session-Id: "+k.session, "Secure-Session-Response: "+thief.proof()))
		thief.offer = k.offer
		if res := thief.register(); res.StatusCode == 200 {
			t.Errorf("%s: registers a key", name)
		}
	}
	k.want(200, "the owner", k.get("/"))
	if k.a.rec.events[refresh.EventProofMissing] == 0 || k.a.rec.events[refresh.EventBindingFailed] == 0 {
		t.Errorf("events %v", k.a.rec.events)
	}
}

// TestTheIdentifierOpensNothing even after a failover in which the store lost
// that the session is bound.
func TestTheIdentifierOpensNothing(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	k.register()
	thief := k.copied()
	thief.cookies["__Host-refresh"] = k.session // the store knows of no key
	delete(thief.cookies, "__Host-access")
	k.want(401, "an API", thief.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
	k.want(401, "the refresh endpoint", thief.send("POST", "/auth/token/refresh", own))
}

// TestWhatABrowserMayLose: and its user stays signed in.
func TestWhatABrowserMayLose(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*testing.T){
		"the registration": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			for range 3 {
				k.later(11 * time.Minute)
				k.want(200, "an ordinary session", k.get("/"))
			}
		},
		"the answer to the registration, and it is sent again": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			before := maps.Clone(k.cookies)
			first := k.register()
			k.cookies = before
			again := k.register()
			if a, b := first.StatusCode, again.StatusCode; a != 200 || b != 200 {
				t.Fatalf("%d, %d", a, b)
			}
			k.want(200, "the first refresh", k.refresh())
		},
		"the answer to the registration, for good": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			before := maps.Clone(k.cookies)
			k.register()
			k.cookies, k.session, k.ends = before, "", make(map[string]time.Time)
			for range 3 {
				k.later(11 * time.Minute)
				k.want(200, "an ordinary session", k.get("/"))
			}
		},
		"the answer to the refresh that binds": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			k.register()
			before, challenge := maps.Clone(k.cookies), k.challenge
			k.refresh()
			k.cookies, k.challenge, k.ends = before, challenge, make(map[string]time.Time)
			delete(k.cookies, "__Host-access")
			k.want(200, "the same proof again", k.get("/"))
		},
		"the answer to a later refresh": func(t *testing.T) {
			k := newBound(t)
			k.later(11 * time.Minute)
			before, challenge := maps.Clone(k.cookies), k.challenge
			k.refresh()
			k.cookies, k.challenge = before, challenge
			delete(k.cookies, "__Host-access")
			k.want(200, "the same proof again", k.get("/"))
		},
		"all cookies": func(t *testing.T) {
			k := newBound(t)
			clear(k.cookies)
			k.want(200, "the key brings them back", k.get("/"))
			if len(k.cookies) < 2 {
				t.Errorf("cookies %v", k.cookies)
			}
		},
		"all cookies before the session was bound": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			k.register()
			clear(k.cookies)
			k.want(200, "the key brings them back", k.get("/"))
		},
		"the challenge": func(t *testing.T) {
			k := newBound(t)
			k.challenge = ""
			k.later(11 * time.Minute)
			k.want(200, "it is asked to sign", k.get("/"))
		},
		"its newest cookies: an ordinary refresh cookie comes back": func(t *testing.T) {
			k := newKeyed(t)
			k.signIn()
			old := maps.Clone(k.cookies)
			k.register()
			k.refresh()
			k.cookies, k.ends = old, make(map[string]time.Time)
			delete(k.cookies, "__Host-access")
			res := k.send("GET", "/", page("cross-site")...)
			k.want(401, "a link", res)
			if !strings.Contains(text(res), "location.reload()") {
				t.Error("it is not asked to come back")
			}
			k.want(200, "it comes back", k.get("/", page("same-origin")[1:]...))
		},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t) })
	}
}

// TestAStoreThatIsAway signs nobody out: no answer makes the browser forget the
// session, or stop asking.
func TestAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	k := newBound(t)
	k.later(11 * time.Minute)
	k.a.store.away.Store(true)
	for range 5 {
		k.want(200, "the refresh endpoint", k.refresh())
		k.want(503, "an API", k.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
		res := k.send("GET", "/", page("same-origin")...)
		k.want(503, "a page", res)
		if body := text(res); !strings.Contains(body, "still signed in") {
			t.Errorf("the page says %s", body)
		}
		k.later(2 * time.Second)
		k.want(503, "a page from elsewhere", k.send("GET", "/", page("cross-site")...))
	}
	// The store answers the guard, and did not answer the endpoint.
	k.refresh()
	k.a.store.away.Store(false)
	k.want(503, "a page", k.send("GET", "/", page("same-origin")...))
	k.want(503, "an API", k.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
	k.later(2 * time.Second)
	k.want(200, "a page", k.get("/", page("same-origin")[1:]...))
	if k.a.rec.events[refresh.EventInvalidToken] != 0 {
		t.Error("what we set ourselves counts as forged")
	}
}

// TestClocksApart: an instance's clock is ahead of the one that made the access
// token, or the answer was long on its way: the browser still has a cookie whose
// token has run out. It renews beside the request, and does not hold it back.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"typed": page("none"), "from the origin": page("same-origin"), "from elsewhere": page("cross-site"), "an API": {own, "Sec-Fetch-Mode: cors"},
	} {
		for _, apart := range []time.Duration{time.Second, 20 * time.Second, 45 * time.Second, 20 * time.Minute} {
			k := newBound(t)
			k.later(k.ends["__Host-access"].Sub(k.a.now()) - time.Second)
			k.later(apart)
			for name, end := range k.ends {
				k.ends[name] = end.Add(apart)
			}
			within := apart < 30*time.Second
			res := k.send("GET", "/", headers...)
			switch body := text(res); {
			case within && res.StatusCode == 200:
			case !within && headers[1] != "Sec-Fetch-Mode: cors" && strings.Contains(body, renewMark):
			case !within && headers[1] == "Sec-Fetch-Mode: cors" && strings.Contains(body, proofMark):
			default:
				t.Errorf("clocks %v apart, %s: %d %s %s", apart, name, res.StatusCode, res.Header.Get("Location"), body)
			}
			if _, held := k.cookies["__Host-access"]; held != within {
				t.Errorf("clocks %v apart, %s: the browser has the cookie: %v", apart, name, held)
			}
			k.want(200, "the next request", k.get("/"))
			if k.a.rec.of(refresh.EventProofMissing) > 0 {
				t.Errorf("clocks %v apart, %s: counted as a thief", apart, name)
			}
		}
	}
}

// TestWhatANavigationOfABoundSessionGets: the table of answers.
func TestWhatANavigationOfABoundSessionGets(t *testing.T) {
	t.Parallel()
	k := newBound(t)
	k.later(11 * time.Minute)
	skip := func(reason string) string { return "Secure-Session-Skipped: " + reason }
	top := func(site string, more ...string) []string { return append(page(site), more...) }
	for _, tt := range []struct {
		name    string
		method  string
		headers []string
		status  int
		want    string // in the body or the Location
	}{
		{"a link from another site", "GET", top("cross-site"), 401, renewMark},
		{"a link from another host of the site", "GET", top("same-site"), 401, renewMark},
		{"typed, and the browser could not renew", "GET", top("none", skip(`unreachable;session_identifier="x"`)), 503, retryMark},
		{"from the origin, and the quota is spent", "GET", top("same-origin", skip("quota_exceeded")), 503, retryMark},
		{"from another site, and it tried", "GET", top("cross-site", skip("server_error")), 503, retryMark},
		{"from the origin, and it has no key", "GET", top("same-origin"), 303, "/login"},
		{"typed, and it has no key", "GET", top("none"), 303, "/login"},
		{"a frame from another site", "GET", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 401, proofMark},
		{"a fetch", "GET", []string{own, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 401, proofMark},
		{"a fetch, and the browser could not renew", "GET", []string{own, "Sec-Fetch-Mode: cors", skip("something new")}, 503, "temporarily_unavailable"},
		{"a form from another site", "POST", top("cross-site"), 403, "cross_origin"},
		{"without Sec-Fetch headers", "GET", []string{"Accept: text/html"}, 303, "/login"},
	} {
		res := k.send(tt.method, "/page?q=1", tt.headers...)
		body := text(res) + res.Header.Get("Location")
		if res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", tt.name, res.StatusCode, body)
		}
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", tt.name)
		}
	}
	// A crash has taken the cookies.
	none := *k
	none.cookies = make(map[string]string)
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		want    string
	}{
		{"typed, and the browser could not renew", top("none", skip("unreachable")), 503, retryMark},
		{"from the origin, and it could not", top("same-origin", skip("quota_exceeded")), 503, retryMark},
		{"a fetch, and it could not", []string{own, "Sec-Fetch-Mode: cors", skip("server_error")}, 503, "temporarily_unavailable"},
		{"typed, and it has no key", top("none"), 303, "/login"},
		{"a link from another site: nobody can tell", top("cross-site"), 303, "/login"},
	} {
		res := none.send("GET", "/page", tt.headers...)
		if body := text(res) + res.Header.Get("Location"); res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("without cookies, %s: %d %s", tt.name, res.StatusCode, body)
		}
	}
	res := k.send("GET", "/open", top("cross-site")...)
	k.want(401, "a page for everybody, which shows who is there", res)
	if got := text(k.send("GET", "/open", top("same-origin")...)); got != "nobody" {
		t.Errorf("a page for everybody: %s", got)
	}
}

const (
	renewMark = "location.reload()"
	retryMark = "still signed in"
	proofMark = "device_proof_required"
)

// TestTheRenewPage comes back to the same address, runs one script, and cannot be
// made to lead elsewhere.
func TestTheRenewPage(t *testing.T) {
	t.Parallel()
	k := newBound(t, func(c *middleware.Config) { c.DBSC.RenewPage = "<p>Einen Moment</p>" })
	k.later(11 * time.Minute)
	for target, again := range map[string]string{
		"/a?q=1&b=2":                    `0; url=/a?q=1&amp;b=2"`,
		`/a?q=%22%3E%3Cscript`:          `0; url=/a?q=%22%3E%3Cscript"`,
		"/a?'onload='x":                 `0; url=/a?&#39;onload=&#39;x"`,
		"//evil.example/":               "",
		"/" + strings.Repeat("a", 3000): "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		for name, value := range k.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		for _, h := range page("cross-site") {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		k.h.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code != 401 || !strings.Contains(body, "Einen Moment") || strings.Count(body, "<script") != 1 {
			t.Errorf("%s: %d %s", target, w.Code, body)
		}
		if again == "" && strings.Contains(body, "http-equiv") || !strings.Contains(body, again) {
			t.Errorf("%s: %s", target, body)
		}
		csp := w.Header().Get("Content-Security-Policy")
		script := body[strings.Index(body, "<script>")+8 : strings.Index(body, "</script>")]
		sum := sha256.Sum256([]byte(script))
		if !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %s", csp)
		}
		if m := challengeField.FindStringSubmatch(w.Header().Get("Secure-Session-Challenge")); m == nil || m[2] != k.session {
			t.Errorf("challenge %q", w.Header().Get("Secure-Session-Challenge"))
		}
	}
}

// TestRegistrationsThatAreRefused: and the session stays an ordinary one.
func TestRegistrationsThatAreRefused(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	m := offerField.FindStringSubmatch(k.offer)
	other := newKeyedOf(t, k.a, k.h)
	other.signIn()
	ticket := offerField.FindStringSubmatch(other.offer)[2]
	for name, tt := range map[string]struct {
		status int
		fields []string
	}{
		"by a script":                  {400, []string{"Sec-Fetch-Mode: cors", "Secure-Session-Response: " + k.registration(m[2])}},
		"without a proof":              {400, []string{"Sec-Fetch-Mode: no-cors"}},
		"for another session":          {400, []string{"Sec-Fetch-Mode: no-cors", "Secure-Session-Response: " + k.registration(ticket)}},
		"over a challenge not of ours": {400, []string{"Sec-Fetch-Mode: no-cors", "Secure-Session-Response: " + k.registration("x")}},
		"over an altered challenge":    {400, []string{"Sec-Fetch-Mode: no-cors", "Secure-Session-Response: " + k.registration("A"+m[2][1:])}},
		"with an altered signature":    {400, []string{"Sec-Fetch-Mode: no-cors", "Secure-Session-Response: " + k.registration(m[2]) + "A"}},
	} {
		res := k.send("POST", m[1], append(tt.fields, own)...)
		k.want(tt.status, name, res)
	}
	k.later(3 * time.Minute)
	k.want(400, "too late", k.register())
	k.later(11 * time.Minute)
	k.want(200, "the session", k.get("/"))
}

// TestAKeyThatWasRegisteredWithoutCookies binds the session together with its
// refresh cookie only: a script that reads the answer to a sign-in could send its
// challenge to a stranger, and cannot read the cookie.
func TestAKeyThatWasRegisteredWithoutCookies(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	k.want(200, "registration", k.register("Cookie: "))
	res := k.refresh("Cookie: ")
	k.want(200, "without cookies the browser keeps the session", res)
	if len(res.Cookies()) != 0 || k.a.rec.events[refresh.EventBound] != 0 {
		t.Fatal("and the session is not bound")
	}
	res = k.refresh()
	k.want(200, "with them", res)
	if k.a.rec.events[refresh.EventBound] != 1 {
		t.Error("it is bound")
	}
	k.want(200, "then they may be absent", k.refresh("Cookie: "))
}

// TestTwoKeysForOneSession: whichever signs first has it, and is not disturbed.
func TestTwoKeysForOneSession(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	k.signIn()
	second := k.copied()
	second.offer = k.offer
	k.want(200, "the first key", k.register())
	k.want(200, "the second key", second.register())
	k.want(200, "the first signs", k.refresh())
	k.want(401, "the second", second.refresh())
	second.cookies = maps.Clone(k.cookies)
	k.want(409, "the second again", second.register())
	k.want(200, "the first again: the same answer", k.register())
	k.want(200, "and goes on", k.refresh())
}

func TestSignOutOfABoundSession(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]string{
		"with all cookies":              {own},
		"with the refresh cookie alone": {own, "Drop: access"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newBound(t)
			session, challenge, cookies := k.session, k.challenge, maps.Clone(k.cookies)
			if len(headers) > 1 {
				delete(k.cookies, "__Host-access")
			}
			res := k.send("POST", "/auth/logout", own)
			k.want(204, "sign-out", res)
			if got := res.Header.Get("Clear-Site-Data"); got != `"storage"` {
				t.Errorf("Clear-Site-Data: %s", got)
			}
			// A refresh that was under way, and what it brought back.
			k.session, k.challenge, k.cookies = session, challenge, cookies
			k.want(401, "a late refresh", k.refresh())
			k.want(401, "what it had brought", k.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
			k.want(303, "a page", k.send("GET", "/", page("cross-site")...))
		})
	}
	t.Run("without cookies, while the key cannot be used", func(t *testing.T) {
		t.Parallel()
		k := newBound(t)
		clear(k.cookies)
		res := k.send("POST", "/auth/logout", own, `Secure-Session-Skipped: unreachable;session_identifier="x"`)
		k.want(503, "a sign-out that can end nothing", res)
		if len(res.Cookies()) > 0 || res.Header.Get("Clear-Site-Data") != "" || res.Header.Get("Retry-After") == "" {
			t.Errorf("%v", res.Header)
		}
		skip := "Secure-Session-Skipped: unreachable"
		k.want(503, "a script that renews", k.send("POST", "/auth/token/refresh", own, skip))
		k.want(503, "how the session stands", k.send("GET", "/auth/session", own, skip))
		// The store was away when the browser signed.
		k.cookies["__Host-access"] = "not-renewed"
		k.want(503, "a sign-out", k.send("POST", "/auth/logout", own))
		k.want(503, "a script that renews", k.send("POST", "/auth/token/refresh", own))
		k.want(503, "how the session stands", k.send("GET", "/auth/session", own))
		k.want(503, "a fetch", k.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
		if res := k.send("GET", "/", page("none")...); res.StatusCode != 503 || !strings.Contains(text(res), retryMark) {
			t.Errorf("a page: %d", res.StatusCode)
		}
		clear(k.cookies)
		k.want(200, "the key can be used again", k.refresh())
		k.want(204, "the sign-out", k.send("POST", "/auth/logout", own))
		k.want(401, "afterwards", k.send("GET", "/", own, "Sec-Fetch-Mode: cors"))
	})
}

// TestALoginThatEndsWithItsBrowser ends for a key as well.
func TestALoginThatEndsWithItsBrowser(t *testing.T) {
	t.Parallel()
	k := newKeyed(t)
	if res := k.send("POST", "/login?short", own); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	k.register()
	k.want(200, "while it is open", k.refresh())
	k.later(11 * time.Minute)
	k.want(200, "a request that another site caused has no cookies", k.refresh("Cookie: "))
	if _, ok := k.cookies["__Host-access"]; ok {
		t.Error("and gets none")
	}
	delete(k.cookies, "__Host-browser")
	k.want(401, "after it was closed", k.refresh())
}

// TestTheRefreshCookieOfAnotherSession ends the older session in the browser.
func TestTheRefreshCookieOfAnotherSession(t *testing.T) {
	t.Parallel()
	k := newBound(t)
	old, challenge := k.session, k.challenge
	clear(k.cookies) // so that the sign-in does not end it
	k.signIn()
	k.session, k.challenge = old, challenge
	k.want(401, "the older session", k.refresh())
	k.want(200, "the newer one", k.get("/"))
}

// TestWhereNoKeyIsOffered: browsers would not keep their part of it.
func TestWhereNoKeyIsOffered(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]cookie.Config{
		"plain http":                {InsecureHTTP: true},
		"a cookie of several hosts": {Domain: "example.com"},
		"the prefix __Host-Http-":   {HostHTTP: true},
	} {
		k := newKeyed(t, func(c *middleware.Config) {
			cfg.Keys = middleware.CookieKeys(c.Sessions.Access().Keys())
			jar, err := cookie.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.Cookies = jar
		})
		k.signIn()
		if k.offer != "" {
			t.Errorf("%s: %s", name, k.offer)
		}
	}
	k := newKeyed(t, func(c *middleware.Config) { c.DBSC.Path = "/app/auth/" })
	k.signIn()
	if !strings.Contains(k.offer, `path="/app/auth/dbsc/register"`) {
		t.Errorf("behind a proxy: %s", k.offer)
	}
}

func TestBadDBSCSettings(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, d := range []middleware.DBSC{
		{RefreshInitiators: []string{"https://other.example"}}, {RefreshInitiators: []string{"other.example:8080"}},
		{RefreshInitiators: []string{"**"}}, {RefreshInitiators: []string{"other.*"}}, {RefreshInitiators: []string{""}},
		{RefreshInitiators: []string{"Other.example"}}, {Path: "auth"}, {Path: "//evil.example"}, {Path: `/a"b`},
	} {
		if _, err := middleware.New(middleware.Config{Sessions: a.sessions, DBSC: d}); err == nil || !strings.Contains(err.Error(), "Config.DBSC.") {
			t.Errorf("%+v: %v", d, err)
		}
	}
	if _, err := middleware.New(middleware.Config{Sessions: a.sessions, DBSC: middleware.DBSC{RefreshInitiators: []string{"*", "*.test", "other.example"}}}); err != nil {
		t.Error(err)
	}
}

// TestABrowserThatShouldHaveBound is told of once.
func TestABrowserThatShouldHaveBound(t *testing.T) {
	t.Parallel()
	const windows = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36"
	for version, events := range map[int]int{150: 1, 140: 0} {
		k := newKeyed(t)
		k.signIn()
		for range 3 {
			k.later(11 * time.Minute)
			k.want(200, "a request", k.get("/", fmt.Sprintf(windows, version)))
		}
		if n := k.a.rec.events[refresh.EventBindingMissing]; n != events {
			t.Errorf("Chrome %d: %d events", version, n)
		}
	}
}
