package access_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

func decode(t *testing.T, segment string) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestIssueFillsIn(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	text, c := issue(t, tokens, login)
	part := strings.Split(text, ".")
	if h := decode(t, part[0]); fmt.Sprint(h) != fmt.Sprint(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": serveKid(t, tokens)}) {
		t.Errorf("header %v", h)
	}
	p := decode(t, part[1])
	id, err := base64.RawURLEncoding.DecodeString(p["jti"].(string))
	if err != nil || len(id) != 16 || p["jti"] != c.ID {
		t.Errorf("jti %v of %d bytes, %v", p["jti"], len(id), err)
	}
	delete(p, "jti")
	want := map[string]any{
		"iss": issuer, "aud": audience, "client_id": audience, "sub": "alice", "sid": "family-1", "gen": 0.0,
		"iat": 1.75e9, "exp": 1.75e9 + 600, "auth_time": 1.75e9 - 3600,
	}
	if fmt.Sprint(p) != fmt.Sprint(want) {
		t.Errorf("payload %v, want %v", p, want)
	}
	_, other := issue(t, tokens, login)
	if c.ID == other.ID {
		t.Error("two tokens of one jti")
	}
}

func serveKid(t *testing.T, tokens *access.Tokens) string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(serve(tokens.Keys(), "GET").Body.Bytes(), &set); err != nil || len(set.Keys) == 0 {
		t.Fatal(err)
	}
	return set.Keys[0].Kid
}

// What Issue returns, what Verify returns, and what was asked for are one.
func TestIssueAndVerifyAgree(t *testing.T) {
	now := at.Add(123456789 * time.Nanosecond)
	_, tokens := newAuthor(t, access.EdDSA, access.Config{Now: func() time.Time { return now }, Lifetime: 5 * time.Minute})
	asked := access.Claims{
		Issuer: "ignored", Audience: []string{"ignored"}, ID: "ignored", IssuedAt: at.Add(-time.Hour),
		Subject: `<a&"\  é😀>`, ClientID: "phone", SessionID: "s/1", Generation: 1<<53 - 1,
		NotBefore: at.Add(-time.Minute), AuthTime: at.Add(-time.Hour), SessionExpiresAt: at.Add(time.Hour),
		ACR: "urn:mfa", AMR: []string{"pwd", "otp"}, Actor: "sam", Scopes: []string{"read", "write:all"}, Roles: []string{"admin", "a,b"},
		KeyThumbprint: thumbprint,
	}
	text, issued := issue(t, tokens, asked)
	verified, err := tokens.Verify(text)
	if err != nil {
		t.Fatal(err)
	}
	want := asked
	want.Issuer, want.Audience, want.ID = issuer, []string{audience}, issued.ID
	want.IssuedAt, want.DeviceBound = at.Add(123*time.Millisecond), true
	want.ExpiresAt = at.Add(5*time.Minute + time.Second) // the next whole second
	compare(t, issued, want)
	compare(t, verified, want)
}

// RFC 9449 section 6.1, and what stands for a session whose refreshes are signed.
func TestTokensSayThatTheyAreBound(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	for name, tt := range map[string]struct {
		key   string
		bound bool
		want  any
	}{
		"unbound":          {"", false, nil},
		"with a key":       {thumbprint, false, map[string]any{"jkt": thumbprint}},
		"with a key, said": {thumbprint, true, map[string]any{"jkt": thumbprint}},
		"signed refreshes": {"", true, map[string]any{"dbsc": true}},
	} {
		c := login
		c.KeyThumbprint, c.DeviceBound = tt.key, tt.bound
		text, issued := issue(t, tokens, c)
		verified, err := tokens.Verify(text)
		if err != nil {
			t.Fatal(err)
		}
		if cnf := decode(t, strings.Split(text, ".")[1])["cnf"]; fmt.Sprint(cnf) != fmt.Sprint(tt.want) {
			t.Errorf("%s: cnf %v", name, cnf)
		}
		for _, got := range []*access.Claims{issued, verified} {
			if got.KeyThumbprint != tt.key || got.DeviceBound != (tt.want != nil) {
				t.Errorf("%s: %q, %v", name, got.KeyThumbprint, got.DeviceBound)
			}
		}
	}
}

func TestIssueBoundsTheExpiry(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{Lifetime: time.Hour})
	for name, tt := range map[string]struct{ asked, want time.Time }{
		"not asked for": {time.Time{}, at.Add(time.Hour)},
		"sooner":        {at.Add(time.Minute + 1500*time.Microsecond), at.Add(time.Minute)},
		"later":         {at.Add(2 * time.Hour), at.Add(time.Hour)},
		"already past":  {at.Add(-time.Second), at.Add(-time.Second)},
	} {
		c := login
		c.ExpiresAt = tt.asked
		text, issued := issue(t, tokens, c)
		if !issued.ExpiresAt.Equal(tt.want) {
			t.Errorf("%s: expires %v, want %v", name, issued.ExpiresAt, tt.want)
		}
		if _, err := tokens.Verify(text); (err == access.ErrExpired) != (name == "already past") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	tests := map[string]func(c *access.Claims){
		"no subject":                   func(c *access.Claims) { c.Subject = "" },
		"no session":                   func(c *access.Claims) { c.SessionID = "" },
		"no time of authentication":    func(c *access.Claims) { c.AuthTime = time.Time{} },
		"authentication before 1970":   func(c *access.Claims) { c.AuthTime = time.Unix(-1, 0) },
		"expiry before 1970":           func(c *access.Claims) { c.ExpiresAt = time.Unix(-1, 0) },
		"session's end after 9999":     func(c *access.Claims) { c.SessionExpiresAt = time.Unix(253402300800, 0) },
		"generation of 2^53":           func(c *access.Claims) { c.Generation = 1 << 53 },
		"subject that is not UTF-8":    func(c *access.Claims) { c.Subject = "al\xffice" },
		"session that is not UTF-8":    func(c *access.Claims) { c.SessionID = "\xff" },
		"role that is not UTF-8":       func(c *access.Claims) { c.Roles = []string{"\xff"} },
		"key that is no hash":          func(c *access.Claims) { c.KeyThumbprint = "x" },
		"key with a line break":        func(c *access.Claims) { c.KeyThumbprint = thumbprint[:42] + "\n" },
		"key padded":                   func(c *access.Claims) { c.KeyThumbprint = thumbprint + "=" },
		"custom takes the key's name":  func(c *access.Claims) { c.Custom = map[string]any{"cnf": map[string]any{}} },
		"empty scope":                  func(c *access.Claims) { c.Scopes = []string{"a", ""} },
		"scope with a space":           func(c *access.Claims) { c.Scopes = []string{"read write"} },
		"scope with a tab":             func(c *access.Claims) { c.Scopes = []string{"read\twrite"} },
		"scope with a line break":      func(c *access.Claims) { c.Scopes = []string{"read\nwrite"} },
		"scope with a no-break space":  func(c *access.Claims) { c.Scopes = []string{"read\u00a0write"} },
		"scope with a quote":           func(c *access.Claims) { c.Scopes = []string{`"`} },
		"scope with a backslash":       func(c *access.Claims) { c.Scopes = []string{`\`} },
		"scope with DEL":               func(c *access.Claims) { c.Scopes = []string{"\x7f"} },
		"claims too large":             func(c *access.Claims) { c.Subject = strings.Repeat("x", access.MaxToken) },
		"custom a number":              func(c *access.Claims) { c.Custom = 1 },
		"custom a list":                func(c *access.Claims) { c.Custom = []string{"x"} },
		"custom a nil pointer":         func(c *access.Claims) { c.Custom = (*struct{})(nil) },
		"custom that is no JSON":       func(c *access.Claims) { c.Custom = map[string]any{"x": math.NaN()} },
		"custom with a channel":        func(c *access.Claims) { c.Custom = struct{ C chan int }{} },
		"custom takes a name":          func(c *access.Claims) { c.Custom = map[string]any{"sub": "root"} },
		"custom takes a name, in caps": func(c *access.Claims) { c.Custom = map[string]any{"Roles": []string{"root"}} },
		"custom takes a name, long s":  func(c *access.Claims) { c.Custom = map[string]any{"\u017fub": "root"} },
		"custom takes a name, absent":  func(c *access.Claims) { c.Custom = map[string]any{"nbf": 1} },
		"custom takes our own names":   func(c *access.Claims) { c.Custom = map[string]any{"iat_ms": 1} },
		"custom panics":                func(c *access.Claims) { c.Custom = bomb{} },
		"custom with a name twice":     func(c *access.Claims) { c.Custom = json.RawMessage(`{"x":1,"x":2}`) },
		"custom with an escaped name":  func(c *access.Claims) { c.Custom = json.RawMessage(`{"\u0065xp":1}`) },
		"custom that is not UTF-8":     func(c *access.Claims) { c.Custom = json.RawMessage("{\"x\":\"\xff\"}") },
		"custom with too many members": func(c *access.Claims) {
			c.Custom = json.RawMessage("{" + strings.Join(many(access.MaxMembers), ",") + "}")
		},
		"custom nested without an end": func(c *access.Claims) {
			c.Custom = json.RawMessage(`{"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`)
		},
		"custom with a text not UTF-8":   func(c *access.Claims) { c.Custom = map[string]any{"x": "a\xffb"} },
		"custom with half a surrogate":   func(c *access.Claims) { c.Custom = json.RawMessage(`{"x":["\ud800"]}`) },
		"custom with halves in disorder": func(c *access.Claims) { c.Custom = json.RawMessage(`{"x":"\udc00\ud800"}`) },
		"custom whose marshaller fails":  func(c *access.Claims) { c.Custom = failing{} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := login
			change(&c)
			text, issued, err := tokens.Issue(c)
			if err == nil || text != "" || issued != nil {
				t.Fatalf("got %q, %v, %v", text, issued, err)
			}
			want := "access: "
			switch {
			case strings.HasPrefix(name, "custom takes"):
				want += "Claims.Custom has a member"
			case strings.HasPrefix(name, "generation"):
				want += "Claims.Generation"
			case strings.HasPrefix(name, "scope"):
				want += "Claims.Scopes"
			}
			if !errors.Is(err, access.ErrCannotIssue) || !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		})
	}
}

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

type tenant struct {
	Tenant string         `json:"tenant"`
	Limits map[string]int `json:"limits,omitempty"`
	hidden int
}

func TestCustomClaimsRoundTrip(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	want := tenant{Tenant: "<t&1>", Limits: map[string]int{"EXP": 1, "b": 2}, hidden: 1}
	for name, custom := range map[string]any{"struct": want, "pointer": &want, "map": map[string]any{"tenant": want.Tenant, "limits": want.Limits}} {
		c := login
		c.Custom = custom
		text, issued := issue(t, tokens, c)
		verified, err := tokens.Verify(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*access.Claims{issued, verified} {
			var got struct {
				tenant
				Subject string `json:"sub"`
			}
			if err := c.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if got.Tenant != want.Tenant || len(got.Limits) != 2 || got.Limits["EXP"] != 1 || got.Subject != "alice" {
				t.Errorf("%s: got %+v", name, got)
			}
			if c.Custom != nil {
				t.Errorf("%s: Custom is %v", name, c.Custom)
			}
		}
	}
	for name, custom := range map[string]any{"empty struct": struct{}{}, "empty map": map[string]int{}, "white space": json.RawMessage(" { } ")} {
		c := login
		c.Custom = custom
		if _, _, err := tokens.Issue(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewNamesTheFieldAtFault(t *testing.T) {
	ring := newRing(t, access.Keys{Signing: newKey(t, access.EdDSA, materials()[access.EdDSA])})
	good := access.Config{Issuer: issuer, Audience: audience, Keys: ring}
	tests := []struct {
		name   string
		change func(*access.Config)
		field  string
	}{
		{"the mandatory alone", func(*access.Config) {}, ""},
		{"shortest lifetime", func(c *access.Config) { c.Lifetime = time.Second }, ""},
		{"longest lifetime", func(c *access.Config) { c.Lifetime = 24 * time.Hour }, ""},
		{"longest leeway", func(c *access.Config) { c.Leeway = 5 * time.Minute }, ""},
		{"negative leeway", func(c *access.Config) { c.Leeway = -time.Hour }, ""},
		{"no cache", func(c *access.Config) { c.CacheEntries = -1 }, ""},
		{"smallest cache", func(c *access.Config) { c.CacheEntries = 1 }, ""},
		{"no issuer", func(c *access.Config) { c.Issuer = "" }, "Config.Issuer"},
		{"issuer not UTF-8", func(c *access.Config) { c.Issuer = "\xff" }, "Config.Issuer"},
		{"no audience", func(c *access.Config) { c.Audience = "" }, "Config.Audience"},
		{"audience not UTF-8", func(c *access.Config) { c.Audience = "\xff" }, "Config.Audience"},
		{"no keys", func(c *access.Config) { c.Keys = nil }, "Config.Keys"},
		{"zero key ring", func(c *access.Config) { c.Keys = new(access.KeyRing) }, "Config.Keys"},
		{"lifetime too short", func(c *access.Config) { c.Lifetime = time.Second - 1 }, "Config.Lifetime"},
		{"lifetime too long", func(c *access.Config) { c.Lifetime = 24*time.Hour + 1 }, "Config.Lifetime"},
		{"lifetime negative", func(c *access.Config) { c.Lifetime = -1 }, "Config.Lifetime"},
		{"leeway too long", func(c *access.Config) { c.Leeway = 5*time.Minute + 1 }, "Config.Leeway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			tokens, err := access.New(cfg)
			if (err == nil) != (tt.field == "") || (tokens == nil) == (err == nil) {
				t.Fatalf("got %v, %v", tokens, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "access: "+tt.field) {
				t.Errorf("%q does not name %s", err, tt.field)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	ring := newRing(t, access.Keys{Signing: newKey(t, access.EdDSA, materials()[access.EdDSA])})
	tokens := newTokens(t, access.Config{Keys: ring})
	if tokens.Lifetime() != 10*time.Minute || tokens.Issuer() != issuer || tokens.Keys() != ring {
		t.Errorf("lifetime %v, issuer %q", tokens.Lifetime(), tokens.Issuer())
	}
	before := time.Now()
	if now := tokens.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("now is %v", now)
	}
	tokens = newTokens(t, access.Config{Keys: ring, Lifetime: time.Minute, Now: func() time.Time { return at }})
	if tokens.Lifetime() != time.Minute || !tokens.Now().Equal(at) {
		t.Errorf("lifetime %v, now %v", tokens.Lifetime(), tokens.Now())
	}
}

// bomb is a claim of an app that has a bug.
type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("boom") }

// TestCheckKnowsWhatIssueDoes, to the byte, without signing.
func TestCheckKnowsWhatIssueDoes(t *testing.T) {
	for _, alg := range []access.Algorithm{access.EdDSA, access.ES256, access.PS256, access.HS256} {
		_, tokens := newAuthor(t, alg, access.Config{})
		c := login
		c.Custom = map[string]string{"text": strings.Repeat("x", 500)}
		text, _ := issue(t, tokens, c)
		if err := tokens.Check(c, len(text)); err != nil {
			t.Errorf("%s: a token that fits: %v", alg, err)
		}
		if err := tokens.Check(c, len(text)-1); !errors.Is(err, access.ErrCannotIssue) {
			t.Errorf("%s: a token that does not fit: %v", alg, err)
		}
	}
}

// TestTextComesBack: whatever is UTF-8 can be a subject, a role and a claim.
func TestTextComesBack(t *testing.T) {
	_, tokens := newAuthor(t, access.EdDSA, access.Config{})
	for _, text := range []string{"\ufffd&", "<\ufffd>", "\"\ufffd\"", "\u2028&\u2029", "a\ufffd", "&<>"} {
		c := login
		c.Subject, c.Roles, c.Custom = text, []string{text}, map[string]string{"text": text}
		token, _ := issue(t, tokens, c)
		got, err := tokens.Verify(token)
		var custom struct{ Text string }
		if err != nil || got.Subject != text || !got.HasRole(text) || got.Decode(&custom) != nil || custom.Text != text {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// A signer that fails may work later: that is another error.
func TestAFailingSignerIsToldApart(t *testing.T) {
	for name, broken := range map[string]crypto.Signer{
		"fails":  brokenSigner{materials()[access.EdDSA].(crypto.Signer), false},
		"panics": brokenSigner{materials()[access.EdDSA].(crypto.Signer), true},
	} {
		tokens := newTokens(t, access.Config{Keys: newRing(t, access.Keys{Signing: newKey(t, access.EdDSA, broken)})})
		text, claims, err := tokens.Issue(login)
		if err == nil || errors.Is(err, access.ErrCannotIssue) || text != "" || claims != nil {
			t.Errorf("%s: got %q, %v, %v", name, text, claims, err)
		}
	}
}

type brokenSigner struct {
	crypto.Signer
	panics bool
}

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	if b.panics {
		panic("no")
	}
	return nil, errors.New("the module does not answer")
}

// Every text in UTF-8 is issued, and arrives as it was.
func TestEveryTextRoundTrips(t *testing.T) {
	_, tokens := newAuthor(t, access.HS256, access.Config{})
	for _, text := range []string{
		"\ufffd", "\ufffd&", "<\ufffd>", "\"\ufffd\"", `\ufffd`, `\\ufffd\ud800`, "a\u2028b\u2029", "\x00", "\x7f", "\U0001f600", "\U0010ffff\ufffd",
		"\ufeff", "é", "e\u0301", "</script>", "\t\r\n", " ",
	} {
		c := login
		c.Subject, c.Roles, c.AMR, c.ACR, c.ClientID = text, []string{text, "x"}, []string{text}, text, text
		c.Custom = map[string]any{"x": text, "y" + text: []string{text}}
		token, issued := issue(t, tokens, c)
		verified, err := tokens.Verify(token)
		if err != nil {
			t.Errorf("%+q: %v", text, err)
			continue
		}
		for _, got := range []*access.Claims{issued, verified} {
			var custom map[string]any
			if err := got.Decode(&custom); err != nil {
				t.Fatal(err)
			}
			list, _ := custom["y"+text].([]any)
			if got.Subject != text || got.Roles[0] != text || got.AMR[0] != text || got.ACR != text || got.ClientID != text || custom["x"] != text || len(list) != 1 || list[0] != text {
				t.Errorf("%+q: got %+v, %+q", text, got, custom)
			}
		}
	}
}
