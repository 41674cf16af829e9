package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"strings"
)

// maxRSABits bounds a key that a client brings: each verification costs its
// square.
const maxRSABits = 4096

// parsePublicJWK reads a public key that a client brings in the header of a
// proof (RFC 7517, RFC 7518 section 6): for ES256 or RS256. A key with a private
// part is refused: whoever sends it to us has given it away. Other members are
// not looked at. It fails with ErrMalformed.
func parsePublicJWK(alg Algorithm, raw string) (any, error) {
	var kty, crv, x, y, n, e string
	err := scanObject(raw, func(name, value string) error {
		var s *string
		switch name {
		case "kty":
			s = &kty
		case "crv":
			s = &crv
		case "x":
			s = &x
		case "y":
			s = &y
		case "n":
			s = &n
		case "e":
			s = &e
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
	switch {
	case err != nil:
		return nil, ErrMalformed
	case alg == ES256 && kty == "EC" && crv == "P-256" && n+e == "":
		return parsePoint(x, y)
	case alg == RS256 && kty == "RSA" && crv+x+y == "":
		return parseModulus(n, e)
	}
	return nil, ErrMalformed
}

// parsePoint reads a point of P-256. Each coordinate has its full length (RFC
// 7518 section 6.2.1.2); a point that is not on the curve is refused.
func parsePoint(x, y string) (*ecdsa.PublicKey, error) {
	point := []byte{4} // uncompressed
	for _, text := range []string{x, y} {
		b, ok := decodeCanonical(text)
		if !ok || len(b) != 32 {
			return nil, ErrMalformed
		}
		point = append(point, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
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
