package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// A fault is what happens to one statement.
type fault int

const (
	pass fault = iota
	// refuse: the connection is lost before the database has the statement.
	refuse
	// cut: the database executes it; the connection is lost before the answer.
	cut
	// swallow: the database executes it; no answer comes.
	swallow
	// deadlocked: the database chose it as the victim of a deadlock.
	deadlocked
	// serialized: the database could not serialize it with others.
	serialized
)

func (f fault) String() string {
	return [...]string{"pass", "refuse", "cut", "swallow", "deadlock", "serialization failure"}[f]
}

// A faulty driver does harm to chosen statements of another driver.
type faulty struct {
	open   func(context.Context) (driver.Conn, error)
	driver driver.Driver

	mu   sync.Mutex
	plan func(statement string) fault
}

// newFaulty stands before the driver of a source.
func newFaulty(t testing.TB, name, source string) *faulty {
	t.Helper()
	d := openDB(t, name, source).Driver()
	return &faulty{driver: d, open: func(context.Context) (driver.Conn, error) { return d.Open(source) }}
}

// db returns a pool over the faulty driver.
func (f *faulty) db(t testing.TB) *sql.DB {
	t.Helper()
	db := sql.OpenDB(f)
	t.Cleanup(func() { db.Close() })
	return db
}

func (f *faulty) setPlan(plan func(statement string) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
}

func (f *faulty) next(statement string) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.plan == nil || strings.HasPrefix(statement, "PRAGMA") {
		return pass
	}
	return f.plan(statement)
}

// Connect implements driver.Connector.
func (f *faulty) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: c, f: f}, nil
}

// Driver implements driver.Connector.
func (f *faulty) Driver() driver.Driver { return f.driver }

type faultyConn struct {
	driver.Conn
	f    *faulty
	dead bool
}

// A failure is an error with a code, as PostgreSQL's are.
type failure string

func (f failure) Error() string    { return "failure " + string(f) }
func (f failure) SQLState() string { return string(f) }

var errLost = errors.New("the connection was lost: " + io.ErrUnexpectedEOF.Error())

// around does to a statement what the plan says. execute returns how to read its
// answer to the end.
func (c *faultyConn) around(ctx context.Context, statement string, execute func() (drain func() error, err error)) error {
	if c.dead {
		return driver.ErrBadConn
	}
	what := c.f.next(statement)
	switch what {
	case refuse:
		c.dead = true
		c.Conn.Close()
		return errLost
	case deadlocked:
		return failure("40P01")
	case serialized:
		return failure("40001")
	}
	drain, err := execute()
	if err != nil || what == pass {
		return err
	}
	if err := drain(); err != nil {
		return err
	}
	c.dead = true
	c.Conn.Close()
	if what == swallow {
		<-ctx.Done()
		return ctx.Err()
	}
	return errLost
}

// ExecContext implements driver.ExecerContext.
func (c *faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	err = c.around(ctx, query, func() (func() error, error) {
		res, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return func() error { return nil }, err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// QueryContext implements driver.QueryerContext.
func (c *faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = c.around(ctx, query, func() (func() error, error) {
		rows, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return func() error {
			values := make([]driver.Value, len(rows.Columns()))
			for {
				if err := rows.Next(values); err != nil {
					return errors.Join(rows.Close(), ignoreEOF(err))
				}
			}
		}, err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *faultyConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ResetSession implements driver.SessionResetter.
func (c *faultyConn) ResetSession(ctx context.Context) error {
	if c.dead {
		return driver.ErrBadConn
	}
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

// IsValid implements driver.Validator.
func (c *faultyConn) IsValid() bool { return !c.dead }

// Close implements driver.Conn.
func (c *faultyConn) Close() error {
	if c.dead {
		return nil
	}
	return c.Conn.Close()
}
