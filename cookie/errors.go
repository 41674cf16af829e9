package cookie

import "errors"

var (
	// ErrAbsent: the request has no cookie of that name.
	ErrAbsent = errors.New("cookie: absent")
	// ErrDuplicate: the request has several cookies of that name with
	// different values; one of them was planted, and there is no telling which.
	ErrDuplicate = errors.New("cookie: sent twice with different values")
	// ErrMalformed: the value is empty, wrongly encoded, or longer than any that
	// Set writes.
	ErrMalformed = errors.New("cookie: malformed value")
	// ErrValue: the value to set is empty, or has characters other than
	// letters, digits, '-', '_' and '.'.
	ErrValue = errors.New("cookie: the value is empty, or not of A-Z a-z 0-9 - _ and the dot")
	// ErrTooLarge: name and value together exceed 4096 bytes, beyond which
	// browsers drop a cookie without a word.
	ErrTooLarge = errors.New("cookie: name and value exceed 4096 bytes")
	// ErrLifetime: a negative lifetime; use Delete.
	ErrLifetime = errors.New("cookie: negative lifetime")
	// ErrSeal: the value was not sealed by this Jar for this name, or by a key
	// that is gone. There is one answer for all the ways to be wrong.
	ErrSeal = errors.New("cookie: not a sealed value")
)
