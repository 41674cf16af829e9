package diff_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/access"
)

var algorithms = []access.Algorithm{access.EdDSA, access.ES256, access.PS256, access.HS256, access.RS256}

// seeds are headers and payloads that are good or nearly so. KID stands for
// the key's id, and ALG for its algorithm.
func seeds() [][2]string {
	good := `{"alg":"ALG","kid":"KID","typ":"at+jwt"}`
	all := [][2]string{{good, payload(nil)}, {good, "{}"}, {"{}", payload(nil)}, {good, `{"iss":"` + issuer + `","aud":["app"]}`}}
	for _, header := range []string{
		`{"alg":"ALG","kid":"KID"}`, `{"alg":"ALG","kid":"KID","typ":"JWT"}`, `{"typ":"application/AT+JWT","kid":"KID","alg":"ALG","x":{}}`,
		`{"alg":"none","kid":"KID","typ":"at+jwt"}`, `{"alg":"HS256","kid":"KID","typ":"at+jwt"}`, `{"alg":"ALG","typ":"at+jwt"}`,
		`{"alg":"ALG","kid":"KID","typ":"at+jwt","crit":["x"]}`, `{"alg":"ALG","kid":"KID","typ":"at+jwt","jku":"x"}`, `{"alg":"ALG","kid":"KID","typ":"at+jwt","ALG":"x"}`,
		`{"alg":"ALG","kid":"KID","typ":"at+jwt","alg":"ALG"}`, `{"alg":"ALG","kid":"KID","typ":"at+jwt","b64":false}`, good + " ", " " + good, good + "x", "\ufeff" + good,
	} {
		all = append(all, [2]string{header, payload(nil)})
	}
	for _, change := range []map[string]any{
		{"aud": []string{"x", audience}}, {"aud": []any{audience, 1}}, {"aud": nil}, {"exp": 1750000000}, {"exp": 1749999980}, {"exp": nil}, {"exp": "1750000600"},
		{"exp": 1750000600.5}, {"exp": 1e300}, {"exp": -1}, {"exp": true}, {"exp": 0}, {"iat": 1750000030}, {"iat": 1750000031}, {"nbf": 1750000030}, {"nbf": 1750000031},
		{"sub": nil}, {"sub": 1}, {"sub": ""}, {"sid": nil}, {"gen": nil}, {"gen": -1}, {"gen": 1.5}, {"jti": nil}, {"client_id": nil}, {"auth_time": nil},
		{"scope": "a b"}, {"scope": []string{"a"}}, {"roles": "admin"}, {"roles": []string{"admin"}}, {"EXP": 1}, {"Sub": "admin"}, {"x": map[string]any{"y": []int{1}}},
		{"exp_ms": 999}, {"iat_ms": 1000}, {"sub": "\ufffd<"}, {"auth_time": 1750000031}, {"iat_ms": 1, "iat": 1750000030}, {"iss": issuer + "/"}, {"nbf": "x"},
	} {
		all = append(all, [2]string{good, payload(change)})
	}
	for _, body := range []string{
		strings.Replace(payload(nil), `"alice"`, `"\ud800"`, 1), strings.Replace(payload(nil), `"alice"`, "\"\xff\"", 1), strings.Replace(payload(nil), "{", `{"sub":"admin",`, 1),
		strings.Replace(payload(nil), "{", `{"\u0073ub":"admin",`, 1), strings.Replace(payload(nil), "1750000600", "1.7500006e9", 1), strings.Replace(payload(nil), "1750000600", "01750000600", 1),
		payload(nil) + " ", payload(nil) + "{}", "[" + payload(nil) + "]", "null", `"x"`, strings.Replace(payload(nil), "{", `{"deep":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+",", 1),
	} {
		all = append(all, [2]string{good, body})
	}
	return all
}

func (p pair) fill(s string) string {
	return strings.NewReplacer("KID", p.kid, "ALG", string(p.alg)).Replace(s)
}

// FuzzAgainstJose signs whatever header and payload come. The text behind the
// token and the token that is not signed are tried as they are.
func FuzzAgainstJose(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s[0], s[1], "")
	}
	f.Add(seeds()[0][0], payload(nil), "=")
	f.Add(seeds()[0][0], payload(nil), "\n")
	// Two that are fast: the algorithm is the last thing that a header or a
	// payload could matter to.
	pairs := []pair{newPair(f, access.HS256), newPair(f, access.EdDSA)}
	f.Fuzz(func(t *testing.T, header, body, more string) {
		for _, p := range pairs {
			compare(t, p, p.token(p.fill(header), p.fill(body))+more)
		}
		compare(t, pairs[0], header+"."+body+"."+more)
	})
}

// TestSeedsForEveryAlgorithm: the kit and go-jose agree on the seeds as
// explained, the ordinary token is accepted by both, and a bit of it changed by
// neither.
func TestSeedsForEveryAlgorithm(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(string(alg), func(t *testing.T) {
			p := newPair(t, alg)
			both, ours, theirs := 0, 0, 0
			for _, s := range seeds() {
				token := p.token(p.fill(s[0]), p.fill(s[1]))
				compare(t, p, token)
				_, err := p.tokens.Verify(token)
				_, _, joseErr := p.jose(token)
				switch {
				case err == nil && joseErr == nil:
					both++
					if why := reason(p, token); why != "" {
						t.Errorf("accepted, against the list of reasons: %s: %q", why, decoded(token))
					}
				case err == nil:
					ours++
				case joseErr == nil:
					theirs++
				}
			}
			t.Logf("of %d, both accept %d, the kit alone %d, go-jose alone %d", len(seeds()), both, ours, theirs)
			if both < 5 || theirs < 5 {
				t.Error("the seeds show nothing")
			}
			good := p.token(p.fill(seeds()[0][0]), payload(nil))
			for i := range good {
				b := []byte(good)
				b[i] ^= 1
				compare(t, p, string(b))
				if _, err := p.tokens.Verify(string(b)); err == nil {
					t.Errorf("byte %d changed, and accepted", i)
				}
			}
		})
	}
}

func TestFuzzCorpusIsThere(t *testing.T) {
	if files, _ := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzAgainstJose", "*")); len(files) == 0 {
		t.Error("FuzzAgainstJose has no committed corpus")
	}
	if _, err := os.Stat("go.sum"); err != nil {
		t.Error(err)
	}
}
