package diff_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reason says by which rule the kit refuses a token that go-jose accepts, or
// nothing. It is written from the documentation of package access, with
// encoding/json for a reader, and shares no code with it.
func reason(p pair, token string) string {
	part := strings.Split(token, ".")
	if len(part) != 3 || len(token) > 8<<10 {
		return "not a compact token of at most 8 KiB"
	}
	var text [3][]byte
	for i, s := range part {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != s || s == "" {
			return "a segment is empty or not in its one spelling"
		}
		text[i] = b
	}
	header, why := members(text[0], "alg", "kid", "typ", "crit", "zip", "b64", "jku", "jwk", "x5u", "x5c", "enc")
	if why != "" {
		return "header: " + why
	}
	if why := headerReason(p, header); why != "" {
		return "header: " + why
	}
	claims, why := members(text[1], "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "sid", "gen", "auth_time", "session_exp",
		"acr", "amr", "act", "scope", "roles", "iat_ms")
	if why != "" {
		return "payload: " + why
	}
	return claimsReason(claims)
}

func headerReason(p pair, header map[string]json.RawMessage) string {
	for _, name := range []string{"crit", "zip", "b64", "jku", "jwk", "x5u", "x5c", "enc"} {
		if _, ok := header[name]; ok {
			return "an extension, or a key that travels along"
		}
	}
	alg, kid, typ := text(header["alg"]), text(header["kid"]), strings.ToLower(text(header["typ"]))
	switch {
	case alg != string(p.alg):
		return "another algorithm"
	case kid != p.kid:
		return "another key id, or none"
	case typ != "at+jwt" && typ != "application/at+jwt":
		return "another type, or none"
	}
	return ""
}

func claimsReason(c map[string]json.RawMessage) string {
	for _, name := range []string{"iss", "sub", "client_id", "jti", "sid"} {
		if text(c[name]) == "" {
			return name + " is missing or no text"
		}
	}
	for _, name := range []string{"iat", "exp", "auth_time"} {
		if !isDate(c[name]) {
			return name + " is missing or no date"
		}
	}
	for _, name := range []string{"nbf", "session_exp"} {
		if raw, ok := c[name]; ok && !isDate(raw) {
			return name + " is no date"
		}
	}
	if !isInteger(c["gen"], 1<<53-1) {
		return "gen is missing or no integer"
	}
	if raw, ok := c["iat_ms"]; ok && !isInteger(raw, 999) {
		return "iat_ms is no integer below 1000"
	}
	if raw, ok := c["acr"]; ok && !isText(raw) {
		return "acr is no text"
	}
	if raw, ok := c["scope"]; ok && (!isText(raw) || strings.ContainsFunc(text(raw), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })) {
		return "scope is no list of scopes"
	}
	if raw, ok := c["act"]; ok {
		if actor, why := members(raw); why != "" || text(actor["sub"]) == "" {
			return "act names nobody"
		}
	}
	for _, name := range []string{"amr", "roles"} {
		if raw, ok := c[name]; ok && !isTexts(raw) {
			return name + " is no list of texts"
		}
	}
	if raw := c["aud"]; !isText(raw) && !isTexts(raw) {
		return "aud has something else than text"
	}
	exp, _ := strconv.ParseFloat(string(c["exp"]), 64)
	if math.Floor(exp) <= float64(at.Unix()) {
		return "expired: go-jose has leeway there"
	}
	iat, _ := strconv.ParseFloat(string(c["iat"]), 64)
	ms, _ := strconv.Atoi(string(c["iat_ms"]))
	if math.Floor(iat)+float64(ms)/1000 > float64(at.Unix())+leeway.Seconds() {
		return "issued in the future, by the milliseconds"
	}
	authenticated, _ := strconv.ParseFloat(string(c["auth_time"]), 64)
	if math.Floor(authenticated) > float64(at.Unix())+leeway.Seconds() {
		return "authenticated in the future"
	}
	return ""
}

// members reads one JSON object by the kit's rules: UTF-8, no name twice, none
// of those reserved in another case, at most 200 members and 32 levels.
func members(body []byte, reserved ...string) (map[string]json.RawMessage, string) {
	if !utf8.Valid(body) {
		return nil, "not UTF-8"
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, "no object"
	}
	all := make(map[string]json.RawMessage)
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, "no object"
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, "no object"
		}
		if _, twice := all[name]; twice {
			return nil, "a member twice"
		}
		if strings.ContainsRune(name, utf8.RuneError) && hasHalfPair(body) {
			return nil, "half a surrogate pair in a name"
		}
		if !slices.Contains(reserved, name) && slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) }) {
			return nil, "a reserved name in another case"
		}
		if depth(raw) > 32 {
			return nil, "too deep"
		}
		all[name] = raw
	}
	if len(all) > 200 {
		return nil, "more than 200 members"
	}
	if _, err := d.Token(); err != nil {
		return nil, "no object"
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, "something behind the object"
	}
	return all, ""
}

// depth counts how deep the objects and arrays of a value are nested.
func depth(raw json.RawMessage) int {
	d := json.NewDecoder(bytes.NewReader(raw))
	now, deepest := 0, 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

func isText(raw json.RawMessage) bool {
	var s *string
	return json.Unmarshal(raw, &s) == nil && s != nil && !hasHalfPair(raw)
}

// hasHalfPair reports whether half a surrogate pair stands alone among escapes.
func hasHalfPair(raw []byte) bool {
	raw = escaped.ReplaceAll(raw, []byte(" "))
	return halfPair.Match(wholePair.ReplaceAll(raw, []byte(" ")))
}

var (
	escaped   = regexp.MustCompile(`\\[^u]`) // so that no "u" behind a backslash is taken for an escape
	wholePair = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
	halfPair  = regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`)
)

func text(raw json.RawMessage) string {
	var s string
	if !isText(raw) || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func isTexts(raw json.RawMessage) bool {
	var all []json.RawMessage
	return json.Unmarshal(raw, &all) == nil && all != nil && !slices.ContainsFunc(all, func(r json.RawMessage) bool { return !isText(r) })
}

func isInteger(raw json.RawMessage, most uint64) bool {
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return err == nil && n <= most
}

// isDate: seconds from 1 to the end of the year 9999, with or without a fraction.
func isDate(raw json.RawMessage) bool {
	whole, _, _ := strings.Cut(string(raw), ".")
	n, err := strconv.ParseUint(whole, 10, 64)
	return err == nil && n > 0 && n <= 253402300799 && !bytes.ContainsAny(raw, "eE")
}
