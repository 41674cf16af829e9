package refresh

import (
	"context"
	"slices"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// A SessionInfo is a line of a "your devices" page. Nothing in it is a
// credential.
type SessionInfo struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	UserAgent  string    `json:"user_agent"`
	IP         string    `json:"ip"`
	// DeviceBound: renewals need a key that cannot leave the device.
	DeviceBound bool `json:"device_bound"`
	// Data is what the app keeps with the session.
	Data string `json:"data,omitempty"`
	// Actor is who signed in as the user, and Reason is why; empty where it
	// was the user.
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// List returns the sessions of the current session's subject, newest first.
// It returns ErrUnavailable.
func (s *Sessions) List(ctx context.Context, current *access.Claims) ([]SessionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	list := []SessionInfo{}
	for _, key := range s.codec.subjectKeys(current.Subject) {
		records, err := s.store.List(ctx, key, s.access.Now())
		if err != nil {
			return nil, s.unavailable(ctx, Event{Subject: current.Subject, Actor: current.Actor}, err)
		}
		for _, rec := range records {
			id := rec.ID.String()
			list = append(list, SessionInfo{
				ID: id, Current: id == current.SessionID,
				CreatedAt: rec.CreatedAt.UTC(), LastUsedAt: rec.LastUsed().UTC(),
				UserAgent: rec.Device.UserAgent, IP: rec.Device.IP,
				DeviceBound: !rec.Key.IsZero(), Data: rec.Data, Actor: rec.Actor, Reason: rec.ActorReason,
			})
		}
	}
	slices.SortStableFunc(list, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list, nil
}
