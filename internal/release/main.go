// Command release makes what a release consists of: an archive of the sources, the
// bill of materials, and their checksums.
//
//	cd internal/release && go run . -version v1.2.3 -out /tmp/release
//
// The archive has what is committed and nothing else, with the time of the commit,
// so that everybody who runs the command on one commit, with the same Go and Git, gets
// the same bytes. The
// bill of materials is CycloneDX 1.6 in JSON: the modules that the packages of the
// kit are built from, with their licences.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	version := flag.String("version", "", "the version, such as v1.2.3; else the commit")
	out := flag.String("out", "", "the folder to write to")
	commit := flag.String("commit", "HEAD", "what to release")
	flag.Parse()
	if *out == "" {
		fmt.Fprintln(os.Stderr, "release: -out is missing: name the folder to write to")
		os.Exit(2)
	}
	if err := release(filepath.Join("..", ".."), *out, *version, *commit); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release writes the three files.
func release(root, out, version, commit string) error {
	hash, err := output(root, "git", "rev-parse", "--verify", commit+"^{commit}")
	if err != nil {
		return err
	}
	hash = strings.TrimSpace(hash)
	if version == "" {
		version = hash[:12]
	}
	archive, err := pack(root, version, hash)
	if err != nil {
		return err
	}
	bill, err := materials(root, version)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	name := "sessionkit-" + version
	var sums strings.Builder
	for _, f := range []struct {
		name string
		data []byte
	}{{name + ".tar.gz", archive}, {name + ".cdx.json", bill}} {
		if err := os.WriteFile(filepath.Join(out, f.name), f.data, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(f.data), f.name)
	}
	fmt.Print(sums.String())
	return os.WriteFile(filepath.Join(out, name+".sha256"), []byte(sums.String()), 0o644)
}

// pack returns the sources of a commit. No time but the commit's is in it.
func pack(root, version, commit string) ([]byte, error) {
	tar, err := output(root, "git", "-c", "tar.umask=0022", "archive", "--format=tar", "--prefix=sessionkit-"+version+"/", commit)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write([]byte(tar)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(problem.String()))
	}
	return string(out), nil
}
