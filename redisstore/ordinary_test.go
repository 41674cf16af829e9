package redisstore_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// TestAShortSessionDoesNotTakeALongOneAlong: the hash lives as long as the
// longest session in it, whichever was rotated last.
func TestAShortSessionDoesNotTakeALongOneAlong(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := newClient(t, server.Addr)
	store := newStore(t, c)
	ctx, now := context.Background(), time.Now().Truncate(time.Millisecond)
	subject := family.Subject{1}
	secret := func(id family.ID, generation uint32) [32]byte {
		return sha256.Sum256(append(id[:], byte(generation)))
	}
	open := func(lifetime time.Duration) family.ID {
		var id family.ID
		rand.Read(id[:])
		f := family.Record{Subject: subject, ID: id, Current: secret(id, 0), CreatedAt: now, RotatedAt: now, AuthTime: now.Truncate(time.Second), Idle: lifetime, AbsoluteExpiry: now.Add(lifetime)}
		rand.Read(f.Attempt[:])
		if _, err := store.Start(ctx, family.StartRequest{Record: f, Now: now}); err != nil {
			t.Fatal(err)
		}
		return id
	}
	long, short := open(10*time.Hour), open(time.Hour)
	for g := range uint32(3) {
		p := family.RotateRequest{Subject: subject, Family: short, Generation: g, Hash: secret(short, g), Successor: secret(short, g+1), Now: now}
		rand.Read(p.Attempt[:])
		if v, err := store.Rotate(ctx, p); err != nil || v.Outcome != family.Rotated {
			t.Fatalf("the short one, generation %d: %v, %v", g, v.Outcome, err)
		}
	}
	key := c.Keys(ctx, "*{"+subject.String()+"}").Val()
	if len(key) != 1 {
		t.Fatalf("keys of the subject: %v", key)
	}
	if left := c.PTTL(ctx, key[0]).Val(); left < 9*time.Hour {
		t.Errorf("the hash lives for %v, the longest session for 10h", left)
	}
	if f, err := store.Find(ctx, subject, long, now.Add(2*time.Hour)); err != nil || f.ID != long {
		t.Errorf("the long one: %+v, %v", f, err)
	}
}
