package access_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/access"
)

// members returns the names and values of an object's members, or false for
// what scanObject refuses.
func members(text string) (names, values []string, ok bool) {
	err := access.ScanObject(text, func(name, raw string) error {
		names, values = append(names, name), append(values, raw)
		return nil
	})
	return names, values, err == nil
}

func TestScanObject(t *testing.T) {
	good := map[string][2]string{ // text: names, values
		`{}`:                                {"", ""},
		" \t\r\n{ } \n":                     {"", ""},
		`{"a":1}`:                           {"a", "1"},
		`{ "a" : 1 , "b" : [ 1 , 2 ] }`:     {"a|b", "1|[ 1 , 2 ]"},
		`{"":""}`:                           {"", `""`},
		`{"a":{"a":{"a":[]}},"b":[{},[]]}`:  {"a|b", `{"a":{"a":[]}}|[{},[]]`},
		`{"\u0061\/\n":"\"\\\/\b\f\n\r\t"}`: {"a/\n", `"\"\\\/\b\f\n\r\t"`},
		`{"a":-0.5e+10,"b":0,"c":1E-2}`:     {"a|b|c", "-0.5e+10|0|1E-2"},
		`{"a":true,"b":false,"c":null}`:     {"a|b|c", "true|false|null"},
		`{"a":"]}\"[{"}`:                    {"a", `"]}\"[{"`},
		`{"a":1,"A":2}`:                     {"a|A", "1|2"},
	}
	for text, want := range good {
		names, values, ok := members(text)
		if !ok || strings.Join(names, "|") != want[0] || strings.Join(values, "|") != want[1] {
			t.Errorf("%s: %q, %q, %v", text, names, values, ok)
		}
	}
	for _, text := range []string{
		``, ` `, `x`, `"a"`, `1`, `null`, `[]`, `{`, `}`, `{]`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{a:1}`, `{'a':1}`,
		`{"a":1 "b":2}`, `{"a":1,,"b":2}`, `{"a":1}}`, `{"a":1}x`, `{"a":1}{}`, `{"a":tru}`, `{"a":True}`, `{"a":nul}`, `{"a":NaN}`, `{"a":undefined}`,
		`{"a":01}`, `{"a":-}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":1_0}`, `{"a":1 2}`,
		`{"a":"}`, `{"a":"\"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"\`, "{\"a\":\"\x00\"}", "{\"a\":\"\t\"}", "{\"a\x1f\":1}",
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{"b"}}`, `{"a":{"b":}}`, `{"a":{"b":1,}}`, `{"a":{1:1}}`, `{"a":{"b" 1}}`, `{"a":[`, `{"a":{`, `{"a":{"b":1`,
		`{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `{"\ud800":1}`, "{\"a\":1\u00a0}", "\v{}", "{}\x00", "\ufeff{}", `{"a":1/**/}`, `{"a":1}//`,
	} {
		if names, values, ok := members(text); ok {
			t.Errorf("%q was accepted: %q, %q", text, names, values)
		}
	}
	mine := errors.New("mine")
	if err := access.ScanObject(`{"a":1}`, func(string, string) error { return mine }); err != mine {
		t.Errorf("the visitor's error became %v", err)
	}
}

// plain reads an object by encoding/json: its members, and whether each comes
// once, none is nested too deep, and there are not too many.
func plain(text string) (names, values []string, ok bool) {
	d := json.NewDecoder(strings.NewReader(text))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, false
	}
	for d.More() {
		tok, err := d.Token()
		name, isString := tok.(string)
		var raw json.RawMessage
		if err != nil || !isString || d.Decode(&raw) != nil {
			return nil, nil, false
		}
		if slices.Contains(names, name) || depth(raw) > access.MaxDepth || strings.ContainsRune(name, utf8.RuneError) {
			return nil, nil, false
		}
		names, values = append(names, name), append(values, string(raw))
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, false
	}
	return names, values, len(names) <= access.MaxMembers
}

func depth(raw []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(raw))
	for now := 0; ; {
		tok, err := d.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('['), json.Delim('{'):
			now++
			deepest = max(deepest, now)
		case json.Delim(']'), json.Delim('}'):
			now--
		}
	}
}

// FuzzScanObject compares the scanner with encoding/json: what one takes the
// other takes, and reads the same in it.
func FuzzScanObject(f *testing.F) {
	for _, s := range []string{`{}`, payload(nil), `{"a":[{"b":"\u00e9\\"}],"b":-1.5e3,"\u0063":null}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"a":[[[[]]]]} `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || len(text) > access.MaxToken || !json.Valid([]byte(text)) && len(text) > 0 && text[0] != '{' {
			t.Skip()
		}
		names, values, ok := members(text)
		wantNames, wantValues, want := plain(text)
		if (strings.ContainsRune(text, utf8.RuneError) || strings.Contains(strings.ToLower(text), `\ufffd`)) && ok != want {
			t.Skip() // a name may hold it in the open; plain can't tell
		}
		if !json.Valid([]byte(text)) {
			want = false // the Decoder's tokens are more lenient
		}
		if ok != want {
			t.Fatalf("%q: %v, encoding/json %v", text, ok, want)
		}
		if ok && (!slices.Equal(names, wantNames) || !slices.Equal(values, wantValues)) {
			t.Errorf("%q: %q %q, encoding/json %q %q", text, names, values, wantNames, wantValues)
		}
	})
}
