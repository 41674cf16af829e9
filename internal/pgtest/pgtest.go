// Package pgtest runs real PostgreSQL servers for tests: on free loopback ports,
// ended by pid when the test ends. It knows no client library.
package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessionkit/sessionkit/internal/redistest"
)

const (
	// startTimeout bounds the wait for a server to answer.
	startTimeout = 30 * time.Second
	// User is the name of the superuser, who needs no password.
	User = "app"
)

// Server is one PostgreSQL server with its processes.
type Server struct {
	// Addr is where it listens.
	Addr string

	t        testing.TB
	bin      string
	dir      string
	settings []string
	as       *syscall.Credential // nil: whoever runs the tests

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a server with an empty database and the given settings, each as
// name=value. It skips the test where there is none to run, and fails it under
// redistest.RequireVariable.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := prepare(t, settings)
	// Neither writes to a disk: the death of a process loses nothing of what the
	// system has.
	s.tool("initdb", "-D", s.data(), "-U", User, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.launch()
	return s
}

// StartStandby runs a server that follows this one.
func (s *Server) StartStandby(settings ...string) *Server {
	s.t.Helper()
	standby := prepare(s.t, settings)
	host, port, _ := net.SplitHostPort(s.Addr)
	standby.tool("pg_basebackup", "-D", standby.data(), "-h", host, "-p", port, "-U", User, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	standby.launch()
	return standby
}

func prepare(t testing.TB, settings []string) *Server {
	t.Helper()
	s := &Server{t: t, bin: find(t), settings: append([]string{"fsync=off", "unix_socket_directories=", "max_connections=200"}, settings...)}
	var err error
	// Not t.TempDir, whose parent another user cannot enter.
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	if os.Getuid() == 0 { // whom a server refuses
		s.as = somebody(t)
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// find returns the folder of the server's programs, which Debian keeps out of the
// path.
func find(t testing.TB) string {
	t.Helper()
	var names []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			names = append(names, path)
		}
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.Reverse(installed)
	for _, path := range append(names, installed...) {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir
		}
	}
	redistest.LeaveOut(t, "postgres")
	return ""
}

// somebody is a user who is not root.
func somebody(t testing.TB) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err1 := strconv.Atoi(u.Uid)
			gid, err2 := strconv.Atoi(u.Gid)
			if err := errors.Join(err1, err2); err == nil {
				return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			}
		}
	}
	t.Fatal("pgtest: there is no user postgres or nobody to run a server as")
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

func (s *Server) tool(name string, args ...string) string {
	s.t.Helper()
	out, err := s.command(name, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// launch starts the server on a free port; somebody else may take the port in
// between, so it tries again.
func (s *Server) launch() {
	s.t.Helper()
	var err error
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		s.Addr = l.Addr().String()
		l.Close()
		if err = s.run(); err == nil {
			s.t.Cleanup(s.Kill)
			return
		}
	}
	s.t.Fatalf("postgres does not start: %v", err)
}

// A screen collects what the server says, and knows when it is ready.
type screen struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{}
	once  sync.Once
}

func (w *screen) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	if bytes.Contains(w.text.Bytes(), []byte("ready to accept")) {
		w.once.Do(func() { close(w.ready) })
	}
	return len(b), nil
}

func (w *screen) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (s *Server) run() error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := []string{"-D", s.data(), "-c", "listen_addresses=" + host, "-c", "port=" + port}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	out := &screen{ready: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	select {
	case <-out.ready:
		return nil
	case <-done:
		return errors.New(out.String())
	case <-time.After(startTimeout):
		s.Kill()
		return fmt.Errorf("not ready within %v: %s", startTimeout, out)
	}
}

// pids are those of the server and its children, the server's first.
func (s *Server) pids() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return nil
	default:
	}
	pid := s.cmd.Process.Pid
	all := []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for text := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(text); err == nil {
			all = append(all, child)
		}
	}
	return all
}

func (s *Server) signal(sig syscall.Signal) {
	for _, pid := range s.pids() {
		syscall.Kill(pid, sig)
	}
}

// Kill ends all processes as a power cut would, and waits for the first.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	<-done
}

// Pause stops all processes in their tracks; their sockets stay open and silent.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets paused processes go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Restart runs the server again at the same address, after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	var err error
	// What the dead processes shared may be in use for another moment.
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if err = s.run(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("postgres does not start again: %v", err)
}

// URL is how clients reach its only database, as the superuser.
func (s *Server) URL() string { return s.URLOf(User) }

// URLOf is how clients reach its only database as a user.
func (s *Server) URLOf(name string) string {
	return "postgres://" + name + "@" + s.Addr + "/postgres?sslmode=disable"
}

// Must executes SQL as the superuser and returns what is selected, without
// decoration. It fails the test on an error.
func (s *Server) Must(sql string) string {
	s.t.Helper()
	return s.tool("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, s.URL())
}
