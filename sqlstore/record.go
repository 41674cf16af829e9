package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

const (
	// margin is how long a row is kept after it has expired: the clocks of
	// instances and of the database may differ by as much.
	margin = time.Hour
	// slack: a row is kept for a sixteenth of the idle timeout longer, so that most
	// rotations leave the column alone by which rows are removed, and its index.
	slack = 16
)

// A row is what the table has of one family. A tombstone has no record.
type row struct {
	found     bool
	record    []byte
	revokedAt int64 // 0 while it lives
	attempt   []byte
	reason    string
}

// errReadOnly: a standby lags behind, and a server that was demoted hears of
// nothing. Neither is an authority on who is signed in.
var errReadOnly = errors.New("the server cannot be written to: it is a standby, or read-only")

// errRecord: what the row of a family has cannot be one.
var errRecord = errors.New("unreadable row")

// lookup reads the row of a family from a server that may write.
func (s *Store) lookup(ctx context.Context, c *sql.Conn, subject family.Subject, id family.ID) (r row, err error) {
	var revokedAt sql.NullInt64
	var reason sql.NullString
	var readOnly string
	err = c.QueryRowContext(ctx, s.sql.lookup, subject[:], id[:]).Scan(&r.record, &revokedAt, &r.attempt, &reason, &readOnly)
	if err == nil && readOnly == "on" {
		err = errReadOnly
	}
	r.found, r.revokedAt, r.reason = revokedAt.Valid, revokedAt.Int64, reason.String
	return r, err
}

// decode returns the family of a row, nil where there is none.
func (r row) decode(subject family.Subject, id family.ID) (*family.Record, error) {
	if !r.found {
		return nil, nil
	}
	var f family.Record
	if r.revokedAt != 0 {
		f = family.Record{Subject: subject, ID: id, Revoked: family.Reason(r.reason), RevokedAt: time.UnixMilli(r.revokedAt)}
		if copy(f.Attempt[:], r.attempt) != len(f.Attempt) || f.Revoked == "" {
			return nil, permanent{errRecord}
		}
		return &f, nil
	}
	if err := f.UnmarshalBinary(r.record); err != nil {
		return nil, permanent{err}
	}
	if f.Subject != subject || f.ID != id || f.Revoked != "" {
		return nil, permanent{errRecord}
	}
	return &f, nil
}

// known reports whether a record has not expired.
func known(f *family.Record, now time.Time) bool {
	if f.Revoked != "" {
		return now.Before(f.RevokedAt.Add(family.TombstoneRetention))
	}
	return f.Alive(now)
}

func sweepTombstone(revokedAt time.Time) int64 {
	return revokedAt.Add(family.TombstoneRetention + margin).UnixMilli()
}

// affected reports whether a statement changed a row.
func affected(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// each calls f at every row.
func each(rows *sql.Rows, err error, f func() error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// idsOf reads the ids that a statement returns.
func idsOf(rows *sql.Rows, err error) ([]family.ID, error) {
	var ids []family.ID
	err = each(rows, err, func() error {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return err
		}
		if len(b) != len(family.ID{}) {
			return permanent{errRecord}
		}
		ids = append(ids, family.ID(b))
		return nil
	})
	return ids, err
}
