package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"

	"github.com/sessionkit/sessionkit/refresh"
)

// users are the demo's accounts: what an app has in its database.
type users struct {
	mu     sync.RWMutex
	byName map[string]*user
	hashes chan struct{} // bounds how many passwords are hashed at a time
	nobody *user         // whose password is checked for unknown names
}

type user struct {
	salt, hash []byte
	roles      []string
	inactive   bool
}

// iterations is what OWASP recommends for PBKDF2 with HMAC-SHA-256. Tests
// lower it.
var iterations = 600_000

func hashPassword(password string, salt []byte) []byte {
	hash, err := pbkdf2.Key(sha256.New, password, salt, iterations, 32)
	if err != nil {
		panic(err) // not with these parameters
	}
	return hash
}

func newUser(password string, roles ...string) *user {
	salt := make([]byte, 16)
	rand.Read(salt)
	return &user{salt: salt, hash: hashPassword(password, salt), roles: roles}
}

func newUsers() *users {
	u := &users{byName: make(map[string]*user), hashes: make(chan struct{}, 4)}
	var wg sync.WaitGroup
	for name, password := range map[string]string{"alice": "wonderland", "bob": "builder", "carol": "keyboard"} {
		var roles []string
		if name == "alice" {
			roles = []string{"admin"}
		}
		wg.Go(func() {
			account := newUser(password, roles...)
			u.mu.Lock()
			u.byName[name] = account
			u.mu.Unlock()
		})
	}
	wg.Go(func() { u.nobody = newUser(rand.Text()) })
	wg.Wait()
	return u
}

// check reports whether an active user has this password. It takes as long for
// a name that does not exist.
func (u *users) check(name, password string) bool {
	u.mu.RLock()
	account, known := u.byName[name]
	if !known {
		account = u.nobody
	}
	salt, hash, active := account.salt, account.hash, !account.inactive
	u.mu.RUnlock()

	u.hashes <- struct{}{}
	defer func() { <-u.hashes }()
	right := subtle.ConstantTimeCompare(hashPassword(password, salt), hash) == 1
	return known && right && active
}

// setPassword returns what takes the change back.
func (u *users) setPassword(name, password string) (undo func()) {
	u.hashes <- struct{}{}
	changed := newUser(password)
	<-u.hashes
	u.mu.Lock()
	defer u.mu.Unlock()
	account := u.byName[name]
	if account == nil {
		return func() {}
	}
	salt, hash := account.salt, account.hash
	account.salt, account.hash = changed.salt, changed.hash
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		account.salt, account.hash = salt, hash
	}
}

// setActive reports whether there is such a user.
func (u *users) setActive(name string, active bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	account := u.byName[name]
	if account != nil {
		account.inactive = !active
	}
	return account != nil
}

// claims is asked at every login and refresh: a deactivated user is out within
// one access token's lifetime even if nobody revokes anything.
func (u *users) claims(_ context.Context, subject string) (refresh.SubjectClaims, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	account := u.byName[subject]
	if account == nil || account.inactive {
		return refresh.SubjectClaims{}, refresh.ErrDenied
	}
	return refresh.SubjectClaims{Roles: account.roles}, nil
}
