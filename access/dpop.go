package access

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// A DPoPRequest is a request that came with a proof (RFC 9449 section 4.3).
type DPoPRequest struct {
	// Proofs are the values of the header DPoP. There must be one.
	Proofs []string
	Method string
	// URL is the request's, as its sender knows it: with the origin that clients
	// use, and not that of a server behind a proxy. Query and fragment do not
	// count.
	URL string
	// AccessToken is the one that the request came with; "" where it came with
	// none, as for tokens.
	AccessToken string
	// Now is when the request came.
	Now time.Time
	// FreshNonce reports whether a nonce is the server's and recent. A proof with
	// such a nonce is recent too, whatever the clock of its sender says; one with
	// another nonce is refused. nil: no nonce is.
	FreshNonce func(nonce string) bool
	// RequireNonce refuses proofs without a nonce.
	RequireNonce bool
}

// A DPoPProof is what a client signed with a key that does not leave its device.
type DPoPProof struct {
	// ID names the proof ("jti"): whoever accepts it must accept it once.
	ID string
	// Nonce is what FreshNonce was asked; empty without.
	Nonce string
	// Thumbprint is the key's (RFC 7638, with SHA-256): the KeyThumbprint of a
	// token, decoded.
	Thumbprint [32]byte
}

const (
	// DPoPAlgorithms are those that proofs are accepted with, as a challenge
	// lists them (RFC 9449 section 7.1). Ed25519 is another name of EdDSA (RFC
	// 9864).
	DPoPAlgorithms = "ES256 ES384 EdDSA Ed25519 PS256 RS256"

	// maxProofAge is how old a proof without a nonce may be, and maxProofAhead
	// by how much the clock of its sender may be ahead.
	maxProofAge   = time.Minute
	maxProofAhead = 30 * time.Second
	// minProofID and maxProofID bound a "jti": section 4.2 asks for 96 random
	// bits or a UUID.
	minProofID = 8
	maxProofID = 128
	// maxProofURL and maxNonce bound what a proof says of the request.
	maxProofURL = 2 << 10
	maxNonce    = 256
)

// VerifyDPoP verifies that a request was sent by whoever holds the key that its
// proof brings. What the key may do, and that a proof is accepted once, is left
// to the caller.
//
// It fails with ErrMalformed for what is no proof, or more than one; with
// ErrClaims for the proof of another request; with ErrNonce for one that may be
// old; and with ErrSignature. The signature comes last: the rest costs less.
func VerifyDPoP(r DPoPRequest) (DPoPProof, error) {
	if len(r.Proofs) != 1 || len(r.Proofs[0]) > maxProof {
		return DPoPProof{}, ErrMalformed
	}
	text := r.Proofs[0]
	header, body, signature, ok := split(text)
	if !ok {
		return DPoPProof{}, ErrMalformed
	}
	key, err := parseDPoPHeader(header)
	if err != nil {
		return DPoPProof{}, err
	}
	claims, err := parseDPoPClaims(body)
	if err != nil {
		return DPoPProof{}, err
	}
	sig, ok := decodeCanonical(signature)
	if !ok {
		return DPoPProof{}, ErrMalformed
	}
	if err := claims.match(&r); err != nil {
		return DPoPProof{}, err
	}
	if key.method.Verify(text[:len(text)-len(signature)-1], sig, key.public) != nil {
		return DPoPProof{}, ErrSignature
	}
	return DPoPProof{ID: claims.id, Nonce: claims.nonce, Thumbprint: key.thumbprint}, nil
}

// proofKey is the key that a proof brings, for the algorithm that it names.
type proofKey struct {
	method     jwt.SigningMethod
	public     any
	thumbprint [32]byte
}

// parseDPoPHeader reads the header of a proof (section 4.2). Names in another
// case, extensions that would have to be understood, and keys from elsewhere are
// refused, as in parseHeader.
func parseDPoPHeader(segment string) (proofKey, error) {
	text, ok := decodeCanonical(segment)
	if !ok || !utf8.Valid(text) {
		return proofKey{}, ErrMalformed
	}
	var typ, alg, jwk string
	err := scanObject(string(text), func(member, raw string) error {
		ok := true
		switch member {
		case "typ":
			typ, ok = stringValue(raw)
		case "alg":
			alg, ok = stringValue(raw)
		case "jwk":
			jwk, ok = raw, raw[0] == '{'
		default:
			for _, refused := range [...]string{"alg", "typ", "jwk", "crit", "zip", "b64", "jku", "x5u", "x5c", "enc"} {
				ok = ok && !strings.EqualFold(member, refused)
			}
		}
		if !ok {
			return ErrMalformed
		}
		return nil
	})
	if err != nil || typ != "dpop+jwt" || jwk == "" {
		return proofKey{}, ErrMalformed
	}
	return parseProofKey(alg, jwk)
}

// parseProofKey reads the key, which the algorithm must fit, and makes its
// thumbprint of the members that RFC 7638 section 3.2 and RFC 8037 name, in
// their order. Their values have one spelling, and need no escape.
func parseProofKey(alg, jwk string) (k proofKey, err error) {
	var members string
	p, err := readJWK(jwk)
	if err != nil {
		return proofKey{}, err
	}
	switch alg {
	case "ES256":
		k.method = jwt.SigningMethodES256
		k.public, err = p.point("P-256", elliptic.P256())
	case "ES384":
		k.method = jwt.SigningMethodES384
		k.public, err = p.point("P-384", elliptic.P384())
	case "EdDSA", "Ed25519":
		k.method = jwt.SigningMethodEdDSA
		k.public, err = p.edwards()
	case "PS256":
		k.method = methodPS256
		k.public, err = p.modulus()
	case "RS256":
		k.method = jwt.SigningMethodRS256
		k.public, err = p.modulus()
	default:
		err = ErrMalformed // "none" and what a secret signs, too
	}
	switch p.kty {
	case "EC":
		members = `{"crv":"` + p.crv + `","kty":"EC","x":"` + p.x + `","y":"` + p.y + `"}`
	case "OKP":
		members = `{"crv":"` + p.crv + `","kty":"OKP","x":"` + p.x + `"}`
	case "RSA":
		members = `{"e":"` + p.e + `","kty":"RSA","n":"` + p.n + `"}`
	}
	if err != nil {
		return proofKey{}, err
	}
	k.thumbprint = sha256.Sum256([]byte(members))
	return k, nil
}

// proofClaims are what a proof says of its request (section 4.2).
type proofClaims struct {
	id, method, url  string
	issuedAt         time.Time
	tokenHash, nonce string
}

// parseDPoPClaims reads the payload of a proof. Other claims are not looked at.
func parseDPoPClaims(segment string) (c proofClaims, err error) {
	text, ok := decodeCanonical(segment)
	if !ok || !utf8.Valid(text) {
		return proofClaims{}, ErrMalformed
	}
	err = scanObject(string(text), func(member, raw string) error {
		ok := true
		switch member {
		case "jti":
			c.id, ok = stringValue(raw)
		case "htm":
			c.method, ok = stringValue(raw)
		case "htu":
			c.url, ok = stringValue(raw)
		case "iat":
			c.issuedAt, ok = date(raw)
		case "ath":
			c.tokenHash, ok = stringValue(raw)
		case "nonce":
			c.nonce, ok = stringValue(raw)
			ok = ok && c.nonce != ""
		default:
			for _, known := range [...]string{"jti", "htm", "htu", "iat", "ath", "nonce"} {
				ok = ok && !strings.EqualFold(member, known)
			}
		}
		if !ok {
			return ErrMalformed
		}
		return nil
	})
	switch {
	case err != nil, len(c.id) < minProofID || len(c.id) > maxProofID, c.method == "", c.issuedAt.IsZero(),
		c.url == "" || len(c.url) > maxProofURL, len(c.nonce) > maxNonce:
		return proofClaims{}, ErrMalformed
	}
	return c, nil
}

// match compares a proof with the request that it came with.
func (c *proofClaims) match(r *DPoPRequest) error {
	if c.method != r.Method || !sameURL(c.url, r.URL) {
		return ErrClaims
	}
	if r.AccessToken != "" {
		hash := sha256.Sum256([]byte(r.AccessToken))
		want := base64.RawURLEncoding.AppendEncode(make([]byte, 0, thumbprintLength), hash[:])
		if subtle.ConstantTimeCompare([]byte(c.tokenHash), want) != 1 {
			return ErrClaims
		}
	}
	if c.nonce != "" {
		if r.FreshNonce == nil || !r.FreshNonce(c.nonce) {
			return ErrNonce
		}
		return nil // section 4.3, point 11: the nonce says when it was made
	}
	if r.RequireNonce || c.issuedAt.Before(r.Now.Add(-maxProofAge)) || c.issuedAt.After(r.Now.Add(maxProofAhead)) {
		return ErrNonce
	}
	return nil
}
