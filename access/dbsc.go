package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// A DBSCProof is what a browser has signed with a key that does not leave its
// device (W3C Device Bound Session Credentials).
type DBSCProof struct {
	// Challenge is what the browser was asked to sign ("jti"). Whoever made
	// the challenge knows what the proof is for, and how old it may be.
	Challenge string
	// Key is the public key that the proof verifies with, in the DER of a
	// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
	Key []byte
	// Thumbprint is the key's (RFC 7638, with SHA-256).
	Thumbprint [32]byte
}

const (
	// maxProof bounds a proof, in bytes: one with an RSA key of 4096 bits, and
	// a challenge as long as they come.
	maxProof     = 4 << 10
	maxChallenge = 1 << 10
)

// VerifyDBSC verifies the proof of a registration, which brings its key, when
// key is nil, and otherwise one of a refresh, which must not: it is signed with
// the key that is given, the Key of an earlier proof. Algorithms are ES256 and
// RS256, the two of the standard; the key decides which.
//
// It fails with ErrMalformed for what is not a proof of that kind, with
// ErrUnknownKey for a key that is none, or not for the proof's algorithm, and
// with ErrSignature.
func VerifyDBSC(proof string, key []byte) (DBSCProof, error) {
	header, body, signature, ok := split(proof)
	if !ok || len(proof) > maxProof {
		return DBSCProof{}, ErrMalformed
	}
	alg, jwk, err := parseDBSCHeader(header)
	if err != nil {
		return DBSCProof{}, err
	}
	challenge, err := parseDBSCClaims(body)
	if err != nil {
		return DBSCProof{}, err
	}
	sig, ok := decodeCanonical(signature)
	registers := key == nil
	if brings := jwk != ""; !ok || brings != registers {
		return DBSCProof{}, ErrMalformed
	}
	var public any
	if registers {
		public, err = parsePublicJWK(alg, jwk)
	} else {
		public, err = parseDeviceKey(alg, key)
	}
	if err != nil {
		return DBSCProof{}, err
	}
	method, err := alg.method()
	if err != nil {
		return DBSCProof{}, ErrMalformed
	}
	if method.Verify(proof[:len(proof)-len(signature)-1], sig, public) != nil {
		return DBSCProof{}, ErrSignature
	}
	return newDBSCProof(alg, challenge, public)
}

// newDBSCProof describes the key of a proof that was verified.
func newDBSCProof(alg Algorithm, challenge string, public any) (DBSCProof, error) {
	members, err := publicJWK(alg, public)
	if err != nil {
		return DBSCProof{}, ErrUnknownKey
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return DBSCProof{}, ErrUnknownKey
	}
	text, _ := json.Marshal(members) // sorted and without white space, as RFC 7638 wants
	return DBSCProof{Challenge: challenge, Key: der, Thumbprint: sha256.Sum256(text)}, nil
}

// parseDeviceKey reads what DBSCProof.Key holds, for the algorithm of a proof.
func parseDeviceKey(alg Algorithm, der []byte) (any, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, ErrUnknownKey
	}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if alg == ES256 && p.Curve == elliptic.P256() {
			return p, nil
		}
	case *rsa.PublicKey:
		if alg == RS256 && usableRSA(p) && p.N.BitLen() <= maxRSABits {
			return p, nil
		}
	}
	return nil, ErrUnknownKey
}

// parseDBSCHeader returns the algorithm, and the key as its JSON where the
// header has one. Names in another case, extensions that would have to be
// understood, and keys from elsewhere are refused, as in parseHeader.
func parseDBSCHeader(segment string) (alg Algorithm, jwk string, err error) {
	text, ok := decodeCanonical(segment)
	if !ok || !utf8.Valid(text) {
		return "", "", ErrMalformed
	}
	var typ, name string
	err = scanObject(string(text), func(member, raw string) error {
		ok := true
		switch member {
		case "alg":
			name, ok = stringValue(raw)
		case "typ":
			typ, ok = stringValue(raw)
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
	if alg = Algorithm(name); err != nil || typ != "dbsc+jwt" || alg != ES256 && alg != RS256 {
		return "", "", ErrMalformed
	}
	return alg, jwk, nil
}

// parseDBSCClaims returns the challenge. Browsers may add claims: they are not
// looked at, since nothing is decided by them.
func parseDBSCClaims(segment string) (challenge string, err error) {
	text, ok := decodeCanonical(segment)
	if !ok || !utf8.Valid(text) {
		return "", ErrMalformed
	}
	err = scanObject(string(text), func(member, raw string) error {
		switch {
		case member == "jti":
			if challenge, ok = stringValue(raw); !ok {
				return ErrMalformed
			}
		case strings.EqualFold(member, "jti"):
			return ErrMalformed
		}
		return nil
	})
	if err != nil || challenge == "" || len(challenge) > maxChallenge {
		return "", ErrMalformed
	}
	return challenge, nil
}
