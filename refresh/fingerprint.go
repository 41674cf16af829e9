package refresh

import (
	"errors"
	"net/netip"

	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Binding says which fingerprint components must match at every refresh,
// and which are only reported when they change. The zero Binding is the
// default: the device id is enforced, the user agent only for clients that have
// no device id, and the address is reported. That signs nobody out who changes
// from wifi to mobile, or asks a browser for the desktop version of a page.
type Binding struct {
	// Enforced components must match, or the refresh is refused. A login that
	// lacks one is refused with ErrUnbound.
	Enforced family.Components
	// Reported components may change; each change is an event.
	Reported family.Components
	// IPv4Bits and IPv6Bits are the lengths of the networks that count as
	// one place. 0 means 24 and 56.
	IPv4Bits, IPv6Bits int
	// Off binds nothing: a refresh token works wherever it is presented. It
	// is a field of its own so that forgetting to fill in a Binding never
	// switches it off.
	Off bool
	// Revoke ends the family when an enforced component differs. The
	// default refuses the request and leaves the family alone, since
	// anybody who copied a token could otherwise sign its owner out.
	Revoke bool
	// preferred: of device id and user agent, the first that the login has is
	// enforced.
	preferred bool
}

// BindStrict enforces device id, user agent and address, for apps (a bank's back
// office) whose users stay in one network. Whoever changes networks, or
// switches a browser to its desktop view, signs in again.
func BindStrict() Binding {
	return Binding{Enforced: family.DeviceID | family.UserAgent | family.IP}
}

func (b Binding) withDefaults() (Binding, error) {
	all := family.IP | family.UserAgent | family.DeviceID
	switch {
	case b.Off && b.Enforced|b.Reported != 0:
		return b, errors.New("refresh: Config.Binding is Off and names components: drop one of the two")
	case b.Off:
		return b, nil
	case (b.Enforced|b.Reported)&^all != 0:
		return b, errors.New("refresh: Config.Binding has unknown components: use IP, UserAgent and DeviceID")
	case b.Enforced&b.Reported != 0:
		return b, errors.New("refresh: Config.Binding enforces and reports the same component: drop it from Reported")
	case b.Enforced|b.Reported == 0:
		b.preferred, b.Enforced, b.Reported = true, family.DeviceID, family.UserAgent|family.IP
	}
	if b.IPv4Bits == 0 {
		b.IPv4Bits = 24
	}
	if b.IPv6Bits == 0 {
		b.IPv6Bits = 56
	}
	if b.IPv4Bits < 0 || b.IPv4Bits > 32 || b.IPv6Bits < 0 || b.IPv6Bits > 128 {
		return b, errors.New("refresh: Config.Binding masks are out of range: IPv4Bits 1 to 32, IPv6Bits 1 to 128")
	}
	return b, nil
}

// A Client is who presents a token, as one request shows it.
type Client struct {
	// IP is the address of the client itself, and not of a proxy.
	IP netip.Addr
	// UserAgent is the request's User-Agent header.
	UserAgent string
	// DeviceID is the random id that the client keeps; empty when it has
	// none.
	DeviceID string
	// BrowserKey is what the client has of Grant.BrowserKey; empty when it
	// has none, or lost it when it was closed.
	BrowserKey string
	// MaxAccessToken is how many bytes of an access token the client can
	// keep. 0 is no limit.
	MaxAccessToken int
	// Key is the device key of which a proof came with the request, verified by
	// the caller, and Proof names that proof. A login with a family.KeyDPoP is
	// bound to it; refreshes have to come with proofs of it, each with another.
	Key   family.Key
	Proof family.Proof
	// AccessToken is what the client shows besides, expired as a rule. It
	// decides nothing: from it is known how long a session that is not there
	// should have lived (EventGoneEarly).
	AccessToken string
}

func (c Client) device() family.Device {
	d := family.Device{UserAgent: deviceLabel(c.UserAgent)}
	if c.IP.IsValid() {
		d.IP = c.IP.Unmap().WithZone("").String()
	}
	return d
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

// missing returns the enforced components that a client lacks at its login.
func (b Binding) missing(f family.Fingerprint) (c family.Components) {
	for i := range f {
		if f[i] == ([12]byte{}) {
			c |= 1 << i
		}
	}
	return c & b.Enforced
}

// bindsDevice reports whether a login came with a device id that was looked at.
func bindsDevice(f family.Fingerprint) bool { return f[2] != ([12]byte{}) }

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
