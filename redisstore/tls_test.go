package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/internal/storelife"
)

// TestTLS runs the store over TLS with certificates on both sides.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, files := newCertificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	redistest.Start(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", files["cert"], "--tls-key-file", files["key"], "--tls-ca-cert-file", files["cert"])

	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	open := func(cfg *tls.Config) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), TLSConfig: cfg, ContextTimeoutEnabled: true})
		t.Cleanup(func() { c.Close() })
		return c
	}
	store := newStore(t, open(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{cert}}))
	s := storelife.NewService(t, storelife.NewRing(t), store, new(storelife.Events), 1)
	if err := useAll(t, store, s); err != nil {
		t.Fatal(err)
	}
	redistest.Await(t, 10*time.Second, "the feed is followed", func() bool { return !s.FeedStale() })

	// A server that nobody vouches for is not talked to.
	if err := newStore(t, open(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{cert}})).Ping(t.Context()); err == nil {
		t.Error("a server with an unknown certificate is trusted")
	}
}

// newCertificate makes a certificate for both sides that vouches for itself.
func newCertificate(t *testing.T) (tls.Certificate, map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := make(map[string]string)
	blocks := make(map[string][]byte)
	for name, b := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		files[name], blocks[name] = filepath.Join(dir, name+".pem"), pem.EncodeToMemory(b)
		if err := os.WriteFile(files[name], blocks[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := tls.X509KeyPair(blocks["cert"], blocks["key"])
	if err != nil {
		t.Fatal(err)
	}
	return cert, files
}
