package project_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits that keep the rooms readable.
const (
	maxFields     = 15
	maxLines      = 60
	maxComplexity = 15
	maxAppNames   = 160
	maxFamily     = 62
)

// app are the packages that an app's developer reads; the root is "".
var app = []string{"", "middleware", "refresh", "access", "cookie", "redisstore"}

// larger may have more fields: a record and the claims of a token are lists of
// what they hold.
var larger = map[string]bool{"refresh/family.Record": true, "access.Claims": true, "access.payload": true}

// longer may be longer or have more branches: one case per rule of the protocol,
// of a grammar or of a table, which is easier to read in one place.
var longer = map[string]bool{
	"refresh/family.Decide": true, "refresh/storetest.rows": true,
	"access.member": true, "access.scanObject": true, "access.numberLength": true, "access.publicJWK": true,
}

// rooms visits the source files of the root module's rooms, without tests.
func rooms(t *testing.T, visit func(room string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	for _, room := range public {
		files, err := filepath.Glob(filepath.Join(root, room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			visit(room, fset, f)
		}
	}
}

// TestNumbers measures what grows unseen: names, structs and functions. With -v
// it prints the figures.
func TestNumbers(t *testing.T) {
	var fields, lines, branches struct {
		n  int
		of string
	}
	rooms(t, func(room string, fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				name := room + "." + n.Name.Name
				s, ok := n.Type.(*ast.StructType)
				if !ok || larger[name] {
					return true
				}
				if count := s.Fields.NumFields(); count > fields.n {
					fields.n, fields.of = count, name
				}
				if count := s.Fields.NumFields(); count > maxFields {
					t.Errorf("%s has %d fields, more than %d: group those that belong together", name, count, maxFields)
				}
			case *ast.FuncDecl:
				name := room + "." + n.Name.Name
				if longer[name] || n.Body == nil {
					return true
				}
				length := fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
				if length > lines.n {
					lines.n, lines.of = length, name
				}
				if length > maxLines {
					t.Errorf("%s has %d lines, more than %d", name, length, maxLines)
				}
				c := complexity(n)
				if c > branches.n {
					branches.n, branches.of = c, name
				}
				if c > maxComplexity {
					t.Errorf("%s has a cyclomatic complexity of %d, more than %d", name, c, maxComplexity)
				}
			}
			return true
		})
	})
	t.Logf("largest struct: %s, %d fields", fields.of, fields.n)
	t.Logf("longest function: %s, %d lines", lines.of, lines.n)
	t.Logf("most branches: %s, %d", branches.of, branches.n)
	total := 0
	for _, room := range app {
		n := len(appNames(t, room))
		total += n
		t.Logf("names of %q: %d", room, n)
	}
	t.Logf("names that an app's developer meets: %d", total)
	if total > maxAppNames {
		t.Errorf("%d names face the app, more than %d", total, maxAppNames)
	}
	if n := len(appNames(t, "refresh/family")); n > maxFamily {
		t.Errorf("refresh/family has %d names, more than %d", n, maxFamily)
	} else {
		t.Logf("names of refresh/family: %d", n)
	}
}

// complexity is the number of ways through a function (McCabe).
func complexity(f *ast.FuncDecl) int {
	c := 1
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false // a function of its own
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			c++
		case *ast.CaseClause:
			if n.List != nil {
				c++
			}
		case *ast.CommClause:
			if n.Comm != nil {
				c++
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				c++
			}
		}
		return true
	})
	return c
}

// appNames are a room's exported names, without the values of an enumeration
// (kinds, reasons, outcomes, components) and without sentinels.
func appNames(t *testing.T, room string) []string {
	t.Helper()
	return slices.DeleteFunc(exported(t, filepath.Join(root, room)), func(name string) bool {
		return strings.HasPrefix(name, "const ") || strings.HasPrefix(name, "var Err")
	})
}

// TestErrorsAreTold: whoever calls a function that can fail reads how.
func TestErrorsAreTold(t *testing.T) {
	rooms(t, func(room string, _ *token.FileSet, f *ast.File) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || fn.Type.Results == nil || fn.Recv != nil && !ast.IsExported(receiver(fn.Recv.List[0].Type)) {
				continue
			}
			results := fn.Type.Results.List
			if id, ok := results[len(results)-1].Type.(*ast.Ident); !ok || id.Name != "error" {
				continue
			}
			text := strings.ToLower(fn.Doc.Text())
			told := false
			for _, word := range []string{"err", "fail", "refuse", "implements", "returns nil", "nil"} {
				told = told || strings.Contains(text, word)
			}
			if !told {
				t.Errorf("%s.%s: the comment says nothing of its error", room, fn.Name.Name)
			}
		}
	})
}

// TestThePageOfRulesNamesWhatExists: docs/maintaining.md leads from each rule to
// its file.
func TestThePageOfRulesNamesWhatExists(t *testing.T) {
	path := filepath.Join(root, "docs", "maintaining.md")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	text := read(t, path)
	for _, rule := range []string{"theft", "settle time", "token cache", "303", "503", "device", "cookies", "Redis", "store is away", "revocations"} {
		if !strings.Contains(text, rule) {
			t.Errorf("docs/maintaining.md does not speak of %q", rule)
		}
	}
}
