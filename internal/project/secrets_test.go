package project_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretive are the words in an expression that make it one about a secret, or
// about something whose comparison could teach one byte by byte.
var secretive = regexp.MustCompile(`(?i)secret|token|mac\b|hmac|hash|digest|sum\b|signature|sig\b|passw|credential|\bkeys?\b|current|successor|fingerprint|device\b|nonce|challenge|value\b`)

// harmless are comparisons that look as if they were of secrets, each with the
// reason why they are not. An entry that matches nothing is an error.
var harmless = map[string]string{
	"access/keys.go: block.Type == blockSecret":                                   "the type of a PEM block",
	"access/parse.go: second == len(token)-1":                                     "a position",
	"access/secret.go: bytes.Equal(secret[period:], secret[:len(secret)-period])": "our own secret with itself, when keys are loaded",
	"access/secret.go: secret[i]-secret[i-1] != step":                             "our own secret with itself, when keys are loaded",
	"access/reload.go: sum == f.used":                                             "the hash of a file of our own, with its former one",
	"access/reload.go: sum == f.seen":                                             "the hash of a file of our own, with its former one",
	"refresh/rotate.go: c.SessionID == p.token.family.String()":                   "session ids are no secrets",
	"cookie/read.go: v != value":                                                  "two values that the same client sent",
	"cookie/seal.go: base64.RawURLEncoding.EncodeToString(text) != value":         "a value with its own decoding",
	"examples/native/proof.go: key.Curve == elliptic.P256()":                      "a curve",
	"examples/native/app.go: a.state.AccessToken != usedUp":                       "a client's own tokens",
	"middleware/config.go: from != &secrets[0]":                                   "pointers",
	"middleware/state.go: key == (stateKey{})":                                    "the key of a context",
	"refresh/family/key.go: f.Key.Kind != KeyDPoP":                                "a kind",
	"refresh/status.go: claims.KeyThumbprint != keyThumbprint(c.Key)":             "of a public key, whose proof was verified",
	"refresh/verify.go: c.KeyThumbprint != key":                                   "of a public key, whose proof was verified",
	"middleware/verify.go: c.KeyThumbprint != key":                                "of a public key, whose proof was verified",
	"middleware/refuse.go: f.Code == codeNonce":                                   "an error code",
	"refresh/keysession.go: rec.Key.Kind == family.KeyDBSC":                       "a kind",
	"refresh/start.go: p.Client.Key.Kind == family.KeyDPoP":                       "a kind",
	"refresh/family/key.go: followed != f.Fingerprint":                            "whether to write it, after it was compared",
	"refresh/family/key.go: r.Device != f.Device":                                 "what the session list shows",
	"refresh/list.go: id == current.SessionID":                                    "session ids are no secrets",
	"refresh/coalesce.go: c.pending[key] == a":                                    "pointers",
	"refresh/start.go: key == rec.Subject":                                        "two names of our own in the store",
	"refresh/start.go: key == req.Record.Subject":                                 "two names of our own in the store",
	"refresh/token.go: (*known)[0].Secret == &secrets[0]":                         "pointers",
	"refresh/token.go: keys[i].ID == [2]byte(id[:2])":                             "the name of a secret",
	"refresh/token.go: b[0] != tokenVersion":                                      "a version",
}

// A comparison is one that may take a time that depends on what is compared.
type comparison struct{ file, text string }

// suspicious returns the comparisons in a file that have to be justified, and
// its imports of predictable randomness.
func suspicious(file string, f *ast.File, fset *token.FileSet) (found []comparison, imports []string) {
	text := func(n ast.Node) string {
		var b bytes.Buffer
		printer.Fprint(&b, fset, n)
		return b.String()
	}
	for _, i := range f.Imports {
		if path := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(path, "math/rand") {
			imports = append(imports, path)
		}
	}
	// What a literal, a length, an error or nil is compared with tells nothing.
	plain := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.BasicLit:
			return true
		case *ast.Ident:
			return e.Name == "nil" || e.Name == "true" || e.Name == "false" || e.Name == "err"
		case *ast.CallExpr:
			id, ok := e.Fun.(*ast.Ident)
			return ok && (id.Name == "len" || id.Name == "cap")
		}
		return false
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && !plain(n.X) && !plain(n.Y) && secretive.MatchString(text(n)) {
				found = append(found, comparison{file, text(n)})
			}
		case *ast.CallExpr:
			switch text(n.Fun) {
			case "bytes.Equal", "bytes.Compare", "bytes.HasPrefix", "slices.Equal", "slices.Compare", "slices.Contains", "slices.Index",
				"strings.EqualFold", "strings.Compare", "reflect.DeepEqual":
				if secretive.MatchString(text(n)) {
					found = append(found, comparison{file, text(n)})
				}
			}
		case *ast.SwitchStmt:
			if n.Tag == nil || !secretive.MatchString(text(n.Tag)) {
				break
			}
			for _, s := range n.Body.List {
				for _, e := range s.(*ast.CaseClause).List {
					if !plain(e) {
						found = append(found, comparison{file, "switch " + text(n.Tag) + " case " + text(e)})
					}
				}
			}
		}
		return true
	})
	return found, imports
}

// TestSecretsAreComparedInConstantTime and drawn from crypto/rand: a line that
// looks otherwise has to be justified in the table above. Scripts in Redis
// compare SHA-256 hashes of secrets only, about which timing teaches nothing
// that could be presented.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	justified := make(map[string]bool)
	for _, dir := range []string{"access", "cookie", "refresh", "redisstore", "middleware", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && (d.Name() == "storetest" || d.Name() == "authtest") {
				return fs.SkipDir // tests
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path)
			found, imports := suspicious(filepath.ToSlash(name), f, fset)
			for _, i := range imports {
				t.Errorf("%s imports %s: take crypto/rand", name, i)
			}
			for _, c := range found {
				key := c.file + ": " + c.text
				if harmless[key] == "" {
					t.Errorf("%s\n\tuse crypto/subtle or hmac.Equal, or give a reason in this test", key)
				}
				justified[key] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range harmless {
		if !justified[key] {
			t.Errorf("the table justifies what is not there (any more): %s", key)
		}
	}
}

// TestTheSearchForComparisonsFindsThem: the search above is worth something.
func TestTheSearchForComparisonsFindsThem(t *testing.T) {
	const sample = `package p
import "math/rand/v2"
func f() {
	_ = token == presented
	_ = a.secret != b
	_ = bytes.Equal(mac, want)
	_ = slices.Contains(keys, k)
	switch hash { case other: }
	_ = len(token) == n
	_ = token == ""
	_ = count == n
	_ = rand.N(3)
}`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "sample.go", sample, 0)
	if err != nil {
		t.Fatal(err)
	}
	found, imports := suspicious("sample.go", f, fset)
	if len(found) != 5 || len(imports) != 1 {
		t.Errorf("found %v and imports %v", found, imports)
	}
}
