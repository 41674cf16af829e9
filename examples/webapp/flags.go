package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// settings are the flags.
type settings struct {
	addr, redis, keys, bind, proxies, alg string
	deviceKeys                            string
	accessTTL, idle, absolute, settle     time.Duration
	maxSessions                           int
	insecure                              bool
	tlsCert, tlsKey                       string
}

// parseFlags fails with flag.ErrHelp when it has printed the usage, and with
// errors that name the flag, its value and the remedy.
func parseFlags(args []string, stderr io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("webapp", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.addr, "addr", "127.0.0.1:8080", "address to serve on; port 0 picks a free one, unix:PATH is a socket")
	f.StringVar(&s.redis, "redis", "", "Redis URL; ?addr=… makes a Cluster, ?master_name=…&addr=… Sentinel (default: a store in this process)")
	f.StringVar(&s.keys, "keys", "", "file with the keys, created if absent (default: new keys at each start)")
	f.DurationVar(&s.accessTTL, "access-ttl", 10*time.Minute, "lifetime of access tokens")
	f.DurationVar(&s.idle, "idle", 336*time.Hour, "idle timeout of sessions")
	f.DurationVar(&s.absolute, "absolute", 720*time.Hour, "absolute lifetime of sessions")
	f.DurationVar(&s.settle, "settle", 0, "settle time; 0 is 60s or half of -access-ttl, whichever is less")
	f.IntVar(&s.maxSessions, "max-sessions", 0, "sessions per user, beyond which the oldest goes; 0 is the kit's default of 100")
	f.StringVar(&s.bind, "bind", "default", "fingerprint: default, strict or off")
	f.StringVar(&s.deviceKeys, "device-keys", "offer", "keys that cannot leave the device: off, offer, or require (who is not bound within a minute of signing in is signed out)")
	f.StringVar(&s.tlsCert, "tls-cert", "", "file with the certificate to serve https with")
	f.StringVar(&s.tlsKey, "tls-key", "", "file with the certificate's key")
	f.StringVar(&s.proxies, "trusted-proxies", "", "comma-separated networks whose X-Forwarded-For counts; unix for peers on a Unix socket")
	f.BoolVar(&s.insecure, "insecure-cookies", false, "cookies without Secure and prefix, for plain http with clients other than browsers on localhost")
	f.StringVar(&s.alg, "alg", string(access.EdDSA), "EdDSA, ES256, PS256 or HS256")
	err = f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: webapp [flags]")
		f.SetOutput(stderr)
		f.PrintDefaults()
		return s, err
	case err != nil:
		return s, fmt.Errorf("%w: -help tells which flags there are, and what they take", err)
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q: give settings as flags; -help lists them", f.Arg(0))
	}
	if err := s.checkTimes(); err != nil {
		return s, err
	}
	return s, s.checkRest()
}

const (
	// maxAccessTTL is the kit's own limit.
	maxAccessTTL = 24 * time.Hour
	// maxAbsolute is the longest that browsers keep a cookie.
	maxAbsolute = 400 * 24 * time.Hour
)

func (s *settings) checkTimes() error {
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"-access-ttl", s.accessTTL}, {"-idle", s.idle}, {"-absolute", s.absolute}} {
		if f.value < time.Second {
			return fmt.Errorf("%s %v: less than a second: use a longer time, such as 10m", f.name, f.value)
		}
	}
	switch {
	case s.accessTTL > maxAccessTTL:
		return fmt.Errorf("-access-ttl %v: too long for what cannot be taken back: use at most %v", s.accessTTL, maxAccessTTL)
	case s.idle <= s.accessTTL:
		return fmt.Errorf("-idle %v: not longer than -access-ttl %v, within which the use of a session is not noticed: use a longer -idle or a shorter -access-ttl", s.idle, s.accessTTL)
	case s.absolute > maxAbsolute:
		return fmt.Errorf("-absolute %v: longer than browsers keep a cookie: use at most %v", s.absolute, maxAbsolute)
	case s.settle < 0:
		return fmt.Errorf("-settle %v: negative: use 0 for the default", s.settle)
	case s.settle > s.accessTTL/2:
		return fmt.Errorf("-settle %v: longer than half of -access-ttl %v: use at most %v, or 0 for the default", s.settle, s.accessTTL, s.accessTTL/2)
	}
	return nil
}

func (s *settings) checkRest() error {
	switch {
	case s.maxSessions < 0:
		return fmt.Errorf("-max-sessions %d: negative: use 0 for the default of 100", s.maxSessions)
	case s.maxSessions > family.ListLimit:
		return fmt.Errorf("-max-sessions %d: more than the kit keeps: use at most %d", s.maxSessions, family.ListLimit)
	case s.tlsCert == "" && s.tlsKey != "":
		return fmt.Errorf("-tls-key %s: the key of no certificate: add -tls-cert", s.tlsKey)
	case s.tlsCert != "" && s.tlsKey == "":
		return fmt.Errorf("-tls-cert %s: of no use without its key: add -tls-key", s.tlsCert)
	}
	if _, ok := bindings[s.bind]; !ok {
		return fmt.Errorf("-bind %q: not known: use default, strict or off", s.bind)
	}
	if _, ok := deviceKeys[s.deviceKeys]; !ok {
		return fmt.Errorf("-device-keys %q: not known: use off, offer or require", s.deviceKeys)
	}
	switch access.Algorithm(s.alg) {
	case access.EdDSA, access.ES256, access.PS256, access.HS256:
	default:
		return fmt.Errorf("-alg %q: not known: use EdDSA, ES256, PS256 or HS256", s.alg)
	}
	_, _, err := parseProxies(s.proxies)
	return err
}

var bindings = map[string]refresh.Binding{"default": {}, "strict": refresh.BindStrict(), "off": {Off: true}}

var deviceKeys = map[string]refresh.DeviceKeys{
	"off": refresh.DeviceKeysOff, "offer": refresh.DeviceKeysOffer, "require": refresh.DeviceKeysRequire,
}

func parseProxies(list string) (networks []netip.Prefix, sockets bool, err error) {
	if list == "" {
		return nil, false, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		if text == "unix" {
			sockets = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, false, fmt.Errorf("-trusted-proxies %q: %q is no network: use networks such as 10.1.2.3/32, or unix, with commas between them", list, text)
		}
		networks = append(networks, p)
	}
	return networks, sockets, nil
}
