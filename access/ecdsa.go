package access

import (
	"encoding/asn1"
	"errors"
	"math/big"
)

// jwsSignature turns the ASN.1 signature of a crypto.Signer into the 64 bytes
// r ‖ s of RFC 7518 section 3.4.
func jwsSignature(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 || sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > 256 || sig.S.BitLen() > 256 {
		return nil, errors.New("access: the signer returned no ECDSA signature on P-256")
	}
	out := make([]byte, 64)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out, nil
}
