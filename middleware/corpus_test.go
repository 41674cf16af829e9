package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

// corpusDir holds a collection that others wrote. It is not part of this
// module: testdata/corpora/README.md says where it comes from.
var corpusDir = os.Getenv("SESSIONKIT_CORPUS")

// post sends a JSON body to the refresh handler.
func (a *app) post(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/auth/token/refresh", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Firefox/1.0")
	w := httptest.NewRecorder()
	a.Handler("/auth").ServeHTTP(w, r)
	return w
}

// judged posts a body that holds no usable token: it is refused as invalid, in
// JSON, and the store does not hear of it.
func (a *app) judged(t *testing.T, name, body string) {
	t.Helper()
	before := a.store.calls.Load()
	w := a.post(body)
	if w.Code != http.StatusBadRequest && !(w.Code == http.StatusRequestEntityTooLarge && len(body) > 16<<10) {
		t.Errorf("%s: status %d for %.80q", name, w.Code, body)
	}
	if !strings.Contains(w.Body.String(), `"error":"invalid_`) || len(body) > 10 && strings.Contains(w.Body.String(), body) {
		t.Errorf("%s: answer %q", name, w.Body)
	}
	if a.store.calls.Load() != before {
		t.Errorf("%s: the store was asked", name)
	}
}

func TestJSONTestSuite(t *testing.T) {
	if corpusDir == "" {
		t.Skip("SESSIONKIT_CORPUS names no folder: see testdata/corpora/README.md")
	}
	files, err := filepath.Glob(filepath.Join(corpusDir, "JSONTestSuite", "test_parsing", "*.json"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	a := newApp(t)
	count := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if len(text) > 0 { // nothing at all is a request without credentials
			a.judged(t, name, string(text))
		}
		// As the value of a member that means nothing to us.
		_, _, err = middleware.ParseParams("application/json", `{"x":`+string(text)+`,"refresh_token":"t"}`)
		verdict := map[bool]string{true: "read", false: "refused"}[err == nil]
		count[name[:2]+" "+verdict]++
		switch {
		case name[0] == 'y' && err != nil:
			t.Errorf("%s: as a member: %v", name, err)
		case name[0] == 'n' && err == nil:
			t.Errorf("%s: as a member it is read: %.80q", name, text)
		}
		// As the token itself: only text can be one.
		if token, _, err := middleware.ParseParams("application/json", `{"refresh_token":`+string(text)+`}`); err == nil && token != "" && text[0] != '"' && strings.TrimSpace(string(text))[0] != '"' {
			t.Errorf("%s: a token %q", name, token)
		}
	}
	t.Log(count)
}

func TestBodiesThatAreNotOneObjectAreRefused(t *testing.T) {
	a := newApp(t)
	g := a.native("alice")
	token := g.RefreshToken
	object := `{"refresh_token":"` + token + `"}`
	for _, tt := range []struct{ name, body string }{
		{"nothing but a brace", "{"}, {"a list", "[" + object + "]"}, {"text", `"` + token + `"`}, {"null", "null"}, {"a number", "1"},
		{"two objects", object + object}, {"something behind", object + "x"}, {"a NUL behind", object + "\x00"}, {"a comma behind", object + ","},
		{"byte order mark", "\ufeff" + object}, {"UTF-16", "\xff\xfe{\x00}\x00"}, {"not UTF-8", `{"x":"` + "\xff" + `","refresh_token":"` + token + `"}`},
		{"comma at the end", `{"refresh_token":"` + token + `",}`}, {"comment", `{/**/"refresh_token":"` + token + `"}`}, {"comment behind", object + "//x"},
		{"single quotes", `{'refresh_token':'` + token + `'}`}, {"no quotes", `{refresh_token:"` + token + `"}`}, {"no colon", `{"refresh_token" "` + token + `"}`},
		{"never closed", `{"refresh_token":"` + token + `"`}, {"closed twice", object + "}"}, {"closed by a bracket", `{"refresh_token":"` + token + `"]`},
		{"token in a list", `{"refresh_token":["` + token + `"]}`}, {"token in an object", `{"refresh_token":{"a":"` + token + `"}}`}, {"token a number", `{"refresh_token":1}`},
		{"token true", `{"refresh_token":true}`}, {"token null", `{"refresh_token":null}`}, {"token empty", `{"refresh_token":""}`}, {"token missing", `{}`},
		{"token twice", `{"refresh_token":"` + token + `","refresh_token":"` + token + `"}`}, {"token twice, one escaped", `{"refresh_token":"` + token + `","refresh\u005ftoken":"x"}`},
		{"name in capitals", `{"REFRESH_TOKEN":"` + token + `"}`}, {"name with a blank", `{"refresh_token ":"` + token + `"}`},
		{"line break in the token", `{"refresh_token":"` + token[:9] + "\n" + token[9:] + `"}`}, {"NaN", `{"x":NaN,"refresh_token":"` + token + `"}`},
		{"leading zero", `{"x":01,"refresh_token":"` + token + `"}`}, {"hexadecimal", `{"x":0x1,"refresh_token":"` + token + `"}`}, {"plus", `{"x":+1,"refresh_token":"` + token + `"}`},
		{"bad escape", `{"x":"\x41","refresh_token":"` + token + `"}`}, {"form feed between", "{\f\"refresh_token\":\"" + token + `"}`}, {"no-break space between", "{\u00a0\"refresh_token\":\"" + token + `"}`},
		{"deep", strings.Repeat(`{"x":`, 3000)}, {"deep lists", `{"x":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`}, {"too large", `{"x":"` + strings.Repeat("x", 17<<10) + `"}`},
		{"other grant", `{"grant_type":"password","refresh_token":"` + token + `"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := a.store.calls.Load()
			w := a.post(tt.body)
			if w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			if a.store.calls.Load() != before {
				t.Error("the store was asked")
			}
			if strings.Contains(w.Body.String(), token) {
				t.Error("the answer shows the token")
			}
		})
	}
	// What is one object is read, however it is written.
	if _, _, err := middleware.ParseParams("application/json", fmt.Sprintf("\r\n{ \"x\" : [ 1e5, {} ],\t\"\\u0072efresh_token\" : %q } ", token)); err != nil {
		t.Error(err)
	}
	// All that left the session as it was.
	if w := a.post(`{"refresh_token":"` + token + `"}`); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}
