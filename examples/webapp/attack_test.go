package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// A target is the demo on Redis, whose memory can be looked at.
type target struct {
	t      *testing.T
	base   string
	server *redistest.Server
}

func newTarget(t *testing.T, args ...string) *target {
	server := redistest.Start(t)
	return &target{t, serveDemo(t, append([]string{"-redis", "redis://" + server.Addr}, args...)...), server}
}

// memory is all that the store holds.
func (x *target) memory() string {
	keys := strings.Fields(x.server.Must("KEYS", "*"))
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %x\n", k, x.server.Must("DUMP", k))
	}
	return b.String()
}

// unharmed runs an attack, which must leave the store as it was.
func (x *target) unharmed(name string, attack func()) {
	x.t.Helper()
	before := x.memory()
	attack()
	if x.memory() != before {
		x.t.Errorf("%s changed the store", name)
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forgeries are tokens made from a good one, the public keys, and no secret.
// The names are those of the mistakes that they were made for elsewhere.
func forgeries(good, jwks string) map[string]string {
	parts := strings.Split(good, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var head struct{ Alg, Kid string }
	json.Unmarshal(raw, &head)
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	header := func(members string) string {
		return b64(`{` + members + `,"kid":"` + head.Kid + `","typ":"at+jwt"}`)
	}
	own := `"alg":"` + head.Alg + `"`
	mac := func(h, secret string) string {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write([]byte(h + "." + parts[1]))
		return h + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	var set struct{ Keys []map[string]any }
	json.Unmarshal([]byte(jwks), &set)
	jwk, _ := json.Marshal(set.Keys[0])
	x, _ := base64.RawURLEncoding.DecodeString(set.Keys[0]["x"].(string))
	root := b64(strings.Replace(string(payload), `"sub":"bob"`, `"sub":"alice"`, 1))
	hs := header(`"alg":"HS256"`)
	zero := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	return map[string]string{
		"CVE-2015-9235 alg none, no signature":              header(`"alg":"none"`) + "." + root + ".",
		"alg None, its signature kept":                      header(`"alg":"None"`) + "." + root + "." + parts[2],
		"alg empty":                                         header(`"alg":""`) + "." + root + "." + parts[2],
		"alg left out":                                      b64(`{"kid":"`+head.Kid+`","typ":"at+jwt"}`) + "." + root + "." + parts[2],
		"CVE-2022-29217 HMAC with the public key":           mac(hs, string(x)),
		"CVE-2024-33663 HMAC with the JWK":                  mac(hs, string(jwk)),
		"CVE-2026-33322 HMAC with the key set":              mac(hs, jwks),
		"HMAC with the empty secret (GHSA-869p-cjfg-cm3x)":  mac(hs, ""),
		"HMAC with a weak secret (CVE-2023-22463)":          mac(hs, "secret"),
		"CVE-2018-0114 a key of the forger's in the header": header(own+`,"jwk":`+string(jwk)) + "." + root + "." + parts[2],
		"CVE-2025-24976 a certificate chain in the header":  header(own+`,"x5c":["MIIB"]`) + "." + root + "." + parts[2],
		"CVE-2026-32301 a key URL in the header":            header(own+`,"jku":"http://127.0.0.1:1/jwks"`) + "." + root + "." + parts[2],
		"CVE-2026-41413 a certificate URL in the header":    header(own+`,"x5u":"http://127.0.0.1:1/x5u"`) + "." + root + "." + parts[2],
		"a key id that is a path":                           b64(`{`+own+`,"kid":"../../../../dev/null","typ":"at+jwt"}`) + "." + root + "." + parts[2],
		"a key id that is SQL":                              b64(`{`+own+`,"kid":"x' UNION SELECT 'a","typ":"at+jwt"}`) + "." + root + "." + parts[2],
		"CVE-2026-49998 an unknown key id":                  b64(`{`+own+`,"kid":"AAAA","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
		"CVE-2025-59420 an unknown critical extension":      header(own+`,"crit":["x"],"x":1`) + "." + parts[1] + "." + parts[2],
		"RFC 7797 unencoded payload":                        header(own+`,"b64":false,"crit":["b64"]`) + "." + parts[1] + "." + parts[2],
		"CVE-2026-41164 the type of an ID token":            b64(`{`+own+`,"kid":"`+head.Kid+`","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"CVE-2022-21449 a signature of zeros":               parts[0] + "." + root + "." + zero,
		"no signature":                                      parts[0] + "." + parts[1] + ".",
		"another subject under a good signature":            parts[0] + "." + root + "." + parts[2],
		"two segments":                                      parts[0] + "." + parts[1],
		"four segments":                                     good + ".x",
		"five segments, as encrypted tokens have":           header(`"alg":"dir","enc":"A128GCM"`) + "..AAAA.AAAA.AAAA",
		"padding": good + "==",
		"a second spelling of the signature's last bits (malleability)": parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + "B",
		"standard base64":            parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "+",
		"JSON serialisation":         b64(`{"payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`),
		"many dots (CVE-2025-30204)": strings.Repeat(".", 8000),
		"an alg twice":               b64(`{`+own+`,"alg":"none","kid":"`+head.Kid+`","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
		"a refresh token's shape":    b64(strings.Repeat("\x01", 100)),
		"nothing":                    "x",
	}
}

// TestForgedTokens presents every forgery in every place where a token can be
// presented: nobody is let in, and the store does not hear of it.
func TestForgedTokens(t *testing.T) {
	x := newTarget(t)
	bob := newBrowser(t, x.base)
	p := bob.bodyLogin("bob", "builder")
	jwks := bob.want(200, "", "GET", "/.well-known/jwks.json", "").text
	for name, forged := range forgeries(p.AccessToken, jwks) {
		n := newBrowser(t, x.base)
		x.unharmed(name, func() {
			if a := n.do("GET", "/api/me", "", "Authorization: Bearer "+forged); a.StatusCode != 401 || len(a.Cookies()) > 0 {
				t.Errorf("%s as a Bearer token: %d %s", name, a.StatusCode, a.text)
			}
			// CVE-2022-29165: what cannot be trusted is not shown either.
			if a := n.do("GET", "/api/public", "", "Authorization: Bearer "+forged); a.StatusCode != 200 || !strings.Contains(a.text, "null") {
				t.Errorf("%s where a session is optional: %d %s", name, a.StatusCode, a.text)
			}
			n.cookies["__Host-access"] = forged
			if a := n.do("GET", "/api/me", ""); a.StatusCode != 401 {
				t.Errorf("%s in the access cookie: %d", name, a.StatusCode)
			}
			if a := n.do("POST", "/auth/logout", ""); a.StatusCode != 204 {
				t.Errorf("%s at a logout: %d", name, a.StatusCode)
			}
			n.cookies = map[string]string{"__Host-refresh": forged}
			if a := n.do("GET", "/api/me", ""); a.StatusCode != 401 {
				t.Errorf("%s in the refresh cookie: %d", name, a.StatusCode)
			}
			n.cookies = map[string]string{}
			if a := n.do("POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, forged)); a.StatusCode != 400 || a.member("error") != "invalid_grant" {
				t.Errorf("%s as a refresh token: %d %s", name, a.StatusCode, a.text)
			}
		})
	}
	bob.want(200, "", "GET", "/api/me", "", "Authorization: Bearer "+p.AccessToken)
}

// TestTokensInURLs (CVE-2026-44883, CVE-2026-34969, CVE-2026-33620): a token in
// a query is nothing, and none is ever put into a redirect.
func TestTokensInURLs(t *testing.T) {
	b := newBrowser(t, serveDemo(t))
	p := b.bodyLogin("bob", "builder")
	for _, name := range []string{"access_token", "token", "jwt", "refresh_token", "session"} {
		b.want(401, "", "GET", "/api/me?"+name+"="+p.AccessToken, "")
	}
	b.want(401, "", "POST", "/auth/token/refresh?refresh_token="+p.RefreshToken, "")
	a := b.want(303, "", "POST", "/login", "username=bob&password=builder&return_to=%2Faccount")
	for _, c := range a.Cookies() {
		if strings.Contains(a.Header.Get("Location"), c.Value) {
			t.Errorf("Location %s carries %s", a.Header.Get("Location"), c.Name)
		}
	}
}

// TestNamesInKeys (CVE-2021-41803): what clients name cannot leave its place in
// the store.
func TestNamesInKeys(t *testing.T) {
	x := newTarget(t)
	for _, device := range []string{"a:b", "{x}", "*", "a\tb", "../x", strings.Repeat("d", 5000), "é", `"`, "%00"} {
		n := newBrowser(t, x.base)
		n.header.Set("X-Device-ID", device)
		p := n.bodyLogin("bob", "builder")
		n.want(200, "", "POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.RefreshToken)).pair(t)
	}
	for _, id := range []string{"*", "..", "%2e%2e", "a%00b", "%7Bx%7D", strings.Repeat("A", 5000), "%0aFLUSHALL"} {
		b := newBrowser(t, x.base)
		b.signIn("bob", "builder")
		x.unharmed(id, func() {
			if a := b.do("DELETE", "/auth/sessions/"+id, ""); a.StatusCode != 404 && a.StatusCode != 307 && a.StatusCode != 301 && a.StatusCode != 405 {
				t.Errorf("ending session %q: %d", id, a.StatusCode)
			}
		})
	}
	for _, key := range strings.Fields(x.server.Must("KEYS", "*")) {
		if !strings.HasPrefix(key, "rt:") && key != "webapp:accounts" {
			t.Errorf("key %q", key)
		}
	}
	if n := len(strings.Fields(x.server.Must("KEYS", "rt:{*}"))); n != 1 {
		t.Errorf("one subject has %d keys", n)
	}
}

// endpoints are everything that changes something.
var endpoints = []struct{ method, path, body string }{
	{"POST", "/login", `{"username":"bob","password":"builder"}`},
	{"POST", "/login", "username=bob&password=builder"},
	{"POST", "/auth/token/refresh", ""},
	{"POST", "/auth/logout", ""},
	{"POST", "/auth/logout-all", ""},
	{"DELETE", "/auth/sessions/OTHER", ""},
	{"POST", "/api/password", `{"old":"wonderland","new":"x"}`},
	{"POST", "/api/transfer", "{}"},
	{"POST", "/api/reauthenticate", `{"password":"wonderland"}`},
	{"POST", "/api/device", `{"name":"mine"}`},
	{"POST", "/admin/users/carol/impersonate", `{"reason":"ticket 7"}`},
	{"POST", "/admin/users/carol/deactivate", ""},
	{"POST", "/admin/users/carol/activate", ""},
	{"POST", "/demo/steal", ""},
	{"POST", "/demo/replay", ""},
	{"POST", "/demo/steal-all", ""},
}

// TestCrossOriginMatrix: no page of another origin can have a signed-in browser
// do anything, by any endpoint, with valid or expired access tokens.
func TestCrossOriginMatrix(t *testing.T) {
	x := newTarget(t)
	b, other := newBrowser(t, x.base), newBrowser(t, x.base)
	other.signIn("alice", "wonderland")
	id := other.want(200, "", "GET", "/api/me", "").member("session_id").(string)
	b.signIn("alice", "wonderland")
	foreign := [][]string{
		{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: https://evil.example"}, {"Origin: null"},
		{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example", "Sec-Fetch-Mode: navigate"},
		{"Sec-Fetch-Site: cross-site", "Origin: " + x.base}, {"Sec-Fetch-Site: nonsense"},
	}
	for _, e := range endpoints {
		path := strings.Replace(e.path, "OTHER", id, 1)
		for _, headers := range foreign {
			for _, expired := range []bool{false, true} {
				c := b.clone(x.base)
				if expired {
					delete(c.cookies, "__Host-access")
				}
				name := fmt.Sprint(e.method, " ", path, " ", headers, " expired ", expired)
				x.unharmed(name, func() {
					if a := c.do(e.method, path, e.body, headers...); a.StatusCode != 403 || len(a.Cookies()) > 0 || a.Header.Get("Access-Control-Allow-Origin") != "" {
						t.Errorf("%s: %d, cookies %v", name, a.StatusCode, a.Cookies())
					}
				})
			}
		}
		// A GET, which CSRF defences let pass, changes nothing.
		c := b.clone(x.base)
		x.unharmed("GET "+path, func() {
			if a := c.do("GET", path, "", "Sec-Fetch-Site: cross-site"); a.StatusCode != 405 && e.path != "/login" {
				t.Errorf("GET %s: %d", path, a.StatusCode)
			}
			if a := c.do("OPTIONS", path, "", "Origin: https://evil.example", "Access-Control-Request-Method: POST"); a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("OPTIONS %s allows %s", path, a.Header.Get("Access-Control-Allow-Origin"))
			}
		})
	}
	b.want(200, "", "GET", "/api/me", "")
	other.want(200, "", "GET", "/api/me", "")
}

// TestPlantedCookies: whatever a sibling domain plants beside the real cookies,
// the user never becomes somebody else, and no session is harmed.
func TestPlantedCookies(t *testing.T) {
	base := serveDemo(t)
	alice, mallory := newBrowser(t, base), newBrowser(t, base)
	alice.signIn("alice", "wonderland")
	mallory.signIn("carol", "keyboard")
	raw := func(cookies string) *answer {
		n := newBrowser(t, base)
		return n.do("GET", "/api/me", "", "Cookie: "+cookies)
	}
	jar := func(b *browser, names ...string) string {
		var pairs []string
		for _, n := range names {
			pairs = append(pairs, "__Host-"+n+"="+b.cookies["__Host-"+n])
		}
		return strings.Join(pairs, "; ")
	}
	all := []string{"access", "refresh", "device"}
	for name, cookies := range map[string]string{
		"planted behind":                           jar(alice, all...) + "; " + jar(mallory, all...),
		"planted in front":                         jar(mallory, all...) + "; " + jar(alice, all...),
		"planted without its prefix":               jar(alice, all...) + "; " + strings.ReplaceAll(jar(mallory, all...), "__Host-", ""),
		"planted in lower case":                    jar(alice, all...) + "; " + strings.ReplaceAll(jar(mallory, all...), "__Host-", "__host-"),
		"planted access alone":                     jar(mallory, "access") + "; " + jar(alice, all...),
		"planted refresh, own access":              jar(alice, "access", "device") + "; " + jar(mallory, "refresh"),
		"planted empty":                            "__Host-access=; " + jar(alice, all...),
		"planted huge":                             jar(alice, all...) + "; __Host-refresh=" + strings.Repeat("A", 5000),
		"a nameless cookie that spells a pair":     jar(alice, all...) + "; =__Host-access=" + mallory.cookies["__Host-access"],
		"a quoted value":                           strings.Replace(jar(alice, all...), "__Host-access=", `__Host-access="`, 1) + `"`,
		"planted refresh token, own device, alone": jar(mallory, "refresh") + "; " + jar(alice, "device"),
	} {
		if a := raw(cookies); a.StatusCode != 401 && a.member("subject") != "alice" {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
	}
	alice.want(200, "", "POST", "/auth/token/refresh", "")
	mallory.want(200, "", "GET", "/api/me", "")
}

// TestFixation (CVE-2023-22479, CVE-2024-28197): no cookie from before a login
// is of any use after it.
func TestFixation(t *testing.T) {
	base := serveDemo(t)
	mallory := newBrowser(t, base)
	mallory.signIn("carol", "keyboard")
	victim := mallory.clone(base) // all of the attacker's cookies were planted
	victim.signIn("bob", "builder")
	for name, value := range mallory.cookies {
		if name != "__Host-device" && victim.cookies[name] == value {
			t.Errorf("%s survives the login", name)
		}
	}
	mallory.want(401, "", "GET", "/api/me", "")
	victim.want(200, "", "GET", "/api/me", "")
}

// TestLogoutRaces: whichever of a renewal and a logout comes first, the user is
// signed out afterwards, with any cookie that either left behind.
func TestLogoutRaces(t *testing.T) {
	base := serveDemo(t)
	for i := range 100 {
		b := newBrowser(t, base)
		b.signIn("bob", "builder")
		renewing, leaving := b.clone(base), b.clone(base)
		delete(renewing.cookies, "__Host-access")
		var wg sync.WaitGroup
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			if i%2 == 0 {
				runtime.Gosched()
			}
			renewing.do("GET", "/api/me", "")
		})
		wg.Go(func() { <-start; leaving.want(204, "", "POST", "/auth/logout", "") })
		close(start)
		wg.Wait()
		for name, c := range map[string]*browser{"what was renewed": renewing, "what was there before": b, "what the logout left": leaving} {
			if a := c.do("GET", "/api/me", ""); a.StatusCode != 401 {
				t.Fatalf("round %d, %s: %d", i, name, a.StatusCode)
			}
			if a := c.do("POST", "/auth/token/refresh", ""); a.StatusCode != 401 {
				t.Fatalf("round %d, %s refreshes: %d", i, name, a.StatusCode)
			}
		}
	}
}

// TestFingerprintSpoofing: a stolen refresh token is of no use to somebody who
// can choose every header.
func TestFingerprintSpoofing(t *testing.T) {
	base := serveDemo(t, "-bind", "strict", "-trusted-proxies", "127.0.0.1/32")
	const home = "203.0.113.7"
	login := func() *browser {
		b := newBrowser(t, base)
		b.header.Set("X-Forwarded-For", home)
		b.signIn("bob", "builder")
		delete(b.cookies, "__Host-access")
		return b
	}
	neighbour := newBrowser(t, base)
	neighbour.signIn("carol", "keyboard")
	for name, change := range map[string]func(b *browser){
		"another address":                         func(b *browser) { b.header.Set("X-Forwarded-For", "198.51.100.9") },
		"the owner's address in front of the own": func(b *browser) { b.header.Set("X-Forwarded-For", home+", 198.51.100.9") },
		"the owner's address in another header":   func(b *browser) { b.header.Set("X-Forwarded-For", "198.51.100.9"); b.header.Set("X-Real-IP", home) },
		"the owner's address in Forwarded":        func(b *browser) { b.header.Del("X-Forwarded-For"); b.header.Set("Forwarded", "for="+home) },
		"two lines, the own last":                 func(b *browser) { b.header["X-Forwarded-For"] = []string{home, "198.51.100.9"} },
		"no address":                              func(b *browser) { b.header.Del("X-Forwarded-For") },
		"an address that is none":                 func(b *browser) { b.header.Set("X-Forwarded-For", "localhost") },
		"an address with a zone":                  func(b *browser) { b.header.Set("X-Forwarded-For", "fe80::1%eth0") },
		"another user agent":                      func(b *browser) { b.header.Set("User-Agent", "thief/1.0") },
		"no user agent":                           func(b *browser) { b.header.Set("User-Agent", "") },
		"a huge user agent":                       func(b *browser) { b.header.Set("User-Agent", strings.Repeat("thief/9.9 ", 1000)) },
		"no device":                               func(b *browser) { delete(b.cookies, "__Host-device") },
		"somebody else's device":                  func(b *browser) { b.cookies["__Host-device"] = neighbour.cookies["__Host-device"] },
		"a device header in place of the cookie":  func(b *browser) { b.header.Set("X-Device-ID", "x"); delete(b.cookies, "__Host-device") },
		"the device cookie's text as header": func(b *browser) {
			b.header.Set("X-Device-ID", b.cookies["__Host-device"])
			delete(b.cookies, "__Host-device")
		},
		"an altered device":                        func(b *browser) { b.cookies["__Host-device"] = "A" + b.cookies["__Host-device"][1:] },
		"a refresh token in the body for a cookie": nil,
	} {
		b := login()
		if change == nil {
			n := newBrowser(t, base)
			n.header.Set("X-Forwarded-For", home)
			n.want(400, "invalid_grant", "POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, b.cookies["__Host-refresh"]))
		} else {
			thief := b.clone(base)
			change(thief)
			if a := thief.do("GET", "/api/me", ""); a.StatusCode != 401 || len(a.Cookies()) > 0 {
				t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
			}
		}
		if a := b.do("GET", "/api/me", ""); a.StatusCode != 200 {
			t.Errorf("%s harmed the owner: %d", name, a.StatusCode)
		}
	}
	// The same address, written in another way, is the same.
	for _, spelling := range []string{"::ffff:" + home, home + ":4711", "198.51.100.9, " + home, " " + home + " "} {
		b := login()
		b.header.Set("X-Forwarded-For", spelling)
		if a := b.do("GET", "/api/me", ""); a.StatusCode != 200 {
			t.Errorf("%q, which is the owner's address: %d", spelling, a.StatusCode)
		}
	}
}

var forgedTokens = flag.Int("forged", 20_000, "how many different forged tokens TestExhaustion sends")

// TestExhaustion: what is large, deep, slow or many costs the sender more than
// the server.
func TestExhaustion(t *testing.T) {
	x := newTarget(t)
	n := newBrowser(t, x.base)
	p := n.bodyLogin("bob", "builder")
	for name, attack := range map[string]func() *answer{
		"a token of a megabyte of dots": func() *answer {
			return n.do("GET", "/api/me", "", "Authorization: Bearer "+strings.Repeat(".", 1<<20))
		},
		"3,000 cookies": func() *answer {
			return n.do("GET", "/api/me", "", "Cookie: "+strings.Repeat("__Host-refresh=a; ", 3000))
		},
		"JSON, 8,000 deep": func() *answer {
			return n.do("POST", "/auth/token/refresh", `{"x":`+strings.Repeat("[", 8000)+strings.Repeat("]", 8000)+"}")
		},
		"8,000 form fields": func() *answer {
			return n.do("POST", "/auth/token/refresh", strings.Repeat("a=&", 8000), "Content-Type: application/x-www-form-urlencoded")
		},
		"a megabyte of JSON": func() *answer {
			return n.do("POST", "/auth/token/refresh", `{"refresh_token":"`+strings.Repeat("a", 1<<20)+`"}`)
		},
		"a large return_to": func() *answer { return n.do("GET", "/login?return_to=/"+strings.Repeat("a", 30<<10), "") },
	} {
		began := time.Now()
		x.unharmed(name, func() {
			if a := attack(); a.StatusCode >= 500 || a.StatusCode < 300 && name != "a large return_to" {
				t.Errorf("%s: %d", name, a.StatusCode)
			}
		})
		t.Logf("%s: %v", name, time.Since(began).Round(time.Millisecond))
	}

	// Millions of different forged tokens reach no store, and leave nothing.
	calls := func() string {
		for line := range strings.Lines(x.server.Must("INFO", "commandstats")) {
			if strings.HasPrefix(line, "cmdstat_hmget:") {
				calls, _, _ := strings.Cut(line, ",")
				return calls
			}
		}
		return ""
	}
	before, heap := calls(), heapInUse()
	began := time.Now()
	parts := strings.Split(p.AccessToken, ".")
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range *forgedTokens / 4 {
				mark := sha256.Sum256(fmt.Appendf(nil, "%d-%d", worker, i))
				req, _ := http.NewRequest("GET", x.base+"/api/me", nil)
				if i%2 == 0 {
					req.Header.Set("Authorization", "Bearer "+parts[0]+"."+b64(hex.EncodeToString(mark[:]))+"."+parts[2])
				} else {
					req.AddCookie(&http.Cookie{Name: "__Host-refresh", Value: base64.RawURLEncoding.EncodeToString(bytes.Repeat(mark[:], 4))})
				}
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 401 {
					t.Errorf("a forged token: %d", res.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	if after := calls(); after != before {
		t.Errorf("forged tokens reach the store: %s, then %s", before, after)
	}
	grown := heapInUse() - heap
	t.Logf("%d forged tokens in %v, heap %+d KB", *forgedTokens, time.Since(began).Round(time.Millisecond), grown>>10)
	if grown > 32<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
	n.want(200, "", "GET", "/api/me", "", "Authorization: Bearer "+p.AccessToken)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestPagesThatCachesMayKeep carry no tokens: what is renewed on the way is not
// kept by anybody, whatever the handler asked for.
func TestPagesThatCachesMayKeep(t *testing.T) {
	b := newBrowser(t, serveDemo(t))
	b.signIn("alice", "wonderland")
	delete(b.cookies, "__Host-access")
	for _, path := range []string{"/", "/account", "/api/me", "/api/public"} {
		c := b.clone(b.base)
		a := c.do("GET", path, "")
		if len(a.Cookies()) > 0 && a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s sets cookies with Cache-Control %q", path, a.Header.Get("Cache-Control"))
		}
		b.cookies = c.cookies
		delete(b.cookies, "__Host-access")
	}
	for _, path := range []string{"/.well-known/jwks.json", "/login"} {
		if a := b.do("GET", path, ""); len(a.Cookies()) > 0 {
			t.Errorf("%s sets cookies", path)
		}
	}
}
