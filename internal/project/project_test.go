// Package project holds tests of the repository as a whole: which package may
// import which, what is public, and that the documents tell the truth.
package project_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/sessionkit/sessionkit"
)

// public are the packages that users import.
var public = []string{"", "access", "cookie", "refresh", "refresh/family", "redisstore", "middleware", "refresh/storetest", "middleware/authtest"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// TestRoomsKnowNothingElse reads what each room depends on, by whatever way.
func TestRoomsKnowNothingElse(t *testing.T) {
	deps := func(pkg string) []string {
		t.Helper()
		cmd := exec.Command("go", "list", "-deps", "./"+pkg)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	for room, forbidden := range map[string][]string{
		"refresh/family": {module + "/access", module + "/cookie", module + "/refresh", module + "/middleware", "net/http"},
		"redisstore":     {module + "/access", module + "/cookie", module + "/refresh", module + "/middleware", "net/http", "github.com/golang-jwt/jwt/v5"},
		"refresh":        {module + "/cookie", module + "/middleware", "github.com/gorilla/securecookie", "github.com/redis/go-redis/v9"},
		"middleware":     {module + "/redisstore", "github.com/redis/go-redis/v9"},
		"":               {module + "/redisstore", "github.com/redis/go-redis/v9", "testing"},
	} {
		for _, dep := range deps(room) {
			if slices.Contains(forbidden, dep) {
				t.Errorf("%q depends on %s", room, dep)
			}
			if room == "refresh/family" && strings.Contains(strings.Split(dep, "/")[0], ".") && dep != module+"/refresh/family" {
				t.Errorf("%q depends on %s", room, dep)
			}
		}
	}
}

// TestImportsRunOneWay checks the arrows between rooms, and that each outside
// dependency has one door.
func TestImportsRunOneWay(t *testing.T) {
	allowed := map[string][]string{
		"":                    {"access", "cookie", "middleware", "refresh", "refresh/family"},
		"access":              {},
		"cookie":              {},
		"refresh/family":      {},
		"refresh":             {"access", "refresh/family"},
		"redisstore":          {"refresh/family"},
		"middleware":          {"access", "cookie", "refresh", "refresh/family"},
		"refresh/storetest":   {"refresh/family"},
		"middleware/authtest": {"", "access", "middleware", "refresh", "refresh/family"},
	}
	doors := map[string]string{
		"github.com/golang-jwt/jwt/v5":    "access",
		"github.com/gorilla/securecookie": "cookie",
		"github.com/redis/go-redis/v9":    "redisstore",
		"github.com/felixge/httpsnoop":    "middleware",
		"testing":                         "a package for tests",
	}
	for _, p := range list(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		arrows, room := allowed[name]
		for _, imp := range p.Imports {
			if inner, ok := strings.CutPrefix(imp, module); ok {
				if inner = strings.TrimPrefix(inner, "/"); room && !slices.Contains(arrows, inner) {
					t.Errorf("%s imports %s", name, inner)
				}
				continue
			}
			if !room || !strings.Contains(imp, ".") && imp != "testing" {
				continue
			}
			if imp == "testing" {
				if name != "refresh/storetest" && name != "middleware/authtest" {
					t.Errorf("%s imports testing", name)
				}
				continue
			}
			if doors[imp] != name {
				t.Errorf("%s imports %s, whose door is %q", name, imp, doors[imp])
			}
		}
	}
}

var update = flag.Bool("update", false, "rewrite testdata/api.txt")

// TestPublicAPI makes growth of the exported surface show in review: run with
// -update after a deliberate change.
func TestPublicAPI(t *testing.T) {
	var b strings.Builder
	for _, dir := range public {
		names := exported(t, filepath.Join(root, dir))
		for _, n := range names {
			b.WriteString(dir + "\t" + n + "\n")
		}
	}
	const golden = "testdata/api.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the exported surface changed; if on purpose, run go test ./internal/project -update\n%s", diff(string(want), got))
	}
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range w {
		if !slices.Contains(g, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

// exported lists a package's exported names, and reports those without a comment.
func exported(t *testing.T, dir string) []string {
	t.Helper()
	fset := token.NewFileSet()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	documented := func(name string, docs ...*ast.CommentGroup) {
		names = append(names, name)
		for _, d := range docs {
			if d != nil {
				return
			}
		}
		t.Errorf("%s: %s has no comment", dir, name)
	}
	packageDoc := false
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		packageDoc = packageDoc || f.Doc != nil
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if !d.Name.IsExported() {
					continue
				}
				name := d.Name.Name
				if d.Recv != nil {
					recv := receiver(d.Recv.List[0].Type)
					if !ast.IsExported(recv) {
						continue
					}
					name = recv + "." + name
				}
				documented("func "+name, d.Doc)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							documented("type "+s.Name.Name, s.Doc, d.Doc)
						}
					case *ast.ValueSpec:
						for _, n := range s.Names {
							if n.IsExported() {
								documented(d.Tok.String()+" "+n.Name, s.Doc, s.Comment, d.Doc)
							}
						}
					}
				}
			}
		}
	}
	if !packageDoc {
		t.Errorf("%s has no package comment", dir)
	}
	slices.Sort(names)
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

var goBlock = regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```go\n(.*?)```")

// TestDocumentsShowCodeThatCompiles: each Go block of the documents is, but
// for its indentation, a passage of the source file named above it.
func TestDocumentsShowCodeThatCompiles(t *testing.T) {
	for _, doc := range documents(t) {
		text := read(t, doc)
		found := goBlock.FindAllStringSubmatch(text, -1)
		if blocks := strings.Count(text, "```go\n"); blocks != len(found) {
			t.Errorf("%s: %d Go blocks, but %d name the file they are from", doc, blocks, len(found))
		}
		for _, m := range found {
			source := read(t, filepath.Join(root, m[1]))
			if !strings.Contains(flatten(source), flatten(m[2])) {
				t.Errorf("%s: this is not a passage of %s:\n%s", doc, m[1], m[2])
			}
		}
	}
	if !strings.Contains(read(t, filepath.Join(root, "README.md")), "```go") {
		t.Error("the README shows no code")
	}
}

func flatten(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

var (
	link     = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	testName = regexp.MustCompile("`((?:Test|Fuzz|Example|Benchmark)[A-Z]\\w*)`")
)

// TestDocumentsNameWhatExists: local links lead somewhere, and tests that a
// document names are there.
func TestDocumentsNameWhatExists(t *testing.T) {
	tests := testNames(t)
	for _, doc := range documents(t) {
		text := read(t, doc)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: dead link %s", doc, m[1])
			}
		}
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s: there is no test %s", doc, m[1])
			}
		}
	}
}

// TestFuzzTargetsHaveSeeds: a fuzz target with an empty corpus tests nothing
// in an ordinary run.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	targets := 0
	walk(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		text := read(t, path)
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(text, -1) {
			targets++
			seeds, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "testdata", "fuzz", m[1], "*"))
			if !strings.Contains(text, "f.Add(") && len(seeds) == 0 {
				t.Errorf("%s: %s has no seeds", path, m[1])
			}
		}
	})
	if targets == 0 {
		t.Error("no fuzz targets found")
	}
}

// TestTreeSpeaksOfTheProjectAlone: no path of a developer's machine, and no
// test that waits by sleeping.
func TestTreeSpeaksOfTheProjectAlone(t *testing.T) {
	walk(t, func(path string) {
		if strings.HasSuffix(path, "project_test.go") {
			return
		}
		text := read(t, path)
		for _, word := range []string{"/wo" + "rk/main", "/wo" + "rk/shared", "TO" + "DO", "FIX" + "ME"} {
			if strings.Contains(text, word) {
				t.Errorf("%s contains %s", path, word)
			}
		}
		if strings.HasSuffix(path, "_test.go") && strings.Contains(text, "time.Sleep(") && !strings.Contains(text, "internal/faketime") {
			t.Errorf("%s sleeps on the real clock: wait for an event", path)
		}
	})
}

func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"README.md", "SECURITY.md", "llms.txt"} {
		if _, err := os.Stat(filepath.Join(root, d)); err == nil {
			docs = append(docs, filepath.Join(root, d))
		}
	}
	if len(docs) < 2 {
		t.Fatal("the documents are gone")
	}
	return docs
}

func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	fn := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)\w*)\(`)
	walk(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
			for _, m := range fn.FindAllStringSubmatch(read(t, path), -1) {
				names[m[1]] = true
			}
		}
	})
	return names
}

// walk visits the repository's source files, those of nested modules included.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		switch filepath.Ext(path) {
		case ".go", ".lua", ".md", ".js", ".css", ".html":
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
