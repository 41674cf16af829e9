package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
)

// A Background is what sessions cost Redis besides logins and refreshes.
type Background struct {
	Instances, Sessions, TokensPerHour int
	// Hour is the commands of one session in use for an hour on one
	// instance, the feed left aside: refreshes, and settlings for each
	// access token.
	Refreshes, Settlings, SettlingsPerToken float64
	// Inline is the commands that requests with a valid access token waited for.
	Inline int64
	// Feed is the commands a second of an idle instance, whatever the number
	// of its sessions.
	Feed float64
}

// MeasureBackground lets sessions live through an hour of a clock of their own
// on two instances, and counts the server's commands.
func MeasureBackground(s Scale) (res *Background, err error) {
	err = WithRedis(func(r *Redis) error {
		res, err = measureBackground(r, s)
		return err
	})
	return res, err
}

func measureBackground(r *Redis, s Scale) (res *Background, err error) {
	res = &Background{Instances: 2, Sessions: min(200, s.Sessions/10), TokensPerHour: 6}
	env, err := NewEnv(access.HS256)
	if err != nil {
		return nil, err
	}
	env.Settle = 0
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	var kits []*Kit
	for range res.Instances {
		store, err := r.OwnStore()
		if err != nil {
			return nil, err
		}
		k, err := env.NewKit(store, 0, now)
		if err != nil {
			return nil, err
		}
		defer k.Sessions.Close()
		kits = append(kits, k)
	}
	ctx := context.Background()
	grants := make([]*refresh.Grant, res.Sessions)
	for i := range grants {
		if grants[i], err = kits[0].Sessions.Start(ctx, refresh.Login{Subject: fmt.Sprint("user-", i), Remember: true, Client: device}); err != nil {
			return nil, err
		}
	}
	refreshes := 0
	for n := range res.TokensPerHour + 1 {
		if _, err := settledDown(r); err != nil { // of the last token
			return nil, err
		}
		if n == 1 { // the first round taught the server its scripts
			if err := r.Reset(); err != nil {
				return nil, err
			}
			refreshes, res.Inline = 0, 0
		}
		for i, g := range grants {
			if grants[i], err = kits[i%len(kits)].Sessions.Refresh(ctx, g.RefreshToken, device); err != nil {
				return nil, err
			}
			refreshes++
		}
		for _, age := range []time.Duration{0, 30 * time.Second, 61 * time.Second, 4 * time.Minute, 9 * time.Minute} {
			ahead.Add(int64(age))
			inline, err := verifyAll(r, kits, grants)
			if err != nil {
				return nil, err
			}
			if age < time.Minute {
				res.Inline += inline // nothing settles yet: whatever comes is the requests'
			}
			ahead.Add(-int64(age))
		}
		ahead.Add(int64(10*time.Minute - time.Millisecond))
	}
	total, err := settledDown(r)
	if err != nil {
		return nil, err
	}
	sessions := float64(res.Sessions)
	res.Refreshes = float64(refreshes) / sessions
	res.Settlings = float64(total-int64(refreshes)) / sessions / float64(res.Instances)
	res.SettlingsPerToken = hundredths(res.Settlings / float64(res.TokensPerHour))
	res.Feed, err = idle(r, res.Instances)
	return res, err
}

// verifyAll shows every instance every access token, and returns the commands
// that came meanwhile.
func verifyAll(r *Redis, kits []*Kit, grants []*refresh.Grant) (int64, error) {
	before, err := r.Commands()
	if err != nil {
		return 0, err
	}
	for _, k := range kits {
		for _, g := range grants {
			if _, err := k.Sessions.Verify(g.AccessToken); err != nil {
				return 0, err
			}
		}
	}
	after, err := r.Commands()
	return requests(after) - requests(before), err
}

// settledDown waits until no more commands come, and returns their number.
func settledDown(r *Redis) (int64, error) {
	last, calm := int64(-1), 0
	for calm < 10 {
		stats, err := r.Commands()
		if err != nil {
			return 0, err
		}
		if n := requests(stats); n != last {
			last, calm = n, 0
		}
		calm++
		time.Sleep(20 * time.Millisecond)
	}
	return last, nil
}

// idle returns the commands a second of one instance that nobody uses.
func idle(r *Redis, instances int) (float64, error) {
	const seconds = 6
	if err := r.Reset(); err != nil {
		return 0, err
	}
	time.Sleep(seconds * time.Second)
	stats, err := r.Commands()
	var n int64
	for name, c := range stats {
		if name != "info" && name != "config|resetstat" && name != "config" {
			n += c.Calls
		}
	}
	return float64(n) / seconds / float64(instances), err
}

// A Footprint is what sessions take in Redis.
type Footprint struct {
	PerSubject, Sessions int
	Used, Dataset        float64 // bytes a session
	Keys, Listpacks      int
}

// MeasureFootprint keeps sessions with all that the kit stores of one (device,
// address, fingerprint, authentication context), so many for each subject.
func MeasureFootprint(perSubject int, s Scale) (res *Footprint, err error) {
	err = WithRedis(func(r *Redis) error {
		res, err = measureFootprint(r, perSubject, s.Sessions)
		return err
	})
	return res, err
}

func measureFootprint(r *Redis, perSubject, sessions int) (*Footprint, error) {
	env, err := NewEnv(access.HS256)
	if err != nil {
		return nil, err
	}
	store, err := r.Store()
	if err != nil {
		return nil, err
	}
	k, err := env.NewKit(store, 0, nil)
	if err != nil {
		return nil, err
	}
	defer k.Sessions.Close()
	ctx := context.Background()
	if _, err := k.Sessions.Start(ctx, refresh.Login{Remember: true, Subject: "first", Client: device}); err != nil {
		return nil, err
	}
	used, dataset, err := r.Memory()
	if err != nil {
		return nil, err
	}
	err = spread(sessions, func(i int) error {
		g, err := k.Sessions.Start(ctx, refresh.Login{
			Subject: fmt.Sprintf("user-%010d", i/perSubject), Remember: true, ACR: "urn:example:gold", AMR: []string{"pwd", "otp"}, Client: device,
		})
		if err != nil || i%4 != 0 {
			return err
		}
		_, err = k.Sessions.Refresh(ctx, g.RefreshToken, device)
		return err
	})
	if err != nil {
		return nil, err
	}
	used2, dataset2, err := r.Memory()
	if err != nil {
		return nil, err
	}
	f := &Footprint{PerSubject: perSubject, Sessions: sessions, Used: float64(used2-used) / float64(sessions), Dataset: float64(dataset2-dataset) / float64(sessions)}
	return f, f.encodings(r)
}

// encodings asks for that of every hash.
func (f *Footprint) encodings(r *Redis) error {
	ctx := context.Background()
	for cursor := uint64(0); ; {
		keys, next, err := r.Client.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			return err
		}
		p := r.Client.Pipeline()
		for _, key := range keys {
			p.ObjectEncoding(ctx, key)
		}
		replies, err := p.Exec(ctx)
		if err != nil && len(keys) > 0 {
			return err
		}
		for _, reply := range replies {
			if v, ok := reply.(interface{ Val() string }); ok && v.Val() == "listpack" {
				f.Listpacks++
			}
		}
		f.Keys += len(keys)
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// spread calls f for 0 to n-1 from 64 goroutines.
func spread(n int, f func(i int) error) error {
	var errs [clients]error
	var all sync.WaitGroup
	var next atomic.Int64
	for w := range clients {
		all.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = f(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs[:]...)
}
