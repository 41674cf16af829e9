package proxies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A front is a proxy that runs, as its clients see it.
type front struct {
	t   *testing.T
	url *url.URL
	ca  *x509.CertPool
}

// A setup is what a proxy is configured with besides the ordinary.
type setup struct {
	upstream string // host:port, or the path of a Unix socket
	// For nginx: directives of http, of server, and of location.
	http, server, location string
	proxyPass              string // "" is what keeps the path
	// For haproxy: lines of the whole file, of the frontend and of the backend.
	top, frontend, backend string
	bare                   bool // without the settings that the document recommends
}

// nginxRecommended and haproxyRecommended are quoted by docs/proxies.md.
const nginxRecommended = `
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_buffer_size 16k;
proxy_buffers 8 16k;
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
`

const nginxUpgrade = `
map $http_upgrade $connection_upgrade {
    default upgrade;
    ''      '';
}
`

const haproxyRecommended = `
option forwardfor
`

// each runs a test behind nginx and behind haproxy.
func each(t *testing.T, run func(t *testing.T, start func(*testing.T, setup) *front)) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, setup) *front{"nginx": nginx, "haproxy": haproxy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start)
		})
	}
}

func nginx(t *testing.T, s setup) *front {
	dir, ca := certificate(t)
	up, pass := s.upstream, s.proxyPass
	if strings.HasPrefix(up, "/") {
		up = "unix:" + up
	}
	if pass == "" {
		pass = "http://app"
	}
	if !s.bare {
		s.http, s.location = s.http+nginxUpgrade, nginxRecommended+s.location
	}
	return run(t, ca, func(addr string) []string {
		conf := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream app { server %[2]s; }
	%[3]s
	server {
		listen %[4]s ssl http2;
		ssl_certificate %[1]s/pem;
		ssl_certificate_key %[1]s/pem;
		%[5]s
		location / {
			%[6]s
			proxy_pass %[7]s;
		}
	}
}`, dir, up, s.http, addr, s.server, s.location, pass)
		return []string{"nginx", "-p", dir, "-e", dir + "/error.log", "-c", write(t, dir, "conf", conf)}
	})
}

func haproxy(t *testing.T, s setup) *front {
	dir, ca := certificate(t)
	up := s.upstream
	if strings.HasPrefix(up, "/") {
		up = "unix@" + up
	}
	if !s.bare {
		s.frontend = haproxyRecommended + s.frontend
	}
	return run(t, ca, func(addr string) []string {
		conf := fmt.Sprintf(`
global
	noreuseport
%s
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	timeout tunnel 30s
frontend front
	bind %s ssl crt %s/pem alpn h2,http/1.1
	%s
	default_backend app
backend app
	%s
	server app %s
`, s.top, addr, dir, s.frontend, s.backend, up)
		return []string{"haproxy", "-db", "-f", write(t, dir, "conf", conf)}
	})
}

// run starts a proxy on a free port, on another if that was taken meanwhile,
// waits until it takes connections, and ends it with the test.
func run(t *testing.T, ca *x509.CertPool, command func(addr string) []string) *front {
	t.Helper()
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		addr := l.Addr().String()
		must(t, l.Close())
		args := command(addr)
		bin := find(t, args[0])
		cmd := exec.Command(bin, args[1:]...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		must(t, cmd.Start())
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		if !listens(addr, ca, ended) {
			cmd.Process.Kill()
			<-ended
			t.Logf("%s: %s", args[0], out.String())
			continue
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-ended
		})
		return &front{t, &url.URL{Scheme: "https", Host: addr}, ca}
	}
	t.Fatal("the proxy does not start")
	return nil
}

// listens waits until the proxy with this certificate takes connections. Another
// process may have taken the port meanwhile.
func listens(addr string, ca *x509.CertPool, ended <-chan struct{}) bool {
	tick, limit := time.NewTicker(20*time.Millisecond), time.After(15*time.Second)
	defer tick.Stop()
	for {
		if c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca}); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-limit:
			return false
		case <-tick.C:
		}
	}
}

func find(t *testing.T, name string) string {
	t.Helper()
	for _, bin := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(bin); err == nil {
			return path
		}
	}
	if os.Getenv("SESSIONKIT_REQUIRE_SERVERS") != "" {
		t.Fatalf("there is no %s: install it", name)
	}
	t.Skipf("there is no %s: what is behind it is not tested", name)
	return ""
}

// certificate returns a folder with a certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (dir string, ca *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir = t.TempDir()
	write(t, dir, "pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))+string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	ca = x509.NewCertPool()
	ca.AddCert(parsed)
	return dir, ca
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A browser is a client at 127.0.0.2, with cookies.
type browser struct {
	*front
	http *http.Client
}

func (f *front) browser() *browser {
	jar, err := cookiejar.New(nil)
	must(f.t, err)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.ca}, DialContext: dialer.DialContext, ForceAttemptHTTP2: true}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &browser{f, &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, path string, header ...string) answer {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url.String()+path, nil)
	must(b.t, err)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(b.t, err)
	return answer{res, string(text)}
}

func (b *browser) want(what string, a answer, status int, body string) {
	b.t.Helper()
	if a.StatusCode != status || body != "" && a.body != body {
		b.t.Errorf("%s: %d %q, want %d %q", what, a.StatusCode, a.body, status, body)
	}
}

func (b *browser) signIn() {
	b.t.Helper()
	b.want("sign in", b.do("POST", "/login"), 200, "")
}

// expire takes the access cookie away, as if its token had run out.
func (b *browser) expire() {
	b.http.Jar.SetCookies(b.url, []*http.Cookie{{Name: "__Host-access", Path: "/", Secure: true, MaxAge: -1}})
}
