package bearer_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/sessionkit/sessionkit/internal/bearer"
)

func TestToken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		query   string
		token   string
		err     error
	}{
		{"absent", nil, "", "", nil},
		{"plain", []string{"Bearer abc.def-_~+/=="}, "", "abc.def-_~+/==", nil},
		{"scheme in any case", []string{"bEaReR abc"}, "", "abc", nil},
		{"repeated header", []string{"Bearer abc", "Bearer abc"}, "", "", bearer.ErrRepeated},
		{"beside a query token", []string{"Bearer abc"}, "access_token=abc", "", bearer.ErrRepeated},
		{"beside an encoded query token", []string{"Bearer abc"}, "x=1&access_token=", "", bearer.ErrRepeated},
		{"query token alone is nothing", nil, "access_token=abc", "", nil},
		{"other scheme", []string{"Basic abc"}, "", "", bearer.ErrScheme},
		{"longer scheme", []string{"Bearerx abc"}, "", "", bearer.ErrScheme},
		{"empty header", []string{""}, "", "", bearer.ErrScheme},
		{"scheme alone", []string{"Bearer"}, "", "", bearer.ErrToken},
		{"empty token", []string{"Bearer "}, "", "", bearer.ErrToken},
		{"two spaces", []string{"Bearer  abc"}, "", " abc", nil},
		{"tab", []string{"Bearer\tabc"}, "", "", bearer.ErrScheme},
		{"trailing junk", []string{"Bearer abc def"}, "", "abc def", nil},
		{"comma", []string{"Bearer abc, Bearer def"}, "", "abc, Bearer def", nil},
		{"padding inside", []string{"Bearer a=b"}, "", "a=b", nil},
		{"only padding", []string{"Bearer =="}, "", "==", nil},
		{"not ASCII", []string{"Bearer é"}, "", "é", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/?"+tt.query, nil)
			for _, h := range tt.headers {
				r.Header.Add("Authorization", h)
			}
			token, present, err := bearer.Token(r)
			if token != tt.token || present != (tt.headers != nil) || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("Token = %q, %v, %v; want %q, %v, %v", token, present, err, tt.token, tt.headers != nil, tt.err)
			}
		})
	}
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{"Bearer abc", "bearer  a", "Bearer", "Basic x", "Bearer a=b", "Bearer \x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		token, present, err := bearer.Token(r)
		if !present {
			t.Fatal("a header that is there counts as absent")
		}
		if err == nil && header[len(header)-len(token):] != token {
			t.Fatalf("token %q is not the end of %q", token, header)
		}
		if (err == nil) != (token != "") {
			t.Fatalf("token %q with error %v", token, err)
		}
	})
}
