package access_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sessionkit/sessionkit/access"
)

func save(t *testing.T, keys access.Keys) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.pem")
	if err := keys.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func same(t *testing.T, got, want access.Keys) {
	t.Helper()
	a, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("the keys differ: %d and %d bytes", len(a), len(b))
	}
}

func TestKeysFileRoundTrips(t *testing.T) {
	for _, alg := range algorithms {
		keys, err := access.GenerateKeys(alg)
		if err != nil {
			t.Fatal(err)
		}
		if keys.Signing.Algorithm() != alg || len(keys.Secrets) != 1 || len(keys.Secrets[0]) < 32 {
			t.Errorf("%s: %+v", alg, keys)
		}
		// One of each kind besides, private and public.
		for _, other := range algorithms {
			if other == access.RS256 || other == alg {
				continue
			}
			keys.Verifying = append(keys.Verifying, newKey(t, other, materials()[other]))
		}
		if alg == access.RS256 {
			keys.Verifying = append(keys.Verifying, newKey(t, alg, &materials()[alg].(*rsa.PrivateKey).PublicKey))
			keys.Verifying = keys.Verifying[len(keys.Verifying)-1:]
		}
		keys.Secrets = append(keys.Secrets, root(1))
		path := save(t, keys)
		got, err := access.LoadKeys(path)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, keys)
		if got, err = access.OpenKeys(path, alg); err != nil {
			t.Fatal(err)
		}
		same(t, got, keys)
		before := newTokens(t, access.Config{Keys: newRing(t, keys)})
		after := newTokens(t, access.Config{Keys: newRing(t, got)})
		text, _ := issue(t, before, login)
		if _, err := after.Verify(text); err != nil {
			t.Errorf("%s: a token from before: %v", alg, err)
		}
		if before.Keys().Secrets("x")[1] != after.Keys().Secrets("x")[1] {
			t.Errorf("%s: root secrets differ", alg)
		}
	}
}

func TestSaveReplacesTheFileForItsOwnerAlone(t *testing.T) {
	first, _ := access.GenerateKeys(access.EdDSA)
	second, _ := access.GenerateKeys(access.ES256)
	path := save(t, first)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := second.Save(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := access.LoadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, second)
	left(t, path)
}

// left checks that there is nothing beside the file.
func left(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestSaveRefusesWhatCannotBeLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.pem")
	ed := newKey(t, access.EdDSA, materials()[access.EdDSA])
	for name, keys := range map[string]access.Keys{
		"nothing":            {},
		"a key in an HSM":    {Signing: newKey(t, access.EdDSA, hsm{Signer: materials()[access.EdDSA].(crypto.Signer)})},
		"a weak root secret": {Signing: ed, Secrets: [][]byte{make([]byte, 32)}},
	} {
		if err := keys.Save(path); err == nil {
			t.Errorf("%s was saved", name)
		}
	}
	if err := (access.Keys{Signing: ed}).Save(filepath.Join(path, "below", "nothing")); err == nil {
		t.Error("saved into a folder that is not there")
	}
	left(t, path)
	if _, err := os.Stat(path); err == nil {
		t.Error("a refused file is there")
	}
}

// TestMountedSecretsAreLoaded: a file that this process does not own, as
// orchestrators mount it, is read with a warning, unless others can write it.
func TestMountedSecretsAreLoaded(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		t.Skip("giving a file away needs root")
	}
	keys, _ := access.GenerateKeys(access.EdDSA)
	path := save(t, keys)
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[fs.FileMode]bool{0o400: true, 0o440: true, 0o444: true, 0o644: true, 0o664: false, 0o666: false} {
		os.Chmod(path, mode)
		for _, name := range []string{path, link} {
			if _, err := access.OpenKeyRing(name, access.EdDSA); (err == nil) != ok {
				t.Errorf("mode %04o: %v", mode, err)
			}
		}
	}
}

func TestKeysFromElsewhere(t *testing.T) {
	keys, _ := access.GenerateKeys(access.EdDSA)
	text, err := os.ReadFile(save(t, keys))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"as they are": text, "a byte order mark": append([]byte("\ufeff"), text...), "lines of Windows": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
	} {
		if got, err := access.ParseKeys(text); err != nil || got.Signing.ID() != keys.Signing.ID() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyTheOwnersFileIsLoaded(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes there")
	}
	keys, _ := access.GenerateKeys(access.EdDSA)
	path := save(t, keys)
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o700} {
		os.Chmod(path, mode)
		if _, err := access.LoadKeys(path); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o777} {
		os.Chmod(path, mode)
		for _, load := range []func() (access.Keys, error){
			func() (access.Keys, error) { return access.LoadKeys(path) },
			func() (access.Keys, error) { return access.OpenKeys(path, access.EdDSA) },
		} {
			if k, err := load(); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || k.Signing != nil {
				t.Errorf("mode %04o: %v", mode, err)
			}
		}
	}
}

func TestPathsThatAreNoKeysFile(t *testing.T) {
	dir := t.TempDir()
	keys, _ := access.GenerateKeys(access.EdDSA)
	text, err := keys.Encode()
	if err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge") // but for its size it would do
	if err := os.WriteFile(huge, append(text, bytes.Repeat([]byte("\n"), 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := access.LoadKeys(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	for path, why := range map[string]string{dir: "not a regular file", os.DevNull: "not a regular file", huge: "larger than"} {
		if _, err := access.LoadKeys(path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := access.OpenKeys(path, access.EdDSA); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
	if _, err := access.OpenKeys(filepath.Join(dir, "a", "b"), access.EdDSA); err == nil {
		t.Error("created in a folder that is not there")
	}
}

func TestKeysFileIsReadToTheLetter(t *testing.T) {
	block := func(typ string, der []byte, headers ...string) string {
		b := &pem.Block{Type: typ, Bytes: der, Headers: map[string]string{}}
		for i := 0; i < len(headers); i += 2 {
			b.Headers[headers[i]] = headers[i+1]
		}
		return string(pem.EncodeToMemory(b))
	}
	pkcs8 := func(alg access.Algorithm) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(materials()[alg])
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	pkix := func(public any) []byte {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	sec1, _ := x509.MarshalECPrivateKey(materials()[access.ES256].(*ecdsa.PrivateKey))
	ed, ec := block("PRIVATE KEY", pkcs8(access.EdDSA)), block("PRIVATE KEY", pkcs8(access.ES256))
	public := block("PUBLIC KEY", pkix(materials()[access.EdDSA].(ed25519.PrivateKey).Public()))
	secret := block("SESSIONKIT ROOT SECRET", root(1))
	damaged := strings.Replace(ed, "-----END PRIVATE KEY", "-----END PRIVATE KEV", 1)
	tests := []struct {
		name, text string
		signs      access.Algorithm // "" if the file is refused
	}{
		{"Ed25519 needs no header", ed, access.EdDSA},
		{"P-256 needs no header", ec, access.ES256},
		{"the first key signs", ec + ed + secret, access.ES256},
		{"a secret may come before", secret + ed, access.EdDSA},
		{"public keys verify", ec + public, access.ES256},
		{"blank lines", "\n\r\n" + ed + "\n\n" + secret + " \n", access.EdDSA},
		{"Windows' line ends", strings.ReplaceAll(ed+secret, "\n", "\r\n"), access.EdDSA},
		{"RSA names its algorithm", block("PRIVATE KEY", pkcs8(access.PS256), "Algorithm", "PS256"), access.PS256},
		{"RSA names the other algorithm", block("PRIVATE KEY", pkcs8(access.PS256), "Algorithm", "RS256"), access.RS256},
		{"HMAC", block("SESSIONKIT HMAC KEY", root(2)), access.HS256},
		{"HMAC with its header", block("SESSIONKIT HMAC KEY", root(2), "Algorithm", "HS256"), access.HS256},

		{"empty", "", ""},
		{"no key", secret, ""},
		{"a public key first", public + ec, ""},
		{"RSA without an algorithm", block("PRIVATE KEY", pkcs8(access.PS256)), ""},
		{"an algorithm of another key", block("PRIVATE KEY", pkcs8(access.EdDSA), "Algorithm", "ES256"), ""},
		{"HMAC for another algorithm", block("SESSIONKIT HMAC KEY", root(2), "Algorithm", "EdDSA"), ""},
		{"an unknown algorithm", block("PRIVATE KEY", pkcs8(access.EdDSA), "Algorithm", "none"), ""},
		{"another header", block("PRIVATE KEY", pkcs8(access.EdDSA), "Comment", "mine"), ""},
		{"an encrypted key", block("PRIVATE KEY", pkcs8(access.EdDSA), "Proc-Type", "4,ENCRYPTED", "DEK-Info", "AES-128-CBC,00"), ""},
		{"a header on a secret", block("SESSIONKIT ROOT SECRET", root(1), "Algorithm", "HS256") + ed, ""},
		{"SEC 1 form", block("EC PRIVATE KEY", sec1), ""},
		{"a certificate", block("CERTIFICATE", []byte("x")) + ed, ""},
		{"DER that is none", block("PRIVATE KEY", []byte("x")), ""},
		{"DER of a public key that is none", ed + block("PUBLIC KEY", []byte("x")), ""},
		{"a short HMAC key", block("SESSIONKIT HMAC KEY", root(2)[:16]), ""},
		{"a short secret", ed + block("SESSIONKIT ROOT SECRET", root(2)[:16]), ""},
		{"text before", "my keys\n" + ed, ""},
		{"text between", ed + "my secret\n" + secret, ""},
		{"text behind", ed + "x", ""},
		{"the first block damaged: the next must not sign", damaged + ec, ""},
		{"a block in the middle damaged", ec + damaged + secret, ""},
		{"the last block damaged", ec + damaged, ""},
		{"cut", ed[:len(ed)-10], ""},
		{"JSON", `{"keys":[]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.pem")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := access.LoadKeys(path)
			if tt.signs == "" {
				if err == nil || keys.Signing != nil || !strings.HasPrefix(err.Error(), "access: ") || strings.Contains(err.Error(), "MC4CAQ") {
					t.Errorf("got %v, %v", keys, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if keys.Signing.Algorithm() != tt.signs {
				t.Errorf("%s signs, want %s", keys.Signing.Algorithm(), tt.signs)
			}
		})
	}
}

func TestOpenKeysCreatesOnceAndKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.pem")
	first, err := access.OpenKeys(path, access.ES256)
	if err != nil {
		t.Fatal(err)
	}
	second, err := access.OpenKeys(path, access.ES256)
	if err != nil {
		t.Fatal(err)
	}
	same(t, second, first)
	left(t, path)
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	_, err = access.OpenKeys(path, access.EdDSA)
	if err == nil || !strings.Contains(err.Error(), "ES256") || !strings.Contains(err.Error(), "EdDSA") {
		t.Errorf("another algorithm: %v", err)
	}
	if _, err := access.OpenKeys(filepath.Join(t.TempDir(), "x"), "none"); err == nil {
		t.Error("an unknown algorithm")
	}
	// A file that is there is never replaced, whatever is in it.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := access.OpenKeys(path, access.ES256); err == nil {
		t.Error("an empty file was taken")
	}
	if text, _ := os.ReadFile(path); len(text) != 0 {
		t.Error("an empty file was replaced")
	}
}

func TestInstancesThatStartTogetherShareTheirKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.pem")
	const instances = 32
	var all [instances]access.Keys
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range all {
		wg.Go(func() {
			<-start
			keys, err := access.OpenKeys(path, access.EdDSA)
			if err != nil {
				t.Error(err)
			}
			all[i] = keys
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, keys := range all {
		same(t, keys, all[0])
	}
	left(t, path)
}

func TestParseKeysReadsWhatEditorsWrite(t *testing.T) {
	keys, _ := access.GenerateKeys(access.EdDSA)
	text, err := keys.Encode()
	if err != nil {
		t.Fatal(err)
	}
	utf16 := []byte("\xff\xfe")
	for _, b := range text {
		utf16 = append(utf16, b, 0)
	}
	crlf := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	for name, tt := range map[string]struct {
		text []byte
		why  string // "" if it is taken
	}{
		"as written":             {text, ""},
		"byte order mark":        {append([]byte("\ufeff"), text...), ""},
		"mark and Windows' ends": {append([]byte("\ufeff\r\n"), crlf...), ""},
		"two marks":              {append([]byte("\ufeff\ufeff"), text...), "restore the block"},
		"UTF-16":                 {utf16, "UTF-8"},
		"a comment first":        {append([]byte("\n# secret-comment\n"), text...), "remove the text"},
		"a comment last":         {append(text[:len(text):len(text)], "secret-comment"...), "remove the text"},
		"indented":               {append([]byte("  "), text...), ""},
		"nothing":                {nil, "private key"},
	} {
		got, err := access.ParseKeys(tt.text)
		if tt.why == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			same(t, got, keys)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "secret-comment") || got.Signing != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
