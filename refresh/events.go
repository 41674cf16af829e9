package refresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// EventKind names what an Event tells.
type EventKind string

const (
	EventLogin          EventKind = "login"                // a family was started
	EventRefresh        EventKind = "refresh"              // a token was rotated
	EventReplayed       EventKind = "replayed"             // a lost response or parallel request was given the same successor
	EventSettled        EventKind = "settled"              // a generation settled: its predecessor is dead
	EventRefused        EventKind = "refresh_refused"      // an expired, unknown or revoked family was presented
	EventReuse          EventKind = "reuse_detected"       // a token was stolen: its family is revoked
	EventFingerprint    EventKind = "fingerprint_mismatch" // an enforced component differed: refused
	EventClientChanged  EventKind = "client_changed"       // a reported component differed: accepted
	EventRevoked        EventKind = "revoked"              // families were revoked, by whom Reason says
	EventStoreBehind    EventKind = "store_behind"         // the store had lost this family's latest state
	EventUnavailable    EventKind = "store_unavailable"    // store, feed or claims hook failed or was too slow
	EventInvalidToken   EventKind = "invalid_token"        // forged, altered or foreign token
	EventDenied         EventKind = "denied"               // the claims hook refused the subject
	EventLimit          EventKind = "limit_reached"        // a login was refused at Config.MaxSessions
	EventCrossOrigin    EventKind = "cross_origin"         // a request from another origin was refused
	EventForbidden      EventKind = "forbidden"            // a role, scope or step-up guard refused
	EventFeedStale      EventKind = "feed_stale"           // revocations elsewhere may go unnoticed here
	EventOutage         EventKind = "outage_accepted"      // an expired access token passed while the store is away
	EventFeedRecovered  EventKind = "feed_recovered"       // the revocation feed works again
	EventShared         EventKind = "shared_session"       // two clients renew one session in turn
	EventLateReplay     EventKind = "late_replay"          // a predecessor came long after its successor was made: accepted
	EventCookiesLost    EventKind = "cookies_lost"         // a browser never keeps what its renewals bring
	EventUnproven       EventKind = "unproven_logout"      // a sign-out showed only tokens that are long out of use: nothing ended
	EventUnbound        EventKind = "unbound"              // a login lacked a component that is to be enforced
	EventKeysChanged    EventKind = "keys_changed"         // the keys file has other keys, which are in use now
	EventKeysRefused    EventKind = "keys_refused"         // the keys file cannot be used: the keys before are kept
	EventGoneEarly      EventKind = "gone_early"           // a session is not there that should have lived on: the store lost it
	EventCannotIssue    EventKind = "cannot_issue"         // the claims cannot be put into a token or cookie: no retry helps
	EventProofMissing   EventKind = "proof_missing"        // a token of a session that is bound to a device key came without a proof of it
	EventProofRefused   EventKind = "proof_refused"        // a proof is no good: of another key, used before, altered, made for another request
	EventBound          EventKind = "key_bound"            // a session is bound to the key of a browser's device
	EventBindingFailed  EventKind = "binding_failed"       // the registration of a device key, or a proof of it, was refused
	EventBindingMissing EventKind = "binding_missing"      // a browser that should have bound its session did not
	EventProofSkipped   EventKind = "proof_skipped"        // a browser says why it could not prove its key: see Reason
	EventStepUp         EventKind = "step_up"              // the user proved who they are once more
	EventData           EventKind = "data_changed"         // the app changed what it keeps with a session
)

// An Event is something that security monitoring wants to know (OWASP ASVS
// V16.3). It never holds a token, a cookie or a key. Fields that do not apply
// are zero.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Subject string
	// Actor is who acts for the subject, as support staff do who signed in as
	// the user; empty for the user.
	Actor      string
	SessionID  string
	Generation uint32
	Reason     family.Reason
	// Differs are the fingerprint components that did not match.
	Differs family.Components
	// Count is the number of families, for revocations.
	Count int
	// IP and UserAgent describe the client; the user agent is reduced to a
	// label and free of control characters.
	IP        string
	UserAgent string
	// Err is why something failed. It holds no secret.
	Err error
}

// An EventHandler receives events. HandleEvent is called on request paths, from
// many goroutines: it returns quickly. A panic in it is ignored.
type EventHandler interface {
	HandleEvent(ctx context.Context, e Event)
}

// LogEvents returns an EventHandler that writes each event as one structured
// record: ordinary life at Info (what happens on every refresh at Debug),
// attacks and failures at Warn, a detected reuse at Error. A nil logger is
// slog.Default().
func LogEvents(l *slog.Logger) EventHandler {
	if l == nil {
		l = slog.Default()
	}
	return eventLogger{l}
}

type eventLogger struct{ l *slog.Logger }

// HandleEvent implements EventHandler.
func (r eventLogger) HandleEvent(ctx context.Context, e Event) {
	level := e.level()
	if !r.l.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("event", string(e.Kind))
	attrs = append(attrs, slog.Time("at", e.Time.UTC()))
	text("sub", printable(clip(e.Subject, maxSubject)))
	text("actor", printable(clip(e.Actor, maxSubject)))
	text("sid", e.SessionID)
	if e.SessionID != "" {
		attrs = append(attrs, slog.Uint64("generation", uint64(e.Generation)))
	}
	text("reason", string(e.Reason))
	text("differs", e.Differs.String())
	if e.Count != 0 {
		attrs = append(attrs, slog.Int("count", e.Count))
	}
	text("ip", e.IP)
	text("user_agent", e.UserAgent)
	if e.Err != nil {
		text("error", printable(clip(e.Err.Error(), maxUserAgent)))
	}
	r.l.LogAttrs(ctx, level, "session "+string(e.Kind), attrs...)
}

func (e *Event) level() slog.Level {
	switch e.Kind {
	case EventRefresh, EventReplayed, EventSettled:
		return slog.LevelDebug
	case EventReuse, EventShared, EventKeysRefused, EventGoneEarly:
		return slog.LevelError
	case EventLateReplay, EventCookiesLost, EventUnproven, EventUnbound, EventCannotIssue, EventProofMissing, EventProofRefused, EventBindingFailed, EventBindingMissing,
		EventFingerprint, EventStoreBehind, EventUnavailable, EventInvalidToken, EventDenied, EventLimit, EventCrossOrigin, EventForbidden, EventFeedStale, EventOutage:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

type noEvents struct{}

func (noEvents) HandleEvent(context.Context, Event) {}

// Record passes an event of the app or of package middleware to
// Config.Events, with the time and the client filled in.
func (s *Sessions) Record(ctx context.Context, c Client, e Event) {
	d := c.device()
	e.IP, e.UserAgent = d.IP, d.UserAgent
	s.record(ctx, e)
}

func (s *Sessions) record(ctx context.Context, e Event) {
	e.Time = s.access.Now()
	// What watches sessions must not end requests.
	defer func() { _ = recover() }()
	s.events.HandleEvent(ctx, e)
}

// presented is one refresh token, authentic, and who shows it.
type presented struct {
	token       *token
	hash        [32]byte // of the token's secret
	stepUp      *family.StepUp
	rec         *family.Record // not nil: the store was asked already
	subject     family.Subject
	client      Client
	fingerprint family.Fingerprint
}

// event is what events about the token have in common.
func (p *presented) event() Event {
	d := p.client.device()
	return Event{Subject: p.token.subject, Actor: p.token.actor, SessionID: p.token.family.String(), Generation: p.token.generation, IP: d.IP, UserAgent: d.UserAgent}
}

// unavailable records a failure and makes sure that it is ErrUnavailable.
func (s *Sessions) unavailable(ctx context.Context, e Event, cause error) error {
	e.Kind, e.Err = EventUnavailable, cause
	s.record(ctx, e)
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// unavailableTo is unavailable for a client that is known.
func (s *Sessions) unavailableTo(ctx context.Context, c Client, e Event, cause error) error {
	d := c.device()
	e.IP, e.UserAgent = d.IP, d.UserAgent
	return s.unavailable(ctx, e, cause)
}
