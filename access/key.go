package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

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

const (
	minHMACKey = 32   // bytes: the length of the hash (RFC 7518 section 3.2)
	minRSABits = 2048 // RFC 7518 section 3.3; generated keys have 3072
	newRSABits = 3072
)

// A Key signs or verifies, with exactly one algorithm (RFC 8725 section 3.1).
// It is immutable.
type Key struct {
	alg    Algorithm
	id     string
	method jwt.SigningMethod
	public any    // what method verifies with
	signer any    // what signs; nil in a key that only verifies
	header string // the encoded JWS header of its tokens
}

// GenerateKey returns a new key from crypto/rand. It fails for an algorithm
// that is not one of the constants.
func GenerateKey(alg Algorithm) (*Key, error) {
	switch alg {
	case EdDSA:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return NewKey(alg, k)
	case ES256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return NewKey(alg, k)
	case PS256, RS256:
		k, err := rsa.GenerateKey(rand.Reader, newRSABits)
		if err != nil {
			return nil, err
		}
		return NewKey(alg, k)
	case HS256:
		k := make([]byte, minHMACKey)
		rand.Read(k)
		return NewKey(alg, k)
	}
	return nil, unknownAlgorithm(alg)
}

func unknownAlgorithm(alg Algorithm) error {
	return fmt.Errorf("access: unknown algorithm %q: use EdDSA, ES256, PS256, HS256 or RS256", alg)
}

// NewKey returns a key of the given material: a private or public key of the
// standard library, any crypto.Signer (a key that lives in an HSM or a key
// service), or the bytes of an HMAC key. It refuses material that does not fit
// the algorithm or is too weak for it.
func NewKey(alg Algorithm, material any) (*Key, error) {
	k := &Key{alg: alg}
	switch alg {
	case EdDSA:
		k.method = jwt.SigningMethodEdDSA
	case ES256:
		k.method = jwt.SigningMethodES256
	case PS256:
		// golang-jwt's own method verifies salts of any length.
		k.method = &jwt.SigningMethodRSAPSS{
			SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
			Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
		}
	case RS256:
		k.method = jwt.SigningMethodRS256
	case HS256:
		k.method = jwt.SigningMethodHS256
	default:
		return nil, unknownAlgorithm(alg)
	}
	if err := k.set(material); err != nil {
		return nil, err
	}
	if k.signer != nil || alg != HS256 {
		k.header = encodeHeader(alg, k.id)
	}
	return k, nil
}

func (k *Key) set(material any) error {
	if secret, ok := material.([]byte); ok || k.alg == HS256 {
		if !ok || k.alg != HS256 {
			return fmt.Errorf("access: a key for %s: want %s", k.alg, wanted(k.alg))
		}
		if err := checkSecret(secret); err != nil {
			return err
		}
		secret = slices.Clone(secret)
		k.public, k.signer = secret, secret
		sum := sha256.Sum256(append([]byte("sessionkit key id "), secret...))
		k.id = base64.RawURLEncoding.EncodeToString(sum[:16])
		return nil
	}
	public := material
	if signer, ok := material.(crypto.Signer); ok {
		k.signer, public = signer, signer.Public()
	}
	jwk, err := publicJWK(k.alg, public)
	if err != nil {
		return err
	}
	k.public, k.id = public, thumbprint(jwk)
	return nil
}

func wanted(alg Algorithm) string {
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

// checkSecret refuses what cannot be random.
func checkSecret(secret []byte) error {
	if len(secret) < minHMACKey {
		return fmt.Errorf("access: a secret of %d bytes is too short: use at least %d random bytes", len(secret), minHMACKey)
	}
	var seen [256]bool
	distinct := 0
	for _, b := range secret {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	// 32 random bytes have fewer than 16 different values less than once in 2^60.
	if distinct < 16 {
		return errors.New("access: a secret repeats a few bytes: use at least 32 random bytes")
	}
	return nil
}

// ID is the key's name in tokens ("kid") and in the JWK set: the RFC 7638
// thumbprint of a public key, a hash of an HMAC key.
func (k *Key) ID() string { return k.id }

// Algorithm returns the one algorithm that the key is used with.
func (k *Key) Algorithm() Algorithm { return k.alg }

// CanSign reports whether the key holds a private or HMAC key.
func (k *Key) CanSign() bool { return k.signer != nil }

// publicJWK returns the members of a public key that its thumbprint is made
// of (RFC 7638 section 3.2, RFC 8037 appendix A.3).
func publicJWK(alg Algorithm, public any) (map[string]string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	mismatch := fmt.Errorf("access: a key for %s: want %s", alg, wanted(alg))
	switch p := public.(type) {
	case ed25519.PublicKey:
		if alg != EdDSA || len(p) != ed25519.PublicKeySize {
			return nil, mismatch
		}
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}, nil
	case *ecdsa.PublicKey:
		if alg != ES256 || p == nil || p.Curve != elliptic.P256() {
			return nil, mismatch
		}
		point, err := p.Bytes() // fails for a point that is not on the curve
		if err != nil || len(point) != 65 {
			return nil, mismatch
		}
		return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}, nil
	case *rsa.PublicKey:
		if alg != PS256 && alg != RS256 || p == nil || p.N == nil || p.N.BitLen() < minRSABits || p.E < 3 || p.E%2 == 0 {
			return nil, mismatch
		}
		return map[string]string{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}, nil
	}
	return nil, mismatch
}

func thumbprint(jwk map[string]string) string {
	// encoding/json writes maps sorted and without white space, as RFC 7638 wants.
	text, _ := json.Marshal(jwk)
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sign returns the signature of a signing input.
func (k *Key) sign(input string) ([]byte, error) {
	switch k.signer.(type) {
	case []byte, ed25519.PrivateKey, *ecdsa.PrivateKey, *rsa.PrivateKey:
		return k.method.Sign(input, k.signer)
	}
	// golang-jwt signs with keys in memory only.
	signer, ok := k.signer.(crypto.Signer)
	if !ok {
		return nil, errors.New("access: the key cannot sign")
	}
	if k.alg == EdDSA {
		return signer.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	}
	digest := sha256.Sum256([]byte(input))
	var opts crypto.SignerOpts = crypto.SHA256
	if k.alg == PS256 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	sig, err := signer.Sign(rand.Reader, digest[:], opts)
	if err == nil && k.alg == ES256 {
		return jwsSignature(sig)
	}
	return sig, err
}
