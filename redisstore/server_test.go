package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
	"github.com/sessionkit/sessionkit/redisstore"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

var device = refresh.Client{UserAgent: strings.Repeat("x", 100), DeviceID: "d"}

func start(t testing.TB, s *refresh.Sessions, subject string) *refresh.Grant {
	t.Helper()
	g, err := s.Start(t.Context(), refresh.Login{Subject: subject, Remember: true, Client: device, ACR: strings.Repeat("a", 60)})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	readsReplicas := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadOnly: true})
	defer readsReplicas.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}})
	defer ring.Close()
	if _, err := redisstore.New(redisstore.Config{Client: ring, WaitReplicas: -1}); err != nil {
		t.Errorf("a ring whose user knows: %v", err)
	}
	for field, cfg := range map[string]redisstore.Config{
		"Client":               {},
		"Client reads":         {Client: readsReplicas},
		"Client is a *redis.R": {Client: ring},
		"Prefix":               {Client: c, Prefix: "a{b}"},
		"Timeout":              {Client: c, Timeout: -1},
		"WaitTimeout":          {Client: c, WaitTimeout: time.Minute},
		"FeedWindow":           {Client: c, FeedWindow: time.Second},
	} {
		if _, err := redisstore.New(cfg); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%v, want an error that names Config.%s", err, field)
		}
	}
}

// TestRecordsStayCompactAndExpire: whatever a session goes through, its hash is
// a listpack, and no key is without an end.
func TestRecordsStayCompactAndExpire(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, newClient(t, server.Addr)), new(storelife.Events), 0)
	for i := range 20 {
		g := start(t, s, "user-"+strconv.Itoa(i))
		for range 5 {
			var err error
			if g, err = s.Refresh(t.Context(), g.RefreshToken, device); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 0 {
			if err := s.RevokeAll(t.Context(), g.Claims.Subject, family.ReasonLogoutAll); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys := strings.Fields(server.Must("KEYS", "*"))
	if len(keys) != 20+7+1 {
		t.Errorf("%d keys, want one for each subject, one for each that has tombstones, and the feed", len(keys))
	}
	for _, key := range keys {
		if ttl := server.Must("PTTL", key); strings.HasPrefix(ttl, "-") {
			t.Errorf("%s never ends: PTTL %s", key, ttl)
		}
		if encoding := server.Must("OBJECT", "ENCODING", key); strings.Contains(key, "{") && encoding != "listpack" {
			t.Errorf("%s is a %s", key, encoding)
		}
		if strings.Contains(key, "user") {
			t.Errorf("%s names its subject", key)
		}
	}
}

func TestUnreadableRecordsAreLeftAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := newClient(t, server.Addr)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, client), new(storelife.Events), 0)
	for name, damage := range map[string]func(key string){
		"another type": func(key string) { server.Must("DEL", key); server.Must("SET", key, "hello") },
		"garbage": func(key string) {
			// Field names are random bytes.
			fields, err := client.HKeys(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range fields {
				server.Must("HSET", key, field, "garbage")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server.Must("FLUSHALL")
			g := start(t, s, "alice")
			key := server.Must("KEYS", "rt:{*}")
			damage(key)
			before := server.Must("DUMP", key)
			for op, call := range map[string]func() error{
				"Refresh": func() error { _, err := s.Refresh(t.Context(), g.RefreshToken, device); return err },
				"List":    func() error { _, err := s.List(t.Context(), g.Claims); return err },
				"Live":    func() error { return s.Live(t.Context(), g.Claims) },
			} {
				if err := call(); !errors.Is(err, family.ErrUnavailable) || strings.Contains(err.Error(), "garbage") || strings.Contains(err.Error(), key) {
					t.Errorf("%s: %v", op, err)
				}
			}
			if server.Must("DUMP", key) != before {
				t.Error("the record was changed")
			}
		})
	}
}

// TestOnlyAServerThatMayWriteDeniesASession: a replica that lags, and a primary
// that came back empty and without replicas, know of no session; that must sign
// nobody out, and lets no revocation pass for done.
func TestOnlyAServerThatMayWriteDeniesASession(t *testing.T) {
	t.Parallel()
	for name, demote := range map[string]func(s *redistest.Server){
		"an empty primary without replicas": func(s *redistest.Server) { s.Must("CONFIG", "SET", "min-replicas-to-write", "1") },
		"an empty replica":                  func(s *redistest.Server) { s.Must("REPLICAOF", "127.0.0.1", "1") },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			store, err := redisstore.New(redisstore.Config{Client: newClient(t, server.Addr), Timeout: 2 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			s := storelife.NewService(t, storelife.NewRing(t), store, new(storelife.Events), 0)
			g := start(t, s, "alice")
			server.Must("FLUSHALL")
			if err := s.Live(t.Context(), g.Claims); !errors.Is(err, refresh.ErrGone) {
				t.Fatalf("a server that may write says %v", err)
			}
			demote(server)
			for op, call := range map[string]func() error{
				"Refresh":   func() error { _, err := s.Refresh(t.Context(), g.RefreshToken, device); return err },
				"Live":      func() error { return s.Live(t.Context(), g.Claims) },
				"Revoke":    func() error { return s.Revoke(t.Context(), "alice", g.Claims.SessionID, family.ReasonUser) },
				"RevokeAll": func() error { return s.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll) },
			} {
				if err := call(); !errors.Is(err, family.ErrUnavailable) {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
}

// TestANewerBuildsBytesSurvive: rolling back to this build loses nothing that a
// newer one appended to a record.
func TestANewerBuildsBytesSurvive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, c), new(storelife.Events), 0)
	g := start(t, s, "alice")
	key := server.Must("KEYS", "rt:{*}")
	id, err := family.ParseID(g.Claims.SessionID)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, field := range []string{string(id[:]), string(id[:]) + "c"} {
		c.HSet(ctx, key, field, c.HGet(ctx, key, field).Val()+"newer")
	}
	moved := device
	for range 2 {
		if g, err = s.Refresh(t.Context(), g.RefreshToken, moved); err != nil {
			t.Fatal(err)
		}
	}
	for _, field := range []string{string(id[:]), string(id[:]) + "c"} {
		if v := c.HGet(ctx, key, field).Val(); !strings.HasSuffix(v, "newer") {
			t.Errorf("field %q lost its tail", field[16:])
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	store := newStore(t, newClient(t, server.Addr))
	check := func(want int) []redisstore.Warning {
		t.Helper()
		warnings, err := store.Check(t.Context())
		if err != nil || len(warnings) != want {
			t.Errorf("Check = %v, %v; want %d warnings", warnings, err, want)
		}
		return warnings
	}
	check(0)
	if keys := server.Must("KEYS", "*"); keys != "" {
		t.Errorf("Check leaves %s", keys)
	}
	server.Must("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-lru")
	if w := check(1); len(w) == 1 && !strings.Contains(string(w[0]), "noeviction") {
		t.Errorf("the warning names no remedy: %s", w[0])
	}
	server.Kill()
	if _, err := store.Check(t.Context()); !errors.Is(err, family.ErrUnavailable) {
		t.Errorf("a server that is gone: %v", err)
	}
}

// minimalACL is what the store needs, and no more; docs/operations.md names it.
var minimalACL = strings.Fields("ACL SETUSER app reset on >secret resetchannels ~rt:* " +
	"+evalsha +eval +hset +hget +hmget +hgetall +hexists +hdel +hlen +pttl +pexpire " +
	"+zadd +zrem +zscore +zcount +zrangebyscore +zrevrangebyscore " +
	"+xtrim +xadd +xrange +xrevrange +xread +ping +info +wait +hello")

// clusterACL is what go-redis needs besides in a Cluster.
var clusterACL = []string{"+cluster|slots", "+asking"}

func TestTheDocumentedACLIsTheTestedOne(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{strings.ReplaceAll(strings.Join(minimalACL, " "), ">secret", ">PASSWORD"), strings.Join(clusterACL, " ")} {
		if !strings.Contains(flat, want) {
			t.Errorf("docs/operations.md does not have %q", want)
		}
	}
}

// useAll uses everything that a store does.
func useAll(t testing.TB, store *redisstore.Store, s *refresh.Sessions) error {
	if _, err := store.Check(t.Context()); err != nil {
		return err
	}
	for range 2 {
		g, err := s.Start(t.Context(), refresh.Login{Subject: "alice", Remember: true, Client: device})
		if err == nil {
			_, err = s.Refresh(t.Context(), g.RefreshToken, device)
		}
		if err == nil {
			_, err = s.List(t.Context(), g.Claims)
		}
		if err == nil {
			err = s.Live(t.Context(), g.Claims)
		}
		if err == nil {
			err = s.RevokeAll(t.Context(), "alice", family.ReasonLogoutAll)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestMinimalACLInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	for _, n := range cluster.Primaries() {
		n.Must(append(slices.Clone(minimalACL), clusterACL...)...)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Username: "app", Password: "secret", DisableIdentity: true, ContextTimeoutEnabled: true})
	defer c.Close()
	store := newStore(t, c)
	s := storelife.NewService(t, storelife.NewRing(t), store, new(storelife.Events), 1)
	if err := useAll(t, store, s); err != nil {
		t.Fatal(err)
	}
	redistest.Await(t, 10*time.Second, "the feed is followed", func() bool { return !s.FeedStale() })
}

// openAs opens a store as a user with some of the minimal rules.
func openAs(t *testing.T, server *redistest.Server, rules []string) *redisstore.Store {
	t.Helper()
	server.Must(rules...)
	c := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "app", Password: "secret", DisableIdentity: true, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return newStore(t, c)
}

func TestMinimalACL(t *testing.T) {
	t.Parallel()
	store := openAs(t, redistest.Start(t), minimalACL)
	s := storelife.NewService(t, storelife.NewRing(t), store, new(storelife.Events), 1)
	if err := useAll(t, store, s); err != nil {
		t.Fatalf("with the minimal rules: %v", err)
	}
	redistest.Await(t, 10*time.Second, "the feed is followed", func() bool { return !s.FeedStale() })
}

// commandsOf returns the commands that a script uses.
func commandsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, m := range regexp.MustCompile(`\b(?:call|try)\('([A-Z]+)'|'(Z\w+)' or '(Z\w+)'`).FindAllSubmatch(text, -1) {
		for _, name := range m[1:] {
			if len(name) > 0 {
				found[strings.ToLower(string(name))] = true
			}
		}
	}
	return found
}

// TestCheckTriesEveryCommandOfEveryScript: a script that begins to use another
// command does not do so behind the back of Check and of the documented rules.
func TestCheckTriesEveryCommandOfEveryScript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.lua")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	probed := commandsOf(t, "probe.lua")
	used := make(map[string]bool)
	for _, file := range files {
		for name := range commandsOf(t, file) {
			used[name] = true
			if !probed[name] {
				t.Errorf("%s uses %s, which probe.lua does not try", file, name)
			}
			if !slices.Contains(minimalACL, "+"+name) {
				t.Errorf("%s uses %s, which the smallest ACL does not allow", file, name)
			}
		}
	}
	if len(used) < 15 {
		t.Errorf("only %d commands are found in the scripts", len(used))
	}
}

// TestCheckNamesWhatIsRefused: without any one of the commands that the store
// needs, Check fails, names it, and says what to do.
func TestCheckNamesWhatIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, r := range minimalACL[8:] {
		if r == "+hello" { // go-redis then speaks an older protocol, which is no loss
			continue
		}
		server.Must("SCRIPT", "FLUSH")
		rules := slices.DeleteFunc(slices.Clone(minimalACL), func(other string) bool { return other == r })
		_, err := openAs(t, server, rules).Check(t.Context())
		if name := strings.ToUpper(r[1:]); !errors.Is(err, family.ErrUnavailable) || !strings.Contains(strings.ToUpper(err.Error()), name) || !strings.Contains(err.Error(), "docs/operations.md") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestCheckNamesAMissingCommand: a server or proxy that has no streams, or no
// WAIT, is found out.
func TestCheckNamesAMissingCommand(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"XADD", "XREAD", "WAIT", "ZADD"} {
		server := redistest.Start(t, "--rename-command", name, "")
		_, err := newStore(t, newClient(t, server.Addr)).Check(t.Context())
		if !errors.Is(err, family.ErrUnavailable) || !strings.Contains(strings.ToUpper(err.Error()), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestCheckLooksAtEveryMaster: rules are each server's own, and so is what a
// program may do there.
func TestCheckLooksAtEveryMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3, 0)
	rules := append(slices.Clone(minimalACL), clusterACL...)
	for _, n := range cluster.Primaries() {
		n.Must(rules...)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), Username: "app", Password: "secret", DisableIdentity: true, ContextTimeoutEnabled: true})
	defer c.Close()
	store := newStore(t, c)
	if _, err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range cluster.Primaries() {
		n.Must("ACL", "SETUSER", "app", "-zadd")
		if _, err := store.Check(t.Context()); !errors.Is(err, family.ErrUnavailable) || !strings.Contains(err.Error(), "ZADD") || !strings.Contains(err.Error(), n.Addr) {
			t.Errorf("a master refuses ZADD: %v", err)
		}
		n.Must("ACL", "SETUSER", "app", "+zadd")
	}
}

// TestOutOfMemory: a full server refuses logins and renewals, loses nothing,
// and still takes revocations.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, newClient(t, server.Addr)), new(storelife.Events), 0)
	g, doomed := start(t, s, "alice"), start(t, s, "bob")
	server.Must("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
	// A fresh generation is given again, which writes nothing.
	redistest.Await(t, 10*time.Second, "a renewal is refused", func() bool {
		_, err := s.Refresh(t.Context(), g.RefreshToken, device)
		return errors.Is(err, family.ErrUnavailable)
	})
	if err := s.RevokeAll(t.Context(), "bob", family.ReasonDeactivate); err != nil {
		t.Errorf("a revocation: %v", err)
	}
	server.Must("CONFIG", "SET", "maxmemory", "0")
	if _, err := s.Refresh(t.Context(), g.RefreshToken, device); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := s.Refresh(t.Context(), doomed.RefreshToken, device); !errors.Is(err, refresh.ErrRevoked) {
		t.Errorf("the revoked session: %v", err)
	}
}

// TestMemoryPerSession measures; the figure is in the log.
func TestMemoryPerSession(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := storelife.NewService(t, storelife.NewRing(t), newStore(t, newClient(t, server.Addr)), new(storelife.Events), 0)
	used := func() int {
		for line := range strings.Lines(server.Must("INFO", "memory")) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
				n, _ := strconv.Atoi(v)
				return n
			}
		}
		return 0
	}
	start(t, s, "first") // scripts and connections
	const sessions = 2000
	before := used()
	for i := range sessions {
		g, err := s.Start(t.Context(), refresh.Login{Subject: fmt.Sprintf("user-%d", i), Remember: true, Client: refresh.Client{UserAgent: "BankApp/4.2 (iPhone; iOS 18)", DeviceID: "d"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Refresh(t.Context(), g.RefreshToken, refresh.Client{UserAgent: "BankApp/4.2 (iPhone; iOS 18)", DeviceID: "d"}); err != nil {
			t.Fatal(err)
		}
	}
	each := (used() - before) / sessions
	t.Logf("%d bytes per session", each)
	if each > 600 {
		t.Errorf("%d bytes per session: the hash is no longer compact", each)
	}
}
