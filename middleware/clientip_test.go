package middleware_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sessionkit/sessionkit/middleware"
)

func TestClientIP(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tt := range []struct {
		name      string
		peer      string
		forwarded []string
		want      string
	}{
		{"no proxy", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"a header from somebody who is no proxy", "192.0.2.1:1234", []string{"198.51.100.1"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"what the client wrote does not count", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1", []string{"198.51.100.1, 10.1.1.1"}, "198.51.100.1"},
		{"a client that claims to be a proxy", "10.0.0.1:1", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"several header lines", "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.1, 10.1.1.1"}, "198.51.100.1"},
		{"spaces and ports", "10.0.0.1:1", []string{"  198.51.100.1:443  "}, "198.51.100.1"},
		{"IPv6 in brackets", "[2001:db8:1::1]:1", []string{"[2001:db8:2::7]:443"}, "2001:db8:2::7"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"IPv4 mapped into IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"garbage: our own proxy", "10.0.0.1:1", []string{"198.51.100.1, nonsense"}, "10.0.0.1"},
		{"garbage further left is not reached", "10.0.0.1:1", []string{"nonsense, 198.51.100.1"}, "198.51.100.1"},
		{"an empty header", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"nobody but proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a thousand hops", "10.0.0.1:1", []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 1000)}, "10.0.0.2"},
		{"no peer", "", nil, "invalid IP"},
		{"a socket", "@", []string{"198.51.100.1"}, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := middleware.ClientIP(tt.peer, tt.forwarded, proxies...).String(); got != tt.want {
				t.Errorf("client %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzForwarded(f *testing.F) {
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	for _, seed := range []string{"", "198.51.100.1", "a, b, 10.0.0.1", "[::1]:1, ,", strings.Repeat(",", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if ip := middleware.ClientIP("192.0.2.1:1", []string{header}, trusted); ip.String() != "192.0.2.1" {
			t.Errorf("an untrusted peer becomes %v by %q", ip, header)
		}
		// Whatever a client writes in front of what our proxy appends.
		if ip := middleware.ClientIP("10.0.0.1:1", []string{header + ", 198.51.100.1"}, trusted); ip.String() != "198.51.100.1" {
			t.Errorf("%q makes the client %v", header, ip)
		}
	})
}
