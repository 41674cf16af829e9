// Package frameworks shows the kit in web frameworks, and holds each of them to
// one suite of tests: the cookies of a renewal arrive, whatever the framework
// does with the response. docs/frameworks.md quotes its files. It is a module of
// its own, so that users of the kit have no framework in their go.sum.
package frameworks

import (
	"io"
	"net/http"

	"github.com/sessionkit/sessionkit"
	"github.com/sessionkit/sessionkit/refresh"
)

// login signs a user in without asking for a password, and endpoints are the
// kit's own: every framework mounts both.
func login(kit *sessionkit.Kit) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := kit.Login(w, r, refresh.Login{Subject: r.FormValue("user"), Remember: true}); err != nil {
			kit.WriteError(w, r, err)
		}
	}
}

// cacheable sets headers with which a shared cache would keep a response.
func cacheable(set func(name, value string)) {
	set("Cache-Control", "public, max-age=60")
	set("CDN-Cache-Control", "max-age=60")
}

// hijack answers on the connection itself, as a WebSocket library does: it
// sends the header that the writer has by then.
func hijack(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n")
	header.Write(conn)
	io.WriteString(conn, "\r\n")
}
