package redisstore_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/redistest"
)

// TestRollingChanges: instances restart, keys are replaced one after the other
// as the runbooks say, on one instance before the other; a browser that goes
// from one to the other is never signed out.
func TestRollingChanges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--user", "app", "on", ">secret", "~*", "+@all")
	file := filepath.Join(t.TempDir(), "keys.pem")
	keys, err := access.OpenKeys(file, access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	ring := func() *access.KeyRing {
		loaded, err := access.OpenKeys(file, access.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		r, err := access.NewKeyRing(loaded)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	rings := []*access.KeyRing{ring(), ring()}
	shops := []*shop{newShopWith(t, server.Addr, rings[0]), newShopWith(t, server.Addr, rings[1])}
	cookies := shops[0].login(t)

	// The session is used with its access token and renewed, on each instance.
	use := func(when string) {
		t.Helper()
		for i, s := range shops {
			if res, _ := s.get("/", cookies...); res.StatusCode != http.StatusNoContent {
				t.Fatalf("%s, instance %d: %d", when, i, res.StatusCode)
			}
			res, _ := s.get("/", cookies[1:]...)
			if res.StatusCode != http.StatusNoContent || len(res.Cookies()) < 2 {
				t.Fatalf("%s, renewed by instance %d: %d, cookies %v", when, i, res.StatusCode, res.Cookies())
			}
			for _, c := range res.Cookies() {
				at := slices.IndexFunc(cookies, func(pair string) bool { return strings.HasPrefix(pair, c.Name+"=") })
				cookies[at] = c.Name + "=" + c.Value
			}
		}
	}
	use("at first")
	shops[0] = newShopWith(t, server.Addr, ring())
	use("after a restart")
	shops[0], shops[1] = newShopWith(t, server.Addr, rings[0]), newShopWith(t, server.Addr, rings[1])
	use("after another")

	step := func(what string) {
		t.Helper()
		if err := keys.Save(file); err != nil {
			t.Fatal(err)
		}
		for i, r := range rings {
			if err := r.Replace(keys); err != nil {
				t.Fatal(err)
			}
			use(what + ", on " + [...]string{"one instance", "both"}[i])
		}
	}
	next, err := access.GenerateKey(access.ES256)
	if err != nil {
		t.Fatal(err)
	}
	keys.Verifying = []*access.Key{next}
	step("the next signing key is known")
	keys.Signing, keys.Verifying = next, []*access.Key{keys.Signing}
	step("it signs")
	keys.Verifying = nil
	step("the old one is dropped")

	fresh, err := access.GenerateKeys(access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	old := keys.Secrets[0]
	keys.Secrets = [][]byte{old, fresh.Secrets[0]}
	step("a new root secret is known, from which cookie keys are derived too")
	keys.Secrets = [][]byte{fresh.Secrets[0], old}
	step("it is used")
	server.Must("SCRIPT", "FLUSH")
	use("after the scripts were forgotten")
	again := shops[1].login(t)
	keys.Secrets = keys.Secrets[:1]
	for _, r := range rings {
		if err := r.Replace(keys); err != nil {
			t.Fatal(err)
		}
	}
	cookies = again
	use("the old root secret is dropped: sessions born since go on")
}
