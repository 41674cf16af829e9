package access

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"strings"
)

// maxRSABits bounds a key that a client brings: each verification costs its
// square.
const maxRSABits = 4096

// A publicKey is what a client's JWK says (RFC 7517, RFC 7518 section 6).
type publicKey struct{ kty, crv, x, y, n, e string }

// readJWK reads a public key that a client brings in the header of a proof. A key
// with a private part is refused: whoever sends it to us has given it away. Other
// members are not looked at. It fails with ErrMalformed.
func readJWK(raw string) (k publicKey, err error) {
	err = scanObject(raw, func(name, value string) error {
		var s *string
		switch name {
		case "kty":
			s = &k.kty
		case "crv":
			s = &k.crv
		case "x":
			s = &k.x
		case "y":
			s = &k.y
		case "n":
			s = &k.n
		case "e":
			s = &k.e
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			return ErrMalformed
		default:
			return nil
		}
		var ok bool
		if *s, ok = stringValue(value); !ok {
			return ErrMalformed
		}
		return nil
	})
	if err != nil {
		return publicKey{}, ErrMalformed
	}
	return k, nil
}

// parsePublicJWK reads a key for ES256 or RS256. It fails with ErrMalformed.
func parsePublicJWK(alg Algorithm, raw string) (any, error) {
	k, err := readJWK(raw)
	switch {
	case err != nil:
		return nil, err
	case alg == ES256:
		return k.point("P-256", elliptic.P256())
	case alg == RS256:
		return k.modulus()
	}
	return nil, ErrMalformed
}

// point is the key as a point of a curve.
func (k *publicKey) point(name string, curve elliptic.Curve) (*ecdsa.PublicKey, error) {
	if k.kty != "EC" || k.crv != name || k.n+k.e != "" {
		return nil, ErrMalformed
	}
	return parsePoint(curve, k.x, k.y)
}

// edwards is the key as one of Ed25519 (RFC 8037 section 2).
func (k *publicKey) edwards() (ed25519.PublicKey, error) {
	b, ok := decodeCanonical(k.x)
	if k.kty != "OKP" || k.crv != "Ed25519" || k.y+k.n+k.e != "" || !ok || len(b) != ed25519.PublicKeySize {
		return nil, ErrMalformed
	}
	return b, nil
}

// modulus is the key as one of RSA.
func (k *publicKey) modulus() (*rsa.PublicKey, error) {
	if k.kty != "RSA" || k.crv+k.x+k.y != "" {
		return nil, ErrMalformed
	}
	return parseModulus(k.n, k.e)
}

// parsePoint reads a point of a curve. Each coordinate has its full length (RFC
// 7518 section 6.2.1.2); a point that is not on the curve is refused.
func parsePoint(curve elliptic.Curve, x, y string) (*ecdsa.PublicKey, error) {
	point := []byte{4} // uncompressed
	for _, text := range []string{x, y} {
		b, ok := decodeCanonical(text)
		if !ok || len(b) != (curve.Params().BitSize+7)/8 {
			return nil, ErrMalformed
		}
		point = append(point, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, ErrMalformed
	}
	return key, nil
}

// parseModulus reads an RSA key of 2048 to 4096 bits without leading zeros (RFC
// 7518 section 6.3.1).
func parseModulus(n, e string) (*rsa.PublicKey, error) {
	modulus, ok := decodeCanonical(n)
	exponent, eok := decodeCanonical(e)
	if !ok || !eok || len(exponent) > 4 || len(modulus) > maxRSABits/8 || modulus[0] == 0 || exponent[0] == 0 {
		return nil, ErrMalformed
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	if !usableRSA(key) {
		return nil, ErrMalformed
	}
	return key, nil
}

// decodeCanonical decodes base64url that has one spelling, and is not empty.
func decodeCanonical(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") { // the decoder would skip them
		return nil, false
	}
	b, err := strictBase64.DecodeString(s)
	return b, err == nil && len(b) > 0
}
