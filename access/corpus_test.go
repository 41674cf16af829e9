package access_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
)

// corpusFile reads a file of the collections that others wrote. They are not
// part of this module: testdata/corpora/README.md says where they come from.
// Where there is a folder of them, a collection that is missing is a failure.
func corpusFile(t *testing.T, collection string, name ...string) []byte {
	t.Helper()
	dir := os.Getenv("SESSIONKIT_CORPUS")
	if dir == "" {
		t.Skipf("not tested: the collection %s, because SESSIONKIT_CORPUS is not set (see testdata/corpora/README.md)", collection)
	}
	text, err := os.ReadFile(filepath.Join(append([]string{dir, collection}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A jwk is a key of Wycheproof's, or a set of them.
type jwk struct {
	Kty, Alg, Crv, Use, K, N, E, X, Y string
	Keys                              []jwk
}

// material returns the key of the standard library, or nil for one that the
// kit has no algorithm for.
func (j jwk) material(t *testing.T) any {
	t.Helper()
	part := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	number := func(s string) *big.Int { return new(big.Int).SetBytes(part(s)) }
	switch {
	case j.Kty == "oct":
		return part(j.K)
	case j.Kty == "RSA":
		return &rsa.PublicKey{N: number(j.N), E: int(number(j.E).Int64())}
	case j.Kty == "EC" && j.Crv == "P-256":
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(j.X), Y: number(j.Y)}
	}
	return nil
}

// A compact serialization, or the text of a JSON serialization.
type compact string

func (c *compact) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		s = string(text)
	}
	*c = compact(s)
	return nil
}

type vectors struct {
	TestGroups []struct {
		Comment         string
		Private, Public *jwk
		Tests           []struct {
			ID       int `json:"tcId"`
			Comment  string
			JWS, JWE compact
			Result   string
		}
	}
}

func readVectors(t *testing.T, file string) vectors {
	t.Helper()
	var v vectors
	if err := json.Unmarshal(corpusFile(t, "wycheproof", "testvectors_v1", file), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.TestGroups) == 0 {
		t.Fatalf("%s has no tests", file)
	}
	return v
}

// differences are the vectors that are judged otherwise than they say.
var differences = map[string]map[int]string{
	"json_web_signature_test.json": {
		259: "an empty payload has no claims: refused before the signature",
		272: "an empty payload has no claims: refused before the signature",
		346: "the key is for PS256, the header says PS384",
		350: "the key is for PS256, the header says PS384",
		367: "to the letter the same text as 357, which is valid",
		370: "to the letter the same text as 357, which is valid",
		372: "a character outside the alphabet is refused, not skipped",
		373: "a character outside the alphabet is refused, not skipped",
	},
	"json_web_key_test.json": {
		1:  "a rule for JWK sets, which the kit does not read: keys come from the operator, each with its algorithm",
		4:  "as 1: in a ring, two keys cannot have one id, which is made of the key",
		7:  "a weak generator's RSA key (ROCA): keys come from the operator, and Go's generator has no such flaw",
		21: "as 1: a member of the JWK",
	},
	"json_web_crypto_test.json": {
		46: "a weak generator's RSA key (ROCA): as above",
		47: "a rule for JWK sets: as above",
	},
}

// TestWycheproofSignatures judges the signatures of the JSON Web Crypto
// vectors, and takes each for a bearer token. As such none is good: not one
// has the type or the claims of an access token.
func TestWycheproofSignatures(t *testing.T) {
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		t.Run(file, func(t *testing.T) {
			accepted, refused, foreign := 0, 0, 0
			used := map[int]bool{}
			for _, g := range readVectors(t, file).TestGroups {
				source := g.Public
				if source == nil {
					source = g.Private
				}
				var keys []*access.Key
				ours := false
				for _, j := range append([]jwk{*source}, source.Keys...) {
					ours = ours || slices.Contains(algorithms, access.Algorithm(j.Alg))
					if k, err := access.NewKey(access.Algorithm(j.Alg), j.material(t)); err == nil {
						keys = append(keys, k)
					} else if secret, ok := j.material(t).([]byte); ok && len(secret) >= 32 && j.Alg == "HS256" {
						keys = append(keys, access.AnySecret(secret)) // of zeros, or counting
					}
				}
				for _, tt := range g.Tests {
					text := string(tt.JWS + tt.JWE) // each has one of them
					holds := false
					for _, k := range keys {
						holds = holds || k.SignatureHolds(text)
						ring := newRing(t, access.Keys{Signing: newKey(t, access.HS256, materials()[access.HS256]), Verifying: []*access.Key{k}})
						tokens := newTokens(t, access.Config{Keys: ring, Now: func() time.Time { return at }})
						if _, err := tokens.Verify(text); err == nil {
							t.Errorf("%d %s, %s: a bearer token", tt.ID, g.Comment, tt.Comment)
						}
					}
					reason := differences[file][tt.ID]
					if reason != "" {
						used[tt.ID] = true
					}
					switch want := tt.Result == "valid"; {
					case len(keys) == 0 && !(ours && want) && reason == "":
						foreign++
					case holds == want && reason != "":
						t.Errorf("%d %s, %s: no difference any more: %s", tt.ID, g.Comment, tt.Comment, reason)
					case holds != want && reason == "":
						t.Errorf("%d %s, %s: holds %v, says %s", tt.ID, g.Comment, tt.Comment, holds, tt.Result)
					case holds:
						accepted++
					default:
						refused++
					}
				}
			}
			for id := range differences[file] {
				if !used[id] {
					t.Errorf("no vector %d", id)
				}
			}
			t.Logf("%d signatures hold, %d do not, %d are of keys that are refused", accepted, refused, foreign)
			if accepted == 0 || refused == 0 {
				t.Error("nothing was judged")
			}
		})
	}
}

// TestWycheproofEncryption: what is encrypted is no access token.
func TestWycheproofEncryption(t *testing.T) {
	_, tokens := newAuthor(t, access.HS256, access.Config{})
	n := 0
	for _, g := range readVectors(t, "json_web_encryption_test.json").TestGroups {
		for _, tt := range g.Tests {
			n++
			if _, err := tokens.Verify(string(tt.JWE)); err != access.ErrMalformed {
				t.Errorf("%d %s: %v", tt.ID, tt.Comment, err)
			}
		}
	}
	t.Logf("%d tokens", n)
}

// TestPublishedSecrets: every secret on the list that is shorter than a hash
// is refused, and of the longer ones those that can be seen not to be random.
func TestPublishedSecrets(t *testing.T) {
	short, seen, passed := 0, 0, 0
	lines := bufio.NewScanner(bytes.NewReader(corpusFile(t, "jwt-secrets", "jwt.secrets.list")))
	for lines.Scan() {
		_, err := access.NewKey(access.HS256, bytes.Clone(lines.Bytes()))
		switch {
		case err != nil && len(lines.Bytes()) < 32:
			short++
		case err != nil:
			seen++
		case len(lines.Bytes()) < 32:
			t.Errorf("a secret of %d bytes was taken", len(lines.Bytes()))
		default:
			passed++
		}
	}
	t.Logf("%d too short, %d refused by their looks, %d look random", short, seen, passed)
	if lines.Err() != nil || short == 0 || seen == 0 {
		t.Error("nothing was judged", lines.Err())
	}
}

func TestSecretsThatPeopleTypeAreRefused(t *testing.T) {
	for _, secret := range []string{
		"your-256-bit-secret-your-512-bit-key-00", "django-insecure-d)24gp3-)(x*&i1lygpoux*hf%b", "jwt-default-value-0-to-be-changed-in-production",
		"a random, long, sequence of characters that only the server knows", "correct-horse-battery-staple-and-more",
		"PLEASE_REPLACE_THIS_KEY_IN_PRODUCTION", "To be, or not to be: That is the Question", "this-is-a-key-of-32-characters-00",
		"abcdefghijklmnopqrstuvwxyz1234567890", "12345678901234567890123456789012", "0123456789ABCDEF0123456789ABCDEF",
		"qqqqwwwweeeerrrrttttyyyyuuuuiiiioooo", strings.Repeat("$", 40), "asdfasdf98asdf79asdf87asdf9a8sdf7asdf",
	} {
		if _, err := access.NewKey(access.HS256, []byte(secret)); err == nil {
			t.Errorf("%q was taken", secret)
		}
	}
}

// TestRandomKeysAreNeverRefused: by the bounds beside words, phrase and repeats,
// less than one of these runs in a hundred thousand fails.
func TestRandomKeysAreNeverRefused(t *testing.T) {
	secret := make([]byte, 32)
	for range 100_000 {
		rand.Read(secret)
		if _, err := access.NewKey(access.HS256, secret); err != nil {
			t.Fatalf("%x: %v", secret, err)
		}
	}
}

// TestJSONTestSuite: the reader of objects takes what must be taken and refuses
// what must be refused. It reads objects only, so each text becomes a member's
// value. Where parsers may differ, it agrees with encoding/json or is stricter.
func TestJSONTestSuite(t *testing.T) {
	corpusFile(t, "JSONTestSuite", "test_parsing", "y_object.json") // skips, or fails
	files, err := filepath.Glob(filepath.Join(os.Getenv("SESSIONKIT_CORPUS"), "JSONTestSuite", "test_parsing", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	taken, refused := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		object := `{"x":` + string(text) + `}`
		ok := utf8.Valid(text) && access.ScanObject(object, func(string, string) error { return nil }) == nil
		if ok {
			taken++
		} else {
			refused++
		}
		switch {
		case name[0] == 'y' && !ok, name[0] == 'n' && ok, ok && !json.Valid([]byte(object)):
			t.Errorf("%s: taken %v", name, ok)
		}
	}
	t.Logf("%d taken, %d refused", taken, refused)
	if taken == 0 || refused == 0 {
		t.Error("nothing was judged")
	}
}
