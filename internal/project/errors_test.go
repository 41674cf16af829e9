package project_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	codeInSource = regexp.MustCompile(`(?:http\.Status\w+, |Code: |forbidden\(|proofError\{|[cC]ode(?:Nonce|Proof)?\s+= )"([a-z_]+)"`)
	sentence     = regexp.MustCompile(`"([A-Z][^"\\]{10,}\.)"`)
	codeInTable  = regexp.MustCompile("(?m)^\\| [0-9, ]+ \\| `([a-z_]+)` \\|")
)

// TestEveryRefusalIsExplained: docs/errors.md has each code and each sentence that a
// guard or an endpoint can answer, and no other code.
func TestEveryRefusalIsExplained(t *testing.T) {
	doc := read(t, filepath.Join(root, "docs", "errors.md"))
	files, err := filepath.Glob(filepath.Join(root, "middleware", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(map[string]bool)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for line := range strings.Lines(read(t, file)) {
			codes := codeInSource.FindAllStringSubmatch(line, -1)
			for _, m := range codes {
				answered[m[1]] = true
			}
			if len(codes) == 0 && !strings.Contains(line, "escription") && !strings.Contains(line, "invalid(") {
				continue
			}
			for _, s := range sentence.FindAllStringSubmatch(line, -1) {
				if !strings.Contains(doc, s[1]) {
					t.Errorf("%s answers %q, which docs/errors.md does not have", file, s[1])
				}
			}
		}
	}
	if len(answered) < 12 {
		t.Fatalf("only %d codes were found: %v", len(answered), slices.Sorted(maps.Keys(answered)))
	}
	explained := make(map[string]bool)
	for _, m := range codeInTable.FindAllStringSubmatch(doc, -1) {
		explained[m[1]] = true
		if !answered[m[1]] {
			t.Errorf("docs/errors.md explains %s, which nothing answers", m[1])
		}
	}
	for code := range answered {
		if !explained[code] {
			t.Errorf("docs/errors.md does not explain %s", code)
		}
	}
}
