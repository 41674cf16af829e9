package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A kind of operation.
type kind int

const (
	reading kind = iota
	// mayBeLost: a crash of the machine may undo the write, and the protocol heals it.
	mayBeLost
	// durable: the write is on the disk when the call returns.
	durable
)

// when is how to write what changed, and to leave alone what did not.
func (k kind) when(changed bool) kind {
	if changed {
		return k
	}
	return reading
}

const (
	firstPause = 5 * time.Millisecond
	lastPause  = 160 * time.Millisecond
)

// do calls f with a connection until it succeeds, fails for good, or the time is
// up; every error wraps family.ErrUnavailable. Being called again is harmless:
// every operation may be executed twice.
func (s *Store) do(ctx context.Context, how kind, f func(context.Context, *sql.Conn) error) error {
	return s.within(ctx, s.timeout, how, f)
}

func (s *Store) within(ctx context.Context, limit time.Duration, how kind, f func(context.Context, *sql.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var why error // of the last attempt that ctx did not end
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		err := s.attempt(ctx, how, f)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errRefused):
			return err
		case ctx.Err() != nil:
		case !passing(err):
			return unavailable(err)
		default:
			why = err
			sleep(ctx, pause)
		}
	}
	if why != nil {
		return fmt.Errorf("%w: %w", unavailable(why), ctx.Err())
	}
	return unavailable(ctx.Err())
}

// errPanic: the app's driver panicked.
var errPanic = errors.New("the driver panicked")

// attempt calls f once. A panic of the driver is an error: the feed's goroutine is
// one where nobody could recover.
func (s *Store) attempt(ctx context.Context, how kind, f func(context.Context, *sql.Conn) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "sqlstore: the driver panicked", "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	if s.writing != nil && how != reading {
		select {
		case s.writing <- struct{}{}:
			defer func() { <-s.writing }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.writing != nil {
		// A short wait for other programs; the rest is done by trying again, which
		// ends with ctx.
		pragmas := "PRAGMA busy_timeout = 20; PRAGMA synchronous = NORMAL"
		if how == durable {
			pragmas = "PRAGMA busy_timeout = 20; PRAGMA synchronous = FULL"
		}
		if _, err := c.ExecContext(ctx, pragmas); err != nil {
			return err
		}
	}
	return f(ctx, c)
}

// makeDurable is for what turns out to be durable while it is done.
func (s *Store) makeDurable(ctx context.Context, c *sql.Conn) error {
	if s.writing == nil {
		return nil // a transaction of PostgreSQL is, unless it says otherwise
	}
	_, err := c.ExecContext(ctx, "PRAGMA synchronous = FULL")
	return err
}

// transact calls f in a transaction that excludes others of the same subject.
func (s *Store) transact(ctx context.Context, subject family.Subject, f func(context.Context, *sql.Conn) error) error {
	return s.do(ctx, durable, func(ctx context.Context, c *sql.Conn) error {
		return s.transaction(ctx, c, func() error {
			if s.sql.lockSubject != "" {
				if _, err := c.ExecContext(ctx, s.sql.lockSubject, int64(binary.BigEndian.Uint64(subject[:]))); err != nil {
					return err
				}
			}
			return f(ctx, c)
		})
	})
}

// transaction calls f between BEGIN and COMMIT. They are statements and not a
// sql.Tx, because SQLite's must be IMMEDIATE, and because these honour ctx with
// every driver.
func (s *Store) transaction(ctx context.Context, c *sql.Conn, f func() error) error {
	committed := false
	defer func() {
		if !committed {
			undo(ctx, c)
		}
	}()
	if _, err := c.ExecContext(ctx, s.sql.begin); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, "COMMIT")
	committed = err == nil
	return err
}

// undo ends a transaction, or closes the connection that may be in one.
func undo(ctx context.Context, c *sql.Conn) {
	if ctx.Err() == nil {
		if _, err := c.ExecContext(ctx, "ROLLBACK"); err == nil {
			return
		}
	}
	_ = c.Raw(func(any) error { return driver.ErrBadConn }) // this closes it
}

// permanent is an error that trying again does not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// passing reports whether an error may be gone a moment later: the server
// restarts, another one is promoted, somebody else writes the same rows.
func passing(err error) bool {
	var state interface{ SQLState() string } // of pgx and lib/pq
	var code interface{ Code() int }         // of modernc.org/sqlite
	switch {
	case errors.As(err, new(permanent)):
		return false
	case errors.As(err, &state):
		return passingState(state.SQLState())
	case errors.As(err, &code):
		const busy, locked, interrupted = 5, 6, 9
		c := code.Code() & 0xff
		return c == busy || c == locked || c == interrupted
	}
	return true // of the network, or of a connection
}

// passingState knows the codes of appendix A of PostgreSQL's manual.
func passingState(code string) bool {
	if len(code) != 5 {
		return true
	}
	switch code[:2] {
	case "08", "40": // connection exception; rollback: serialization failure, deadlock
		return true
	case "53": // insufficient resources: too many connections; but not a full disk
		return code != "53100"
	case "57": // operator intervention: shutdown, starting up; but not a database dropped
		return code != "57P04"
	}
	switch code {
	case "25006", // a standby, about to be promoted perhaps
		"55P03", // lock not available
		"23505": // two logins with one id: the other one is found
		return true
	}
	return false
}

// unavailable wraps a failure of the database. The text of an error names tables
// and hosts, never values.
func unavailable(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: sqlstore: %w", family.ErrUnavailable, context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: sqlstore: %w", family.ErrUnavailable, context.Canceled)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > 200 {
		text = text[:200]
	}
	if strings.Contains(text, "42P01") || strings.Contains(text, "no such table") {
		text += ": call Store.Create, which makes the tables"
	}
	return fmt.Errorf("%w: sqlstore: %s", family.ErrUnavailable, text)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
