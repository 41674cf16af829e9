package openapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// store is away when a test says so.
type store struct {
	family.Store
	away atomic.Bool
}

func (s *store) err() error {
	if s.away.Load() {
		return fmt.Errorf("%w: a test", family.ErrUnavailable)
	}
	return nil
}

func (s *store) Rotate(ctx context.Context, r family.RotateRequest) (family.Verdict, error) {
	if err := s.err(); err != nil {
		return family.Verdict{}, err
	}
	return s.Store.Rotate(ctx, r)
}

func (s *store) Revoke(ctx context.Context, r family.RevokeRequest) (family.RevokeResult, error) {
	if err := s.err(); err != nil {
		return family.RevokeResult{}, err
	}
	return s.Store.Revoke(ctx, r)
}

func (s *store) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	if err := s.err(); err != nil {
		return family.Record{}, err
	}
	return s.Store.Find(ctx, subject, id, now)
}

func (s *store) List(ctx context.Context, subject family.Subject, now time.Time) ([]family.Record, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, subject, now)
}

// A document is docs/openapi.json.
type document struct {
	Paths map[string]map[string]struct {
		Responses map[string]json.RawMessage
	}
	schemas *jsonschema.Compiler
	seen    map[string]bool
}

const name = "openapi.json"

func open(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{schemas: jsonschema.NewCompiler(), seen: make(map[string]bool)}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.schemas.AddResource(name, value); err != nil {
		t.Fatal(err)
	}
	return d
}

var escape = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "+")

// check holds an answer to the document.
func (d *document) check(t *testing.T, method, path string, res *http.Response, body string) {
	t.Helper()
	status := fmt.Sprint(res.StatusCode)
	operation, ok := d.Paths[path][strings.ToLower(method)]
	raw, known := operation.Responses[status]
	if !ok || !known {
		t.Errorf("%s %s answers %s, which the document does not have: %s", method, path, status, body)
		return
	}
	d.seen[method+" "+path+" "+status] = true
	at := "#/paths/" + escape.Replace(path) + "/" + strings.ToLower(method) + "/responses/" + status
	var reference struct {
		Ref string `json:"$ref"`
	}
	var response struct{ Content map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &reference); err != nil {
		t.Fatal(err)
	}
	if reference.Ref != "" {
		at, response.Content = reference.Ref, map[string]json.RawMessage{"application/json": nil}
	} else if err := json.Unmarshal(raw, &response); err != nil {
		t.Fatal(err)
	}
	if len(response.Content) == 0 {
		if body != "" {
			t.Errorf("%s %s %s has a body: %s", method, path, status, body)
		}
		return
	}
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if _, ok := response.Content[kind]; !ok {
		t.Errorf("%s %s %s has the content type %q", method, path, status, kind)
		return
	}
	schema, err := d.schemas.Compile(name + at + "/content/" + escape.Replace(kind) + "/schema")
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s %s %s: %v\n%s", method, path, status, err, body)
	}
	if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s: no Retry-After", method, path)
	}
}

// A client has cookies like a browser.
type client struct {
	h       http.Handler
	cookies map[string]string
}

func (c *client) send(method, path, body string, headers ...string) (*http.Response, string) {
	r := httptest.NewRequest(method, "https://app.example"+path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, "https://app.example"+path, nil)
	}
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	res := w.Result()
	for _, set := range res.Cookies() {
		if set.MaxAge < 0 {
			delete(c.cookies, set.Name)
		} else {
			c.cookies[set.Name] = set.Value
		}
	}
	return res, w.Body.String()
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func proof(t *testing.T, key *ecdsa.PrivateKey, jwk bool, challenge string) string {
	t.Helper()
	header := `{"alg":"ES256","typ":"dbsc+jwt"}`
	if jwk {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		header = fmt.Sprintf(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q},"typ":"dbsc+jwt"}`, b64(point[1:33]), b64(point[33:]))
	}
	text := b64([]byte(header)) + "." + b64([]byte(fmt.Sprintf(`{"jti":%q}`, challenge)))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

var (
	offered   = regexp.MustCompile(`challenge="([^"]+)"`)
	challenge = regexp.MustCompile(`^"([^"]+)";id="([^"]+)"`)
)

func TestTheDocumentSaysWhatIsAnswered(t *testing.T) {
	memory, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	s := &store{Store: memory}
	kit, err := sessionkit.New(sessionkit.Config{Issuer: "https://app.example", Keys: ring, Store: s})
	if err != nil {
		t.Fatal(err)
	}
	defer kit.Close()
	mux := http.NewServeMux()
	mux.Handle("/auth/", kit.Handler("/auth"))
	mux.Handle("/.well-known/jwks.json", kit.Keys.JWKS())
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if _, err := kit.Login(w, r, refresh.Login{Subject: "alice", Remember: true, Data: "desk"}); err != nil {
			kit.WriteError(w, r, err)
		}
	})
	mux.HandleFunc("POST /login/native", func(w http.ResponseWriter, r *http.Request) {
		g, err := kit.LoginNative(r, refresh.Login{Subject: "alice"})
		if err != nil {
			kit.WriteError(w, r, err)
			return
		}
		kit.WriteTokens(w, g)
	})
	d := open(t)
	nobody := &client{mux, make(map[string]string)}
	signIn := func() (*client, *http.Response) {
		c := &client{mux, make(map[string]string)}
		res, _ := c.send("POST", "/login", "")
		return c, res
	}
	try := func(c *client, method, template, path, body string, headers ...string) *http.Response {
		t.Helper()
		res, text := c.send(method, path, body, headers...)
		d.check(t, method, template, res, text)
		return res
	}
	const asJSON, elsewhere = "Content-Type: application/json", "Sec-Fetch-Site: cross-site"
	const token, one = "/auth/token/refresh", "/auth/sessions/{id}"

	alice, answer := signIn()
	_, text := nobody.send("POST", "/login/native", "", "X-Device-ID: phone")
	var pair struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(text), &pair); err != nil {
		t.Fatal(err)
	}
	try(alice, "POST", token, token, "")
	try(nobody, "POST", token, token, fmt.Sprintf(`{"refresh_token":%q}`, pair.Refresh), asJSON, "X-Device-ID: phone")
	try(nobody, "POST", token, token, `{"refresh_token":"x"}`, asJSON)
	try(nobody, "POST", token, token, "")
	try(alice, "POST", token, token, "", elsewhere)
	try(nobody, "POST", token, token, strings.Repeat("x", 20<<10), asJSON)
	try(nobody, "POST", token, token, "x", "Content-Type: text/plain")
	try(alice, "GET", "/auth/session", "/auth/session", "")
	try(nobody, "GET", "/auth/session", "/auth/session", "")
	try(alice, "GET", "/auth/sessions", "/auth/sessions", "")
	try(nobody, "GET", "/auth/sessions", "/auth/sessions", "")
	try(nobody, "DELETE", one, "/auth/sessions/x", "")
	try(alice, "DELETE", one, "/auth/sessions/x", "")
	try(alice, "DELETE", one, "/auth/sessions/x", "", elsewhere)
	try(nobody, "GET", "/.well-known/jwks.json", "/.well-known/jwks.json", "")

	// A browser with a key.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const register, sign = "/auth/dbsc/register", "/auth/dbsc/refresh"
	ticket := offered.FindStringSubmatch(answer.Header.Get("Secure-Session-Registration"))
	if ticket == nil {
		t.Fatal("no key was asked for")
	}
	try(alice, "POST", register, register, "")
	res := try(alice, "POST", register, register, "", "Sec-Fetch-Mode: no-cors", "Secure-Session-Response: "+proof(t, key, true, ticket[1]))
	m := challenge.FindStringSubmatch(res.Header.Get("Secure-Session-Challenge"))
	if m == nil {
		t.Fatal("no challenge")
	}
	try(alice, "POST", sign, sign, "")
	try(alice, "POST", sign, sign, "", "Sec-Secure-Session-Id: x")
	try(alice, "POST", sign, sign, "", "Sec-Secure-Session-Id: "+m[2])
	try(alice, "POST", sign, sign, "", "Sec-Secure-Session-Id: "+m[2], "Secure-Session-Response: "+proof(t, key, false, m[1]))
	try(alice, "GET", "/auth/session", "/auth/session", "")

	second, _ := signIn()
	_, text = second.send("GET", "/auth/session", "")
	var other struct {
		Session struct {
			ID string `json:"session_id"`
		}
	}
	if err := json.Unmarshal([]byte(text), &other); err != nil {
		t.Fatal(err)
	}
	s.away.Store(true)
	try(nobody, "POST", token, token, fmt.Sprintf(`{"refresh_token":%q}`, pair.Refresh), asJSON, "X-Device-ID: phone")
	try(alice, "GET", "/auth/session", "/auth/session", "")
	try(alice, "GET", "/auth/sessions", "/auth/sessions", "")
	try(alice, "DELETE", one, "/auth/sessions/"+other.Session.ID, "")
	try(alice, "POST", "/auth/logout", "/auth/logout", "")
	try(alice, "POST", "/auth/logout-all", "/auth/logout-all", "")
	s.away.Store(false)

	bob, answer := signIn()
	late := offered.FindStringSubmatch(answer.Header.Get("Secure-Session-Registration"))[1]
	_, text = bob.send("GET", "/auth/session", "")
	var now struct {
		Session struct {
			ID string `json:"session_id"`
		}
	}
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		t.Fatal(err)
	}
	carol, _ := signIn()
	try(carol, "DELETE", one, "/auth/sessions/"+now.Session.ID, "")
	try(bob, "POST", register, register, "", "Sec-Fetch-Mode: no-cors", "Secure-Session-Response: "+proof(t, key, true, late))
	try(carol, "POST", "/auth/logout-all", "/auth/logout-all", "", elsewhere)
	try(nobody, "POST", "/auth/logout-all", "/auth/logout-all", "")
	try(carol, "POST", "/auth/logout-all", "/auth/logout-all", "")
	carol, _ = signIn()
	try(carol, "POST", "/auth/logout", "/auth/logout", "", elsewhere)
	try(carol, "POST", "/auth/logout", "/auth/logout", "")

	for path, operations := range d.Paths {
		for method, operation := range operations {
			for status := range operation.Responses {
				if what := strings.ToUpper(method) + " " + path + " " + status; !d.seen[what] {
					t.Errorf("the document has %s, which no request was answered with", what)
				}
			}
		}
	}
}
