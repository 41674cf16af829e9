package access

import (
	"bytes"
	"errors"
	"fmt"
)

// words are what people type where random bytes belong. By chance one of them
// is in a random secret, in base64 and whatever its case, less than once in a
// million times.
var words = [...]string{
	"secret", "password", "changeme", "change-me", "change_me", "example", "letmein", "qwerty",
	"insecure", "default", "random", "string", "thisis", "this-is", "this_is", "this is", "asdfasdf", "12345678", "abcdefgh",
}

// checkSecret refuses what can be seen not to be random (RFC 8725 section
// 3.5). It can't see that a secret is random.
func checkSecret(secret []byte) error {
	if len(secret) < minHMACKey {
		return fmt.Errorf("access: a secret of %d bytes is too short: use at least %d random bytes", len(secret), minHMACKey)
	}
	if repeats(secret) {
		return errors.New("access: a secret repeats itself: use at least 32 random bytes")
	}
	if phrase(secret) {
		return errors.New("access: a secret looks like words: use at least 32 random bytes")
	}
	lower := bytes.ToLower(secret)
	for _, w := range words {
		if bytes.Contains(lower, []byte(w)) {
			return errors.New("access: a secret holds a well-known word: use at least 32 random bytes")
		}
	}
	return nil
}

// phrase reports whether a secret is text without a digit, and with letters of
// one case or with spaces: as people write. A random secret looks so less than
// once in 10^13 times as bytes, in base64 or in hexadecimal, and in base32 less
// than once in 40,000 times.
func phrase(secret []byte) bool {
	var lower, upper, space bool
	for _, b := range secret {
		switch {
		case b < ' ' || b > '~' || '0' <= b && b <= '9':
			return false
		case 'a' <= b && b <= 'z':
			lower = true
		case 'A' <= b && b <= 'Z':
			upper = true
		case b == ' ':
			space = true
		}
	}
	return space || !lower || !upper
}

// repeats reports whether a secret has few different bytes, goes round, or
// counts. 32 random hexadecimal digits have fewer than 8 different ones less
// than once in ten million times.
func repeats(secret []byte) bool {
	var seen [256]bool
	distinct := 0
	for _, b := range secret {
		if !seen[b] {
			seen[b] = true
			distinct++
		}
	}
	if distinct < 8 {
		return true
	}
	for period := 1; period <= len(secret)/2; period++ {
		if bytes.Equal(secret[period:], secret[:len(secret)-period]) {
			return true
		}
	}
	step := secret[1] - secret[0]
	for i := 2; i < len(secret); i++ {
		if secret[i]-secret[i-1] != step {
			return false
		}
	}
	return true
}
