package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// status returns what GET /auth/session says; nil without a session.
func (a *answer) status(t testing.TB) map[string]any {
	t.Helper()
	var body map[string]map[string]any
	if err := json.Unmarshal([]byte(a.text), &body); err != nil || len(body) != 1 {
		t.Fatalf("%s", a.text)
	}
	return body["session"]
}

func TestSessionEndpoint(t *testing.T) {
	base := serveDemo(t, "-access-ttl", "1s", "-idle", "1h", "-absolute", "2h")
	b := newBrowser(t, base)
	if st := b.want(200, "", "GET", "/auth/session", "").status(t); st != nil {
		t.Errorf("signed out: %v", st)
	}
	id := b.signIn("bob", "builder").member("session_id")
	before := b.cookies["__Host-refresh"]
	for _, name := range []string{"valid", "expired", "refresh cookie alone"} {
		switch name {
		case "expired":
			expired(t, b)
		case "refresh cookie alone":
			delete(b.cookies, "__Host-access")
		}
		a := b.want(200, "", "GET", "/auth/session", "")
		st := a.status(t)
		if st["subject"] != "bob" || st["session_id"] != id || st["device_bound"] != false || len(st["roles"].([]any)) != 0 || len(st) != 8 {
			t.Errorf("%s: %s", name, a.text)
		}
		if idle, all := st["idle_expires_in"].(float64), st["session_expires_in"].(float64); idle > 3700 || idle < 3500 || all > 7200 || all < 7100 {
			t.Errorf("%s: %s", name, a.text)
		}
		if len(a.Cookies()) > 0 || b.cookies["__Host-refresh"] != before || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, a.Header)
		}
	}
	n := newBrowser(t, base)
	p := n.bodyLogin("alice", "wonderland")
	if st := n.want(200, "", "GET", "/auth/session", "", "Authorization: Bearer "+p.AccessToken).status(t); st["subject"] != "alice" || len(st["roles"].([]any)) != 1 {
		t.Errorf("%v", st)
	}
	if st := n.want(200, "", "GET", "/auth/session", "", "Authorization: Bearer junk").status(t); st != nil {
		t.Errorf("junk: %v", st)
	}
	if a := b.want(200, "", "HEAD", "/auth/session", ""); a.text != "" {
		t.Errorf("HEAD: %q", a.text)
	}
	b.want(405, "invalid_request", "POST", "/auth/session", "")
	b.want(204, "", "POST", "/auth/logout", "")
	if st := b.want(200, "", "GET", "/auth/session", "").status(t); st != nil {
		t.Errorf("after the logout: %v", st)
	}
}

func TestReauthenticate(t *testing.T) {
	base := serveDemo(t)
	b, n, admin := newBrowser(t, base), newBrowser(t, base), newBrowser(t, base)
	id := b.signIn("bob", "builder").member("session_id")
	admin.signIn("alice", "wonderland")
	authTime := func(b *browser, headers ...string) float64 {
		return b.want(200, "", "GET", "/api/me", "", headers...).member("auth_time").(float64)
	}
	before := authTime(b)
	old := b.clone(base)
	nextSecond()

	newBrowser(t, base).want(401, "", "POST", "/api/reauthenticate", `{"password":"builder"}`)
	b.want(403, "invalid_credentials", "POST", "/api/reauthenticate", `{"password":"wrong"}`)
	b.want(403, "invalid_credentials", "POST", "/api/reauthenticate", `{}`)
	b.want(403, "cross_origin", "POST", "/api/reauthenticate", `{"password":"builder"}`, "Sec-Fetch-Site: cross-site")
	b.want(400, "invalid_request", "POST", "/api/reauthenticate", `{`)
	b.want(400, "invalid_request", "POST", "/api/reauthenticate", `{"password":"builder","password":"x"}`)
	b.want(413, "invalid_request", "POST", "/api/reauthenticate", `{"password":"`+strings.Repeat("x", 20<<10)+`"}`)
	b.want(415, "invalid_request", "POST", "/api/reauthenticate", "password=builder")
	if now := authTime(b); now != before {
		t.Errorf("auth_time moved from %v to %v", before, now)
	}
	a := b.want(200, "", "POST", "/api/reauthenticate", `{"password":"builder"}`)
	if a.member("session_id") != id || a.member("access_token") != nil || len(a.Cookies()) != 2 || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, cookies %v", a.text, a.Cookies())
	}
	fresh := authTime(b)
	if fresh <= before {
		t.Errorf("auth_time %v after %v", fresh, before)
	}
	b.want(200, "", "POST", "/auth/token/refresh", "")
	if now := authTime(b); now != fresh {
		t.Errorf("a renewal moved auth_time from %v to %v", fresh, now)
	}
	old.want(200, "", "POST", "/auth/token/refresh", "")
	if now := authTime(old); now != before {
		t.Errorf("an older refresh token has auth_time %v, not the login's %v", now, before)
	}

	p := n.bodyLogin("carol", "keyboard")
	nextSecond()
	bearer := "Authorization: Bearer " + p.AccessToken
	a = n.want(200, "", "POST", "/api/reauthenticate", `{"password":"keyboard"}`, bearer, "Sec-Fetch-Site: cross-site")
	next := a.pair(t)
	if len(a.Cookies()) > 0 || next.SessionID != p.SessionID || next.AccessToken == p.AccessToken || next.RefreshToken == p.RefreshToken {
		t.Errorf("%s", a.text)
	}
	if authTime(n, "Authorization: Bearer "+next.AccessToken) <= authTime(n, bearer) {
		t.Error("auth_time did not move")
	}

	admin.want(204, "", "POST", "/admin/users/bob/deactivate", "")
	b.want(401, "", "POST", "/api/reauthenticate", `{"password":"builder"}`)
	admin.want(204, "", "POST", "/admin/users/bob/activate", "")
}

// nextSecond waits for auth_time to be able to move.
func nextSecond() {
	for began := time.Now().Unix(); time.Now().Unix() == began; {
		nextMillisecond()
	}
}

func TestDeviceName(t *testing.T) {
	base := serveDemo(t)
	b, other := newBrowser(t, base), newBrowser(t, base)
	b.signIn("bob", "builder")
	other.signIn("bob", "builder")
	b.want(400, "invalid_request", "POST", "/api/device", `{"name":"`+strings.Repeat("x", 61)+`"}`)
	b.want(400, "invalid_request", "POST", "/api/device", `{"name":"a\nb"}`)
	newBrowser(t, base).want(401, "", "POST", "/api/device", `{"name":"x"}`)
	b.want(403, "cross_origin", "POST", "/api/device", `{"name":"x"}`, "Sec-Fetch-Site: cross-site")
	if a := b.want(200, "", "POST", "/api/device", `{"name":" Küche "}`); len(a.Cookies()) != 1 || a.member("access_token") != nil {
		t.Errorf("%s, cookies %v", a.text, a.Cookies())
	}
	if a := other.want(200, "", "GET", "/auth/sessions", ""); strings.Count(a.text, `"data":"Küche"`) != 1 {
		t.Error(a.text)
	}
	b.want(200, "", "GET", "/api/me", "")
	b.want(200, "", "POST", "/auth/token/refresh", "")
}

func TestImpersonation(t *testing.T) {
	base := serveDemo(t)
	alice, bob := newBrowser(t, base), newBrowser(t, base)
	alice.signIn("alice", "wonderland")
	bob.signIn("bob", "builder")
	const reason = `{"reason":"ticket 7"}`

	bob.want(403, "insufficient_scope", "POST", "/admin/users/carol/impersonate", reason)
	newBrowser(t, base).want(401, "", "POST", "/admin/users/carol/impersonate", reason)
	alice.want(403, "cross_origin", "POST", "/admin/users/bob/impersonate", reason, "Sec-Fetch-Site: cross-site")
	alice.want(404, "not_found", "POST", "/admin/users/mallory/impersonate", reason)
	alice.want(400, "invalid_request", "POST", "/admin/users/alice/impersonate", reason)
	alice.want(400, "invalid_request", "POST", "/admin/users/bob/impersonate", `{}`)
	alice.want(400, "invalid_request", "POST", "/admin/users/bob/impersonate", `{"reason":"a\nb"}`)
	alice.want(400, "invalid_request", "POST", "/admin/users/bob/impersonate", `{"reason":"x","transport":"y"}`)
	alice.want(204, "", "POST", "/admin/users/carol/deactivate", "")
	alice.want(403, "access_denied", "POST", "/admin/users/carol/impersonate", reason)
	alice.want(204, "", "POST", "/admin/users/carol/activate", "")
	alice.want(200, "", "GET", "/api/admin", "")

	own := alice.clone(base)
	if a := alice.want(200, "", "POST", "/admin/users/bob/impersonate", reason); a.member("access_token") != nil {
		t.Error(a.text)
	}
	if a := alice.want(200, "", "GET", "/api/me", ""); a.member("subject") != "bob" {
		t.Error(a.text)
	}
	own.want(401, "", "GET", "/api/me", "") // the browser had one session, and has another now
	if st := alice.want(200, "", "GET", "/auth/session", "").status(t); st["actor"] != "alice" || st["session_expires_in"].(float64) > 3600 {
		t.Errorf("%v", st)
	}
	alice.want(200, "", "POST", "/auth/token/refresh", "")
	if page := alice.want(200, "", "GET", "/", ""); !strings.Contains(page.text, "you act for bob") {
		t.Error("the page does not say so")
	}
	for _, path := range []string{"/api/password", "/api/reauthenticate", "/api/transfer", "/auth/logout-all"} {
		alice.want(403, "access_denied", "POST", path, `{"old":"builder","new":"x","password":"builder"}`)
	}
	alice.want(403, "insufficient_scope", "POST", "/admin/users/carol/impersonate", reason)
	if a := bob.want(200, "", "GET", "/auth/sessions", ""); strings.Count(a.text, `"actor":"alice","reason":"ticket 7"`) != 1 {
		t.Error(a.text)
	}
	// The user ends it.
	id := alice.want(200, "", "GET", "/api/me", "").member("session_id").(string)
	bob.want(204, "", "DELETE", "/auth/sessions/"+id, "")
	alice.want(401, "", "GET", "/api/me", "")
	bob.want(200, "", "GET", "/api/me", "")

	n := newBrowser(t, base)
	p := n.bodyLogin("alice", "wonderland")
	a := n.want(200, "", "POST", "/admin/users/bob/impersonate", `{"reason":"ticket 8","transport":"body"}`, "Authorization: Bearer "+p.AccessToken)
	if len(a.Cookies()) > 0 {
		t.Error("body mode sets cookies")
	}
	if me := n.want(200, "", "GET", "/api/me", "", "Authorization: Bearer "+a.pair(t).AccessToken); me.member("subject") != "bob" {
		t.Error(me.text)
	}
	n.want(200, "", "GET", "/api/me", "", "Authorization: Bearer "+p.AccessToken) // which goes on
}

// What one instance writes of a session, another reads, from one Redis.
func TestSessionsOnTwoInstances(t *testing.T) {
	server := redistest.Start(t)
	args := []string{"-redis", "redis://" + server.Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem")}
	one, two := serveDemo(t, args...), serveDemo(t, args...)
	b := newBrowser(t, one)
	b.signIn("bob", "builder")
	before := b.want(200, "", "GET", "/api/me", "").member("auth_time").(float64)
	old := b.clone(two)
	nextSecond()
	b.want(200, "", "POST", "/api/reauthenticate", `{"password":"builder"}`)
	b.want(200, "", "POST", "/api/device", `{"name":"Küche"}`)
	there := b.clone(two)
	there.want(200, "", "POST", "/auth/token/refresh", "")
	if now := there.want(200, "", "GET", "/api/me", "").member("auth_time").(float64); now <= before {
		t.Errorf("auth_time %v after %v", now, before)
	}
	old.want(200, "", "POST", "/auth/token/refresh", "")
	if now := old.want(200, "", "GET", "/api/me", "").member("auth_time").(float64); now != before {
		t.Errorf("an older refresh token: auth_time %v, not %v", now, before)
	}
	alice := newBrowser(t, two)
	alice.signIn("alice", "wonderland")
	alice.want(200, "", "POST", "/admin/users/bob/impersonate", `{"reason":"ticket 7"}`)
	alice.want(200, "", "POST", "/auth/token/refresh", "")
	if list := b.want(200, "", "GET", "/auth/sessions", "").text; strings.Count(list, `"data":"Küche"`) != 1 || strings.Count(list, `"actor":"alice","reason":"ticket 7"`) != 1 {
		t.Error(list)
	}
	if st := alice.clone(one).want(200, "", "GET", "/auth/session", "").status(t); st["actor"] != "alice" {
		t.Errorf("%v", st)
	}
	server.Kill()
	if a := b.do("GET", "/auth/session", ""); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("without Redis: %v", a)
	}
	if a := b.do("POST", "/api/device", `{"name":"x"}`); a.StatusCode != 503 || len(a.Cookies()) > 0 {
		t.Errorf("without Redis: %v", a)
	}
}
