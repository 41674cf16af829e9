package access_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
)

// HS256 where many tokens are needed: it is quick.
func TestAVerifiedTokenIsRemembered(t *testing.T) {
	a, tokens := newAuthor(t, access.HS256, access.Config{})
	text, _ := issue(t, tokens, login)
	first, err := tokens.Verify(text)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tokens.Verify(strings.Clone(text))
	if err != nil || first != second {
		t.Errorf("got %p then %p, %v", first, second, err)
	}
	if n, _, there := tokens.Cached(); n != 1 || there != 1 {
		t.Errorf("%d tokens counted, %d there", n, there)
	}
	// The signature is what the shard is picked by: here it is the same.
	part := strings.Split(text, ".")
	for name, forged := range map[string]string{
		"another payload":                      part[0] + "." + b64(payload(map[string]string{"sub": `"root"`})) + "." + part[2],
		"another header":                       b64(" "+a.header()) + "." + part[1] + "." + part[2],
		"the same but for its first character": "f" + text[1:],
	} {
		if c, err := tokens.Verify(forged); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestWithoutACacheEachTokenIsVerifiedAnew(t *testing.T) {
	_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: -1})
	text, _ := issue(t, tokens, login)
	first, err1 := tokens.Verify(text)
	second, err2 := tokens.Verify(text)
	if err1 != nil || err2 != nil || first == second {
		t.Errorf("got %p, %v then %p, %v", first, err1, second, err2)
	}
}

func TestOnlyGoodTokensAreRemembered(t *testing.T) {
	a, tokens := newAuthor(t, access.HS256, access.Config{})
	forged := author{a.alg, a.kid, func(string) []byte { return make([]byte, 32) }}
	for name, text := range map[string]string{
		"malformed":     "x.y.z",
		"forged":        forged.token(a.header(), payload(nil)),
		"expired":       a.token(a.header(), payload(map[string]string{"exp": "1750000000"})),
		"not yet valid": a.token(a.header(), payload(map[string]string{"nbf": "1750000100"})),
		"of another":    a.token(a.header(), payload(map[string]string{"aud": `"x"`})),
	} {
		if _, err := tokens.Verify(text); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if n, bytes, there := tokens.Cached(); n != 0 || bytes != 0 || there != 0 {
		t.Errorf("%d tokens of %d bytes, %d there", n, bytes, there)
	}
}

func TestTheExpiryOfARememberedTokenIsChecked(t *testing.T) {
	c := &clock{now: at}
	_, tokens := newAuthor(t, access.HS256, access.Config{Now: c.Now, Lifetime: time.Minute})
	text, _ := issue(t, tokens, login)
	for _, step := range []struct {
		by   time.Duration
		want error
	}{{0, nil}, {time.Minute - time.Millisecond, nil}, {time.Millisecond, access.ErrExpired}, {time.Hour, access.ErrExpired}} {
		c.advance(step.by)
		if _, err := tokens.Verify(text); err != step.want {
			t.Errorf("%v after its issue: %v, want %v", c.Now().Sub(at), err, step.want)
		}
	}
}

func TestARememberedTokenDiesWithItsKey(t *testing.T) {
	a, tokens := newAuthor(t, access.HS256, access.Config{})
	text := a.token(a.header(), payload(nil))
	if _, err := tokens.Verify(text); err != nil {
		t.Fatal(err)
	}
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	if err := tokens.Keys().Replace(access.Keys{Signing: ed}); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Verify(text); err != access.ErrUnknownKey {
		t.Errorf("got %v", err)
	}
	// With the key back it is verified anew, and takes its old place.
	if err := tokens.Keys().Replace(access.Keys{Signing: ed, Verifying: []*access.Key{newKey(t, access.HS256, materials()[access.HS256])}}); err != nil {
		t.Fatal(err)
	}
	first, err := tokens.Verify(text)
	second, _ := tokens.Verify(text)
	if err != nil || first != second {
		t.Errorf("got %p, then %p, %v", first, second, err)
	}
	if n, _, there := tokens.Cached(); n != 1 || there != 1 {
		t.Errorf("%d tokens counted, %d there", n, there)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	for _, bound := range []int{1, 2, 10, 64, 100, 1000} {
		_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: bound})
		var last string
		for i := range 3*bound + 200 {
			c := login
			c.Subject = fmt.Sprint("user-", i)
			last, _ = issue(t, tokens, c)
			if _, err := tokens.Verify(last); err != nil {
				t.Fatal(err)
			}
			if n, _, there := tokens.Cached(); n > int64(bound) || int64(there) != n {
				t.Fatalf("bound %d: %d tokens counted, %d there", bound, n, there)
			}
		}
		if n, bytes, _ := tokens.Cached(); n != int64(bound) || bytes > int64(bound)*access.BoundBytes {
			t.Errorf("bound %d: %d tokens of %d bytes at the end", bound, n, bytes)
		}
	}
}

// No token is lost while there is room, however they spread over the shards.
func TestAsManyTokensAsAllowedAreRemembered(t *testing.T) {
	const bound = 500
	_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: bound})
	seen := make(map[string]*access.Claims)
	for range bound {
		text, _ := issue(t, tokens, login)
		c, err := tokens.Verify(text)
		if err != nil {
			t.Fatal(err)
		}
		seen[text] = c
	}
	for text, c := range seen {
		if again, err := tokens.Verify(text); err != nil || again != c {
			t.Fatal("a token was forgotten")
		}
	}
}

func TestTheCacheIsBoundedInBytes(t *testing.T) {
	const bound = 20
	_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: bound})
	c := login
	c.Subject = strings.Repeat("x", 5000)
	for range 3 * bound {
		text, _ := issue(t, tokens, c)
		if _, err := tokens.Verify(text); err != nil {
			t.Fatal(err)
		}
		if n, bytes, _ := tokens.Cached(); bytes > bound*access.BoundBytes || n == bound {
			t.Fatalf("%d tokens of %d bytes", n, bytes)
		}
	}
	if n, bytes, _ := tokens.Cached(); n == 0 || bytes < n*(int64(len(c.Subject))+access.EntryBytes) {
		t.Errorf("%d tokens of %d bytes", n, bytes)
	}
	// One that is larger than all the cache is good, and is not kept.
	_, tokens = newAuthor(t, access.HS256, access.Config{CacheEntries: 1})
	text, _ := issue(t, tokens, c)
	for range 2 {
		if _, err := tokens.Verify(text); err != nil {
			t.Error(err)
		}
	}
	if n, bytes, there := tokens.Cached(); n != 0 || bytes != 0 || there != 0 {
		t.Errorf("%d tokens of %d bytes, %d there", n, bytes, there)
	}
}

// What has expired, and what a replaced ring verified, makes room before what
// is good: of a cache half full of the one, most of the other stays. Not all,
// since only a few entries are looked at.
func TestWhatIsUselessMakesRoomFirst(t *testing.T) {
	c := &clock{now: at}
	_, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: 1000, Now: c.Now})
	verify := func(text string) *access.Claims {
		t.Helper()
		got, err := tokens.Verify(text)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	fill := func(ttl time.Duration) map[string]*access.Claims {
		all := make(map[string]*access.Claims)
		for range 500 {
			next := login
			next.ExpiresAt = c.Now().Add(ttl)
			text, _ := issue(t, tokens, next)
			all[text] = verify(text)
		}
		return all
	}
	for name, spoil := range map[string]func(){
		"expired": func() { c.advance(time.Minute) },
		"of a replaced ring": func() {
			key := newKey(t, access.HS256, materials()[access.HS256])
			if err := tokens.Keys().Replace(access.Keys{Signing: key, Secrets: [][]byte{root(1)}}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		fill(map[bool]time.Duration{true: time.Minute, false: 9 * time.Minute}[name == "expired"])
		spoil()
		good := fill(2 * time.Minute)
		fill(3 * time.Minute) // in need of the room
		kept := 0
		for text, c := range good {
			if verify(text) == c {
				kept++
			}
		}
		if kept < 350 {
			t.Errorf("%s: %d of 500 good tokens were kept", name, kept)
		}
		c.advance(time.Hour)
	}
}

func TestTheCacheIsSafeForConcurrentUse(t *testing.T) {
	a, tokens := newAuthor(t, access.HS256, access.Config{CacheEntries: 50})
	var texts []string
	for i := range 100 {
		texts = append(texts, a.token(a.header(), payload(map[string]string{"sub": fmt.Sprintf(`"user-%d"`, i)})))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 400 {
				n := (i*7 + g*13) % len(texts)
				c, err := tokens.Verify(texts[n])
				if err != nil || c.Subject != fmt.Sprint("user-", n) {
					t.Errorf("token %d: %v, %v", n, c, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, bytes, there := tokens.Cached(); n > 50 || int64(there) != n || bytes <= 0 {
		t.Errorf("%d tokens counted of %d bytes, %d there", n, bytes, there)
	}
}

// Whatever the clock does, a token that is remembered is judged as one that is not.
func TestTheClockCountsForRememberedTokensToo(t *testing.T) {
	c := &clock{now: at}
	a, tokens := newAuthor(t, access.HS256, access.Config{Now: c.Now})
	_, bare := newAuthor(t, access.HS256, access.Config{Now: c.Now, CacheEntries: -1})
	ahead := func(d time.Duration) string { return fmt.Sprint(at.Add(d).Unix()) }
	texts := map[string]string{
		"issued by a clock that was ahead": a.token(a.header(), payload(map[string]string{"iat": ahead(6 * time.Hour), "exp": ahead(6*time.Hour + 10*time.Minute)})),
		"authenticated by such a clock":    a.token(a.header(), payload(map[string]string{"auth_time": ahead(6 * time.Hour), "exp": ahead(7 * time.Hour)})),
		"valid from a time by such a one":  a.token(a.header(), payload(map[string]string{"nbf": ahead(6 * time.Hour), "exp": ahead(7 * time.Hour)})),
		"ordinary":                         a.token(a.header(), payload(nil)),
	}
	for _, now := range []time.Duration{0, 6 * time.Hour, 0, 6*time.Hour - 31*time.Second, 6*time.Hour - 30*time.Second, -24 * time.Hour, 6 * time.Hour, 48 * time.Hour, 6 * time.Hour, time.Minute} {
		c.advance(at.Add(now).Sub(c.Now()))
		for name, text := range texts {
			for range 2 {
				_, got := tokens.Verify(text)
				if _, want := bare.Verify(text); got != want {
					t.Errorf("%s, at %v: got %v, without the cache %v", name, now, got, want)
				}
			}
		}
	}
}

func TestExpiredTokensLeaveTheCache(t *testing.T) {
	c := &clock{now: at}
	_, tokens := newAuthor(t, access.HS256, access.Config{Now: c.Now, Lifetime: time.Minute})
	fill := func(n int) (last string) {
		for range n {
			last, _ = issue(t, tokens, login)
			if _, err := tokens.Verify(last); err != nil {
				t.Fatal(err)
			}
		}
		return last
	}
	for round := range 5 {
		fill(300)
		c.advance(time.Minute)
		fill(1)
		c.advance(time.Minute)
		tokens.Verify(fill(1)) // one request is enough
		if n, bytes, there := tokens.Cached(); n > 2 || int64(there) != n || bytes > n*2*access.EntryBytes || bytes < n*access.EntryBytes {
			t.Errorf("round %d: %d tokens of %d bytes counted, %d there", round, n, bytes, there)
		}
	}
	// A clock that is set back drops what came before, not what comes after.
	fill(300)
	c.advance(-time.Hour)
	fill(1)
	c.advance(time.Minute)
	text := fill(1)
	if n, _, _ := tokens.Cached(); n > 2 {
		t.Errorf("after the clock was set back: %d tokens", n)
	}
	first, _ := tokens.Verify(text)
	if second, err := tokens.Verify(text); err != nil || second != first {
		t.Errorf("after the clock was set back: %v", err)
	}
}
