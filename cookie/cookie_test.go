package cookie_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
)

var (
	keyA = bytes.Repeat([]byte("a1B2"), 8)
	keyB = bytes.Repeat([]byte("c3D4"), 8)
)

func keys(k ...[]byte) func() [][]byte { return func() [][]byte { return k } }

func newJar(t testing.TB, cfg cookie.Config) *cookie.Jar {
	t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = keys(keyA)
	}
	j, err := cookie.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		cfg   cookie.Config
		field string
	}{
		{"no keys", cookie.Config{}, "Keys"},
		{"empty keys", cookie.Config{Keys: keys()}, "Keys"},
		{"a short key", cookie.Config{Keys: keys(keyA, keyB[:31])}, "Keys"},
		{"SameSite left to the browser", cookie.Config{SameSite: http.SameSiteDefaultMode, Keys: keys(keyA)}, "SameSite"},
		{"__Host-Http- with a domain", cookie.Config{HostHTTP: true, Domain: "example.com", Keys: keys(keyA)}, "Domain"},
		{"a domain that injects an attribute", cookie.Config{Domain: "example.com; Path=/x", Keys: keys(keyA)}, "Domain"},
		{"a domain with a leading dot", cookie.Config{Domain: ".example.com", Keys: keys(keyA)}, "Domain"},
		{"a domain that is too long", cookie.Config{Domain: strings.Repeat("a.", 127) + "com", Keys: keys(keyA)}, "Domain"},
		{"insecure with a prefix", cookie.Config{InsecureHTTP: true, HostHTTP: true, Keys: keys(keyA)}, "InsecureHTTP"},
		{"insecure with a domain", cookie.Config{InsecureHTTP: true, Domain: "example.com", Keys: keys(keyA)}, "Domain"},
		{"insecure with SameSite=None", cookie.Config{InsecureHTTP: true, SameSite: http.SameSiteNoneMode, Keys: keys(keyA)}, "InsecureHTTP"},
		{"a base name that is a prefix", cookie.Config{BaseName: "__Host-x", Keys: keys(keyA)}, "BaseName"},
		{"a base name with a separator", cookie.Config{BaseName: "a=b", Keys: keys(keyA)}, "BaseName"},
		{"a base name that is too long", cookie.Config{BaseName: strings.Repeat("a", 33), Keys: keys(keyA)}, "BaseName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := cookie.New(tt.cfg); err == nil || !strings.Contains(err.Error(), "Config."+tt.field) {
				t.Errorf("error %v, want one that names Config.%s", err, tt.field)
			}
		})
	}
}

// strict is the server's grammar of RFC 6265bis section 4.1.1, for the
// attributes that the package writes.
var strict = regexp.MustCompile(`^[!#$%&'*+.^_\x60|~0-9A-Za-z-]+=[A-Za-z0-9_.-]*; Path=/(; Domain=[a-z.]+)?(; Secure)?; HttpOnly; SameSite=(Lax|Strict|None)(; Max-Age=[0-9]+)?(; Expires=[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)?$`)

func TestAttributes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  cookie.Config
		want string
	}{
		{"default", cookie.Config{}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"strict", cookie.Config{SameSite: http.SameSiteStrictMode}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=Strict"},
		{"none", cookie.Config{SameSite: http.SameSiteNoneMode}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=None"},
		{"__Host-Http-", cookie.Config{HostHTTP: true}, "__Host-Http-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"subdomains", cookie.Config{Domain: "example.com"}, "__Secure-refresh=v; Path=/; Domain=example.com; Secure; HttpOnly; SameSite=Lax"},
		{"base name", cookie.Config{BaseName: "shop"}, "__Host-shop-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"insecure", cookie.Config{InsecureHTTP: true}, "refresh=v; Path=/; HttpOnly; SameSite=Lax"},
		{"insecure with a base name", cookie.Config{InsecureHTTP: true, BaseName: "shop"}, "shop-refresh=v; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j, h := newJar(t, tt.cfg), make(http.Header)
			if err := j.Set(h, cookie.Refresh, "v", 0); err != nil {
				t.Fatal(err)
			}
			if got := h.Get("Set-Cookie"); got != tt.want {
				t.Errorf("session cookie\n%s, want\n%s", got, tt.want)
			}
			if err := j.Set(h, cookie.Refresh, "v", time.Hour); err != nil {
				t.Fatal(err)
			}
			if got := h.Get("Set-Cookie"); got != tt.want+"; Max-Age=3600" || !strict.MatchString(got) {
				t.Errorf("kept cookie %s", got)
			}
			j.Delete(h, cookie.Refresh)
			want := strings.Replace(tt.want, "=v;", "=;", 1) + "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
			if got := h.Get("Set-Cookie"); got != want || !strict.MatchString(got) {
				t.Errorf("deletion\n%s, want\n%s", got, want)
			}
			if n := len(h.Values("Set-Cookie")); n != 1 {
				t.Errorf("%d lines for one name", n)
			}
		})
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	for _, tt := range []struct {
		name    string
		maxAge  time.Duration
		seconds int
	}{
		{"less than a second is a second", time.Millisecond, 1},
		{"rounded down", 1999 * time.Millisecond, 1},
		{"400 days", 400 * 24 * time.Hour, 34_560_000},
		{"never more than browsers keep", 500 * 24 * time.Hour, 34_560_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := make(http.Header)
			if err := j.Set(h, cookie.Access, "v", tt.maxAge); err != nil {
				t.Fatal(err)
			}
			c, err := http.ParseSetCookie(h.Get("Set-Cookie"))
			if err != nil || c.MaxAge != tt.seconds {
				t.Fatalf("Max-Age %d, %v; want %d", c.MaxAge, err, tt.seconds)
			}
		})
	}
}

func TestSetRefusesAndLeavesTheHeaderAlone(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	room := 4096 - len(j.Name(cookie.Access))
	for _, tt := range []struct {
		name  string
		value string
		age   time.Duration
		err   error
	}{
		{"empty", "", 0, cookie.ErrValue},
		{"a space", "a b", 0, cookie.ErrValue},
		{"a semicolon", "a; Domain=evil.example", 0, cookie.ErrValue},
		{"a line break", "a\r\nX: y", 0, cookie.ErrValue},
		{"a quote", `"a"`, 0, cookie.ErrValue},
		{"a comma", "a,b", 0, cookie.ErrValue},
		{"an equals sign, which frameworks encode", "YQ==", 0, cookie.ErrValue},
		{"a percent sign, which frameworks decode", "a%2Eb", 0, cookie.ErrValue},
		{"a plus sign, which some decode as a space", "a+b", 0, cookie.ErrValue},
		{"a slash", "a/b", 0, cookie.ErrValue},
		{"a tilde, which some encode", "a~b", 0, cookie.ErrValue},
		{"a backslash", `a\b`, 0, cookie.ErrValue},
		{"not ASCII", "ä", 0, cookie.ErrValue},
		{"name and value beyond 4096 bytes", strings.Repeat("a", room+1), 0, cookie.ErrTooLarge},
		{"a negative lifetime", "a", -time.Second, cookie.ErrLifetime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Set-Cookie": {"other=1", j.Name(cookie.Access) + "=before"}}
			if err := j.Set(h, cookie.Access, tt.value, tt.age); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if got := fmt.Sprint(h["Set-Cookie"]); got != "[other=1 __Host-access=before]" {
				t.Errorf("the header is now %s", got)
			}
		})
	}
	if err := j.Set(make(http.Header), cookie.Access, strings.Repeat("a", room), 0); err != nil {
		t.Errorf("4096 bytes: %v", err)
	}
}

func TestOneLinePerName(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	h := http.Header{"Set-Cookie": {"__Host-refresh-other=1", "other=__Host-refresh=2", "broken"}}
	for _, v := range []string{"a", "b"} {
		for _, n := range []cookie.Name{cookie.Refresh, cookie.Access} {
			if err := j.Set(h, n, v, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(h["Set-Cookie"]) != 5 {
		t.Errorf("header %q", h["Set-Cookie"])
	}
	j.Unset(h, cookie.Refresh)
	j.Unset(h, cookie.Access)
	if got := fmt.Sprint(h["Set-Cookie"]); got != "[__Host-refresh-other=1 other=__Host-refresh=2 broken]" {
		t.Errorf("header %s", got)
	}
	empty := make(http.Header)
	j.Delete(empty, cookie.Device)
	j.Unset(empty, cookie.Device)
	if _, there := empty["Set-Cookie"]; there {
		t.Error("an empty Set-Cookie stays")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  cookie.Config
		want string
	}{
		{cookie.Config{}, "__Host-access __Host-refresh __Host-device __Host-browser"},
		{cookie.Config{HostHTTP: true}, "__Host-Http-access __Host-Http-refresh __Host-Http-device __Host-Http-browser"},
		{cookie.Config{Domain: "example.com", BaseName: "shop"}, "__Secure-shop-access __Secure-shop-refresh __Secure-shop-device __Secure-shop-browser"},
		{cookie.Config{InsecureHTTP: true}, "access refresh device browser"},
	} {
		j := newJar(t, tt.cfg)
		got := strings.Join([]string{j.Name(cookie.Access), j.Name(cookie.Refresh), j.Name(cookie.Device), j.Name(cookie.Browser)}, " ")
		if got != tt.want {
			t.Errorf("names %q, want %q", got, tt.want)
		}
	}
}

// TestLinesOfOthers: a line that the app wrote counts when a browser takes it
// for the same cookie, however it is spelt, and only then.
func TestLinesOfOthers(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	written := httptest.NewRecorder()
	http.SetCookie(written, &http.Cookie{Name: "__Host-refresh", Value: "a b", Path: "/", Secure: true, MaxAge: 5})
	for _, tt := range []struct {
		rule  string
		h     http.Header
		count bool
	}{
		{"written by http.SetCookie", written.Header(), true},
		{"without attributes", http.Header{"Set-Cookie": {"__Host-refresh=x"}}, true},
		{"deleted by somebody else", http.Header{"Set-Cookie": {"__Host-refresh=; Max-Age=0"}}, true},
		{"a blank before the name", http.Header{"Set-Cookie": {" __Host-refresh=x"}}, true},
		{"blanks after the name", http.Header{"Set-Cookie": {"__Host-refresh \t=x"}}, true},
		{"a key that is not canonical", http.Header{"set-cookie": {"__Host-refresh=x"}}, true},
		{"behind other lines", http.Header{"Set-Cookie": {"a=1", "b=2", "__Host-refresh=x"}}, true},
		{"another case of the name is another cookie", http.Header{"Set-Cookie": {"__host-refresh=x"}}, false},
		{"a longer name", http.Header{"Set-Cookie": {"__Host-refresh2=x"}}, false},
		{"without a name", http.Header{"Set-Cookie": {"=__Host-refresh=x"}}, false},
		{"without an equals sign: a value without a name", http.Header{"Set-Cookie": {"__Host-refresh; a=b"}}, false},
		{"in another field", http.Header{"Cookie": {"__Host-refresh=x"}}, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			lines := func() (n int) {
				for _, l := range tt.h {
					n += len(l)
				}
				return n
			}
			others := lines()
			if tt.count {
				others--
			}
			if err := j.Set(tt.h, cookie.Refresh, "ours", 0); err != nil || lines() != others+1 {
				t.Errorf("after Set: %q, %v", tt.h, err)
			}
			j.Unset(tt.h, cookie.Refresh)
			if lines() != others {
				t.Errorf("after Unset: %q", tt.h)
			}
		})
	}
}

func TestDeletionDeletes(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/set", func(w http.ResponseWriter, r *http.Request) { j.Set(w.Header(), cookie.Refresh, "v", time.Hour) })
	mux.HandleFunc("/delete", func(w http.ResponseWriter, r *http.Request) { j.Delete(w.Header(), cookie.Refresh) })
	s := httptest.NewTLSServer(mux)
	defer s.Close()
	client := s.Client()
	client.Jar, _ = cookiejar.New(nil)
	u, _ := url.Parse(s.URL)
	for _, step := range []struct {
		path string
		kept int
	}{{"/set", 1}, {"/delete", 0}} {
		res, err := client.Get(s.URL + step.path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if n := len(client.Jar.Cookies(u)); n != step.kept {
			t.Errorf("after %s: %d cookies", step.path, n)
		}
	}
}
