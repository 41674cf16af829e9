package cookie_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/cookie"
)

func TestRead(t *testing.T) {
	t.Parallel()
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
		{"quoted", []string{`__Host-refresh="v"`}, "v", nil},
		{"quoted, empty", []string{`__Host-refresh=""`}, "", cookie.ErrMalformed},
		{"one quote is part of it", []string{`__Host-refresh="v`}, `"v`, nil},
		{"nothing but a quote", []string{`__Host-refresh="`}, `"`, nil},
		{"percent-encoded", []string{"__Host-refresh=a%2Eb%2Dc%5Fd"}, "a.b-c_d", nil},
		{"percent-encoded, small letters", []string{"__Host-refresh=a%2eb%2dc%5fd"}, "a.b-c_d", nil},
		{"percent-encoded letters and digits", []string{"__Host-refresh=%61%42%37"}, "aB7", nil},
		{"percent-encoded, then quoted", []string{`__Host-refresh="a%2Eb"`}, "a.b", nil},
		{"encoded twice", []string{"__Host-refresh=a%252Eb"}, "", cookie.ErrMalformed},
		{"an encoded character that Set refuses", []string{"__Host-refresh=v%3D"}, "", cookie.ErrMalformed},
		{"an encoded line break", []string{"__Host-refresh=v%0D%0Aw"}, "", cookie.ErrMalformed},
		{"an encoded zero byte", []string{"__Host-refresh=v%00"}, "", cookie.ErrMalformed},
		{"half an encoded character", []string{"__Host-refresh=v%2"}, "", cookie.ErrMalformed},
		{"no hexadecimal digits", []string{"__Host-refresh=v%zz"}, "", cookie.ErrMalformed},
		{"twice, one percent-encoded", []string{"__Host-refresh=a.b; __Host-refresh=a%2Eb"}, "a.b", nil},
		{"twice, one quoted", []string{`__Host-refresh="a.b"`, "__Host-refresh=a.b"}, "a.b", nil},
		{"twice, encoded and different", []string{"__Host-refresh=a%2Eb; __Host-refresh=a%2Dc"}, "", cookie.ErrDuplicate},
		{"twice, one wrongly encoded", []string{"__Host-refresh=a; __Host-refresh=%"}, "", cookie.ErrDuplicate},
		{"as long as Set allows, each character encoded", []string{"__Host-refresh=" + strings.Repeat("%61", 4096)}, strings.Repeat("a", 4096), nil},
		{"too long, each character encoded", []string{"__Host-refresh=" + strings.Repeat("%61", 4097)}, "", cookie.ErrMalformed},
		{"a space inside is part of it", []string{"__Host-refresh=v w"}, "v w", nil},
		{"blanks around it are not", []string{"a=b; \t__Host-refresh=v \t; c=d"}, "v", nil},
		{"a blank in the name", []string{"__Host-refresh =v"}, "", cookie.ErrAbsent},
		{"too long", []string{"__Host-refresh=" + strings.Repeat("v", 4097)}, "", cookie.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Header: http.Header{"Cookie": tt.lines}}
			if value, err := j.Read(r, cookie.Refresh); value != tt.value || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Read = %q, %v; want %q, %v", value, err, tt.value, tt.err)
			}
		})
	}
}

// TestReadIsBounded is not parallel: it counts the allocations of the
// whole program.
func TestReadIsBounded(t *testing.T) {
	j := newJar(t, cookie.Config{})
	for _, tt := range []struct{ name, header string }{
		{"100,000 other cookies", strings.Repeat("a=b; ", 100_000) + "__Host-refresh=v"},
		{"100,000 copies", strings.Repeat("__Host-refresh=v; ", 100_000)},
		{"a quoted value", `__Host-refresh="v"`},
	} {
		r := &http.Request{Header: http.Header{"Cookie": {tt.header}}}
		if allocations := testing.AllocsPerRun(10, func() {
			if v, err := j.Read(r, cookie.Refresh); v != "v" || err != nil {
				t.Error(v, err)
			}
		}); allocations != 0 {
			t.Errorf("%s: %v allocations", tt.name, allocations)
		}
	}
}

// FuzzReencoded changes the spelling of a value that Set wrote in the ways of
// frameworks, in any mixture.
func FuzzReencoded(f *testing.F) {
	f.Add("eyJh.eyJi-_", uint64(0), false, false)
	f.Add("a.b-c_d", uint64(0b0101010), false, true)
	f.Add("AAAA", ^uint64(0), true, false)
	f.Add("v=w", uint64(1), true, true)
	j := newJar(f, cookie.Config{})
	f.Fuzz(func(t *testing.T, value string, encoded uint64, small, quoted bool) {
		if j.Set(make(http.Header), cookie.Refresh, value, 0) != nil {
			return
		}
		format := "%%%02X"
		if small {
			format = "%%%02x"
		}
		var b strings.Builder
		for i := range len(value) {
			if encoded>>(i%64)&1 == 1 {
				fmt.Fprintf(&b, format, value[i])
			} else {
				b.WriteByte(value[i])
			}
		}
		sent := b.String()
		if quoted {
			sent = `"` + sent + `"`
		}
		r := &http.Request{Header: http.Header{"Cookie": {"__Host-refresh=" + sent + "; __Host-refresh=" + value}}}
		if got, err := j.Read(r, cookie.Refresh); got != value || err != nil {
			t.Errorf("%q sent as %q: Read = %q, %v", value, sent, got, err)
		}
		if got := j.ReadAll(r, cookie.Refresh); len(got) != 1 || got[0] != value {
			t.Errorf("%q sent as %q: ReadAll = %q", value, sent, got)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"__Host-refresh=v", "a=1; __Host-refresh=v", "__Host-refresh=v; __Host-refresh=w", `__Host-refresh="v"`, `__Host-refresh="`, "__Host-refresh=a%2Eb; __Host-refresh=a.b", "__Host-refresh=%", "=;=;;", "__Host-refresh", "\x00"} {
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
				want := c.Value
				if strings.Contains(want, "%") {
					want, _ = url.PathUnescape(want)
				}
				if want != value {
					t.Errorf("Read = %q, net/http reads %q from %q", value, c.Value, header)
				}
			}
		}
		if err != nil && value != "" {
			t.Errorf("a value %q beside error %v", value, err)
		}
	})
}

// many returns prefix1, prefix2, … n of them.
func many(n int, prefix string) (list []string) {
	for i := range n {
		list = append(list, prefix+strconv.Itoa(i))
	}
	return list
}

func TestReadAll(t *testing.T) {
	t.Parallel()
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
		{"encoded ones", []string{name + `="a"; ` + name + "=a%2Eb; " + name + "=a%2eb; " + name + "=a.b"}, []string{"a", "a.b"}},
		{"no malformed ones", []string{name + `="a; ` + name + "=a=; " + name + "=a b; " + name + "=%; " + name + "=%00; " + name + "=; " + name + "; " + name + "=" + strings.Repeat("a", 4097)}, nil},
		{"more than 200 copies do not count", []string{strings.Repeat(name+"=x; ", 1000) + name + "=a"}, []string{"x", "a"}},
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
