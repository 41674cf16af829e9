package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Config says which Redis, and where in it. Client is mandatory.
type Config struct {
	// Client is the app's client: *redis.Client, *redis.ClusterClient, or
	// what redis.NewFailoverClient returns. Others cannot be made to wait for
	// replicas, and are refused unless WaitReplicas is negative. The app closes
	// it. Set
	// ContextTimeoutEnabled in its options: without it a stalled server
	// holds a goroutine for as long as the client's own timeouts.
	Client redis.UniversalClient
	// FeedClient follows the feed; the read blocks one connection. nil means
	// Client, whose pool then needs one more connection.
	FeedClient redis.UniversalClient
	// Prefix begins the names of all keys. Empty means "rt". Letters, digits,
	// '-', '_', '.' and ':', at most 64.
	Prefix string
	// Timeout bounds each operation, retries included. 0 means 2 seconds.
	Timeout time.Duration
	// WaitReplicas is how many replicas should have a new session or a
	// revocation before it is reported as done, so that a failover does not
	// undo it: a WAIT in the same round trip. 0 means 1 where the server has
	// replicas, negative none. Rotations do not wait; a failover that loses
	// one is healed by the protocol.
	WaitReplicas int
	// WaitTimeout bounds that wait. Replicas that are late are logged and no
	// error. 0 means 200 milliseconds.
	WaitTimeout time.Duration
	// FeedWindow is how long the feed keeps revocations, and at least as long
	// as an instance that follows it needs them. 0 means 25 hours.
	FeedWindow time.Duration
	// Logger hears of announcements that have to be repeated and of the feed
	// being cut off. nil is silent.
	Logger *slog.Logger
}

const (
	defaultTimeout    = 2 * time.Second
	defaultFeedWindow = 25 * time.Hour
	defaultWait       = 200 * time.Millisecond
)

// Store is a family.Store and a family.Feed. It is safe for concurrent use.
type Store struct {
	client, feedClient redis.UniversalClient
	feedServer         string // what errors call the server of feedClient
	honoursContext     bool
	prefix             string
	timeout            time.Duration
	window             time.Duration
	wait               replication
	batches            sync.Map // of *batch, by the address of the server
	log                *slog.Logger

	followed    atomic.Int64 // the longest window that Follow was asked for
	mu          sync.Mutex
	unannounced []family.ID // at most maxUnannounced
}

var (
	_ family.Store = (*Store)(nil)
	_ family.Feed  = (*Store)(nil)
)

// New returns a Store, or an error that names the field at fault. It does not
// call the server: see Store.Ping.
func New(cfg Config) (*Store, error) {
	s := &Store{client: cfg.Client, feedClient: cfg.FeedClient, prefix: cfg.Prefix, timeout: cfg.Timeout, window: cfg.FeedWindow, log: cfg.Logger}
	if s.client == nil {
		return nil, errors.New("redisstore: Config.Client is nil: make one with redis.NewClient, NewFailoverClient or NewClusterClient")
	}
	s.feedServer = "the server of Config.FeedClient"
	if s.feedClient == nil {
		s.feedClient, s.feedServer = s.client, "the server"
	}
	if s.prefix == "" {
		s.prefix = "rt"
	}
	if err := s.setLimits(&cfg); err != nil {
		return nil, err
	}
	s.wait = replication{want: cfg.WaitReplicas, timeout: cfg.WaitTimeout}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	switch c := s.client.(type) {
	case *redis.Client:
		// Looking for the primary by Sentinel takes its own time.
		s.honoursContext = c.Options().ContextTimeoutEnabled && c.Options().Addr != "FailoverClient"
	case *redis.ClusterClient:
		s.honoursContext = c.Options().ContextTimeoutEnabled
		if c.Options().ReadOnly {
			return nil, errors.New("redisstore: Config.Client reads from replicas, which lag behind revocations: leave ReadOnly, RouteByLatency and RouteRandomly unset")
		}
	default:
		if cfg.WaitReplicas >= 0 {
			return nil, fmt.Errorf("redisstore: Config.Client is a %T, whose servers cannot be made to WAIT for replicas: use a *redis.Client or *redis.ClusterClient, or set WaitReplicas to -1 and accept that a failover can undo a revocation", c)
		}
	}
	return s, nil
}

// setLimits fills in the defaults of what bounds the store.
func (s *Store) setLimits(cfg *Config) error {
	if len(s.prefix) > 64 || slices.ContainsFunc([]byte(s.prefix), func(c byte) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == ':')
	}) {
		return errors.New("redisstore: Config.Prefix has other characters than letters, digits, '-', '_', '.' and ':', or more than 64")
	}
	switch {
	case s.timeout < 0:
		return errors.New("redisstore: Config.Timeout is negative: use 0 for 2 seconds")
	case s.timeout == 0:
		s.timeout = defaultTimeout
	}
	switch {
	case s.window == 0:
		s.window = defaultFeedWindow
	case s.window < time.Minute:
		return errors.New("redisstore: Config.FeedWindow is less than a minute: it must exceed the lifetime of access tokens")
	}
	switch {
	case cfg.WaitTimeout < 0 || cfg.WaitTimeout > s.timeout:
		return errors.New("redisstore: Config.WaitTimeout is negative or exceeds Timeout: use 0 for 200 milliseconds")
	case cfg.WaitTimeout == 0:
		cfg.WaitTimeout = min(defaultWait, s.timeout)
	}
	if cfg.WaitReplicas == 0 {
		cfg.WaitReplicas = 1
	}
	return nil
}

const retentionMillis = int64(family.TombstoneRetention / time.Millisecond)

// Start implements family.Store.
func (s *Store) Start(ctx context.Context, req family.StartRequest) (family.StartResult, error) {
	f := &req.Record
	reply, err := s.runDurably(ctx, startScript, s.keys(f.Subject),
		f.ID[:], encodeHot(f), encodeCold(f), encodeDevice(f.Device), furtherOf(f).encode(), f.Attempt[:],
		req.MaxSessions, digit(req.RefuseAtLimit), req.Now.UnixMilli(), retentionMillis,
		f.ExpiresAt().Sub(req.Now).Milliseconds(), join(req.Supersedes))
	if err != nil {
		return family.StartResult{}, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 3 {
		return family.StartResult{}, unavailable(errReply)
	}
	superseded, err := idsOf(parts[1])
	if err != nil {
		return family.StartResult{}, err
	}
	evicted, err := idsOf(parts[2])
	if err != nil {
		return family.StartResult{}, err
	}
	s.announceOrLater(ctx, dead{subject: f.Subject, ids: slices.Concat(superseded, evicted), at: req.Now})
	return family.StartResult{Refused: parts[0] == int64(0), Superseded: superseded, Evicted: evicted}, nil
}

// errReply: the server's reply has not the shape that the script returns.
var errReply = errors.New("redisstore: unexpected reply")

// Rotate implements family.Store.
func (s *Store) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	first, second := encodeRequest(p)
	var stepUp string
	if p.StepUp != nil {
		made := *p.StepUp
		made.By = p.Attempt
		stepUp = encodeStepUp(&made)
	}
	reply, err := s.run(ctx, rotateScript, s.keys(p.Subject), p.Family[:], first, encodeDevice(p.Device), second, encodeProof(&p), stepUp)
	if err != nil {
		return family.Verdict{}, err
	}
	v, err := verdictOf(p, reply)
	if err != nil {
		return family.Verdict{}, err
	}
	// The attempt that ended the family tells the other instances.
	if v.Record.Revoked != "" && v.Record.Attempt == p.Attempt {
		s.announceOrLater(ctx, dead{subject: p.Subject, ids: []family.ID{p.Family}, at: p.Now, unconfirmed: true})
	}
	return v, nil
}

// Notes of rotate.lua.
const (
	noteLate   = 1
	noteShared = 2
)

// verdictOf reads what rotate.lua returns, and describes.
func verdictOf(p family.RotateRequest, reply any) (family.Verdict, error) {
	text, ok := reply.(string)
	if !ok || len(text) < 3 || text[0] > byte(family.Unproven) {
		return family.Verdict{}, unavailable(errReply)
	}
	v := family.Verdict{
		Outcome: family.Outcome(text[0]), Differs: family.Components(text[1]),
		Late: text[2]&noteLate != 0, Shared: text[2]&noteShared != 0,
	}
	if len(text) > 3 {
		var hot, cold, device string
		var x further
		rest, ok := cut(text[3:], &hot, &cold, &device)
		if rest != "" {
			x.data, ok = cut(rest, &x.auth, &x.key, &x.stepUp, &x.actor)
		}
		if !ok {
			return family.Verdict{}, unavailable(errReply)
		}
		var err error
		if v.Record, err = decode(p.Subject, p.Family, hot, cold, device, x); err != nil {
			return family.Verdict{}, unavailable(err)
		}
	}
	v.Changed = v.Outcome == family.Rotated || v.Outcome == family.StoreBehind ||
		v.Outcome == family.Replayed && v.Record.UsedAt.UnixMilli() == p.Now.UnixMilli() ||
		v.Record.Revoked != "" && v.Record.Attempt == p.Attempt
	return v, nil
}

// cut reads fields that follow on their lengths, a byte each, and returns what
// is left.
func cut(text string, fields ...*string) (rest string, ok bool) {
	if len(text) < len(fields) {
		return "", false
	}
	rest = text[len(fields):]
	for i, f := range fields {
		n := int(text[i])
		if len(rest) < n {
			return "", false
		}
		*f, rest = rest[:n], rest[n:]
	}
	return rest, true
}

// Bind implements family.Store.
func (s *Store) Bind(ctx context.Context, req family.BindRequest) (family.Verdict, error) {
	limits := appendLimits(appendUint(nil, uint64(req.Now.UnixMilli()), 6), req.Policy.Idle, req.Policy.Absolute, req.Policy.Browser)
	reply, err := s.runDurably(ctx, bindScript, s.keys(req.Subject),
		req.Family[:], encodeKey(req.Key), req.Attempt[:], appendFingerprint(nil, req.Fingerprint), encodeDevice(req.Device), limits)
	if err != nil {
		return family.Verdict{}, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) < 2 {
		return family.Verdict{}, unavailable(errReply)
	}
	outcome, ok := parts[0].(int64)
	differs, ok2 := parts[1].(int64)
	if !ok || !ok2 || outcome < 0 || outcome > int64(family.Renewed) {
		return family.Verdict{}, unavailable(errReply)
	}
	v := family.Verdict{Outcome: family.Outcome(outcome), Differs: family.Components(differs), Changed: outcome == int64(family.Bound)}
	if len(parts) > 2 {
		v.Record, err = recordOf(req.Subject, req.Family, parts[2:])
	}
	if v.Outcome == family.Gone && !current(&v.Record, req.Now) {
		v.Record = family.Record{}
	}
	return v, err
}

// SetData implements family.Store.
func (s *Store) SetData(ctx context.Context, subject family.Subject, id family.ID, data string, now time.Time) (family.Record, error) {
	reply, err := s.run(ctx, dataScript, s.keys(subject), id[:], data, now.UnixMilli())
	return foundIn(subject, id, now, reply, err)
}

// recordOf reads a family's fields, as find.lua returns them.
func recordOf(subject family.Subject, id family.ID, parts []any) (family.Record, error) {
	f, err := decode(subject, id, field(parts, 0), field(parts, 1), field(parts, 2),
		further{field(parts, 3), field(parts, 4), field(parts, 5), field(parts, 6), field(parts, 7)})
	if err != nil {
		return family.Record{}, unavailable(err)
	}
	return f, nil
}

// foundIn is recordOf for a reply as a whole: the zero Record where there is no
// family, or one that has expired.
func foundIn(subject family.Subject, id family.ID, now time.Time, reply any, err error) (family.Record, error) {
	if err != nil {
		return family.Record{}, err
	}
	parts, ok := reply.([]any)
	if !ok {
		return family.Record{}, unavailable(errReply)
	}
	if len(parts) == 0 || parts[0] == nil {
		return family.Record{}, nil
	}
	f, err := recordOf(subject, id, parts)
	if err != nil || !current(&f, now) {
		return family.Record{}, err
	}
	return f, nil
}

// field returns part i of a reply, empty where Redis has none.
func field(parts []any, i int) string {
	if i < len(parts) {
		text, _ := parts[i].(string)
		return text
	}
	return ""
}

// Settle implements family.Store.
func (s *Store) Settle(ctx context.Context, subject family.Subject, id family.ID, generation uint32) error {
	_, err := s.run(ctx, settleScript, s.keys(subject), id[:], generation)
	return err
}

// Revoke implements family.Store. The families of a step are dead before they
// are announced; if they cannot be announced in time the error says so, and the
// announcement is repeated by Follow and by the next Revoke that names them.
func (s *Store) Revoke(ctx context.Context, req family.RevokeRequest) (family.RevokeResult, error) {
	var res family.RevokeResult
	seen := make(map[family.ID]bool)
	for first, more := true, true; more; first = false {
		step, err := s.revokeStep(ctx, req, first)
		if err == nil {
			err = s.announce(ctx, step.tell)
		}
		if err != nil {
			s.announceLater(step.tell)
			return family.RevokeResult{}, err
		}
		for _, id := range step.ended {
			if !seen[id] {
				seen[id] = true
				res.Ended = append(res.Ended, id)
			}
		}
		res.Known = !req.Family.IsZero() && step.status == 1
		res.LeftBehind = step.status == 2
		more = step.more
	}
	return res, nil
}

// A revokeStep is what revoke.lua returns.
type revokeStep struct {
	status int64
	ended  []family.ID
	tell   dead
	more   bool
}

func (s *Store) revokeStep(ctx context.Context, req family.RevokeRequest, first bool) (step revokeStep, err error) {
	only, except, generation := []byte{}, []byte{}, ""
	if !req.Family.IsZero() {
		only = req.Family[:]
	}
	if !req.Except.IsZero() {
		except = req.Except[:]
	}
	if req.CheckGeneration {
		generation = strconv.FormatUint(uint64(req.Generation), 10)
	}
	reply, err := s.runDurably(ctx, revokeScript, s.keys(req.Subject),
		only, except, req.KeepNewest, string(req.Reason), req.Attempt[:], req.Now.UnixMilli(), retentionMillis,
		digit(req.Proven), generation, digit(first))
	if err != nil {
		return step, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 4 {
		return step, unavailable(errReply)
	}
	if step.status, ok = parts[0].(int64); !ok {
		return step, unavailable(errReply)
	}
	step.more = parts[3] == int64(1)
	if step.ended, err = idsOf(parts[1]); err != nil {
		return step, err
	}
	step.tell = dead{subject: req.Subject, at: req.Now}
	step.tell.ids, err = idsOf(parts[2])
	return step, err
}

// Find implements family.Store.
func (s *Store) Find(ctx context.Context, subject family.Subject, id family.ID, now time.Time) (family.Record, error) {
	reply, err := s.run(ctx, findScript, s.keys(subject), id[:])
	return foundIn(subject, id, now, reply, err)
}

// current reports whether a record has not expired.
func current(f *family.Record, now time.Time) bool {
	if f.Revoked != "" {
		return now.Before(f.RevokedAt.Add(family.TombstoneRetention))
	}
	return f.Alive(now)
}

// pageOfList is the number of families that one call reads of a subject with many.
const pageOfList = 50

// List implements family.Store. Of a subject with many families it reads several
// pages, between which some may come and go.
func (s *Store) List(ctx context.Context, subject family.Subject, now time.Time) ([]family.Record, error) {
	live := make(map[family.ID]family.Record)
	for passed, more := 0, true; more && len(live) < family.ListLimit; passed += pageOfList {
		var page []family.Record
		var err error
		if page, more, err = s.listPage(ctx, subject, passed); err != nil {
			return nil, err
		}
		for _, f := range page {
			if f.Alive(now) {
				live[f.ID] = f
			}
		}
	}
	list := slices.SortedFunc(maps.Values(live), func(a, b family.Record) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return slices.Compare(b.ID[:], a.ID[:])
	})
	return list[:min(len(list), family.ListLimit)], nil
}

// listPage returns all records of a subject with few families, or one page.
func (s *Store) listPage(ctx context.Context, subject family.Subject, passed int) (page []family.Record, more bool, err error) {
	reply, err := s.run(ctx, listScript, s.keys(subject), passed, pageOfList)
	if err != nil {
		return nil, false, err
	}
	parts, ok := reply.([]any)
	if !ok || len(parts) != 2 {
		return nil, false, unavailable(errReply)
	}
	pairs, ok := parts[1].([]any)
	if !ok || len(pairs)%2 != 0 {
		return nil, false, unavailable(errReply)
	}
	fields := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		fields[field(pairs, i)] = field(pairs, i+1)
	}
	for name, hot := range fields {
		if len(name) != 16 || hot == "" {
			continue
		}
		f, err := decode(subject, family.ID([]byte(name)), hot, fields[name+"c"], fields[name+"d"],
			further{fields[name+"a"], fields[name+"k"], fields[name+"s"], fields[name+"i"], fields[name+"x"]})
		if err != nil {
			return nil, false, unavailable(err)
		}
		page = append(page, f)
	}
	return page, parts[0] == int64(1), nil
}

// Ping implements family.Store.
func (s *Store) Ping(ctx context.Context) error {
	_, err := do(ctx, s, func(ctx context.Context) (string, error) { return s.client.Ping(ctx).Result() })
	return err
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
