package access

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxToken bounds a token, in bytes: twice what fits into a cookie.
	maxToken = 8 << 10
	// maxKeyID bounds a key id, in bytes.
	maxKeyID = 128
	// maxInteger is the largest integer that all JSON readers agree on.
	maxInteger = 1<<53 - 1
	// maxDate keeps dates within what time.Time can add to: the year 9999.
	maxDate = 253402300799
	// thumbprintLength is that of 32 bytes in base64url.
	thumbprintLength = 43
)

var strictBase64 = base64.RawURLEncoding.Strict()

// split cuts a compact JWS into its segments. It accepts the legal alphabet
// only (RFC 8725bis section 3.14); base64 decoders skip line breaks.
func split(token string) (header, body, signature string, ok bool) {
	if len(token) > maxToken {
		return "", "", "", false
	}
	first, second := -1, -1
	for i := range len(token) {
		c := token[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && first < 0:
			first = i
		case c == '.' && second < 0:
			second = i
		default:
			return "", "", "", false
		}
	}
	if second < 0 || first == 0 || second == first+1 || second == len(token)-1 {
		return "", "", "", false
	}
	return token[:first], token[first+1 : second], token[second+1:], true
}

// encodeHeader is the one header that Issue writes for a key.
func encodeHeader(alg Algorithm, id string) string {
	text, _ := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}{string(alg), id, "at+jwt"})
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseHeader returns the algorithm and key id of a JOSE header that is not
// ours to the letter: of another issuer's library, or of an attacker's.
// Extensions that must be understood are not (RFC 7515 section 4.1.11), keys
// that travel with the token are not looked at (RFC 8725 section 3.10), and
// the type must be that of an access token (RFC 9068 section 4).
func parseHeader(segment string) (alg, kid string, err error) {
	text, err := strictBase64.DecodeString(segment)
	if err != nil || !utf8.Valid(text) {
		return "", "", ErrMalformed
	}
	var typ string
	err = scanObject(string(text), func(name, raw string) error {
		var s *string
		switch {
		case name == "alg":
			s = &alg
		case name == "kid":
			s = &kid
		case name == "typ":
			s = &typ
		default:
			for _, refused := range [...]string{"alg", "kid", "typ", "crit", "zip", "b64", "jku", "jwk", "x5u", "x5c", "enc"} {
				if strings.EqualFold(name, refused) {
					return ErrMalformed
				}
			}
			return nil
		}
		var ok bool
		if *s, ok = stringValue(raw); !ok {
			return ErrMalformed
		}
		return nil
	})
	if err != nil || alg == "" || kid == "" || len(kid) > maxKeyID {
		return "", "", ErrMalformed
	}
	// A type without a slash is short for application/ (RFC 7515 section 4.1.9).
	if !strings.EqualFold(typ, "at+jwt") && !strings.EqualFold(typ, "application/at+jwt") {
		return "", "", ErrMalformed
	}
	return alg, kid, nil
}

// A claimsReader takes the members of a payload into claims.
type claimsReader struct {
	claims        *Claims
	issuedRest    time.Duration
	hasGeneration bool
}

// parseClaims reads a payload: ErrMalformed for JSON that two readers could
// understand differently, ErrClaims for claims that are missing or ill-typed.
func parseClaims(body []byte) (*Claims, error) {
	if !utf8.Valid(body) {
		return nil, ErrMalformed // RFC 8725 section 3.7
	}
	// One string, of which most claims are parts.
	c := &Claims{payload: string(body)}
	r := claimsReader{claims: c}
	err := scanObject(c.payload, r.member)
	switch {
	case errors.Is(err, errJSON):
		return nil, ErrMalformed
	case err != nil:
		return nil, err
	// What RFC 9068 section 2.2 requires, and what a session cannot do without.
	case c.Issuer == "" || c.Subject == "" || len(c.Audience) == 0 || c.ClientID == "" || c.ID == "":
		return nil, ErrClaims
	case c.IssuedAt.IsZero() || c.ExpiresAt.IsZero() || c.AuthTime.IsZero() || c.SessionID == "" || !r.hasGeneration:
		return nil, ErrClaims
	}
	c.IssuedAt = c.IssuedAt.Add(r.issuedRest)
	return c, nil
}

func (r *claimsReader) member(name, raw string) error {
	c, ok := r.claims, false
	switch name {
	case "iss":
		c.Issuer, ok = stringValue(raw)
	case "sub":
		c.Subject, ok = stringValue(raw)
	case "aud":
		c.Audience, ok = stringOrStrings(raw)
	case "exp":
		c.ExpiresAt, ok = date(raw)
	case "nbf":
		c.NotBefore, ok = date(raw)
	case "iat":
		c.IssuedAt, ok = date(raw)
	case "jti":
		c.ID, ok = stringValue(raw)
	case "client_id":
		c.ClientID, ok = stringValue(raw)
	case "sid":
		c.SessionID, ok = stringValue(raw)
	case "gen":
		c.Generation, ok = integer(raw)
		r.hasGeneration = true
	case "auth_time":
		c.AuthTime, ok = date(raw)
	case "session_exp":
		c.SessionExpiresAt, ok = date(raw)
	case "acr":
		c.ACR, ok = stringValue(raw)
	case "amr":
		c.AMR, ok = stringsValue(raw)
	case "act":
		c.Actor, ok = actorValue(raw)
	case "scope":
		c.Scopes, ok = scopeValue(raw)
	case "roles":
		c.Roles, ok = stringsValue(raw)
	case "cnf":
		c.KeyThumbprint, ok = confirmation(raw)
		c.DeviceBound = ok
	case "iat_ms":
		r.issuedRest, ok = milliseconds(raw)
	default:
		if isReserved(name) {
			return ErrMalformed
		}
		return nil
	}
	if !ok {
		return ErrClaims
	}
	return nil
}

// confirmation reads how a token is bound (RFC 7800): the thumbprint of a key,
// or "" where the refreshes of the session are signed. RFC 7800 section 3.1
// wants methods that a reader does not know ignored; a token that is bound by
// one is refused here, since nobody would ask for its proof.
func confirmation(raw string) (thumbprint string, ok bool) {
	members := 0
	err := scanObject(raw, func(name, raw string) error {
		members++
		switch name {
		case "jkt":
			thumbprint, ok = stringValue(raw)
			ok = ok && isThumbprint(thumbprint)
		case "dbsc":
			ok = raw == "true"
		default:
			ok = false
		}
		if !ok {
			return ErrClaims
		}
		return nil
	})
	return thumbprint, err == nil && members == 1
}

// isThumbprint reports whether s is a SHA-256 hash as RFC 7638 spells it.
func isThumbprint(s string) bool {
	if len(s) != thumbprintLength {
		return false
	}
	var hash [sha256.Size]byte
	n, err := strictBase64.Decode(hash[:], []byte(s))
	return err == nil && n == sha256.Size
}

// date reads a NumericDate: a number, never a string (RFC 7519 section 2).
// Fractions are allowed and cut off; exponents are not.
func date(raw string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(raw, ".")
	n, ok := integer(whole)
	if !ok || n == 0 || n > maxDate || strings.Trim(fraction, "0123456789") != "" {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}

func milliseconds(raw string) (time.Duration, bool) {
	n, ok := integer(raw)
	return time.Duration(n) * time.Millisecond, ok && n < 1000
}

func integer(raw string) (uint64, bool) {
	n, err := strconv.ParseUint(raw, 10, 64)
	return n, err == nil && n <= maxInteger
}

func stringOrStrings(raw string) ([]string, bool) {
	if raw[0] == '[' {
		return stringsValue(raw)
	}
	s, ok := stringValue(raw)
	return []string{s}, ok && s != ""
}

// stringsValue reads an array of strings that scanObject found well-formed.
func stringsValue(raw string) ([]string, bool) {
	if raw[0] != '[' {
		return nil, false
	}
	var list []string
	for rest := raw[1:]; ; {
		rest = skipSpace(rest)
		if rest[0] == ']' {
			return list, true
		}
		n := valueLength(rest, 0)
		s, ok := stringValue(rest[:n])
		if !ok {
			return nil, false
		}
		if list == nil {
			list = make([]string, 0, 1+strings.Count(rest[n:], ","))
		}
		list = append(list, s)
		if rest = skipSpace(rest[n:]); rest[0] == ',' {
			rest = rest[1:]
		}
	}
}

// actorValue reads the current actor's name (RFC 8693 section 4.1). Whom that
// one acts for in turn is of no consequence, says the standard, and neither is
// anything else that an issuer writes of the actor.
func actorValue(raw string) (actor string, ok bool) {
	err := scanObject(raw, func(name, raw string) error {
		if name == "sub" {
			actor, ok = stringValue(raw)
		}
		return nil
	})
	return actor, ok && err == nil && actor != ""
}

// hasEscape reports whether a character stands as an escape in well-formed JSON.
func hasEscape(raw string, char rune) bool {
	for {
		unit, rest := nextEscape(raw)
		if rest == "" || unit == char {
			return rest != ""
		}
		raw = rest
	}
}

// scopeValue reads a list of scopes with single or more spaces between them.
func scopeValue(raw string) ([]string, bool) {
	s, ok := stringValue(raw)
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] == ' ' || inScope(s[i])
	}
	return strings.Fields(s), ok
}

// isScope reports whether s is a scope-token (RFC 6749 section 3.3). Anything
// else might come out of the list as two.
func isScope(s string) bool {
	for i := range len(s) {
		if !inScope(s[i]) {
			return false
		}
	}
	return s != ""
}

func inScope(c byte) bool { return 0x21 <= c && c <= 0x7e && c != '"' && c != '\\' }
