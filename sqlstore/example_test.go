package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/sqlstore"
)

// Sessions in a file of this machine survive a restart of the program.
func Example() {
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "sessions.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Create(context.Background()); err != nil {
		log.Fatal(err)
	}
	keys, err := access.OpenKeyRing(filepath.Join(dir, "keys.pem"), access.EdDSA)
	if err != nil {
		log.Fatal(err)
	}
	kit, err := sessionkit.New(sessionkit.Config{Issuer: "https://app.example", Keys: keys, Store: store, Events: refresh.LogEvents(nil)})
	if err != nil {
		log.Fatal(err)
	}
	defer kit.Close()
	http.Handle("/auth/", kit.Handler("/auth"))
	fmt.Println(kit.Sessions.Ping(context.Background()))
	// Output: <nil>
}

// With PostgreSQL a revocation is heard by the other instances within milliseconds,
// where a connection of pgx listens; without Listen, within a tenth of a second.
func ExampleConfig_listen() {
	const url = "postgres://app@db.internal/app"
	db, err := sql.Open("pgx", url)
	if err != nil {
		log.Fatal(err)
	}
	_, err = sqlstore.New(sqlstore.Config{
		DB: db, Dialect: sqlstore.PostgreSQL,
		Listen: func(ctx context.Context, channel string, wake func()) error {
			conn, err := pgx.Connect(ctx, url)
			if err != nil {
				return err
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
				return err
			}
			for {
				wake()
				if _, err := conn.WaitForNotification(ctx); err != nil {
					return err
				}
			}
		},
	})
	fmt.Println(err)
	// Output: <nil>
}
