package access

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// errJSON: not one JSON object with distinct members.
var errJSON = errors.New("access: not a JSON object with distinct members")

// maxDepth bounds the nesting of a value in a token.
const maxDepth = 32

// scanObject visits the members of one JSON object (RFC 8259) in their order:
// the name, unescaped, and the value's text, which is well-formed JSON.
// encoding/json would take the last of two members of one name, and "EXP" for
// "exp"; here a name that comes twice is an error. The error is errJSON or
// what visit returned.
func scanObject(text string, visit func(name, raw string) error) error {
	text = skipSpace(text)
	if len(text) == 0 || text[0] != '{' {
		return errJSON
	}
	text = skipSpace(text[1:])
	var buffer [24]string
	seen := buffer[:0]
	if len(text) > 0 && text[0] == '}' {
		return atEnd(text[1:])
	}
	for {
		n := stringLength(text)
		if n == 0 {
			return errJSON
		}
		name, ok := stringValue(text[:n])
		if !ok || slices.Contains(seen, name) || len(seen) >= maxMembers {
			return errJSON
		}
		seen = append(seen, name)
		text = skipSpace(text[n:])
		if len(text) == 0 || text[0] != ':' {
			return errJSON
		}
		text = skipSpace(text[1:])
		n = valueLength(text, 0)
		if n == 0 {
			return errJSON
		}
		if err := visit(name, text[:n]); err != nil {
			return err
		}
		text = skipSpace(text[n:])
		if len(text) == 0 {
			return errJSON
		}
		if text[0] == '}' {
			return atEnd(text[1:])
		}
		if text[0] != ',' {
			return errJSON
		}
		text = skipSpace(text[1:])
	}
}

// maxMembers keeps the search for repeated names short.
const maxMembers = 200

func atEnd(text string) error {
	if len(skipSpace(text)) != 0 {
		return errJSON
	}
	return nil
}

func skipSpace(text string) string {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\n' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// valueLength returns the length of the JSON value that text begins with, or 0.
func valueLength(text string, depth int) int {
	if len(text) == 0 || depth > maxDepth {
		return 0
	}
	switch text[0] {
	case '"':
		return stringLength(text)
	case '{', '[':
		return compositeLength(text, depth)
	case 't':
		return literalLength(text, "true")
	case 'f':
		return literalLength(text, "false")
	case 'n':
		return literalLength(text, "null")
	}
	return numberLength(text)
}

func literalLength(text, literal string) int {
	if strings.HasPrefix(text, literal) {
		return len(literal)
	}
	return 0
}

// compositeLength measures an object or array.
func compositeLength(text string, depth int) int {
	object := text[0] == '{'
	end := byte(']')
	if object {
		end = '}'
	}
	rest := skipSpace(text[1:])
	if len(rest) > 0 && rest[0] == end {
		return len(text) - len(rest) + 1
	}
	for {
		if object {
			n := stringLength(rest)
			if n == 0 {
				return 0
			}
			if rest = skipSpace(rest[n:]); len(rest) == 0 || rest[0] != ':' {
				return 0
			}
			rest = skipSpace(rest[1:])
		}
		n := valueLength(rest, depth+1)
		if n == 0 {
			return 0
		}
		rest = skipSpace(rest[n:])
		if len(rest) == 0 {
			return 0
		}
		if rest[0] == end {
			return len(text) - len(rest) + 1
		}
		if rest[0] != ',' {
			return 0
		}
		rest = skipSpace(rest[1:])
	}
}

func stringLength(text string) int {
	if len(text) < 2 || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return 0
		case c == '\\':
			n := escapeLength(text[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		}
	}
	return 0
}

func escapeLength(text string) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(text) < 6 {
			return 0
		}
		for _, c := range text[2:6] {
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// numberLength follows the grammar of RFC 8259 section 6.
func numberLength(text string) int {
	i := 0
	digits := func() int {
		start := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		return i - start
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	start := i
	if n := digits(); n == 0 || n > 1 && text[start] == '0' {
		return 0
	}
	if i < len(text) && text[i] == '.' {
		i++
		if digits() == 0 {
			return 0
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0
		}
	}
	return i
}

// stringValue reads a JSON string that scanObject found well-formed.
func stringValue(raw string) (string, bool) {
	if raw[0] != '"' {
		return "", false
	}
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], true
	}
	var s string
	// encoding/json makes U+FFFD of half a surrogate pair, and of any other half.
	if !hasWholePairs(raw) || json.Unmarshal([]byte(raw), &s) != nil {
		return "", false
	}
	return s, true
}

// hasWholePairs reports whether no half of a surrogate pair stands alone among
// the escapes of well-formed JSON.
func hasWholePairs(raw string) bool {
	for {
		unit, rest := nextEscape(raw)
		if rest == "" {
			return true
		}
		raw = rest
		if !utf16.IsSurrogate(unit) {
			continue
		}
		if !strings.HasPrefix(raw, `\u`) {
			return false
		}
		second, rest := nextEscape(raw)
		if utf16.DecodeRune(unit, second) == utf8.RuneError {
			return false
		}
		raw = rest
	}
}

// nextEscape returns the code unit of the next \u escape in well-formed JSON,
// and the text behind it: "" if there is none.
func nextEscape(raw string) (unit rune, rest string) {
	for {
		i := strings.IndexByte(raw, '\\')
		if i < 0 {
			return 0, ""
		}
		if raw[i+1] == 'u' {
			n, _ := strconv.ParseUint(raw[i+2:i+6], 16, 16)
			return rune(n), raw[i+6:]
		}
		raw = raw[i+2:]
	}
}
