package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
}

// badBody is a request's body that cannot be used, and its answer.
type badBody struct {
	status      int
	description string
}

func (e *badBody) Error() string { return e.description }

const (
	maxBody     = 16 << 10
	bodyTimeout = 10 * time.Second
)

// readBody waits for a slow sender for some seconds, and touches the deadlines
// of the connection, which are the server's, only when they are over.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	done := make(chan struct{})
	late := time.AfterFunc(bodyTimeout, func() {
		defer close(done)
		http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	})
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case !late.Stop():
		<-done // w must not be used by two goroutines, nor after the request
		w.Header().Set("Connection", "close")
		return nil, &badBody{http.StatusRequestTimeout, "The body took too long."}
	case errors.As(err, &tooLarge):
		return nil, &badBody{http.StatusRequestEntityTooLarge, "The body is too large."}
	case err != nil || !utf8.Valid(body):
		return nil, &badBody{http.StatusBadRequest, "The body could not be read."}
	}
	return body, nil
}

// readObject reads a body that is one JSON object.
func readObject(w http.ResponseWriter, r *http.Request, fields map[string]any) error {
	body, err := readBody(w, r)
	switch {
	case err != nil:
		return err
	case mediaType(r) != "application/json":
		return &badBody{http.StatusUnsupportedMediaType, "Send application/json."}
	}
	return decodeJSON(body, fields)
}

func mediaType(r *http.Request) string {
	values := r.Header["Content-Type"]
	if len(values) != 1 {
		return ""
	}
	t, _, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	return t
}

// decodeJSON reads the members of one JSON object into the fields that are
// named for them: exactly so, each at most once, and of the field's type.
// Unknown members are ignored.
func decodeJSON(body []byte, fields map[string]any) error {
	malformed := &badBody{http.StatusBadRequest, "The body is not the JSON object that is expected."}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return malformed
	}
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] {
			return malformed
		}
		seen[name] = true
		var skip json.RawMessage
		field := fields[name]
		if field == nil {
			field = &skip
		}
		if d.Decode(field) != nil {
			return malformed
		}
	}
	if _, err := d.Token(); err != nil {
		return malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed
	}
	return nil
}

func parseForm(body []byte) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &badBody{http.StatusBadRequest, "The form could not be read."}
	}
	for _, v := range form {
		if len(v) > 1 {
			return nil, &badBody{http.StatusBadRequest, "A parameter is repeated."}
		}
	}
	return form, nil
}

func answerBadBody(w http.ResponseWriter, err error) {
	bad := &badBody{http.StatusBadRequest, "The request cannot be used."}
	errors.As(err, &bad)
	writeError(w, bad.status, "invalid_request", bad.description)
}
