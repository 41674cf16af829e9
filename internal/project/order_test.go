package project_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// calls returns which file of a room calls functions of which other file, with
// the name of one such function.
func calls(t *testing.T, room string, all map[string]compiled) map[string]map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	own := all[path.Join(module, room)]
	if len(own.GoFiles) == 0 {
		t.Fatalf("no package %q", room)
	}
	var files []*ast.File
	for _, name := range own.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(own.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(all[path].Export) }
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	pkg, err := conf.Check(own.ImportPath, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	file := func(p token.Pos) string { return filepath.Base(fset.Position(p).Filename) }
	found := make(map[string]map[string]string)
	for id, object := range info.Uses {
		f, ok := object.(*types.Func)
		if !ok || f.Pkg() != pkg || !f.Pos().IsValid() {
			continue
		}
		if recv := f.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
			continue
		}
		from, to := file(id.Pos()), file(f.Pos())
		if from == to {
			continue
		}
		if found[from] == nil {
			found[from] = make(map[string]string)
		}
		if found[from][to] == "" || f.Name() < found[from][to] {
			found[from][to] = f.Name()
		}
	}
	return found
}

// A compiled package has its sources on this system, and a file with its types.
type compiled struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// compile returns all packages, dependencies included.
func compile(t *testing.T) map[string]compiled {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]compiled)
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p compiled
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	return all
}

// TestFilesCallOneWay: in a room no file calls functions of a file that calls back,
// by whatever way, so that a reader can take them one after the other.
func TestFilesCallOneWay(t *testing.T) {
	all := compile(t)
	for _, room := range public {
		edges := calls(t, room, all)
		for _, circle := range circles(edges) {
			var why []string
			for _, from := range circle {
				for _, to := range circle {
					if name := edges[from][to]; name != "" {
						why = append(why, from+" calls "+name+" of "+to)
					}
				}
			}
			t.Errorf("%q: %s", room, strings.Join(why, "; "))
		}
	}
}

// circles returns the groups of files of which each calls each other, by whatever
// way.
func circles(edges map[string]map[string]string) [][]string {
	reach := make(map[string]map[string]bool)
	var walk func(seen map[string]bool, from string)
	walk = func(seen map[string]bool, from string) {
		for to := range edges[from] {
			if !seen[to] {
				seen[to] = true
				walk(seen, to)
			}
		}
	}
	for from := range edges {
		reach[from] = make(map[string]bool)
		walk(reach[from], from)
	}
	var all [][]string
	done := make(map[string]bool)
	for from := range edges {
		if !reach[from][from] || done[from] {
			continue
		}
		circle := []string{from}
		for to := range reach[from] {
			if to != from && reach[to][from] {
				circle = append(circle, to)
			}
		}
		slices.Sort(circle)
		for _, name := range circle {
			done[name] = true
		}
		all = append(all, circle)
	}
	return all
}
