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
	"math"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minHMACKey = 32   // bytes: the length of the hash (RFC 7518 section 3.2)
	minRSABits = 2048 // RFC 7518 section 3.3; generated keys have 3072
	newRSABits = 3072
)

// A Key signs or verifies, with exactly one algorithm (RFC 8725 section 3.1).
// It is immutable, as long as nobody changes a *ecdsa.PrivateKey or
// *rsa.PrivateKey that it was made of.
type Key struct {
	alg    Algorithm
	id     string
	method jwt.SigningMethod
	public any    // what method verifies with
	signer any    // what signs; nil in a key that only verifies
	header string // the encoded JWS header of its tokens
}

// GenerateKey returns a new key from crypto/rand: 32 bytes for HS256, 3072
// bits for RSA. It fails for an algorithm that is not one of the constants.
func GenerateKey(alg Algorithm) (*Key, error) {
	var material any
	var err error
	switch alg {
	case EdDSA:
		_, material, err = ed25519.GenerateKey(rand.Reader)
	case ES256:
		material, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case PS256, RS256:
		material, err = rsa.GenerateKey(rand.Reader, newRSABits)
	case HS256:
		secret := make([]byte, minHMACKey)
		_, err = rand.Read(secret)
		material = secret
	}
	if err != nil {
		return nil, fmt.Errorf("access: making a key: %w", err)
	}
	return NewKey(alg, material)
}

// NewKey returns a key of the given material: a private or public key of the
// standard library, any crypto.Signer (a key that lives in an HSM or a key
// service), or the bytes of an HMAC key. It refuses material that does not fit
// the algorithm, is too weak for it, or whose private and public halves do not
// belong together.
func NewKey(alg Algorithm, material any) (*Key, error) {
	method, err := alg.method()
	if err != nil {
		return nil, err
	}
	k := &Key{alg: alg, method: method}
	if alg == HS256 {
		err = k.setSecret(material)
	} else {
		err = k.setPair(material)
	}
	if err != nil {
		return nil, err
	}
	k.header = encodeHeader(alg, k.id)
	return k, nil
}

func (k *Key) setSecret(material any) error {
	secret, ok := material.([]byte)
	if !ok {
		return mismatch(k.alg)
	}
	if err := checkSecret(secret); err != nil {
		return err
	}
	secret = slices.Clone(secret)
	k.public, k.signer = secret, secret
	// One way, and under a name of its own, so that the id tells nothing that
	// a token does not.
	sum := sha256.Sum256(append([]byte("sessionkit key id "), secret...))
	k.id = base64.RawURLEncoding.EncodeToString(sum[:16])
	return nil
}

func (k *Key) setPair(material any) error {
	signer, public, inMemory := halves(material)
	jwk, err := publicJWK(k.alg, public)
	if err != nil {
		return err
	}
	k.signer, k.public, k.id = signer, public, thumbprint(jwk)
	if !inMemory {
		return nil // asking an HSM costs money and needs a network
	}
	const probe = "sessionkit key check"
	if sig, err := k.sign(probe); err != nil || k.method.Verify(probe, sig, k.public) != nil {
		return mismatch(k.alg)
	}
	return nil
}

// halves returns what signs and what verifies. Both are nil for a private key
// that the standard library would panic on.
func halves(material any) (signer, public any, inMemory bool) {
	switch p := material.(type) {
	case *ed25519.PrivateKey:
		if p != nil {
			return halves(*p)
		}
	case ed25519.PrivateKey:
		if len(p) == ed25519.PrivateKeySize {
			return slices.Clone(p), p.Public(), true
		}
	case *ecdsa.PrivateKey:
		if p != nil && p.D != nil {
			return p, &p.PublicKey, true
		}
	case *rsa.PrivateKey:
		if p != nil && p.Validate() == nil {
			return p, &p.PublicKey, true
		}
	case ed25519.PublicKey:
		return nil, slices.Clone(p), false
	case crypto.Signer:
		return p, p.Public(), false
	default:
		return nil, material, false
	}
	return nil, nil, false
}

func mismatch(alg Algorithm) error {
	return fmt.Errorf("access: a key for %s: want %s", alg, alg.material())
}

// ID is the key's name in tokens ("kid") and in the JWK set: the RFC 7638
// thumbprint of a public key, a hash of an HMAC key.
func (k *Key) ID() string { return k.id }

// canSign reports whether the key holds a private or HMAC key.
func (k *Key) canSign() bool { return k.signer != nil }

// publicJWK returns the members of a public key that its thumbprint is made
// of (RFC 7638 section 3.2, RFC 8037 appendix A.3).
func publicJWK(alg Algorithm, public any) (map[string]string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch p := public.(type) {
	case ed25519.PublicKey:
		if alg == EdDSA && len(p) == ed25519.PublicKeySize {
			return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(p)}, nil
		}
	case *ecdsa.PublicKey:
		if alg != ES256 || p == nil || p.Curve != elliptic.P256() || p.X == nil || p.Y == nil {
			break
		}
		// Fails for a point that is not on the curve (RFC 8725 section 3.4).
		if point, err := p.Bytes(); err == nil && len(point) == 65 {
			return map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}, nil
		}
	case *rsa.PublicKey:
		if (alg == PS256 || alg == RS256) && usableRSA(p) {
			return map[string]string{"kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(big.NewInt(int64(p.E)).Bytes())}, nil
		}
	}
	return nil, mismatch(alg)
}

// usableRSA reports whether crypto/rsa will verify with the key.
func usableRSA(p *rsa.PublicKey) bool {
	return p != nil && p.N != nil && p.N.Sign() > 0 && p.N.BitLen() >= minRSABits && p.N.Bit(0) == 1 &&
		p.E >= 3 && p.E%2 == 1 && int64(p.E) <= math.MaxInt32
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
	return k.signElsewhere(signer, input)
}

// signElsewhere signs with a key that the app brought, whose code may panic.
func (k *Key) signElsewhere(signer crypto.Signer, input string) (sig []byte, err error) {
	defer func() {
		if recover() != nil {
			sig, err = nil, fmt.Errorf("access: the signer (%T) panics", signer)
		}
	}()
	if k.alg == EdDSA {
		return signer.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	}
	digest := sha256.Sum256([]byte(input))
	var opts crypto.SignerOpts = crypto.SHA256
	if k.alg == PS256 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	sig, err = signer.Sign(rand.Reader, digest[:], opts)
	if err == nil && k.alg == ES256 {
		return jwsSignature(sig)
	}
	return sig, err
}
