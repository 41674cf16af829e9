package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
)

// A document is docs/openapi.json, and which of its answers a test has seen.
type document struct {
	validator.Validator
	Paths      map[string]map[string]operation
	Components struct {
		Schemas struct {
			Error struct {
				Properties struct{ Error struct{ Enum []string } }
			}
		}
		SecuritySchemes map[string]struct{ In, Name string }
	}
	seen map[string]bool
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct {
				AllOf []struct {
					Properties struct{ Error struct{ Enum []string } }
				}
			}
		}
	}
}

func open(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := &document{seen: make(map[string]bool)}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	parsed, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(parsed, config.WithURLEncodedBodyValidation())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	d.Validator = v
	return d
}

// template is the path of the document that a request is for.
func template(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/auth/sessions/") {
		return "/auth/sessions/{id}"
	}
	return r.URL.Path
}

// what names an answer: the status, and the code of a refusal, or "html" for a page.
func what(t *testing.T, res *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	status := fmt.Sprint(res.StatusCode)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && res.StatusCode >= 400 {
		return status + " html"
	}
	var refusal struct{ Error string }
	if res.StatusCode >= 400 {
		if err := json.Unmarshal(text, &refusal); err != nil {
			t.Errorf("%s: %v: %s", status, err, text)
		}
		status += " " + refusal.Error
	}
	return status
}

// check holds an answer to the document, and a request that succeeded. body is what
// the request had.
func (d *document) check(t *testing.T, r *http.Request, body string, res *http.Response, want string) {
	t.Helper()
	got, at := what(t, res), r.Method+" "+template(r)
	if got != want {
		t.Errorf("%s: %s, want %s", at, got, want)
	}
	d.seen[at+" "+got] = true
	r.Body = io.NopCloser(strings.NewReader(body))
	if res.StatusCode < 300 {
		if ok, errs := d.ValidateHttpRequestSync(r); !ok {
			for _, err := range errs {
				t.Errorf("%s, the request of %s: %v", at, got, err)
			}
		}
	}
	if ok, errs := d.ValidateHttpResponse(r, res); !ok {
		for _, err := range errs {
			t.Errorf("%s, the answer %s: %v", at, got, err)
		}
	}
	if kind := res.Header.Get("Content-Type"); kind == "" && res.Body != nil {
		if text, _ := io.ReadAll(res.Body); len(text) > 0 && res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s %s: a body without a content type: %s", at, got, text)
		}
	}
}

// answers are all that the document has, as what names them.
func (d *document) answers() map[string]bool {
	all := make(map[string]bool)
	for path, operations := range d.Paths {
		for method, o := range operations {
			for status, response := range o.Responses {
				at, coded := strings.ToUpper(method)+" "+path+" "+status, false
				for kind, content := range response.Content {
					if kind == "text/html" {
						all[at+" html"], coded = true, true
					}
					for _, part := range content.Schema.AllOf {
						for _, code := range part.Properties.Error.Enum {
							all[at+" "+code], coded = true, true
						}
					}
				}
				if !coded {
					all[at] = true
				}
			}
		}
	}
	return all
}
