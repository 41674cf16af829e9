// Package access issues and verifies JWT access tokens (RFC 9068): short-lived,
// signed, checked on every request without asking any store.
//
//	ring, err := access.OpenKeyRing("keys.pem", access.EdDSA)
//	tokens, err := access.New(access.Config{
//		Issuer: "https://app.example", Audience: "app", Keys: ring,
//	})
//	text, claims, err := tokens.Issue(access.Claims{Subject: "alice", …})
//	claims, err = tokens.Verify(text)
//
// Verification is strict before any cryptography: one spelling of each token,
// exactly the type "at+jwt", a key that is bound to one algorithm, no critical
// extensions, no member twice or in another case, and always issuer, audience,
// subject, session and expiry. Keys come from the KeyRing and from nowhere
// else; nothing in a token makes the program fetch anything.
//
// Tokens that verified are remembered, so that a client which sends the same
// token for minutes costs a map look-up. Expiry and the key ring are checked
// on every look-up.
//
// A KeyRing also holds root secrets, from which other packages derive keys of
// their own. One that came from a file follows it while the program runs.
//
// Package access knows nothing of cookies, stores or refresh tokens.
package access
