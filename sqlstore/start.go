package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// errRefused undoes the transaction of a login that is refused.
var errRefused = errors.New("the subject is at its limit")

// Start implements family.Store.
func (s *Store) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	f := &req.Record
	b, err := f.MarshalBinary()
	if err != nil {
		return family.StartResult{}, unavailable(err)
	}
	var res family.StartResult
	err = s.transact(ctx, f.Subject, func(ctx context.Context, c *sql.Conn) (err error) {
		res, err = s.start(ctx, c, &req, b)
		return err
	})
	switch {
	case errors.Is(err, errRefused):
		return family.StartResult{Refused: true}, nil
	case err != nil:
		return family.StartResult{}, err
	}
	s.sweepSometimes(ctx)
	return res, nil
}

func (s *Store) start(ctx context.Context, c *sql.Conn, req *family.StartRequest, record []byte) (res family.StartResult, err error) {
	f, now := &req.Record, req.Now.UnixMilli()
	expires := f.ExpiresAt()
	counted := 1
	if f.Actor != "" {
		counted = 0
	}
	kept, err := affected(c.ExecContext(ctx, s.sql.insert, f.Subject[:], f.ID[:], f.CreatedAt.UnixMilli(), counted,
		expires.UnixMilli(), expires.Add(margin+f.Idle/slack).UnixMilli(), record))
	if err != nil {
		return res, err
	}
	if !kept { // ids are random: this is the request itself, again
		return s.ended(ctx, c, f)
	}
	if res.Superseded, err = s.endThese(ctx, c, req, family.ReasonSuperseded, req.Supersedes); err != nil {
		return res, err
	}
	if req.MaxSessions > 0 {
		live, err := idsOf(c.QueryContext(ctx, s.sql.oldest, f.Subject[:], now, f.ID[:], req.MaxSessions+family.MaxStep+1))
		if err != nil {
			return res, err
		}
		evict, refused := family.Admit(len(live), *req)
		if refused {
			return res, errRefused
		}
		if res.Evicted, err = s.endThese(ctx, c, req, family.ReasonLimit, live[:evict]); err != nil {
			return res, err
		}
	}
	return res, s.bury(ctx, c, f.Subject, slices.Concat(res.Superseded, res.Evicted), req.Now)
}

// ended returns what the login of a family has ended.
func (s *Store) ended(ctx context.Context, c *sql.Conn, f *family.Record) (res family.StartResult, err error) {
	for _, of := range []struct {
		why  family.Reason
		list *[]family.ID
	}{{family.ReasonSuperseded, &res.Superseded}, {family.ReasonLimit, &res.Evicted}} {
		if *of.list, err = idsOf(c.QueryContext(ctx, s.sql.endedFor, f.Subject[:], f.Attempt[:], string(of.why))); err != nil {
			return res, err
		}
	}
	return res, nil
}

// endThese makes tombstones of those of the families that live, and returns them.
func (s *Store) endThese(ctx context.Context, c *sql.Conn, req *family.StartRequest, why family.Reason, ids []family.ID) ([]family.ID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	f := &req.Record
	args := []any{f.Subject[:], req.Now.UnixMilli(), f.Attempt[:], string(why), sweepTombstone(req.Now), f.ID[:]}
	var places strings.Builder
	for i := range ids {
		if i > 0 {
			places.WriteByte(',')
		}
		args = append(args, ids[i][:])
		places.WriteString(s.sql.mark + strconv.Itoa(len(args)))
	}
	return idsOf(c.QueryContext(ctx, strings.Replace(s.sql.endThese, "{ids}", places.String(), 1), args...))
}

// bury is done for families that just ended: of the subject's tombstones the
// newest stay, and the other instances are told.
func (s *Store) bury(ctx context.Context, c *sql.Conn, subject family.Subject, ids []family.ID, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := c.ExecContext(ctx, s.sql.trim, subject[:], family.MaxStep); err != nil {
		return err
	}
	return s.announce(ctx, c, ids, at)
}

// announce writes families to the feed, in the transaction that ends them.
func (s *Store) announce(ctx context.Context, c *sql.Conn, ids []family.ID, at time.Time) error {
	joined := make([]byte, 0, len(ids)*len(family.ID{}))
	for _, id := range ids {
		joined = append(joined, id[:]...)
	}
	if _, err := c.ExecContext(ctx, s.sql.announce, joined, at.UnixMilli()); err != nil {
		return err
	}
	if s.channel == "" {
		return nil
	}
	_, err := c.ExecContext(ctx, "NOTIFY "+s.channel)
	return err
}

const (
	// sweepEvery and sweepMost: one login in so many removes up to so many rows
	// that have expired, which is far more than so many logins add.
	sweepEvery = 16
	sweepMost  = 256
)

// sweepSometimes removes rows that have expired. That it fails is no matter of the
// login; the next will do it.
func (s *Store) sweepSometimes(ctx context.Context) {
	if s.logins.Add(1)%sweepEvery != 0 {
		return
	}
	err := s.do(ctx, mayBeLost, func(ctx context.Context, c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, s.sql.sweep, sweepMost); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, s.sql.sweepFeed, s.feedWindow().Milliseconds(), sweepMost)
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "sqlstore: expired rows were not removed: a later login does it", "error", err)
	}
}
