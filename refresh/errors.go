package refresh

import (
	"errors"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// What a refresh can end in. Clients see one answer for all refusals
// (invalid_grant); the app tells them apart with errors.Is.
var (
	// ErrRefused is wrapped by every final refusal of a refresh token:
	// presenting the same token again, in the same way, will not help. But for
	// ErrUnproven the client has to sign in.
	ErrRefused = errors.New("refresh: token refused")

	// ErrInvalidToken: not a token of ours, altered, or of a root secret
	// that is no longer in the key ring. The store was not asked.
	ErrInvalidToken = refusal("refresh: invalid token")
	// ErrGone: the family is unknown or expired.
	ErrGone = refusal("refresh: session expired or unknown")
	// ErrRevoked: the family was revoked; RefusedError says why.
	ErrRevoked = refusal("refresh: session revoked")
	// ErrReused: the token was replayed after its successor had settled; the
	// family has been revoked by this call.
	ErrReused = refusal("refresh: token reuse detected")
	// ErrFingerprint: another client than the one that signed in.
	ErrFingerprint = refusal("refresh: client does not match the session")
	// ErrUnproven: the session is bound to a device key, and no proof of it came
	// with the token, or one that was used before. The session goes on: the token
	// is good with a proof.
	ErrUnproven = refusal("refresh: no proof of the session's device key")
	// ErrReplaced: the browser shows the refresh cookie of another session, which
	// it has instead of the one that its key signed for. That one is left alone.
	ErrReplaced = refusal("refresh: the browser has another session")
	// ErrBrowserClosed: the login was to end with its browser, and the client
	// no longer has the browser key. The store was not asked.
	ErrBrowserClosed = refusal("refresh: the login ended with its browser")
	// ErrDenied is returned by a ClaimsFunc to refuse a subject for good; the
	// family is revoked.
	ErrDenied = refusal("refresh: subject denied")
	// ErrStoreBehind: the token is newer than the store and
	// Config.RefuseStoreBehind is set. The family is left alone.
	ErrStoreBehind = refusal("refresh: session store lost this session's latest state")

	// ErrUnavailable: the store or the claims hook could not answer in time.
	// Nothing is lost: the same token can be presented again.
	ErrUnavailable = family.ErrUnavailable

	// ErrNotShown: a proof is good, but what the browser keeps of the session did
	// not come with it, as when another site caused the request. Nothing has
	// changed; a later request of the browser will do.
	ErrNotShown = errors.New("refresh: the browser's tokens of the session did not come")
	// ErrOtherKey: the session is bound to another device key. It is left alone.
	ErrOtherKey = errors.New("refresh: the session has another device key")

	// ErrLimit: the subject is at Config.MaxSessions and Config.RefuseAtLimit
	// is set.
	ErrLimit = errors.New("refresh: too many sessions")
	// ErrNotFound: the subject has no such session.
	ErrNotFound = errors.New("refresh: no such session")
	// ErrUnbound: a login lacks a component that Config.Binding enforces, such
	// as the device id. RefusedError says which.
	ErrUnbound = errors.New("refresh: the client cannot be bound")
	// ErrCannotIssue: the claims do not fit into a token, or into what the
	// client can keep of one. No retry helps.
	ErrCannotIssue = errors.New("refresh: the claims cannot be issued")
	// ErrImpersonated: somebody acts for the user, and only the user may do
	// this.
	ErrImpersonated = errors.New("refresh: only the user may do this, and somebody acts for them")
	// ErrOutdated: the access token is older than the session's newest tokens,
	// and a step-up needs these. The client renews, and asks again.
	ErrOutdated = errors.New("refresh: the access token is not the session's newest")
	// ErrSubject: a subject must be 1 to 255 bytes of UTF-8 without control
	// characters.
	ErrSubject = errors.New("refresh: invalid subject")
)

// refusal makes a sentinel that is also ErrRefused.
func refusal(text string) error { return &refusedSentinel{text} }

type refusedSentinel struct{ text string }

func (e *refusedSentinel) Error() string        { return e.text }
func (e *refusedSentinel) Is(target error) bool { return target == ErrRefused }

// A RefusedError carries the facts of a refusal that the store decided. It
// wraps one of the sentinels that are ErrRefused.
type RefusedError struct {
	Err       error
	SessionID string
	Subject   string
	// Reason is why the family was revoked, for ErrRevoked.
	Reason family.Reason
	// Differs are the fingerprint components, for ErrFingerprint.
	Differs family.Components
	// KeySession and KeyChallenge are for ErrUnproven: what the browser's key
	// has to sign, and for which session identifier. Empty where it is not known.
	KeySession, KeyChallenge string
}

// Error returns the sentinel's text, and why the family was revoked.
func (e *RefusedError) Error() string {
	if e.Reason != "" {
		return e.Err.Error() + " (" + string(e.Reason) + ")"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }
