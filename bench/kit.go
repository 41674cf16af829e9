package bench

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Algorithms are those measured: all that the kit offers by default.
var Algorithms = []access.Algorithm{access.EdDSA, access.ES256, access.PS256, access.HS256}

const (
	issuer   = "https://app.example"
	audience = "app.example"
)

// A Kit is sessionkit as an app uses it, over any store.
type Kit struct {
	Alg      access.Algorithm
	Private  any // what signs: a crypto.Signer, or the bytes of an HMAC key
	Public   any // what verifies
	Tokens   *access.Tokens
	Sessions *refresh.Sessions
	Auth     *middleware.Auth
}

// material makes the key of an algorithm.
func material(alg access.Algorithm) (private any, err error) {
	switch alg {
	case access.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case access.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case access.PS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		private = random(32)
	}
	return private, err
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// An Env is what instances of one app share.
type Env struct {
	Alg     access.Algorithm
	Private any
	Ring    *access.KeyRing
	// Settle is the settle time. NewEnv makes it so short that each refresh
	// rotates, as those of the peers do: by default a generation that is less
	// than 45 seconds old is not rotated. 0 is the kit's default.
	Settle time.Duration
}

// NewEnv makes keys.
func NewEnv(alg access.Algorithm) (*Env, error) {
	private, err := material(alg)
	if err != nil {
		return nil, err
	}
	key, err := access.NewKey(alg, private)
	if err != nil {
		return nil, err
	}
	ring, err := access.NewKeyRing(access.Keys{Signing: key, Secrets: [][]byte{random(32)}})
	if err != nil {
		return nil, err
	}
	return &Env{Alg: alg, Private: private, Ring: ring, Settle: 1}, nil
}

// NewKit returns an instance. entries bounds its cache of verified tokens, as
// access.Config.CacheEntries does; now is its clock, nil the real one. The
// caller closes Sessions.
func (e *Env) NewKit(store family.Store, entries int, now func() time.Time) (*Kit, error) {
	k := &Kit{Alg: e.Alg, Private: e.Private, Public: e.Private}
	if s, ok := e.Private.(crypto.Signer); ok {
		k.Public = s.Public()
	}
	if store == nil {
		memory, err := family.NewMemoryStore(family.MemoryConfig{MaxFamilies: 2_000_000})
		if err != nil {
			return nil, err
		}
		store = memory
	}
	kit, err := sessionkit.New(sessionkit.Config{
		Issuer: issuer, Audience: audience, Keys: e.Ring, Store: store, Claims: roles, Events: nobody{},
		Tokens:   access.Config{CacheEntries: entries, Now: now},
		Sessions: refresh.Config{Rotation: refresh.Rotation{SettleTime: e.Settle}},
	})
	if err != nil {
		return nil, err
	}
	k.Auth, k.Sessions, k.Tokens = kit.Auth, kit.Sessions, kit.Sessions.Access()
	return k, nil
}

// nobody hears of events, as in the peers.
type nobody struct{}

func (nobody) HandleEvent(context.Context, refresh.Event) {}

// claims are what the measured tokens say.
func claims(i int) access.Claims {
	now := time.Now()
	return access.Claims{
		Subject: fmt.Sprintf("user-%010d", i), SessionID: family.ID(random(16)).String(), Generation: 7,
		IssuedAt: now, AuthTime: now.Add(-time.Hour), SessionExpiresAt: now.Add(720 * time.Hour),
		Roles: []string{"admin", "billing", "support"},
	}
}

// roles is the claims hook: what an app would ask its database.
func roles(context.Context, refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
	return refresh.SubjectClaims{Roles: []string{"admin", "billing", "support"}}, nil
}

// A Traffic is live tokens and the requests that carry them.
type Traffic struct {
	Seen            map[string]*access.Claims
	Bearer, Cookies []*http.Request
}

// NewTraffic issues n tokens on all cores and makes them known to the kit.
func (k *Kit) NewTraffic(n int) (*Traffic, error) {
	browser, err := k.browser()
	if err != nil {
		return nil, err
	}
	// Old enough to settle their generation, which happens once, right here.
	past, err := access.New(access.Config{Issuer: issuer, Audience: audience, Keys: k.Tokens.Keys(), CacheEntries: -1,
		Now: func() time.Time { return time.Now().Add(-61 * time.Second) }})
	if err != nil {
		return nil, err
	}
	t := &Traffic{Seen: make(map[string]*access.Claims, n), Bearer: make([]*http.Request, n), Cookies: make([]*http.Request, n)}
	texts, seen := make([]string, n), make([]*access.Claims, n)
	workers := runtime.NumCPU()
	errs := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				texts[i], _, errs[w] = past.Issue(claims(i))
				if errs[w] == nil {
					seen[i], errs[w] = k.Sessions.Verify(texts[i])
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, text := range texts {
		t.Seen[text] = seen[i]
		t.Bearer[i] = request("Authorization", "Bearer "+text)
		t.Cookies[i] = request("Cookie", strings.Replace(browser, "\x00", text, 1))
	}
	return t, nil
}

// browser returns the Cookie header of a browser that has signed in, with a
// zero byte for the access token.
func (k *Kit) browser() (string, error) {
	w := httptest.NewRecorder()
	if _, err := k.Auth.Login(w, request("Origin", "https://app.example"), refresh.Login{Subject: "alice"}); err != nil {
		return "", err
	}
	pairs := []string{"theme=dark"}
	for _, c := range w.Result().Cookies() {
		if c.Name == "__Host-access" {
			c.Value = "\x00"
		}
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; "), nil
}

func request(name, value string) *http.Request {
	r := httptest.NewRequest("GET", "https://app.example/account", nil)
	r.Header.Set("User-Agent", agent)
	r.Header.Set(name, strings.Clone(value))
	return r
}

const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"

// A sink is a ResponseWriter that costs nothing and remembers a refusal.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// nothing is a handler that does nothing.
var nothing = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// Serve is the operation of serving the requests in turn; each worker begins
// at another. It fails when one is refused.
func Serve(name string, h http.Handler, requests []*http.Request) Op {
	return Op{name, func(w, n int) error {
		out := &sink{header: make(http.Header)}
		at := w * 7919 % len(requests)
		for range n {
			h.ServeHTTP(out, requests[at])
			if at++; at == len(requests) {
				at = 0
			}
		}
		if out.status >= 300 {
			return fmt.Errorf("%s: refused with %d", name, out.status)
		}
		return nil
	}}
}
