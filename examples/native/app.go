package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// app is what a mobile app has of a session: a server, a file and a device.
type app struct {
	server string
	path   string
	client *http.Client
	key    *ecdsa.PrivateKey

	mu    sync.Mutex // one renewal at a time
	state state

	nonce atomic.Value // string: the server's newest, for proofs
}

// state is what must outlive the program.
type state struct {
	// DeviceID is made once and stays, so that the server knows the device
	// again after the user signed out and in.
	DeviceID     string    `json:"device_id"`
	AccessToken  string    `json:"access_token,omitempty"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	TokenType    string    `json:"token_type,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
}

// errSignedOut: the session has ended; the user has to sign in.
var errSignedOut = errors.New("signed out")

func openApp(server, path string) (*app, error) {
	a := &app{server: strings.TrimRight(server, "/"), path: path, client: &http.Client{
		Timeout: 10 * time.Second,
		// Tokens go to the server that they are for, and not where it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &a.state); err != nil {
			return nil, fmt.Errorf("%s is damaged: remove it and sign in", path)
		}
	}
	if a.key, err = openKey(path + ".key"); err != nil {
		return nil, err
	}
	if a.state.DeviceID == "" {
		a.state.DeviceID = rand.Text()
		return a, a.save()
	}
	return a, nil
}

func (a *app) save() error {
	text, err := json.Marshal(a.state)
	if err != nil {
		return err
	}
	return writeFile(a.path, text)
}

// writeFile replaces a file at once or not at all, readable by its owner alone.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".native-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// tokens is the server's answer to a login or a refresh.
type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
}

func (a *app) login(ctx context.Context, user, password string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exchange(ctx, "/login", map[string]any{"username": user, "password": password, "transport": "body"})
}

// exchange gets a token pair and keeps it, before anything uses it: a pair
// that is used and then lost could not be renewed.
func (a *app) exchange(ctx context.Context, path string, body any) error {
	status, text, err := a.send(ctx, "POST", path, body, "")
	switch {
	case err != nil:
		return err
	case wantsProof(status, text):
		return fmt.Errorf("%s: the server accepts no proof of the key: is the clock right?", path)
	case status == http.StatusBadRequest || status == http.StatusUnauthorized:
		return errSignedOut
	case status != http.StatusOK:
		return fmt.Errorf("%s: status %d", path, status)
	}
	var t tokens
	if err := json.Unmarshal(text, &t); err != nil || t.AccessToken == "" || t.RefreshToken == "" {
		return fmt.Errorf("%s: no tokens in the answer", path)
	}
	a.state.AccessToken, a.state.RefreshToken, a.state.TokenType = t.AccessToken, t.RefreshToken, t.TokenType
	a.state.ExpiresAt = time.Now().Add(time.Duration(t.ExpiresIn) * time.Second)
	return a.save()
}

// renew exchanges the refresh token, once for all callers that found the same
// access token used up. A lost answer is no loss: the server gives the same
// answer to the same token, so trying again is all there is to do.
func (a *app) renew(ctx context.Context, usedUp string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.AccessToken != usedUp {
		return nil
	}
	if a.state.RefreshToken == "" {
		return errSignedOut
	}
	var err error
	for pause := 200 * time.Millisecond; pause < 5*time.Second; pause *= 2 {
		err = a.exchange(ctx, "/auth/token/refresh", map[string]string{"refresh_token": a.state.RefreshToken})
		if err == nil || errors.Is(err, errSignedOut) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return err
}

// get asks with an access token that is not used up, renewing it when it is,
// by the clock or by the server's word.
func (a *app) get(ctx context.Context, path string) ([]byte, error) {
	for try := 0; ; try++ {
		a.mu.Lock()
		token, usedUp := a.state.AccessToken, time.Now().After(a.state.ExpiresAt)
		// DPoP, or Bearer where the server binds no sessions.
		authorization := cmp.Or(a.state.TokenType, "Bearer") + " " + token
		a.mu.Unlock()
		if !usedUp {
			status, text, err := a.send(ctx, "GET", path, nil, authorization)
			switch {
			case err != nil:
				return nil, err
			case status == http.StatusOK:
				return text, nil
			case status != http.StatusUnauthorized || wantsProof(status, text):
				return nil, fmt.Errorf("%s: status %d", path, status)
			case try > 0:
				return nil, errSignedOut
			}
		}
		if err := a.renew(ctx, token); err != nil {
			return nil, err
		}
	}
}

// logout ends the session on the server, and forgets the tokens only then.
func (a *app) logout(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.RefreshToken == "" {
		return nil
	}
	status, _, err := a.send(ctx, "POST", "/auth/logout", map[string]string{"refresh_token": a.state.RefreshToken}, "")
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("logout: status %d", status)
	}
	if err != nil {
		return err
	}
	a.state = state{DeviceID: a.state.DeviceID}
	return a.save()
}

// send does one request, as the device that this is. One that is refused for its
// proof is sent again with another, twice at most: a nonce may have been missing,
// and the request may have been sent twice on its way, where a proof counts once.
func (a *app) send(ctx context.Context, method, path string, body any, authorization string) (int, []byte, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	for again := 2; ; again-- {
		status, text, err := a.sendOnce(ctx, method, path, payload, authorization)
		if err != nil || again == 0 || !wantsProof(status, text) {
			return status, text, err
		}
	}
}

// wantsProof reports whether an answer refuses a proof, and nothing else (RFC 9449
// sections 5 and 8): the session goes on.
func wantsProof(status int, text []byte) bool {
	var refusal struct {
		Error string `json:"error"`
	}
	if status != http.StatusBadRequest && status != http.StatusUnauthorized || json.Unmarshal(text, &refusal) != nil {
		return false
	}
	return refusal.Error == "use_dpop_nonce" || refusal.Error == "invalid_dpop_proof"
}

func (a *app) sendOnce(ctx context.Context, method, path string, payload []byte, authorization string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(payload))
	if err != nil {
		return 0, nil, err
	}
	nonce, _ := a.nonce.Load().(string)
	_, token, _ := strings.Cut(authorization, " ")
	proof, err := prove(a.key, method, a.server+path, token, nonce)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("DPoP", proof)
	req.Header.Set("User-Agent", "SessionkitNative/1.0")
	req.Header.Set("X-Device-ID", a.state.DeviceID)
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	if nonce := res.Header.Get("DPoP-Nonce"); nonce != "" {
		a.nonce.Store(nonce)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, text, err
}
