package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Refresh exchanges a refresh token for a fresh access token and the refresh
// token that is current now. Equal calls that meet are one: the first asks the
// store and sees it through, even when its ctx ends meanwhile; the others wait
// for its answer, or until their own ctx ends, and then ErrUnavailable wraps
// its error. Refresh fails with one of the sentinels that are ErrRefused,
// usually inside a *RefusedError; with ErrCannotIssue; or with ErrUnavailable.
// Only a refusal is final: after the other two the token is as good as before.
func (s *Sessions) Refresh(ctx context.Context, refreshToken string, c Client) (*Grant, error) {
	if k, err := s.keys.decode(refreshToken); err == nil {
		return nil, s.needsKey(ctx, k, c)
	}
	tok, err := s.codec.decode(refreshToken)
	if err != nil {
		s.Record(ctx, c, Event{Kind: EventInvalidToken, Err: err})
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	p, err := s.present(&tok, tok.hash(), c)
	if err != nil {
		return nil, err
	}
	if err := s.checkBrowser(ctx, &p); err != nil {
		return nil, err
	}
	if s.policy.SingleUse || c.Proof != (family.Proof{}) {
		return s.rotate(ctx, p) // what two requests share would have been used twice
	}
	key := sameRequest{refreshToken, p.fingerprint, c.IP, c.MaxAccessToken, c.Key}
	return s.coalesced.do(ctx, key, s.timeout, func() (*Grant, error) { return s.rotate(ctx, p) })
}

// present completes what is laid before a family. It fails with ErrInvalidToken
// when the family's root secret left the ring.
func (s *Sessions) present(tok *token, hash [32]byte, c Client) (p presented, err error) {
	subject, ok1 := s.codec.subjectKey(tok.subject, tok.family)
	fingerprint, ok2 := s.fingerprint(tok.family, c)
	if !ok1 || !ok2 {
		return p, ErrInvalidToken
	}
	return presented{token: tok, hash: hash, subject: subject, client: c, fingerprint: fingerprint}, nil
}

// attempt names the call of the store.
func (p *presented) attempt() family.Attempt {
	if p.stepUp != nil {
		return p.stepUp.By
	}
	return newAttempt()
}

// fingerprint returns false when the family's root secret left the ring.
func (s *Sessions) fingerprint(id family.ID, c Client) (family.Fingerprint, bool) {
	key := s.codec.fingerprint.key(id)
	if key == nil {
		return family.Fingerprint{}, false
	}
	return s.binding.fingerprint(key, c), true
}

// checkBrowser refuses the token of a login that ended with its browser.
func (s *Sessions) checkBrowser(ctx context.Context, p *presented) error {
	if s.keepsBrowserKey(p) {
		return nil
	}
	e := p.event()
	e.Kind, e.Err = EventRefused, ErrBrowserClosed
	s.record(ctx, e)
	return &RefusedError{Err: ErrBrowserClosed, SessionID: e.SessionID, Subject: e.Subject}
}

// keepsBrowserKey reports whether the client has what the token is no good without.
func (s *Sessions) keepsBrowserKey(p *presented) bool {
	return !p.token.browser || equalText(p.client.BrowserKey, s.codec.browserKey(p.token.family))
}

// renewal bounds what asks the app and the store in turn. The end of the request
// that began it does not end it: others may wait for the same answer.
func (s *Sessions) renewal(ctx context.Context, p presented, ask func(context.Context) (*Grant, error)) (_ *Grant, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	defer func() {
		// The app's code may panic, such as a claim that marshals itself.
		if r := recover(); r != nil {
			err = s.unavailable(ctx, p.event(), errors.New("the refresh panicked"))
		}
	}()
	if s.revoked.has(p.token.family.String()) {
		return nil, s.refuseKnown(ctx, p)
	}
	return ask(ctx)
}

// rotate asks the app, then the store, then signs: if anything fails after
// the store was asked, the client still holds a token that is answered with
// the same successor.
func (s *Sessions) rotate(ctx context.Context, p presented) (*Grant, error) {
	return s.renewal(ctx, p, func(ctx context.Context) (*Grant, error) { return s.rotateNow(ctx, p) })
}

func (s *Sessions) rotateNow(ctx context.Context, p presented) (*Grant, error) {
	q, claims, err := s.claimsFor(ctx, &p)
	if err != nil {
		return nil, err
	}
	req, next, err := s.request(&p)
	if err != nil {
		return nil, err
	}
	v, err := s.store.Rotate(ctx, req)
	e := p.event()
	e.Differs = v.Differs
	switch {
	case err != nil:
		return nil, s.unavailable(ctx, e, err)
	case v.Outcome == family.Overtaken:
		return nil, s.unavailable(ctx, e, errors.New("later requests of the session have overtaken this one"))
	}
	s.recordVerdict(ctx, e, v, p.client.Key)
	if v.Outcome == family.Gone && v.Record.ID.IsZero() && s.goneEarly(&p) {
		e.Kind = EventGoneEarly
		s.record(ctx, e)
	}
	if err := s.heal(ctx, &p, v); err != nil {
		return nil, err
	}
	if !v.Outcome.Accepted() {
		return nil, refusedBy(p.token, v)
	}
	if p.stepUp != nil && v.Record.StepUp.By != p.stepUp.By {
		return nil, ErrOutdated
	}
	current, err := s.current(p.token, &next, &v)
	if err != nil {
		return nil, s.unavailable(ctx, e, err)
	}
	if claims, err = s.claimsAfter(ctx, &p, q, &v.Record, current, claims); err != nil {
		return nil, err
	}
	limited := s.policy.Limit(v.Record)
	return s.grant(ctx, &limited, current, claims, p.client, v.Outcome, req.Now)
}

// request lays a token before its family, and returns its successor.
func (s *Sessions) request(p *presented) (req family.RotateRequest, next token, err error) {
	if next, err = s.codec.successor(p.token, p.hash); err != nil {
		return req, next, err
	}
	return family.RotateRequest{
		Subject: p.subject, Family: p.token.family, Generation: p.token.generation,
		Hash: p.hash, Successor: next.hash(), Attempt: p.attempt(), StepUp: p.stepUp,
		Fingerprint: p.fingerprint, Device: p.client.device(), Policy: s.policyFor(p.token),
		Key: p.client.Key, Proof: p.client.Proof, Now: s.access.Now().Truncate(time.Millisecond),
	}, next, nil
}

// goneEarly reports whether a session that the store does not know should have
// lived on. An access token of it says when it was used and when its login ends;
// had it been revoked since, there would be a tombstone.
func (s *Sessions) goneEarly(p *presented) bool {
	c, err := s.access.VerifyWithin(p.client.AccessToken, maxAbsolute)
	if err != nil {
		return false
	}
	now := s.access.Now()
	return c.SessionID == p.token.family.String() && now.Before(c.SessionExpiresAt) &&
		now.Sub(c.IssuedAt) < min(s.policy.Idle, family.TombstoneRetention)
}

// policyFor is the configuration's, but for a login without a device id.
func (s *Sessions) policyFor(tok *token) family.Policy {
	policy := s.policy
	if tok.noDevice && s.binding.preferred {
		policy.Enforced = family.UserAgent
	}
	return policy
}

// current returns the token that the store's record holds the hash of. A
// generation that is young is the presented one; a late retry finds the family
// one generation further than it asked for.
func (s *Sessions) current(was, next *token, v *family.Verdict) (*token, error) {
	at := next
	switch v.Record.Generation {
	case was.generation:
		at = was
	case next.generation + 1:
		further, err := s.codec.successor(next, next.hash())
		if err != nil {
			return nil, err
		}
		at = &further
	}
	if at.generation != v.Record.Generation || !equal(at.hash(), v.Record.Current) {
		return nil, errors.New("the store's record does not follow from the token")
	}
	return at, nil
}

// heal repeats a revocation that the store has and this instance has not heard
// of: its announcement may have been lost with a reply.
func (s *Sessions) heal(ctx context.Context, p *presented, v family.Verdict) error {
	if v.Outcome != family.Gone || v.Record.Revoked == "" || s.access.Now().Sub(v.Record.RevokedAt) > s.revoked.keep {
		return nil // or so old that no access token of it is left
	}
	_, err := s.revoke(ctx, p.token.held(), family.RevokeRequest{Subject: p.subject, Family: p.token.family, Reason: v.Record.Revoked})
	return err
}

// refuseKnown refuses a token of a session that this instance knows to be
// revoked. A store that lost the revocation in a failover is told again. The
// app is not asked about a session that is dead.
func (s *Sessions) refuseKnown(ctx context.Context, p presented) error {
	e := p.event()
	rec, err := s.store.Find(ctx, p.subject, p.token.family, s.access.Now())
	if err != nil {
		return s.unavailable(ctx, e, err)
	}
	e.Reason = rec.Revoked
	if rec.Revoked == "" && !rec.ID.IsZero() {
		e.Reason = family.ReasonLogout
		if _, err := s.revoke(ctx, p.token.held(), family.RevokeRequest{Subject: p.subject, Family: p.token.family, Reason: e.Reason}); err != nil {
			return err
		}
	}
	e.Kind = EventRefused
	s.record(ctx, e)
	return &RefusedError{Err: ErrRevoked, SessionID: e.SessionID, Subject: e.Subject, Reason: e.Reason}
}

// recordVerdict tells what a presented token came to, and learns from it.
func (s *Sessions) recordVerdict(ctx context.Context, e Event, v family.Verdict, proved family.Key) {
	kinds := []EventKind{EventRefused}
	switch v.Outcome {
	case family.Unproven:
		if kinds[0] = EventProofMissing; !proved.IsZero() {
			kinds[0] = EventProofRefused
		}
	case family.Rotated:
		kinds[0] = EventRefresh
	case family.Replayed, family.Repeated, family.Fresh:
		kinds[0] = EventReplayed
	case family.StoreBehind, family.StoreBehindRefused:
		kinds[0] = EventStoreBehind
	case family.OtherClient:
		kinds[0] = EventFingerprint
	case family.Reused:
		kinds[0], e.Reason = EventReuse, v.Record.Revoked
	default:
		e.Reason = v.Record.Revoked
	}
	if v.Late {
		kinds = append(kinds, EventLateReplay)
		if s.lost.again(v.Record.ID, v.Record.Generation) {
			kinds = append(kinds, EventCookiesLost)
		}
	}
	if v.Shared {
		kinds = append(kinds, EventShared)
	}
	if v.Outcome.Accepted() && v.Differs != 0 {
		kinds = append(kinds, EventClientChanged)
	}
	for _, e.Kind = range kinds {
		s.record(ctx, e)
	}
	if v.Record.Revoked != "" {
		s.refuseHere(v.Record.ID)
	}
}

func refusedBy(tok *token, v family.Verdict) error {
	e := &RefusedError{SessionID: tok.family.String(), Subject: tok.subject, Reason: v.Record.Revoked}
	switch {
	case v.Outcome == family.Reused:
		e.Err = ErrReused
	case v.Outcome == family.OtherClient:
		e.Err, e.Differs = ErrFingerprint, v.Differs
	case v.Outcome == family.Unproven:
		e.Err = ErrUnproven
	case v.Outcome == family.StoreBehindRefused:
		e.Err = ErrStoreBehind
	case v.Record.Revoked != "":
		e.Err = ErrRevoked
	default:
		e.Err = ErrGone
	}
	return e
}

// slowAnswer is the age from which a grant may have been superseded: in less
// time no client has fetched two more generations.
const slowAnswer = time.Second

// crashRestore is the age of the cookies that a crashed browser comes back
// with (measured in Chromium).
const crashRestore = 30 * time.Second

// Superseded reports whether a grant must no longer be handed to its client:
// its session was revoked since; or it is so old that its access token could
// settle the generation before the client has it on disk; or the store, which
// is asked about grants older than a second, has a newer generation, which the
// client may hold already. The client keeps what it has, which can still be
// replayed.
func (s *Sessions) Superseded(ctx context.Context, g *Grant) bool {
	limit := s.policy.Settle
	if limit > crashRestore {
		limit = max(limit-crashRestore, limit/2)
	}
	age := s.access.Now().Sub(g.IssuedAt)
	switch {
	case s.revoked.has(g.Claims.SessionID) || age > limit:
		return true
	case age < slowAnswer:
		return false
	}
	rec, err := s.find(ctx, g.Claims)
	return err != nil || rec.Revoked != "" || uint64(rec.Generation) != g.Claims.Generation
}

// needsKey answers a refresh with nothing but the identifier of a bound session:
// it opens nothing, whatever the store holds. One question tells whether the
// session is over (ErrGone, ErrRevoked), or its key has to sign (ErrUnproven).
func (s *Sessions) needsKey(ctx context.Context, k *keySession, c Client) error {
	id := k.family.String()
	if k.browser && !equalText(c.BrowserKey, s.codec.browserKey(k.family)) {
		return &RefusedError{Err: ErrBrowserClosed, SessionID: id, Subject: k.subject}
	}
	if err := s.Live(ctx, &access.Claims{Subject: k.subject, SessionID: id}); err != nil {
		return err
	}
	if s.revoked.has(id) {
		return &RefusedError{Err: ErrRevoked, SessionID: id, Subject: k.subject}
	}
	return s.unproven(k)
}
