package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
)

// A Profile is where time and memory of an operation go.
type Profile struct {
	CPU    []Function // by time in the function itself
	Alloc  []Function // by bytes
	Within map[string]float64
}

// A Function is one line of a profile.
type Function struct {
	Name      string
	Flat, Cum float64 // percent
}

// TakeProfile runs op n times under the profiler. It needs the Go toolchain,
// with which this program was started.
func TakeProfile(op func() error) (p *Profile, err error) {
	dir, err := os.MkdirTemp("", "sessionkit-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cpu, before, after := filepath.Join(dir, "cpu"), filepath.Join(dir, "before"), filepath.Join(dir, "after")
	if err := heap(before); err != nil {
		return nil, err
	}
	f, err := os.Create(cpu)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	err = op()
	pprof.StopCPUProfile()
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = heap(after)
	}
	if err != nil {
		return nil, err
	}
	p = &Profile{Within: make(map[string]float64)}
	if p.CPU, err = top(exe, "-nodecount=12", cpu); err != nil {
		return nil, err
	}
	all, err := top(exe, "-cum", "-nodecount=2000", "-nodefraction=0", cpu)
	if err != nil {
		return nil, err
	}
	for _, fn := range all {
		p.Within[fn.Name] = fn.Cum
	}
	p.Alloc, err = top(exe, "-nodecount=12", "-sample_index=alloc_space", "-base="+before, after)
	return p, err
}

func heap(path string) error {
	runtime.GC()
	var b bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&b, 0); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// top reads the table of go tool pprof.
func top(exe string, args ...string) (all []Function, err error) {
	profile := args[len(args)-1]
	args = append(append([]string{"tool", "pprof", "-top"}, args[:len(args)-1]...), exe, profile)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("bench: go tool pprof: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasSuffix(fields[1], "%") || !strings.HasSuffix(fields[4], "%") {
			continue
		}
		flat, err1 := strconv.ParseFloat(strings.TrimSuffix(fields[1], "%"), 64)
		cum, err2 := strconv.ParseFloat(strings.TrimSuffix(fields[4], "%"), 64)
		if err1 == nil && err2 == nil {
			all = append(all, Function{strings.TrimSuffix(strings.Join(fields[5:], " "), " (inline)"), flat, cum})
		}
	}
	return all, nil
}

// ProfileHot profiles requests with a token that was seen before, ProfileRefresh
// refreshes over Redis by 64 clients.
func ProfileHot(s Scale) (*Profile, error) {
	env, err := NewEnv(Algorithms[0])
	if err != nil {
		return nil, err
	}
	k, err := env.NewKit(nil, 0, nil)
	if err != nil {
		return nil, err
	}
	defer k.Sessions.Close()
	ops, err := hotOps(k, 1)
	if err != nil {
		return nil, err
	}
	return TakeProfile(func() error {
		_, err := Measure(ops[3:], 1, 3*s.Rounds, s.Slice)
		return err
	})
}

// ProfileRefresh: see ProfileHot.
func ProfileRefresh(s Scale) (p *Profile, err error) {
	err = WithRedis(func(r *Redis) error {
		f, end, err := fleetOn(r, Algorithms[0])
		if err != nil {
			return err
		}
		defer end()
		p, err = TakeProfile(func() error {
			_, _, err := rate(3*s.Parallel, f.refresh)
			return err
		})
		return err
	})
	return p, err
}
