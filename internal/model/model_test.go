// Package model holds the family protocol in the language of the model checker
// Spin, and a test that has Spin visit all its states: with the rules as they
// are, and with each rule weakened. docs/model.md explains it.
package model_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

const (
	model = "family.pml"
	// tooLong ends a run that visits more states than was meant.
	tooLong = 5 * time.Minute

	patient = "DUPLICATES=1 FAILOVER=1"
	eager   = "EAGER=1 SETTLE=7 FRESH=6 RETRY=0"
)

// The promises, as the assertions of the model say them.
const (
	honest   = "!(refused)||robbed"
	comeBack = "!(dead)"
	noticed  = "!(caught)"
	noKey    = "!(store.key)"
	reached  = "out!="
)

// TestTheProtocolKeepsItsPromises visits all states.
func TestTheProtocolKeepsItsPromises(t *testing.T) {
	for _, c := range []struct{ name, defines string }{
		{"clients who renew when need be, duplicates, failovers", patient},
		{"clients who renew whenever they like", eager},
		{"a request that is held up for two settle times", "HOLD=8"},
		{"a thief", "THIEF=1"},
		{"a thief, and a key that is known from the login on", "THIEF=1 BOUND=1 FAILOVER=1 RETRY=0"},
		{"a thief, and a key that a signed refresh pins", "THIEF=1 BINDING=1"},
		{"a key that a signed refresh pins and a failover loses", "BINDING=1 FAILOVER=1 RETRY=0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := check(t, c.defines, false)
			if r.broken != "" {
				t.Fatalf("%s does not hold:\n%s", r.broken, r.story)
			}
			t.Logf("%s states, all of them", r.states)
		})
	}
}

// TestEachRuleAndEachAssumptionIsNeeded weakens one at a time: Spin must find
// what happens then, and tells the shortest story of it.
func TestEachRuleAndEachAssumptionIsNeeded(t *testing.T) {
	for _, c := range []struct{ name, defines, broken string }{
		{"rule: a grace window from the rotation in place of settling", "GRACE", honest},
		{"rule: a proof's age counted from the rotation", "FROM_ROTATION", honest},
		{"rule: a young access token proves", "PROOF=1", honest},
		{"rule: single use", "SINGLE_USE", honest},
		{"rule: tokens ahead of the store refused", "REFUSE_BEHIND FAILOVER=1", honest},
		{"rule: generations rotated however young they are", strings.Replace(eager, "FRESH=6", "FRESH=0", 1), honest},
		{"rule: what comes late is theft", "NO_OVERTAKEN HOLD=8", honest},
		{"rule: nothing ever settles", "NEVER_SETTLES THIEF=1", comeBack},
		{"rule: reuse is refused and the family lives", "REFUSE_ONLY THIEF=1", noticed},
		{"rule: no proof of the key is asked for", "NO_PROOF THIEF=1 BOUND=1", noKey},
		{"rule: no proof of a pinned key is asked for", "NO_PROOF THIEF=1 BINDING=1", noKey},
		{"rule: no proof of the key is asked for at a replay", "NO_PROOF_AT_REPLAY THIEF=1 BOUND=1", noKey},

		{"assumption: a settle time that a round trip and a crash outlast", "SETTLE=3", honest},
		{"assumption: a crash that goes further back", "RESTORE=2", honest},
		{"assumption: a request that travels longer", "REQUEST=2", honest},
		{"assumption: a response that travels longer", "RESPONSE=2", honest},
		{"assumption: a retry that comes later", "RETRY=2", honest},
		{"assumption: access tokens as short as a round trip", patient + " ACCESS=3", honest},
		{"assumption: a failover and a duplicate, and clients who renew whenever they like", eager + " " + patient, honest},
		{"assumption: a fresh time that a round trip and a crash outlast", strings.Replace(eager, "FRESH=6", "FRESH=2", 1), honest},
		{"assumption: a replay that is held up until its successor settled", "HOLD=8 HELD_REPLAYS=1", honest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := check(t, c.defines, true)
			if !strings.Contains(r.broken, c.broken) {
				t.Fatalf("broken: %q, want %q; %s states\n%s", r.broken, c.broken, r.states, r.story)
			}
			t.Logf("%s\n%s", r.broken, r.story)
		})
	}
}

// TestTheModelReachesWhatItIsAbout: no row of the table is there for nothing.
func TestTheModelReachesWhatItIsAbout(t *testing.T) {
	for outcome, defines := range map[string]string{
		"UNPROVEN": "THIEF=1 BOUND=1", "REPEATED": patient, "FRESHLY": eager, "ROTATED": patient, "REPLAYED": patient,
		"BEHIND": patient, "OVERTAKEN": "HOLD=8", "REUSED": "THIEF=1",
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			if r := check(t, defines+" REACH="+outcome, true); !strings.Contains(r.broken, reached) {
				t.Errorf("no presentation comes to it in %s states", r.states)
			}
		})
	}
}

// A result is what Spin says of the model.
type result struct{ states, broken, story string }

var (
	violation = regexp.MustCompile(`assertion violated (.*) \(at depth`)
	stored    = regexp.MustCompile(`(\d+) states, stored`)
	finished  = regexp.MustCompile(`errors: (\d+)`)
)

// check has Spin visit the states of the model with the given defines: the
// nearest first, so that a story is the shortest, or in depth, which needs less
// memory where all have to be visited.
func check(t *testing.T, defines string, nearest bool) result {
	t.Helper()
	need(t, "spin")
	need(t, "cc")
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	dir := t.TempDir()
	text, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, model), text, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	var flags []string
	for d := range strings.FieldsSeq(defines) {
		flags = append(flags, "-D"+d)
	}
	run("spin", append(append([]string{"-a"}, flags...), model)...)
	search, depth := "-DCOLLAPSE", "-m4000000"
	if nearest {
		search, depth = "-DBFS", "-n"
	}
	run("cc", "-O1", "-w", "-DSAFETY", "-DNOREDUCE", search, "-o", "pan", "pan.c")
	out := run("./pan", depth, "-n")
	if ended := finished.FindStringSubmatch(out); ended == nil || strings.Contains(out, "too small") || strings.Contains(out, "out of memory") {
		t.Fatalf("not all states were visited:\n%s", out)
	}
	r := result{states: stored.FindStringSubmatch(out)[1]}
	if v := violation.FindStringSubmatch(out); v != nil {
		r.broken = strings.ReplaceAll(v[1], " ", "")
		r.story = story(run("spin", append(append([]string{"-t", "-T", "-B"}, flags...), model)...))
	}
	return r
}

// story keeps what the model says of a trail, and counts ticks that follow on
// each other.
func story(trail string) string {
	var lines []string
	ticks := 0
	for line := range strings.Lines(trail) {
		line = strings.TrimSpace(line)
		switch {
		case line == "a tick passes":
			ticks++
			continue
		case line == "" || strings.HasPrefix(line, "spin:") || strings.HasPrefix(line, "#"):
			continue
		}
		if ticks > 0 {
			lines = append(lines, strings.Repeat("tick ", ticks))
		}
		lines, ticks = append(lines, line), 0
	}
	return strings.Join(lines, "\n")
}

// need leaves the test out where a tool is missing, or fails it where
// redistest.RequireVariable is set.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err == nil {
		return
	}
	if os.Getenv(redistest.RequireVariable) != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("left out: %s is not installed (Debian: apt-get install %s)", tool, tool)
}
