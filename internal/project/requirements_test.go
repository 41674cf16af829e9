package project_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryRequirementIsShown: each row of the table of requirements names a
// test, or says that the matter is the app's duty; and none of the ids that
// were once considered is lost. TestDocumentsNameWhatExists checks that the
// tests are there.
func TestEveryRequirementIsShown(t *testing.T) {
	rows := make(map[string]string)
	for line := range strings.Lines(read(t, filepath.Join(root, "docs", "security-requirements.md"))) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		id := strings.TrimSpace(cells[0])
		if len(cells) < 3 || id == "id" || strings.HasPrefix(id, "---") {
			continue
		}
		shown := cells[len(cells)-1]
		if !testName.MatchString(shown) && !strings.Contains(shown, "App's duty: ") {
			t.Errorf("%s: neither a test nor the app's duty: %s", id, shown)
		}
		for _, one := range splitIDs(id) {
			if rows[one] != "" {
				t.Errorf("%s has two rows", one)
			}
			rows[one] = shown
		}
	}
	ids, err := os.ReadFile("testdata/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	for id := range strings.Lines(string(ids)) {
		if id = strings.TrimSpace(id); id != "" && rows[id] == "" {
			t.Errorf("there is no row for %s", id)
		}
	}
	// Levels 1 and 2 of the chapters that are about what the kit is for.
	for id, shown := range rows {
		if strings.HasPrefix(id, "7.") && !testName.MatchString(shown) {
			t.Errorf("ASVS %s is not met by a test", id)
		}
		if strings.HasPrefix(id, "9.") && !testName.MatchString(shown) {
			t.Errorf("ASVS %s is not met by a test", id)
		}
		if strings.HasPrefix(id, "3.3.") && !testName.MatchString(shown) {
			t.Errorf("ASVS %s is not met by a test", id)
		}
	}
}

// splitIDs splits a list of vulnerabilities; other ids hold spaces.
func splitIDs(id string) []string {
	if strings.HasPrefix(id, "CVE-") {
		return strings.Fields(id)
	}
	return []string{id}
}
