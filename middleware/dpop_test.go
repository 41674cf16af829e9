package middleware_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

const origin = "https://app.example"

// device is a native app with a key of its own.
type device struct {
	t   testing.TB
	key *ecdsa.PrivateKey
	now func() time.Time
}

func newDevice(a *app) *device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return &device{a.t, key, a.now}
}

type object = map[string]any

func (d *device) jwk() object {
	point, err := d.key.PublicKey.Bytes()
	if err != nil {
		d.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return object{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:])}
}

// proof makes a proof, of which change alters header and claims.
func (d *device) proof(method, path, token string, change ...func(header, claims object)) string {
	header := object{"typ": "dpop+jwt", "alg": "ES256", "jwk": d.jwk()}
	claims := object{"jti": rand.Text(), "htm": method, "htu": origin + path, "iat": d.now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	for _, f := range change {
		f(header, claims)
	}
	segment := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			d.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := segment(header) + "." + segment(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, sum[:])
	if err != nil {
		d.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func claim(name string, v any) func(_, claims object) {
	return func(_, claims object) { claims[name] = v }
}

// nativeApp is a server with a sign-in for native apps and routes of all guards.
type nativeApp struct {
	*app
	handler http.Handler
}

func newNativeApp(t testing.TB, change ...func(*middleware.Config)) *nativeApp {
	t.Helper()
	n := &nativeApp{app: newApp(t, append([]func(*middleware.Config){func(c *middleware.Config) { c.DPoP.Origin = origin }}, change...)...)}
	n.serve()
	return n
}

func (n *nativeApp) serve() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		g, err := n.LoginNative(r, refresh.Login{Subject: "alice"})
		if err != nil {
			n.WriteError(w, r, err)
			return
		}
		n.WriteTokens(w, g)
	})
	mux.HandleFunc("POST /cookies", func(w http.ResponseWriter, r *http.Request) {
		if _, err := n.Login(w, r, refresh.Login{Subject: "alice"}); err != nil {
			n.WriteError(w, r, err)
		}
	})
	mux.HandleFunc("POST /again", n.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := n.StepUp(w, r, refresh.AuthContext{})
		if err != nil {
			n.WriteError(w, r, err)
			return
		}
		n.WriteTokens(w, g)
	})).ServeHTTP)
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, middleware.Subject(r.Context())) })
	mux.Handle("/me", n.RequireAuth(n.RequireScope("read")(who)))
	mux.Handle("/live", n.RequireLive(who))
	mux.Handle("/public", n.OptionalAuth(who))
	mux.Handle("/bound", n.RequireStepUp(middleware.StepUp{DeviceBound: true})(who))
	mux.Handle("/recent", n.RequireStepUp(middleware.StepUp{MaxAge: time.Minute})(who))
	mux.Handle("/stripped/", http.StripPrefix("/stripped", n.RequireAuth(who)))
	mux.Handle("/auth/", n.Handler("/auth"))
	n.handler = mux
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
	tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Type    string `json:"token_type"`
		Error   string `json:"error"`
	}
}

func (n *nativeApp) do(method, path, body string, headers ...string) reply {
	n.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "inner:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	a := reply{status: w.Code, header: w.Header(), body: w.Body.String()}
	json.Unmarshal(w.Body.Bytes(), &a.tokens)
	return a
}

func refreshBody(token string) string { return fmt.Sprintf(`{"refresh_token":%q}`, token) }

// signIn signs the device in, bound to its key.
func (n *nativeApp) signIn(d *device) reply {
	n.t.Helper()
	a := n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", ""))
	if a.status != 200 || a.tokens.Type != "DPoP" {
		n.t.Fatalf("sign-in: %d %s", a.status, a.body)
	}
	return a
}

// get sends a request with an access token and a proof.
func (n *nativeApp) get(d *device, method, path, token string, change ...func(header, claims object)) reply {
	n.t.Helper()
	return n.do(method, path, "", "Authorization: DPoP "+token, "DPoP: "+d.proof(method, path, token, change...))
}

func (n *nativeApp) renew(d *device, token string, change ...func(header, claims object)) reply {
	n.t.Helper()
	return n.do("POST", "/auth/token/refresh", refreshBody(token), "DPoP: "+d.proof("POST", "/auth/token/refresh", "", change...))
}

func (a *reply) challenge() string { return a.header.Get("WWW-Authenticate") }

func TestLifeOfABoundNativeSession(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	d := newDevice(n.app)
	tokens := n.signIn(d).tokens
	for i := range 3 {
		for _, path := range []string{"/me", "/live", "/public", "/bound", "/recent?a=b", "/stripped/%7Ex"} {
			if path == "/recent?a=b" && i > 0 {
				continue
			}
			if a := n.get(d, "GET", path, tokens.Access); a.status != 200 || a.body != "alice" {
				t.Errorf("%s: %d %s %s", path, a.status, a.body, a.challenge())
			}
		}
		n.ahead.Add(int64(freshTime))
		a := n.renew(d, tokens.Refresh)
		if a.status != 200 || a.tokens.Type != "DPoP" {
			t.Fatalf("refresh: %d %s", a.status, a.body)
		}
		tokens = a.tokens
	}
	if a := n.get(d, "GET", "/auth/sessions", tokens.Access); !strings.Contains(a.body, `"device_bound":true`) {
		t.Errorf("the list: %s", a.body)
	}
	if a := n.get(d, "GET", "/auth/session", tokens.Access); !strings.Contains(a.body, `"device_bound":true`) {
		t.Errorf("the status: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/recent", tokens.Access); a.status != 401 || !strings.HasPrefix(a.challenge(), `DPoP error="insufficient_user_authentication"`) {
		t.Errorf("the step-up guard: %d %s", a.status, a.challenge())
	}
	again := n.get(d, "POST", "/again", tokens.Access)
	if again.status != 200 || again.tokens.Type != "DPoP" {
		t.Fatalf("step-up: %d %s", again.status, again.body)
	}
	if a := n.get(d, "GET", "/recent", again.tokens.Access); a.status != 200 {
		t.Errorf("after the step-up: %d %s", a.status, a.body)
	}
	if a := n.get(d, "POST", "/auth/logout", again.tokens.Access); a.status != 204 {
		t.Errorf("logout: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/me", again.tokens.Access); a.status != 401 || !strings.HasPrefix(a.challenge(), `DPoP error="invalid_token"`) {
		t.Errorf("after the logout: %d %s", a.status, a.challenge())
	}
	if a := n.renew(d, again.tokens.Refresh); a.status != 400 || a.tokens.Error != "invalid_grant" {
		t.Errorf("a refresh after the logout: %d %s", a.status, a.body)
	}
	other := n.signIn(d).tokens
	if a := n.get(d, "POST", "/auth/logout-all", other.Access); a.status != 204 {
		t.Errorf("logout everywhere: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/me", other.Access); a.status != 401 {
		t.Errorf("after the logout everywhere: %d", a.status)
	}
}

// alterations are what may be wrong with a proof whose signature is good.
func alterations(now time.Time) map[string]func(header, claims object) {
	return map[string]func(header, claims object){
		"another method":         claim("htm", "PUT"),
		"a method in lower case": claim("htm", "get"),
		"another path":           claim("htu", origin+"/other"),
		"another origin":         claim("htu", "https://evil.example/me"),
		"the inner host":         claim("htu", "http://inner:8080/me"),
		"another scheme":         claim("htu", "http://app.example/me"),
		"another port":           claim("htu", "https://app.example:8443/me"),
		"a path alone":           claim("htu", "/me"),
		"no method":              func(_, c object) { delete(c, "htm") },
		"no url":                 func(_, c object) { delete(c, "htu") },
		"no id":                  func(_, c object) { delete(c, "jti") },
		"a short id":             claim("jti", "1"),
		"no date":                func(_, c object) { delete(c, "iat") },
		"a date of text":         claim("iat", "now"),
		"an old one":             claim("iat", now.Add(-2*time.Minute).Unix()),
		"one of the future":      claim("iat", now.Add(2*time.Minute).Unix()),
		"a nonce of its own":     claim("nonce", rand.Text()),
		"another type":           func(h, _ object) { h["typ"] = "JWT" },
		"no algorithm":           func(h, _ object) { h["alg"] = "none" },
		"an algorithm of a secret": func(h, _ object) {
			h["alg"] = "HS256"
		},
		"an algorithm of another key": func(h, _ object) { h["alg"] = "ES384" },
		"no key":                      func(h, _ object) { delete(h, "jwk") },
		"a private key": func(h, _ object) {
			jwk := maps.Clone(h["jwk"].(object))
			jwk["d"] = jwk["x"]
			h["jwk"] = jwk
		},
		"a key that did not sign": func(h, _ object) {
			other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			h["jwk"] = (&device{key: other}).jwk()
		},
		"a critical extension": func(h, _ object) { h["crit"] = []string{"x"} },
	}
}

// dated are the alterations that a recent nonce would mend.
var dated = map[string]bool{"an old one": true, "one of the future": true, "a nonce of its own": true}

func TestAlteredProofsOpenNothing(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	d := newDevice(n.app)
	tokens := n.signIn(d).tokens
	refused := func(name string, a reply, status int, code string) {
		t.Helper()
		if a.status != status || a.tokens.Error != code {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, status, code)
		}
		if status == 401 && (!strings.HasPrefix(a.challenge(), `DPoP error="`+code+`"`) || !strings.HasSuffix(a.challenge(), `algs="`+access.DPoPAlgorithms+`"`)) {
			t.Errorf("%s: the challenge is %s", name, a.challenge())
		}
		if status == 400 && a.challenge() != "" {
			t.Errorf("%s: a challenge: %s", name, a.challenge())
		}
		if nonce := a.header.Get("DPoP-Nonce"); (nonce != "") != (code == "use_dpop_nonce") {
			t.Errorf("%s: the nonce is %q", name, nonce)
		}
	}
	for name, change := range alterations(n.now()) {
		code := "invalid_dpop_proof"
		if dated[name] {
			code = "use_dpop_nonce"
		}
		refused(name, n.get(d, "GET", "/me", tokens.Access, change), 401, code)
		if code == "use_dpop_nonce" {
			refused(name+", optional", n.get(d, "GET", "/public", tokens.Access, change), 401, code)
		} else if a := n.get(d, "GET", "/public", tokens.Access, change); a.status != 200 || a.body != "" {
			t.Errorf("%s, optional: %d %q", name, a.status, a.body)
		}
		refused(name+", refresh", n.renew(d, tokens.Refresh, change), 400, code)
		refused(name+", sign-in", n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", "", change)), 400, code)
	}
	proof := d.proof("GET", "/me", tokens.Access)
	head := "Authorization: DPoP " + tokens.Access
	refused("no proof", n.do("GET", "/me", "", head), 401, "invalid_dpop_proof")
	refused("two proofs", n.do("GET", "/me", "", head, "DPoP: "+proof, "DPoP: "+d.proof("GET", "/me", tokens.Access)), 401, "invalid_dpop_proof")
	refused("an altered signature", n.do("GET", "/me", "", head, "DPoP: "+proof[:len(proof)-8]+"AAAAAAAA"), 401, "invalid_dpop_proof")
	refused("no hash of the token", n.get(d, "GET", "/me", tokens.Access, func(_, c object) { delete(c, "ath") }), 401, "invalid_dpop_proof")
	refused("the hash of another token", n.get(d, "GET", "/me", tokens.Access, claim("ath", strings.Repeat("A", 43))), 401, "invalid_dpop_proof")
	refused("another key", n.get(newDevice(n.app), "GET", "/me", tokens.Access), 401, "invalid_token")
	refused("as Bearer", n.do("GET", "/me", "", "Authorization: Bearer "+tokens.Access), 401, "invalid_token")
	refused("as Bearer with a proof", n.do("GET", "/me", "", "Authorization: Bearer "+tokens.Access, "DPoP: "+proof), 401, "invalid_token")
	refused("refresh without a proof", n.do("POST", "/auth/token/refresh", refreshBody(tokens.Refresh)), 400, "invalid_dpop_proof")
	refused("refresh with another key", n.renew(newDevice(n.app), tokens.Refresh), 400, "invalid_dpop_proof")
	plain := n.do("POST", "/login", "")
	if plain.tokens.Type != "Bearer" {
		t.Fatalf("a sign-in without a proof: %s", plain.body)
	}
	refused("an unbound token as DPoP", n.get(d, "GET", "/me", plain.tokens.Access), 401, "invalid_token")
	if a := n.do("GET", "/bound", "", "Authorization: Bearer "+plain.tokens.Access); a.status != 403 || a.tokens.Error != "device_key_required" {
		t.Errorf("the guard of bound sessions: %d %s", a.status, a.body)
	}
	for name, headers := range map[string][]string{
		"as Bearer":        {"Authorization: Bearer " + tokens.Access},
		"another key":      {"Authorization: DPoP " + tokens.Access, "DPoP: " + newDevice(n.app).proof("GET", "/auth/session", tokens.Access)},
		"no proof":         {"Authorization: DPoP " + tokens.Access},
		"in a cookie":      {"Cookie: __Host-access=" + tokens.Access},
		"an unbound token": {"Authorization: DPoP " + plain.tokens.Access, "DPoP: " + d.proof("GET", "/auth/session", plain.tokens.Access)},
	} {
		if a := n.do("GET", "/auth/session", "", headers...); a.status != 200 || a.body != `{"session":null}`+"\n" {
			t.Errorf("the status, %s: %d %s", name, a.status, a.body)
		}
	}
	if n.rec.count(refresh.EventProofMissing) == 0 || n.rec.count(refresh.EventProofRefused) == 0 {
		t.Error("no events")
	}
	if a := n.get(d, "GET", "/me", tokens.Access); a.status != 200 {
		t.Errorf("its owner: %d %s", a.status, a.body)
	}
	if a := n.renew(d, tokens.Refresh); a.status != 200 {
		t.Errorf("a refresh of its owner: %d %s", a.status, a.body)
	}
}

// TestACopiedBoundTokenSettlesNothing: that it was shown proves nothing of its
// client, which may have lost the answer that it came with.
func TestACopiedBoundTokenSettlesNothing(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	d := newDevice(n.app)
	first := n.signIn(d).tokens
	n.ahead.Add(int64(freshTime))
	lost := n.renew(d, first.Refresh).tokens
	n.ahead.Add(int64(2 * time.Minute))
	for _, a := range []reply{
		n.do("GET", "/me", "", "Authorization: Bearer "+lost.Access),
		n.get(newDevice(n.app), "GET", "/me", lost.Access),
		n.do("GET", "/me", "", "Authorization: DPoP "+lost.Access),
	} {
		if a.status != 401 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	n.sessions.Close() // waits for what is told in the background
	if n.rec.count(refresh.EventSettled) != 0 {
		t.Error("a generation settled")
	}
	if a := n.renew(d, first.Refresh); a.status != 200 || a.tokens.Refresh != lost.Refresh {
		t.Errorf("its owner: %d %s", a.status, a.body)
	}
}

func TestAProofCountsOnce(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	other := &nativeApp{app: &app{t: t, sessions: n.sessions, rec: n.rec, store: n.store}}
	var err error
	if other.Auth, err = middleware.New(middleware.Config{Sessions: n.sessions, DPoP: middleware.DPoP{Origin: origin}}); err != nil {
		t.Fatal(err)
	}
	other.serve()
	d := newDevice(n.app)
	login := "DPoP: " + d.proof("POST", "/login", "")
	tokens := n.do("POST", "/login", "", login).tokens
	if a := n.do("POST", "/login", "", login); a.status != 400 || a.tokens.Error != "invalid_dpop_proof" {
		t.Errorf("the sign-in again: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/me", "/auth/session"} {
		headers := []string{"Authorization: DPoP " + tokens.Access, "DPoP: " + d.proof("GET", path, tokens.Access)}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if a := n.do("GET", path, "", headers...); a.status == 200 && !strings.Contains(a.body, "null") {
					accepted.Add(1)
				}
			})
		}
		wg.Wait()
		if accepted.Load() != 1 {
			t.Errorf("%s: accepted %d times", path, accepted.Load())
		}
		// Up to the last moment at which its date is good, and after.
		for range 8 {
			n.ahead.Add(int64(30 * time.Second))
			if a := n.do("GET", path, "", headers...); a.status == 200 && !strings.Contains(a.body, "null") {
				t.Errorf("%s: accepted again", path)
			}
		}
	}
	proof := "DPoP: " + d.proof("POST", "/auth/token/refresh", "")
	for _, token := range []string{tokens.Refresh, tokens.Refresh} {
		next := n.do("POST", "/auth/token/refresh", refreshBody(token), proof)
		if next.status != 200 {
			t.Fatalf("%d %s", next.status, next.body)
		}
		for name, instance := range map[string]*nativeApp{"the same": n, "another": other} {
			for _, old := range []string{token, next.tokens.Refresh} {
				if a := instance.do("POST", "/auth/token/refresh", refreshBody(old), proof); a.status != 400 || a.tokens.Error != "invalid_dpop_proof" {
					t.Errorf("on %s instance: %d %s", name, a.status, a.body)
				}
			}
		}
		proof = "DPoP: " + d.proof("POST", "/auth/token/refresh", "")
	}
	if n.rec.count(refresh.EventReuse) != 0 {
		t.Error("a replayed proof revoked the session")
	}
}

func TestNonces(t *testing.T) {
	t.Parallel()
	demand := func(c *middleware.Config) { c.DPoP.RequireNonce = true }
	n := newNativeApp(t, demand)
	d := newDevice(n.app)
	a := n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", ""))
	nonce := a.header.Get("DPoP-Nonce")
	if a.status != 400 || a.tokens.Error != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("%d %s %q", a.status, a.body, nonce)
	}
	a = n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", "", claim("nonce", nonce)))
	if a.status != 200 || a.header.Get("DPoP-Nonce") == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	tokens := a.tokens
	// The device's clock is wrong by a day, which no longer matters.
	d.now = func() time.Time { return n.now().Add(24 * time.Hour) }
	for range 20 {
		n.ahead.Add(int64(40 * time.Second))
		a := n.get(d, "GET", "/me", tokens.Access, claim("nonce", nonce))
		if nonce = a.header.Get("DPoP-Nonce"); nonce == "" {
			t.Fatal("no nonce")
		}
		if a.status == 401 { // the access token ran out
			if a = n.renew(d, tokens.Refresh, claim("nonce", nonce)); a.status != 200 || a.header.Get("DPoP-Nonce") == "" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			tokens = a.tokens
		}
	}
	n.ahead.Add(int64(5 * time.Minute))
	for name, a := range map[string]reply{
		"an old nonce": n.get(d, "GET", "/me", tokens.Access, claim("nonce", nonce)),
		"none":         n.get(d, "GET", "/me", tokens.Access),
		"for a status": n.get(d, "GET", "/auth/session", tokens.Access),
	} {
		if a.status != 401 || a.tokens.Error != "use_dpop_nonce" || !strings.HasPrefix(a.challenge(), `DPoP error="use_dpop_nonce"`) || a.header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: %d %s %s", name, a.status, a.body, a.challenge())
		}
	}
	// Where nonces are not demanded they help a client whose clock is wrong.
	n = newNativeApp(t)
	d.now = func() time.Time { return n.now().Add(24 * time.Hour) }
	nonce = n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", "")).header.Get("DPoP-Nonce")
	if a := n.do("POST", "/login", "", "DPoP: "+d.proof("POST", "/login", "", claim("nonce", nonce))); a.status != 200 {
		t.Errorf("a clock that is wrong: %d %s", a.status, a.body)
	}
}

// TestOriginOfProofs: without a configured origin the request says where it went.
func TestOriginOfProofs(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t, func(c *middleware.Config) { c.DPoP.Origin = "" })
	d := newDevice(n.app)
	server := httptest.NewServer(n.handler)
	defer server.Close()
	for htu, want := range map[string]int{server.URL + "/login": 200, origin + "/login": 400, strings.Replace(server.URL, "http", "https", 1) + "/login": 400} {
		r, _ := http.NewRequest("POST", server.URL+"/login", nil)
		r.Header.Set("DPoP", d.proof("POST", "/login", "", claim("htu", htu)))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != want {
			t.Errorf("%s: %d", htu, res.StatusCode)
		}
	}
	for _, bad := range []string{"app.example", "https://app.example/", "https://", "ftp://app.example", "https://u@app.example", "https://app.example?x", "https://app.example#", " https://app.example"} {
		if _, err := middleware.New(middleware.Config{Sessions: n.sessions, DPoP: middleware.DPoP{Origin: bad}}); err == nil || !strings.Contains(err.Error(), "DPoP.Origin") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := middleware.New(middleware.Config{Sessions: n.sessions, Schemes: []string{"dpop"}}); err == nil {
		t.Error("DPoP is taken for a scheme of bearer tokens")
	}
}

func TestCookiesAndProofsNeverMix(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	d := newDevice(n.app)
	if a := n.do("POST", "/cookies", "", "DPoP: "+d.proof("POST", "/cookies", "")); a.status != 400 || len(a.header["Set-Cookie"]) > 0 {
		t.Errorf("a sign-in with cookies and a proof: %d %v", a.status, a.header["Set-Cookie"])
	}
	tokens := n.signIn(d).tokens
	for _, cookies := range []string{"__Host-access=" + tokens.Access, "__Host-refresh=" + tokens.Refresh, "__Host-access=" + tokens.Access + "; __Host-refresh=" + tokens.Refresh} {
		proof := "DPoP: " + d.proof("GET", "/me", tokens.Access)
		if a := n.do("GET", "/me", "", "Cookie: "+cookies, proof); a.status != 401 || len(a.header["Set-Cookie"]) > 0 {
			t.Errorf("%.20s: %d %s", cookies, a.status, a.body)
		}
	}
	browser := n.do("POST", "/cookies", "")
	var cookies []string
	for _, line := range browser.header["Set-Cookie"] {
		pair, _, _ := strings.Cut(line, ";")
		cookies = append(cookies, pair)
	}
	proof := "DPoP: " + d.proof("POST", "/auth/token/refresh", "")
	if a := n.do("POST", "/auth/token/refresh", "", "Cookie: "+strings.Join(cookies, "; "), proof); a.status != 400 {
		t.Errorf("a refresh by cookie with a proof: %d %s", a.status, a.body)
	}
}

// TestProofsWhileTheStoreIsAway: nothing is lost, and nothing opens.
func TestProofsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t, func(c *middleware.Config) { c.OutageGrace = 5 * time.Minute })
	d := newDevice(n.app)
	tokens := n.signIn(d).tokens
	n.ahead.Add(int64(freshTime))
	n.store.away.Store(true)
	if a := n.renew(d, tokens.Refresh); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a refresh: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/live", tokens.Access); a.status != 503 {
		t.Errorf("a live guard: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/me", tokens.Access); a.status != 200 {
		t.Errorf("a request: %d %s", a.status, a.body)
	}
	n.ahead.Add(int64(10 * time.Minute))
	n.renew(d, tokens.Refresh) // so that it is known again that the store is away
	if a := n.get(d, "GET", "/me", tokens.Access); a.status != 200 {
		t.Errorf("a request that is let in late: %d %s", a.status, a.body)
	}
	for name, a := range map[string]reply{
		"as Bearer":   n.do("GET", "/me", "", "Authorization: Bearer "+tokens.Access),
		"another key": n.get(newDevice(n.app), "GET", "/me", tokens.Access),
		"a cookie":    n.do("GET", "/me", "", "Cookie: __Host-access="+tokens.Access),
	} {
		if a.status != 401 {
			t.Errorf("%s, late: %d %s", name, a.status, a.body)
		}
	}
	n.store.away.Store(false)
	if a := n.renew(d, tokens.Refresh); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestRequiredKeysOfNativeClients: who signs in without a proof is out within a
// minute, and told apart from who is bound.
func TestRequiredKeysOfNativeClients(t *testing.T) {
	t.Parallel()
	var sessions *refresh.Sessions
	n := newNativeApp(t, func(c *middleware.Config) {
		memory, err := family.NewMemoryStore(family.MemoryConfig{})
		if err == nil {
			sessions, err = refresh.New(refresh.Config{Access: c.Sessions.Access(), Store: memory, DeviceKeys: refresh.DeviceKeysRequire})
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Sessions = sessions
	})
	defer sessions.Close()
	d := newDevice(n.app)
	bound, plain := n.signIn(d).tokens, n.do("POST", "/login", "").tokens
	if a := n.do("GET", "/live", "", "Authorization: Bearer "+plain.Access); a.status != 200 {
		t.Errorf("unbound, at first: %d %s", a.status, a.body)
	}
	n.ahead.Add(int64(61 * time.Second))
	if a := n.do("GET", "/live", "", "Authorization: Bearer "+plain.Access); a.status != 401 {
		t.Errorf("unbound, after a minute: %d", a.status)
	}
	if a := n.do("POST", "/auth/token/refresh", refreshBody(plain.Refresh)); a.status != 400 || a.tokens.Error != "invalid_grant" {
		t.Errorf("unbound, a refresh after a minute: %d %s", a.status, a.body)
	}
	// A proof that comes later binds nothing: whoever copied the tokens could
	// bring one.
	if a := n.renew(d, plain.Refresh); a.status != 400 || a.tokens.Error != "invalid_grant" {
		t.Errorf("unbound, a refresh with a proof: %d %s", a.status, a.body)
	}
	if a := n.get(d, "GET", "/live", bound.Access); a.status != 200 {
		t.Errorf("bound: %d %s", a.status, a.body)
	}
	if a := n.renew(d, bound.Refresh); a.status != 200 {
		t.Errorf("bound, a refresh: %d %s", a.status, a.body)
	}
}

// TestAStreamOfABoundSessionEndsWithIt: when it is revoked, also by a sign-out that
// brings no proof.
func TestAStreamOfABoundSessionEndsWithIt(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t)
	d := newDevice(n.app)
	tokens := n.signIn(d).tokens
	begun, ended := make(chan struct{}), make(chan error, 1)
	stream := n.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx, cancel := n.WatchSession(r)
		defer cancel()
		close(begun)
		<-ctx.Done()
		ended <- context.Cause(ctx)
	}))
	r := httptest.NewRequest("GET", "/stream", nil)
	r.Header.Set("Authorization", "DPoP "+tokens.Access)
	r.Header.Set("DPoP", d.proof("GET", "/stream", tokens.Access))
	go stream.ServeHTTP(httptest.NewRecorder(), r)
	<-begun
	if a := n.do("POST", "/auth/logout", refreshBody(tokens.Refresh)); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := <-ended; !errors.Is(err, refresh.ErrRevoked) {
		t.Error(err)
	}
}

// TestHandlersSeeNoProof: with HideTokens.
func TestHandlersSeeNoProof(t *testing.T) {
	t.Parallel()
	n := newNativeApp(t, func(c *middleware.Config) { c.HideTokens = true })
	d := newDevice(n.app)
	tokens := n.signIn(d).tokens
	hidden := n.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Dpop"])+len(r.Header["Authorization"]) > 0 {
			t.Error("the handler sees the proof or the token")
		}
		n.handler.ServeHTTP(w, r) // the kit's own guards still know the session
	}))
	r := httptest.NewRequest("GET", "/auth/session", nil)
	r.Header.Set("Authorization", "DPoP "+tokens.Access)
	r.Header.Set("DPoP", d.proof("GET", "/auth/session", tokens.Access))
	w := httptest.NewRecorder()
	if hidden.ServeHTTP(w, r); w.Code != 200 || !strings.Contains(w.Body.String(), `"device_bound":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestAFloodOfProofsReachesNobodyElse: one device fills what it may, and no more.
func TestAFloodOfProofsReachesNobodyElse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	proofs := middleware.NewUsedProofs()
	flood := func(key byte, id string) error {
		return proofs(access.DPoPProof{ID: id, Thumbprint: [32]byte{key}}, now)
	}
	full := 0
	for i := range 1<<14 + 10 {
		if err := flood(1, fmt.Sprint("id-", i)); err != nil {
			full++
		}
	}
	if full != 10 {
		t.Errorf("%d were refused, want 10", full)
	}
	if flood(1, "id-0") == nil {
		t.Error("the oldest was forgotten")
	}
	if err := flood(2, "id-0"); err != nil {
		t.Errorf("another device: %v", err)
	}
	now = now.Add(3 * time.Minute)
	if flood(1, "id-0") == nil {
		t.Error("forgotten while it may be accepted")
	}
	if err := flood(1, "new"); err != nil {
		t.Errorf("after a while: %v", err)
	}
}

func BenchmarkProtectedRequest(b *testing.B) {
	n := newNativeApp(b)
	d := newDevice(n.app)
	bound, plain := n.signIn(d).tokens, n.do("POST", "/login", "").tokens
	h := n.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Run("Bearer", func(b *testing.B) {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Authorization", "Bearer "+plain.Access)
		for b.Loop() {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
	b.Run("DPoP", func(b *testing.B) {
		r := httptest.NewRequest("GET", "/me", nil)
		r.Header.Set("Authorization", "DPoP "+bound.Access)
		for b.Loop() {
			b.StopTimer()
			r.Header.Set("DPoP", d.proof("GET", "/me", bound.Access))
			b.StartTimer()
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != 200 {
				b.Fatal(w.Body)
			}
		}
	})
}
