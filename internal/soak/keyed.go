package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A keyStore is what a browser keeps beside its cookies that binds its sessions to
// a key (W3C Device Bound Session Credentials). Its user's lock guards it.
type keyStore struct {
	sessions []*boundSession      // the oldest first, which is renewed
	ends     map[string]time.Time // of cookies
	renewing sync.Mutex           // one renewal at a time, whatever the number of tabs
}

// A boundSession is what the browser has of one session. The challenge and the
// proof are in its memory only; the key survives a crash.
type boundSession struct {
	key       *ecdsa.PrivateKey
	id        string
	challenge string
	over      string // the challenge of the newest proof
	proof     string // which is sent again while the challenge stays
	proven    bool   // an answer to a proof has arrived
}

const (
	keyPath      = "/auth/dbsc/"
	accessCookie = "__Host-access"
	needsProof   = "device_proof_required"
	notRenewed   = "not-renewed" // says that the session could not be renewed now
)

var (
	offerField     = regexp.MustCompile(`path="([^"]+)";challenge="([^"]+)"`)
	challengeField = regexp.MustCompile(`^"([^"]+)";id="([^"]+)"$`)
)

func newBoundSession() *boundSession {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &boundSession{key: key}
}

// sign makes a proof over a challenge.
func (b *boundSession) sign(jwk, challenge string) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(`{"alg":"ES256"`+jwk+`,"typ":"dbsc+jwt"}`)) + "." + enc(fmt.Appendf(nil, `{"jti":%q}`, challenge))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, b.key, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + enc(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// registration is the proof that brings the key.
func (b *boundSession) registration(ticket string) string {
	point, err := b.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return b.sign(fmt.Sprintf(`,"jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, enc(point[1:33]), enc(point[33:])), ticket)
}

// newest is the proof for a refresh; "" without a challenge.
func (b *boundSession) newest() string {
	if b.challenge != "" && b.over != b.challenge {
		b.over, b.proof = b.challenge, b.sign("", b.challenge)
	}
	return b.proof
}

// isIdentifier reports whether a refresh cookie names a session that is bound.
func isIdentifier(value string) bool { return strings.HasPrefix(value, "S") } // 'K' in base64

// take keeps what an answer says of keys and of the life of cookies; the user is
// locked.
func (k *keyStore) take(res *http.Response) {
	for _, c := range res.Cookies() {
		if delete(k.ends, c.Name); c.MaxAge > 0 {
			k.ends[c.Name] = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		}
	}
	if m := challengeField.FindStringSubmatch(res.Header.Get("Secure-Session-Challenge")); m != nil {
		for _, b := range k.sessions {
			if b.id == m[2] {
				b.challenge = m[1]
			}
		}
	}
	if strings.Contains(res.Header.Get("Clear-Site-Data"), `"storage"`) {
		k.sessions = nil
	}
}

// expire forgets the cookies whose time is over; the user is locked.
func (u *user) expire() {
	for name, end := range u.keys.ends {
		if time.Now().After(end) {
			delete(u.jar, name)
			delete(u.keys.ends, name)
		}
	}
}

// registerKey answers the offer of a sign-in: once, or never, or again with the
// same key because the answer got lost.
func (u *user) registerKey(life context.Context, r *mathrand.Rand, sid, offer string) {
	m := offerField.FindStringSubmatch(offer)
	if m == nil {
		u.w.account.violated("%s: no key is asked for: %q", u.name, offer)
		return
	}
	b := newBoundSession()
	proof := b.registration(m[2])
	for range []int{0, 1, 1, 1, 1, 2}[r.IntN(6)] {
		_, jar, _ := u.state()
		req := u.request("POST", m[1], "", jar)
		req.Header.Set("Sec-Fetch-Mode", "no-cors")
		req.Header.Set("Secure-Session-Response", proof)
		res, ok := u.w.exchange(life, r, u.w.any(r), sid, req)
		if !ok {
			continue
		}
		var config struct {
			ID string `json:"session_identifier"`
		}
		switch {
		case res.StatusCode >= 500, u.w.family(sid).asked.Load(), u.w.family(sid).over():
		case res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&config) != nil:
			u.w.account.violated("%s: a registration got %d", u.name, res.StatusCode)
		}
		if config.ID != "" {
			u.mu.Lock()
			if life.Err() == nil && life == u.life && !slices.ContainsFunc(u.keys.sessions, func(o *boundSession) bool { return o.id == config.ID }) {
				b.id = config.ID
				u.keys.sessions = append(u.keys.sessions, b)
			}
			u.mu.Unlock()
			u.keep(life, res)
			return
		}
	}
	u.w.account.unregistered.Add(1)
}

// oldest is the session that the browser renews, nil when it has none; how long
// the access cookie lasts; and whether it is to be renewed beside the next request.
func (u *user) oldest() (b *boundSession, left time.Duration, soon bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.keys.sessions) == 0 {
		return nil, 0, false
	}
	u.expire()
	if b = u.keys.sessions[0]; u.jar[accessCookie] != "" {
		left = time.Until(u.keys.ends[accessCookie])
	}
	return b, left, left < u.w.lifetime/5 || !b.proven
}

// hold renews the session before a request, as a browser does when the access
// cookie is gone, and beside it when that has not long to go, or the session was
// never proven. It returns why it could not.
func (u *user) hold(life context.Context, r *mathrand.Rand) (skipped string) {
	b, left, soon := u.oldest()
	switch {
	case b == nil:
		return ""
	case left > 0 && soon && u.keys.renewing.TryLock():
		own := mathrand.New(mathrand.NewPCG(r.Uint64(), r.Uint64()))
		u.w.probes.Go(func() {
			defer u.keys.renewing.Unlock()
			u.renewByKey(life, own, b)
		})
		return ""
	case left > 0:
		return ""
	}
	u.keys.renewing.Lock()
	defer u.keys.renewing.Unlock()
	if b, left, _ = u.oldest(); b == nil || left > 0 {
		return ""
	}
	return u.renewByKey(life, r, b)
}

// renewByKey asks for a renewal, and signs what it is asked to.
func (u *user) renewByKey(life context.Context, r *mathrand.Rand, b *boundSession) (skipped string) {
	for range 4 {
		_, jar, sid := u.state()
		res, ok := u.w.exchange(life, r, u.w.any(r), sid, u.proving(b, jar))
		if !ok {
			return "unreachable"
		}
		u.keep(life, res)
		switch {
		case res.StatusCode == http.StatusForbidden:
		case res.StatusCode >= 500:
			u.w.account.violated("%s: a signed renewal got %d: browsers stop asking", u.name, res.StatusCode)
			return "server_error"
		case res.StatusCode >= 400:
			u.forget(b)
			return ""
		default:
			u.mu.Lock()
			b.proven = b.proven || isIdentifier(u.jar["__Host-refresh"])
			u.mu.Unlock()
			u.w.account.signed.Add(1)
			return ""
		}
	}
	u.w.account.violated("%s: was asked to sign four times", u.name)
	u.forget(b)
	return ""
}

// proving is a request for a renewal.
func (u *user) proving(b *boundSession, jar map[string]string) *http.Request {
	req := u.request("POST", keyPath+"refresh", "", jar)
	req.Header.Set("Sec-Fetch-Mode", "no-cors")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	u.mu.Lock()
	defer u.mu.Unlock()
	req.Header.Set("Sec-Secure-Session-Id", b.id)
	if proof := b.newest(); proof != "" {
		req.Header.Set("Secure-Session-Response", proof)
	}
	return req
}

func (u *user) forget(b *boundSession) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keys.sessions = slices.DeleteFunc(u.keys.sessions, func(o *boundSession) bool { return o == b })
}

// keyedTab makes requests until ctx ends: by scripts, typed, and by links from
// other sites, for which the browser renews nothing.
func (u *user) keyedTab(ctx context.Context, r *mathrand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime/4))))
		life, _, sid := u.state()
		if sid == "" || ctx.Err() != nil {
			continue
		}
		site, mode := []string{"same-origin", "none", "cross-site"}[r.IntN(3)], "navigate"
		if site == "same-origin" && r.IntN(3) > 0 {
			mode = "cors"
		}
		for range 3 {
			again := u.keyedRequest(life, r, sid, site, mode)
			if !again || ctx.Err() != nil {
				break
			}
			site = "same-origin" // the page that comes back by itself
		}
	}
}

// keyedRequest is one request, and reports whether the browser was told to repeat it.
func (u *user) keyedRequest(life context.Context, r *mathrand.Rand, sid, site, mode string) (again bool) {
	var skipped string
	if site != "cross-site" {
		skipped = u.hold(life, r)
	}
	_, jar, now := u.state()
	switch {
	case now != sid:
		return false
	case len(jar) == 0 && site == "cross-site":
		// Nobody can tell such a browser, which a crash has left its key alone, from
		// one that never signed in: a link leads to the sign-in page. See
		// docs/device-bound.md.
		return false
	}
	req := u.request("GET", "/api", "", jar)
	req.Header.Set("Sec-Fetch-Site", site)
	req.Header.Set("Sec-Fetch-Mode", mode)
	if mode == "navigate" {
		req.Header.Set("Sec-Fetch-Dest", "document")
		req.Header.Set("Accept", "text/html")
	}
	says(req, jar, skipped)
	in := u.w.any(r)
	clock := in.offset.Load()
	began := in.now()
	res, ok := u.w.exchange(life, r, in, sid, req)
	if !ok {
		return false
	}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 && c.Name != accessCookie {
			u.w.account.violated("%s: cookies of session %s were deleted", u.name, sid)
		}
	}
	u.keep(life, res)
	switch {
	case res.StatusCode == http.StatusNoContent:
		if !isIdentifier(jar["__Host-refresh"]) {
			u.prove(in, clock, began, sid, jar[accessCookie])
		}
	case res.StatusCode == http.StatusServiceUnavailable:
	case res.StatusCode == http.StatusUnauthorized && asksForProof(res):
		u.w.account.renewFirst.Add(1)
		return true
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusSeeOther:
		u.signedOut(sid)
	default:
		u.w.account.violated("%s: status %d", u.name, res.StatusCode)
	}
	return false
}

// says tells the server of a request that was held back in vain.
func says(req *http.Request, jar map[string]string, skipped string) {
	if skipped != "" && jar[accessCookie] == "" {
		req.Header.Set("Secure-Session-Skipped", skipped)
	}
}

// asksForProof reports whether an answer says that the browser has to renew the
// session first: in so many words, or as a page that comes back by itself.
func asksForProof(res *http.Response) bool {
	return strings.Contains(res.Header.Get("WWW-Authenticate"), needsProof) || strings.HasPrefix(res.Header.Get("Content-Type"), "text/html")
}

// robBound lets a thief with all cookies of a bound session try what he can, on
// any instance and at any time: nothing opens, and the owner does not feel it.
func (u *user) robBound(ctx context.Context, r *mathrand.Rand, jar map[string]string) {
	u.w.account.boundThefts.Add(1)
	t := newUser(u.w, u.name, false)
	own := newBoundSession()
	own.id = jar["__Host-refresh"]
	delete(jar, accessCookie) // which is good until it runs out
	for range 8 {
		pause(ctx, time.Duration(r.Int64N(int64(u.w.lifetime))))
		if ctx.Err() != nil {
			return
		}
		req := t.request("POST", "/auth/token/refresh", "", jar)
		switch chance := r.IntN(3); chance {
		case 0:
			req = t.proving(own, jar)
		case 1:
			req = t.request("GET", "/api", "", jar)
			req.Header.Set("Sec-Fetch-Site", []string{"same-origin", "none", "cross-site"}[r.IntN(3)])
			req.Header.Set("Sec-Fetch-Mode", "navigate")
			req.Header.Set("Sec-Fetch-Dest", "document")
		}
		rec := httptest.NewRecorder()
		u.w.any(r).handler.ServeHTTP(rec, req.WithContext(ctx))
		if m := challengeField.FindStringSubmatch(rec.Header().Get("Secure-Session-Challenge")); m != nil {
			own.challenge = m[1] // and he signs it, with a key of his own
		}
		if ctx.Err() == nil && rec.Code < 300 {
			u.w.account.violated("%s: a thief without the key got %d for %s", u.name, rec.Code, req.URL.Path)
		}
		u.w.account.boundTries.Add(1)
	}
}

// probeKeys tries the keys of a session that was ended, on every instance.
func (u *user) probeKeys(ctx context.Context, sid string, sessions []*boundSession, jar map[string]string) {
	for _, b := range sessions {
		for _, in := range u.w.instances {
			for range 2 { // the first may ask for a newer signature
				rec := httptest.NewRecorder()
				in.handler.ServeHTTP(rec, u.proving(b, jar).WithContext(ctx))
				for _, c := range rec.Result().Cookies() {
					if c.MaxAge > 0 && c.Value != notRenewed {
						u.w.account.violated("%s: session %s was ended, and its key renews it", u.name, sid)
					}
				}
				if m := challengeField.FindStringSubmatch(rec.Header().Get("Secure-Session-Challenge")); m != nil && m[2] == b.id {
					u.mu.Lock()
					b.challenge = m[1]
					u.mu.Unlock()
				}
			}
			u.w.account.revokedProbes.Add(1)
		}
	}
}

// renewsByKey renews the session once more by its key. It is false when the
// browser has no key for it.
func (u *user) renewsByKey() bool {
	r := mathrand.New(mathrand.NewPCG(u.w.options.seed, 3))
	for deadline := time.Now().Add(closing); time.Now().Before(deadline); pause(context.Background(), 20*time.Millisecond) {
		b, _, _ := u.oldest()
		if b == nil {
			return false
		}
		u.mu.Lock()
		delete(u.jar, accessCookie)
		life, sid := u.life, u.sid
		u.mu.Unlock()
		u.renewByKey(life, r, b)
		if _, jar, _ := u.state(); jar[accessCookie] != "" && jar[accessCookie] != notRenewed {
			if c := read(jar[accessCookie]); c.session == sid {
				return true
			}
		}
	}
	return false
}
