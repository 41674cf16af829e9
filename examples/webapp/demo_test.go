package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

// A program is the demo, run as main does, that a test can end.
type program struct {
	base   string
	stop   context.CancelFunc
	status chan int
	stderr *bytes.Buffer // to be read after the end
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	out, in := io.Pipe()
	p := &program{stop: stop, status: make(chan int, 1), stderr: new(bytes.Buffer)}
	go func() {
		p.status <- run(ctx, args, in, p.stderr)
		in.Close()
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("first line %q, %v\n%s", line, err, p.stderr)
	}
	go io.Copy(io.Discard, lines)
	p.base = base
	return p
}

func (p *program) wantExit(t *testing.T, status int, within time.Duration) {
	t.Helper()
	select {
	case got := <-p.status:
		if got != status {
			t.Errorf("exit status %d, want %d", got, status)
		}
	case <-time.After(within):
		t.Errorf("the program does not end within %v", within)
	}
}

// TestRequestsUnderWayAreAnsweredAtTheEnd has one request in each state: with
// half a body sent, with its handler at work, and a stream.
func TestRequestsUnderWayAreAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "-addr", "127.0.0.1:0")
	b := newBrowser(t, p.base)
	token := b.bodyLogin("alice", "wonderland").AccessToken
	host := strings.TrimPrefix(p.base, "http://")

	send := func(text string) (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprint(conn, text)
		return conn, bufio.NewReader(conn)
	}
	const body = `{"old":"wonderland","new":"looking-glass"}`
	head := "Host: " + host + "\r\nAuthorization: Bearer " + token + "\r\n"
	half, halfAnswer := send(fmt.Sprintf("POST /api/password HTTP/1.1\r\n%sExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", head, len(body)))
	// The handler has begun to read once the server asks for the body.
	if line, err := halfAnswer.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	halfAnswer.ReadString('\n')
	fmt.Fprint(half, body[:10])
	_, stream := send("GET /api/stream HTTP/1.1\r\n" + head + "\r\n")
	res, err := http.ReadResponse(stream, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("stream: %v, %v", res, err)
	}

	p.stop()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("the stream does not end well: %v", err)
	}
	fmt.Fprint(half, body[10:])
	res, err = http.ReadResponse(halfAnswer, nil)
	if err != nil || res.StatusCode != 204 {
		t.Errorf("the request under way: %v, %v", res, err)
	}
	p.wantExit(t, 0, 10*time.Second)
}

// TestAccountsAreThoseOfTheService: what one instance does to an account counts
// on every other one, and on those that start later.
func TestAccountsAreThoseOfTheService(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	args := []string{"-redis", "redis://" + server.Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem")}
	one, two := serveDemo(t, args...), serveDemo(t, args...)
	admin, bob := newBrowser(t, one), newBrowser(t, two)
	admin.signIn("alice", "wonderland")
	bob.signIn("bob", "builder")
	bob.want(204, "", "POST", "/api/password", `{"old":"builder","new":"mason"}`)
	admin.want(204, "", "POST", "/admin/users/carol/deactivate", "")
	for _, base := range []string{one, two, serveDemo(t, args...)} {
		n := newBrowser(t, base)
		n.want(401, "invalid_credentials", "POST", "/login", `{"username":"bob","password":"builder"}`)
		n.want(401, "invalid_credentials", "POST", "/login", `{"username":"carol","password":"keyboard"}`)
		n.signIn("bob", "mason")
	}
	newBrowser(t, two).signIn("alice", "wonderland")
	admin.want(204, "", "POST", "/admin/users/carol/activate", "")
	newBrowser(t, two).signIn("carol", "keyboard")

	// Deactivated on one instance, out on the other: at once, and at refresh.
	carol := newBrowser(t, two)
	pair := carol.bodyLogin("carol", "keyboard")
	admin.want(204, "", "POST", "/admin/users/carol/deactivate", "")
	carol.want(400, "invalid_grant", "POST", "/auth/token/refresh", fmt.Sprintf(`{"refresh_token":%q}`, pair.RefreshToken))
	redistest.Await(t, time.Second, "the other instance hears of it", func() bool {
		return carol.do("GET", "/api/me", "", "Authorization: Bearer "+pair.AccessToken).StatusCode == 401
	})
}

// TestAccountsBeginAnewWhereRedisLostThem: a server that keeps nothing on disk has
// forgotten everything after its own restart, and the program goes on.
func TestAccountsBeginAnewWhereRedisLostThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	base := serveDemo(t, "-redis", "redis://"+server.Addr)
	b := newBrowser(t, base)
	b.signIn("bob", "builder")
	server.Must("FLUSHALL")
	b = newBrowser(t, base)
	b.want(401, "invalid_credentials", "POST", "/login", `{"username":"bob","password":"wrecker"}`)
	b.signIn("bob", "builder")
	b.want(204, "", "POST", "/api/password", `{"old":"builder","new":"mason"}`)
	newBrowser(t, base).signIn("bob", "mason")
}

// TestAnAddressThatIsASocket: also one that a program left behind.
func TestAnAddressThatIsASocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "socket") // the names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()

	p := startProgram(t, "-addr", "unix:"+path, "-bind", "strict", "-trusted-proxies", "unix")
	if p.base != "unix:"+path {
		t.Fatalf("listening on %q", p.base)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	login := func(forwarded string) int {
		req, _ := http.NewRequest("POST", "http://demo.test/login", strings.NewReader(`{"username":"bob","password":"builder"}`))
		req.Header.Set("Content-Type", "application/json")
		if forwarded != "" {
			req.Header.Set("X-Forwarded-For", forwarded)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := login("192.0.2.1"); got != 200 {
		t.Errorf("a login through the proxy: %d", got)
	}
	if got := login(""); got != 400 {
		t.Errorf("a login without the address that it is bound to: %d", got)
	}

	// Somebody listens there: the file is not taken away from him.
	wantRefused(t, []string{"-addr", "unix:" + path}, "-addr", path, "in use")
	if got := login("192.0.2.1"); got != 200 {
		t.Errorf("a login after another program wanted the socket: %d", got)
	}
	client.CloseIdleConnections()
	p.stop()
	p.wantExit(t, 0, 10*time.Second)

	// A file that is no socket stays what it is.
	if err := os.WriteFile(path, []byte("letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, []string{"-addr", "unix:" + path}, "-addr", path)
	if text, _ := os.ReadFile(path); string(text) != "letter" {
		t.Error("a file is replaced by a socket")
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, private := write("cert.pem", "CERTIFICATE", certificate), write("key.pem", "PRIVATE KEY", der)

	p := startProgram(t, "-addr", "127.0.0.1:0", "-tls-cert", cert, "-tls-key", private)
	if !strings.HasPrefix(p.base, "https://127.0.0.1:") {
		t.Fatalf("listening on %q", p.base)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	res, err := client.Post(p.base+"/login", "application/json", strings.NewReader(`{"username":"bob","password":"builder"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("%d, %s", res.StatusCode, res.Proto)
	}
	client.CloseIdleConnections()
	p.stop()
	p.wantExit(t, 0, 10*time.Second)
	wantRefused(t, []string{"-tls-cert", private, "-tls-key", private}, "-tls-cert", private)
}

// wantRefused runs the program with flags that it must refuse, with one line
// that has the given words and nothing besides.
func wantRefused(t *testing.T, args []string, words ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	began := time.Now()
	code := run(context.Background(), append([]string{"-addr", "127.0.0.1:0"}, args...), &stdout, &stderr)
	if code != 1 && code != 2 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || time.Since(began) > 5*time.Second {
		t.Errorf("exit status %d after %v\nstdout %q\nstderr %q", code, time.Since(began), stdout.String(), stderr.String())
	}
	for _, word := range words {
		if !strings.Contains(stderr.String(), word) {
			t.Errorf("nothing of %q in %q", word, stderr.String())
		}
	}
}

// TestBadFlags: each is refused with one line that names the flag, its value and
// what to do instead.
func TestBadFlags(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "es256.pem")
	if _, err := openKeys(settings{keys: other, alg: "ES256"}); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged.pem")
	if err := os.WriteFile(damaged, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	noSecret := filepath.Join(dir, "openssl.pem") // as openssl genpkey makes it
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(noSecret, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	for _, row := range []struct {
		args  string
		words []string
	}{
		{"-nonsense", []string{"-nonsense", "-help"}},
		{"extra", []string{"extra"}},
		{"-access-ttl soon", []string{"-access-ttl", "soon"}},
		{"-access-ttl 0", []string{"-access-ttl", "0s"}},
		{"-access-ttl -5m", []string{"-access-ttl", "-5m"}},
		{"-access-ttl 1ms", []string{"-access-ttl", "1ms"}},
		{"-access-ttl 25h -idle 99h", []string{"-access-ttl", "24h"}},
		{"-idle 0", []string{"-idle", "0s"}},
		{"-idle -1h", []string{"-idle", "-1h"}},
		{"-idle 10m", []string{"-idle", "10m", "-access-ttl"}},
		{"-absolute 0s", []string{"-absolute", "0s"}},
		{"-absolute -1s", []string{"-absolute", "-1s"}},
		{"-absolute 99999h", []string{"-absolute", "9600h"}},
		{"-settle 9m", []string{"-settle", "9m", "at most 5m"}},
		{"-settle -1s", []string{"-settle", "-1s"}},
		{"-max-sessions -1", []string{"-max-sessions", "-1"}},
		{"-max-sessions 5000", []string{"-max-sessions", "5000", "1000"}},
		{"-max-sessions many", []string{"-max-sessions", "many"}},
		{"-bind maybe", []string{"-bind", "maybe", "strict"}},
		{"-device-keys maybe", []string{"-device-keys", "maybe", "require"}},
		{"-alg none", []string{"-alg", "none", "EdDSA"}},
		{"-alg RS256", []string{"-alg", "RS256", "PS256"}},
		{"-trusted-proxies everybody", []string{"-trusted-proxies", "everybody", "unix"}},
		{"-trusted-proxies 10.0.0.0/8,,unix", []string{"-trusted-proxies", "10.0.0.0/8,,unix"}},
		{"-insecure-cookies=maybe", []string{"-insecure-cookies", "maybe"}},
		{"-tls-cert c", []string{"-tls-cert", "-tls-key"}},
		{"-tls-key k", []string{"-tls-cert", "-tls-key"}},
		{"-tls-cert /no/c -tls-key /no/k", []string{"-tls-cert", "/no/c"}},
		{"-redis redis://u:secret@127.0.0.1:1", []string{"-redis", "127.0.0.1:1", "connection refused"}},
		{"-redis http://127.0.0.1", []string{"-redis", "http://127.0.0.1", "redis://"}},
		{"-redis redis://127.0.0.1:1?addr=127.0.0.1:2", []string{"-redis", "127.0.0.1:1", "127.0.0.1:2", "connection refused"}},
		{"-redis redis://127.0.0.1:1?master_name=m&addr=127.0.0.1:2", []string{"-redis", "127.0.0.1:1", "127.0.0.1:2", "connection refused"}},
		{"-redis redis://" + mute.Addr().String(), []string{"-redis", mute.Addr().String(), "no answer"}},
		{"-keys /no/such/keys.pem", []string{"-keys", "/no/such/keys.pem"}},
		{"-keys " + dir, []string{"-keys", dir}},
		{"-keys " + damaged, []string{"-keys", damaged}},
		{"-keys " + noSecret, []string{"-keys", noSecret, "root secret"}},
		{"-keys " + other, []string{"-keys", other, "ES256"}},
		{"-addr nowhere", []string{"-addr", "nowhere"}},
		{"-addr unix:", []string{"-addr", "unix:"}},
		{"-addr unix:/no/such/socket", []string{"-addr", "/no/such/socket"}},
		{"-addr " + mute.Addr().String(), []string{"-addr", mute.Addr().String(), "in use"}},
	} {
		t.Run(row.args, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, strings.Fields(row.args), row.words...)
		})
	}
}

// TestHelpIsNoError: also what it prints has every flag.
func TestHelpIsNoError(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"-help"}, &stdout, &stderr); code != 0 || !strings.Contains(stderr.String(), "-tls-cert") {
		t.Errorf("exit status %d, %q", code, stderr.String())
	}
}
