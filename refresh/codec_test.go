package refresh_test

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

const issuer = "https://app.example"

func newKeys(t testing.TB) access.Keys {
	t.Helper()
	keys, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newRing(t testing.TB, keys access.Keys) *access.KeyRing {
	t.Helper()
	ring, err := access.NewKeyRing(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newToken(t testing.TB, ring *access.KeyRing, subject string, generation uint32) string {
	t.Helper()
	text, err := refresh.NewToken(ring, issuer, subject, generation)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokensHaveOneSpelling(t *testing.T) {
	ring := newRing(t, newKeys(t))
	for _, subject := range []string{"a", "ab", "abc", "alice", strings.Repeat("ä", 127), strings.Repeat("x", 255)} {
		text := newToken(t, ring, subject, 7)
		if again, err := refresh.Reencode(ring, issuer, text); err != nil || again != text {
			t.Errorf("%q: %v", subject, err)
		}
		refused := func(name, v string) {
			t.Helper()
			if _, err := refresh.Reencode(ring, issuer, v); v != text && !errors.Is(err, refresh.ErrInvalidToken) {
				t.Errorf("subject of %d bytes, %s: accepted", len(subject), name)
			}
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for _, flip := range []byte{1, 0x80} {
				b[i] ^= flip
				refused("a flipped bit", base64.RawURLEncoding.EncodeToString(b))
				b[i] ^= flip
			}
		}
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n" {
			refused("another last character", text[:len(text)-1]+string(c))
		}
		for i := range text {
			refused("a line break", text[:i]+"\n"+text[i:])
			refused("cut short", text[:i])
		}
		refused("padded", text+"=")
		refused("with white space", " "+text)
		refused("longer", text+"AAAA")
		refused("standard alphabet", base64.StdEncoding.EncodeToString(b))
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	ring := newRing(t, newKeys(t))
	text := newToken(t, ring, "alice", 0)
	if _, err := refresh.Reencode(newRing(t, newKeys(t)), issuer, text); !errors.Is(err, refresh.ErrInvalidToken) {
		t.Errorf("another key ring: %v", err)
	}
	if _, err := refresh.Reencode(ring, "https://other.example", text); !errors.Is(err, refresh.ErrInvalidToken) {
		t.Errorf("another issuer with the same root secret: %v", err)
	}
	if _, err := refresh.Reencode(ring, issuer, newToken(t, ring, "alice", 1<<31)); !errors.Is(err, refresh.ErrInvalidToken) {
		t.Errorf("a generation out of range: %v", err)
	}
	for _, text := range []string{"", "A", strings.Repeat("A", 1<<20), strings.Repeat(".", 1<<20)} {
		if allocations := testing.AllocsPerRun(1, func() {
			if _, err := refresh.Reencode(ring, issuer, text); !errors.Is(err, refresh.ErrInvalidToken) {
				t.Errorf("%d bytes: %v", len(text), err)
			}
		}); allocations > 20 {
			t.Errorf("%d bytes cost %v allocations", len(text), allocations)
		}
	}
}

func TestATokenHasOneSuccessor(t *testing.T) {
	ring := newRing(t, newKeys(t))
	successor := func(text string) string {
		t.Helper()
		next, err := refresh.SuccessorOf(ring, issuer, text)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	a := newToken(t, ring, "alice", 0)
	next, again := successor(a), successor(a)
	if next != again || next == a || successor(successor(a)) == successor(a) {
		t.Error("the chain is not one of distinct tokens")
	}
	if successor(newToken(t, ring, "alice", 1)) == successor(a) {
		t.Error("the generation is no part of the chain")
	}
}

func FuzzToken(f *testing.F) {
	ring := newRing(f, newKeys(f))
	for _, seed := range []string{"", "AQ", newToken(f, ring, "alice", 3), strings.Repeat("A", 200), "\x00\n\r"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again, err := refresh.Reencode(ring, issuer, text)
		if err == nil && again != text {
			t.Errorf("%q is a second spelling of %q", text, again)
		}
	})
}

func TestClientIP(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tt := range []struct {
		name      string
		peer      string
		forwarded []string
		want      string
	}{
		{"no proxy", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"a header from somebody who is no proxy", "192.0.2.1:1234", []string{"198.51.100.1"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"what the client wrote does not count", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1", []string{"198.51.100.1, 10.1.1.1"}, "198.51.100.1"},
		{"a client that claims to be a proxy", "10.0.0.1:1", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"several header lines", "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.1, 10.1.1.1"}, "198.51.100.1"},
		{"spaces and ports", "10.0.0.1:1", []string{"  198.51.100.1:443  "}, "198.51.100.1"},
		{"IPv6 in brackets", "[2001:db8:1::1]:1", []string{"[2001:db8:2::7]:443"}, "2001:db8:2::7"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"IPv4 mapped into IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"garbage: our own proxy", "10.0.0.1:1", []string{"198.51.100.1, nonsense"}, "10.0.0.1"},
		{"garbage further left is not reached", "10.0.0.1:1", []string{"nonsense, 198.51.100.1"}, "198.51.100.1"},
		{"an empty header", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"nobody but proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a thousand hops", "10.0.0.1:1", []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 1000)}, "10.0.0.2"},
		{"no peer", "", nil, "invalid IP"},
		{"a socket", "@", []string{"198.51.100.1"}, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := refresh.ClientIP(tt.peer, tt.forwarded, proxies...).String(); got != tt.want {
				t.Errorf("client %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzForwarded(f *testing.F) {
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	for _, seed := range []string{"", "198.51.100.1", "a, b, 10.0.0.1", "[::1]:1, ,", strings.Repeat(",", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if ip := refresh.ClientIP("192.0.2.1:1", []string{header}, trusted); ip.String() != "192.0.2.1" {
			t.Errorf("an untrusted peer becomes %v by %q", ip, header)
		}
		// Whatever a client writes in front of what our proxy appends.
		if ip := refresh.ClientIP("10.0.0.1:1", []string{header + ", 198.51.100.1"}, trusted); ip.String() != "198.51.100.1" {
			t.Errorf("%q makes the client %v", header, ip)
		}
	})
}

func TestUserAgents(t *testing.T) {
	const (
		firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
		chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
		edge    = chrome + " Edg/126.0.0.0"
		safari  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15"
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
		android = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
	)
	for ua, want := range map[string]string{
		firefox: "Firefox on Linux", chrome: "Chrome on Windows", edge: "Edge on Windows",
		safari: "Safari on macOS", iphone: "Safari on iPhone", android: "Chrome on Android",
		"curl/8.5.0": "curl/8.5.0", "BankApp/4.2 (iOS)": "BankApp/4.2 (iOS)", "": "", "a\x00\x1b[31mb\nc": "a[31mbc",
	} {
		if got := refresh.DeviceLabel(ua); got != want {
			t.Errorf("%q is shown as %q, want %q", ua, got, want)
		}
	}
	same := func(a, b string) bool {
		ap, al := refresh.ParseUserAgent(a)
		bp, bl := refresh.ParseUserAgent(b)
		return ap == bp && al == bl
	}
	for _, tt := range []struct {
		name string
		a, b string
		same bool
	}{
		{"an update of the browser", chrome, strings.Replace(chrome, "126", "131", 1), true},
		{"an update of the system", iphone, strings.ReplaceAll(iphone, "18", "19"), true},
		{"an update of an app", "BankApp/4.2", "BankApp/5.0", true},
		{"another browser", chrome, edge, false},
		{"another platform", safari, iphone, false},
		{"another app", "BankApp/4.2", "ShopApp/4.2", false},
		{"a browser and a tool", chrome, "curl/8.5.0", false},
	} {
		if same(tt.a, tt.b) != tt.same {
			t.Errorf("%s: same client %v, want %v", tt.name, !tt.same, tt.same)
		}
	}
}

func FuzzUserAgent(f *testing.F) {
	for _, seed := range []string{"", "curl/8", "Mozilla/5.0 (X11; Linux) Firefox/1", strings.Repeat("ü", 600), "\xff\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ua string) {
		label := refresh.DeviceLabel(ua)
		if len(label) > 47 || !utf8.ValidString(label) || strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is shown as %q", ua, label)
		}
	})
}

func TestParams(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	for _, tt := range []struct {
		name        string
		contentType string
		body        string
		token       string
		ok          bool
	}{
		{"JSON", js, `{"refresh_token":"a"}`, "a", true},
		{"JSON with a character set", js + "; charset=utf-8", `{"refresh_token":"a"}`, "a", true},
		{"white space", js, " \n{ \"refresh_token\" : \"a\" }\r\n", "a", true},
		{"unknown members", js, `{"x":{"y":[1,{}]},"refresh_token":"a"}`, "a", true},
		{"null is absent", js, `{"refresh_token":null}`, "", true},
		{"escapes", js, `{"refresh\u005ftoken":"\u0061"}`, "a", true},
		{"a member twice", js, `{"refresh_token":"a","refresh_token":"a"}`, "", false},
		{"a member twice, escaped", js, `{"refresh_token":"a","refresh\u005ftoken":"b"}`, "", false},
		{"an unknown member twice", js, `{"x":1,"x":2}`, "", false},
		{"another case is another member", js, `{"Refresh_Token":"a"}`, "", true},
		{"a number", js, `{"refresh_token":1}`, "", false},
		{"an array", js, `["refresh_token"]`, "", false},
		{"trailing data", js, `{"refresh_token":"a"}{}`, "", false},
		{"cut short", js, `{"refresh_token":"a"`, "", false},
		{"a byte order mark", js, "\ufeff{}", "", false},
		{"not UTF-8", js, "{\"refresh_token\":\"\xff\"}", "", false},
		{"deep", js, `{"x":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`, "", true},
		{"deeper than the parser goes", js, `{"x":` + strings.Repeat("[", 16000), "", false},
		{"too long", js, `{"x":"` + strings.Repeat("a", 16<<10) + `"}`, "", false},
		{"a form", form, "refresh_token=a&grant_type=refresh_token", "a", true},
		{"a parameter twice", form, "refresh_token=a&refresh_token=b", "", false},
		{"a broken escape", form, "refresh_token=%zz", "", false},
		{"many parameters", form, strings.Repeat("x=1&", 3000), "", false},
		{"a simple request", "text/plain", `{"refresh_token":"a"}`, "", false},
		{"multipart", "multipart/form-data; boundary=x", "--x--", "", false},
		{"no type", "", `{"refresh_token":"a"}`, "", false},
		{"a broken type", "application/json; ;", `{"refresh_token":"a"}`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, _, err := refresh.ParseParams(tt.contentType, tt.body)
			if (err == nil) != tt.ok || token != tt.token {
				t.Errorf("token %q, %v; want %q, ok %v", token, err, tt.token, tt.ok)
			}
		})
	}
}

func FuzzRefreshBody(f *testing.F) {
	for _, seed := range []string{`{"refresh_token":"a"}`, `{"refresh_token":"a","x":[{}]}`, `{"a":1,"a":2}`, "refresh_token=a&grant_type=refresh_token", "{", "\xff", ""} {
		f.Add(true, seed)
		f.Add(false, seed)
	}
	f.Fuzz(func(t *testing.T, js bool, body string) {
		contentType := "application/x-www-form-urlencoded"
		if js {
			contentType = "application/json"
		}
		token, grant, err := refresh.ParseParams(contentType, body)
		if err != nil && (token != "" || grant != "") {
			t.Errorf("%q is read beside an error", token)
		}
	})
}

func TestFuzzCorpusIsThere(t *testing.T) {
	for _, target := range []string{"FuzzToken", "FuzzForwarded", "FuzzUserAgent", "FuzzRefreshBody"} {
		if files, _ := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*")); len(files) == 0 {
			t.Errorf("%s has no committed corpus", target)
		}
	}
	if _, err := os.Stat("testdata"); err != nil {
		t.Error(err)
	}
}
