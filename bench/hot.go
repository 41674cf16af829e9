package bench

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sessionkit/sessionkit/access"
)

// A Hot is the way of a request with a valid token that was seen before.
type Hot struct {
	Alg           access.Algorithm
	Tokens, Cores int
	// Floor and Kit, by where the token comes in: 0 Bearer, 1 cookie.
	Floor, Kit [2]*Cost
}

var transports = [2]string{"bearer", "cookie"}

// hotOps returns the operations of floor and kit, for both transports.
func hotOps(k *Kit, n int) ([]Op, error) {
	t, err := k.NewTraffic(n)
	if err != nil {
		return nil, err
	}
	floor := NewFloor(t.Seen, "__Host-access", nothing)
	guarded := k.Auth.RequireAuth(nothing)
	var ops []Op
	for i, requests := range [2][]*http.Request{t.Bearer, t.Cookies} {
		ops = append(ops, Serve("floor/"+transports[i], floor, requests), Serve("kit/"+transports[i], guarded, requests))
	}
	return ops, nil
}

// MeasureHot measures one algorithm with one and with many tokens.
func MeasureHot(alg access.Algorithm, s Scale) ([]Hot, error) {
	env, err := NewEnv(alg)
	if err != nil {
		return nil, err
	}
	var all []Hot
	for _, n := range []int{1, s.Tokens} {
		k, err := env.NewKit(nil, 2*s.Tokens, nil)
		if err != nil {
			return nil, err
		}
		ops, err := hotOps(k, n)
		for _, cores := range s.Cores {
			if err != nil {
				break
			}
			var costs []*Cost
			if costs, err = Measure(ops, cores, s.Rounds, s.Slice); err == nil {
				all = append(all, Hot{alg, n, cores, [2]*Cost{costs[0], costs[2]}, [2]*Cost{costs[1], costs[3]}})
			}
		}
		if err = errors.Join(err, k.Sessions.Close()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Bare is the claims struct that golang-jwt decodes into: the same claims.
type Bare struct {
	jwt.RegisteredClaims
	ClientID   string           `json:"client_id"`
	SessionID  string           `json:"sid"`
	Generation uint64           `json:"gen"`
	AuthTime   *jwt.NumericDate `json:"auth_time"`
	SessionExp *jwt.NumericDate `json:"session_exp"`
	ACR        string           `json:"acr"`
	AMR        []string         `json:"amr"`
	Scope      string           `json:"scope"`
	Roles      []string         `json:"roles"`
}

// A First is the first sight of a token.
type First struct {
	Alg       access.Algorithm
	Bare, Kit *Cost
}

// firstOps returns bare golang-jwt, and the kit without its cache.
func firstOps(k *Kit) ([]Op, error) {
	text, _, err := k.Tokens.Issue(claims(1))
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{string(k.Alg)}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithIssuedAt(), jwt.WithExpirationRequired())
	keyFor := func(*jwt.Token) (any, error) { return k.Public, nil }
	return []Op{
		{"golang-jwt", func(_, n int) error {
			for range n {
				var c Bare
				if _, err := parser.ParseWithClaims(text, &c, keyFor); err != nil {
					return err
				}
			}
			return nil
		}},
		{"kit", func(_, n int) error {
			for range n {
				if _, err := k.Tokens.Verify(text); err != nil {
					return err
				}
			}
			return nil
		}},
	}, nil
}

// MeasureFirst measures the first sight of a token, on one core.
func MeasureFirst(alg access.Algorithm, s Scale) (*First, error) {
	env, err := NewEnv(alg)
	if err != nil {
		return nil, err
	}
	k, err := env.NewKit(nil, -1, nil)
	if err != nil {
		return nil, err
	}
	defer k.Sessions.Close()
	ops, err := firstOps(k)
	if err != nil {
		return nil, err
	}
	costs, err := Measure(ops, 1, s.Rounds, s.Slice)
	if err != nil {
		return nil, err
	}
	return &First{alg, costs[0], costs[1]}, nil
}

// A Scale is how much is measured.
type Scale struct {
	Short    bool
	Rounds   int
	Slice    time.Duration
	Cores    []int
	Tokens   int // live tokens, for the way of every request
	Calls    int // sequential refreshes
	Parallel time.Duration
	Sessions int   // in Redis, for memory
	Families []int // how cost grows
	Siblings []int // sessions of one subject
}

// Full takes some minutes, Short a good part of one.
func Full() Scale {
	return Scale{Rounds: 7, Slice: 100 * time.Millisecond, Cores: []int{1, 2}, Tokens: 100_000, Calls: 6000, Parallel: time.Second,
		Sessions: 100_000, Families: []int{1_000, 10_000, 100_000, 1_000_000}, Siblings: []int{1, 2, 5, 10, 30, 100, 300, 1000}}
}

// Short is Full in little, to see that all of it works.
func Short() Scale {
	return Scale{Short: true, Rounds: 3, Slice: 20 * time.Millisecond, Cores: []int{1, 2}, Tokens: 1000, Calls: 300, Parallel: 100 * time.Millisecond,
		Sessions: 20_000, Families: []int{1_000, 10_000}, Siblings: []int{1, 10, 100}}
}

func ns(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.1f µs", v/1000)
	}
	return fmt.Sprintf("%.0f ns", v)
}

func ratio(v float64) string { return strings.TrimSpace(fmt.Sprintf("%.2f×", v)) }
