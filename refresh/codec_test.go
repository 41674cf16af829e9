package refresh_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
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

// tokensOf issues the access tokens of a service with these keys.
func tokensOf(t testing.TB, ring *access.KeyRing) *access.Tokens {
	t.Helper()
	tokens, err := access.New(access.Config{Issuer: issuer, Audience: "app", Keys: ring})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func newToken(t testing.TB, ring *access.KeyRing, subject string, generation uint32) string {
	t.Helper()
	text, err := refresh.NewToken(tokensOf(t, ring), subject, generation)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokensHaveOneSpelling(t *testing.T) {
	ring := newRing(t, newKeys(t))
	for _, subject := range []string{"a", "ab", "abc", "alice", strings.Repeat("ä", 127), strings.Repeat("x", 255)} {
		text := newToken(t, ring, subject, 7)
		if again, err := refresh.Reencode(tokensOf(t, ring), text); err != nil || again != text {
			t.Errorf("%q: %v", subject, err)
		}
		refused := func(name, v string) {
			t.Helper()
			if _, err := refresh.Reencode(tokensOf(t, ring), v); v != text && !errors.Is(err, refresh.ErrInvalidToken) {
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

// What stands behind the secret has one spelling too, and nothing in it is
// believed without the MAC.
func TestTokensThatSayMoreHaveOneSpelling(t *testing.T) {
	tokens := tokensOf(t, newRing(t, newKeys(t)))
	for _, tt := range []struct {
		actor string
		by    family.Attempt
	}{{"", family.Attempt{1}}, {"x", family.Attempt{}}, {strings.Repeat("x", 255), family.Attempt{0, 0, 0, 0, 0, 1}}} {
		text, err := refresh.NewLongToken(tokens, strings.Repeat("s", 255), tt.actor, tt.by)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := refresh.Reencode(tokens, text); err != nil || again != text {
			t.Errorf("actor %.3q, step-up %v: %v", tt.actor, tt.by, err)
		}
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 1
			if _, err := refresh.Reencode(tokens, base64.RawURLEncoding.EncodeToString(b)); !errors.Is(err, refresh.ErrInvalidToken) {
				t.Errorf("a flipped bit in byte %d is accepted", i)
			}
			b[i] ^= 1
		}
	}

	plain, err := base64.RawURLEncoding.DecodeString(newToken(t, tokens.Keys(), "s", 0))
	if err != nil {
		t.Fatal(err)
	}
	head := plain[:len(plain)-32-1]
	for name, tt := range map[string]struct {
		flags byte
		rest  string
	}{
		"a step-up by nobody":              {8, "\x00\x00\x00\x00\x00\x00alice"},
		"a step-up that is cut":            {8, "\x01\x01"},
		"a step-up without a subject":      {8, "\x01\x00\x00\x00\x00\x00"},
		"an actor without a name":          {16, "\x00alice"},
		"an actor longer than the token":   {16, "\x09alice"},
		"an actor as long as the token":    {16, "\x05alice"},
		"an actor without anything":        {16, ""},
		"a flag that nobody knows":         {32, "alice"},
		"all that is left is the subject?": {0, ""},
	} {
		b := append([]byte{head[0], tt.flags}, head[2:]...)
		b = refresh.Sign(tokens, append(b, tt.rest...))
		if _, err := refresh.Reencode(tokens, base64.RawURLEncoding.EncodeToString(b)); !errors.Is(err, refresh.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	ring := newRing(t, newKeys(t))
	text := newToken(t, ring, "alice", 0)
	if _, err := refresh.Reencode(tokensOf(t, newRing(t, newKeys(t))), text); !errors.Is(err, refresh.ErrInvalidToken) {
		t.Errorf("another key ring: %v", err)
	}
	for _, other := range []access.Config{{Issuer: "https://other.example", Audience: "app"}, {Issuer: issuer, Audience: "other"}, {Issuer: issuer + "\x00app", Audience: "app"}} {
		other.Keys = ring
		tokens, err := access.New(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := refresh.Reencode(tokens, text); !errors.Is(err, refresh.ErrInvalidToken) {
			t.Errorf("issuer %q, audience %q with the same root secret: %v", other.Issuer, other.Audience, err)
		}
	}
	if _, err := refresh.Reencode(tokensOf(t, ring), newToken(t, ring, "alice", 1<<31)); !errors.Is(err, refresh.ErrInvalidToken) {
		t.Errorf("a generation out of range: %v", err)
	}
	for _, text := range []string{"", "A", strings.Repeat("A", 1<<20), strings.Repeat(".", 1<<20)} {
		tokens := tokensOf(t, ring)
		if allocations := testing.AllocsPerRun(1, func() {
			if _, err := refresh.Reencode(tokens, text); !errors.Is(err, refresh.ErrInvalidToken) {
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
		next, err := refresh.SuccessorOf(tokensOf(t, ring), text)
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
		again, err := refresh.Reencode(tokensOf(t, ring), text)
		if err == nil && again != text {
			t.Errorf("%q is a second spelling of %q", text, again)
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

func FuzzKeySession(f *testing.F) {
	ring := newRing(f, newKeys(f))
	tokens := tokensOf(f, ring)
	ticket := refresh.NewTicket(tokens, "alice")
	for _, seed := range []string{
		"", "Sw", "VA", ticket, newToken(f, ring, "alice", 3), strings.Repeat("S", 200), "\x00\n\r",
		refresh.NewKeySession(tokens, "alice", "", []byte("a key")), refresh.NewKeySession(tokens, "alice", "bob", make([]byte, 91)),
	} {
		f.Add(seed, 0, byte(0))
	}
	f.Add("", 40, byte('A'))
	f.Fuzz(func(t *testing.T, text string, at int, c byte) {
		if text == "" && at >= 0 && at < len(ticket) {
			text = ticket[:at] + string(c) + ticket[at+1:]
		}
		if again, err := refresh.ReencodeKeySession(tokens, text); err == nil && again != text {
			t.Errorf("%q is a second spelling of %q", text, again)
		}
		if subject, err := refresh.ReadTicket(tokens, text); err == nil && text != ticket {
			t.Errorf("forged %q is a ticket of %q", text, subject)
		}
		// None passes for another: a refresh token is neither.
		_, notToken := refresh.Reencode(tokens, text)
		_, notSession := refresh.ReencodeKeySession(tokens, text)
		_, notTicket := refresh.ReadTicket(tokens, text)
		if accepted := boolCount(notToken == nil, notSession == nil, notTicket == nil); accepted > 1 {
			t.Errorf("%q is %d things at a time", text, accepted)
		}
	})
}

func boolCount(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
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

func TestFuzzCorpusIsThere(t *testing.T) {
	for _, target := range []string{"FuzzToken", "FuzzUserAgent"} {
		if files, _ := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*")); len(files) == 0 {
			t.Errorf("%s has no committed corpus", target)
		}
	}
	if _, err := os.Stat("testdata"); err != nil {
		t.Error(err)
	}
}
