package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// createTimeout bounds Create.
const createTimeout = 30 * time.Second

// Create makes the tables, or adds what a newer version needs; where they are as
// they should be it changes nothing. Instances may call it at the same time, and a
// SQLite file is put into WAL mode. It fails with an error that wraps
// family.ErrUnavailable where the database cannot be reached, the user may not
// create tables, or a SQLite database cannot have a WAL because it is in memory.
func (s *Store) Create(ctx context.Context) error {
	return s.within(ctx, createTimeout, durable, func(ctx context.Context, c *sql.Conn) error {
		if s.writing != nil {
			var mode string
			if err := c.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
				return err
			}
			if mode != "wal" {
				return permanent{fmt.Errorf("Config.DB has journal mode %q and not WAL: use a file on a local disk, or family.NewMemoryStore", mode)}
			}
		}
		return s.transaction(ctx, c, func() error { return s.create(ctx, c) })
	})
}

func (s *Store) create(ctx context.Context, c *sql.Conn) error {
	if s.sql.lockCreate != "" {
		if _, err := c.ExecContext(ctx, s.sql.lockCreate); err != nil {
			return err
		}
	}
	for _, text := range s.sql.create {
		if _, err := c.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	var version sql.NullInt64
	if err := c.QueryRowContext(ctx, s.sql.schema).Scan(&version); err != nil || version.Int64 >= schemaVersion {
		return err
	}
	_, err := c.ExecContext(ctx, s.sql.setSchema, schemaVersion)
	return err
}
