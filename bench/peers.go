package bench

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	auth0 "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/validator"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/sessions"
	kataras "github.com/kataras/jwt"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
	jwxv2 "github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/lestrrat-go/jwx/v3/jwa"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/sessionkit/sessionkit/access"
)

// peerAlgorithms are those that the peers are measured with.
var peerAlgorithms = []access.Algorithm{access.EdDSA, access.HS256}

// A Peer is a way to authenticate a request; New returns nil where it does not
// offer the algorithm.
type Peer struct {
	Name, Module string
	New          func(k *Kit) (http.Handler, error)
}

// bearer is the least that a library without a middleware needs around it.
func bearer(check func(token string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c, err := check(token)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		nothing.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), floorKey{}, c)))
	})
}

// Peers verify JWTs. All check signature, expiry, issuer and audience, except
// where the name says so.
var Peers = []Peer{
	{"golang-jwt v5, struct", "github.com/golang-jwt/jwt/v5", func(k *Kit) (http.Handler, error) {
		parser := jwt.NewParser(jwt.WithValidMethods([]string{string(k.Alg)}), jwt.WithIssuer(issuer), jwt.WithAudience(audience))
		return bearer(func(token string) (any, error) {
			c := new(Bare)
			_, err := parser.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return k.Public, nil })
			return c, err
		}), nil
	}},
	{"kataras/jwt", "github.com/kataras/jwt", func(k *Kit) (http.Handler, error) {
		alg := map[access.Algorithm]kataras.Alg{access.EdDSA: kataras.EdDSA, access.HS256: kataras.HS256}[k.Alg]
		expected := kataras.Expected{Issuer: issuer, Audience: kataras.Audience{audience}}
		header := func(want string, text []byte) (kataras.Alg, kataras.PublicKey, kataras.InjectFunc, error) {
			var h struct {
				Alg string `json:"alg"`
			}
			if err := json.Unmarshal(text, &h); err != nil {
				return nil, nil, nil, err
			}
			if h.Alg != want {
				return nil, nil, nil, kataras.ErrTokenAlg
			}
			return nil, nil, nil, nil // its own comparison knows no key ids
		}
		return bearer(func(token string) (any, error) {
			v, err := kataras.VerifyWithHeaderValidator(alg, k.Public, []byte(token), header, expected)
			if err != nil {
				return nil, err
			}
			c := new(bareJSON)
			return c, v.Claims(c)
		}), nil
	}},
	{"echo-jwt v4 (no issuer, no audience)", "github.com/labstack/echo-jwt/v4", func(k *Kit) (http.Handler, error) {
		e := echo.New()
		e.GET("/account", func(echo.Context) error { return nil }, echojwt.WithConfig(echojwt.Config{
			SigningKey: k.Public, SigningMethod: string(k.Alg),
		}))
		return e, nil
	}},
	{"chi jwtauth v5", "github.com/go-chi/jwtauth/v5", func(k *Kit) (http.Handler, error) {
		private, public := k.Private, k.Public
		if k.Alg == access.HS256 {
			public = nil
		}
		a := jwtauth.New(string(k.Alg), private, public, jwxv2.WithIssuer(issuer), jwxv2.WithAudience(audience))
		return jwtauth.Verifier(a)(jwtauth.Authenticator(a)(nothing)), nil
	}},
	{"go-jose v4", "github.com/go-jose/go-jose/v4", func(k *Kit) (http.Handler, error) {
		expected := josejwt.Expected{Issuer: issuer, AnyAudience: josejwt.Audience{audience}}
		return bearer(func(token string) (any, error) {
			t, err := josejwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.Alg)})
			if err != nil {
				return nil, err
			}
			var c josejwt.Claims
			own := new(bareJSON)
			if err := t.Claims(k.Public, &c, own); err != nil {
				return nil, err
			}
			return own, c.Validate(expected)
		}), nil
	}},
	{"jwx v3", "github.com/lestrrat-go/jwx/v3", func(k *Kit) (http.Handler, error) {
		alg := map[access.Algorithm]jwa.SignatureAlgorithm{access.EdDSA: jwa.EdDSA(), access.HS256: jwa.HS256()}[k.Alg]
		return bearer(func(token string) (any, error) {
			return jwxjwt.Parse([]byte(token), jwxjwt.WithKey(alg, k.Public), jwxjwt.WithIssuer(issuer), jwxjwt.WithAudience(audience))
		}), nil
	}},
	{"auth0 v2", "github.com/auth0/go-jwt-middleware/v2", func(k *Kit) (http.Handler, error) {
		v, err := validator.New(func(context.Context) (any, error) { return k.Public, nil }, validator.SignatureAlgorithm(k.Alg), issuer, []string{audience},
			validator.WithCustomClaims(func() validator.CustomClaims { return new(bareJSON) }))
		if err != nil {
			return nil, err
		}
		return auth0.New(v.ValidateToken).CheckJWT(nothing), nil
	}},
	{"gin-jwt v2 (no issuer, no audience)", "github.com/appleboy/gin-jwt/v2", func(k *Kit) (http.Handler, error) {
		if k.Alg != access.HS256 {
			return nil, nil
		}
		m, err := newGin(k)
		if err != nil {
			return nil, err
		}
		e := gin.New()
		e.GET("/account", m.MiddlewareFunc(), func(*gin.Context) {})
		return e, nil
	}},
}

// bareJSON is Bare for libraries that have claims structs of their own.
type bareJSON struct {
	ID         string   `json:"jti"`
	Subject    string   `json:"sub"`
	ClientID   string   `json:"client_id"`
	SessionID  string   `json:"sid"`
	Generation uint64   `json:"gen"`
	AuthTime   int64    `json:"auth_time"`
	SessionExp int64    `json:"session_exp"`
	ACR        string   `json:"acr"`
	AMR        []string `json:"amr"`
	Scope      string   `json:"scope"`
	Roles      []string `json:"roles"`
}

// Validate implements validator.CustomClaims.
func (*bareJSON) Validate(context.Context) error { return nil }

func newGin(k *Kit) (*ginjwt.GinJWTMiddleware, error) {
	gin.SetMode(gin.ReleaseMode)
	return ginjwt.New(&ginjwt.GinJWTMiddleware{
		Realm: audience, Key: k.Private.([]byte), Timeout: time.Hour, MaxRefresh: 24 * time.Hour, IdentityKey: "sub",
		PayloadFunc: func(any) ginjwt.MapClaims { return ginjwt.MapClaims{"sub": "user-0000000001"} },
	})
}

// peerOps returns what is measured for one algorithm: the floor, the kit with
// a token seen before and at first sight, and the peers.
func peerOps(k, first *Kit) ([]Op, error) {
	t, err := k.NewTraffic(1)
	if err != nil {
		return nil, err
	}
	ops := []Op{
		Serve("floor", NewFloor(t.Seen, "", nothing), t.Bearer),
		Serve("sessionkit, seen before", k.Auth.RequireAuth(nothing), t.Bearer),
		Serve("sessionkit, first sight", first.Auth.RequireAuth(nothing), t.Bearer),
	}
	for _, p := range Peers {
		h, err := p.New(k)
		if err != nil {
			return nil, err
		}
		if h != nil {
			ops = append(ops, Serve(p.Name, h, t.Bearer))
		}
	}
	return ops, nil
}

// MeasurePeers measures the whole way of a request with a Bearer token.
func MeasurePeers(alg access.Algorithm, s Scale) (costs []*Cost, err error) {
	env, err := NewEnv(alg)
	if err != nil {
		return nil, err
	}
	k, err := env.NewKit(nil, 0, nil)
	if err != nil {
		return nil, err
	}
	defer k.Sessions.Close()
	first, err := env.NewKit(nil, -1, nil)
	if err != nil {
		return nil, err
	}
	defer first.Sessions.Close()
	ops, err := peerOps(k, first)
	if err != nil {
		return nil, err
	}
	return Measure(ops, 1, s.Rounds, s.Slice)
}

// values are what a session holds.
func values(put func(key string, value any)) {
	for key, value := range map[string]any{
		"sub": "user-0000000001", "sid": "0123456789abcdefghijkl", "gen": 7, "auth_time": time.Now().Unix(),
		"iss": issuer, "client": audience, "jti": "abcdefghijkl0123456789", "roles": []string{"admin", "billing", "support"},
	} {
		put(key, value)
	}
}

func init() { gob.Register([]string{}) }

// sessionOps returns the libraries that keep sessions without a JWT: r may be
// nil, where there is no Redis.
func sessionOps(r *Redis) ([]Op, error) {
	type manager struct {
		name string
		h    func(http.HandlerFunc) http.Handler
		put  http.HandlerFunc
		get  http.HandlerFunc
	}
	scsWith := func(name string, store scs.Store) manager {
		m := scs.New()
		m.Store = store
		return manager{name, func(h http.HandlerFunc) http.Handler { return m.LoadAndSave(h) },
			func(_ http.ResponseWriter, r *http.Request) {
				values(func(key string, value any) { m.Put(r.Context(), key, value) })
			},
			func(w http.ResponseWriter, r *http.Request) {
				if m.GetString(r.Context(), "sub") == "" {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}}
	}
	cookies := sessions.NewCookieStore(random(32))
	all := []manager{
		scsWith("scs v2, memory", memstore.NewWithCleanupInterval(0)),
		{"gorilla/sessions, cookie store", func(h http.HandlerFunc) http.Handler { return h },
			func(w http.ResponseWriter, r *http.Request) {
				s, _ := cookies.New(r, "session")
				values(func(key string, value any) { s.Values[key] = value })
				if s.Save(r, w) != nil {
					w.WriteHeader(http.StatusInternalServerError)
				}
			},
			func(w http.ResponseWriter, r *http.Request) {
				if s, err := cookies.New(r, "session"); err != nil || s.Values["sub"] == nil {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}},
	}
	if r != nil {
		all = append(all, scsWith("scs v2, Redis", goredisstore.New(r.Client)))
	}
	var ops []Op
	for _, m := range all {
		w := httptest.NewRecorder()
		m.h(m.put).ServeHTTP(w, request("Accept", "text/html"))
		set := w.Result().Cookies()
		if len(set) != 1 {
			return nil, errors.New("bench: " + m.name + " sets no cookie")
		}
		ops = append(ops, Serve(m.name, m.h(m.get), []*http.Request{request("Cookie", set[0].Name+"="+set[0].Value)}))
	}
	return ops, nil
}

// MeasureSessions measures libraries that keep sessions without a JWT, and the
// kit's cookie beside them.
func MeasureSessions(s Scale) (costs []*Cost, err error) {
	env, err := NewEnv(access.EdDSA)
	if err != nil {
		return nil, err
	}
	k, err := env.NewKit(nil, 0, nil)
	if err != nil {
		return nil, err
	}
	defer k.Sessions.Close()
	t, err := k.NewTraffic(1)
	if err != nil {
		return nil, err
	}
	measure := func(r *Redis) error {
		ops, err := sessionOps(r)
		if err != nil {
			return err
		}
		ops = append([]Op{Serve("sessionkit, cookie", k.Auth.RequireAuth(nothing), t.Cookies)}, ops...)
		costs, err = Measure(ops, 1, s.Rounds, s.Slice)
		return err
	}
	if err = WithRedis(measure); errors.Is(err, ErrNoRedis) {
		err = measure(nil)
	}
	return costs, err
}

// ginRefresh is the refresh of gin-jwt v2: stateless, so that nothing can be
// revoked and no replay is noticed.
func ginRefresh(k *Kit) (Op, error) {
	m, err := newGin(k)
	if err != nil {
		return Op{}, err
	}
	text, _, err := m.TokenGenerator("user-0000000001")
	if err != nil {
		return Op{}, err
	}
	e := gin.New()
	e.GET("/account", m.RefreshHandler)
	return Serve("gin-jwt v2, HS256, stateless", e, []*http.Request{request("Authorization", "Bearer "+text)}), nil
}

// versions returns the versions of the peers' modules, by path.
func versions() map[string]string {
	all := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			all[m.Path] = m.Version
		}
	}
	return all
}
