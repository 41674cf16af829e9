package refresh

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Binding says which fingerprint components must match at every refresh,
// and which are only reported when they change. The zero Binding is the
// default preset; start from one of the presets to change a detail.
type Binding struct {
	// Enforced components must match, or the refresh is refused.
	Enforced family.Components
	// Reported components may change; each change is an event.
	Reported family.Components
	// IPv4Bits and IPv6Bits are the lengths of the networks that count as
	// one place. 0 means 24 and 56.
	IPv4Bits, IPv6Bits int
	// Off binds nothing. It is a field of its own so that forgetting to
	// fill in a Binding never switches it off.
	Off bool
	// Revoke ends the family when an enforced component differs. The
	// default refuses the request and leaves the family alone, since
	// anybody who copied a token could otherwise sign its owner out.
	Revoke bool
}

// BindDefault enforces device id and user agent and reports the address. It
// signs nobody out for changing from wifi to mobile.
func BindDefault() Binding {
	return Binding{Enforced: family.DeviceID | family.UserAgent, Reported: family.IP}
}

// BindStrict enforces the address too, for apps (a bank's back office) whose
// users stay in one network.
func BindStrict() Binding { return Binding{Enforced: family.DeviceID | family.UserAgent | family.IP} }

// BindOff binds nothing: a refresh token works wherever it is presented.
func BindOff() Binding { return Binding{Off: true} }

func (b Binding) withDefaults() (Binding, error) {
	if b.Off {
		if b.Enforced|b.Reported != 0 {
			return b, fmt.Errorf("refresh: Config.Binding is Off and names components: drop one of the two")
		}
		return b, nil
	}
	if b.Enforced|b.Reported == 0 {
		d := BindDefault()
		b.Enforced, b.Reported = d.Enforced, d.Reported
	}
	if all := family.IP | family.UserAgent | family.DeviceID; (b.Enforced|b.Reported)&^all != 0 {
		return b, fmt.Errorf("refresh: Config.Binding has unknown components: use IP, UserAgent and DeviceID")
	}
	if b.IPv4Bits == 0 {
		b.IPv4Bits = 24
	}
	if b.IPv6Bits == 0 {
		b.IPv6Bits = 56
	}
	if b.IPv4Bits < 0 || b.IPv4Bits > 32 || b.IPv6Bits < 0 || b.IPv6Bits > 128 {
		return b, fmt.Errorf("refresh: Config.Binding masks are out of range: IPv4Bits 1 to 32, IPv6Bits 1 to 128")
	}
	return b, nil
}

// A Client is who presents a token, as one request shows it.
type Client struct {
	// IP is the address of the client itself; see Config.TrustedProxies.
	IP netip.Addr
	// UserAgent is the request's User-Agent header.
	UserAgent string
	// DeviceID is the opened device cookie or the X-Device-ID header; empty
	// when the client has none.
	DeviceID string
}

// fingerprint hashes what the binding looks at. Components that it ignores
// stay zero, so that nothing about them is stored.
func (b Binding) fingerprint(key *key, c Client) family.Fingerprint {
	var f family.Fingerprint
	look := b.Enforced | b.Reported
	if look&family.IP != 0 && c.IP.IsValid() {
		f[0] = hashComponent(key, "ip", b.network(c.IP))
	}
	if look&family.UserAgent != 0 && c.UserAgent != "" {
		product, platform := parseUserAgent(c.UserAgent)
		f[1] = hashComponent(key, "user_agent", product+"\x00"+platform)
	}
	if look&family.DeviceID != 0 && c.DeviceID != "" {
		f[2] = hashComponent(key, "device_id", c.DeviceID)
	}
	return f
}

// network masks an address. An IPv4 address mapped into IPv6 is the IPv4
// address, and a zone is no part of who the client is.
func (b Binding) network(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	bits := b.IPv6Bits
	if ip.Is4() {
		bits = b.IPv4Bits
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ip.String()
	}
	return p.String()
}

func hashComponent(key *key, name, value string) (h [12]byte) {
	sum := mac(key, name, "\x00", value)
	copy(h[:], sum[:])
	if h == ([12]byte{}) {
		h[0] = 1 // zero means "not bound"
	}
	return h
}

const (
	// maxUserAgent bounds what is looked at of a User-Agent header.
	maxUserAgent = 512
	// maxDeviceLabel keeps a Redis hash field with its address at 64 bytes.
	maxDeviceLabel = 47
)

// browsers in the order in which their tokens decide: most of them also name
// the browsers that they derive from.
var browsers = [...]struct{ token, name string }{
	{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"},
	{"YaBrowser/", "Yandex"}, {"Vivaldi/", "Vivaldi"}, {"FxiOS/", "Firefox"},
	{"Firefox/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chrome"},
	{"Chrome/", "Chrome"}, {"Safari/", "Safari"},
}

var platforms = [...]struct{ token, name string }{
	{"Windows", "Windows"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"},
	{"CrOS", "ChromeOS"}, {"Macintosh", "macOS"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}, {"X11", "Unix"},
}

// parseUserAgent reduces a User-Agent header to product and platform. For
// what is not a browser the product is its first word up to the version.
func parseUserAgent(ua string) (product, platform string) {
	ua = clip(ua, maxUserAgent)
	for _, p := range platforms {
		if strings.Contains(ua, p.token) {
			platform = p.name
			break
		}
	}
	if strings.HasPrefix(ua, "Mozilla/") {
		for _, b := range browsers {
			if strings.Contains(ua, b.token) {
				return b.name, platform
			}
		}
	}
	product, _, _ = strings.Cut(ua, "/")
	product, _, _ = strings.Cut(product, " ")
	return clip(product, maxDeviceLabel), platform
}

// deviceLabel is the user agent as the session list shows it: the browser and
// its platform, or what another program calls itself.
func deviceLabel(ua string) string {
	if !strings.HasPrefix(ua, "Mozilla/") {
		return clip(printable(clip(ua, maxUserAgent)), maxDeviceLabel)
	}
	product, platform := parseUserAgent(ua)
	if platform == "" {
		return clip(printable(product), maxDeviceLabel)
	}
	return clip(printable(product+" on "+platform), maxDeviceLabel)
}

// printable drops what could disturb a log or a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// clip cuts s to at most n bytes, at the border of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
