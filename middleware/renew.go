package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/felixge/httpsnoop"

	"github.com/sessionkit/sessionkit/cookie"
	"github.com/sessionkit/sessionkit/refresh"
)

// deliver puts the cookies of a renewal into the header of the answer, in place of
// those that were there: a sign-in before the guard may have set the same.
func (a *Auth) deliver(h http.Header, r *http.Request, g *refresh.Grant) *delivery {
	a.cookies.Unset(h, cookie.Refresh)
	a.cookies.Unset(h, cookie.Access)
	d := &delivery{a: a, h: h, r: r, g: g, before: slices.Clone(h["Set-Cookie"])}
	if err := a.renewCookies(h, r, g); err != nil {
		a.record(r, refresh.Event{Kind: refresh.EventCannotIssue, Subject: g.Claims.Subject, Actor: g.Claims.Actor, SessionID: g.Claims.SessionID, Err: err})
		d.done = true
		return d
	}
	for _, line := range h["Set-Cookie"] {
		if !slices.Contains(d.before, line) {
			d.ours = append(d.ours, line)
		}
	}
	return d
}

// A delivery is the cookies of one renewal on their way to the client.
type delivery struct {
	a      *Auth
	h      http.Header
	r      *http.Request
	g      *refresh.Grant
	before []string // Set-Cookie lines that were there already
	ours   []string // those of the renewal
	done   bool
}

// commit runs once, just before the response's headers leave. What the handler
// did meanwhile wins: it may have signed somebody in or out, and then the
// renewal's cookies are gone or must go. A session that was revoked or has moved
// on gets none.
func (d *delivery) commit() {
	if d.done {
		return
	}
	d.done = true
	if d.replaced() || d.a.sessions.Superseded(d.r.Context(), d.g) {
		d.h["Set-Cookie"] = slices.DeleteFunc(d.h["Set-Cookie"], func(line string) bool { return slices.Contains(d.ours, line) })
		if len(d.h["Set-Cookie"]) == 0 {
			delete(d.h, "Set-Cookie")
		}
	}
	for _, line := range d.h["Set-Cookie"] {
		if slices.Contains(d.ours, line) {
			noStore(d.h)
			return
		}
	}
}

// replaced reports whether somebody else has set or deleted a token cookie.
func (d *delivery) replaced() bool {
	for _, n := range [...]cookie.Name{cookie.Refresh, cookie.Access} {
		name := d.a.cookies.Name(n) + "="
		ours := 0
		for _, line := range d.h["Set-Cookie"] {
			if !strings.HasPrefix(line, name) {
				continue
			}
			if !slices.Contains(d.ours, line) {
				return true
			}
			ours++
		}
		if ours != 1 {
			return true
		}
	}
	return false
}

// wrap returns a writer with the same abilities as w that commits before the
// headers leave, whichever way they go: a final WriteHeader, Write, ReadFrom,
// Flush, Hijack. Informational responses pass.
func (d *delivery) wrap(w http.ResponseWriter) http.ResponseWriter {
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(status int) {
				// 1xx are not the answer, but 101 ends the talk in HTTP.
				if status >= 200 || status == http.StatusSwitchingProtocols {
					d.commit()
					next(status)
					return
				}
				d.informational(func() { next(status) })
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) { d.commit(); return next(b) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(s string) (int, error) { d.commit(); return next(s) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { d.commit(); return next(src) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { d.commit(); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { d.commit(); return next() }
		},
		Hijack: func(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
			return func() (net.Conn, *bufio.ReadWriter, error) { d.commit(); return next() }
		},
	})
}

// informational sends a 1xx response without the cookies: browsers would keep
// them, and the final answer must say once what holds.
func (d *delivery) informational(send func()) {
	lines := d.h["Set-Cookie"]
	kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(d.ours, line) })
	if len(kept) > 0 {
		d.h["Set-Cookie"] = kept
	} else {
		delete(d.h, "Set-Cookie")
	}
	send()
	if len(lines) > 0 {
		d.h["Set-Cookie"] = lines
	}
}
