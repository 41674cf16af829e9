package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Dialect is the kind of a database.
type Dialect uint8

const (
	// PostgreSQL is PostgreSQL 13 or later.
	PostgreSQL Dialect = iota + 1
	// SQLite is SQLite 3.35 or later, in a file on a local disk.
	SQLite
)

// Config says which database, and where in it. DB and Dialect are mandatory.
type Config struct {
	// DB is the app's. The app closes it. For PostgreSQL it may be the pool that
	// the app uses itself; it must lead to the primary. For SQLite it is a *sql.DB
	// of the store's own, of whatever file, because the store sets how its
	// connections write (PRAGMA synchronous and busy_timeout).
	DB *sql.DB
	// Dialect is the kind of the database.
	Dialect Dialect
	// Prefix begins the names of the tables. Empty means "sessionkit_". Lower-case
	// letters, digits and '_', a letter first, at most 40.
	Prefix string
	// Timeout bounds each operation, retries included. 0 means 2 seconds.
	Timeout time.Duration
	// FeedInterval is how often the feed looks for revocations by other instances.
	// 0 means 100 milliseconds; at most a second.
	FeedInterval time.Duration
	// Listen hears of revocations at once: it calls wake when it listens to a channel
	// of PostgreSQL, and for each notification, until ctx ends or the connection is
	// lost, and returns why. The feed then looks when it is woken and once a second;
	// while Listen does not listen, every FeedInterval. Give it to all instances or
	// to none, because those that have it also notify. See the example. nil looks
	// every FeedInterval.
	Listen func(ctx context.Context, channel string, wake func()) error
	// Logger hears of the feed being cut off. nil is silent.
	Logger *slog.Logger
}

const (
	defaultTimeout  = 2 * time.Second
	defaultInterval = 100 * time.Millisecond
	heartbeat       = time.Second
)

// Store is a family.Store and a family.Feed. It is safe for concurrent use.
type Store struct {
	db       *sql.DB
	sql      *statements
	timeout  time.Duration
	interval time.Duration
	channel  string // of notifications; empty where nobody listens
	listen   func(ctx context.Context, channel string, wake func()) error
	writing  chan struct{} // held by the one that writes to SQLite; nil for PostgreSQL
	log      *slog.Logger

	logins   atomic.Uint64
	followed atomic.Int64 // the longest window that Follow was asked for
}

var (
	_ family.Store = (*Store)(nil)
	_ family.Feed  = (*Store)(nil)
)

var goodPrefix = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// New returns a Store, or an error that names the field at fault. It does not
// call the database: see Store.Create.
func New(cfg Config) (*Store, error) {
	s := &Store{db: cfg.DB, timeout: cfg.Timeout, interval: cfg.FeedInterval, listen: cfg.Listen, log: cfg.Logger}
	if s.db == nil {
		return nil, errors.New("sqlstore: Config.DB is nil: make one with sql.Open")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "sessionkit_"
	}
	if !goodPrefix.MatchString(cfg.Prefix) {
		return nil, errors.New("sqlstore: Config.Prefix is not a lower-case letter and up to 39 lower-case letters, digits and '_'")
	}
	switch {
	case s.timeout < 0:
		return nil, errors.New("sqlstore: Config.Timeout is negative: use 0 for 2 seconds")
	case s.timeout == 0:
		s.timeout = defaultTimeout
	}
	switch {
	case s.interval < 0 || s.interval > heartbeat:
		return nil, errors.New("sqlstore: Config.FeedInterval is negative or exceeds a second: use 0 for 100 milliseconds")
	case s.interval == 0:
		s.interval = defaultInterval
	}
	switch cfg.Dialect {
	case PostgreSQL:
	case SQLite:
		if s.listen != nil {
			return nil, errors.New("sqlstore: Config.Listen is set for SQLite, which has no notifications: leave it nil")
		}
		s.writing = make(chan struct{}, 1)
	default:
		return nil, fmt.Errorf("sqlstore: Config.Dialect is %d: use PostgreSQL or SQLite", cfg.Dialect)
	}
	s.sql = statementsFor(cfg.Dialect, cfg.Prefix)
	if s.listen != nil {
		s.channel = cfg.Prefix + "feed"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Rotate implements family.Store.
func (s *Store) Rotate(ctx context.Context, p family.RotateRequest) (v family.Verdict, err error) {
	how := mayBeLost
	if p.Policy.RefuseStoreBehind {
		how = durable // nothing heals a rotation that a crash loses
	}
	err = s.change(ctx, p.Subject, p.Family, p.Now, func(f *family.Record) (family.Record, kind) {
		v = family.Decide(f, p)
		return v.Record, how.when(v.Changed)
	})
	return v, err
}

// Bind implements family.Store.
func (s *Store) Bind(ctx context.Context, req family.BindRequest) (v family.Verdict, err error) {
	err = s.change(ctx, req.Subject, req.Family, req.Now, func(f *family.Record) (family.Record, kind) {
		v = req.Decide(f)
		if v.Outcome == family.Bound {
			return v.Record, durable.when(v.Changed) // a key that is lost is one that a thief could set
		}
		return v.Record, mayBeLost.when(v.Changed)
	})
	return v, err
}

// SetData implements family.Store.
func (s *Store) SetData(ctx context.Context, subject family.Subject, id family.ID, data string, now time.Time) (got family.Record, err error) {
	err = s.change(ctx, subject, id, now, func(f *family.Record) (family.Record, kind) {
		got = family.Record{}
		if f == nil {
			return got, reading
		}
		got = *f
		if f.Revoked != "" || f.Data == data {
			return got, reading
		}
		got.Data = data
		return got, durable
	})
	return got, err
}

// Settle implements family.Store.
func (s *Store) Settle(ctx context.Context, subject family.Subject, id family.ID, generation uint32) error {
	return s.change(ctx, subject, id, time.Time{}, func(f *family.Record) (family.Record, kind) {
		if f == nil {
			return family.Record{}, reading
		}
		next, changed := f.Settle(generation)
		return next, mayBeLost.when(changed)
	})
}

// change asks decide what becomes of a family, nil where none is known at that
// time, and writes that if nobody else has written meanwhile; otherwise it begins
// again. decide says how to write, and reading if there is nothing to be written.
func (s *Store) change(ctx context.Context, subject family.Subject, id family.ID, now time.Time, decide func(*family.Record) (family.Record, kind)) error {
	return s.do(ctx, mayBeLost, func(ctx context.Context, c *sql.Conn) error {
		for {
			old, err := s.lookup(ctx, c, subject, id)
			if err != nil {
				return err
			}
			f, err := old.decode(subject, id)
			if err != nil {
				return err
			}
			if f != nil && !known(f, now) {
				f = nil
			}
			next, how := decide(f)
			if how == reading {
				return nil
			}
			var written bool
			if next.Revoked == "" {
				written, err = s.replace(ctx, c, how, old, &next)
			} else {
				written, err = s.end(ctx, c, old, &next)
			}
			if written || err != nil {
				return err
			}
		}
	})
}

// replace writes a live record where the old one still stands.
func (s *Store) replace(ctx context.Context, c *sql.Conn, how kind, old row, f *family.Record) (bool, error) {
	b, err := f.MarshalBinary()
	if err != nil {
		return false, permanent{err}
	}
	text := s.sql.replaceLazily
	if how == durable {
		text = s.sql.replace
		if err := s.makeDurable(ctx, c); err != nil {
			return false, err
		}
	}
	expires := f.ExpiresAt()
	return affected(c.ExecContext(ctx, text, f.Subject[:], f.ID[:], old.record, b,
		expires.UnixMilli(), expires.Add(margin).UnixMilli(), expires.Add(margin+f.Idle/slack).UnixMilli()))
}

// end makes a tombstone of the old record where it still stands, and announces it.
func (s *Store) end(ctx context.Context, c *sql.Conn, old row, f *family.Record) (ended bool, err error) {
	if err := s.makeDurable(ctx, c); err != nil {
		return false, err
	}
	err = s.transaction(ctx, c, func() error {
		ended, err = affected(c.ExecContext(ctx, s.sql.endOne, f.Subject[:], f.ID[:], old.record,
			f.RevokedAt.UnixMilli(), f.Attempt[:], string(f.Revoked), sweepTombstone(f.RevokedAt)))
		if !ended || err != nil {
			return err
		}
		return s.announce(ctx, c, []family.ID{f.ID}, f.RevokedAt)
	})
	return ended, err
}

// Find implements family.Store.
func (s *Store) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	var f *family.Record
	err := s.do(ctx, reading, func(ctx context.Context, c *sql.Conn) error {
		r, err := s.lookup(ctx, c, subject, id)
		if err == nil {
			f, err = r.decode(subject, id)
		}
		return err
	})
	if err != nil || f == nil || !known(f, now) {
		return family.Record{}, err
	}
	return *f, nil
}

// List implements family.Store.
func (s *Store) List(ctx context.Context, subject family.Subject, now time.Time) ([]family.Record, error) {
	var list []family.Record
	err := s.do(ctx, reading, func(ctx context.Context, c *sql.Conn) error {
		list = nil
		rows, err := c.QueryContext(ctx, s.sql.list, subject[:], now.UnixMilli(), family.ListLimit)
		return each(rows, err, func() error {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				return err
			}
			var f family.Record
			if err := f.UnmarshalBinary(b); err != nil {
				return permanent{err}
			}
			list = append(list, f)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Ping implements family.Store. It fails also where Create has not been called,
// and on a server that cannot be written to.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, reading, func(ctx context.Context, c *sql.Conn) error {
		_, err := s.lookup(ctx, c, family.Subject{}, family.ID{})
		return err
	})
}
