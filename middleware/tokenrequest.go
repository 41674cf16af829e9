package middleware

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

// maxBody bounds the body of a token request, in bytes: a refresh token is
// some 500.
const maxBody = 16 << 10

// bodyTimeout bounds how long the body may take to arrive, so that slow senders
// cannot pile up. Servers without deadlines are passed over.
const bodyTimeout = 10 * time.Second

// params are the parameters of a token request, from a JSON object or a form.
// Unknown ones are ignored (RFC 6749 section 3.2).
type params struct {
	form         bool
	empty        bool // no body at all
	refreshToken string
	grantType    string
}

// A badRequest is an unusable request and the answer it gets.
type badRequest struct {
	status      int
	code        string
	description string
}

func (e *badRequest) Error() string { return "middleware: " + e.description }

func invalid(description string) error {
	return &badRequest{http.StatusBadRequest, "invalid_request", description}
}

// readBody reads the body of a token request. late: it did not arrive in time,
// and the connection ends with the answer. The deadlines of the connection
// belong to the server and the app: none is touched unless the time is over.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, late bool, err error) {
	done := make(chan struct{})
	expired := time.AfterFunc(bodyTimeout, func() {
		defer close(done)
		http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	})
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if late = !expired.Stop(); late {
		<-done // w must not be used by two goroutines, nor after the request
		w.Header().Set("Connection", "close")
	}
	return body, late, err
}

// readParams reads the body of a token request. Its errors are *badRequest.
func readParams(w http.ResponseWriter, r *http.Request) (params, error) {
	body, late, err := readBody(w, r)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return params{}, &badRequest{http.StatusRequestEntityTooLarge, "invalid_request", "The body is too large."}
	}
	if late {
		return params{}, &badRequest{http.StatusRequestTimeout, "invalid_request", "The body took too long."}
	}
	if err != nil {
		return params{}, invalid("The body could not be read.")
	}
	types := r.Header.Values("Content-Type")
	if len(types) == 0 && len(body) == 0 {
		return params{empty: true}, nil
	}
	unsupported := &badRequest{http.StatusUnsupportedMediaType, "invalid_request", "Send application/json or application/x-www-form-urlencoded."}
	if len(types) != 1 {
		return params{}, unsupported
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	if err != nil {
		return params{}, unsupported
	}
	switch mediaType {
	case "application/json":
		if len(body) == 0 {
			return params{empty: true}, nil
		}
		return parseJSONParams(body)
	case "application/x-www-form-urlencoded":
		return parseFormParams(string(body))
	}
	return params{}, unsupported
}

// parseJSONParams reads one JSON object. encoding/json alone would take
// REFRESH_TOKEN for refresh_token and the last of two members.
func parseJSONParams(body []byte) (params, error) {
	malformed := invalid("The body is not one JSON object.")
	if !utf8.Valid(body) {
		return params{}, malformed
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return params{}, malformed
	}
	var p params
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return params{}, malformed
		}
		if seen[name] {
			return params{}, invalid("A member is repeated.")
		}
		seen[name] = true
		switch name {
		case "refresh_token":
			err = d.Decode(&p.refreshToken)
		case "grant_type":
			err = d.Decode(&p.grantType)
		default:
			var skip json.RawMessage
			err = d.Decode(&skip)
		}
		if err != nil {
			return params{}, malformed
		}
	}
	if _, err := d.Token(); err != nil {
		return params{}, malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return params{}, malformed
	}
	return p, nil
}

func parseFormParams(body string) (params, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return params{}, invalid("The form could not be read.")
	}
	for _, v := range values {
		if len(v) > 1 {
			return params{}, invalid("A parameter is repeated.") // RFC 6749 section 3.2
		}
	}
	return params{form: true, refreshToken: values.Get("refresh_token"), grantType: values.Get("grant_type")}, nil
}
