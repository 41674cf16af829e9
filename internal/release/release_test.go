package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

var update = flag.Bool("update", false, "rewrite testdata/licences.txt")

const root = "../.."

// TestLicences lists what users build from, and under which licences: a change
// shows in review.
func TestLicences(t *testing.T) {
	all, err := dependencies(root)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range all {
		fmt.Fprintf(&b, "%s\t%s\n", d.Path, d.licence)
	}
	const golden = "testdata/licences.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the modules or their licences changed; if on purpose, run go test -update here\nwant\n%sgot\n%s", want, b.String())
	}
}

// TestAnUnknownLicenceIsAnError: nothing goes out under "unknown".
func TestAnUnknownLicenceIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := licenceOf(dir); err == nil {
		t.Error("a module without a licence passes")
	}
	if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("All rights reserved."), 0o644); err != nil {
		t.Fatal(err)
	}
	if id, err := licenceOf(dir); err == nil {
		t.Errorf("an unknown licence passes as %q", id)
	}
}

// TestAReleaseIsReproducible: the same commit gives the same bytes, and they are
// what was committed.
func TestAReleaseIsReproducible(t *testing.T) {
	if _, err := output(root, "git", "rev-parse", "HEAD"); err != nil {
		t.Skip("left out: the sources are not in a git repository")
	}
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if err := release(root, dir, "v0.0.0", "HEAD"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sessionkit-v0.0.0.tar.gz", "sessionkit-v0.0.0.cdx.json", "sessionkit-v0.0.0.sha256"} {
		a, err := os.ReadFile(filepath.Join(one, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs between two runs", name)
		}
	}
	names := archived(t, filepath.Join(one, "sessionkit-v0.0.0.tar.gz"))
	files, err := output(root, "git", "ls-tree", "-r", "--name-only", "--full-tree", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(files) {
		if name = strings.TrimSpace(name); !names["sessionkit-v0.0.0/"+name] {
			t.Errorf("%s is not in the archive", name)
		}
	}
}

// archived returns the names in an archive.
func archived(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
}

// TestTheBillOfMaterials: it reads back, and names each dependency once.
func TestTheBillOfMaterials(t *testing.T) {
	data, err := materials(root, "v0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(data), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	all, err := dependencies(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(*bom.Components) != len(all) || len(all) == 0 {
		t.Fatalf("%d components for %d dependencies", len(*bom.Components), len(all))
	}
	for i, c := range *bom.Components {
		if want := "pkg:golang/" + all[i].Path + "@" + all[i].Version; c.PackageURL != want {
			t.Errorf("component %q, want %q", c.PackageURL, want)
		}
	}
}
