package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/refresh"
)

// users are the demo's accounts: what an app has in its database.
type users struct {
	fields accountFields
	hashes chan struct{}     // bounds how many passwords are hashed at a time
	nobody string            // whose password is checked for unknown names
	first  map[string]string // the passwords that accounts begin with
}

// accountFields keep two texts for each account: NAME:password, and
// NAME:inactive for those that are deactivated.
type accountFields interface {
	// get returns "" for what is absent.
	get(ctx context.Context, fields ...string) ([]string, error)
	set(ctx context.Context, field, value string) error
	// create sets a field only where it is absent.
	create(ctx context.Context, field, value string) error
}

// demoAccounts are the accounts that there are.
var demoAccounts = map[string]struct {
	password string
	roles    []string
}{
	"alice": {"wonderland", []string{"admin"}},
	"bob":   {"builder", nil},
	"carol": {"keyboard", nil},
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

// protect makes what is kept of a password: its salt and hash.
func (u *users) protect(password string) string {
	u.hashes <- struct{}{}
	defer func() { <-u.hashes }()
	salt := make([]byte, 16)
	rand.Read(salt)
	return base64.RawURLEncoding.EncodeToString(salt) + "." + base64.RawURLEncoding.EncodeToString(hashPassword(password, salt))
}

// matches reports whether a password is the one that is kept.
func (u *users) matches(kept, password string) (bool, error) {
	first, second, _ := strings.Cut(kept, ".")
	salt, err := base64.RawURLEncoding.DecodeString(first)
	hash, err2 := base64.RawURLEncoding.DecodeString(second)
	if err != nil || err2 != nil || len(hash) == 0 {
		return false, errors.New("an account cannot be read")
	}
	u.hashes <- struct{}{}
	defer func() { <-u.hashes }()
	return subtle.ConstantTimeCompare(hashPassword(password, salt), hash) == 1, nil
}

// newUsers creates the demo's accounts where they are absent.
func newUsers(ctx context.Context, fields accountFields) (*users, error) {
	u := &users{fields: fields, hashes: make(chan struct{}, 4), first: make(map[string]string)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for name, account := range demoAccounts {
		wg.Go(func() {
			password := u.protect(account.password)
			err := fields.create(ctx, name+":password", password)
			mu.Lock()
			defer mu.Unlock()
			if u.first[name] = password; err != nil {
				failed = err
			}
		})
	}
	wg.Go(func() { u.nobody = u.protect(rand.Text()) })
	wg.Wait()
	return u, failed
}

// check reports whether an active user has this password. It takes as long for
// a name that does not exist.
func (u *users) check(ctx context.Context, name, password string) (bool, error) {
	kept, err := u.get(ctx, name+":password", name+":inactive")
	if err != nil {
		return false, err
	}
	if _, known := demoAccounts[name]; !known {
		kept = []string{u.nobody, "yes"}
	} else if kept[0] == "" { // Redis has lost the account: it begins anew
		kept[0] = u.first[name]
	}
	right, err := u.matches(kept[0], password)
	return right && kept[1] == "", err
}

// setPassword returns what takes the change back. It does so itself when it
// fails: the answer may have been lost after the change.
func (u *users) setPassword(ctx context.Context, name, password string) (undo func(), err error) {
	before, err := u.get(ctx, name+":password")
	if err != nil {
		return nil, err
	}
	undo = func() { u.set(context.WithoutCancel(ctx), name+":password", before[0]) }
	if err := u.set(ctx, name+":password", u.protect(password)); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

func (u *users) setActive(ctx context.Context, name string, active bool) error {
	inactive := "yes"
	if active {
		inactive = ""
	}
	return u.set(ctx, name+":inactive", inactive)
}

// claims is asked at every login and refresh: a deactivated user is out within
// one access token's lifetime even if nobody revokes anything.
func (u *users) claims(ctx context.Context, q refresh.ClaimsRequest) (refresh.SubjectClaims, error) {
	account, known := demoAccounts[q.Subject]
	if !known {
		return refresh.SubjectClaims{}, refresh.ErrDenied
	}
	inactive, err := u.get(ctx, q.Subject+":inactive")
	switch {
	case err != nil:
		return refresh.SubjectClaims{}, err
	case inactive[0] != "":
		return refresh.SubjectClaims{}, refresh.ErrDenied
	}
	return refresh.SubjectClaims{Roles: account.roles}, nil
}

// get and set answer for a database that is away as the kit does: try again.
func (u *users) get(ctx context.Context, fields ...string) ([]string, error) {
	values, err := u.fields.get(ctx, fields...)
	if err != nil {
		err = fmt.Errorf("%w: accounts: %w", refresh.ErrUnavailable, err)
	}
	return values, err
}

func (u *users) set(ctx context.Context, field, value string) error {
	if err := u.fields.set(ctx, field, value); err != nil {
		return fmt.Errorf("%w: accounts: %w", refresh.ErrUnavailable, err)
	}
	return nil
}

// memoryFields are those of a single process.
type memoryFields struct {
	mu     sync.Mutex
	values map[string]string
}

func (m *memoryFields) get(_ context.Context, fields ...string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	values := make([]string, len(fields))
	for i, f := range fields {
		values[i] = m.values[f]
	}
	return values, nil
}

func (m *memoryFields) set(_ context.Context, field, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[field] = value
	return nil
}

func (m *memoryFields) create(_ context.Context, field, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, present := m.values[field]; !present {
		m.values[field] = value
	}
	return nil
}

// redisFields are shared by all instances, in one hash.
type redisFields struct{ client redis.UniversalClient }

const (
	accountsKey = "webapp:accounts"
	// accountsTimeout bounds a call, so that a request is answered while Redis
	// is away.
	accountsTimeout = 2 * time.Second
)

func (r redisFields) get(ctx context.Context, fields ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, accountsTimeout)
	defer cancel()
	found, err := r.client.HMGet(ctx, accountsKey, fields...).Result()
	if err != nil {
		return nil, err
	}
	values := make([]string, len(found))
	for i, v := range found {
		values[i], _ = v.(string) // nil: absent
	}
	return values, nil
}

func (r redisFields) set(ctx context.Context, field, value string) error {
	ctx, cancel := context.WithTimeout(ctx, accountsTimeout)
	defer cancel()
	return r.client.HSet(ctx, accountsKey, field, value).Err()
}

func (r redisFields) create(ctx context.Context, field, value string) error {
	return r.client.HSetNX(ctx, accountsKey, field, value).Err()
}
