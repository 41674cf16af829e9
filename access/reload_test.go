package access_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/internal/faketime"
)

// reloads looks as often as a text needs to be taken up.
func reloads(t *testing.T, r *access.KeyRing) (changed bool, failure string) {
	t.Helper()
	for range 2 {
		c, err := r.Reload()
		changed = changed || c
		if err != nil {
			failure += err.Error()
		}
	}
	return changed, failure
}

// signs reports whether tokens of the ring verify under the keys.
func signs(t *testing.T, r *access.KeyRing, keys access.Keys) bool {
	t.Helper()
	text, _ := issue(t, newTokens(t, access.Config{Keys: r}), login)
	only := access.Keys{Signing: keys.Signing, Secrets: keys.Secrets}
	_, err := newTokens(t, access.Config{Keys: newRing(t, only)}).Verify(text)
	return err == nil
}

func generate(t *testing.T, alg access.Algorithm) access.Keys {
	t.Helper()
	keys, err := access.GenerateKeys(alg)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestAChangedKeysFileIsTakenUp(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(keys access.Keys) string {
		b, err := keys.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first, second := generate(t, access.EdDSA), generate(t, access.EdDSA)
	noSecret := second
	noSecret.Secrets = nil
	for name, c := range map[string]struct {
		change  func(t *testing.T, path string)
		changed bool
		failure string // a part of it; empty: none
	}{
		"nothing": {func(*testing.T, string) {}, false, ""},
		"the same keys in another text": {func(t *testing.T, path string) {
			write(t, path, "\n"+text(first)+"\n")
		}, false, ""},
		"renamed over": {func(t *testing.T, path string) {
			if err := second.Save(path); err != nil {
				t.Fatal(err)
			}
		}, true, ""},
		"written in place": {func(t *testing.T, path string) { write(t, path, text(second)) }, true, ""},
		"a symlink moved": {func(t *testing.T, path string) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "keys"), text(second))
			if err := os.Symlink(filepath.Join(dir, "keys"), path+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, true, ""},
		"cut off":        {func(t *testing.T, path string) { write(t, path, text(second)[:100]) }, false, "damaged block"},
		"empty":          {func(t *testing.T, path string) { write(t, path, "") }, false, "put a private key first"},
		"removed":        {func(t *testing.T, path string) { os.Remove(path) }, false, "no such file"},
		"for all to use": {func(t *testing.T, path string) { write(t, path, text(second)); os.Chmod(path, 0o666) }, false, "chmod 600"},
		"another algorithm": {func(t *testing.T, path string) {
			write(t, path, text(generate(t, access.ES256)))
		}, false, "it signs with ES256, not EdDSA"},
		"no root secret": {func(t *testing.T, path string) { write(t, path, text(noSecret)) }, false, "holds no root secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := save(t, first)
			r, err := access.OpenKeyRing(path, access.EdDSA)
			if err != nil {
				t.Fatal(err)
			}
			if changed, failure := reloads(t, r); changed || failure != "" {
				t.Fatalf("before the change: %v, %q", changed, failure)
			}
			c.change(t, path)
			changed, failure := reloads(t, r)
			if changed != c.changed || (failure == "") != (c.failure == "") || !strings.Contains(failure, c.failure) {
				t.Errorf("changed %v, %q", changed, failure)
			}
			if signs(t, r, second) != c.changed || signs(t, r, first) == c.changed {
				t.Error("the ring has the wrong keys")
			}
			if changed, failure := reloads(t, r); changed || failure != "" {
				t.Errorf("told twice: %v, %q", changed, failure)
			}
			// Mended.
			os.Remove(path)
			if err := second.Save(path); err != nil {
				t.Fatal(err)
			}
			reloads(t, r)
			if !signs(t, r, second) {
				t.Error("a good file after the change is not taken up")
			}
		})
	}
}

// TestAKeysFileThatIsBeingWritten: what one look found is not taken up before
// the next has found it too.
func TestAKeysFileThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	first, second := generate(t, access.EdDSA), generate(t, access.EdDSA)
	path := save(t, first)
	r, err := access.OpenKeyRing(path, access.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	reloads(t, r)
	b, err := second.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, 60, len(b)} {
		if err := os.WriteFile(path, b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := r.Reload(); changed || err != nil {
			t.Errorf("%d bytes: %v, %v", n, changed, err)
		}
	}
	if changed, err := r.Reload(); !changed || err != nil {
		t.Errorf("at the end: %v, %v", changed, err)
	}
}

func TestFollow(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		first, second := generate(t, access.EdDSA), generate(t, access.EdDSA)
		path := save(t, first)
		r, err := access.OpenKeyRing(path, access.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		told, done := make(chan error, 10), make(chan struct{})
		go func() {
			defer close(done)
			r.Follow(ctx, func(err error) { told <- err })
		}()
		time.Sleep(10 * time.Second)
		if err := second.Save(path); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-told; err != nil || time.Since(start) > 5*time.Second || !r.Holds(second) {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := <-told; err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("removed: %v", err)
		}
		time.Sleep(time.Minute)
		stop()
		<-done
		if len(told) > 0 {
			t.Errorf("told again: %v", <-told)
		}
	})
}

func TestARingWithoutAFileFollowsNothing(t *testing.T) {
	t.Parallel()
	newRing(t, generate(t, access.EdDSA)).Follow(context.Background(), func(err error) { t.Error(err) })
}

// TestNotesInAKeysFile: two headers are the keeper's, and all others refused.
func TestNotesInAKeysFile(t *testing.T) {
	t.Parallel()
	b, err := generate(t, access.EdDSA).Encode()
	if err != nil {
		t.Fatal(err)
	}
	with := func(header string) string {
		text := strings.Replace(string(b), "Algorithm: EdDSA\n", "Algorithm: EdDSA\n"+header, 1)
		return strings.Replace(text, "ROOT SECRET-----\n", "ROOT SECRET-----\n"+header+"\n", 1)
	}
	if _, err := access.ParseKeys([]byte(with("Place: next\nSince: 2026-01-02T03:04:05Z\n"))); err != nil {
		t.Error(err)
	}
	for _, header := range []string{"Proc-Type: 4,ENCRYPTED\n", "Place: next\nComment: x\n"} {
		if _, err := access.ParseKeys([]byte(with(header))); err == nil {
			t.Errorf("%q passes", header)
		}
	}
}
