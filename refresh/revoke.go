package refresh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Revoke ends one session of the subject. Ending it twice is fine. It
// returns ErrNotFound when the subject has no such session, and
// ErrUnavailable.
func (s *Service) Revoke(ctx context.Context, subject, sessionID string, why family.Reason) error {
	id, err := family.ParseID(sessionID)
	if err != nil {
		return ErrNotFound
	}
	key, ok := s.codec.subjectKey(subject, id)
	if !ok {
		return ErrNotFound
	}
	res, err := s.revoke(ctx, subject, family.RevokeRequest{Subject: key, Family: id, Reason: why})
	if err == nil && !res.Known {
		return ErrNotFound
	}
	return err
}

// RevokeAll ends every session of the subject, on every instance: logout
// everywhere, deactivation. It returns ErrSubject or ErrUnavailable.
func (s *Service) RevokeAll(ctx context.Context, subject string, why family.Reason) error {
	return s.revokeAll(ctx, subject, family.RevokeRequest{Reason: why})
}

// RevokeOthers ends every session of the current session's subject but that
// one: for a changed password. It returns ErrUnavailable.
func (s *Service) RevokeOthers(ctx context.Context, current *access.Claims, why family.Reason) error {
	id, err := family.ParseID(current.SessionID)
	if err != nil {
		return access.ErrClaims
	}
	return s.revokeAll(ctx, current.Subject, family.RevokeRequest{Except: id, Reason: why})
}

func (s *Service) revokeAll(ctx context.Context, subject string, req family.RevokeRequest) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	for _, key := range s.codec.subjectKeys(subject) {
		req.Subject = key
		if _, err := s.revoke(ctx, subject, req); err != nil {
			return err
		}
	}
	return nil
}

// revoke completes and carries out a request, and refuses the families'
// access tokens here at once; other instances learn it from the feed.
func (s *Service) revoke(ctx context.Context, subject string, req family.RevokeRequest) (family.RevokeResult, error) {
	if err := checkReason(req.Reason); err != nil {
		return family.RevokeResult{}, err
	}
	// A client that hangs up does not stop its own logout.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	req.Attempt, req.Now = newAttempt(), s.access.Now().Truncate(time.Millisecond)
	e := Event{Kind: EventRevoked, Subject: subject, Reason: req.Reason}
	if !req.Family.IsZero() {
		e.SessionID = req.Family.String()
	}
	if req.Proven {
		s.dead(req.Family)
	}
	res, err := s.store.Revoke(ctx, req)
	if err != nil {
		return family.RevokeResult{}, s.unavailable(ctx, e, err)
	}
	s.dead(res.Ended...)
	if res.Known {
		s.dead(req.Family)
	}
	if e.Count = len(res.Ended); e.Count > 0 {
		s.record(ctx, e)
	}
	return res, nil
}

func (s *Service) dead(ids ...family.ID) {
	now := s.access.Now()
	for _, id := range ids {
		s.revoked.add(id.String(), now, now)
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

// A SessionInfo is a line of a "your devices" page. Nothing in it is a
// credential.
type SessionInfo struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	UserAgent  string    `json:"user_agent"`
	IP         string    `json:"ip"`
}

// List returns the sessions of the current session's subject, newest first.
// It returns ErrUnavailable.
func (s *Service) List(ctx context.Context, current *access.Claims) ([]SessionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	list := []SessionInfo{}
	for _, key := range s.codec.subjectKeys(current.Subject) {
		families, err := s.store.List(ctx, key, s.access.Now())
		if err != nil {
			return nil, s.unavailable(ctx, Event{Subject: current.Subject}, err)
		}
		for _, f := range families {
			id := f.ID.String()
			list = append(list, SessionInfo{
				ID: id, Current: id == current.SessionID,
				CreatedAt: f.CreatedAt.UTC(), LastUsedAt: f.LastUsed().UTC(),
				UserAgent: f.Device.UserAgent, IP: f.Device.IP,
			})
		}
	}
	slices.SortStableFunc(list, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list, nil
}
