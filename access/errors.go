package access

import "errors"

// Why a token is refused, or not issued. Clients should not be told which.
var (
	// ErrMalformed: not a token of the one form that is accepted: alphabet,
	// segments, size, header, type, or JSON with members twice.
	ErrMalformed = errors.New("access: malformed token")
	// ErrUnknownKey: signed with a key, or an algorithm, that is not in the ring.
	ErrUnknownKey = errors.New("access: unknown key")
	// ErrSignature: the signature is wrong.
	ErrSignature = errors.New("access: wrong signature")
	// ErrExpired: the token was good, and its time is over. It is returned
	// only when nothing else is wrong.
	ErrExpired = errors.New("access: token expired")
	// ErrNotYetValid: issued, valid from, or the user authenticated at a time
	// in the future.
	ErrNotYetValid = errors.New("access: token not yet valid")
	// ErrNonce: a proof may be old. It has no nonce of the server's where one is
	// needed, or not a recent one, or its date is not near.
	ErrNonce = errors.New("access: the proof needs a recent nonce")
	// ErrCannotIssue: no token can say these claims: too large, not UTF-8, a
	// reserved name, a scope with a blank, what does not marshal. No retry
	// helps, unlike with a signer that fails.
	ErrCannotIssue = errors.New("access: the claims cannot be issued")
	// ErrClaims: a claim is missing or of the wrong type, or the token is of
	// another issuer or for another audience.
	ErrClaims = errors.New("access: unacceptable claims")
)
