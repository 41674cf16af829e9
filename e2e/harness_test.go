package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

var (
	chromium string // the program
	webapp   string // the demo, built
	cert     tls.Certificate
	pin      string // of the certificate's key, for Chromium
	scratch  string // for what Chromium leaves behind when it is killed
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		if os.Getenv(redistest.RequireVariable) != "" {
			fmt.Println("chromium is not installed, and " + redistest.RequireVariable + " demands it")
			return 1
		}
		fmt.Println("chromium is not installed: the tests in a browser are skipped")
		return 0
	}
	dir, err := os.MkdirTemp("", "sessionkit-e2e-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	scratch, webapp = dir, filepath.Join(dir, "webapp")
	build := exec.Command("go", "build", "-o", webapp, "./examples/webapp")
	build.Dir = ".."
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		log.Fatal(err)
	}
	if cert, pin, err = newCertificate(); err != nil {
		log.Fatal(err)
	}
	return m.Run()
}

// newCertificate is for the hosts of these tests, by an authority of their own,
// whose key Chromium is told to trust.
func newCertificate() (tls.Certificate, string, error) {
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if signer == nil {
			signer = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		return key, der, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority of these tests"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, root, err := issue(authority, authority, nil)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	key, leaf, err := issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"app.kit.test", "evil.kit.test", "other.test", "localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, signer)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	public, err := x509.MarshalPKIXPublicKey(&signer.PublicKey)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	sum := sha256.Sum256(public)
	return tls.Certificate{Certificate: [][]byte{leaf, root}, PrivateKey: key}, base64.StdEncoding.EncodeToString(sum[:]), nil
}

// demo runs the demo and returns its address as a browser takes it.
func demo(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(webapp, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the demo's log:\n%s", stderr.String())
		}
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the demo does not start: %v\n%s", err, stderr.String())
	}
	go io.Copy(io.Discard, lines)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimSpace(line), "listening on http://"))
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port
}

// pair is the demo twice, on one Redis, behind a stage that takes turns.
func pair(t *testing.T, args ...string) string {
	t.Helper()
	return newStage(t, "localhost", twice(t, args...)...).base
}

// twice starts the demo twice, on one Redis.
func twice(t *testing.T, args ...string) []string {
	t.Helper()
	args = append(slices.Clone(args), "-redis", "redis://"+redistest.Start(t).Addr, "-keys", filepath.Join(t.TempDir(), "keys.pem"))
	return []string{demo(t, args...), demo(t, args...)}
}

// serve serves a handler: over TLS unless the host is localhost.
func serve(t *testing.T, host string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	t.Cleanup(func() { s.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	if host == "localhost" {
		go s.Serve(l)
		return fmt.Sprintf("http://localhost:%d", port)
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	go s.ServeTLS(l, "", "")
	return fmt.Sprintf("https://%s:%d", host, port)
}

// secure serves the demo under its own name over TLS.
func secure(t *testing.T, base string) string {
	t.Helper()
	return newStage(t, "app.kit.test", base).base
}

// A browser is a Chromium of its own, and its first tab.
type browser struct {
	*tab
	profile string
	cmd     *exec.Cmd
	cancel  context.CancelFunc
}

// A tab is one of its pages.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	return launch(t, t.TempDir())
}

// launch starts Chromium on a profile.
func launch(t *testing.T, profile string, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	b := &browser{profile: profile}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile), chromedp.Env("TMPDIR="+scratch),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter"),
		chromedp.Flag("ignore-certificate-errors-spki-list", pin),
		chromedp.Flag("host-resolver-rules", "MAP app.kit.test 127.0.0.1, MAP evil.kit.test 127.0.0.1, MAP other.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.WSURLReadTimeout(60*time.Second),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) { b.cmd = cmd }),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {}))
	b.tab, b.cancel = &tab{t, ctx}, func() { cancel(); stop() }
	t.Cleanup(b.cancel)
	b.start()
	return b
}

// quit ends the browser in an orderly way, so that it writes its cookies.
func (b *browser) quit() {
	b.t.Helper()
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	b.cancel()
}

// open opens another tab.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	tb := &tab{b.t, ctx}
	tb.start()
	tb.visit(url)
	return tb
}

// start opens the tab, and the browser if it is the first. A deadline here
// would be one for the browser's life.
func (b *tab) start() {
	b.t.Helper()
	if err := chromedp.Do(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

// limit bounds each step.
const limit = 60 * time.Second

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// call runs a command of the DevTools protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *tab) visit(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

// js runs an async function's body in a page and returns what it returns.
func js[T any](b *tab, body string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T]("(async () => {"+body+"})()", chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v\nin %s", err, body)
	}
	return v
}

// me is what /api/me says.
type me struct {
	Status     int
	Subject    string `json:"subject"`
	Session    string `json:"session_id"`
	Generation int    `json:"generation"`
}

func (b *tab) me() me {
	b.t.Helper()
	return js[me](b, `const r = await fetch('/api/me'); const j = r.ok ? await r.json() : {}; j.Status = r.status; return j`)
}

// status fetches a path and returns the status.
func (b *tab) status(method, path string) int {
	b.t.Helper()
	return js[int](b, fmt.Sprintf("return (await fetch(%q, {method: %q})).status", path, method))
}

// signIn signs in through the JSON API, from a page of the app.
func (b *tab) signIn(base, user, password string) {
	b.t.Helper()
	b.visit(base + "/login")
	if got := js[int](b, fmt.Sprintf(`return (await fetch('/login', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({username: %q, password: %q, remember: true})})).status`, user, password)); got != 200 {
		b.t.Fatalf("sign-in: %d", got)
	}
}

// cookies returns the browser's cookies for a page, by name.
func (b *tab) cookies(url string) map[string]*network.Cookie {
	b.t.Helper()
	all := make(map[string]*network.Cookie)
	for _, c := range call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{url}}).Cookies {
		all[c.Name] = c
	}
	return all
}

// plant sets a cookie through the browser's own side door.
func (b *tab) plant(url string, c *network.Cookie) {
	b.t.Helper()
	call(b, network.SetCookie, network.SetCookieParams{
		Name: c.Name, Value: c.Value, URL: url, Path: c.Path, Secure: &c.Secure, HTTPOnly: &c.HTTPOnly, SameSite: c.SameSite,
	})
}

// until waits for something that is true in a page sooner or later.
func (b *tab) until(within time.Duration, what string, ok func() bool) {
	b.t.Helper()
	redistest.Await(b.t, within, what, ok)
}

// parallel does the same in several tabs at a time.
func parallel[T any](tabs []*tab, f func(*tab) T) []T {
	var wg sync.WaitGroup
	results := make([]T, len(tabs))
	for i, tb := range tabs {
		wg.Go(func() { results[i] = f(tb) })
	}
	wg.Wait()
	return results
}
