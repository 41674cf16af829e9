package sqlstore_test

import (
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sessionkit/sessionkit/internal/pgtest"
	"github.com/sessionkit/sessionkit/refresh/family"
	"github.com/sessionkit/sessionkit/refresh/storetest"
	"github.com/sessionkit/sessionkit/sqlstore"
)

// openDB opens a database until the test ends.
func openDB(t testing.TB, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// newStore makes a store and its tables.
func newStore(t testing.TB, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(cfg)
	if err == nil {
		err = s.Create(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A kind of database, and how a test gets an empty one: the function returned
// opens one more handle on the same data.
type kind struct {
	name string
	new  func(t testing.TB) func(t testing.TB) sqlstore.Config
}

var kinds = []kind{
	{"PostgreSQL", func(t testing.TB) func(t testing.TB) sqlstore.Config {
		url := pgtest.Start(t).URL()
		return func(t testing.TB) sqlstore.Config {
			db := openDB(t, "pgx", url)
			db.SetMaxOpenConns(20)
			db.SetMaxIdleConns(20)
			return sqlstore.Config{DB: db, Dialect: sqlstore.PostgreSQL}
		}
	}},
	{"SQLite", func(t testing.TB) func(t testing.TB) sqlstore.Config {
		file := filepath.Join(t.TempDir(), "sessions.db")
		return func(t testing.TB) sqlstore.Config {
			return sqlstore.Config{DB: openDB(t, "sqlite", file), Dialect: sqlstore.SQLite}
		}
	}},
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, test func(t *testing.T, open func(t testing.TB) sqlstore.Config)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.new(t))
		})
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, open func(t testing.TB) sqlstore.Config) {
		storetest.Run(t, func(t testing.TB) family.Store { return newStore(t, open(t)) })
	})
}

func TestStoreAnswersAsThePureFunction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, open func(t testing.TB) sqlstore.Config) {
		s := newStore(t, open(t))
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		for range 300 {
			if err := storetest.Compare(s, 30, r.IntN); err != nil {
				t.Fatal(err)
			}
		}
	})
}
