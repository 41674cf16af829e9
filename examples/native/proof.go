package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// openKey reads the key that the app's sessions are bound to, and makes one at the
// first start. The file stands in for what a phone has: a key that is made in the
// Secure Enclave or the Keystore signs there and never leaves. Whoever copies this
// file has the key; nobody copies that one.
func openKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if text, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, err
		}
		return key, writeFile(path, text)
	}
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(text)
	if key, ok := parsed.(*ecdsa.PrivateKey); err == nil && ok && key.Curve == elliptic.P256() {
		return key, nil
	}
	return nil, fmt.Errorf("%s is damaged: remove it and sign in", path)
}

// prove makes a proof for one request (RFC 9449 section 4.2): that whoever sends it
// has the key. It names the request, and the access token that it comes with.
func prove(key *ecdsa.PrivateKey, method, url, token, nonce string) (string, error) {
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	header := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]string{
		"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}
	url, _, _ = strings.Cut(url, "?")
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix()}
	if token != "" {
		hash := sha256.Sum256([]byte(token))
		claims["ath"] = encode(hash[:])
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	segments := make([]string, 2)
	for i, part := range []any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		segments[i] = encode(text)
	}
	signed := strings.Join(segments, ".")
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature), nil
}
