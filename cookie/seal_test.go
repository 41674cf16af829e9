package cookie_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/internal/faketime"
)

func TestSealing(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	for _, plain := range [][]byte{{}, {0}, []byte("device"), bytes.Repeat([]byte{0xff}, 1000)} {
		value, err := j.Seal(cookie.Device, plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Set(make(http.Header), cookie.Device, value, time.Hour); err != nil {
			t.Errorf("a sealed value does not fit a cookie: %v", err)
		}
		if got, renew, err := j.Open(cookie.Device, value); err != nil || renew || !bytes.Equal(got, plain) {
			t.Errorf("Open = %q, %v, %v", got, renew, err)
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
	t.Parallel()
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
	refused("padded twice", value+"==")
	text, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	refused("standard base64", base64.RawStdEncoding.EncodeToString(text))
	refused("empty", "")
	refused("long", strings.Repeat("A", 1<<20))
}

func TestKeysAreReplacedAtRunTime(t *testing.T) {
	t.Parallel()
	current := [][]byte{keyA}
	j := newJar(t, cookie.Config{Keys: func() [][]byte { return current }})
	value, err := j.Seal(cookie.Device, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	current = [][]byte{keyB, keyA}
	if _, renew, err := j.Open(cookie.Device, value); err != nil || !renew {
		t.Errorf("under an older key: renew %v, %v", renew, err)
	}
	newer, err := j.Seal(cookie.Device, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	current = [][]byte{keyB}
	if _, renew, err := j.Open(cookie.Device, newer); err != nil || renew {
		t.Errorf("the newest key does not seal: renew %v, %v", renew, err)
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

// TestSealedValuesGrowOld: a browser that keeps cookies for some days at most
// gets a device cookie again long before it has lost the last.
func TestSealedValuesGrowOld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule  string
		after time.Duration
		renew bool
	}{
		{"at once: no", 0, false},
		{"a day later: not yet", 24 * time.Hour, false},
		{"a second after that: yes", 24*time.Hour + time.Second, true},
		{"a year later it still opens", 365 * 24 * time.Hour, true},
	} {
		faketime.Test(t, func(t *testing.T) {
			j := newJar(t, cookie.Config{})
			value, err := j.Seal(cookie.Device, []byte("device"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(tt.after)
			plain, renew, err := j.Open(cookie.Device, value)
			if string(plain) != "device" || renew != tt.renew || err != nil {
				t.Errorf("%s: %q, renew %v, %v", tt.rule, plain, renew, err)
			}
			if value, err = j.Seal(cookie.Device, plain); err != nil {
				t.Fatal(err)
			}
			if _, renew, err := j.Open(cookie.Device, value); renew || err != nil {
				t.Errorf("%s: sealed anew: renew %v, %v", tt.rule, renew, err)
			}
		})
	}
}

// TestSealedByAClockThatWasAhead: the value is sealed anew, and does not have
// to wait until the clock has caught up.
func TestSealedByAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]bool{time.Hour: false, 24 * time.Hour: false, 25 * time.Hour: true, 400 * 24 * time.Hour: true} {
		j := newJar(t, cookie.Config{})
		var value string
		faketime.Test(t, func(t *testing.T) {
			time.Sleep(ahead)
			var err error
			if value, err = j.Seal(cookie.Device, []byte("device")); err != nil {
				t.Fatal(err)
			}
		})
		// A second bubble starts at the same time as the first.
		faketime.Test(t, func(t *testing.T) {
			if plain, renew, err := j.Open(cookie.Device, value); string(plain) != "device" || renew != want || err != nil {
				t.Errorf("%v ahead: %q, renew %v, %v", ahead, plain, renew, err)
			}
		})
	}
}

// TestCopiesByFrameworks: a device cookie that an app has read and set again
// with another cookie library still opens.
func TestCopiesByFrameworks(t *testing.T) {
	t.Parallel()
	j := newJar(t, cookie.Config{})
	for length := range 6 {
		value, err := j.Seal(cookie.Device, make([]byte, length))
		if err != nil {
			t.Fatal(err)
		}
		for rule, copied := range map[string]string{
			"unchanged":                   value,
			"encodeURIComponent":          url.QueryEscape(value),
			"quoted":                      `"` + value + `"`,
			"everything but letters":      strings.NewReplacer("-", "%2d", "_", "%5f").Replace(value),
			"the same, in capitals":       strings.NewReplacer("-", "%2D", "_", "%5F").Replace(value),
			"encoded, then quoted":        `"` + strings.NewReplacer("-", "%2D", "_", "%5F").Replace(value) + `"`,
			"net/http, asked for quoting": (&http.Cookie{Name: "n", Value: value, Quoted: true}).String()[len("n="):],
		} {
			r := &http.Request{Header: http.Header{"Cookie": {"__Host-device=" + copied}}}
			got, err := j.Read(r, cookie.Device)
			if err != nil {
				t.Errorf("%s: %v", rule, err)
			}
			if plain, _, err := j.Open(cookie.Device, got); len(plain) != length || err != nil {
				t.Errorf("%s: %d bytes, %v", rule, len(plain), err)
			}
		}
	}
}

func TestNoNonceComesTwice(t *testing.T) {
	t.Parallel()
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

func FuzzOpen(f *testing.F) {
	// A key for each process of the fuzzer: what another one sealed is no forgery.
	key := make([]byte, 32)
	rand.Read(key)
	j := newJar(f, cookie.Config{Keys: func() [][]byte { return [][]byte{key} }})
	good, err := j.Seal(cookie.Device, []byte("device"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "AAAA", good[1:], good + "=", good + "==", "MTc5NTQ0ODc1OHw", "MTc5NTQ0ODc1OHw=", strings.Repeat("A", len(good))} {
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
