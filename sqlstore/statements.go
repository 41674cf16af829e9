package sqlstore

import "strings"

// The tables. Times are milliseconds since 1970, by the clocks of instances but for
// those of the feed, which are by the database's.
//
//	families  one row per session. A live one has a record, and revoked_at is 0; of
//	          a tombstone record is NULL, and attempt and reason say who and why.
//	          counted is 0 for a family with an Actor. expires_at is the record's; sweep_at is when the row may go, no earlier.
//	feed      one row per transaction that ended families: their ids, joined, and
//	          when. seq is of no order between transactions of PostgreSQL: tx is what
//	          tells a follower whether it has seen a row.
//	schema    one row: the version of the tables. They are only ever added to, so a
//	          build works with those of a newer one.
const schemaVersion = 1

// rotations change no indexed column, so that PostgreSQL writes them in place, as
// far as the page has room: hence the fillfactor.
var createPostgreSQL = []string{
	`CREATE TABLE IF NOT EXISTS {p}families (
		subject bytea NOT NULL, id bytea NOT NULL, created_at bigint NOT NULL, counted smallint NOT NULL,
		expires_at bigint NOT NULL, sweep_at bigint NOT NULL, revoked_at bigint NOT NULL,
		attempt bytea, reason text, record bytea, PRIMARY KEY (subject, id)) WITH (fillfactor = 80)`,
	`CREATE INDEX IF NOT EXISTS {p}families_row ON {p}families (subject, revoked_at, created_at, id)`,
	`CREATE INDEX IF NOT EXISTS {p}families_sweep ON {p}families (sweep_at)`,
	`CREATE TABLE IF NOT EXISTS {p}feed (
		seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
		ids bytea NOT NULL, at bigint NOT NULL, added bigint NOT NULL DEFAULT {now})`,
	`CREATE INDEX IF NOT EXISTS {p}feed_tx ON {p}feed (tx)`,
	`CREATE INDEX IF NOT EXISTS {p}feed_added ON {p}feed (added)`,
	`CREATE TABLE IF NOT EXISTS {p}schema (version integer NOT NULL)`,
}

var createSQLite = []string{
	`CREATE TABLE IF NOT EXISTS {p}families (
		subject BLOB NOT NULL, id BLOB NOT NULL, created_at INTEGER NOT NULL, counted INTEGER NOT NULL,
		expires_at INTEGER NOT NULL, sweep_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL,
		attempt BLOB, reason TEXT, record BLOB, PRIMARY KEY (subject, id)) WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS {p}families_row ON {p}families (subject, revoked_at, created_at, id)`,
	`CREATE INDEX IF NOT EXISTS {p}families_sweep ON {p}families (sweep_at)`,
	`CREATE TABLE IF NOT EXISTS {p}feed (
		seq INTEGER PRIMARY KEY AUTOINCREMENT, ids BLOB NOT NULL, at INTEGER NOT NULL, added INTEGER NOT NULL DEFAULT ({now}))`,
	`CREATE INDEX IF NOT EXISTS {p}feed_added ON {p}feed (added)`,
	`CREATE TABLE IF NOT EXISTS {p}schema (version INTEGER NOT NULL)`,
}

const (
	nowPostgreSQL = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
	nowSQLite     = `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`
)

// statements are the texts of one dialect and prefix. The comment beside each is
// its parameters from $1 on.
type statements struct {
	mark  string // of parameters
	texts        // of both dialects
	own          // of this one
}

type texts struct {
	lookup, list, insert, oldest, endedFor, endedBy     string
	replace, endOne, endThese, endAll, tombstone        string
	trim, countDead, announce, sweep, sweepFeed, schema string
	setSchema                                           string
}

type own struct {
	create        []string
	begin         string
	lockSubject   string // subject's first 8 bytes, as a number; empty where begin excludes other writers
	lockCreate    string
	replaceLazily string // as replace, and a crash of the server may undo it
	// News are of four columns in front: a cursor for the next time, the server's
	// identity, whether it is read-only, and the row's ids and time, NULL where there
	// is no news.
	catchUp string // milliseconds before now
	news    string // cursor
}

const setReplaced = `SET record = $4, expires_at = $5, sweep_at = CASE WHEN sweep_at < $6 THEN $7 ELSE sweep_at END`

const setTombstone = `SET record = NULL, revoked_at = $2, attempt = $3, reason = $4, sweep_at = $5`

var common = texts{
	// subject, id
	lookup: `SELECT f.record, f.revoked_at, f.attempt, f.reason, {readonly}
		FROM (SELECT 1) AS one LEFT JOIN {p}families AS f ON f.subject = $1 AND f.id = $2`,
	// subject, now, most
	list: `SELECT record FROM {p}families WHERE subject = $1 AND revoked_at = 0 AND expires_at > $2
		ORDER BY created_at DESC, id DESC LIMIT $3`,
	// subject, id, created, counted, expires, sweep, record
	insert: `INSERT INTO {p}families (subject, id, created_at, counted, expires_at, sweep_at, revoked_at, record)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT (subject, id) DO NOTHING`,
	// subject, now, id of the new one, most
	oldest: `SELECT id FROM {p}families WHERE subject = $1 AND revoked_at = 0 AND expires_at > $2 AND id <> $3 AND counted = 1
		ORDER BY created_at, id LIMIT $4`,
	// subject, attempt, reason
	endedFor: `SELECT id FROM {p}families WHERE subject = $1 AND revoked_at > 0 AND attempt = $2 AND reason = $3`,
	// subject, attempt, revoked after
	endedBy: `SELECT id FROM {p}families WHERE subject = $1 AND revoked_at > $3 AND attempt = $2`,
	// subject, id, old record, record, expires, sweep at least, sweep then
	replace: `UPDATE {p}families ` + setReplaced + ` WHERE subject = $1 AND id = $2 AND record = $3`,
	// subject, id, old record, revoked, attempt, reason, sweep
	endOne: `UPDATE {p}families SET record = NULL, revoked_at = $4, attempt = $5, reason = $6, sweep_at = $7
		WHERE subject = $1 AND id = $2 AND record = $3`,
	// subject, now, attempt, reason, sweep, id of the new one
	endThese: `UPDATE {p}families ` + setTombstone + `
		WHERE subject = $1 AND id <> $6 AND id IN ({ids}) AND revoked_at = 0 AND expires_at > $2 RETURNING id`,
	// subject, now, attempt, reason, sweep, except, most, keep
	endAll: `UPDATE {p}families ` + setTombstone + ` WHERE subject = $1 AND revoked_at = 0 AND id IN (
			SELECT id FROM {p}families WHERE subject = $1 AND revoked_at = 0 AND expires_at > $2 AND id <> $6 AND (counted = 1 OR $8 = 0)
			ORDER BY created_at DESC, id DESC LIMIT $7 OFFSET $8) RETURNING id`,
	// subject, id, now, attempt, reason, sweep
	tombstone: `INSERT INTO {p}families (subject, id, created_at, counted, expires_at, sweep_at, revoked_at, attempt, reason)
		VALUES ($1, $2, $3, 0, 0, $6, $3, $4, $5) ON CONFLICT (subject, id) DO UPDATE SET record = NULL,
		revoked_at = excluded.revoked_at, attempt = excluded.attempt, reason = excluded.reason, sweep_at = excluded.sweep_at`,
	// subject, how many stay
	trim: `DELETE FROM {p}families WHERE subject = $1 AND revoked_at > 0 AND id IN (
			SELECT id FROM {p}families WHERE subject = $1 AND revoked_at > 0 ORDER BY revoked_at DESC, id LIMIT 1000 OFFSET $2)`,
	// subject, revoked after, most
	countDead: `SELECT count(*) FROM (SELECT 1 FROM {p}families WHERE subject = $1 AND revoked_at > $2 LIMIT $3) AS dead`,
	// ids, when
	announce: `INSERT INTO {p}feed (ids, at) VALUES ($1, $2)`,
	// most
	sweep: `DELETE FROM {p}families WHERE (subject, id) IN (
			SELECT subject, id FROM {p}families WHERE sweep_at < {now} ORDER BY sweep_at LIMIT $1 {skip})`,
	// milliseconds that are kept, most
	sweepFeed: `DELETE FROM {p}feed WHERE seq IN (SELECT seq FROM {p}feed WHERE added < {now} - $1 ORDER BY added LIMIT $2 {skip})`,
	schema:    `SELECT max(version) FROM {p}schema`,
	setSchema: `INSERT INTO {p}schema (version) VALUES ($1)`,
}

// A follower's cursor is the snapshot that its last look had: what this did not see
// is news, whenever its transaction began and in whatever order they ended.
const lookPostgreSQL = `WITH look AS MATERIALIZED (SELECT pg_current_snapshot()::text AS cursor,
		extract(epoch FROM pg_postmaster_start_time())::text AS server, current_setting('transaction_read_only') AS read_only)
	SELECT look.cursor, look.server, look.read_only, f.ids, f.at FROM look LEFT JOIN {p}feed AS f ON `

// SQLite has one writer at a time, so seq is in order.
const lookSQLite = `SELECT CAST(look.cursor AS TEXT), '', 'off', f.ids, f.at
	FROM (SELECT coalesce(max(seq), 0) AS cursor FROM {p}feed) AS look LEFT JOIN {p}feed AS f ON `

var ofPostgreSQL = own{
	create:      createPostgreSQL,
	begin:       `BEGIN ISOLATION LEVEL READ COMMITTED`,
	lockSubject: `SELECT pg_advisory_xact_lock($1)`,
	lockCreate:  `SELECT pg_advisory_xact_lock(7742031577)`,
	replaceLazily: `WITH lazy AS (SELECT set_config('synchronous_commit', 'off', true) AS is)
		UPDATE {p}families ` + setReplaced + ` FROM lazy WHERE lazy.is = 'off' AND subject = $1 AND id = $2 AND record = $3`,
	catchUp: lookPostgreSQL + `f.added >= {now} - $1`,
	news:    lookPostgreSQL + `f.tx >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(f.tx, $1::text::pg_snapshot)`,
}

var ofSQLite = own{
	create:        createSQLite,
	begin:         `BEGIN IMMEDIATE`,
	replaceLazily: common.replace,
	catchUp:       lookSQLite + `f.added >= {now} - $1`,
	news:          lookSQLite + `f.seq > CAST($1 AS INTEGER)`,
}

func statementsFor(d Dialect, prefix string) *statements {
	st := &statements{mark: "$", texts: common, own: ofPostgreSQL}
	words := strings.NewReplacer("{p}", prefix, "{now}", nowPostgreSQL, "{readonly}", "current_setting('transaction_read_only')", "{skip}", "FOR UPDATE SKIP LOCKED")
	if d == SQLite {
		st.mark, st.own = "?", ofSQLite
		words = strings.NewReplacer("{p}", prefix, "{now}", nowSQLite, "{readonly}", "'off'", "{skip}", "", "$", "?")
	}
	for _, text := range []*string{
		&st.lookup, &st.list, &st.insert, &st.oldest, &st.endedFor, &st.endedBy,
		&st.replace, &st.endOne, &st.endThese, &st.endAll, &st.tombstone,
		&st.trim, &st.countDead, &st.announce, &st.sweep, &st.sweepFeed, &st.schema, &st.setSchema,
		&st.replaceLazily, &st.catchUp, &st.news,
	} {
		*text = words.Replace(*text)
	}
	create := make([]string, len(st.create))
	for i, text := range st.create {
		create[i] = words.Replace(text)
	}
	st.create = create
	return st
}
