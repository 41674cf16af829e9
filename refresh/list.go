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
	// DeviceBound says that the session is bound to a key of its device.
	DeviceBound bool `json:"device_bound"`
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
			return nil, s.unavailable(ctx, Event{Subject: current.Subject}, err)
		}
		for _, rec := range records {
			id := rec.ID.String()
			list = append(list, SessionInfo{
				ID: id, Current: id == current.SessionID,
				CreatedAt: rec.CreatedAt.UTC(), LastUsedAt: rec.LastUsed().UTC(),
				UserAgent: rec.Device.UserAgent, IP: rec.Device.IP,
				DeviceBound: !rec.Key.IsZero(),
			})
		}
	}
	slices.SortStableFunc(list, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return list, nil
}
