package cookie_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/cookie"
)

func read(j *cookie.Jar, lines ...string) (string, error) {
	return j.Read(&http.Request{Header: http.Header{"Cookie": lines}}, cookie.Refresh)
}

// beside reads the jar's cookie when it is sent with others, on either side
// and on lines of its own.
func beside(t *testing.T, j *cookie.Jar, others string) {
	t.Helper()
	const own = "__Host-refresh=value"
	for _, lines := range [][]string{{others + "; " + own}, {own + "; " + others}, {others, own}, {own, others}, {others + ";" + own + ";" + others}} {
		if v, err := read(j, lines...); v != "value" || err != nil {
			t.Errorf("beside %q: %q, %v", others, v, err)
		}
	}
	if v, err := read(j, others); !errors.Is(err, cookie.ErrAbsent) {
		t.Errorf("%q: %q, %v", others, v, err)
	}
}

var quoted = regexp.MustCompile(`^"(.*)"$`)

// TestHTTPState takes the cookies that browsers send after the tests of the
// HTTP State working group, and also what servers set in them, which nobody
// should send.
func TestHTTPState(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SESSIONKIT_CORPUS")
	if dir == "" {
		t.Skip("not tested: the collection http-state, because SESSIONKIT_CORPUS is not set (see testdata/corpora/README.md)")
	}
	text, err := os.ReadFile(filepath.Join(dir, "http-state", "tests", "data", "parser.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Test     string
		Received []string
		Sent     []struct{ Name, Value string }
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	j := newJar(t, cookie.Config{})
	lines, values := 0, 0
	for _, tt := range all {
		var sent []string
		for _, c := range tt.Sent {
			sent = append(sent, c.Name+"="+c.Value)
			// The same value in our cookie: what Set can have written arrives,
			// also in quotes, and everything else as it was sent.
			values++
			want := c.Value
			if m := quoted.FindStringSubmatch(want); m != nil {
				want = m[1]
			}
			v, err := read(j, "__Host-refresh="+c.Value)
			if want == "" && !errors.Is(err, cookie.ErrMalformed) || want != "" && (v != want || err != nil) {
				t.Errorf("%s: value %q: %q, %v", tt.Test, c.Value, v, err)
			}
		}
		if len(sent) > 0 {
			lines++
			beside(t, j, strings.Join(sent, "; "))
		}
		for _, line := range tt.Received {
			lines++
			beside(t, j, line)
		}
	}
	t.Logf("%d tests, %d lines, %d values", len(all), lines, values)
	if lines < 200 || values < 100 {
		t.Error("the collection is not whole")
	}
}

func TestOddCookiesHideNothing(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	for _, others := range []string{
		"", ";", ";;", " ; ", "=", "==", "=x", "=;=", "a", "a=", "a=b=c", "a==", `a="`, `a="b`, `a="b;c"`, `a="\"; b="`, "a=b,c", "a=b c", "a b=c", "\ta=b\t",
		"a=\xff", "\xff=a", "a=\x00", "\x00", "春=节", "$Version=1; a=b; $Path=/", "$__Host-refresh=x", "expires=Thu, 01 Jan 1970 00:00:00 GMT", "Secure; HttpOnly; Path=/",
		"__host-refresh=x", "__HOST-refresh=x", "__Host-Refresh=x", "__Host-refres=x", "__Host-refresh2=x", "__Host-refreshx", "x__Host-refresh=x", "__Secure-refresh=x", "refresh=x",
		"=__Host-refresh=x", "=__Host-refresh", `"__Host-refresh"=x`, "a=__Host-refresh=x", "__Host-refresh =x", "__Host-refresh\t=x", "__Host-refresh%3Dx", "__Host%2Drefresh=x",
		"\u00a0__Host-refresh=x", "\ufeff__Host-refresh=x", "__Host-refresh\x00=x", "__Host\u2010refresh=x", strings.Repeat("a", 8000), strings.Repeat("a=b; ", 300) + "c",
	} {
		beside(t, j, others)
	}
}
