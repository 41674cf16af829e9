package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Reasons that apps pass to the calls that revoke. Others are fine too: at
// most 32 bytes of printable ASCII. Package family lists the kit's own.
const (
	ReasonLogout     = family.ReasonLogout
	ReasonLogoutAll  = family.ReasonLogoutAll
	ReasonPassword   = family.ReasonPassword
	ReasonDeactivate = family.ReasonDeactivate
)

// Revoke ends one session of the subject. Ending it twice is fine. It
// returns ErrNotFound when the subject has no such session, and
// ErrUnavailable; another error says what is wrong with the reason.
func (s *Sessions) Revoke(ctx context.Context, subject, sessionID string, why family.Reason) error {
	id, err := family.ParseID(sessionID)
	if err != nil {
		return ErrNotFound
	}
	key, ok := s.codec.subjectKey(subject, id)
	if !ok {
		return ErrNotFound
	}
	res, err := s.revoke(ctx, Held{subject: subject}, family.RevokeRequest{Subject: key, Family: id, Reason: why})
	if err == nil && !res.Known {
		return ErrNotFound
	}
	return err
}

// RevokeAll ends every session of the subject, on every instance: logout
// everywhere, deactivation. It returns ErrSubject or ErrUnavailable; another
// error says what is wrong with the reason.
func (s *Sessions) RevokeAll(ctx context.Context, subject string, why family.Reason) error {
	return s.revokeAll(ctx, subject, family.RevokeRequest{Reason: why})
}

// RevokeOthers ends every session of the current session's subject but that
// one: for a changed password. It returns access.ErrClaims for claims without
// a session id, ErrSubject or ErrUnavailable.
func (s *Sessions) RevokeOthers(ctx context.Context, current *access.Claims, why family.Reason) error {
	id, err := family.ParseID(current.SessionID)
	if err != nil {
		return access.ErrClaims
	}
	return s.revokeAll(ctx, current.Subject, family.RevokeRequest{Except: id, Reason: why})
}

func (s *Sessions) revokeAll(ctx context.Context, subject string, req family.RevokeRequest) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	for _, key := range s.codec.subjectKeys(subject) {
		req.Subject = key
		if _, err := s.revoke(ctx, Held{subject: subject}, req); err != nil {
			return err
		}
	}
	return nil
}

// A Held names a session of which somebody showed a token: what is needed to
// end it. The zero Held names none.
type Held struct {
	subject    string
	actor      string
	family     family.ID
	generation uint32
	// refresh: the token was a refresh token.
	refresh bool
	// DeviceBound: it says that the session is bound to a key of its device.
	DeviceBound bool
}

// Session returns what the token says: whose session it is, which, and how often
// it had been renewed.
func (h Held) Session() (subject, id string, generation uint32) {
	return h.subject, h.family.String(), h.generation
}

// lately is how long an access token that has expired can still end its session.
const lately = time.Hour

// HeldRefresh reads a refresh token, however old. It fails with ErrInvalidToken.
func (s *Sessions) HeldRefresh(token string) (Held, error) {
	if k, err := s.keys.decode(token); err == nil {
		return Held{subject: k.subject, family: k.family, DeviceBound: true}, nil
	}
	t, err := s.codec.decode(token)
	if err != nil {
		return Held{}, err
	}
	h := t.held()
	h.refresh = true
	return h, nil
}

// HeldAccess reads an access token that is valid, or expired within the last
// hour. It fails with an error of package access.
func (s *Sessions) HeldAccess(token string) (Held, error) {
	c, err := s.access.VerifyWithin(token, lately)
	if err != nil {
		return Held{}, err
	}
	return s.HeldClaims(c)
}

// HeldClaims is HeldAccess for a token that was verified. It fails with
// access.ErrClaims for a token of another service.
func (s *Sessions) HeldClaims(c *access.Claims) (Held, error) {
	id, err := family.ParseID(c.SessionID)
	if err != nil || !s.issued(c) {
		return Held{}, access.ErrClaims
	}
	return heldBy(c, id), nil
}

// heldBy names the session of claims, whose id is given.
func heldBy(c *access.Claims, id family.ID) Held {
	return Held{subject: c.Subject, actor: c.Actor, family: id, generation: uint32(c.Generation), DeviceBound: c.DeviceBound}
}

// SignOut ends the sessions of which a client showed a token. A refresh token
// that was out of use already ends nothing, and is an event: it is in the
// hands of somebody who should not have it. It returns ErrUnavailable.
func (s *Sessions) SignOut(ctx context.Context, c Client, held ...Held) error {
	for _, h := range held {
		key, ok := s.codec.subjectKey(h.subject, h.family)
		if !ok {
			continue
		}
		req := family.RevokeRequest{
			Subject: key, Family: h.family, Reason: family.ReasonLogout,
			Proven: !s.revoked.has(h.family.String()), CheckGeneration: h.refresh, Generation: h.generation,
		}
		res, err := s.revoke(ctx, h, req)
		if err != nil {
			return err
		}
		if res.LeftBehind {
			s.Record(ctx, c, Event{Kind: EventUnproven, Subject: h.subject, Actor: h.actor, SessionID: h.family.String(), Generation: h.generation})
		}
	}
	return nil
}

// revoke completes and carries out a request about sessions of h's subject, and
// refuses the families' access tokens here once the store has ended them; other
// instances learn it from the feed.
func (s *Sessions) revoke(ctx context.Context, h Held, req family.RevokeRequest) (family.RevokeResult, error) {
	if err := checkReason(req.Reason); err != nil {
		return family.RevokeResult{}, err
	}
	// A client that hangs up does not stop its own logout.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	req.Attempt, req.Now = newAttempt(), s.access.Now().Truncate(time.Millisecond)
	e := Event{Kind: EventRevoked, Subject: h.subject, Actor: h.actor, Reason: req.Reason}
	if !req.Family.IsZero() {
		e.SessionID = req.Family.String()
	}
	res, err := s.store.Revoke(ctx, req)
	if err != nil {
		return family.RevokeResult{}, s.unavailable(ctx, e, err)
	}
	s.refuseHere(res.Ended...)
	if res.Known {
		s.refuseHere(req.Family)
	}
	if e.Count = len(res.Ended); e.Count > 0 {
		s.record(ctx, e)
	}
	return res, nil
}

// refuseHere refuses the access tokens of families that the store says are
// dead.
func (s *Sessions) refuseHere(ids ...family.ID) {
	now := s.access.Now()
	for _, id := range ids {
		s.revoked.add(id.String(), now)
	}
}

func checkReason(why family.Reason) error {
	if why == "" || len(why) > 32 {
		return errors.New("refresh: a Reason has 1 to 32 bytes")
	}
	for i := range len(why) {
		if why[i] < 0x20 || why[i] > 0x7e {
			return errors.New("refresh: a Reason is printable ASCII")
		}
	}
	return nil
}
