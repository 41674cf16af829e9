package refresh_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []refresh.Event
}

func (r *recorder) HandleEvent(_ context.Context, e refresh.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) count(k refresh.EventKind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// faulty is a store that counts, and that can be made to fail or to forget.
type faulty struct {
	family.Store
	rotations atomic.Int64
	calls     atomic.Int64
	fail      atomic.Bool
	block     chan struct{} // when not nil, Rotate waits for it
	takes     time.Duration // by Rotate
}

func (f *faulty) Start(ctx context.Context, r family.StartRequest) (family.StartResult, error) {
	f.calls.Add(1)
	if f.fail.Load() {
		return family.StartResult{}, refresh.ErrUnavailable
	}
	return f.Store.Start(ctx, r)
}

func (f *faulty) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	f.calls.Add(1)
	f.rotations.Add(1)
	time.Sleep(f.takes)
	if f.block != nil {
		select {
		case <-f.block:
		case <-ctx.Done():
			return family.Verdict{}, fmt.Errorf("%w: %w", refresh.ErrUnavailable, ctx.Err())
		}
	}
	if f.fail.Load() {
		return family.Verdict{}, refresh.ErrUnavailable
	}
	return f.Store.Rotate(ctx, p)
}

func (f *faulty) Revoke(ctx context.Context, r family.RevokeRequest) (family.RevokeResult, error) {
	f.calls.Add(1)
	if f.fail.Load() {
		return family.RevokeResult{}, refresh.ErrUnavailable
	}
	return f.Store.Revoke(ctx, r)
}

// A kit is a service and what it stands on.
type kit struct {
	*refresh.Sessions
	t      testing.TB
	keys   access.Keys
	ring   *access.KeyRing
	tokens *access.Tokens
	store  *faulty
	rec    *recorder
	ahead  atomic.Int64 // of the kit's clock
}

// freshTime is for how long a generation is not rotated, and a second.
const freshTime = 46 * time.Second

// age lets a grant become old enough for its refresh token to be rotated.
func (k *kit) age(g *refresh.Grant) {
	if young := freshTime - k.tokens.Now().Sub(g.IssuedAt); young > 0 {
		k.ahead.Add(int64(young))
	}
}

func newKit(t testing.TB, change ...func(*refresh.Config)) *kit {
	t.Helper()
	k := &kit{t: t, keys: newKeys(t), rec: new(recorder)}
	k.ring = newRing(t, k.keys)
	var err error
	if k.tokens, err = access.New(access.Config{Issuer: issuer, Audience: "app", Keys: k.ring, Now: func() time.Time { return time.Now().Add(time.Duration(k.ahead.Load())) }}); err != nil {
		t.Fatal(err)
	}
	k.store = &faulty{Store: newMemoryStore(t)}
	cfg := refresh.Config{Access: k.tokens, Store: k.store, Events: k.rec}
	for _, f := range change {
		f(&cfg)
	}
	if k.Sessions, err = refresh.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

var laptop = refresh.Client{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "Firefox/1.0", DeviceID: "laptop"}

func (k *kit) login(subject string) *refresh.Grant {
	k.t.Helper()
	g, err := k.Start(context.Background(), refresh.Login{Subject: subject, Remember: true, Client: laptop})
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func (k *kit) renew(g *refresh.Grant) *refresh.Grant {
	k.t.Helper()
	k.age(g)
	next, err := k.Refresh(context.Background(), g.RefreshToken, laptop)
	if err != nil {
		k.t.Fatalf("refresh of generation %d: %v", g.Claims.Generation, err)
	}
	return next
}

func (k *kit) refused(g *refresh.Grant, want error) *refresh.RefusedError {
	k.t.Helper()
	_, err := k.Refresh(context.Background(), g.RefreshToken, laptop)
	if !errors.Is(err, want) || !errors.Is(err, refresh.ErrRefused) {
		k.t.Fatalf("refresh of generation %d: %v, want %v", g.Claims.Generation, err, want)
	}
	var facts *refresh.RefusedError
	errors.As(err, &facts)
	return facts
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*refresh.Config)
	}{
		{"Access", func(c *refresh.Config) { c.Access = nil }},
		{"Store", func(c *refresh.Config) { c.Store = nil }},
		{"IdleTimeout", func(c *refresh.Config) { c.IdleTimeout = -1 }},
		{"IdleTimeout", func(c *refresh.Config) { c.IdleTimeout = time.Millisecond }},
		{"AbsoluteLifetime", func(c *refresh.Config) { c.AbsoluteLifetime = -1 }},
		{"AbsoluteLifetime", func(c *refresh.Config) { c.AbsoluteLifetime = 401 * 24 * time.Hour }},
		{"BrowserSessionLifetime", func(c *refresh.Config) { c.BrowserSessionLifetime = -1 }},
		{"SettleTime", func(c *refresh.Config) { c.Rotation.SettleTime = -1 }},
		{"SettleTime", func(c *refresh.Config) { c.Rotation.SettleTime = 6 * time.Minute }},
		{"StrictSingleUse", func(c *refresh.Config) { c.Rotation.StrictSingleUse, c.Rotation.SettleTime = true, time.Second }},
		{"Timeout", func(c *refresh.Config) { c.Timeout = -1 }},
		{"FeedStaleAfter", func(c *refresh.Config) { c.FeedStaleAfter = -1 }},
		{"FeedStaleAfter", func(c *refresh.Config) { c.FeedStaleAfter = 2 * time.Second }},
		{"MaxSessions", func(c *refresh.Config) { c.MaxSessions = -1 }},
		{"RefuseAtLimit", func(c *refresh.Config) { c.RefuseAtLimit = true }},
		{"Binding", func(c *refresh.Config) { c.Binding = refresh.Binding{Off: true, Enforced: family.IP} }},
		{"Binding", func(c *refresh.Config) { c.Binding = refresh.Binding{Enforced: 1 << 7} }},
		{"Binding", func(c *refresh.Config) { c.Binding = refresh.Binding{IPv4Bits: 33} }},
		{"DeviceKeys", func(c *refresh.Config) { c.DeviceKeys = refresh.DeviceKeysRequire + 1 }},
		{"key ring", func(c *refresh.Config) {
			keys := newKeys(t)
			keys.Secrets = nil
			c.Access, _ = access.New(access.Config{Issuer: issuer, Audience: "app", Keys: newRing(t, keys)})
		}},
	} {
		t.Run(tt.field, func(t *testing.T) {
			tokens, err := access.New(access.Config{Issuer: issuer, Audience: "app", Keys: newRing(t, newKeys(t))})
			if err != nil {
				t.Fatal(err)
			}
			cfg := refresh.Config{Access: tokens, Store: newMemoryStore(t)}
			tt.change(&cfg)
			if s, err := refresh.New(cfg); err == nil {
				s.Close()
				t.Error("accepted")
			} else if !strings.Contains(err.Error(), tt.field) {
				t.Errorf("%v does not name %s", err, tt.field)
			}
		})
	}
}

func TestLifeOfASession(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		first := k.login("alice")
		authTime := first.Claims.AuthTime
		if first.ExpiresIn() != 600 || first.Claims.Generation != 0 || first.Outcome != family.Rotated {
			t.Errorf("login %+v", first)
		}
		g := first
		for range 5 {
			time.Sleep(11 * time.Minute)
			if _, err := k.Verify(g.AccessToken); !errors.Is(err, access.ErrExpired) {
				t.Fatalf("an old access token: %v", err)
			}
			next := k.renew(g)
			if again := k.renew(g); again.RefreshToken != next.RefreshToken || again.AccessToken == next.AccessToken || again.Outcome != family.Replayed {
				t.Fatalf("a lost response: %+v", again)
			}
			g = next
			if !g.Claims.AuthTime.Equal(authTime) || g.Claims.SessionID != first.Claims.SessionID {
				t.Error("a refresh moved auth_time, or the session")
			}
		}
		facts := k.refused(first, refresh.ErrReused)
		if facts.Subject != "alice" || facts.SessionID != first.Claims.SessionID {
			t.Errorf("facts %+v", facts)
		}
		if facts := k.refused(g, refresh.ErrRevoked); facts.Reason != family.ReasonReuse {
			t.Errorf("reason %q", facts.Reason)
		}
		if _, err := k.Verify(g.AccessToken); !errors.Is(err, refresh.ErrRevoked) {
			t.Errorf("the access token of a dead family: %v", err)
		}
		if err := k.Live(t.Context(), g.Claims); !errors.Is(err, refresh.ErrRevoked) {
			t.Errorf("Live = %v", err)
		}
		for kind, n := range map[refresh.EventKind]int{refresh.EventLogin: 1, refresh.EventRefresh: 5, refresh.EventReplayed: 5, refresh.EventReuse: 1, refresh.EventRefused: 1} {
			if got := k.rec.count(kind); got != n {
				t.Errorf("%d events %s, want %d", got, kind, n)
			}
		}
	})
}

func TestSettling(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		g0 := k.login("alice")
		g1 := k.renew(g0)
		if _, err := k.Verify(g1.AccessToken); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		k.Verify(g1.AccessToken)
		synctest.Wait()
		replay := k.renew(g0) // a fresh access token: the proof starts anew
		time.Sleep(2 * time.Second)
		k.Verify(replay.AccessToken)
		synctest.Wait()
		if n := k.rec.count(refresh.EventSettled); n != 0 {
			t.Fatalf("settled %d times by young access tokens", n)
		}
		k.renew(g0)

		k.Verify(g1.AccessToken) // 61 seconds old
		k.Verify(g1.AccessToken)
		synctest.Wait()
		if n := k.rec.count(refresh.EventSettled); n != 1 {
			t.Fatalf("settled %d times, want once per access token", n)
		}
		k.refused(g0, refresh.ErrReused)
	})
}

func TestSettlingSurvivesAStoreThatIsAway(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		store := &unsettled{Store: newMemoryStore(t)}
		store.fail.Store(true)
		k := newKit(t, func(c *refresh.Config) { c.Store = store })
		g0 := k.login("alice")
		g1 := k.renew(g0)
		time.Sleep(time.Minute)
		k.Verify(g1.AccessToken)
		synctest.Wait()
		if k.rec.count(refresh.EventUnavailable) == 0 {
			t.Error("nobody heard that the store is away")
		}
		store.fail.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		k.refused(g0, refresh.ErrReused)
	})
}

type unsettled struct {
	family.Store
	fail atomic.Bool
}

func (u *unsettled) Settle(ctx context.Context, s family.Subject, id family.ID, g uint32) error {
	if u.fail.Load() {
		return refresh.ErrUnavailable
	}
	return u.Store.Settle(ctx, s, id, g)
}

func TestStrictSingleUse(t *testing.T) {
	k := newKit(t, func(c *refresh.Config) { c.Rotation.StrictSingleUse = true })
	g := k.login("alice")
	k.renew(g)
	k.refused(g, refresh.ErrReused)
}

func TestLifetimes(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) {
			c.IdleTimeout, c.AbsoluteLifetime, c.BrowserSessionLifetime = time.Hour, 3*time.Hour, 30*time.Minute
		})
		idle := k.login("alice")
		browser, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Client: laptop})
		if err != nil || browser.Remember || !browser.RefreshExpiresAt.Equal(browser.IssuedAt.Add(30*time.Minute)) {
			t.Fatalf("a browser session: %+v, %v", browser, err)
		}
		g := k.login("alice")
		end := g.IssuedAt.Add(3 * time.Hour)
		time.Sleep(31 * time.Minute)
		back := laptop
		back.BrowserKey = browser.BrowserKey
		if _, err := k.Refresh(t.Context(), browser.RefreshToken, back); !errors.Is(err, refresh.ErrGone) {
			t.Errorf("a browser session of yesterday: %v", err)
		}
		k.refused(browser, refresh.ErrBrowserClosed)
		for time.Until(end) > 0 {
			g = k.renew(g)
			if g.Claims.ExpiresAt.After(end) || g.RefreshExpiresAt.After(end) {
				t.Fatalf("tokens that outlive the login: %v, %v", g.Claims.ExpiresAt, g.RefreshExpiresAt)
			}
			time.Sleep(min(50*time.Minute, max(time.Until(end), time.Minute)))
		}
		k.refused(g, refresh.ErrGone)
		k.refused(idle, refresh.ErrGone)
		if err := k.Live(t.Context(), g.Claims); !errors.Is(err, refresh.ErrGone) {
			t.Errorf("Live = %v", err)
		}
	})
}

func TestParallelRefreshesAreOne(t *testing.T) {
	k := newKit(t)
	g := k.login("alice")
	k.age(g)
	k.store.block = make(chan struct{})
	const callers = 100
	var wg sync.WaitGroup
	grants := make([]*refresh.Grant, callers)
	ready := make(chan struct{}, callers)
	for i := range callers {
		wg.Go(func() {
			ready <- struct{}{}
			var err error
			if grants[i], err = k.Refresh(context.Background(), g.RefreshToken, laptop); err != nil {
				t.Error(err)
			}
		})
	}
	for range callers {
		<-ready
	}
	close(k.store.block)
	wg.Wait()
	for _, got := range grants {
		if got == nil || got.RefreshToken != grants[0].RefreshToken {
			t.Fatal("not all have the same successor")
		}
	}
	if k.rec.count(refresh.EventRefresh) != 1 {
		t.Errorf("%d rotations", k.rec.count(refresh.EventRefresh))
	}
}

func TestTheFirstCallerHangsUp(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		k.store.block = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := k.Refresh(ctx, g.RefreshToken, laptop); first <- err }()
		synctest.Wait()
		go func() { _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); second <- err }()
		synctest.Wait()
		impatient, leave := context.WithCancel(t.Context())
		third := make(chan error, 1)
		go func() { _, err := k.Refresh(impatient, g.RefreshToken, laptop); third <- err }()
		synctest.Wait()
		cancel()
		leave()
		if err := <-third; !errors.Is(err, context.Canceled) {
			t.Errorf("who hung up while waiting hears %v", err)
		}
		close(k.store.block)
		if err := <-second; err != nil {
			t.Errorf("who waited hears %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("who did the work hears %v", err)
		}
		if _, err := k.Refresh(ctx, g.RefreshToken, laptop); !errors.Is(err, context.Canceled) || !errors.Is(err, refresh.ErrUnavailable) {
			t.Errorf("who had hung up before hears %v", err)
		}
		if n := k.store.rotations.Load(); n != 1 {
			t.Errorf("%d rotations", n)
		}
	})
}

func TestTheStoreIsAway(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		k.store.fail.Store(true)
		for name, call := range map[string]func() error{
			"Start":     func() error { _, err := k.Start(t.Context(), refresh.Login{Subject: "bob"}); return err },
			"Refresh":   func() error { _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); return err },
			"Revoke":    func() error { return k.Revoke(t.Context(), "alice", g.Claims.SessionID, family.ReasonUser) },
			"RevokeAll": func() error { return k.RevokeAll(t.Context(), "alice", family.ReasonUser) },
		} {
			if err := call(); !errors.Is(err, refresh.ErrUnavailable) || errors.Is(err, refresh.ErrRefused) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := k.Verify(g.AccessToken); err != nil {
			t.Errorf("a valid access token: %v", err)
		}
		k.store.fail.Store(false)
		k.renew(g)

		// A store that hangs is a store that is away, in time.
		k.store.block = make(chan struct{})
		began := time.Now()
		if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, refresh.ErrUnavailable) || time.Since(began) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestClaimsHook(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var mode atomic.Value
		mode.Store("user")
		k := newKit(t, func(c *refresh.Config) {
			c.Claims = func(ctx context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
				switch m := mode.Load().(string); m {
				case "fail":
					return refresh.SubjectClaims{}, errors.New("database gone")
				case "panic":
					panic("nil map")
				case "hang":
					<-ctx.Done()
					return refresh.SubjectClaims{}, ctx.Err()
				case "ignore the context":
					time.Sleep(time.Hour)
				case "deny":
					return refresh.SubjectClaims{}, fmt.Errorf("account closed: %w", refresh.ErrDenied)
				case "marshal":
					return refresh.SubjectClaims{Custom: bomb{}}, nil
				default:
					return refresh.SubjectClaims{Roles: []string{m}, Scopes: []string{"read"}, Custom: map[string]string{"tenant": "acme"}}, nil
				}
				return refresh.SubjectClaims{}, nil
			}
		})
		g := k.login("alice")
		var custom struct{ Tenant string }
		if !g.Claims.HasRole("user") || !g.Claims.HasScope("read") || g.Claims.Decode(&custom) != nil || custom.Tenant != "acme" {
			t.Errorf("claims %+v", g.Claims)
		}
		mode.Store("admin")
		if g = k.renew(g); !g.Claims.HasRole("admin") {
			t.Errorf("claims %+v", g.Claims)
		}
		for _, m := range []string{"fail", "panic", "hang", "marshal"} {
			mode.Store(m)
			rotations, began := k.store.rotations.Load(), time.Now()
			want := refresh.ErrUnavailable
			if m == "marshal" {
				want = refresh.ErrCannotIssue
			}
			if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, want) || errors.Is(err, refresh.ErrRefused) {
				t.Errorf("%s: %v", m, err)
			}
			if time.Since(began) > 3*time.Second {
				t.Errorf("%s: waited %v", m, time.Since(began))
			}
			if k.store.rotations.Load() != rotations {
				t.Errorf("%s: the store was asked before the app", m)
			}
		}
		// A hook that ignores its context holds up whoever calls it, and
		// nobody else.
		mode.Store("ignore the context")
		rotations, began, late := k.store.rotations.Load(), time.Now(), make(chan error)
		go func() { _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); late <- err }()
		synctest.Wait()
		if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, refresh.ErrUnavailable) || time.Since(began) > 3*time.Second {
			t.Errorf("while another waits for the hook: %v after %v", err, time.Since(began))
		}
		if err := <-late; !errors.Is(err, refresh.ErrUnavailable) || k.store.rotations.Load() != rotations {
			t.Errorf("a hook that took an hour: %v", err)
		}
		mode.Store("user")
		g = k.renew(g)
		mode.Store("deny")
		if _, err := k.Refresh(t.Context(), g.RefreshToken, laptop); !errors.Is(err, refresh.ErrDenied) || !errors.Is(err, refresh.ErrRefused) {
			t.Errorf("denied: %v", err)
		}
		if _, err := k.Verify(g.AccessToken); !errors.Is(err, refresh.ErrRevoked) {
			t.Errorf("the denied subject's access token: %v", err)
		}
		mode.Store("user")
		if facts := k.refused(g, refresh.ErrRevoked); facts.Reason != family.ReasonDenied {
			t.Errorf("reason %q", facts.Reason)
		}
	})
}

type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

func TestFingerprintBinding(t *testing.T) {
	other := func(change func(*refresh.Client)) refresh.Client { c := laptop; change(&c); return c }
	for _, tt := range []struct {
		name    string
		binding refresh.Binding
		client  refresh.Client
		ok      bool
	}{
		{"the same client", refresh.BindStrict(), laptop, true},
		{"another address in the network", refresh.BindStrict(), other(func(c *refresh.Client) { c.IP = netip.MustParseAddr("192.0.2.200") }), true},
		{"the same address, mapped into IPv6", refresh.BindStrict(), other(func(c *refresh.Client) { c.IP = netip.MustParseAddr("::ffff:192.0.2.1") }), true},
		{"another network, strict", refresh.BindStrict(), other(func(c *refresh.Client) { c.IP = netip.MustParseAddr("192.0.3.1") }), false},
		{"another network, default", refresh.Binding{}, other(func(c *refresh.Client) { c.IP = netip.MustParseAddr("192.0.3.1") }), true},
		{"no address, strict", refresh.BindStrict(), other(func(c *refresh.Client) { c.IP = netip.Addr{} }), false},
		{"an update", refresh.Binding{}, other(func(c *refresh.Client) { c.UserAgent = "Firefox/2.0" }), true},
		{"another program, strict", refresh.BindStrict(), other(func(c *refresh.Client) { c.UserAgent = "curl/8" }), false},
		{"the desktop version of a page", refresh.Binding{}, other(func(c *refresh.Client) { c.UserAgent = "curl/8" }), true},
		{"no program, strict", refresh.BindStrict(), other(func(c *refresh.Client) { c.UserAgent = "" }), false},
		{"another device", refresh.Binding{}, other(func(c *refresh.Client) { c.DeviceID = "phone" }), false},
		{"no device", refresh.Binding{}, other(func(c *refresh.Client) { c.DeviceID = "" }), false},
		{"the zero binding is the default", refresh.Binding{}, other(func(c *refresh.Client) { c.DeviceID = "phone" }), false},
		{"off", refresh.Binding{Off: true}, refresh.Client{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t, func(c *refresh.Config) { c.Binding = tt.binding })
			g := k.login("alice")
			_, err := k.Refresh(t.Context(), g.RefreshToken, tt.client)
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, refresh.ErrFingerprint) {
				t.Errorf("%v", err)
			}
			if !tt.ok {
				k.renew(g) // the owner is not harmed
			}
		})
	}
	t.Run("without a device the program counts", func(t *testing.T) {
		k := newKit(t)
		old := refresh.Client{UserAgent: "BankApp/4.2"}
		g, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Remember: true, Client: old})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Refresh(t.Context(), g.RefreshToken, refresh.Client{UserAgent: "curl/8"}); !errors.Is(err, refresh.ErrFingerprint) {
			t.Errorf("another program: %v", err)
		}
		if _, err := k.Refresh(t.Context(), g.RefreshToken, refresh.Client{UserAgent: "BankApp/5.0"}); err != nil {
			t.Errorf("an update: %v", err)
		}
	})
	t.Run("a login that cannot be bound", func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.Binding = refresh.BindStrict() })
		var facts *refresh.RefusedError
		_, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Client: refresh.Client{UserAgent: "a", DeviceID: "d"}})
		if !errors.Is(err, refresh.ErrUnbound) || !errors.As(err, &facts) || facts.Differs != family.IP {
			t.Errorf("no address: %v", err)
		}
		k = newKit(t)
		if _, err := k.Start(t.Context(), refresh.Login{Subject: "alice"}); err != nil || k.rec.count(refresh.EventUnbound) != 1 {
			t.Errorf("nothing at all, by default: %v, %d events", err, k.rec.count(refresh.EventUnbound))
		}
	})
	t.Run("a mismatch revokes where policy says so", func(t *testing.T) {
		b := refresh.Binding{}
		b.Revoke = true
		k := newKit(t, func(c *refresh.Config) { c.Binding = b })
		g := k.login("alice")
		if _, err := k.Refresh(t.Context(), g.RefreshToken, refresh.Client{}); !errors.Is(err, refresh.ErrFingerprint) {
			t.Error(err)
		}
		k.refused(g, refresh.ErrRevoked)
	})
}

func TestLimit(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.MaxSessions = 2 })
		var all []*refresh.Grant
		for range 3 {
			all = append(all, k.login("alice"))
			time.Sleep(time.Second)
		}
		if _, err := k.Verify(all[0].AccessToken); !errors.Is(err, refresh.ErrRevoked) {
			t.Errorf("the oldest's access token: %v", err)
		}
		if facts := k.refused(all[0], refresh.ErrRevoked); facts.Reason != family.ReasonLimit {
			t.Errorf("reason %q", facts.Reason)
		}
		k.renew(all[1])

		strict := newKit(t, func(c *refresh.Config) { c.MaxSessions, c.RefuseAtLimit = 1, true })
		g := strict.login("alice")
		if _, err := strict.Start(t.Context(), refresh.Login{Subject: "alice"}); !errors.Is(err, refresh.ErrLimit) {
			t.Errorf("beyond the limit: %v", err)
		}
		strict.renew(g)
	})
}

func TestRootSecretsAreReplacedAtRunTime(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.MaxSessions = 2 })
		old := k.login("alice")
		next := k.keys
		next.Secrets = append([][]byte{newKeys(t).Secrets[0]}, k.keys.Secrets...)
		if err := k.ring.Replace(next); err != nil {
			t.Fatal(err)
		}
		old = k.renew(old)
		time.Sleep(time.Second)
		fresh := k.login("alice")
		list, err := k.List(t.Context(), fresh.Claims)
		if err != nil || len(list) != 2 || !list[0].Current || list[1].ID != old.Claims.SessionID {
			t.Fatalf("sessions %+v, %v", list, err)
		}
		time.Sleep(time.Second)
		newest := k.login("alice") // the limit counts sessions of both secrets
		k.refused(old, refresh.ErrRevoked)
		k.renew(fresh)
		if err := k.RevokeOthers(t.Context(), newest.Claims, family.ReasonPassword); err != nil {
			t.Fatal(err)
		}
		k.renew(newest)
		next.Secrets = [][]byte{newKeys(t).Secrets[0]}
		if err := k.ring.Replace(next); err != nil {
			t.Fatal(err)
		}
		k.refused(newest, refresh.ErrInvalidToken)
		if err := k.Revoke(t.Context(), "alice", newest.Claims.SessionID, family.ReasonUser); !errors.Is(err, refresh.ErrNotFound) {
			t.Errorf("a session of a secret that is gone: %v", err)
		}
	})
}

func TestAuthenticationContext(t *testing.T) {
	k := newKit(t)
	g, err := k.Start(t.Context(), refresh.Login{Subject: "alice", Remember: true, Client: laptop, ACR: "gold", AMR: []string{"pwd", "otp"}})
	if err != nil {
		t.Fatal(err)
	}
	if g = k.renew(g); g.Claims.ACR != "gold" || strings.Join(g.Claims.AMR, " ") != "pwd otp" {
		t.Errorf("after a refresh: %q %q", g.Claims.ACR, g.Claims.AMR)
	}
	for _, acr := range []string{strings.Repeat("x", 61), "a\x00b", "a\nb"} {
		if _, err := k.Start(t.Context(), refresh.Login{Subject: "alice", ACR: acr}); err == nil {
			t.Errorf("ACR %q is accepted", acr)
		}
	}
}

func TestRevoking(t *testing.T) {
	k := newKit(t)
	a, b, c := k.login("alice"), k.login("alice"), k.login("alice")
	bob := k.login("bob")
	if err := k.Revoke(t.Context(), "alice", bob.Claims.SessionID, family.ReasonUser); !errors.Is(err, refresh.ErrNotFound) {
		t.Errorf("somebody else's session: %v", err)
	}
	if _, err := k.Verify(bob.AccessToken); err != nil {
		t.Errorf("naming a stranger's session signs the stranger out: %v", err)
	}
	for _, id := range []string{"", "x", strings.Repeat("A", 22), strings.Repeat("A", 21) + "B"} {
		if err := k.Revoke(t.Context(), "alice", id, family.ReasonUser); !errors.Is(err, refresh.ErrNotFound) {
			t.Errorf("session %q: %v", id, err)
		}
	}
	for range 2 {
		if err := k.Revoke(t.Context(), "alice", a.Claims.SessionID, family.ReasonUser); err != nil {
			t.Error(err)
		}
	}
	k.refused(a, refresh.ErrRevoked)
	if err := k.RevokeOthers(t.Context(), c.Claims, family.ReasonPassword); err != nil {
		t.Error(err)
	}
	k.refused(b, refresh.ErrRevoked)
	c = k.renew(c)
	if err := k.RevokeAll(t.Context(), "alice", "my own reason"); err != nil {
		t.Error(err)
	}
	if facts := k.refused(c, refresh.ErrRevoked); facts.Reason != "my own reason" {
		t.Errorf("reason %q", facts.Reason)
	}
	k.renew(bob)
	for _, why := range []family.Reason{"", "a\nb", family.Reason(strings.Repeat("x", 33))} {
		if err := k.RevokeAll(t.Context(), "alice", why); err == nil {
			t.Errorf("reason %q is accepted", why)
		}
	}
	for _, subject := range []string{"", "a\x00", "\xff", strings.Repeat("x", 256)} {
		if err := k.RevokeAll(t.Context(), subject, family.ReasonUser); !errors.Is(err, refresh.ErrSubject) {
			t.Errorf("subject %q: %v", subject, err)
		}
		if _, err := k.Start(t.Context(), refresh.Login{Subject: subject}); !errors.Is(err, refresh.ErrSubject) {
			t.Errorf("subject %q: %v", subject, err)
		}
	}
}

func TestWatch(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t, func(c *refresh.Config) { c.AbsoluteLifetime = time.Hour })
		g := k.login("alice")
		revoked, stop := k.WatchSession(t.Context(), g.Claims)
		defer stop()
		mine, stopMine := k.WatchSession(t.Context(), g.Claims)
		stopMine()
		if !errors.Is(context.Cause(mine), context.Canceled) {
			t.Errorf("cause %v", context.Cause(mine))
		}
		if err := k.Revoke(t.Context(), "alice", g.Claims.SessionID, family.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		<-revoked.Done()
		if !errors.Is(context.Cause(revoked), refresh.ErrRevoked) {
			t.Errorf("cause %v", context.Cause(revoked))
		}
		late, stop := k.WatchSession(t.Context(), g.Claims)
		defer stop()
		if !errors.Is(context.Cause(late), refresh.ErrRevoked) {
			t.Errorf("cause %v", context.Cause(late))
		}
		ended, stop := k.WatchSession(t.Context(), k.login("bob").Claims)
		defer stop()
		time.Sleep(61 * time.Minute)
		if !errors.Is(context.Cause(ended), refresh.ErrGone) {
			t.Errorf("cause %v", context.Cause(ended))
		}
	})
}

func TestStoreThatLostWrites(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		store := &amnesiac{Store: newMemoryStore(t)}
		k := newKit(t, func(c *refresh.Config) { c.Store, c.Rotation.RefuseStoreBehind = store, refuse })
		g := k.login("alice")
		store.forget = true
		g = k.renew(g)
		store.forget = false
		if refuse {
			k.refused(g, refresh.ErrStoreBehind)
			continue
		}
		next := k.renew(g)
		if next.Outcome != family.StoreBehind || k.rec.count(refresh.EventStoreBehind) != 1 {
			t.Errorf("outcome %v", next.Outcome)
		}
		k.renew(next)
	}
}

// amnesiac answers rotations without keeping them.
type amnesiac struct {
	family.Store
	forget bool
}

func (a *amnesiac) Rotate(ctx context.Context, p family.RotateRequest) (family.Verdict, error) {
	if !a.forget {
		return a.Store.Rotate(ctx, p)
	}
	f, err := a.Find(ctx, p.Subject, p.Family, p.Now)
	if err != nil {
		return family.Verdict{}, err
	}
	return family.Decide(&f, p), nil
}

func TestNoSecretInEventsErrorsAndLogs(t *testing.T) {
	var log bytes.Buffer
	rec := refresh.LogEvents(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	k := newKit(t, func(c *refresh.Config) { c.Events = rec })
	var secrets []string
	keep := func(g *refresh.Grant) *refresh.Grant {
		secrets = append(secrets, g.AccessToken, g.RefreshToken)
		return g
	}
	var errs []error
	g0 := keep(k.login("alice"))
	g1 := keep(k.renew(g0))
	keep(k.renew(g1))
	for _, token := range []string{g0.RefreshToken, g0.RefreshToken + "x", g1.AccessToken} {
		_, err := k.Refresh(t.Context(), token, refresh.Client{UserAgent: "evil\r\n\x1b[31m", DeviceID: "the secret device"})
		errs = append(errs, err)
		_, err = k.Refresh(t.Context(), token, laptop)
		errs = append(errs, err)
	}
	_, err := k.Verify(g1.RefreshToken)
	errs = append(errs, err)
	text := log.String()
	for _, err := range errs {
		text += fmt.Sprintf("%v %+v", err, err)
	}
	if !strings.Contains(text, `"event":"reuse_detected"`) || strings.Contains(text, "\x1b") {
		t.Errorf("log:\n%s", text)
	}
	secrets = append(secrets, "the secret device")
	for _, s := range secrets {
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)), s[max(0, len(s)-20):]} {
			if strings.Contains(text, form) {
				t.Errorf("a secret is in the log: %.12s…", s)
			}
		}
	}
}

// TestEveryConfigFieldHasATest keeps options honest: whoever adds a field
// names it here, beside the test that sees it act.
func TestEveryConfigFieldHasATest(t *testing.T) {
	seen := map[string]string{
		"Access": "everywhere", "Store": "everywhere", "IdleTimeout": "TestLifetimes",
		"AbsoluteLifetime": "TestLifetimes", "BrowserSessionLifetime": "TestLifetimes", "Rotation": "TestStrictSingleUse",
		"MaxSessions":   "TestLimit",
		"RefuseAtLimit": "TestLimit", "Binding": "TestFingerprintBinding", "DeviceKeys": "TestDeviceKeys",
		"Claims": "TestClaimsHook", "Events": "TestNoSecretInEventsErrorsAndLogs",
		"Timeout": "TestTheStoreIsAway", "FeedStaleAfter": "TestFeedGoesStale", "AskStoreWhenFeedStale": "TestFeedGoesStale",
	}
	typ := reflect.TypeFor[refresh.Config]()
	for i := range typ.NumField() {
		if seen[typ.Field(i).Name] == "" {
			t.Errorf("nothing shows that Config.%s acts", typ.Field(i).Name)
		}
	}
}

// scripted is a store with a feed that a test speaks through.
type scripted struct {
	family.Store
	say chan func(family.FeedHandler)
}

func (s *scripted) Follow(ctx context.Context, _ time.Duration, on family.FeedHandler) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-s.say:
			f(on)
		}
	}
}

func TestFeedGoesStale(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		store := &scripted{Store: newMemoryStore(t), say: make(chan func(family.FeedHandler))}
		k := newKit(t, func(c *refresh.Config) { c.Store, c.FeedStaleAfter = store, 3*time.Second })
		stale := func(want bool) {
			t.Helper()
			synctest.Wait()
			if k.FeedStale() != want {
				t.Errorf("stale %v, want %v", !want, want)
			}
		}
		stale(true) // until it has caught up
		store.say <- family.FeedHandler.Synced
		stale(false)
		time.Sleep(2 * time.Second)
		stale(false)
		time.Sleep(2 * time.Second)
		stale(true)
		store.say <- family.FeedHandler.Synced
		stale(false)
		if k.rec.count(refresh.EventFeedStale) != 1 || k.rec.count(refresh.EventFeedRecovered) != 1 {
			t.Errorf("events %v", k.rec.events)
		}
		g := k.login("alice")
		id, err := family.ParseID(g.Claims.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		store.say <- func(on family.FeedHandler) { on.Revoked(id, time.Now()) }
		synctest.Wait()
		if _, err := k.Verify(g.AccessToken); !errors.Is(err, refresh.ErrRevoked) {
			t.Errorf("revoked elsewhere: %v", err)
		}
	})
}

func TestInOutage(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		time.Sleep(11 * time.Minute)
		try := func(want error) {
			t.Helper()
			if _, err := k.VerifyInOutage(t.Context(), g.AccessToken, 5*time.Minute); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		try(access.ErrExpired) // the store answers: renew it
		k.store.fail.Store(true)
		k.Refresh(t.Context(), g.RefreshToken, laptop)
		try(nil)
		if k.rec.count(refresh.EventOutage) != 1 {
			t.Error("nobody hears of it")
		}
		time.Sleep(31 * time.Second)
		try(access.ErrExpired) // nobody has asked the store for long
		k.Refresh(t.Context(), g.RefreshToken, laptop)
		time.Sleep(5 * time.Second)
		try(nil)
		time.Sleep(4 * time.Minute)
		k.Refresh(t.Context(), g.RefreshToken, laptop)
		try(access.ErrExpired) // beyond the grace
	})
}

// TestARequestThatWasOvertaken: it is as if made ten minutes ago by an instance
// that was stopped since. Its client is told to try again, and nobody is harmed.
func TestARequestThatWasOvertaken(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		stopped := newKit(t, func(c *refresh.Config) {
			late := func() time.Time { return time.Now().Add(-10 * time.Minute) }
			tokens, err := access.New(access.Config{Issuer: issuer, Audience: "app", Keys: k.ring, Now: late})
			if err != nil {
				t.Fatal(err)
			}
			c.Access, c.Store = tokens, k.store
		})
		first := k.login("alice")
		time.Sleep(20 * time.Minute)
		second := k.renew(first)
		g := k.renew(second)
		for _, old := range []*refresh.Grant{first, second} {
			if old == second { // settle what followed on it
				time.Sleep(2 * time.Minute)
				if _, err := k.Verify(g.AccessToken); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if _, err := stopped.Refresh(t.Context(), old.RefreshToken, laptop); !errors.Is(err, refresh.ErrUnavailable) || errors.Is(err, refresh.ErrRefused) {
				t.Errorf("generation %d: %v", old.Claims.Generation, err)
			}
		}
		if k.rec.count(refresh.EventSettled) != 1 || stopped.rec.count(refresh.EventUnavailable) != 2 || stopped.rec.count(refresh.EventReuse) != 0 {
			t.Error("not the events that it should come to")
		}
		k.renew(g)
		k.refused(first, refresh.ErrReused)
	})
}

func newMemoryStore(t testing.TB) *family.MemoryStore {
	t.Helper()
	m, err := family.NewMemoryStore(family.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCookiesThatNeverArriveAreAnEvent: a client that shows one predecessor again
// and again is signed in, and somebody hears of it.
func TestCookiesThatNeverArriveAreAnEvent(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		k := newKit(t)
		g := k.login("alice")
		k.renew(g) // lost, like all that follow
		for range 3 {
			if n := k.rec.count(refresh.EventCookiesLost); n != 0 {
				t.Fatalf("too early: %d events", n)
			}
			time.Sleep(5 * time.Minute)
			k.renew(g)
		}
		if n := k.rec.count(refresh.EventCookiesLost); n != 1 || k.rec.count(refresh.EventLateReplay) != 3 {
			t.Errorf("%d events, %d late replays", n, k.rec.count(refresh.EventLateReplay))
		}
	})
}
