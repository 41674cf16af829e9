package sessionkit_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// Times of the sessions in these tests.
const (
	tokenLifetime = 10 * time.Minute
	idleTimeout   = time.Hour
	lifetime      = 24 * time.Hour
)

// newService returns instances of one service, one for each clock.
func newService(t *testing.T, clocks ...func() time.Time) []http.Handler {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := access.GenerateKeys(access.EdDSA)
	check(err)
	ring, err := access.NewKeyRing(keys)
	check(err)
	store, err := family.NewMemoryStore(family.MemoryConfig{})
	check(err)
	var instances []http.Handler
	for _, now := range clocks {
		kit, err := sessionkit.New(sessionkit.Config{
			Issuer: "https://app.example", Keys: ring, Store: store,
			Tokens:   access.Config{Lifetime: tokenLifetime, Now: now},
			Sessions: refresh.Config{IdleTimeout: idleTimeout, AbsoluteLifetime: lifetime},
		})
		check(err)
		t.Cleanup(func() { kit.Close() })
		mux := http.NewServeMux()
		mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
			if _, err := kit.Login(w, r, refresh.Login{Subject: "alice", Remember: true}); err != nil {
				t.Error(err)
			}
		})
		mux.Handle("/", kit.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
		})))
		instances = append(instances, mux)
	}
	return instances
}

// A client keeps cookies for ever.
type client map[string]string

// request sends a request whose body takes some time, and returns the answer.
func (c client) request(h http.Handler, method, path string, takes time.Duration) *http.Response {
	r := httptest.NewRequest(method, path, &slowBody{takes: takes})
	r.Header.Set("Date", "Tue, 01 Jan 1980 00:00:00 GMT") // what the client believes
	for name, value := range c {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, cookie := range w.Result().Cookies() {
		c[cookie.Name] = cookie.Value
	}
	return w.Result()
}

// A slowBody is empty, and takes its time to say so.
type slowBody struct{ takes time.Duration }

// Read implements io.Reader.
func (b *slowBody) Read([]byte) (int, error) {
	time.Sleep(b.takes)
	b.takes = 0
	return 0, io.EOF
}

// until makes requests one after the other, with a pause between, and returns how
// long it took until one was refused.
func (c client) until(t *testing.T, instances []http.Handler, takes, pause time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for i := 0; time.Since(start) < 2*lifetime; i++ {
		began := time.Since(start)
		switch res := c.request(instances[i%len(instances)], "POST", "/", takes); res.StatusCode {
		case http.StatusOK:
		case http.StatusUnauthorized:
			return began
		default:
			t.Fatalf("status %d after %v", res.StatusCode, began)
		}
		time.Sleep(pause)
	}
	t.Fatal("never refused")
	return 0
}

// TestABusyClientIsSignedOutByAgeOnly: whether it polls or uploads. An upload that
// takes longer than half a minute brings no cookies of a renewal: such a client
// shows one refresh token for ever, and its replays count as use.
func TestABusyClientIsSignedOutByAgeOnly(t *testing.T) {
	for _, c := range []struct {
		name         string
		takes, pause time.Duration
	}{
		{"a client that polls every minute", 0, time.Minute},
		{"a client that polls just before the idle timeout", 0, idleTimeout - time.Second},
		{"a client that only uploads", idleTimeout - time.Minute, 0},
		{"a client that uploads and rests", 40 * time.Minute, 15 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				instances, b := newService(t, time.Now), client{}
				b.request(instances[0], "POST", "/login", 0)
				first := b["__Host-refresh"]
				if out := b.until(t, instances, c.takes, c.pause); out < lifetime || out > lifetime+c.takes+c.pause {
					t.Errorf("refused after %v, want %v", out, lifetime)
				}
				if late := c.takes > 0; late != (b["__Host-refresh"] == first) {
					t.Errorf("late answers %t, and the refresh cookie changed %t", late, b["__Host-refresh"] != first)
				}
			})
		})
	}
}

// TestAnUploadCountsWhenItBegins: it is answered however long it takes, and the
// idle timeout runs meanwhile.
func TestAnUploadCountsWhenItBegins(t *testing.T) {
	for takes, want := range map[time.Duration]int{
		idleTimeout - time.Second:                 http.StatusOK,
		idleTimeout + tokenLifetime + time.Minute: http.StatusUnauthorized,
	} {
		t.Run(takes.String(), func(t *testing.T) {
			t.Parallel()
			faketime.Test(t, func(t *testing.T) {
				instances, b := newService(t, time.Now), client{}
				b.request(instances[0], "POST", "/login", 0)
				if res := b.request(instances[0], "POST", "/", takes); res.StatusCode != http.StatusOK {
					t.Fatalf("the upload got %d", res.StatusCode)
				}
				if res := b.request(instances[0], "POST", "/", 0); res.StatusCode != want {
					t.Errorf("the request after it got %d, want %d", res.StatusCode, want)
				}
			})
		})
	}
}

// TestTimeZonesDoNotMatter: neither those of the instances nor that of the client,
// which is told for how long to keep a cookie and not until when.
func TestTimeZonesDoNotMatter(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		in := func(hours int) func() time.Time {
			zone := time.FixedZone("", hours*3600)
			return func() time.Time { return time.Now().In(zone) }
		}
		instances, b := newService(t, in(14), in(-12), in(0)), client{}
		for _, line := range b.request(instances[0], "POST", "/login", 0).Header.Values("Set-Cookie") {
			if !strings.Contains(line, "Max-Age=") || strings.Contains(line, "Expires=") {
				t.Errorf("cookie %q", line)
			}
		}
		if out := b.until(t, instances, 0, 25*time.Minute); out < lifetime || out > lifetime+25*time.Minute {
			t.Errorf("refused after %v, want %v", out, lifetime)
		}
	})
}
