package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// A Growth is what a rotation costs at one size.
type Growth struct {
	Size   int
	P50    float64 // sequential, microseconds
	Server float64 // the server's own time, microseconds; 0 without a server
}

// A population is families by number: everything about them follows from it,
// so that a million need no memory here.
type population struct {
	store   family.Store
	now     time.Time
	subject func(i int) int
	gen     map[int]uint32 // of those that were rotated
}

func hashOf(parts ...uint64) [32]byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	return sha256.Sum256(b)
}

func (p *population) subjectKey(i int) family.Subject {
	h := hashOf(1, uint64(p.subject(i)))
	return family.Subject(h[:16])
}

func familyID(i int) family.ID {
	h := hashOf(2, uint64(i))
	return family.ID(h[:16])
}

func fingerprintOf(i int) (f family.Fingerprint) {
	h := hashOf(4, uint64(i))
	for c := range f {
		copy(f[c][:], h[6*c:])
	}
	return f
}

var label = family.Device{UserAgent: "Firefox on Linux", IP: "203.0.113.7"}

// start keeps family i.
func (p *population) start(i int) error {
	h := hashOf(5, uint64(i))
	_, err := p.store.Start(context.Background(), family.StartRequest{Now: p.now, Record: family.Record{
		Subject: p.subjectKey(i), ID: familyID(i), Current: hashOf(3, uint64(i), 0), Attempt: family.Attempt(h[:6]),
		CreatedAt: p.now, RotatedAt: p.now, AuthTime: p.now.Truncate(time.Second), Idle: 14 * 24 * time.Hour, AbsoluteExpiry: p.now.Add(30 * 24 * time.Hour),
		Remember: true, ACR: "urn:example:gold", AMR: []string{"pwd", "otp"}, Fingerprint: fingerprintOf(i), Device: label,
	}})
	return err
}

// rotate renews family i.
func (p *population) rotate(i int) error {
	g := p.gen[i]
	h := hashOf(6, uint64(i), uint64(g))
	v, err := p.store.Rotate(context.Background(), family.RotateRequest{
		Subject: p.subjectKey(i), Family: familyID(i), Generation: g, Hash: hashOf(3, uint64(i), uint64(g)), Successor: hashOf(3, uint64(i), uint64(g+1)),
		Attempt: family.Attempt(h[:6]), Fingerprint: fingerprintOf(i), Device: label,
		Policy: family.Policy{Enforced: family.UserAgent | family.DeviceID}, Now: p.now,
	})
	if err == nil && v.Outcome != family.Rotated {
		err = fmt.Errorf("bench: a rotation came to %v", v.Outcome)
	}
	p.gen[i]++
	return err
}

// sample rotates families among n at random and returns the median time in
// microseconds.
func (p *population) sample(n, calls int) (float64, error) {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	took := make([]float64, calls)
	for c := range took {
		i := random.IntN(n)
		start := time.Now()
		if err := p.rotate(i); err != nil {
			return 0, err
		}
		took[c] = float64(time.Since(start)) / 1e3
	}
	return median(took), nil
}

// MeasureFamilies rotates among more and more families, of one session a
// subject: in Redis, and in the memory store.
func MeasureFamilies(s Scale) (inRedis, inMemory []Growth, err error) {
	own := func(i int) int { return i }
	err = WithRedis(func(r *Redis) error {
		inRedis, err = grow(r, own, s.Families, s)
		return err
	})
	if err != nil && !errors.Is(err, ErrNoRedis) {
		return nil, nil, err
	}
	m, err := family.NewMemoryStore(family.MemoryConfig{MaxFamilies: 2 * slices.Max(s.Families)})
	if err != nil {
		return nil, nil, err
	}
	p := &population{store: m, now: time.Now().Truncate(time.Millisecond), subject: own, gen: make(map[int]uint32)}
	for at, i := 0, 0; at < len(s.Families); at++ {
		for ; i < s.Families[at]; i++ {
			if err := p.start(i); err != nil {
				return nil, nil, err
			}
		}
		p50, err := p.sample(i, s.Calls)
		if err != nil {
			return nil, nil, err
		}
		inMemory = append(inMemory, Growth{Size: i, P50: p50})
	}
	return inRedis, inMemory, nil
}

// MeasureSiblings rotates the sessions of one subject, which are in one hash.
func MeasureSiblings(s Scale) (all []Growth, err error) {
	err = WithRedis(func(r *Redis) error {
		all, err = grow(r, func(int) int { return 0 }, s.Siblings, s)
		return err
	})
	return all, err
}

func grow(r *Redis, subject func(int) int, sizes []int, s Scale) (all []Growth, err error) {
	store, err := r.Store()
	if err != nil {
		return nil, err
	}
	p := &population{store: store, now: time.Now().Truncate(time.Millisecond), subject: subject, gen: make(map[int]uint32)}
	at := 0
	for _, size := range sizes {
		first := at
		if err := spread(size-first, func(i int) error { return p.start(first + i) }); err != nil {
			return nil, err
		}
		at = size
		if _, err := p.sample(size, min(100, s.Calls)); err != nil { // warm
			return nil, err
		}
		if err := r.Reset(); err != nil {
			return nil, err
		}
		p50, err := p.sample(size, s.Calls)
		if err != nil {
			return nil, err
		}
		stats, err := r.Commands()
		if err != nil {
			return nil, err
		}
		all = append(all, Growth{size, p50, stats["evalsha"].PerCall()})
	}
	return all, nil
}

// Instances is what several instances of an app come to, on one Redis.
type Instances struct {
	Count int
	Rate  float64 // refreshes a second, all together
	Heard Latency // from a revocation until the last instance refuses, nanoseconds
}

// MeasureInstances runs 1 to 8 instances in this process, each with its own
// service and feed.
func MeasureInstances(s Scale) (all []Instances, err error) {
	for _, n := range []int{1, 2, 4, 8} {
		err := WithRedis(func(r *Redis) error {
			one, err := measureInstances(r, n, s)
			all = append(all, one)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func measureInstances(r *Redis, n int, s Scale) (res Instances, err error) {
	res.Count = n
	env, err := NewEnv(access.EdDSA)
	if err != nil {
		return res, err
	}
	var kits []*Kit
	for range n {
		store, err := r.OwnStore()
		if err != nil {
			return res, err
		}
		k, err := env.NewKit(store, 0, nil)
		if err != nil {
			return res, err
		}
		defer k.Sessions.Close()
		kits = append(kits, k)
	}
	f, err := newFleet(r, kits[0])
	if err != nil {
		return res, err
	}
	var next atomic.Int64
	refreshAnywhere := func(i int) error { return f.refreshOn(kits[int(next.Add(1))%n], i) }
	var rates []float64
	for range s.Rounds {
		calls, took, err := rate(s.Parallel/2, refreshAnywhere)
		if err != nil {
			return res, err
		}
		rates = append(rates, float64(calls)/took.Seconds())
	}
	res.Rate = median(rates)
	var heard []float64
	for range 10 * s.Rounds {
		took, err := hear(kits)
		if err != nil {
			return res, err
		}
		heard = append(heard, took)
	}
	res.Heard = latency(heard)
	return res, nil
}

// hear revokes a session on the first instance and returns how long it takes
// until the last one refuses it, in nanoseconds.
func hear(kits []*Kit) (float64, error) {
	ctx := context.Background()
	g, err := kits[0].Sessions.Start(ctx, refresh.Login{Subject: "revoked", Remember: true, Client: device})
	if err != nil {
		return 0, err
	}
	for _, k := range kits {
		if _, err := k.Sessions.Verify(g.AccessToken); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	if err := kits[0].Sessions.Revoke(ctx, "revoked", g.Claims.SessionID, family.ReasonLogout); err != nil {
		return 0, err
	}
	for _, k := range kits {
		for {
			if _, err := k.Sessions.Verify(g.AccessToken); errors.Is(err, refresh.ErrRevoked) {
				break
			}
			if time.Since(start) > 5*time.Second {
				return 0, errors.New("bench: an instance did not hear of a revocation")
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
	return float64(time.Since(start)), nil
}
