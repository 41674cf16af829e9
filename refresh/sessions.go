package refresh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Grant is what a client gets at login and at each refresh.
type Grant struct {
	AccessToken  string
	RefreshToken string
	// Claims are those of the access token. They are shared: read only.
	Claims *access.Claims
	// Outcome is how the refresh token was answered: Rotated at login.
	Outcome family.Outcome
	// Shared: equal requests that came at the same time have this grant too.
	// The store may have been asked a few milliseconds before the last of them
	// came.
	Shared bool
	// IssuedAt is when the tokens were made.
	IssuedAt time.Time
	// RefreshExpiresAt is when the refresh token dies if it is not used.
	RefreshExpiresAt time.Time
	// Remember is false for a login that ends with the browser session.
	Remember bool

	rotatedAt time.Time // when the generation became the current one
}

// ExpiresIn is the remaining lifetime of the access token in whole seconds,
// as the "expires_in" of RFC 6749 section 5.1 counts it.
func (g *Grant) ExpiresIn() int64 { return int64(g.Claims.ExpiresAt.Sub(g.IssuedAt) / time.Second) }

// maxAuthContext keeps ACR and AMR within one compact field of a Redis hash.
const maxAuthContext = 60

// A StartParams describes a login: the user has just proved who they are.
type StartParams struct {
	// Subject names the user for good: an id rather than a name that can
	// change. 1 to 255 bytes of UTF-8 without control characters.
	Subject string
	// Remember keeps the session when the browser closes.
	Remember bool
	// ACR and AMR describe how the user proved it (RFC 9068 section 2.2.1).
	// Together at most 60 bytes, printable.
	ACR string
	AMR []string
	// Client is who signs in. Refreshes have to come from there.
	Client Client
}

// Start opens a session: a new family of refresh tokens. It fails with
// ErrSubject, ErrDenied (the claims hook refuses), ErrLimit or
// ErrUnavailable.
func (s *Service) Start(ctx context.Context, p StartParams) (*Grant, error) {
	if err := checkSubject(p.Subject); err != nil {
		return nil, err
	}
	if context := strings.Join(append([]string{p.ACR}, p.AMR...), " "); len(context) > maxAuthContext || printable(context) != context {
		return nil, fmt.Errorf("refresh: StartParams.ACR and AMR must be printable and have at most %d bytes together", maxAuthContext)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if _, err := s.ask(ctx, p.Subject, p.Client); err != nil {
		return nil, err
	}
	tok, f, err := s.newFamily(p)
	if err != nil {
		return nil, err
	}
	req := family.StartRequest{Record: f, MaxSessions: s.maxSessions, RefuseAtLimit: s.refuseAtLimit, Now: f.CreatedAt}
	res, err := s.admit(ctx, p.Subject, req)
	e := Event{Subject: p.Subject, SessionID: f.ID.String()}
	e.describe(p.Client)
	switch {
	case err != nil:
		return nil, s.unavailable(ctx, e, err)
	case res.Refused:
		e.Kind, e.SessionID = EventLimit, ""
		s.record(ctx, e)
		return nil, ErrLimit
	}
	s.dead(res.Evicted...)
	// A deactivation after the first question found nothing to revoke if it was
	// faster than the store.
	authority, err := s.ask(ctx, p.Subject, p.Client)
	if err != nil {
		if _, rerr := s.revoke(ctx, p.Subject, family.RevokeRequest{Subject: f.Subject, Family: f.ID, Proven: true, Reason: family.ReasonDenied}); rerr != nil {
			return nil, rerr
		}
		return nil, err
	}
	e.Kind = EventLogin
	s.record(ctx, e)
	if len(res.Evicted) > 0 {
		e.Kind, e.Reason, e.Count = EventRevoked, family.ReasonLimit, len(res.Evicted)
		s.record(ctx, e)
	}
	return s.grant(&f, e.SessionID, &tok, authority, family.Rotated, f.CreatedAt)
}

// newFamily makes generation 0.
func (s *Service) newFamily(p StartParams) (token, family.Record, error) {
	now := s.access.Now().Truncate(time.Millisecond)
	tok := token{subject: p.Subject}
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
	lifetime := s.absolute
	if !p.Remember {
		lifetime = s.browser
	}
	return tok, family.Record{
		Subject: subject, ID: tok.family,
		Current: tok.hash(), Attempt: newAttempt(),
		CreatedAt: now, RotatedAt: now, UsedAt: now, AuthTime: now.Truncate(time.Second),
		Idle: min(s.idle, lifetime).Truncate(time.Second), AbsoluteExpiry: now.Add(lifetime).Truncate(time.Millisecond),
		Remember: p.Remember, ACR: p.ACR, AMR: p.AMR,
		Fingerprint: s.binding.fingerprint(fp, p.Client), Device: p.Client.device(),
	}, nil
}

// admit asks the store to keep a new family, within the subject's limit.
func (s *Service) admit(ctx context.Context, subject string, req family.StartRequest) (family.StartResult, error) {
	if s.refuseAtLimit {
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
	if err == nil && s.maxSessions > 0 && !s.refuseAtLimit {
		var older []family.ID
		older, err = s.limitOlderSecrets(ctx, subject, &req.Record)
		res.Evicted = append(res.Evicted, older...)
	}
	return res, err
}

// countOlderSecrets returns how many sessions the subject has that were
// started under an older root secret than the new one.
func (s *Service) countOlderSecrets(ctx context.Context, subject string, f *family.Record) (n int, err error) {
	for _, key := range s.codec.subjectKeys(subject) {
		if key == f.Subject {
			continue
		}
		list, err := s.store.List(ctx, key, f.CreatedAt)
		if err != nil {
			return 0, err
		}
		n += len(list)
	}
	return n, nil
}

// limitOlderSecrets counts the new family against those that the subject
// started under an older root secret: they have another key in the store and
// are all older than any under the newest.
func (s *Service) limitOlderSecrets(ctx context.Context, subject string, f *family.Record) ([]family.ID, error) {
	keys := s.codec.subjectKeys(subject)
	if len(keys) < 2 {
		return nil, nil
	}
	newer, err := s.store.List(ctx, f.Subject, f.CreatedAt)
	if err != nil {
		return nil, err
	}
	room := max(0, s.maxSessions-len(newer))
	var evicted []family.ID
	for _, key := range keys {
		if key == f.Subject {
			continue
		}
		res, err := s.store.Revoke(ctx, family.RevokeRequest{Subject: key, KeepNewest: room, Reason: family.ReasonLimit, Attempt: f.Attempt, Now: f.CreatedAt})
		if err != nil {
			return nil, err
		}
		evicted = append(evicted, res.Ended...)
		left, err := s.store.List(ctx, key, f.CreatedAt)
		if err != nil {
			return nil, err
		}
		room = max(0, room-len(left))
	}
	return evicted, nil
}

// Refresh exchanges a refresh token for a fresh access token and the
// successor. Equal calls at the same time are one: whoever comes first does
// the work for all and sees it through, even when ctx ends meanwhile; the
// others wait for it, or until their own ctx ends, and then ErrUnavailable
// wraps its error. Refresh fails with one of the sentinels that are
// ErrRefused, usually inside a *RefusedError, or with ErrUnavailable; the token
// can then be presented again.
func (s *Service) Refresh(ctx context.Context, refreshToken string, c Client) (*Grant, error) {
	tok, err := s.codec.decode(refreshToken)
	if err != nil {
		e := Event{Kind: EventInvalidToken, Err: err}
		e.describe(c)
		s.record(ctx, e)
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	fpKey := s.codec.fingerprint.key(tok.family)
	subject, ok := s.codec.subjectKey(tok.subject, tok.family)
	if !ok || fpKey == nil {
		return nil, ErrInvalidToken
	}
	p := presented{text: refreshToken, fingerprint: s.binding.fingerprint(fpKey, c), ip: c.IP}
	f, first := s.flights.board(p)
	if first {
		defer s.flights.land(p, f)
		f.grant, f.err = s.refreshFor(ctx, &tok, subject, p.fingerprint, c)
		if f.err == nil && s.young(f.grant) && f.hold() && s.revoked.has(f.grant.Claims.SessionID) {
			f.grant, f.err = s.refreshFor(ctx, &tok, subject, p.fingerprint, c) // revoked meanwhile
		}
		return f.grant, f.err
	}
	// The work ends by its own deadline unless a hook ignores its context.
	limit := time.NewTimer(maxBoarding + s.timeout + s.timeout/4)
	defer limit.Stop()
	select {
	case <-f.landed:
		return f.grant, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case <-limit.C:
		s.flights.forget(p, f) // let the next try have a chance of its own
		return nil, fmt.Errorf("%w: no answer within %v", ErrUnavailable, s.timeout)
	}
}

// young reports whether the generation that a grant brings is too young to
// settle before the grant is handed out, even by a clock that is ahead: its
// predecessor can be replayed until then.
func (s *Service) young(g *Grant) bool {
	return g.Outcome == family.Rotated || g.Outcome == family.Replayed && s.access.Now().Sub(g.rotatedAt) < s.settle/4
}

// refreshFor does the work of all equal calls, so the end of one caller's
// request does not end it.
func (s *Service) refreshFor(ctx context.Context, tok *token, subject family.Subject, fp family.Fingerprint, c Client) (_ *Grant, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	defer func() {
		// The app's code may panic, such as a claim that marshals itself.
		if r := recover(); r != nil {
			e := Event{Subject: tok.subject, SessionID: tok.family.String()}
			err = s.unavailable(ctx, e, errors.New("the refresh panicked"))
		}
	}()
	return s.rotate(ctx, *tok, subject, fp, c)
}

// rotate asks the app, then the store, then signs: if anything fails after
// the store was asked, the client still holds a token that is answered with
// the same successor.
func (s *Service) rotate(ctx context.Context, tok token, subject family.Subject, fp family.Fingerprint, c Client) (*Grant, error) {
	authority, err := s.ask(ctx, tok.subject, c)
	if errors.Is(err, ErrDenied) {
		if _, rerr := s.revoke(ctx, tok.subject, family.RevokeRequest{Subject: subject, Family: tok.family, Proven: true, Reason: family.ReasonDenied}); rerr != nil {
			return nil, rerr
		}
	}
	if err != nil {
		return nil, err
	}
	next, err := s.codec.successor(&tok)
	if err != nil {
		return nil, err
	}
	now, device, successor := s.access.Now().Truncate(time.Millisecond), c.device(), next.hash()
	v, err := s.store.Rotate(ctx, family.RotateRequest{
		Subject: subject, Family: tok.family, Generation: tok.generation,
		Hash: tok.hash(), Successor: successor, Attempt: newAttempt(),
		Fingerprint: fp, Device: device, Policy: s.rules, Now: now,
	})
	e := Event{Subject: tok.subject, SessionID: tok.family.String(), Generation: tok.generation, Differs: v.Differs,
		IP: device.IP, UserAgent: device.UserAgent}
	if err != nil {
		return nil, s.unavailable(ctx, e, err)
	}
	if v.Outcome == family.Overtaken {
		return nil, s.unavailable(ctx, e, errors.New("later requests of the session have overtaken this one"))
	}
	known := s.revoked.has(e.SessionID)
	s.recordVerdict(ctx, e, v)
	lost := known && v.Outcome.Accepted()
	unheard := !known && v.Outcome == family.Gone && v.Record.Revoked != "" && now.Sub(v.Record.RevokedAt) < s.revoked.keep
	if lost || unheard {
		// The store lost a revocation that this instance knows of, or has one
		// whose announcement may have been lost with a reply: say it again.
		why := v.Record.Revoked
		if lost {
			why = family.ReasonLogout
		}
		if _, err := s.revoke(ctx, tok.subject, family.RevokeRequest{Subject: subject, Family: tok.family, Proven: true, Reason: why}); err != nil {
			return nil, err
		}
		if lost {
			return nil, &RefusedError{Err: ErrRevoked, SessionID: e.SessionID, Subject: tok.subject, Reason: why}
		}
	}
	if !v.Outcome.Accepted() {
		return nil, s.refuse(&tok, v)
	}
	// A late retry finds the family one generation further than it asked for.
	if v.Outcome == family.Repeated && v.Record.Generation == next.generation+1 {
		if next, err = s.codec.successor(&next); err != nil {
			return nil, err
		}
		successor = next.hash()
	}
	if v.Outcome == family.Fresh {
		next, successor = tok, tok.hash() // what was presented is current
	}
	if next.generation != v.Record.Generation || !equal(successor, v.Record.Current) {
		return nil, s.unavailable(ctx, e, errors.New("the store's record does not follow from the token"))
	}
	limited := s.rules.Limit(v.Record)
	return s.grant(&limited, e.SessionID, &next, authority, v.Outcome, now)
}

// ask calls the claims hook.
func (s *Service) ask(ctx context.Context, subject string, c Client) (a Authority, err error) {
	if s.claims == nil {
		return Authority{}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			e := Event{Subject: subject}
			e.describe(c)
			a, err = Authority{}, s.unavailable(ctx, e, errors.New("the claims hook panicked"))
		}
	}()
	if a, err = s.claims(ctx, subject); err == nil {
		err = ctx.Err() // as promised of a hook that takes too long
	}
	if err == nil {
		return a, nil
	}
	e := Event{Subject: subject}
	e.describe(c)
	if errors.Is(err, ErrDenied) {
		e.Kind = EventDenied
		s.record(ctx, e)
		return Authority{}, ErrDenied
	}
	return Authority{}, s.unavailable(ctx, e, fmt.Errorf("claims hook: %w", err))
}

// grant signs the access token that goes with tok.
func (s *Service) grant(f *family.Record, sessionID string, tok *token, a Authority, o family.Outcome, now time.Time) (*Grant, error) {
	expires := f.AbsoluteExpiry
	if t := now.Add(s.access.Lifetime()); t.Before(expires) {
		expires = t
	}
	accessToken, claims, err := s.access.Issue(access.Claims{
		Subject: tok.subject, SessionID: sessionID, Generation: uint64(tok.generation),
		AuthTime: f.AuthTime, ExpiresAt: expires, SessionExpiresAt: f.AbsoluteExpiry,
		ACR: f.ACR, AMR: f.AMR, Roles: a.Roles, Scopes: a.Scopes, Custom: a.Custom,
	})
	if err != nil {
		return nil, s.unavailable(context.Background(), Event{Subject: tok.subject, SessionID: sessionID}, fmt.Errorf("access token: %w", err))
	}
	refreshToken, err := s.codec.encode(tok)
	if err != nil {
		return nil, err
	}
	return &Grant{
		AccessToken: accessToken, RefreshToken: refreshToken, Claims: claims, Outcome: o,
		IssuedAt: now, RefreshExpiresAt: f.ExpiresAt(), Remember: f.Remember, rotatedAt: f.RotatedAt,
	}, nil
}

// recordVerdict tells what a presented token came to, and learns from it.
func (s *Service) recordVerdict(ctx context.Context, e Event, v family.Verdict) {
	switch v.Outcome {
	case family.Rotated:
		e.Kind = EventRefresh
	case family.Fresh, family.Replayed, family.Repeated:
		e.Kind = EventReplayed
	case family.StoreBehind, family.StoreBehindRefused:
		e.Kind = EventStoreBehind
	case family.OtherClient:
		e.Kind = EventFingerprint
	case family.Reused:
		e.Kind, e.Reason = EventReuse, v.Record.Revoked
	default:
		e.Kind, e.Reason = EventRefused, v.Record.Revoked
	}
	s.record(ctx, e)
	if v.Record.Revoked != "" {
		s.revoked.add(v.Record.ID.String(), v.Record.RevokedAt, s.access.Now())
	}
	if v.Outcome.Accepted() && v.Differs != 0 {
		e.Kind = EventClientChanged
		s.record(ctx, e)
	}
}

func (s *Service) refuse(tok *token, v family.Verdict) error {
	e := &RefusedError{SessionID: tok.family.String(), Subject: tok.subject, Reason: v.Record.Revoked}
	switch {
	case v.Outcome == family.Reused:
		e.Err = ErrReused
	case v.Outcome == family.OtherClient:
		e.Err, e.Differs = ErrFingerprint, v.Differs
	case v.Outcome == family.StoreBehindRefused:
		e.Err = ErrStoreBehind
	case v.Record.Revoked != "":
		e.Err = ErrRevoked
	default:
		e.Err = ErrGone
	}
	return e
}

// unavailable records a failure and makes sure that it is ErrUnavailable.
func (s *Service) unavailable(ctx context.Context, e Event, cause error) error {
	e.Kind, e.Err = EventUnavailable, cause
	s.record(ctx, e)
	if errors.Is(cause, ErrUnavailable) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
