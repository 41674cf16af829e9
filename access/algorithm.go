package access

import (
	"crypto/rsa"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// An Algorithm signs access tokens (RFC 7518, RFC 8037).
type Algorithm string

const (
	EdDSA Algorithm = "EdDSA" // Ed25519: the default; small, fast, nothing to get wrong
	ES256 Algorithm = "ES256" // ECDSA with P-256
	PS256 Algorithm = "PS256" // RSASSA-PSS
	HS256 Algorithm = "HS256" // HMAC: whoever can verify can also sign
	// RS256 is RSASSA-PKCS1-v1_5, for peers that know nothing better. OWASP
	// ASVS 5.0 Appendix C disallows it, so it is used only when it is named.
	RS256 Algorithm = "RS256"
)

// methodPS256 pins the salt's length (RFC 7518 section 3.5); golang-jwt's own
// method verifies salts of any length.
var methodPS256 = &jwt.SigningMethodRSAPSS{
	SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
	Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
}

// method returns how an algorithm signs, or an error for one that is not
// among the constants ("none" is not).
func (alg Algorithm) method() (jwt.SigningMethod, error) {
	switch alg {
	case EdDSA:
		return jwt.SigningMethodEdDSA, nil
	case ES256:
		return jwt.SigningMethodES256, nil
	case PS256:
		return methodPS256, nil
	case RS256:
		return jwt.SigningMethodRS256, nil
	case HS256:
		return jwt.SigningMethodHS256, nil
	}
	return nil, fmt.Errorf("access: unknown algorithm %.20q: use EdDSA, ES256, PS256, HS256 or RS256", string(alg))
}

// material says what a key for the algorithm is made of.
func (alg Algorithm) material() string {
	switch alg {
	case EdDSA:
		return "an Ed25519 key"
	case ES256:
		return "an ECDSA key on P-256"
	case HS256:
		return "at least 32 random bytes"
	}
	return "an RSA key of at least 2048 bits"
}
