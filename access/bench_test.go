package access_test

import (
	"crypto"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sessionkit/sessionkit/access"
)

// busy is what a usual token says.
var busy = access.Claims{Subject: "user-0123456789", SessionID: "0123456789abcdefghijkl", Generation: 7, AuthTime: at.Add(-time.Hour), SessionExpiresAt: at.Add(720 * time.Hour), Roles: []string{"admin", "billing", "support"}}

// TestAllocations guards the path of every request.
func TestAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	for _, alg := range algorithms {
		_, tokens := newAuthor(t, alg, access.Config{})
		text, _ := issue(t, tokens, busy)
		if _, err := tokens.Verify(text); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { tokens.Verify(text) }); n != 0 {
			t.Errorf("%s: %v allocations for a token seen before", alg, n)
		}
	}
	_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: -1})
	text, _ := issue(t, tokens, busy)
	if n := testing.AllocsPerRun(100, func() { tokens.Verify(text) }); n > 22 {
		t.Errorf("%v allocations for the first sight of a token", n)
	}
	ring := newRing(t, access.Keys{Signing: newKey(t, access.HS256, materials()[access.HS256]), Secrets: [][]byte{root(1)}})
	ring.Secrets("purpose")
	if n := testing.AllocsPerRun(100, func() { ring.Secrets("purpose") }); n != 0 {
		t.Errorf("%v allocations for derived secrets", n)
	}
}

func BenchmarkVerifySeen(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint("tokens=", n), func(b *testing.B) {
			_, tokens := newAuthor(b, access.HS256, access.Config{})
			texts := make([]string, n)
			for i := range texts {
				texts[i], _ = issue(b, tokens, busy)
				tokens.Verify(texts[i])
			}
			var next atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(next.Add(7919)); pb.Next(); i++ {
					if _, err := tokens.Verify(texts[i%n]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// bare is what golang-jwt decodes into, for comparison: the same claims.
type bare struct {
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

func BenchmarkVerifyFirst(b *testing.B) {
	for _, alg := range algorithms {
		_, tokens := newAuthor(b, alg, access.Config{CacheEntries: -1})
		text, _ := issue(b, tokens, busy)
		b.Run("alg="+string(alg)+"/by=access", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tokens.Verify(text); err != nil {
					b.Fatal(err)
				}
			}
		})
		key := materials()[alg]
		if s, ok := key.(crypto.Signer); ok {
			key = s.Public()
		}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{string(alg)}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithTimeFunc(func() time.Time { return at }))
		b.Run("alg="+string(alg)+"/by=golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var c bare
				if _, err := parser.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkIssue(b *testing.B) {
	for _, alg := range algorithms {
		b.Run("alg="+string(alg), func(b *testing.B) {
			_, tokens := newAuthor(b, alg, access.Config{})
			b.ReportAllocs()
			for b.Loop() {
				issue(b, tokens, busy)
			}
		})
	}
}
