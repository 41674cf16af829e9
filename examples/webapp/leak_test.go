package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// A ledger keeps what the demo gave out while the tests ran: its secrets, and
// everything in which none of them may ever be found.
type ledger struct {
	mu      sync.Mutex
	needles map[string]string        // what must not be found: its name
	sinks   map[string]*bytes.Buffer // by kind: logs, bodies, headers, Redis
}

// issued is the ledger of the whole suite; TestMain searches it at the end.
var issued = newLedger()

func newLedger() *ledger {
	return &ledger{needles: make(map[string]string), sinks: make(map[string]*bytes.Buffer)}
}

// needleSize is how much of a secret has to turn up to count as a leak.
const needleSize = 20

// secret notes bytes that must not turn up in any spelling.
func (l *ledger) secret(name string, b []byte) {
	if len(b) < needleSize {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, spelling := range []string{
		string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
		base64.RawStdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
		// as it stands inside of something longer that is encoded
		base64.RawURLEncoding.EncodeToString(b[1:]), base64.RawURLEncoding.EncodeToString(b[2:]),
		base64.RawStdEncoding.EncodeToString(b[1:]), base64.RawStdEncoding.EncodeToString(b[2:]),
		url.QueryEscape(string(b)), fmt.Sprint(b), fmt.Sprintf("%q", b),
	} {
		// The last characters of base64 may share bits with what follows.
		if len(spelling) > needleSize {
			l.needles[spelling[:needleSize]] = name
		}
	}
}

// text notes a secret that is text, and what it encodes.
func (l *ledger) text(name, s string) {
	l.secret(name, []byte(s))
	if b, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		l.secret(name, b)
	}
}

func (l *ledger) refreshToken(s string) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) < 1+16+4+32+32 {
		return
	}
	// Version, family, generation and subject are no secrets.
	l.secret("the secret of a refresh token", raw[21:53])
	l.secret("the MAC of a refresh token", raw[len(raw)-32:])
}

func (l *ledger) accessToken(s string) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		l.text("the signature of an access token", s[i+1:])
	}
}

func (l *ledger) keys(file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for len(data) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return
		}
		secret := block.Bytes[max(0, len(block.Bytes)-32):] // of our own kinds
		if block.Type == "PRIVATE KEY" {
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				panic(err) // the demo wrote it
			}
			switch key := key.(type) {
			case ed25519.PrivateKey:
				secret = key.Seed()
			case *ecdsa.PrivateKey:
				if secret, err = key.Bytes(); err != nil {
					panic(err)
				}
			case *rsa.PrivateKey:
				secret = key.D.Bytes()
			}
		}
		l.secret("a key of the keys file", secret)
		data = rest
	}
}

// note keeps what has to be free of secrets.
func (l *ledger) note(kind, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sinks[kind] == nil {
		l.sinks[kind] = new(bytes.Buffer)
	}
	l.sinks[kind].WriteString(text + "\n")
}

// response notes an answer: the tokens where they belong are the secrets, and
// all the rest has to be free of them.
func (l *ledger) response(res *http.Response, body string) {
	for name, lines := range res.Header {
		for _, line := range lines {
			if c, err := http.ParseSetCookie(line); name == "Set-Cookie" && err == nil {
				switch strings.TrimPrefix(c.Name, "__Host-") {
				case "refresh":
					l.refreshToken(c.Value)
				case "access":
					l.accessToken(c.Value)
				case "device":
					l.text("a sealed device", c.Value)
				}
				line = strings.Replace(line, c.Value, "", 1)
			}
			l.note("response headers", name+": "+line)
		}
	}
	var pair struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal([]byte(body), &pair) == nil && pair.RefreshToken != "" {
		l.refreshToken(pair.RefreshToken)
		l.accessToken(pair.AccessToken)
		body = strings.Replace(strings.Replace(body, pair.RefreshToken, "", 1), pair.AccessToken, "", 1)
	}
	l.note("response bodies", body)
}

// redis notes all that a server holds. One that is down holds nothing.
func (l *ledger) redis(rawURL string) {
	client, _, _, err := newRedis(rawURL)
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		l.note("Redis", key)
		for field, value := range client.HGetAll(ctx, key).Val() {
			l.note("Redis", field+" "+value)
		}
		for _, m := range client.XRange(ctx, key, "-", "+").Val() {
			l.note("Redis", fmt.Sprint(m.Values))
		}
		if s, err := client.Get(ctx, key).Result(); err == nil {
			l.note("Redis", s)
		}
	}
}

// leaks returns what turned up where it must not.
func (l *ledger) leaks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for kind, sink := range l.sinks {
		text := sink.String()
		for i := 0; i+needleSize <= len(text); i++ {
			if name, ok := l.needles[text[i:i+needleSize]]; ok {
				found = append(found, fmt.Sprintf("%s turned up in the %s: …%q…", name, kind, text[max(0, i-60):i]))
			}
		}
		if kind == "logs" || kind == "Redis" {
			for _, password := range []string{"wonderland", "builder", "keyboard"} {
				if strings.Contains(text, password) {
					found = append(found, "the password "+password+" turned up in the "+kind)
				}
			}
		}
	}
	return found
}

// account reports what was searched, and whether it was anything at all.
func (l *ledger) account() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, complete := fmt.Sprintf("%d spellings of secrets", len(l.needles)), len(l.needles) > 1000
	for _, kind := range []string{"logs", "response bodies", "response headers", "Redis"} {
		n := 0
		if l.sinks[kind] != nil {
			n = l.sinks[kind].Len()
		}
		text += fmt.Sprintf(", %d bytes of %s", n, kind)
		complete = complete && (n > 1000 || kind == "Redis" && redistest.LeftOut() != "")
	}
	return text, complete
}

// TestTheLedgerFindsLeaks: the search at the end of the suite is worth
// something.
func TestTheLedgerFindsLeaks(t *testing.T) {
	b := newBrowser(t, serveDemo(t))
	p := b.bodyLogin("alice", "wonderland")
	raw, err := base64.RawURLEncoding.DecodeString(p.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a refresh token":             "token=" + p.RefreshToken,
		"its bytes":                   string(raw),
		"its bytes in hex":            hex.EncodeToString(raw),
		"its secret":                  fmt.Sprint(raw[21:53]),
		"its secret, quoted":          fmt.Sprintf("%q", raw[21:53]),
		"its secret in other base64":  base64.StdEncoding.EncodeToString(append([]byte("x"), raw[21:53]...)),
		"its secret in a URL":         url.QueryEscape(string(raw[21:53])),
		"an access token":             "Bearer " + p.AccessToken,
		"an access token in a struct": fmt.Sprintf("%+v", p),
	} {
		l := newLedger()
		l.refreshToken(p.RefreshToken)
		l.accessToken(p.AccessToken)
		l.note("logs", "harmless")
		if found := l.leaks(); len(found) > 0 {
			t.Fatal(found)
		}
		l.note("logs", text)
		if len(l.leaks()) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}
