package middleware

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sessionkit/sessionkit/refresh"
)

// clientIP finds the address of the client itself.
type clientIP struct {
	trusted []netip.Prefix
	sockets bool // peers on a Unix socket are trusted
}

// maxForwarded bounds how many hops of X-Forwarded-For are walked.
const maxForwarded = 32

// of returns the address of the client that sent the request. X-Forwarded-For is
// walked from the right, the end that our own proxies wrote: each address
// that is a trusted proxy hands over to the one before it, and the first
// that is not is the client. Whatever stands further left was written by the
// client and is not looked at. Without trusted proxies the header is ignored.
//
// A hop that is not an address ends the walk at the proxy that reported it:
// the request is then attributed to our own network, never to an address of
// the client's choosing.
func (c clientIP) of(r *http.Request) netip.Addr {
	peer := parseHop(r.RemoteAddr)
	if !c.trusts(peer) && !(c.sockets && onUnixSocket(r)) {
		return peer
	}
	lines := r.Header["X-Forwarded-For"]
	hops := 0
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for rest != "" {
			hop := rest
			rest = ""
			if comma := strings.LastIndexByte(hop, ','); comma >= 0 {
				hop, rest = hop[comma+1:], hop[:comma]
			}
			hops++
			ip := parseHop(strings.TrimSpace(hop))
			if !ip.IsValid() || hops > maxForwarded {
				return peer
			}
			peer = ip
			if !c.trusts(peer) {
				return peer
			}
		}
	}
	return peer
}

// parseHop reads an address, alone or with a port, in any of the forms that
// proxies write. The result is unmapped and without a zone; the zero Addr
// means that it is none.
func parseHop(s string) netip.Addr {
	if len(s) > 64 {
		return netip.Addr{}
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

// onUnixSocket reports whether the server has the request from a Unix socket.
func onUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

func (c clientIP) trusts(ip netip.Addr) bool {
	if !ip.IsValid() {
		return false
	}
	for _, p := range c.trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// record passes on an event about a request.
func (a *Auth) record(r *http.Request, e refresh.Event) {
	a.sessions.Record(r.Context(), refresh.Client{IP: a.clientIP.of(r), UserAgent: r.UserAgent()}, e)
}
