package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// A thief has copied a client's tokens. He presents the refresh token when he
// pleases, and what he gets for it, for as long as it works.
type thief struct {
	*user
	family     *trackedSession
	generation uint32
	out        bool // he was refused
}

// rob lets a thief copy the client's tokens: with all that the fingerprint is
// made of, or without what names the device.
func (u *user) rob(ctx context.Context, r *rand.Rand) {
	_, jar, sid := u.state()
	if sid == "" {
		return
	}
	if isIdentifier(jar["__Host-refresh"]) {
		u.robBound(ctx, r, jar)
		return
	}
	t := &thief{user: newUser(u.w, u.name, u.native), family: u.w.family(sid), generation: generationOf(jar)}
	t.jar, t.sid = jar, sid
	if r.IntN(4) == 0 {
		t.foreign()
		pause(ctx, time.Duration(r.Int64N(int64(2*u.w.lifetime))))
		t.presentForeign(ctx, r)
		return
	}
	if t.family.asked.Load() || t.family.thief.Swap(true) {
		return
	}
	u.w.account.thefts.Add(1)
	u.w.mu.Lock()
	u.w.thieves = append(u.w.thieves, t)
	u.w.mu.Unlock()
	pause(ctx, time.Duration(r.Int64N(int64(2*u.w.lifetime))))
	for ctx.Err() == nil && !t.out {
		if t.present(ctx, u.w.any(r)) {
			pause(ctx, u.w.lifetime/2+time.Duration(r.Int64N(int64(2*u.w.lifetime))))
		} else {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// ask presents the refresh token.
func (t *thief) ask(ctx context.Context, in *instance) *httptest.ResponseRecorder {
	_, jar, _ := t.state()
	req := t.request("POST", "/auth/token/refresh", "", jar)
	if t.native {
		req = t.request("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, jar["refresh"]), nil)
	}
	rec := httptest.NewRecorder()
	in.handler.ServeHTTP(rec, req.WithContext(ctx))
	return rec
}

// refusal is the status of a final refusal: RFC 6749 section 5.2 for what came
// in a body, 401 for cookies.
func (t *thief) refusal() int {
	if t.native {
		return http.StatusBadRequest
	}
	return http.StatusUnauthorized
}

// present presents the refresh token once. It is false when there was no answer.
func (t *thief) present(ctx context.Context, in *instance) bool {
	_, settled := t.family.marks()
	stale := settled.generation > t.generation && t.w.failovers.kept(settled)
	ended := t.family.ended.Load()
	bound, ok := t.family.boundAt()
	rec := t.ask(ctx, in)
	if ctx.Err() != nil {
		return false
	}
	switch rec.Code {
	case http.StatusOK:
		switch {
		case stale && t.w.failovers.kept(settled):
			t.w.account.violated("%s: a thief renewed with generation %d after %d had settled", t.name, t.generation, settled.generation)
		case ok && t.w.failovers.kept(bound):
			t.w.account.violated("%s: a thief with a token of before renewed a session that is bound", t.name)
		case ended:
			t.w.account.violated("%s: a thief renewed a session that its user had ended", t.name)
		}
		t.w.account.thiefRefreshes.Add(1)
		if t.native {
			t.mu.Lock()
			t.keepPair(rec.Result())
			t.mu.Unlock()
		} else {
			t.keep(t.life, rec.Result())
		}
		t.generation++
	case http.StatusServiceUnavailable:
		return false
	case t.refusal():
		t.out = true
		if stale {
			t.w.account.tooLate.Add(1)
		}
	default:
		t.out = true
		t.w.account.violated("%s: status %d for a thief", t.name, rec.Code)
	}
	return true
}

// foreign takes what names the device from the thief.
func (t *thief) foreign() {
	t.agent = "Chrome/140.0"
	for _, name := range []string{"__Host-device", "device"} {
		delete(t.jar, name)
	}
	t.nameless = true
}

// presentForeign presents the refresh token from another device, until it is
// answered. Its owner must not feel it.
func (t *thief) presentForeign(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		switch rec := t.ask(ctx, t.w.any(r)); {
		case ctx.Err() != nil:
			return
		case rec.Code == t.refusal():
			t.w.account.foreign.Add(1)
			return
		case rec.Code != http.StatusServiceUnavailable:
			t.w.account.violated("%s: status %d for a thief without the fingerprint", t.name, rec.Code)
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// generationOf reads the generation out of a refresh token (docs/protocol.md).
func generationOf(jar map[string]string) uint32 {
	for _, name := range []string{"__Host-refresh", "refresh"} {
		if b, err := base64.RawURLEncoding.DecodeString(jar[name]); err == nil && len(b) > 22 {
			return binary.BigEndian.Uint32(b[18:])
		}
	}
	return 0
}

// An accessToken is what an access token says.
type accessToken struct {
	session         string
	generation      uint32
	issued, expires time.Time
}

// read decodes an access token; the zero accessToken when it cannot.
func read(token string) accessToken {
	var c struct {
		Session    string `json:"sid"`
		Generation uint32 `json:"gen"`
		Issued     int64  `json:"iat"`
		IssuedMS   int64  `json:"iat_ms"`
		Expires    int64  `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return accessToken{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &c) != nil {
		return accessToken{}
	}
	return accessToken{c.Session, c.Generation, time.Unix(c.Issued, c.IssuedMS*1e6), time.Unix(c.Expires, 0)}
}
