package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/sessionkit/sessionkit/refresh"
)

// A signer is a browser with a device key, whose session is bound.
type signer struct {
	k              *Kit
	key            *ecdsa.PrivateKey
	session, proof string
}

// newSigner signs in and binds the session.
func newSigner(k *Kit) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &signer{k: k, key: key}
	ctx := context.Background()
	g, err := k.Sessions.Start(ctx, refresh.Login{Subject: "bound", Remember: true, Client: device})
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	jwk := fmt.Sprintf(`,"jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, base64URL(point[1:33]), base64URL(point[33:]))
	registration, err := s.sign(jwk, g.KeyTicket)
	if err != nil {
		return nil, err
	}
	if g, err = k.Sessions.RegisterKey(ctx, registration, g.RefreshToken, device); err != nil {
		return nil, err
	}
	s.session = g.KeySession
	// One proof does for all: a browser, too, sends one again while the challenge
	// stays what it is.
	if s.proof, err = s.sign("", g.KeyChallenge); err != nil {
		return nil, err
	}
	return s, s.refresh()
}

// sign makes a proof over a challenge.
func (s *signer) sign(jwk, challenge string) (string, error) {
	text := base64URL([]byte(`{"alg":"ES256"`+jwk+`,"typ":"dbsc+jwt"}`)) + "." + base64URL([]byte(fmt.Sprintf(`{"jti":%q}`, challenge)))
	sum := sha256.Sum256([]byte(text))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64URL(append(r.FillBytes(make([]byte, 32)), t.FillBytes(make([]byte, 32))...)), nil
}

// refresh renews the session by the proof.
func (s *signer) refresh() error {
	_, err := s.k.Sessions.RefreshWithKey(context.Background(), s.session, s.proof, "", device)
	return err
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
