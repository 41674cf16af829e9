package access

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Claims are what an access token says (RFC 9068 section 2.2). Claims that
// Verify or Issue returned are shared between requests: read only.
type Claims struct {
	Issuer   string   // "iss"
	Subject  string   // "sub"
	Audience []string // "aud"
	ClientID string   // "client_id"
	ID       string   // "jti": 128 random bits

	// SessionID ("sid") is the session, and Generation ("gen") counts how
	// often it was renewed.
	SessionID  string
	Generation uint64

	// IssuedAt ("iat") has millisecond precision between parties that know this
	// package: "iat_ms" holds what the whole seconds of the standard claim leave
	// out. ExpiresAt ("exp") is a whole second: the token is dead at the same
	// time for every verifier.
	IssuedAt, ExpiresAt time.Time
	NotBefore           time.Time // "nbf"; zero if absent
	// AuthTime ("auth_time") is when the user proved who they are. Renewing
	// a session does not move it.
	AuthTime time.Time
	// SessionExpiresAt ("session_exp") is when the session ends at the
	// latest; zero if absent.
	SessionExpiresAt time.Time

	ACR string   // "acr": authentication context class reference
	AMR []string // "amr": authentication methods references
	// Actor ("act", RFC 8693 section 4.1) is who acts for the subject, such as
	// support staff who signed in as the user; empty for the user.
	Actor  string
	Scopes []string // "scope", separated by spaces in the token
	Roles  []string // "roles" (RFC 9068 section 2.2.3.1)

	// KeyThumbprint ("cnf", member "jkt") is the key whose proofs have to come
	// with the token (RFC 9449 section 6.1), as its RFC 7638 SHA-256 thumbprint
	// in base64url; "" for a bearer token.
	KeyThumbprint string
	// DeviceBound says that the session is bound to a key of the device. A
	// token with a KeyThumbprint always says so; one without ("cnf", member
	// "dbsc") is a bearer token of a session whose refreshes are signed.
	DeviceBound bool

	// Custom is for Issue alone: a struct or map, whose JSON members become
	// members of the token. Decode reads them back.
	Custom any

	payload string // the token's JSON
	marked  *atomic.Bool
}

// Decode reads the token's members into the app's own struct, by the rules of
// encoding/json. It fails with ErrClaims when they do not fit, and for claims
// that come from neither Verify nor Issue.
func (c *Claims) Decode(v any) error {
	if json.Unmarshal([]byte(c.payload), v) != nil {
		return ErrClaims
	}
	return nil
}

// HasScope reports whether the token has exactly this scope.
func (c *Claims) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }

// HasRole reports whether the token has exactly this role.
func (c *Claims) HasRole(role string) bool { return slices.Contains(c.Roles, role) }

// FirstUse reports true the first time that it is called for a token that Verify
// or Issue returned, for work to be done about once per token and process: one
// that has fallen out of the cache, or is not cached at all, counts as new. It
// is safe for concurrent use. For claims of VerifyWithin, and for those that
// an app made itself, it is always false.
func (c *Claims) FirstUse() bool { return c.marked != nil && c.marked.CompareAndSwap(false, true) }

// registered are the members that this package reads and writes. No other
// member may be spelt like one of them in another case: what one reader takes
// for EXP, the next takes for exp.
var registered = [...]string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "gen", "auth_time", "session_exp",
	"acr", "amr", "act", "scope", "roles", "cnf", "iat_ms",
}

// isReserved reports whether a member is one of the registered, or spelt like
// one in another case.
func isReserved(name string) bool {
	return slices.ContainsFunc(registered[:], func(r string) bool {
		// Letters that fold to ASCII are longer in UTF-8, hence no test of length.
		return strings.EqualFold(name, r)
	})
}
