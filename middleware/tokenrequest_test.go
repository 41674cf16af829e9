package middleware_test

import (
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

func TestParams(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	for _, tt := range []struct {
		name        string
		contentType string
		body        string
		token       string
		ok          bool
	}{
		{"JSON", js, `{"refresh_token":"a"}`, "a", true},
		{"JSON with a character set", js + "; charset=utf-8", `{"refresh_token":"a"}`, "a", true},
		{"white space", js, " \n{ \"refresh_token\" : \"a\" }\r\n", "a", true},
		{"unknown members", js, `{"x":{"y":[1,{}]},"refresh_token":"a"}`, "a", true},
		{"null is absent", js, `{"refresh_token":null}`, "", true},
		{"escapes", js, `{"refresh\u005ftoken":"\u0061"}`, "a", true},
		{"a member twice", js, `{"refresh_token":"a","refresh_token":"a"}`, "", false},
		{"a member twice, escaped", js, `{"refresh_token":"a","refresh\u005ftoken":"b"}`, "", false},
		{"an unknown member twice", js, `{"x":1,"x":2}`, "", false},
		{"another case is another member", js, `{"Refresh_Token":"a"}`, "", true},
		{"a number", js, `{"refresh_token":1}`, "", false},
		{"an array", js, `["refresh_token"]`, "", false},
		{"trailing data", js, `{"refresh_token":"a"}{}`, "", false},
		{"cut short", js, `{"refresh_token":"a"`, "", false},
		{"a byte order mark", js, "\ufeff{}", "", false},
		{"not UTF-8", js, "{\"refresh_token\":\"\xff\"}", "", false},
		{"deep", js, `{"x":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`, "", true},
		{"deeper than the parser goes", js, `{"x":` + strings.Repeat("[", 16000), "", false},
		{"too long", js, `{"x":"` + strings.Repeat("a", 16<<10) + `"}`, "", false},
		{"a form", form, "refresh_token=a&grant_type=refresh_token", "a", true},
		{"a parameter twice", form, "refresh_token=a&refresh_token=b", "", false},
		{"a broken escape", form, "refresh_token=%zz", "", false},
		{"many parameters", form, strings.Repeat("x=1&", 3000), "", false},
		{"a simple request", "text/plain", `{"refresh_token":"a"}`, "", false},
		{"multipart", "multipart/form-data; boundary=x", "--x--", "", false},
		{"no type", "", `{"refresh_token":"a"}`, "", false},
		{"a broken type", "application/json; ;", `{"refresh_token":"a"}`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, _, err := middleware.ParseParams(tt.contentType, tt.body)
			if (err == nil) != tt.ok || token != tt.token {
				t.Errorf("token %q, %v; want %q, ok %v", token, err, tt.token, tt.ok)
			}
		})
	}
}

func FuzzRefreshBody(f *testing.F) {
	for _, seed := range []string{`{"refresh_token":"a"}`, `{"refresh_token":"a","x":[{}]}`, `{"a":1,"a":2}`, "refresh_token=a&grant_type=refresh_token", "{", "\xff", ""} {
		f.Add(true, seed)
		f.Add(false, seed)
	}
	f.Fuzz(func(t *testing.T, js bool, body string) {
		contentType := "application/x-www-form-urlencoded"
		if js {
			contentType = "application/json"
		}
		token, grant, err := middleware.ParseParams(contentType, body)
		if err != nil && (token != "" || grant != "") {
			t.Errorf("%q is read beside an error", token)
		}
	})
}
