package access_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

func Example() {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		log.Fatal(err)
	}

	// At login:
	text, issued, err := tokens.Issue(access.Claims{
		Subject: "alice", SessionID: "family-1", AuthTime: time.Now(), Roles: []string{"admin"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("lasts", issued.ExpiresAt.Sub(issued.IssuedAt).Truncate(time.Minute))

	// At each request:
	c, err := tokens.Verify(text)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Subject, c.HasRole("admin"), c.HasRole("root"))
	// Output:
	// lasts 10m0s
	// alice true false
}

func ExampleNew() {
	_, err := access.New(access.Config{Issuer: "https://app.example"})
	fmt.Println(err)
	// Output:
	// access: Config.Audience is empty or not UTF-8: name the service that the tokens are for
}

func ExampleTokens_Verify() {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		log.Fatal(err)
	}
	now := time.Now()
	tokens, err := access.New(access.Config{
		Issuer: "https://app.example", Audience: "app", Keys: ring, Lifetime: 5 * time.Minute,
		Now: func() time.Time { return now },
	})
	if err != nil {
		log.Fatal(err)
	}
	text, _, err := tokens.Issue(access.Claims{Subject: "alice", SessionID: "family-1", AuthTime: now})
	if err != nil {
		log.Fatal(err)
	}
	now = now.Add(5*time.Minute + time.Second) // it ends on a whole second
	_, err = tokens.Verify(text)
	fmt.Println(errors.Is(err, access.ErrExpired))
	_, err = tokens.Verify(text + "x")
	fmt.Println(err)
	// Output:
	// true
	// access: malformed token
}

func ExampleClaims_Decode() {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		log.Fatal(err)
	}
	type appClaims struct {
		Tenant string `json:"tenant"`
		Plan   string `json:"plan"`
	}
	text, _, err := tokens.Issue(access.Claims{
		Subject: "alice", SessionID: "family-1", AuthTime: time.Now(),
		Custom: appClaims{Tenant: "acme", Plan: "pro"},
	})
	if err != nil {
		log.Fatal(err)
	}

	c, err := tokens.Verify(text)
	if err != nil {
		log.Fatal(err)
	}
	var app appClaims
	if err := c.Decode(&app); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Subject, app.Tenant, app.Plan)
	// Output: alice acme pro
}

// Rotation without a logout: make the new key known, sign with it once every
// instance and every reader of the JWK set knows it, and retire the old key
// when its last token has expired.
func ExampleKeyRing_Replace() {
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := access.New(access.Config{Issuer: "https://app.example", Audience: "app", Keys: ring})
	if err != nil {
		log.Fatal(err)
	}
	old, _, err := tokens.Issue(access.Claims{Subject: "alice", SessionID: "family-1", AuthTime: time.Now()})
	if err != nil {
		log.Fatal(err)
	}

	next, err := access.GenerateKey(access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range []access.Keys{
		{Signing: keys.Signing, Verifying: []*access.Key{next}, Secrets: keys.Secrets},
		{Signing: next, Verifying: []*access.Key{keys.Signing}, Secrets: keys.Secrets},
		{Signing: next, Secrets: keys.Secrets},
	} {
		if err := ring.Replace(step); err != nil {
			log.Fatal(err)
		}
		_, err := tokens.Verify(old)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// access: unknown key
}

func ExampleOpenKeys() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "keys.pem")

	first, err := access.OpenKeys(path, access.EdDSA) // creates it
	if err != nil {
		log.Fatal(err)
	}
	second, err := access.OpenKeys(path, access.EdDSA) // loads it
	if err != nil {
		log.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Signing.ID() == second.Signing.ID(), info.Mode())
	// Output: true -rw-------
}
