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
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

func (s *store) Bind(ctx context.Context, r family.BindRequest) (family.Verdict, error) {
	if err := s.err(); err != nil {
		return family.Verdict{}, err
	}
	return s.Store.Bind(ctx, r)
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

const origin = "https://app.example"

// A client has cookies and a key of its device, like a browser.
type client struct {
	t       *testing.T
	h       http.Handler
	cookies map[string]string
	key     *ecdsa.PrivateKey
	// of the key's session: see the standard of device-bound sessions.
	ticket, session, challenge string
}

func newClient(t *testing.T, h http.Handler) *client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, h: h, cookies: make(map[string]string), key: key}
}

// request makes a request with the client's cookies and "Name: value" headers.
func (c *client) request(method, path string, body io.Reader, headers ...string) *http.Request {
	r := httptest.NewRequest(method, origin+path, body)
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

var (
	offered    = regexp.MustCompile(`challenge="([^"]+)"`)
	challenged = regexp.MustCompile(`^"([^"]+)";id="([^"]+)"`)
)

// send serves a request, and keeps what the answer sets.
func (c *client) send(r *http.Request) *http.Response {
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
	if m := offered.FindStringSubmatch(res.Header.Get("Secure-Session-Registration")); m != nil {
		c.ticket = m[1]
	}
	if m := challenged.FindStringSubmatch(res.Header.Get("Secure-Session-Challenge")); m != nil {
		c.challenge, c.session = m[1], m[2]
	}
	return res
}

// without is the client as if the access cookie had run out.
func (c *client) without() *client {
	delete(c.cookies, "__Host-access")
	return c
}

type object = map[string]any

func (c *client) sign(header, claims object) string {
	segment := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := segment(header) + "." + segment(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, sum[:])
	if err != nil {
		c.t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (c *client) jwk() object {
	point, err := c.key.PublicKey.Bytes()
	if err != nil {
		c.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return object{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:])}
}

// register is the header with which a browser registers its key.
func (c *client) register() string {
	return "Secure-Session-Response: " + c.sign(object{"alg": "ES256", "typ": "dbsc+jwt", "jwk": c.jwk()}, object{"jti": c.ticket})
}

// signed is the header with which it renews its session.
func (c *client) signed() string {
	return "Secure-Session-Response: " + c.sign(object{"alg": "ES256", "typ": "dbsc+jwt"}, object{"jti": c.challenge})
}

// proof is a proof of possession with a nonce that is none of the server's.
func (c *client) proof(method, path, token string) string {
	claims := object{"jti": rand.Text(), "htm": method, "htu": origin + path, "iat": time.Now().Unix(), "nonce": "x"}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(hash[:])
	}
	return "DPoP: " + c.sign(object{"typ": "dpop+jwt", "alg": "ES256", "jwk": c.jwk()}, claims)
}

// slow is a body that does not come in time.
type slow struct{}

func (slow) Read([]byte) (int, error) {
	<-time.After(11 * time.Second) // of fake time
	return 0, io.ErrUnexpectedEOF
}
