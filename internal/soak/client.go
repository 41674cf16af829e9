package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// A user has one browser with several tabs, or one native app.
type user struct {
	w        *world
	name     string
	native   bool
	agent    string
	nameless bool // names no device
	habits   habits

	mu       sync.Mutex
	jar      map[string]string // cookies, or "access" and "refresh"
	sid      string
	disk     []snapshot // what a crash may bring back
	life     context.Context
	end      context.CancelFunc // ends the requests of this life of the browser
	signedIn time.Time
	keys     keyStore
}

// habits are what one client does differently from others.
type habits struct {
	eager     bool // renews whenever it likes
	fickle    bool // calls itself now a phone and now a desktop
	encoded   bool // something on the way encodes its cookies again
	forgetful bool // signs in without "remember me"
	streaming bool // keeps a stream open
	keyed     bool // binds its sessions to a key, if it is a browser
}

// habitsOf draws a client's habits from its name, so that the thief who copies it
// behaves as it does.
func habitsOf(name string) habits {
	h := fnv.New32a()
	h.Write([]byte(name))
	n := h.Sum32()
	return habits{eager: n%4 == 0, fickle: n/4%5 == 0, encoded: n/20%5 == 0, forgetful: n/100%3 == 0, streaming: n/300%3 == 0, keyed: n/900%3 == 0}
}

// encodeAgain spells a cookie's value as frameworks do that know no better.
func encodeAgain(value string) string {
	return strings.NewReplacer("-", "%2D", "_", "%5F", ".", "%2e").Replace(value)
}

type snapshot struct {
	at   time.Time
	jar  map[string]string
	ends map[string]time.Time
}

// state is what a request starts out with.
func (u *user) state() (context.Context, map[string]string, string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.expire()
	return u.life, maps.Clone(u.jar), u.sid
}

// keep stores what a response brought, unless the browser died meanwhile.
func (u *user) keep(life context.Context, res *http.Response) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if life.Err() != nil || life != u.life {
		return
	}
	cookies := res.Cookies()
	for _, c := range cookies {
		if c.MaxAge < 0 {
			delete(u.jar, c.Name)
		} else {
			u.jar[c.Name] = c.Value
		}
	}
	if u.habits.keyed {
		u.keys.take(res)
	}
	if len(cookies) > 0 {
		u.disk = append(u.disk, snapshot{time.Now(), maps.Clone(u.jar), maps.Clone(u.keys.ends)})
		if len(u.disk) > 32 {
			u.disk = u.disk[1:]
		}
	}
}

// crash kills the browser; it comes back with the cookies of a moment ago, or,
// where it has a key, with none at times.
func (u *user) crash(r *rand.Rand) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sid == "" || time.Since(u.signedIn) < u.w.crash() {
		return // what a crash takes back is a login: nothing to test
	}
	u.w.account.crashes.Add(1)
	u.end()
	u.life, u.end = context.WithCancel(context.Background())
	restored := time.Now().Add(-u.w.crash())
	for i := len(u.disk) - 1; i >= 0; i-- {
		if !u.disk[i].at.After(restored) || i == 0 {
			u.jar, u.keys.ends, u.disk = maps.Clone(u.disk[i].jar), maps.Clone(u.disk[i].ends), u.disk[:i+1]
			break
		}
	}
	for _, b := range u.keys.sessions {
		b.challenge, b.over, b.proof = "", "", ""
	}
	if len(u.keys.sessions) == 1 && u.keys.sessions[0].proven && !u.habits.forgetful && r.IntN(3) == 0 {
		u.w.account.emptied.Add(1)
		clear(u.jar)
	}
}

func (u *user) request(method, path, body string, jar map[string]string) *http.Request {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("User-Agent", u.agent)
	req.Header.Set("X-User", u.name)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if u.native {
		if !u.nameless {
			req.Header.Set("X-Device-ID", u.name)
		}
		return req
	}
	if u.habits.forgetful {
		req.Header.Set("X-Forget", "1")
	}
	for name, value := range jar {
		if u.habits.encoded {
			value = encodeAgain(value)
		}
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return req
}

// login signs in until it is answered.
func (u *user) login(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		life, jar, _ := u.state()
		res, ok := u.w.exchange(life, r, u.w.any(r), "", u.request("POST", "/login", "", jar))
		if !ok || res.StatusCode == http.StatusServiceUnavailable {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		if res.StatusCode != http.StatusOK {
			u.w.account.violated("%s: a login got %d", u.name, res.StatusCode)
			return
		}
		sid := res.Header.Get("X-Session")
		u.mu.Lock()
		u.disk = nil
		if u.native {
			sid = u.keepPair(res)
		}
		u.sid, u.signedIn = sid, time.Now()
		u.mu.Unlock()
		if sid == "" {
			u.w.account.violated("%s: a login without a session", u.name)
			return
		}
		u.keep(life, res)
		u.w.family(sid)
		u.w.account.logins.Add(1)
		if u.habits.keyed {
			own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
			u.w.probes.Go(func() { u.registerKey(life, own, sid, res.Header.Get("Secure-Session-Registration")) })
		}
		return
	}
}

// keepPair stores a token pair; the user is locked.
func (u *user) keepPair(res *http.Response) string {
	var p struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Session string `json:"session_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || p.Refresh == "" {
		u.w.account.violated("%s: no token pair: %v", u.name, err)
		return ""
	}
	u.jar = map[string]string{"access": p.Access, "refresh": p.Refresh}
	return p.Session
}

// tab makes requests until ctx ends.
func (u *user) tab(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/4))))
		life, jar, sid := u.state()
		if sid == "" || ctx.Err() != nil {
			continue
		}
		req := u.request("GET", "/api", "", jar)
		switch {
		case u.habits.eager && r.IntN(3) == 0:
			req = u.request("POST", "/auth/token/refresh", "", jar)
			u.w.account.eager.Add(1)
		case r.IntN(20) == 0:
			req.Header.Set("X-Work", (u.w.settle() / time.Duration(1+r.IntN(8))).String())
		case r.IntN(100) == 0: // longer than it takes to settle
			req.Header.Set("X-Work", (u.w.settle() * 3 / 2).String())
		}
		if u.habits.fickle && r.IntN(2) == 0 {
			req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0")
		}
		in := u.w.any(r)
		clock := in.offset.Load()
		began := in.now()
		res, ok := u.w.exchange(life, r, in, sid, req)
		if !ok {
			continue
		}
		for _, c := range res.Cookies() {
			if c.MaxAge < 0 {
				u.w.account.violated("%s: cookies of session %s were deleted", u.name, sid)
			}
		}
		switch res.StatusCode {
		case http.StatusNoContent:
			u.prove(in, clock, began, sid, jar["__Host-access"])
			u.keep(life, res)
		case http.StatusOK: // a renewal that nothing called for
			u.keep(life, res)
		case http.StatusServiceUnavailable:
		case http.StatusUnauthorized:
			u.signedOut(sid)
		default:
			u.w.account.violated("%s: status %d", u.name, res.StatusCode)
		}
	}
}

// app is what a native client does: it renews by itself when the access token
// is refused, one renewal at a time, and tries again with the same token until
// it is answered.
func (u *user) app(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/4))))
		life, jar, sid := u.state()
		if sid == "" || ctx.Err() != nil {
			continue
		}
		req := u.request("GET", "/api", "", nil)
		req.Header.Set("Authorization", "Bearer "+jar["access"])
		in := u.w.any(r)
		clock := in.offset.Load()
		began := in.now()
		res, ok := u.w.exchange(life, r, in, sid, req)
		if !ok {
			continue
		}
		switch res.StatusCode {
		case http.StatusNoContent:
			u.prove(in, clock, began, sid, jar["access"])
			continue
		case http.StatusUnauthorized:
		default:
			u.w.account.violated("%s: status %d for an access token", u.name, res.StatusCode)
			continue
		}
		for ctx.Err() == nil {
			res, ok := u.w.exchange(life, r, u.w.any(r), sid, u.request("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil))
			if !ok || res.StatusCode == http.StatusServiceUnavailable {
				pause(ctx, 20*time.Millisecond)
				continue
			}
			switch res.StatusCode {
			case http.StatusOK:
				u.mu.Lock()
				if u.sid == sid {
					u.keepPair(res)
				}
				u.mu.Unlock()
			case http.StatusBadRequest:
				u.signedOut(sid)
			default:
				u.w.account.violated("%s: status %d for a renewal", u.name, res.StatusCode)
			}
			break
		}
	}
}

// prove notes that the kit has accepted an access token as old as the settle
// time, which says that the user keeps its generation. began is when the request
// was sent, by the clock of the instance, whose offset was clock. If it was set
// meanwhile, nobody knows how old the token was to it.
func (u *user) prove(in *instance, clock int64, began time.Time, sid, token string) {
	if in.offset.Load() != clock {
		return
	}
	c := read(token)
	if began.Sub(c.issued) >= u.w.settle() && in.now().Before(c.expires) {
		u.w.family(sid).prove(c.generation)
	}
}

// signedOut notes that a session was refused. That is right if its user ended
// it or a thief was there, and else what this program looks for.
func (u *user) signedOut(sid string) {
	f := u.w.family(sid)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sid != sid {
		return // an answer to an earlier session
	}
	f.refused.Store(true)
	u.sid, u.jar = "", map[string]string{}
}

// leave ends the session in one of three ways and checks that it is dead.
func (u *user) leave(ctx context.Context, r *rand.Rand) {
	life, jar, sid := u.state()
	if sid == "" {
		return
	}
	path, done := "/auth/logout", &u.w.account.logouts
	switch r.IntN(3) {
	case 0:
		path, done = "/auth/logout-all", &u.w.account.logoutsAll
	case 1:
		u.changePassword(ctx, r)
		return
	}
	u.w.family(sid).asked.Store(true)
	u.mu.Lock()
	keys := slices.Clone(u.keys.sessions)
	u.mu.Unlock()
	for ctx.Err() == nil {
		skipped := ""
		if u.habits.keyed {
			skipped = u.hold(life, r)
			_, jar, _ = u.state()
		}
		req := u.request("POST", path, "", jar)
		says(req, jar, skipped)
		if u.native {
			req.Header.Set("Authorization", "Bearer "+jar["access"])
			if path == "/auth/logout" {
				req = u.request("POST", path, fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil)
			}
		}
		res, ok := u.w.exchange(life, r, u.w.any(r), sid, req)
		if !ok || res.StatusCode == http.StatusServiceUnavailable || u.habits.keyed && asksForProof(res) {
			if ok {
				u.keep(life, res)
			}
			if life.Err() != nil {
				life, _, _ = u.state()
			}
			pause(ctx, 20*time.Millisecond)
			continue
		}
		switch res.StatusCode {
		case http.StatusNoContent:
			u.w.family(sid).ended.Store(true)
			done.Add(1)
			u.mu.Lock()
			u.keys.take(res)
			left := len(u.keys.sessions)
			u.mu.Unlock()
			if left > 0 && isIdentifier(jar["__Host-refresh"]) {
				u.w.account.violated("%s: signed out, and the browser keeps the key of the session", u.name)
			}
			u.probe(ctx, sid, jar)
			u.probeKeys(ctx, sid, keys, jar)
		case http.StatusUnauthorized: // an expired Bearer token, or somebody ended it before
		default:
			u.w.account.violated("%s: status %d for a logout", u.name, res.StatusCode)
		}
		break
	}
	u.mu.Lock()
	u.sid, u.jar = "", map[string]string{}
	u.mu.Unlock()
}

// changePassword ends the user's other sessions: a second browser's, that is
// opened for this.
func (u *user) changePassword(ctx context.Context, r *rand.Rand) {
	if u.native {
		return
	}
	life, jar, sid := u.state()
	other := newUser(u.w, u.name, false)
	other.login(ctx, r)
	_, stolen, otherID := other.state()
	if otherID == "" {
		return
	}
	u.w.family(otherID).asked.Store(true)
	for range 100 {
		skipped := ""
		if u.habits.keyed {
			skipped = u.hold(life, r)
			_, jar, _ = u.state()
		}
		req := u.request("POST", "/password", "", jar)
		says(req, jar, skipped)
		res, ok := u.w.exchange(life, r, u.w.any(r), sid, req)
		if ok {
			u.keep(life, res)
		}
		switch {
		case ok && u.habits.keyed && asksForProof(res):
		case ok && res.StatusCode == http.StatusNoContent:
			u.w.family(otherID).ended.Store(true)
			u.w.account.passwords.Add(1)
			u.probe(ctx, otherID, stolen)
			return
		case ok && res.StatusCode == http.StatusUnauthorized:
			u.signedOut(sid)
			return
		case ctx.Err() != nil || life.Err() != nil:
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// probe tries what was ended, on every instance: an acknowledged end is final.
func (u *user) probe(ctx context.Context, sid string, jar map[string]string) {
	access := jar["access"]
	if !u.native {
		access = jar["__Host-access"]
	}
	u.w.probes.Go(func() { u.probeAccess(ctx, sid, access) })
	u.w.probes.Go(func() { u.w.probeStreams(ctx, sid) })
	for _, in := range u.w.instances {
		req := u.request("POST", "/auth/token/refresh", "", jar)
		want := http.StatusUnauthorized
		if u.native {
			req = u.request("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil)
			want = http.StatusBadRequest
		}
		rec := httptest.NewRecorder()
		in.handler.ServeHTTP(rec, req.WithContext(ctx))
		switch rec.Code {
		case want:
			u.w.account.revokedProbes.Add(1)
		case http.StatusServiceUnavailable:
		default:
			u.w.account.violated("%s: session %s was ended, and its refresh token gets %d", u.name, sid, rec.Code)
		}
	}
}

// probeAccess: an instance whose feed works has heard of the end by now.
func (u *user) probeAccess(ctx context.Context, sid, token string) {
	expires := read(token).expires
	pause(ctx, staleAfter+time.Second)
	if ctx.Err() != nil {
		return
	}
	for _, in := range u.w.instances {
		if !in.now().Before(expires) || in.sessions.FeedStale() {
			continue
		}
		req := httptest.NewRequest("GET", "/api", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		in.handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusUnauthorized && in.now().Before(expires) && !in.sessions.FeedStale() {
			u.w.account.violated("%s: session %s was ended, and its access token gets %d", u.name, sid, rec.Code)
			continue
		}
		u.w.account.revokedAccess.Add(1)
	}
}

func newUser(w *world, name string, native bool) *user {
	u := &user{w: w, name: name, native: native, agent: "Firefox/142.0", habits: habitsOf(name), jar: map[string]string{}}
	u.habits.keyed = u.habits.keyed && !native
	u.keys.ends = make(map[string]time.Time)
	u.life, u.end = context.WithCancel(context.Background())
	return u
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
