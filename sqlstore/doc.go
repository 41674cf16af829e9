// Package sqlstore keeps sessions in PostgreSQL or SQLite, through database/sql.
//
//	db, err := sql.Open("pgx", url)
//	store, err := sqlstore.New(sqlstore.Config{DB: db, Dialect: sqlstore.PostgreSQL})
//	err = store.Create(ctx) // the tables, where they are not there yet
//
// The Store is a family.Store and a family.Feed. An operation is one statement,
// or one short transaction; what it decides is decided in this program, by the
// functions of package family, between a read and a write that takes effect only
// if nobody else has written meanwhile. A revocation is announced to the other
// instances in the transaction that makes it, so that neither is ever without the
// other.
//
// PostgreSQL 13 or later, with any driver: the package imports none. Several
// instances share one database. A login or a revocation is on the server's disk
// when the call returns, and with synchronous replication on the standby's; a
// rotation is not waited for, because the protocol heals one that a crash loses.
//
// SQLite 3.35 or later is for the instances of one machine: sessions that survive
// a restart without a server. The database is in WAL mode. Logins and revocations
// survive a power cut, and everything survives the death of the program.
//
// Rows that have expired are removed by logins, a few at a time.
//
// The tables may be added to by later versions; an older build goes on working
// with them. Records are what family.Record.MarshalBinary writes.
package sqlstore
