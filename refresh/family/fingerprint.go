package family

import (
	"crypto/subtle"
	"strings"
)

// Components is a set of fingerprint components.
type Components uint8

const (
	// IP is the client's address, masked to its network.
	IP Components = 1 << iota
	// UserAgent is the browser or program and its platform, without
	// versions: an update is not a new client.
	UserAgent
	// DeviceID is a random id that the client keeps: a sealed cookie in a
	// browser, the X-Device-ID header of a native app.
	DeviceID
)

// String lists the set's names, for events: "ip user_agent".
func (c Components) String() string {
	var names []string
	for i, name := range componentNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

var componentNames = [...]string{"ip", "user_agent", "device_id"}

// A Fingerprint is what a family remembers of its client: one keyed hash per
// component, in the order IP, user agent, device id. A component of zeros is
// not bound.
//
//	12 bytes IP | 12 bytes user agent | 12 bytes device id
type Fingerprint [3][12]byte

// Differs returns the components bound in f that p does not match. A
// component that the login did not have is not bound and never differs.
func (f Fingerprint) Differs(p Fingerprint) Components {
	var d Components
	for i := range f {
		if f[i] != ([12]byte{}) && subtle.ConstantTimeCompare(f[i][:], p[i][:]) == 0 {
			d |= 1 << i
		}
	}
	return d
}

// follow returns f with every component outside enforced taken from p.
func (f Fingerprint) follow(p Fingerprint, enforced Components) Fingerprint {
	for i := range f {
		if enforced&(1<<i) == 0 && p[i] != ([12]byte{}) {
			f[i] = p[i]
		}
	}
	return f
}
