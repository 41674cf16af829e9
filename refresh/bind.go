package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// RegisterKey takes the proof with which a browser registers the key of its
// device for a session (W3C Device Bound Session Credentials): it is signed over
// Grant.KeyTicket, which the browser got at its sign-in. refreshToken is the
// refresh cookie that came with it; empty without.
//
// Nothing is kept: the Grant has a KeySession and a KeyChallenge, the Subject and
// SessionID of its Claims, and no tokens. The session is an ordinary one until
// RefreshWithKey sees the first signed refresh. Doing it again gives the same
// answer.
//
// It fails with ErrUnproven for a proof that is no good, with ErrOtherKey when
// the session is bound to another key, with ErrRevoked or ErrGone when it has
// ended, and with ErrUnavailable.
func (s *Sessions) RegisterKey(ctx context.Context, proof, refreshToken string, c Client) (*Grant, error) {
	p, err := access.VerifyDBSC(proof, nil)
	if err != nil {
		return nil, s.bindingFailed(ctx, c, Event{}, err)
	}
	t, err := s.keys.readTicket(p.Challenge, s.access.Now())
	if err != nil || s.deviceKeys == DeviceKeysOff {
		return nil, s.bindingFailed(ctx, c, Event{}, errors.New("refresh: a challenge that is not ours, or too old"))
	}
	k := &keySession{key: p.Key}
	k.browser, k.family, k.subject = t.browser, t.family, t.subject
	e := Event{Subject: k.subject, SessionID: k.family.String()}
	beside := s.shows(k, refreshToken, c)
	switch beside {
	case showsOther:
		return nil, s.bindingFailed(ctx, c, e, errors.New("refresh: the browser has another session"))
	case showsSame:
		k.shown = true
	}
	rec, err := s.find(ctx, &access.Claims{Subject: k.subject, SessionID: e.SessionID})
	switch {
	case err != nil:
		return nil, err
	case rec.Revoked != "" || s.revoked.has(e.SessionID):
		return nil, &RefusedError{Err: ErrRevoked, SessionID: e.SessionID, Subject: k.subject, Reason: rec.Revoked}
	case rec.ID.IsZero():
		return nil, &RefusedError{Err: ErrGone, SessionID: e.SessionID, Subject: k.subject}
	case !rec.Key.IsZero() && !hasKey(&rec, p.Thumbprint):
		e.Kind, e.Err = EventBindingFailed, ErrOtherKey
		s.Record(ctx, c, e)
		return nil, ErrOtherKey
	}
	k.actor, k.told = rec.Actor, isTold(&rec)
	g := &Grant{Claims: &access.Claims{Subject: k.subject, SessionID: e.SessionID}, Remember: !k.browser, IssuedAt: s.access.Now()}
	if g.KeySession = s.keys.encode(k); g.KeySession == "" {
		return nil, ErrInvalidToken // the family's root secret left the ring
	}
	g.KeyChallenge = s.keys.newChallenge(k, g.IssuedAt)
	return g, nil
}

// bindingFailed tells a proof that is no good.
func (s *Sessions) bindingFailed(ctx context.Context, c Client, e Event, cause error) error {
	e.Kind, e.Err = EventBindingFailed, cause
	s.Record(ctx, c, e)
	return &RefusedError{Err: ErrUnproven, SessionID: e.SessionID, Subject: e.Subject}
}

// What a refresh cookie says of the browser that sent it beside a proof.
type shown int

const (
	showsNothing shown = iota // there is none, or one that is no good any more
	showsSame                 // it is of the session
	showsClosed               // it is, and the login ended with the browser
	showsOther                // it is of another session
)

// shows looks at the refresh cookie that came with a proof. One of a session
// that is known to be over counts as none: a browser that crashed comes back with
// cookies that are older than its key.
func (s *Sessions) shows(k *keySession, refreshToken string, c Client) shown {
	h, err := s.HeldRefresh(refreshToken)
	switch {
	case err != nil:
		return showsNothing
	case h.family != k.family && s.revoked.has(h.family.String()):
		return showsNothing
	case h.family != k.family || h.subject != k.subject:
		return showsOther
	case k.browser && !equalText(c.BrowserKey, s.codec.browserKey(k.family)):
		return showsClosed
	}
	return showsSame
}

// RefreshWithKey renews the session that a session identifier names, for a proof
// that is signed with its key over a challenge of ours (W3C Device Bound Session
// Credentials). The first proof binds the session to the key: from then on
// nothing renews it but proofs. refreshToken is the refresh cookie that came
// beside; it may be absent. The same proof again is answered alike.
//
// It fails with ErrUnproven, and a KeyChallenge in the *RefusedError, when there
// is no proof, or no good one, or it is over an older challenge: sign that one.
// Every other error that is ErrRefused says that the session is over for this
// browser. ErrNotShown, ErrCannotIssue and ErrUnavailable leave everything as it
// is.
func (s *Sessions) RefreshWithKey(ctx context.Context, session, proof, refreshToken string, c Client) (*Grant, error) {
	k, err := s.keys.decode(session)
	if err != nil {
		s.Record(ctx, c, Event{Kind: EventInvalidToken, Err: err})
		return nil, err
	}
	tok := k.token
	p, err := s.present(&tok, [32]byte{}, c)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if proof == "" {
		return nil, s.unproven(k)
	}
	signed, err := access.VerifyDBSC(proof, k.key)
	if err != nil {
		e := p.event()
		e.Kind, e.Err = EventBindingFailed, err
		s.record(ctx, e)
		return nil, s.unproven(k)
	}
	if !s.keys.accepts(k, signed.Challenge, s.access.Lifetime(), s.access.Now()) {
		return nil, s.unproven(k)
	}
	if err := s.checkShown(ctx, k, &p, signed.Thumbprint, refreshToken); err != nil {
		return nil, err
	}
	return s.renewal(ctx, p, func(ctx context.Context) (*Grant, error) { return s.renewWithKey(ctx, k, p, signed) })
}

// checkShown judges what came beside a good proof.
//
// A login that ends with its browser ends for a browser that was closed. A key
// that was registered without the session's refresh cookie could be anybody's
// who read the answer to the sign-in: it binds the session only together with
// that cookie.
func (s *Sessions) checkShown(ctx context.Context, k *keySession, p *presented, thumbprint [32]byte, refreshToken string) error {
	e := p.event()
	beside := s.shows(k, refreshToken, p.client)
	switch {
	case beside == showsSame:
		return nil
	case beside == showsOther:
		e.Kind, e.Err = EventRefused, ErrReplaced
		s.record(ctx, e)
		return &RefusedError{Err: ErrReplaced, SessionID: e.SessionID, Subject: e.Subject}
	case beside == showsClosed:
		return s.checkBrowser(ctx, p)
	case k.browser:
		return ErrNotShown
	case k.shown:
		return nil
	}
	rec, err := s.find(ctx, &access.Claims{Subject: e.Subject, SessionID: e.SessionID})
	if err == nil && !rec.ID.IsZero() && rec.Revoked == "" && !hasKey(&rec, thumbprint) {
		err = ErrNotShown
	}
	return err
}

// renewWithKey asks the app, then the store, then signs, like rotate.
func (s *Sessions) renewWithKey(ctx context.Context, k *keySession, p presented, signed access.DBSCProof) (*Grant, error) {
	q, claims, err := s.claimsFor(ctx, &p)
	if err != nil {
		return nil, err
	}
	now := s.access.Now().Truncate(time.Millisecond)
	v, err := s.store.Bind(ctx, family.BindRequest{
		Subject: p.subject, Family: k.family, Key: family.Key{Kind: family.KeyDBSC, Thumbprint: signed.Thumbprint}, Attempt: newAttempt(),
		Fingerprint: p.fingerprint, Device: p.client.device(), Policy: s.policy, Now: now,
	})
	if err != nil {
		return nil, s.unavailable(ctx, p.event(), err)
	}
	s.recordBind(ctx, p.event(), v)
	if err := s.heal(ctx, &p, v); err != nil {
		return nil, err
	}
	switch {
	case v.Outcome == family.Unproven:
		// The session lives, with the key of another browser.
		return nil, &RefusedError{Err: ErrGone, SessionID: k.family.String(), Subject: k.subject}
	case !v.Outcome.Accepted():
		return nil, refusedBy(p.token, v)
	}
	// Whoever has the key is the user's own device: what the user proved there
	// last holds for it.
	p.token.generation, p.token.by = v.Record.Generation, v.Record.StepUp.By
	if claims, err = s.claimsAfter(ctx, &p, q, &v.Record, p.token, claims); err != nil {
		return nil, err
	}
	limited := s.policy.Limit(v.Record)
	return s.boundGrant(ctx, &limited, k, &p, claims, v.Outcome, now)
}

// boundGrant signs the access token of a session that is bound. Its refresh
// token names the session, and opens nothing.
func (s *Sessions) boundGrant(ctx context.Context, rec *family.Record, k *keySession, p *presented, a SubjectClaims, o family.Outcome, now time.Time) (*Grant, error) {
	g, err := s.grant(ctx, rec, p.token, a, p.client, o, now)
	if err != nil {
		return nil, err
	}
	g.RefreshToken, g.KeySession, g.KeyChallenge = k.text, k.text, s.keys.newChallenge(k, now)
	return g, nil
}

// recordBind tells what a signed refresh came to, and learns from it.
func (s *Sessions) recordBind(ctx context.Context, e Event, v family.Verdict) {
	e.Generation, e.Differs, e.Reason = v.Record.Generation, v.Differs, v.Record.Revoked
	switch v.Outcome {
	case family.Bound:
		e.Kind = EventBound
	case family.Renewed:
		e.Kind = EventRefresh
	case family.Unproven:
		e.Kind, e.Err = EventBindingFailed, ErrOtherKey
	default:
		e.Kind = EventRefused
	}
	s.record(ctx, e)
	if v.Outcome.Accepted() && v.Differs != 0 {
		e.Kind = EventClientChanged
		s.record(ctx, e)
	}
	if v.Record.Revoked != "" {
		s.refuseHere(v.Record.ID)
	}
}
