// Package openapi holds docs/openapi.json to the kit's endpoints: each answer of a
// table of requests is as the document says, and each answer that it has is seen.
package openapi
