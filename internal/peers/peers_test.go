package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestTheKitSignsNobodyOut: whatever happens to its clients, alone or together.
func TestTheKitSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for _, c := range cells {
		n := honest(flows()[0], c.accidents, options{renewals: 5000, seed: 7})
		if n.signedOut != 0 || n.renewals < 5000 {
			t.Errorf("%s: %d honest clients signed out in %d renewals", c.title, n.signedOut, n.renewals)
		}
	}
}

// TestTheAccidentsDoHappen: plain rotation shows that each of them is there.
func TestTheAccidentsDoHappen(t *testing.T) {
	t.Parallel()
	for _, c := range cells {
		if n := honest(flows()[1], c.accidents, options{renewals: 25_000, seed: 7}); n.signedOut == 0 {
			t.Errorf("%s: nobody is signed out under plain rotation", c.title)
		}
	}
}

func TestTheSameSeedGivesTheSameCount(t *testing.T) {
	t.Parallel()
	for _, f := range flows() {
		o := options{renewals: 3000, thieves: 20, seed: 3}
		if a, b := honest(f, cells[4].accidents, o), honest(f, cells[4].accidents, o); a != b {
			t.Errorf("%s: %v and then %v", f.name, a, b)
		}
		if a, b := thieves(f, racing, o), thieves(f, racing, o); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: thieves live for %v and then %v", f.name, a, b)
		}
	}
}

// TestNoThiefOfTheKitLivesOn: two weeks after the theft none is in, whenever he came.
func TestNoThiefOfTheKitLivesOn(t *testing.T) {
	t.Parallel()
	for k, name := range theftKinds {
		if s := spreadOf(thieves(flows()[0], theftKind(k), options{thieves: 60, seed: 5})); s.end != 0 {
			t.Errorf("who %s: %.1f %% are still in", name, 100*s.end)
		}
	}
}

// TestFlows plays the sequences that tell the flows apart. A step presents the
// token that an earlier one brought: 0 is the login's, 1 what the first step
// brought, and so on.
func TestFlows(t *testing.T) {
	t.Parallel()
	type step struct {
		token int
		after instant
		use   bool // the access token, and not the refresh token
		want  verdict
	}
	again := func(after instant, want verdict) []step {
		return []step{{token: 0}, {token: 0, after: after, want: want}}
	}
	for _, c := range []struct {
		flow  string
		rule  string
		steps []step
	}{
		{"sessionkit", "a predecessor is good until its successor settled", again(hour, accepted)},
		{"sessionkit", "then it is reuse", []step{{token: 0}, {token: 1, after: minute, use: true}, {token: 0, after: second, want: refused}, {token: 1, after: second, want: refused}}},
		{"plain rotation", "a second use ends the family", append(again(0, refused), step{token: 1, want: refused})},
		{"rotation, 10 s window", "within the window it gets another", again(9*second, accepted)},
		{"rotation, 10 s window", "and both live on", []step{{token: 0}, {token: 0, after: second}, {token: 1, after: hour}, {token: 2, after: hour}}},
		{"rotation, 10 s window", "after it the family ends", append(again(11*second, refused), step{token: 1, want: refused})},
		{"rotation, 30 s window", "within the window it gets another", again(29*second, accepted)},
		{"gin-jwt v3", "two at a time get one each", again(1, accepted)},
		{"gin-jwt v3", "a spent token is refused, and the other goes on", append(again(hour, refused), step{token: 1})},
		{"SuperTokens, until the child is used", "a parent is good until then", again(hour, accepted)},
		{"SuperTokens, until the child is used", "and theft afterwards", []step{{token: 0}, {token: 1, after: second, use: true}, {token: 0, want: refused}, {token: 1, want: refused}}},
		{"SuperTokens, until the child is used", "a sibling of the one that was used is theft", []step{{token: 0}, {token: 0}, {token: 1, after: second, use: true}, {token: 2, want: refused}}},
		{"SuperTokens, 30 s window", "another successor, and the first is dead", []step{{token: 0}, {token: 0, after: second}, {token: 1, want: refused}, {token: 2, want: refused}}},
		{"SuperTokens, 30 s window", "late", again(31*second, refused)},
		{"Supabase, 10 s reuse interval", "the parent of the active token gets it, at any time", again(day, accepted)},
		{"Supabase, 10 s reuse interval", "an older one is good within the interval", []step{{token: 0}, {token: 1, after: second}, {token: 0, after: second}}},
		{"Supabase, 10 s reuse interval", "and ends the family afterwards", []step{{token: 0}, {token: 1, after: minute}, {token: 0, after: minute, want: refused}, {token: 2, want: refused}}},
	} {
		var s server
		for _, f := range flows() {
			if f.name == c.flow {
				s = f.login()
			}
		}
		tokens, now := []token{{}}, hour
		for i, step := range c.steps {
			now += step.after
			held := tokens[step.token]
			if step.use {
				s.use(held.id, held.issued, now)
				tokens = append(tokens, held)
				continue
			}
			id, got := s.renew(held.id, now)
			if got != step.want {
				t.Errorf("%s, %s: step %d comes to %v, want %v", c.flow, c.rule, i+1, got, step.want)
			}
			tokens = append(tokens, token{id: id, issued: now})
		}
	}
}

// TestThePublishedTable: it has a row for each flow, and says where each model is from.
func TestThePublishedTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "comparison.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), begins)
	table, _, _ = strings.Cut(table, ends)
	for _, f := range flows() {
		if strings.Count(table, "| "+f.name+" |") != 2 {
			t.Errorf("the tables have no row of %s: go run . -write ../../docs", f.name)
		}
		if !strings.Contains(string(text), f.source) {
			t.Errorf("the page does not say where the model of %s is from: %s", f.name, f.source)
		}
	}
}
