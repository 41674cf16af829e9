package refresh

import (
	"context"
	"log/slog"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// Kind names what an Event tells.
type Kind string

const (
	EventLogin         Kind = "login"                // a family was started
	EventRefresh       Kind = "refresh"              // a token was rotated
	EventReplayed      Kind = "replayed"             // a lost response or parallel request was given the same successor
	EventSettled       Kind = "settled"              // a generation settled: its predecessor is dead
	EventRefused       Kind = "refresh_refused"      // an expired, unknown or revoked family was presented
	EventReuse         Kind = "reuse_detected"       // a token was stolen: its family is revoked
	EventFingerprint   Kind = "fingerprint_mismatch" // an enforced component differed: refused
	EventClientChanged Kind = "client_changed"       // a reported component differed: accepted
	EventRevoked       Kind = "revoked"              // families were revoked, by whom Reason says
	EventStoreBehind   Kind = "store_behind"         // the store had lost this family's latest state
	EventUnavailable   Kind = "store_unavailable"    // store, feed or claims hook failed or was too slow
	EventInvalidToken  Kind = "invalid_token"        // forged, altered or foreign token
	EventDenied        Kind = "denied"               // the claims hook refused the subject
	EventLimit         Kind = "limit_reached"        // a login was refused at Config.MaxSessions
	EventCrossOrigin   Kind = "cross_origin"         // a request from another origin was refused
	EventForbidden     Kind = "forbidden"            // a role, scope or step-up guard refused
	EventFeedStale     Kind = "feed_stale"           // revocations elsewhere may go unnoticed here
	EventOutage        Kind = "outage_accepted"      // an expired access token passed while the store is away
	EventFeedRecovered Kind = "feed_recovered"       // the revocation feed works again
)

// An Event is something that security monitoring wants to know (OWASP ASVS
// V16.3). It never holds a token, a cookie or a key. Fields that do not apply
// are zero.
type Event struct {
	Kind       Kind
	Time       time.Time
	Subject    string
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

// A Recorder receives events. Record is called on request paths, from many
// goroutines: it returns quickly and does not panic.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// LogEvents returns a Recorder that writes each event as one structured
// record: ordinary life at Info (what happens on every refresh at Debug),
// attacks and failures at Warn, a detected reuse at Error. A nil logger is
// slog.Default().
func LogEvents(l *slog.Logger) Recorder {
	if l == nil {
		l = slog.Default()
	}
	return logRecorder{l}
}

type logRecorder struct{ l *slog.Logger }

// Record implements Recorder.
func (r logRecorder) Record(ctx context.Context, e Event) {
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
	case EventReuse:
		return slog.LevelError
	case EventFingerprint, EventStoreBehind, EventUnavailable, EventInvalidToken, EventDenied, EventLimit, EventCrossOrigin, EventForbidden, EventFeedStale, EventOutage:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

type noRecorder struct{}

func (noRecorder) Record(context.Context, Event) {}
