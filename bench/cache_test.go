package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/middleware"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// What a cache of verified tokens is known to get wrong, tried through the
// middleware with tokens that were seen before.

func newKit(t *testing.T, alg access.Algorithm, entries int, now func() time.Time) (*Env, *Kit) {
	t.Helper()
	env, err := NewEnv(alg)
	if err != nil {
		t.Fatal(err)
	}
	k, err := env.NewKit(nil, entries, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Sessions.Close() })
	return env, k
}

func login(t *testing.T, k *Kit, subject string) *refresh.Grant {
	t.Helper()
	g, err := k.Sessions.Start(context.Background(), refresh.Login{Subject: subject, Remember: true, Client: device})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// status sends a request with the token and returns the answer's status and
// the subject that the handler saw.
func status(k *Kit, token string) (int, string) {
	var seen string
	w := httptest.NewRecorder()
	k.Auth.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if c, ok := middleware.Session(r.Context()); ok {
			seen = c.Subject
		}
	})).ServeHTTP(w, request("Authorization", "Bearer "+token))
	return w.Code, seen
}

func TestStaleCacheAfterKeyRemoval(t *testing.T) {
	env, k := newKit(t, access.EdDSA, 0, nil)
	token := login(t, k, "alice").AccessToken
	for range 2 {
		if code, _ := status(k, token); code != http.StatusOK {
			t.Fatalf("a good token: %d", code)
		}
	}
	other, err := NewEnv(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	key, err := access.NewKey(access.EdDSA, other.Private)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Ring.Replace(access.Keys{Signing: key, Secrets: [][]byte{random(32)}}); err != nil {
		t.Fatal(err)
	}
	if code, _ := status(k, token); code != http.StatusUnauthorized {
		t.Errorf("a token whose key was removed: %d", code)
	}
}

// TestEveryTokenItsOwnClaims: a cache that is far too small is written and
// read by many at once.
func TestEveryTokenItsOwnClaims(t *testing.T) {
	_, k := newKit(t, access.HS256, 16, nil)
	const sessions = 64
	tokens, names := make([]string, sessions), make([]string, sessions)
	for i := range tokens {
		g := login(t, k, fmt.Sprint("user-", i))
		tokens[i], names[i] = g.AccessToken, g.Claims.Subject
	}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for n := range 500 {
				i := (n*(2*w+1) + w) % sessions
				if code, seen := status(k, tokens[i]); code != http.StatusOK || seen != names[i] {
					t.Errorf("the token of %s: %d, %s", names[i], code, seen)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestExpiryOfACachedToken(t *testing.T) {
	var ahead atomic.Int64
	_, k := newKit(t, access.HS256, 0, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	token := login(t, k, "alice").AccessToken
	if code, _ := status(k, token); code != http.StatusOK {
		t.Fatalf("a good token: %d", code)
	}
	ahead.Store(int64(9 * time.Minute))
	if code, _ := status(k, token); code != http.StatusOK {
		t.Errorf("shortly before its expiry: %d", code)
	}
	ahead.Store(int64(10*time.Minute + time.Second)) // it ends on a whole second
	if code, _ := status(k, token); code != http.StatusUnauthorized {
		t.Errorf("after its expiry: %d", code)
	}
}

func TestRevokedBetweenLookups(t *testing.T) {
	_, k := newKit(t, access.HS256, 0, nil)
	alice, bob := login(t, k, "alice"), login(t, k, "bob")
	for _, g := range []*refresh.Grant{alice, bob} {
		if code, _ := status(k, g.AccessToken); code != http.StatusOK {
			t.Fatalf("a good token: %d", code)
		}
	}
	if err := k.Sessions.Revoke(context.Background(), "alice", alice.Claims.SessionID, family.ReasonLogout); err != nil {
		t.Fatal(err)
	}
	if code, _ := status(k, alice.AccessToken); code != http.StatusUnauthorized {
		t.Errorf("a revoked session: %d", code)
	}
	if code, seen := status(k, bob.AccessToken); code != http.StatusOK || seen != "bob" {
		t.Errorf("another's session: %d, %s", code, seen)
	}
}
