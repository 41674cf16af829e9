package soak

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	duration  = flag.Duration("for", 20*time.Second, "how long the clients go on")
	users     = flag.Int("users", 150, "how many users there are")
	lifetime  = flag.Duration("lifetime", 6*time.Second, "lifetime of access tokens; every other time is scaled by it")
	instances = flag.Int("instances", 3, "how many instances there are")
	faults    = flag.Float64("faults", 0.03, "the share of commands to Redis that something happens to")
	seed      = flag.Uint64("seed", 0, "where chance starts; 0 draws one")
)

// generationOf reads the generation out of a refresh token (docs/protocol.md).
func generationOf(jar map[string]string) uint32 {
	for _, name := range []string{"__Host-refresh", "refresh"} {
		if b, err := base64.RawURLEncoding.DecodeString(jar[name]); err == nil && len(b) > 21 {
			return binary.BigEndian.Uint32(b[17:])
		}
	}
	return 0
}

// expiryOf reads when an access token expires.
func expiryOf(token string) time.Time {
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(b, &claims) == nil {
			return time.Unix(claims.Expires, 0)
		}
	}
	return time.Time{}
}

func TestSoak(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	w := newWorld(t, *instances, *lifetime, *faults, *seed)
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()

	var wg, troubles sync.WaitGroup
	if *faults > 0 {
		troubles.Go(func() { w.trouble(ctx, rand.New(rand.NewPCG(*seed, 1))) })
	}
	all := make([]*user, *users)
	for i := range all {
		all[i] = newUser(w, fmt.Sprintf("user-%d", i), i%4 == 3)
		wg.Go(func() { live(ctx, all[i], rand.New(rand.NewPCG(*seed, uint64(10_000+i)))) })
	}
	wg.Wait()
	w.probes.Wait()
	troubles.Wait()
	w.calm.Store(true)
	for _, u := range all {
		u.stillIn(t)
	}
	t.Logf("the account of %v with %d users and %d instances, access tokens of %v:\n%s", *duration, *users, *instances, *lifetime, w.report())
	for _, v := range w.account.violations {
		t.Error(v)
	}
	if w.account.finalAlive.Load() == 0 || w.account.thefts.Load() == 0 || w.account.crashes.Load() == 0 {
		t.Error("too little happened")
	}
}

// live is a user's life: tabs or an app at work, and now and then an accident.
func live(ctx context.Context, u *user, r *rand.Rand) {
	pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/2))))
	u.login(ctx, r)
	var tabs sync.WaitGroup
	defer tabs.Wait()
	n := 1 + r.IntN(4)
	if u.native {
		n = 1
	}
	for range n {
		own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		tabs.Go(func() {
			if u.native {
				u.app(ctx, own)
			} else {
				u.tab(ctx, own)
			}
		})
	}
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(2*u.w.lifetime))))
		if ctx.Err() != nil {
			return
		}
		_, _, sid := u.state()
		switch chance := r.IntN(100); {
		case sid == "":
			u.login(ctx, r)
		case chance < 30 && !u.native:
			u.crash()
		case chance < 40:
			u.leave(ctx, r)
		case chance < 50:
			own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
			tabs.Go(func() { u.rob(ctx, own) })
		}
	}
}

// stillIn renews the session of an honest user once more, when all is over.
func (u *user) stillIn(t *testing.T) {
	_, jar, sid := u.state()
	if sid == "" {
		return
	}
	f := u.w.family(sid)
	if f.thief.Load() || f.ended.Load() {
		return
	}
	for range 100 {
		req := u.request("POST", "/auth/token/refresh", "", jar)
		if u.native {
			req = u.request("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil)
		}
		rec := httptest.NewRecorder()
		u.w.instances[0].handler.ServeHTTP(rec, req)
		switch rec.Code {
		case http.StatusOK:
			u.w.account.finalAlive.Add(1)
			return
		case http.StatusServiceUnavailable:
			pause(context.Background(), 20*time.Millisecond)
		default:
			u.w.account.violated("%s: at the end an honest session gets %d: %s", u.name, rec.Code, rec.Body)
			return
		}
	}
	t.Errorf("%s: no answer at the end", u.name)
}
