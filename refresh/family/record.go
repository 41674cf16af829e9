package family

import (
	"encoding/base64"
	"errors"
	"time"
)

// An ID names a family: all refresh tokens descended from one login (RFC
// 9700 section 4.14.2). It is the session id of access tokens ("sid") and of
// the session list. It is a name, not a credential.
//
// Its first two bytes name the root secret that the family was born under, so
// that everything derived for the family (its tokens, its subject's key, its
// fingerprint) keeps using that secret for as long as the family lives; the
// other fourteen are random.
type ID [16]byte

// String returns the 22 characters of base64url by which clients know the family.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether id names no family.
func (id ID) IsZero() bool { return id == ID{} }

var errID = errors.New("family: not a family id")

// ParseID reads what String wrote. Any other spelling is an error.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return ID{}, errID
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil || len(b) != len(id) || base64.RawURLEncoding.EncodeToString(b) != s {
		return ID{}, errID
	}
	copy(id[:], b)
	return id, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// A Subject is the keyed hash by which stores know a subject. All families
// of a subject that were born under one root secret share it. Stores never
// see the subject's name.
type Subject [16]byte

// String returns 22 characters of base64url, safe in a Redis hash tag.
func (k Subject) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// An Attempt is the random name of one HTTP request's call of the store. A
// client library that lost a reply may execute an operation a second time;
// the store recognises the repetition by its Attempt and answers as it did
// before.
type Attempt [6]byte

// A Reason says why a family ended. The constants are the kit's own reasons;
// an app may pass others to the revoking calls (at most 32 bytes of
// printable ASCII).
type Reason string

const (
	ReasonLogout     Reason = "logout"          // the user signed out
	ReasonLogoutAll  Reason = "logout_all"      // the user signed out everywhere
	ReasonReuse      Reason = "reuse"           // a token was replayed after its successor had settled
	ReasonShared     Reason = "shared"          // two clients used one chain of tokens, and Policy.EndShared is set
	ReasonLimit      Reason = "limit"           // the subject opened more sessions than allowed
	ReasonPassword   Reason = "password"        // the password changed in another session
	ReasonDeactivate Reason = "deactivated"     // the account was switched off
	ReasonDenied     Reason = "denied"          // the claims hook refused the subject
	ReasonSuperseded Reason = "superseded"      // the same browser signed in anew
	ReasonMismatch   Reason = "fingerprint"     // another client came, and policy says revoke
	ReasonUser       Reason = "session_revoked" // the user ended it in the session list
	ReasonUnbound    Reason = "unbound"         // it was not bound to a device key in time: see Policy.KeyWithin
)

// A Record is what a store keeps of one login: one record, from which no
// usable token can be made.
type Record struct {
	Subject Subject
	ID      ID

	// Generation counts rotations: 0 for the token handed out at login.
	Generation uint32
	// Current is the SHA-256 of the current generation's secret.
	Current [32]byte
	// Settled is true once the client is known to keep the current
	// generation; from then on its predecessor is no longer acceptable.
	Settled bool
	// Attempt made the current generation (or, in a revoked family, ended
	// it); Prior made the one before. Zero where unknown.
	Attempt, Prior Attempt

	// Twice is true once the predecessor of the current generation was
	// presented again later than the Policy's ParallelTime after the rotation:
	// an answer was lost, or there is a second client.
	Twice bool
	// TwiceInRow counts the generations in a row for which Twice became true,
	// the current one included. It stops at SharedAfter.
	TwiceInRow uint8

	CreatedAt time.Time // millisecond precision, as all times here
	// RotatedAt is when the current generation was made. A clock that was
	// ahead is corrected by the next rotation: see Decide.
	RotatedAt time.Time
	// UsedAt is when the current generation was last handed out, by its
	// rotation or by a replay. It never moves back. A time before RotatedAt,
	// such as zero, means RotatedAt.
	UsedAt   time.Time
	AuthTime time.Time // second precision; when the user proved who they are

	// Idle is the idle timeout; the family expires when it was not used for
	// so long. Second precision.
	Idle time.Duration
	// AbsoluteExpiry is the end of the login, whatever happens.
	AbsoluteExpiry time.Time

	// Remember is false for a login that ends with the browser session.
	Remember bool
	// ACR and AMR are the authentication context of the login (RFC 9068
	// section 2.2.1), as the app gave them.
	ACR string
	AMR []string
	// StepUp is when and how the user proved it again in this session.
	StepUp StepUp
	// Actor signed in as the subject, for this reason (RFC 8693 section 4.1).
	// Such a family does not count among those of its subject: see Admit.
	Actor, ActorReason string
	// Data is the app's: see Store.SetData.
	Data string

	Fingerprint Fingerprint
	Device      Device
	// Key is the device key that the family is bound to. Seen are the newest
	// proofs of a KeyDPoP that rotations were asked with, newest first, at most
	// MaxSeen.
	Key  Key
	Seen []SeenProof

	// Revoked is empty while the family lives. A revoked family is kept as
	// a tombstone for TombstoneRetention: only Subject, ID, Attempt,
	// Revoked and RevokedAt are then meaningful.
	Revoked   Reason
	RevokedAt time.Time

	// appended is what a later version wrote after the binary form known here. It
	// goes where the record goes.
	appended string
}

// A StepUp says when and how a user who was signed in proved it again (RFC
// 9470). It is known by the Attempt that made it: tokens that were made since
// carry that name, and older ones of the family do not. Zero: never.
type StepUp struct {
	By   Attempt
	Time time.Time // second precision
	ACR  string    // with AMR at most MaxAuthContext bytes
	AMR  []string
}

const (
	// MaxAuthContext is the greatest length of ACR and AMR, joined by single
	// bytes, in a login and in a StepUp.
	MaxAuthContext = 60
	// MaxData is the greatest length of Record.Data.
	MaxData = 256
	// MaxActor is the greatest length of Record.Actor and ActorReason together.
	MaxActor = 250
)

// Device is what the session list shows of the client that used the family
// last. It plays no part in any decision.
type Device struct {
	UserAgent string // a short label such as "Firefox on Linux"; at most 47 bytes
	IP        string // textual address, without zone
}

// ClockSkew is by how much the clocks of instances may differ before some
// replays get 503 instead of an answer; the client retries.
const ClockSkew = 30 * time.Second

// TombstoneRetention is how long a store remembers why a family was revoked.
// It exceeds the longest access-token lifetime, so that a repeated revocation
// still finds what to announce.
const TombstoneRetention = 48 * time.Hour

// LastUsed returns when the current generation was last handed out.
func (f *Record) LastUsed() time.Time { return later(f.RotatedAt, f.UsedAt) }

// ExpiresAt returns when the family ends if it is not used again: its idle
// timeout, and never later than the absolute lifetime of the login.
func (f *Record) ExpiresAt() time.Time {
	idle := f.LastUsed().Add(f.Idle)
	if idle.After(f.AbsoluteExpiry) {
		return f.AbsoluteExpiry
	}
	return idle
}

// Alive reports whether the family is neither revoked nor expired at now.
func (f *Record) Alive(now time.Time) bool {
	return f.Revoked == "" && now.Before(f.ExpiresAt())
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Limit returns the record with the timeouts that hold today: the shorter of
// what it has and what the Policy says. Stores keep the record as it is, so
// that a timeout that is set back in time ends nobody's session.
func (p *Policy) Limit(f Record) Record {
	if p.Idle > 0 {
		f.Idle = min(f.Idle, p.Idle)
	}
	if lifetime := p.lifetime(&f); lifetime > 0 {
		f.AbsoluteExpiry = earlier(f.AbsoluteExpiry, f.CreatedAt.Add(lifetime))
	}
	return f
}

func (p *Policy) lifetime(f *Record) time.Duration {
	if f.Remember {
		return p.Absolute
	}
	return p.Browser
}
