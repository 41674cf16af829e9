package access

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Keys are a deployment's secrets, shared by all its instances.
type Keys struct {
	// Signing signs new tokens. It also verifies.
	Signing *Key
	// Verifying are further keys whose tokens are accepted: those that
	// signed until lately, and those that will sign soon.
	Verifying []*Key
	// Secrets are the root secrets, newest first, each of at least 32 random
	// bytes. Keys for other uses than access tokens are derived from them.
	// Keep an old one for as long as what was made with it is to live. Where
	// there are several instances, put a new one last until all know it.
	Secrets [][]byte
}

// GenerateKeys returns a new signing key and a new root secret. It fails for an
// unknown algorithm.
func GenerateKeys(alg Algorithm) (Keys, error) {
	k, err := GenerateKey(alg)
	if err != nil {
		return Keys{}, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	return Keys{Signing: k, Secrets: [][]byte{secret}}, nil
}

// The keys file is a sequence of PEM blocks, so that ordinary tools can make
// and read its keys:
//
//	PRIVATE KEY               PKCS #8; the first key of the file signs
//	PUBLIC KEY                PKIX; only verifies
//	SESSIONKIT HMAC KEY       raw bytes
//	SESSIONKIT ROOT SECRET    raw bytes; the first is the newest
//
// Keys carry a header "Algorithm", which may be left out where the type of the
// key leaves no choice (Ed25519, P-256, HMAC). The headers "Place" and "Since" are
// notes of whoever keeps the file, such as the command sessionkit. Other blocks and headers are
// refused, and so is text between blocks: it may be a block that is damaged,
// and leaving that out could put another key in its place.
const (
	blockPrivate = "PRIVATE KEY"
	blockPublic  = "PUBLIC KEY"
	blockHMAC    = "SESSIONKIT HMAC KEY"
	blockSecret  = "SESSIONKIT ROOT SECRET"
	algHeader    = "Algorithm"
)

// notes are headers that say nothing of a key itself.
var notes = []string{"Place", "Since"}

// maxKeysFile bounds a keys file, in bytes.
const maxKeysFile = 1 << 20

// loadKeys reads a keys file. It fails for one that others can write, and for
// one that others can read although this process could forbid it; where it
// cannot, since the file is somebody else's or was mounted read-only as
// orchestrators do with secrets, slog.Default warns. On Windows nobody is asked.
// It fails for keys that NewKey refuses, and wraps fs.ErrNotExist.
func loadKeys(path string) (Keys, error) {
	text, info, err := readText(path)
	if err == nil {
		err = checkMode(path, info)
	}
	if err != nil {
		return Keys{}, err
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return Keys{}, fmt.Errorf("access: keys file %s: %w", path, err)
	}
	return keys, nil
}

// readText reads a keys file, and tells of the file that was read.
func readText(path string) ([]byte, fs.FileInfo, error) {
	// Opening what is no regular file may wait for ever.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("access: keys file %s is not a regular file: read the keys yourself and use ParseKeys", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("access: keys file: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("access: keys file: %w", err)
	}
	defer f.Close()
	// Of the file that is open, which a new name cannot change.
	if info, err = f.Stat(); err != nil {
		return nil, nil, fmt.Errorf("access: keys file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeysFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("access: keys file: %w", err)
	}
	if len(text) > maxKeysFile {
		return nil, nil, fmt.Errorf("access: keys file %s is larger than %d bytes", path, maxKeysFile)
	}
	return text, info, nil
}

// checkMode judges who else can use a keys file.
func checkMode(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	if runtime.GOOS == "windows" || mode&0o077 == 0 {
		return nil
	}
	if mode&0o022 != 0 || ownFile(info) && writable(path) {
		return fmt.Errorf("access: keys file %s has mode %04o, so that others can use it: chmod 600 %[1]s", path, mode)
	}
	slog.Warn("access: others than its owner can read the keys file, whose mode this process cannot change", "file", path, "mode", fmt.Sprintf("%04o", mode))
	return nil
}

// writable reports whether the file can be changed, and with it its mode: not
// on a read-only mount. It changes nothing.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// ParseKeys reads the text of a keys file, for keys that do not come from one:
// from a secret manager, or from the environment. It fails for what is damaged,
// and for keys that NewKey refuses.
func ParseKeys(text []byte) (Keys, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return Keys{}, errors.New("the text is UTF-16: save it as UTF-8 or ASCII")
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // some editors begin a file so
	var keys Keys
	for {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			break
		}
		block, rest := pem.Decode(text)
		if block == nil || !alone(text[:len(text)-len(rest)]) {
			return Keys{}, errors.New("there is a damaged block, or text outside of PEM blocks: restore the block, or remove the text")
		}
		text = rest
		if block.Type == blockSecret {
			if hasHeaders(block, 0) {
				return Keys{}, fmt.Errorf("a block %q has headers", block.Type)
			}
			if err := checkSecret(block.Bytes); err != nil {
				return Keys{}, err
			}
			keys.Secrets = append(keys.Secrets, block.Bytes)
			continue
		}
		k, err := parseKey(block)
		if err != nil {
			return Keys{}, err
		}
		if keys.Signing == nil {
			keys.Signing = k
		} else {
			keys.Verifying = append(keys.Verifying, k)
		}
	}
	if keys.Signing == nil || !keys.Signing.canSign() {
		return Keys{}, errors.New("its first key cannot sign: put a private key first")
	}
	return keys, nil
}

// alone reports whether what pem.Decode read is one block and nothing else;
// it skips what it cannot read.
func alone(text []byte) bool {
	begin := []byte("-----BEGIN ")
	return bytes.HasPrefix(text, begin) && bytes.Count(text, begin) == 1
}

// hasHeaders reports whether a block has headers besides the notes and so many
// others.
func hasHeaders(block *pem.Block, others int) bool {
	for _, name := range notes {
		if _, ok := block.Headers[name]; ok {
			others++
		}
	}
	return len(block.Headers) != others
}

func parseKey(block *pem.Block) (*Key, error) {
	name, named := block.Headers[algHeader]
	known := 0
	if named {
		known = 1
	}
	if hasHeaders(block, known) {
		return nil, fmt.Errorf("a block %q has headers other than %s (an encrypted key?)", block.Type, algHeader)
	}
	alg := Algorithm(name)
	var material any
	var err error
	switch block.Type {
	case blockPrivate:
		material, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case blockPublic:
		material, err = x509.ParsePKIXPublicKey(block.Bytes)
	case blockHMAC:
		material = block.Bytes
		if alg == "" {
			alg = HS256
		}
	default:
		return nil, fmt.Errorf("unknown PEM block %.40q: convert private keys with \"openssl pkcs8 -topk8 -nocrypt\"", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("a block %q is damaged", block.Type)
	}
	if alg != "" {
		return NewKey(alg, material)
	}
	for _, only := range []Algorithm{EdDSA, ES256} {
		if k, err := NewKey(only, material); err == nil {
			return k, nil
		}
	}
	return nil, errors.New("a key names no algorithm: add the PEM header \"Algorithm: PS256\" or whichever is meant")
}

// encode writes the keys file's text. Keys that live in an HSM cannot be saved.
func (k Keys) encode() ([]byte, error) {
	var b bytes.Buffer
	for _, key := range append([]*Key{k.Signing}, k.Verifying...) {
		block, err := key.block()
		if err != nil {
			return nil, err
		}
		pem.Encode(&b, block)
	}
	for _, s := range k.Secrets {
		pem.Encode(&b, &pem.Block{Type: blockSecret, Bytes: s})
	}
	return b.Bytes(), nil
}

func (k *Key) block() (*pem.Block, error) {
	block := &pem.Block{Headers: map[string]string{algHeader: string(k.alg)}}
	var err error
	switch signer := k.signer.(type) {
	case []byte:
		block.Type, block.Bytes = blockHMAC, signer
	case nil:
		block.Type = blockPublic
		block.Bytes, err = x509.MarshalPKIXPublicKey(k.public)
	case crypto.Signer:
		block.Type = blockPrivate
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(signer); err != nil {
			err = errors.New("access: a key that is not in memory cannot be saved")
		}
	}
	return block, err
}

// Save writes the keys to a file that only its owner can read, replacing it
// at once or not at all. It fails for keys that NewKeyRing refuses or that are
// not in memory.
func (k Keys) Save(path string) error {
	temp, err := k.writeTemp(path)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("access: keys file: %w", err)
	}
	syncDir(path)
	return nil
}

// syncDir makes a file's new name survive a crash: other keys after one would
// sign everybody out. Where directories cannot be synced, nothing is lost but
// that certainty.
func syncDir(path string) {
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// writeTemp writes the keys to a new file beside path.
func (k Keys) writeTemp(path string) (string, error) {
	if _, err := NewKeyRing(k); err != nil {
		return "", err
	}
	text, err := k.encode()
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("access: keys file %s cannot be created, its folder must be writable: %w", path, err)
	}
	_, err = f.Write(text)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("access: keys file: %w", err)
	}
	return f.Name(), nil
}

// OpenKeys loads a keys file, or creates it with new keys if there is none.
// Instances that start at the same time end up with the same keys. It fails
// when the file's signing key is of another algorithm, for keys that NewKey
// refuses, for a file that others can write, and for one that others can read
// although this process could forbid it; where it cannot, since the file is
// somebody else's or was mounted read-only as orchestrators do with secrets,
// slog.Default warns. On Windows nobody is asked. ParseKeys reads keys that are
// kept elsewhere.
func OpenKeys(path string, alg Algorithm) (Keys, error) {
	keys, err := loadKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = createKeys(path, alg)
	}
	if err != nil {
		return Keys{}, err
	}
	if got := keys.Signing.alg; got != alg {
		return Keys{}, fmt.Errorf("access: keys file %s signs with %s, not %.20q: use that algorithm, or another file", path, got, string(alg))
	}
	return keys, nil
}

// createKeys creates a keys file, or loads what another instance created.
func createKeys(path string, alg Algorithm) (Keys, error) {
	keys, err := GenerateKeys(alg)
	if err != nil {
		return Keys{}, err
	}
	temp, err := keys.writeTemp(path)
	if err != nil {
		return Keys{}, err
	}
	defer os.Remove(temp)
	// Unlike a rename, a link never replaces what another instance made.
	err = os.Link(temp, path)
	switch {
	case err == nil:
		syncDir(path)
		return keys, nil
	case errors.Is(err, fs.ErrExist):
		return loadKeys(path)
	}
	return keys.createLocked(temp, path)
}

// createLocked is for file systems without hard links: whoever makes the lock
// file gives the keys file its name, and all others wait for it.
func (k Keys) createLocked(temp, path string) (Keys, error) {
	lock := path + ".lock"
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case err == nil:
		f.Close()
		defer os.Remove(lock)
		if _, err := os.Stat(path); err == nil {
			return loadKeys(path)
		}
		if err := os.Rename(temp, path); err != nil {
			return Keys{}, fmt.Errorf("access: keys file: %w", err)
		}
		syncDir(path)
		return k, nil
	case !errors.Is(err, fs.ErrExist):
		return Keys{}, fmt.Errorf("access: keys file: %w", err)
	}
	for range 100 {
		if keys, err := loadKeys(path); !errors.Is(err, fs.ErrNotExist) {
			return keys, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return Keys{}, fmt.Errorf("access: keys file %s is not there, and %s says that another instance makes it: remove the lock if there is none", path, lock)
}

// OpenKeyRing loads the keys of a file into a ring, or creates the file with new
// keys if there is none, readable by its owner alone. Instances that start at the
// same time end up with the same keys. The ring follows the file: see
// KeyRing.Follow. It fails when the file's signing key is of another algorithm,
// when others can write or read the file, and for keys that NewKey refuses.
func OpenKeyRing(path string, alg Algorithm) (*KeyRing, error) {
	keys, err := OpenKeys(path, alg)
	if err != nil {
		return nil, err
	}
	r, err := NewKeyRing(keys)
	if err != nil {
		return nil, err
	}
	r.file = &keysFile{path: path, alg: alg}
	return r, nil
}
