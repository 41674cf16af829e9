package bench

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sessionkit/sessionkit/access"
	"github.com/sessionkit/sessionkit/refresh"
	"github.com/sessionkit/sessionkit/refresh/family"
)

// What a refresh is compared with: the cheapest script, and one that reads and
// writes a hash with a time to live as any rotation has to.
var (
	trivialScript = redis.NewScript(`return 1`)
	rawScript     = redis.NewScript(`
local r = redis.call('HMGET', KEYS[1], 'a', 'b', 'c', 'd')
redis.call('HSET', KEYS[1], 'a', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return r`)
)

const clients = 64

// device is the client of all measured sessions.
var device = refresh.Client{IP: netip.MustParseAddr("203.0.113.7"), UserAgent: agent, DeviceID: "0123456789abcdefghijkl"}

// A Refresh is what renewing a session costs over Redis.
type Refresh struct {
	Alg access.Algorithm
	// Sequential calls.
	Trivial, Raw, Kit, Sign Latency
	// Ratio is the kit's median in multiples of that of the trivial script
	// and one signature: the median over the rounds.
	Ratio float64
	// Calls a second of 64 clients, and the kit's share of the raw script's.
	RawRate, KitRate, Share float64
	// The same for the raw script followed by one signature: what a refresh
	// that did nothing else would come to.
	SignedRate, SignedShare float64
	// The server's time for one call, in microseconds, and the kit's in
	// multiples of the raw script's.
	RawServer, KitServer, ServerRatio float64
	// Processor time for one call at 64 clients, in microseconds, of this
	// process and of the server: where both share the cores it bounds the rate.
	RawCPU, KitCPU [2]float64
	// Trips is the number of commands for each refresh.
	Trips float64
}

// A Latency is how long a call takes, in nanoseconds.
type Latency struct{ P10, P50, P99 float64 }

func latency(values []float64) Latency {
	return Latency{percentile(values, 0.1), percentile(values, 0.5), percentile(values, 0.99)}
}

// MeasureRefresh measures one algorithm on a server of its own.
func MeasureRefresh(alg access.Algorithm, s Scale) (res *Refresh, err error) {
	err = WithRedis(func(r *Redis) error {
		res, err = measureRefresh(r, alg, s)
		return err
	})
	return res, err
}

func measureRefresh(r *Redis, alg access.Algorithm, s Scale) (*Refresh, error) {
	f, end, err := fleetOn(r, alg)
	if err != nil {
		return nil, err
	}
	defer end()
	m := &refreshRounds{f: f, sign: f.signature()}
	for range s.Rounds {
		if err := errors.Join(m.sequential(s.Calls/s.Rounds), m.parallel(s.Parallel/2)); err != nil {
			return nil, err
		}
	}
	return m.result(alg), nil
}

// fleetOn returns clients of one instance, which end closes.
func fleetOn(r *Redis, alg access.Algorithm) (f *fleet, end func() error, err error) {
	env, err := NewEnv(alg)
	if err != nil {
		return nil, nil, err
	}
	store, err := r.Store()
	if err != nil {
		return nil, nil, err
	}
	k, err := env.NewKit(store, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	if f, err = newFleet(r, k); err != nil {
		return nil, nil, errors.Join(err, k.Sessions.Close())
	}
	return f, k.Sessions.Close, nil
}

// A fleet is 64 clients with a session each, and as many hashes for the raw
// script.
type fleet struct {
	r    *Redis
	k    *Kit
	next [clients]string // refresh token
	hash [clients]string // key
}

func newFleet(r *Redis, k *Kit) (*fleet, error) {
	f := &fleet{r: r, k: k}
	ctx := context.Background()
	for i := range clients {
		var err error
		if f.next[i], err = f.login(i); err != nil {
			return nil, err
		}
		f.hash[i] = fmt.Sprintf("raw:{%022d}", i)
		if err := r.Client.HSet(ctx, f.hash[i], "a", string(random(56)), "b", string(random(59)), "c", "Firefox on Linux", "d", "pwd otp").Err(); err != nil {
			return nil, err
		}
		for _, op := range []func(int) error{f.trivial, f.raw, f.refresh} {
			if err := op(i); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// login opens the session of client i.
func (f *fleet) login(i int) (refreshToken string, err error) {
	g, err := f.k.Sessions.Start(context.Background(), refresh.Login{Subject: fmt.Sprintf("user-%d", i), Remember: true, Client: device})
	if err != nil {
		return "", err
	}
	return g.RefreshToken, nil
}

func (f *fleet) trivial(i int) error {
	return trivialScript.Run(context.Background(), f.r.Client, []string{f.hash[i]}).Err()
}

func (f *fleet) raw(i int) error {
	return rawScript.Run(context.Background(), f.r.Client, []string{f.hash[i]}, "0123456789012345678901234567890123456789012345678901234", int64(14*24*time.Hour/time.Millisecond)).Err()
}

func (f *fleet) refresh(i int) error { return f.refreshOn(f.k, i) }

// refreshOn renews session i on an instance.
func (f *fleet) refreshOn(k *Kit, i int) error {
	g, err := k.Sessions.Refresh(context.Background(), f.next[i], device)
	if err != nil {
		return err
	}
	if g.Outcome != family.Rotated {
		return fmt.Errorf("bench: a refresh came to %v", g.Outcome)
	}
	f.next[i] = g.RefreshToken
	return nil
}

// signature returns the operation of one signature alone.
func (f *fleet) signature() func(int) error {
	input := random(512)
	return func(int) error {
		switch key := f.k.Private.(type) {
		case []byte:
			m := hmac.New(sha256.New, key)
			m.Write(input)
			m.Sum(nil)
			return nil
		case crypto.Signer:
			var err error
			digest := sha256.Sum256(input)
			switch f.k.Alg {
			case access.EdDSA:
				_, err = key.Sign(rand.Reader, input, crypto.Hash(0))
			case access.PS256:
				_, err = key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
			default:
				_, err = key.Sign(rand.Reader, digest[:], crypto.SHA256)
			}
			return err
		}
		return errors.New("bench: unknown key")
	}
}

// refreshRounds are the rounds of one measurement.
type refreshRounds struct {
	f    *fleet
	sign func(int) error

	took   [4][]float64 // trivial, raw, kit, sign
	ratios []float64    // of medians

	// Raw, kit, raw and a signature: calls a second, processor time of this
	// process and of the server, the server's time for a script.
	rates, server               [3][]float64
	cpu                         [3][2][]float64
	shares, signedShares, trips []float64
	serverRatios                []float64
}

// sequential calls one after the other, all kinds in turn, on one core. On two
// the scheduler wakes a second thread with every reply, which finds nothing to
// do and keeps the server, or who has the reply, from its core meanwhile.
func (m *refreshRounds) sequential(calls int) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var took [4][]float64
	for n := range calls {
		for i, op := range []func(int) error{m.f.trivial, m.f.raw, m.f.refresh, m.sign} {
			start := time.Now()
			if err := op(n % clients); err != nil {
				return err
			}
			took[i] = append(took[i], float64(time.Since(start)))
		}
	}
	for i := range took {
		m.took[i] = append(m.took[i], took[i]...)
	}
	m.ratios = append(m.ratios, median(took[2])/(median(took[0])+median(took[3])))
	return nil
}

// parallel lets 64 clients call as fast as they can, one kind after the other,
// and asks the server for its own part: its time for one script, and the
// number of commands. Those of the feed are not counted.
func (m *refreshRounds) parallel(slice time.Duration) error {
	signed := func(i int) error { return errors.Join(m.f.raw(i), m.sign(i)) }
	var calls, perCall [3]float64
	for i, op := range []func(int) error{m.f.raw, m.f.refresh, signed} {
		if err := m.f.r.Reset(); err != nil {
			return err
		}
		own, theirs, err := m.f.r.CPU()
		if err != nil {
			return err
		}
		n, took, err := rate(slice, op)
		if err != nil {
			return err
		}
		own2, theirs2, err := m.f.r.CPU()
		if err != nil {
			return err
		}
		stats, err := m.f.r.Commands()
		if err != nil {
			return err
		}
		calls[i], perCall[i] = float64(n)/took.Seconds(), stats["evalsha"].PerCall()
		m.cpu[i][0] = append(m.cpu[i][0], (own2-own)/float64(n))
		m.cpu[i][1] = append(m.cpu[i][1], (theirs2-theirs)/float64(n))
		m.rates[i] = append(m.rates[i], calls[i])
		m.server[i] = append(m.server[i], perCall[i])
		if i == 1 {
			m.trips = append(m.trips, float64(requests(stats))/float64(n))
		}
	}
	m.shares = append(m.shares, calls[1]/calls[0])
	m.signedShares = append(m.signedShares, calls[1]/calls[2])
	m.serverRatios = append(m.serverRatios, perCall[1]/perCall[0])
	return nil
}

func (m *refreshRounds) result(alg access.Algorithm) *Refresh {
	return &Refresh{
		Alg:     alg,
		Trivial: latency(m.took[0]), Raw: latency(m.took[1]), Kit: latency(m.took[2]), Sign: latency(m.took[3]), Ratio: median(m.ratios),
		RawRate: median(m.rates[0]), KitRate: median(m.rates[1]), Share: median(m.shares),
		SignedRate: median(m.rates[2]), SignedShare: median(m.signedShares),
		RawServer: median(m.server[0]), KitServer: median(m.server[1]), ServerRatio: median(m.serverRatios),
		RawCPU: [2]float64{median(m.cpu[0][0]), median(m.cpu[0][1])},
		KitCPU: [2]float64{median(m.cpu[1][0]), median(m.cpu[1][1])},
		Trips:  hundredths(percentile(m.trips, 1)),
	}
}

// rate lets 64 clients call for so long.
func rate(d time.Duration, op func(int) error) (n int64, took time.Duration, err error) {
	start := time.Now()
	return crowd(op, func() bool { return time.Since(start) < d })
}

// share lets 64 clients make n calls together.
func share(n int, op func(int) error) (int64, time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	return crowd(op, func() bool { return left.Add(-1) >= 0 })
}

// crowd lets 64 clients call for as long as they are told to go on.
func crowd(op func(int) error, on func() bool) (n int64, took time.Duration, err error) {
	var calls atomic.Int64
	var errs [clients]error
	var all sync.WaitGroup
	start := time.Now()
	for i := range clients {
		all.Go(func() {
			n := int64(0)
			for errs[i] == nil && on() {
				errs[i] = op(i)
				n++
			}
			calls.Add(n)
		})
	}
	all.Wait()
	return calls.Load(), time.Since(start), errors.Join(errs[:]...)
}

// hundredths leaves out the feed's one script a second, which is counted with
// thousands of refreshes.
func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// requests counts the commands that work on sessions came to: not those of the
// feed, of these statistics and of new connections.
func requests(stats map[string]Command) (n int64) {
	for name, c := range stats {
		switch name {
		case "evalsha", "eval", "hgetall", "wait":
			n += c.Calls
		}
	}
	return n
}

// A Stampede is 100 requests of one session at once, whose access token has
// expired, on one instance.
type Stampede struct {
	Distance    time.Duration // to the store and back
	HTTP        bool          // over 100 connections to a server; else its handler is called
	Trips       float64       // median of the rounds
	Most        float64
	Rounds      int
	Parallelism int
}

// Stampedes are the kinds that are measured.
var Stampedes = []Stampede{{}, {Distance: 5 * time.Millisecond}, {HTTP: true}, {HTTP: true, Distance: 5 * time.Millisecond}}

// Measure counts the round trips.
func (kind Stampede) Measure(s Scale) (res *Stampede, err error) {
	err = WithRedis(func(r *Redis) error {
		env, err := NewEnv(access.EdDSA)
		if err != nil {
			return err
		}
		if kind.Distance > 0 {
			r.Client.AddHook(delay(kind.Distance))
		}
		store, err := r.Store()
		if err != nil {
			return err
		}
		k, err := env.NewKit(store, 0, nil)
		if err != nil {
			return err
		}
		defer k.Sessions.Close()
		ask := asked(k.Auth.RequireAuth(nothing))
		if kind.HTTP {
			server := httptest.NewServer(k.Auth.RequireAuth(nothing))
			defer server.Close()
			transport := &http.Transport{MaxIdleConnsPerHost: parallelism}
			defer transport.CloseIdleConnections()
			ask = sent(server.URL, transport)
		}
		// The first round makes the connections, and the script known.
		if _, err := stampede(r, k, ask); err != nil {
			return err
		}
		var trips []float64
		for range 3 * s.Rounds {
			n, err := stampede(r, k, ask)
			if err != nil {
				return err
			}
			trips = append(trips, float64(n))
		}
		kind.Trips, kind.Most, kind.Rounds, kind.Parallelism = median(trips), percentile(trips, 1), len(trips), parallelism
		res = &kind
		return nil
	})
	return res, err
}

const parallelism = 100

// asked calls the handler and returns the status.
func asked(h http.Handler) func(cookies string) (int, error) {
	return func(cookies string) (int, error) {
		out := &sink{header: make(http.Header), status: http.StatusOK}
		h.ServeHTTP(out, request("Cookie", cookies))
		return out.status, nil
	}
}

// sent is asked over a socket.
func sent(url string, client http.RoundTripper) func(cookies string) (int, error) {
	return func(cookies string) (int, error) {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("User-Agent", agent)
		req.Header.Set("Cookie", cookies)
		res, err := client.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
}

func stampede(r *Redis, k *Kit, ask func(cookies string) (int, error)) (trips int64, err error) {
	cookies, err := k.browser()
	if err != nil {
		return 0, err
	}
	cookies = strings.Replace(cookies, "\x00", "expired", 1)
	if err := r.Reset(); err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	var errs [parallelism]error
	gate := make(chan struct{})
	for i := range parallelism {
		all.Go(func() {
			<-gate
			status, err := ask(cookies)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("bench: one of %d parallel requests was refused with %d", parallelism, status)
			}
			errs[i] = err
		})
	}
	close(gate)
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return 0, err
	}
	stats, err := r.Commands()
	return requests(stats), err
}

// delay makes the server further away.
type delay time.Duration

// DialHook implements redis.Hook.
func (d delay) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (d delay) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		d.before(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (d delay) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		d.before(cmds[0])
		return next(ctx, cmds)
	}
}

func (d delay) before(cmd redis.Cmder) {
	if cmd.Name() == "evalsha" {
		time.Sleep(time.Duration(d))
	}
}
