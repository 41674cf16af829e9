package sqlstore

import (
	"context"
	"database/sql"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// Revoke implements family.Store.
func (s *Store) Revoke(ctx context.Context, req family.RevokeRequest) (res family.RevokeResult, err error) {
	if !req.Family.IsZero() {
		err = s.transact(ctx, req.Subject, func(ctx context.Context, c *sql.Conn) (err error) {
			res, err = s.revokeOne(ctx, c, &req)
			return err
		})
		if err != nil {
			return family.RevokeResult{}, err
		}
		return res, nil
	}
	seen := make(map[family.ID]bool)
	for more := true; more; {
		var step []family.ID
		err := s.transact(ctx, req.Subject, func(ctx context.Context, c *sql.Conn) (err error) {
			step, more, err = s.revokeStep(ctx, c, &req)
			return err
		})
		if err != nil {
			return family.RevokeResult{}, err
		}
		for _, id := range step {
			if !seen[id] {
				seen[id] = true
				res.Ended = append(res.Ended, id)
			}
		}
	}
	return res, nil
}

// revokeOne repeats what a rotation came in between of.
func (s *Store) revokeOne(ctx context.Context, c *sql.Conn, req *family.RevokeRequest) (res family.RevokeResult, err error) {
	for done := false; !done && err == nil; {
		res, done, err = s.tryRevokeOne(ctx, c, req)
	}
	return res, err
}

func (s *Store) tryRevokeOne(ctx context.Context, c *sql.Conn, req *family.RevokeRequest) (res family.RevokeResult, done bool, err error) {
	old, err := s.lookup(ctx, c, req.Subject, req.Family)
	if err != nil {
		return res, false, err
	}
	f, err := old.decode(req.Subject, req.Family)
	now, sweep := req.Now.UnixMilli(), sweepTombstone(req.Now)
	switch {
	case err == nil && (f == nil || !known(f, req.Now)):
		if may, err := s.mayBury(ctx, c, req); !may || err != nil {
			return res, true, err
		}
		_, err = c.ExecContext(ctx, s.sql.tombstone, req.Subject[:], req.Family[:], now, req.Attempt[:], string(req.Reason), sweep)
		done = true
	case err == nil && f.Revoked != "":
		res.Known = true
		if f.Attempt == req.Attempt {
			res.Ended = []family.ID{req.Family} // and announced them, in one transaction
		}
		return res, true, nil
	case err == nil && req.LeftBehind(f.Generation):
		return family.RevokeResult{LeftBehind: true}, true, nil
	default: // what this build cannot read ends all the same
		done, err = affected(c.ExecContext(ctx, s.sql.endOne, req.Subject[:], req.Family[:], old.record, now, req.Attempt[:], string(req.Reason), sweep))
	}
	if !done || err != nil {
		return res, false, err
	}
	res = family.RevokeResult{Ended: []family.ID{req.Family}, Known: true}
	return res, true, s.bury(ctx, c, req.Subject, res.Ended, req.Now)
}

// mayBury reports whether a family that is not there leaves a tombstone.
func (s *Store) mayBury(ctx context.Context, c *sql.Conn, req *family.RevokeRequest) (bool, error) {
	if !req.Proven {
		return false, nil
	}
	var dead int
	after := req.Now.Add(-family.TombstoneRetention).UnixMilli()
	err := c.QueryRowContext(ctx, s.sql.countDead, req.Subject[:], after, family.MaxStep).Scan(&dead)
	return dead < family.MaxStep, err
}

// revokeStep ends up to MaxStep families, the newest that are not spared first. It
// returns what the attempt has ended, in this step or before, and whether there
// may be more to end.
func (s *Store) revokeStep(ctx context.Context, c *sql.Conn, req *family.RevokeRequest) (ended []family.ID, more bool, err error) {
	step, err := idsOf(c.QueryContext(ctx, s.sql.endAll, req.Subject[:], req.Now.UnixMilli(), req.Attempt[:], string(req.Reason),
		sweepTombstone(req.Now), req.Except[:], family.MaxStep, req.KeepNewest))
	if err != nil {
		return nil, false, err
	}
	if err := s.bury(ctx, c, req.Subject, step, req.Now); err != nil {
		return nil, false, err
	}
	after := req.Now.Add(-family.TombstoneRetention).UnixMilli()
	before, err := idsOf(c.QueryContext(ctx, s.sql.endedBy, req.Subject[:], req.Attempt[:], after))
	return append(step, before...), len(step) == family.MaxStep, err
}
