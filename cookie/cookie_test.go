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
	"slices"
	"strconv"
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
	for _, tt := range []struct {
		name  string
		cfg   cookie.Config
		field string
	}{
		{"no keys", cookie.Config{}, "Keys"},
		{"empty keys", cookie.Config{Keys: keys()}, "Keys"},
		{"a short key", cookie.Config{Keys: keys(keyA, keyB[:31])}, "Keys"},
		{"an unknown prefix", cookie.Config{Prefix: 7, Keys: keys(keyA)}, "Prefix"},
		{"SameSite left to the browser", cookie.Config{SameSite: http.SameSiteDefaultMode, Keys: keys(keyA)}, "SameSite"},
		{"__Host- with a domain", cookie.Config{Domain: "example.com", Keys: keys(keyA)}, "Domain"},
		{"__Host-Http- with a domain", cookie.Config{Prefix: cookie.PrefixHostHTTP, Domain: "example.com", Keys: keys(keyA)}, "Domain"},
		{"a domain that injects an attribute", cookie.Config{Prefix: cookie.PrefixSecure, Domain: "example.com; Path=/x", Keys: keys(keyA)}, "Domain"},
		{"a domain with a leading dot", cookie.Config{Prefix: cookie.PrefixSecure, Domain: ".example.com", Keys: keys(keyA)}, "Domain"},
		{"insecure with a prefix", cookie.Config{InsecureHTTP: true, Prefix: cookie.PrefixSecure, Keys: keys(keyA)}, "InsecureHTTP"},
		{"insecure with a domain", cookie.Config{InsecureHTTP: true, Domain: "example.com", Keys: keys(keyA)}, "Domain"},
		{"insecure with SameSite=None", cookie.Config{InsecureHTTP: true, SameSite: http.SameSiteNoneMode, Keys: keys(keyA)}, "InsecureHTTP"},
		{"a base name that is a prefix", cookie.Config{BaseName: "__Host-x", Keys: keys(keyA)}, "BaseName"},
		{"a base name with a separator", cookie.Config{BaseName: "a=b", Keys: keys(keyA)}, "BaseName"},
		{"a base name that is too long", cookie.Config{BaseName: strings.Repeat("a", 33), Keys: keys(keyA)}, "BaseName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := cookie.New(tt.cfg); err == nil || !strings.Contains(err.Error(), "Config."+tt.field) {
				t.Errorf("error %v, want one that names Config.%s", err, tt.field)
			}
		})
	}
}

// strict is the server's grammar of RFC 6265bis section 4.1.1, for the
// attributes that the package writes.
var strict = regexp.MustCompile(`^[!#$%&'*+.^_\x60|~0-9A-Za-z-]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*; Path=/(; Domain=[a-z.]+)?(; Secure)?; HttpOnly; SameSite=(Lax|Strict|None)(; Max-Age=[0-9]+; Expires=[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)?$`)

func TestAttributes(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  cookie.Config
		want string
	}{
		{"default", cookie.Config{}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"strict", cookie.Config{SameSite: http.SameSiteStrictMode}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=Strict"},
		{"none", cookie.Config{SameSite: http.SameSiteNoneMode}, "__Host-refresh=v; Path=/; Secure; HttpOnly; SameSite=None"},
		{"__Host-Http-", cookie.Config{Prefix: cookie.PrefixHostHTTP}, "__Host-Http-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"subdomains", cookie.Config{Prefix: cookie.PrefixSecure, Domain: "example.com"}, "__Secure-refresh=v; Path=/; Domain=example.com; Secure; HttpOnly; SameSite=Lax"},
		{"base name", cookie.Config{BaseName: "shop"}, "__Host-shop-refresh=v; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"insecure", cookie.Config{InsecureHTTP: true}, "refresh=v; Path=/; HttpOnly; SameSite=Lax"},
		{"insecure with a base name", cookie.Config{InsecureHTTP: true, BaseName: "shop"}, "shop-refresh=v; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(tt.name, func(t *testing.T) {
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
			if got := h.Get("Set-Cookie"); !strings.HasPrefix(got, tt.want+"; Max-Age=3600; Expires=") || !strict.MatchString(got) {
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
			h := make(http.Header)
			if err := j.Set(h, cookie.Access, "v", tt.maxAge); err != nil {
				t.Fatal(err)
			}
			c, err := http.ParseSetCookie(h.Get("Set-Cookie"))
			if err != nil || c.MaxAge != tt.seconds {
				t.Fatalf("Max-Age %d, %v; want %d", c.MaxAge, err, tt.seconds)
			}
			if d := time.Until(c.Expires) - time.Duration(tt.seconds)*time.Second; d > time.Second || d < -2*time.Second {
				t.Errorf("Expires and Max-Age differ by %v", d)
			}
		})
	}
}

func TestSetRefusesAndLeavesTheHeaderAlone(t *testing.T) {
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
		{"a backslash", `a\b`, 0, cookie.ErrValue},
		{"not ASCII", "ä", 0, cookie.ErrValue},
		{"name and value beyond 4096 bytes", strings.Repeat("a", room+1), 0, cookie.ErrTooLarge},
		{"a negative lifetime", "a", -time.Second, cookie.ErrLifetime},
	} {
		t.Run(tt.name, func(t *testing.T) {
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
	j := newJar(t, cookie.Config{})
	h := http.Header{"Set-Cookie": {"__Host-refresh-other=1", "other=__Host-refresh=2", "broken"}}
	for _, v := range []string{"a", "b"} {
		for _, n := range []cookie.Name{cookie.Refresh, cookie.Access} {
			if err := j.Set(h, n, v, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(h["Set-Cookie"]) != 5 || !j.IsSet(h, cookie.Refresh) || j.IsSet(h, cookie.Device) {
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

func TestDeletionDeletes(t *testing.T) {
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

func TestRead(t *testing.T) {
	j := newJar(t, cookie.Config{})
	for _, tt := range []struct {
		name  string
		lines []string
		value string
		err   error
	}{
		{"no header", nil, "", cookie.ErrAbsent},
		{"other cookies", []string{"a=1; b=2"}, "", cookie.ErrAbsent},
		{"alone", []string{"__Host-refresh=v"}, "v", nil},
		{"among others", []string{"a=1; __Host-refresh=v; b=2"}, "v", nil},
		{"without spaces, with tabs", []string{"a=1;__Host-refresh=v;\tb=2"}, "v", nil},
		{"split over lines", []string{"a=1", "__Host-refresh=v", "b=2"}, "v", nil},
		{"an equals sign in the value", []string{"__Host-refresh=v=="}, "v==", nil},
		{"a longer name", []string{"__Host-refresh2=v"}, "", cookie.ErrAbsent},
		{"a name that ends so", []string{"x__Host-refresh=v"}, "", cookie.ErrAbsent},
		{"another case: browsers do not guard it", []string{"__host-refresh=v"}, "", cookie.ErrAbsent},
		{"a value that looks like it", []string{"a=__Host-refresh=v"}, "", cookie.ErrAbsent},
		{"no equals sign", []string{"__Host-refresh"}, "", cookie.ErrMalformed},
		{"no equals sign, and a value", []string{"__Host-refresh; __Host-refresh=v"}, "", cookie.ErrDuplicate},
		{"twice, equal", []string{"__Host-refresh=v; __Host-refresh=v"}, "v", nil},
		{"twice, different", []string{"__Host-refresh=v; __Host-refresh=w"}, "", cookie.ErrDuplicate},
		{"twice, in two lines", []string{"__Host-refresh=v", "__Host-refresh=w"}, "", cookie.ErrDuplicate},
		{"twice, one empty", []string{"__Host-refresh=; __Host-refresh=w"}, "", cookie.ErrDuplicate},
		{"empty", []string{"__Host-refresh="}, "", cookie.ErrMalformed},
		{"quoted: the quotes are part of it", []string{`__Host-refresh="v"`}, `"v"`, nil},
		{"a space inside is part of it", []string{"__Host-refresh=v w"}, "v w", nil},
		{"blanks around it are not", []string{"a=b; \t__Host-refresh=v \t; c=d"}, "v", nil},
		{"a blank in the name", []string{"__Host-refresh =v"}, "", cookie.ErrAbsent},
		{"too long", []string{"__Host-refresh=" + strings.Repeat("v", 4097)}, "", cookie.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Cookie": tt.lines}}
			if value, err := j.Read(r, cookie.Refresh); value != tt.value || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Read = %q, %v; want %q, %v", value, err, tt.value, tt.err)
			}
		})
	}
}

func TestSealing(t *testing.T) {
	j := newJar(t, cookie.Config{})
	for _, plain := range [][]byte{{}, {0}, []byte("device"), bytes.Repeat([]byte{0xff}, 1000)} {
		value, err := j.Seal(cookie.Device, plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Set(make(http.Header), cookie.Device, value, time.Hour); err != nil {
			t.Errorf("a sealed value does not fit a cookie: %v", err)
		}
		if got, stale, err := j.Open(cookie.Device, value); err != nil || stale || !bytes.Equal(got, plain) {
			t.Errorf("Open = %q, %v, %v", got, stale, err)
		}
		if len(plain) > 1 && strings.Contains(value, string(plain)) {
			t.Error("the value is readable")
		}
		if _, _, err := j.Open(cookie.Refresh, value); !errors.Is(err, cookie.ErrSeal) {
			t.Errorf("opened under another name: %v", err)
		}
	}
	if _, err := j.Seal(cookie.Device, make([]byte, 4000)); !errors.Is(err, cookie.ErrTooLarge) {
		t.Errorf("a value that is too large: %v", err)
	}
}

func TestSealedValuesAreNotMalleable(t *testing.T) {
	j := newJar(t, cookie.Config{})
	value, err := j.Seal(cookie.Device, []byte("sixteen bytes ok"))
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name, v string) {
		t.Helper()
		if v == value {
			return
		}
		if plain, _, err := j.Open(cookie.Device, v); !errors.Is(err, cookie.ErrSeal) || plain != nil {
			t.Errorf("%s: opened as %q, %v", name, plain, err)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
	for i := range value {
		for _, c := range alphabet {
			refused(fmt.Sprintf("character %d", i), value[:i]+string(c)+value[i+1:])
		}
		refused("a line break inside", value[:i]+"\n"+value[i:])
	}
	refused("cut", value[:len(value)-1])
	refused("longer", value+"A")
	refused("padded", value+"=")
	refused("empty", "")
	refused("long", strings.Repeat("A", 1<<20))
}

func TestKeysAreReplacedAtRunTime(t *testing.T) {
	current := [][]byte{keyA}
	j := newJar(t, cookie.Config{Keys: func() [][]byte { return current }})
	value, err := j.Seal(cookie.Device, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	current = [][]byte{keyB, keyA}
	if _, stale, err := j.Open(cookie.Device, value); err != nil || !stale {
		t.Errorf("under an older key: stale %v, %v", stale, err)
	}
	newer, err := j.Seal(cookie.Device, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	current = [][]byte{keyB}
	if _, stale, err := j.Open(cookie.Device, newer); err != nil || stale {
		t.Errorf("the newest key does not seal: stale %v, %v", stale, err)
	}
	if _, _, err := j.Open(cookie.Device, value); !errors.Is(err, cookie.ErrSeal) {
		t.Errorf("under a key that is gone: %v", err)
	}
	current = nil
	if _, err := j.Seal(cookie.Device, nil); err == nil {
		t.Error("sealed without a key")
	}
	current = [][]byte{[]byte("short")}
	if _, _, err := j.Open(cookie.Device, newer); err == nil {
		t.Error("opened with a short key")
	}
}

func TestNoNonceComesTwice(t *testing.T) {
	j := newJar(t, cookie.Config{})
	seen := make(map[string]bool)
	for range 10_000 {
		value, err := j.Seal(cookie.Device, []byte("v"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[value] {
			t.Fatal("two equal seals")
		}
		seen[value] = true
	}
}

func TestReadIsBounded(t *testing.T) {
	j := newJar(t, cookie.Config{})
	r := &http.Request{Header: http.Header{"Cookie": {strings.Repeat("a=b; ", 100_000) + "__Host-refresh=v"}}}
	if allocations := testing.AllocsPerRun(10, func() {
		if v, err := j.Read(r, cookie.Refresh); v != "v" || err != nil {
			t.Error(v, err)
		}
	}); allocations != 0 {
		t.Errorf("%v allocations for 100,000 cookies", allocations)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"__Host-refresh=v", "a=1; __Host-refresh=v", "__Host-refresh=v; __Host-refresh=w", `__Host-refresh="v"`, "=;=;;", "__Host-refresh", "\x00"} {
		f.Add(seed)
	}
	j := newJar(f, cookie.Config{})
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		value, err := j.Read(r, cookie.Refresh)
		// net/http drops blanks between a name and "=", which to Read are part of
		// the name. Browsers drop them before they send. Line breaks, which it
		// drops as well, are never in a header.
		trimmed := strings.Contains(header, "__Host-refresh ") || strings.Contains(header, "__Host-refresh\t") || strings.ContainsAny(header, "\r\n")
		if err == nil && !trimmed {
			// net/http sees the same cookie.
			for _, c := range r.CookiesNamed("__Host-refresh") {
				if c.Quoted {
					c.Value = `"` + c.Value + `"`
				}
				if c.Value != value {
					t.Errorf("Read = %q, net/http reads %q from %q", value, c.Value, header)
				}
			}
		}
		if err != nil && value != "" {
			t.Errorf("a value %q beside error %v", value, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	j := newJar(f, cookie.Config{})
	good, err := j.Seal(cookie.Device, []byte("device"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "AAAA", good[1:], "MTc5NTQ0ODc1OHw=", strings.Repeat("A", len(good))} {
		f.Add(seed, 0, byte(0))
	}
	f.Add("", 10, byte('A'))
	f.Fuzz(func(t *testing.T, value string, at int, c byte) {
		if value == "" && at >= 0 && at < len(good) {
			value = good[:at] + string(c) + good[at+1:]
		}
		if plain, _, err := j.Open(cookie.Device, value); err == nil && value != good {
			t.Errorf("forged %q opens as %q", value, plain)
		}
	})
}

func Example() {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{Keys: func() [][]byte { return [][]byte{secret} }})
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	if err := jar.Set(w.Header(), cookie.Refresh, "token", 0); err != nil {
		panic(err)
	}
	fmt.Println(w.Header().Get("Set-Cookie"))

	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(w.Result().Cookies()[0])
	token, err := jar.Read(r, cookie.Refresh)
	fmt.Println(token, err)
	// Output:
	// __Host-refresh=token; Path=/; Secure; HttpOnly; SameSite=Lax
	// token <nil>
}

func ExampleJar_Seal() {
	secret := []byte("32 random bytes from crypto/rand")
	jar, err := cookie.New(cookie.Config{Keys: func() [][]byte { return [][]byte{secret} }})
	if err != nil {
		panic(err)
	}
	value, err := jar.Seal(cookie.Device, []byte("device 7"))
	if err != nil {
		panic(err)
	}
	plain, stale, err := jar.Open(cookie.Device, value)
	fmt.Println(string(plain), stale, err)
	// Output: device 7 false <nil>
}

// many returns prefix1, prefix2, … n of them.
func many(n int, prefix string) (list []string) {
	for i := range n {
		list = append(list, prefix+strconv.Itoa(i))
	}
	return list
}

func TestValues(t *testing.T) {
	jar := newJar(t, cookie.Config{})
	name := jar.Name(cookie.Refresh)
	for _, tt := range []struct {
		rule  string
		lines []string
		want  []string
	}{
		{"none", []string{"other=1"}, nil},
		{"one", []string{"other=1; " + name + "=a"}, []string{"a"}},
		{"different ones in the order they came", []string{name + "=b; " + name + "=a", name + "=c"}, []string{"b", "a", "c"}},
		{"equal ones once", []string{name + "=a; " + name + "=a"}, []string{"a"}},
		{"no malformed ones", []string{name + `="a"; ` + name + "=; " + name + "; " + name + "=" + strings.Repeat("a", 4097)}, nil},
		{"names are exact", []string{strings.ToLower(name) + "=a"}, nil},
		{"200 at most", []string{strings.Join(many(201, name+"="), ";")}, many(200, "")},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = tt.lines
		if got := jar.ReadAll(r, cookie.Refresh); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.rule, got, tt.want)
		}
	}
}
