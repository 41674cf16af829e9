// Package redistest runs real redis-server processes for tests: on free
// loopback ports, ended by pid when the test ends. It knows no client library.
package redistest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RequireVariable is set where a missing server is an error and not a reason
// to skip.
const RequireVariable = "SESSIONKIT_REQUIRE_SERVERS"

// startTimeout bounds the wait for a server to answer.
const startTimeout = 15 * time.Second

// Server is one redis-server process.
type Server struct {
	// Addr is its address, as clients take it.
	Addr string

	t     testing.TB
	bin   string
	dir   string
	first []string // arguments before the port
	args  []string
	tells bool            // what it says is shown when the test fails
	said  strings.Builder // by all of its processes; to be read after Kill

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a redis-server with the given extra arguments, without
// persistence. It skips the test where there is none to run, and fails it
// under RequireVariable.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := prepare(t, args...)
	s.launch()
	return s
}

func prepare(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, bin: find(t, "redis-server"), dir: t.TempDir()}
	s.args = append([]string{"--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", s.dir, "--loglevel", "warning"}, args...)
	return s
}

func find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		LeaveOut(t, name)
	}
	return path
}

// LeaveOut skips a test for want of a program, and fails it under RequireVariable.
func LeaveOut(t testing.TB, name string) {
	t.Helper()
	if os.Getenv(RequireVariable) != "" {
		t.Fatalf("%s is not installed, and %s demands it", name, RequireVariable)
	}
	leftOut.add(name)
	t.Skipf("%s is not installed: this test needs a real one", name)
}

// atOnce is how many tests run side by side. They wait for their servers most of
// the time, so they are more than there are processors.
const atOnce = 12

// Main runs the tests of a package from its TestMain, many side by side unless
// the command line says how many, and says in one line on standard error what
// was left out for want of a server.
func Main(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err) // package testing has had this flag for ever
		}
	}
	code := m.Run()
	if line := LeftOut(); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	return code
}

// LeftOut says in one line which tests of this process were skipped for want of
// a program. It is empty if none was.
func LeftOut() string { return leftOut.line() }

var leftOut skips

type skips struct {
	mu    sync.Mutex
	tests int
	names []string // of programs that are not installed
}

func (s *skips) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tests++
	if !slices.Contains(s.names, name) {
		s.names = append(s.names, name)
	}
}

func (s *skips) line() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tests == 0 {
		return ""
	}
	return fmt.Sprintf("left out: %d tests that need %s, which is not installed", s.tests, strings.Join(s.names, " and "))
}

// launch starts the process on a free port; somebody else may take the port
// in between, so it tries again.
func (s *Server) launch() {
	s.t.Helper()
	var err error
	for range 5 {
		port := freePort(s.t)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = s.run(); err == nil {
			s.t.Cleanup(func() {
				s.Kill()
				if s.tells && s.t.Failed() {
					s.t.Logf("%s said:\n%s", s.Addr, s.said.String())
				}
			})
			return
		}
	}
	s.t.Fatalf("redis-server does not start: %v", err)
}

// run starts the process at Addr and waits until it answers.
func (s *Server) run() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append(append(append([]string(nil), s.first...), "--port", port), s.args...)
	cmd := exec.Command(s.bin, args...)
	cmd.Stdout, cmd.Stderr = &s.said, &s.said
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if _, err = s.Do("PING"); err == nil || strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil
		}
		select {
		case <-done:
			return errors.New(s.said.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.Kill()
	return fmt.Errorf("no answer within %v: %w", startTimeout, err)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
	default:
		s.cmd.Process.Signal(sig)
	}
}

// Kill ends the process as a power cut would, and waits for it.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	<-done
}

// Pause stops the process in its tracks; its sockets stay open and silent.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Restart runs the server again at the same address, after Kill.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Host and Port are the two halves of Addr.
func (s *Server) Host() string { h, _, _ := net.SplitHostPort(s.Addr); return h }

// Port is the port of Addr.
func (s *Server) Port() string { _, p, _ := net.SplitHostPort(s.Addr); return p }

// Must is Do that fails the test on an error.
func (s *Server) Must(args ...string) string {
	s.t.Helper()
	reply, err := s.Do(args...)
	if err != nil {
		s.t.Fatalf("%s: %v", args[0], err)
	}
	return reply
}

// Await polls until ok is true; what names it when it is not in time.
func Await(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Do sends one command on a connection of its own and returns the reply as
// text; the elements of an array are put on lines of their own. An error
// reply is an error.
func (s *Server) Do(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 {
		return "", errors.Join(err, errors.New("redistest: short reply"))
	}
	kind, text := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", errors.New(text)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return "", err
	}
	if kind == '$' {
		buf := make([]byte, n+2)
		_, err := io.ReadFull(r, buf)
		return string(buf[:n]), err
	}
	parts := make([]string, n)
	for i := range parts {
		if parts[i], err = readReply(r); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, "\n"), nil
}
