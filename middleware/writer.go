package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A committer calls commit exactly once, just before the response's headers
// leave, whichever way they go: a final WriteHeader, Write, ReadFrom, Flush,
// Hijack, or the handler's return. Informational responses pass.
//
// Everything else of the ResponseWriter below is reached through Unwrap by
// http.ResponseController.
type committer struct {
	http.ResponseWriter
	commit func(http.Header)
	done   bool
}

func (c *committer) once() {
	if !c.done {
		c.done = true
		c.commit(c.Header())
	}
}

func (c *committer) WriteHeader(status int) {
	// 1xx are not the answer, but 101 ends the talk in HTTP.
	if status >= 200 || status == http.StatusSwitchingProtocols {
		c.once()
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *committer) Write(b []byte) (int, error) {
	c.once()
	return c.ResponseWriter.Write(b)
}

// WriteString keeps io.WriteString from copying.
func (c *committer) WriteString(s string) (int, error) {
	c.once()
	return io.WriteString(c.ResponseWriter, s)
}

// ReadFrom keeps the server's sendfile.
func (c *committer) ReadFrom(r io.Reader) (int64, error) {
	c.once()
	return io.Copy(c.ResponseWriter, r)
}

// Flush implements http.Flusher, for handlers that ask for it by type.
func (c *committer) Flush() { c.FlushError() }

// FlushError is what http.ResponseController calls.
func (c *committer) FlushError() error {
	c.once()
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (c *committer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.once()
	return http.NewResponseController(c.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (c *committer) Unwrap() http.ResponseWriter { return c.ResponseWriter }
