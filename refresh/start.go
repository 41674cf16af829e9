package refresh

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Grant is what a client gets at login and at each refresh.
type Grant struct {
	AccessToken  string
	RefreshToken string
	// BrowserKey is a constant of a login without Remember, empty for others.
	// A client keeps it until it is closed, and shows it with the refresh
	// token, which is no good without it. What rotates can so be kept on disk,
	// where a crash takes back seconds, and the login ends with the browser
	// all the same: a constant may come back from any age.
	BrowserKey string
	// KeyTicket is what a browser is asked to sign at its sign-in, so that the
	// session can be bound to a key of its device: see RegisterKey. Empty where
	// Config.DeviceKeys says so.
	KeyTicket string
	// KeySession and KeyChallenge are what a browser with a device key needs
	// for the next refresh: see RefreshWithKey. Empty for others.
	KeySession, KeyChallenge string
	// Claims are those of the access token. They are shared: read only.
	Claims *access.Claims
	// Outcome is how the refresh token was answered: Rotated at login.
	Outcome family.Outcome
	// IssuedAt is when the tokens were made.
	IssuedAt time.Time
	// RefreshExpiresAt is when the refresh token dies if it is not used.
	RefreshExpiresAt time.Time
	// Remember is false for a login that ends with the browser.
	Remember bool
	// InCookies is set by package middleware when the response's cookies carry
	// the tokens.
	InCookies bool
}

// ExpiresIn is the remaining lifetime of the access token in whole seconds,
// as the "expires_in" of RFC 6749 section 5.1 counts it.
func (g *Grant) ExpiresIn() int64 {
	return max(0, int64(g.Claims.ExpiresAt.Sub(g.IssuedAt)/time.Second))
}

// maxImpersonation is how long somebody may act for a user by one sign-in.
const maxImpersonation = time.Hour

// A Login describes a sign-in: the user has just proved who they are.
type Login struct {
	// Subject names the user for good: an id rather than a name that can
	// change. 1 to 255 bytes of UTF-8 without control characters.
	Subject string
	// Remember keeps the session when the browser closes.
	Remember bool
	// ACR and AMR describe how the user proved it (RFC 9068 section 2.2.1).
	// Together at most 60 bytes, printable.
	ACR string
	AMR []string
	// IdleTimeout and AbsoluteLifetime are this login's own, such as 8 hours
	// for an administrator. 0 means the configuration's. The shorter of the
	// two holds: a login never lasts longer than the configuration says, today
	// or at any renewal. IdleTimeout must exceed the access token's lifetime,
	// and AbsoluteLifetime be at least a second.
	IdleTimeout, AbsoluteLifetime time.Duration
	// MaxSessions limits the live sessions of the subject at this login,
	// instead of Config.MaxSessions. 0 means the configuration's; at most
	// family.ListLimit.
	MaxSessions int
	// Data is kept with the session and handed to the claims hook, such as the
	// organisation that the user has chosen; SetData changes it. At most 256
	// bytes of UTF-8. It is shown in the list of sessions: no place for secrets.
	Data string
	// Actor is who signs in as Subject, such as one of the support staff;
	// empty for the user. Access tokens then name the actor ("act", RFC 8693
	// section 4.1), and so do events. Such a session ends after an hour at the
	// latest; it does not count among the user's and ends none of them. Whether
	// Actor may do this is for the app to decide.
	Actor string
	// Reason is why, shown to the user in the list of sessions: printable UTF-8.
	// It is mandatory with an Actor, and empty without; both together have at
	// most 250 bytes.
	Reason string
	// Client is who signs in. Refreshes have to come from there.
	Client Client
	// Supersedes are the sessions that the client had so far. They end with
	// the login, so that none that was planted is ever adopted (ASVS V7.2.4).
	// A login with an Actor ends none of the Subject's.
	Supersedes []Held
}

// Start opens a session: a new family of refresh tokens. All that can fail
// without the store comes first; then the store is asked once, and keeps the
// new family and ends what gives way, or changes nothing.
//
// It fails with ErrSubject, ErrDenied (the claims hook refuses), ErrUnbound,
// ErrCannotIssue, ErrLimit or ErrUnavailable, or with an error that names the
// field of the Login at fault; nothing has changed then.
func (s *Sessions) Start(ctx context.Context, p Login) (*Grant, error) {
	if err := s.checkLogin(&p); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tok, rec, err := s.newFamily(p)
	if err != nil {
		return nil, err
	}
	claims, err := s.ask(ctx, about(&rec, &tok, p.Client))
	if err != nil {
		return nil, err
	}
	if err := s.checkBinding(ctx, p, &tok, rec.Fingerprint); err != nil {
		return nil, err
	}
	g, err := s.grant(ctx, &rec, &tok, claims, p.Client, family.Rotated, rec.CreatedAt)
	if err != nil {
		return nil, err
	}
	if s.deviceKeys != DeviceKeysOff && rec.Key.IsZero() {
		g.KeyTicket = s.keys.newTicket(&tok, rec.CreatedAt)
	}
	if err := s.keep(ctx, p, &rec); err != nil {
		return nil, err
	}
	// A deactivation between the first question and the store's answer found
	// no session to end.
	if _, err := s.ask(ctx, about(&rec, &tok, p.Client)); errors.Is(err, ErrDenied) {
		s.settler.end(tok.held(), family.ReasonDenied)
		return nil, ErrDenied
	}
	return g, nil
}

func (s *Sessions) checkLogin(p *Login) error {
	if err := checkSubject(p.Subject); err != nil {
		return err
	}
	lifetime := s.access.Lifetime()
	switch {
	case p.IdleTimeout != 0 && p.IdleTimeout <= lifetime:
		return fmt.Errorf("refresh: Login.IdleTimeout is %v, and access tokens last %v, within which the use of a session is not noticed: use a longer one, or 0 for the configuration's", p.IdleTimeout, lifetime)
	case p.AbsoluteLifetime != 0 && p.AbsoluteLifetime < time.Second:
		return fmt.Errorf("refresh: Login.AbsoluteLifetime is %v: use at least a second, or 0 for the configuration's", p.AbsoluteLifetime)
	case p.MaxSessions < 0 || p.MaxSessions > family.ListLimit:
		return fmt.Errorf("refresh: Login.MaxSessions is %d: use 1 to %d, or 0 for the configuration's", p.MaxSessions, family.ListLimit)
	}
	if err := checkAuth(p.ACR, p.AMR); err != nil {
		return err
	}
	if err := checkData(p.Data); err != nil {
		return err
	}
	return p.checkActor()
}

func checkAuth(acr string, amr []string) error {
	if text := strings.Join(append([]string{acr}, amr...), " "); len(text) > family.MaxAuthContext || printable(text) != text {
		return fmt.Errorf("%w: ACR and AMR must be printable and have at most %d bytes together", ErrCannotIssue, family.MaxAuthContext)
	}
	return nil
}

func checkData(data string) error {
	if len(data) > family.MaxData || !utf8.ValidString(data) {
		return fmt.Errorf("%w: a session's data is UTF-8 of at most %d bytes", ErrCannotIssue, family.MaxData)
	}
	return nil
}

func (p *Login) checkActor() error {
	switch {
	case p.Actor == "" && p.Reason == "":
		return nil
	case p.Actor == "" || p.Actor == p.Subject || checkSubject(p.Actor) != nil:
		return errors.New("refresh: Login.Actor names nobody, or the subject, or holds control characters: name who signs in as the subject")
	case p.Reason == "" || printable(p.Reason) != p.Reason:
		return errors.New("refresh: Login.Reason is empty or not printable: say why the Actor signs in as the subject")
	case len(p.Actor)+len(p.Reason) > family.MaxActor:
		return fmt.Errorf("refresh: Login.Actor and Reason have more than %d bytes together: use a shorter reason", family.MaxActor)
	}
	return nil
}

// newFamily makes generation 0.
func (s *Sessions) newFamily(p Login) (token, family.Record, error) {
	now := s.access.Now().Truncate(time.Millisecond)
	tok := token{subject: p.Subject, actor: p.Actor, browser: !p.Remember}
	tok.noDevice = s.binding.preferred && p.Client.DeviceID == ""
	rand.Read(tok.family[2:])
	rand.Read(tok.secret[:])
	keys := s.codec.mac.keys()
	if len(keys) == 0 {
		return token{}, family.Record{}, errors.New("refresh: the key ring holds no root secret any more")
	}
	copy(tok.family[:2], keys[0].ID[:])

	subject, ok := s.codec.subjectKey(p.Subject, tok.family)
	fp := s.codec.fingerprint.key(tok.family)
	if !ok || fp == nil {
		// The ring was replaced between two lines; the next try has the new one.
		return token{}, family.Record{}, fmt.Errorf("%w: the key ring changed", ErrUnavailable)
	}
	rec := family.Record{
		Subject: subject, ID: tok.family, Current: tok.hash(), Attempt: newAttempt(),
		CreatedAt: now, RotatedAt: now, UsedAt: now, AuthTime: now.Truncate(time.Second),
		Remember: p.Remember, ACR: p.ACR, AMR: p.AMR, Data: p.Data, Actor: p.Actor, ActorReason: p.Reason,
		Fingerprint: s.binding.fingerprint(fp, p.Client), Device: p.Client.device(),
	}
	if p.Client.Key.Kind == family.KeyDPoP && s.deviceKeys != DeviceKeysOff {
		rec.Key = p.Client.Key
	}
	lifetime := shorter(s.lifetime(p.Remember), p.AbsoluteLifetime)
	if p.Actor != "" {
		lifetime = min(lifetime, maxImpersonation)
	}
	rec.AbsoluteExpiry = now.Add(lifetime).Truncate(time.Millisecond)
	rec.Idle = min(s.policy.Idle, lifetime)
	if p.IdleTimeout != 0 {
		rec.Idle = min(rec.Idle, idleFor(p.IdleTimeout, s.access.Lifetime()))
	}
	return tok, rec, nil
}

// checkBinding refuses a login that lacks what is to be enforced. Where nothing
// is named, a client without device id and user agent is let in, and reported.
func (s *Sessions) checkBinding(ctx context.Context, p Login, tok *token, f family.Fingerprint) error {
	binding := s.binding
	if tok.noDevice {
		binding.Enforced = family.UserAgent
	}
	missing := binding.missing(f)
	if missing == 0 {
		return nil
	}
	s.Record(ctx, p.Client, Event{Kind: EventUnbound, Subject: p.Subject, Actor: p.Actor, Differs: missing})
	if binding.preferred {
		return nil
	}
	return &RefusedError{Err: ErrUnbound, Subject: p.Subject, Differs: missing}
}

// keep asks the store to hold a new family, and tells what gave way.
func (s *Sessions) keep(ctx context.Context, p Login, rec *family.Record) error {
	req := s.limit
	req.MaxSessions = cmp.Or(p.MaxSessions, req.MaxSessions)
	req.Record, req.Now = *rec, rec.CreatedAt
	same, others := s.superseded(p, rec)
	req.Supersedes = same
	res, err := s.admit(ctx, p.Subject, req)
	e := Event{Subject: p.Subject, Actor: p.Actor, SessionID: rec.ID.String()}
	switch {
	case err != nil:
		// The store may have kept the family, or still keep it later.
		s.settler.undo(Held{subject: p.Subject, actor: p.Actor, family: rec.ID})
		return s.unavailable(ctx, e, err)
	case res.Refused:
		s.Record(ctx, p.Client, Event{Kind: EventLimit, Subject: p.Subject, Actor: p.Actor})
		return ErrLimit
	}
	s.refuseHere(res.Superseded...)
	s.refuseHere(res.Evicted...)
	e.Kind = EventLogin
	s.Record(ctx, p.Client, e)
	for reason, ids := range map[family.Reason][]family.ID{family.ReasonLimit: res.Evicted, family.ReasonSuperseded: res.Superseded} {
		if len(ids) > 0 {
			s.Record(ctx, p.Client, Event{Kind: EventRevoked, Subject: p.Subject, Actor: p.Actor, SessionID: e.SessionID, Reason: reason, Count: len(ids)})
		}
	}
	// Sessions of another user, or of an older root secret, are elsewhere in
	// the store. The login stands; they end as soon as the store lets them.
	for _, h := range others {
		key, ok := s.codec.subjectKey(h.subject, h.family)
		if !ok {
			continue
		}
		if _, err := s.revoke(ctx, h, family.RevokeRequest{Subject: key, Family: h.family, Reason: family.ReasonSuperseded}); err != nil {
			s.settler.end(h, family.ReasonSuperseded)
		}
	}
	return nil
}

// superseded splits the sessions that a login ends into those that the store
// can end together with it, and all others.
func (s *Sessions) superseded(p Login, rec *family.Record) (same []family.ID, others []Held) {
	for _, h := range p.Supersedes {
		if p.Actor != "" && h.subject == p.Subject && h.actor == "" {
			continue // the user's own
		}
		key, ok := s.codec.subjectKey(h.subject, h.family)
		if ok && key == rec.Subject && len(same) < family.MaxStep {
			same = append(same, h.family)
		} else if ok {
			others = append(others, h)
		}
	}
	return same, others
}

// lifetime is how long a login lasts, however busy it is.
func (s *Sessions) lifetime(remember bool) time.Duration {
	if remember {
		return s.policy.Absolute
	}
	return s.policy.Browser
}

// shorter returns the shorter of a time and one that may be 0, which is none.
func shorter(a, b time.Duration) time.Duration {
	if b == 0 {
		return a
	}
	return min(a, b)
}

// admit asks the store to keep a new family, within the subject's limit.
func (s *Sessions) admit(ctx context.Context, subject string, req family.StartRequest) (family.StartResult, error) {
	if req.Record.Actor != "" {
		return s.store.Start(ctx, req) // which counts no such family
	}
	if req.RefuseAtLimit {
		// No family is born under an older secret any more, so what is
		// counted here can only become less.
		older, err := s.countOlderSecrets(ctx, subject, &req.Record)
		if err != nil {
			return family.StartResult{}, err
		}
		if req.MaxSessions -= older; req.MaxSessions <= 0 {
			return family.StartResult{Refused: true}, nil
		}
	}
	res, err := s.store.Start(ctx, req)
	if err == nil && !res.Refused && !req.RefuseAtLimit {
		s.limitOlderSecrets(ctx, subject, req)
	}
	return res, err
}

// countOlderSecrets returns how many sessions the subject has that were
// started under an older root secret than the new one.
func (s *Sessions) countOlderSecrets(ctx context.Context, subject string, rec *family.Record) (n int, err error) {
	for _, key := range s.codec.subjectKeys(subject) {
		if key == rec.Subject {
			continue
		}
		list, err := s.store.List(ctx, key, rec.CreatedAt)
		if err != nil {
			return 0, err
		}
		n += len(list)
	}
	return n, nil
}

// limitOlderSecrets counts the new family against those that the subject
// started under an older root secret: they have another key in the store and
// are all older than any under the newest. The login stands if that fails: the
// next one tries again.
func (s *Sessions) limitOlderSecrets(ctx context.Context, subject string, req family.StartRequest) {
	keys := s.codec.subjectKeys(subject)
	if len(keys) < 2 {
		return
	}
	newer, err := s.store.List(ctx, req.Record.Subject, req.Now)
	room := max(0, req.MaxSessions-len(newer))
	for _, key := range keys {
		if key == req.Record.Subject || err != nil {
			continue
		}
		var left []family.Record
		if _, err = s.revoke(ctx, Held{subject: subject}, family.RevokeRequest{Subject: key, KeepNewest: room, Reason: family.ReasonLimit}); err == nil {
			left, err = s.store.List(ctx, key, req.Now)
		}
		room = max(0, room-len(left))
	}
	if err != nil {
		s.unavailable(ctx, Event{Subject: subject}, err)
	}
}
