package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

// vectors are what open redirects are made of. Those that LocalPath takes
// stay on the host for every browser: escapes are not decoded before the host
// is found, and dots never reach above the root.
var vectors = map[string]bool{
	"/":                         true,
	"/account":                  true,
	"/account?next=//evil.test": true,
	"/a?b=https://evil.test":    true,
	"/%5cevil.test":             true,
	"/%5Cevil.test/":            true,
	"/%2f/evil.test":            true,
	"/%09/evil.test":            true,
	"/@evil.test":               true,
	"/user:pass@evil.test/":     true,
	"/:80":                      true,
	"/.evil.test":               true,
	"/..":                       true,
	"/caf%C3%A9":                true,

	"//evil.test":                       false,
	"///evil.test":                      false,
	"////evil.test/":                    false,
	`/\evil.test`:                       false,
	`\/evil.test`:                       false,
	`\\evil.test`:                       false,
	`/a\..\..\evil.test`:                false,
	"/\t/evil.test":                     false,
	"/\n/evil.test":                     false,
	"\t//evil.test":                     false,
	" //evil.test":                      false,
	"/ /evil.test":                      false,
	"/a\r\nSet-Cookie: x=y":             false,
	"/a\x00":                            false,
	"/a\x7f":                            false,
	"//user@evil.test":                  false,
	"//app.example@evil.test":           false,
	"https:evil.test":                   false,
	"https:/evil.test":                  false,
	"https://evil.test/":                false,
	"HTTPS://app.example/":              false,
	"javascript:alert(1)":               false,
	"data:text/html,x":                  false,
	"evil.test":                         false,
	"./a":                               false,
	"../a":                              false,
	"?a=b":                              false,
	"#a":                                false,
	"":                                  false,
	"/\u2215evil.test":                  false, // division slash
	"/\uff0fevil.test":                  false, // fullwidth solidus
	"\uff0f\uff0fevil.test":             false,
	"/\u3002evil.test":                  false, // ideographic full stop
	"/\u202eevil.test":                  false, // right-to-left override
	"/\xff":                             false,
	"/%":                                false,
	"/%zz":                              false,
	"/" + strings.Repeat("a", 3<<10):    false,
	"/?" + strings.Repeat("a=b&", 1000): false,
}

func TestLocalPath(t *testing.T) {
	for s, local := range vectors {
		got := middleware.LocalPath(s, "fallback")
		if want := map[bool]string{true: s, false: "fallback"}[local]; got != want {
			t.Errorf("LocalPath(%.40q) = %.40q", s, got)
		}
		if !local {
			continue
		}
		// What a client makes of it, by Location.
		rec := httptest.NewRecorder()
		http.Redirect(rec, httptest.NewRequest("GET", "https://app.example/login", nil), got, http.StatusSeeOther)
		staysOnHost(t, rec.Header().Get("Location"))
	}
	if got := middleware.LocalPath("/"+strings.Repeat("a", 2047), ""); got == "" {
		t.Error("2048 bytes are too many")
	}
	if got := middleware.LocalPath("/"+strings.Repeat("a", 2048), ""); got != "" {
		t.Error("2049 bytes are not too many")
	}
}

func staysOnHost(t *testing.T, path string) {
	t.Helper()
	base := &url.URL{Scheme: "https", Host: "app.example", Path: "/login"}
	u, err := base.Parse(path)
	if err != nil || u.Scheme != "https" || u.Host != "app.example" || u.User != nil {
		t.Errorf("%q leads to %v, %v", path, u, err)
	}
}

// browsers read backslashes as slashes, drop tabs and line breaks, and trim
// control characters and blanks (WHATWG URL).
var browsers = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/")

// FuzzLocalPath reads what LocalPath lets pass as browsers would: it stays on
// this host.
func FuzzLocalPath(f *testing.F) {
	for s := range vectors {
		if len(s) < 100 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := middleware.LocalPath(s, "/")
		if p != "/" && p != s {
			t.Errorf("LocalPath(%q) = %q, neither", s, p)
		}
		if again := middleware.LocalPath(p, ""); again != p {
			t.Errorf("%q is local once and not twice", p)
		}
		staysOnHost(t, p)
		seen := strings.TrimFunc(browsers.Replace(p), func(r rune) bool { return r <= ' ' })
		if !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("LocalPath(%q) = %q, which a browser reads as %q", s, p, seen)
		}
	})
}
