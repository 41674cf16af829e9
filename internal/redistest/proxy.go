package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Fault is what a Proxy does to one command.
type Fault int

const (
	// Pass leaves the command alone.
	Pass Fault = iota
	// Refuse closes the connection before the server sees the command.
	Refuse
	// Cut lets the server execute the command and closes the connection
	// instead of passing on the reply.
	Cut
	// Swallow lets the server execute the command; its reply never comes.
	Swallow
	// Delay holds the reply back for Proxy.Latency.
	Delay
	// Duplicate has the server execute the command twice, as a client that
	// retries does, and passes on the second reply.
	Duplicate
	// Hold keeps the command from the server until Proxy.Release, whatever
	// becomes of the client meanwhile, as a network does that is repaired.
	Hold
)

// String names the fault in the names of tests.
func (f Fault) String() string {
	return [...]string{"pass", "refuse", "cut", "swallow", "delay", "duplicate", "hold"}[f]
}

// A Proxy stands between a client that speaks RESP 2 and a server, and does
// harm to chosen commands.
type Proxy struct {
	// Addr is where clients connect.
	Addr string
	// Latency is what Delay waits.
	Latency time.Duration

	target   string
	listener net.Listener

	mu    sync.Mutex
	plan  func(command []string) Fault
	held  chan struct{} // closed when what is held may go on
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// NewProxy starts a proxy before a server. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), Latency: 50 * time.Millisecond, target: target, listener: l, held: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// SetPlan chooses what happens to each command from now on. plan is called for
// one command at a time. nil passes everything.
func (p *Proxy) SetPlan(plan func(command []string) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// Release lets the server have what was held until now.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.held)
	p.held = make(chan struct{})
}

func (p *Proxy) holding() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *Proxy) fault(command []string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plan == nil {
		return Pass
	}
	return p.plan(command)
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.track(c) {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.conns = nil
	close(p.held)
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.track(server) {
		return
	}
	defer server.Close()
	in, out := bufio.NewReader(client), bufio.NewReader(server)
	for {
		raw, command, err := readCommand(in)
		if err != nil {
			return
		}
		fault := p.fault(command)
		if fault == Refuse {
			return
		}
		if fault == Hold {
			<-p.holding()
		}
		times := 1
		if fault == Duplicate {
			times = 2
		}
		var reply []byte
		for range times {
			if _, err := server.Write(raw); err != nil {
				return
			}
			if reply, err = copyReply(out); err != nil {
				return
			}
		}
		switch fault {
		case Cut:
			return
		case Swallow:
			continue
		case Delay:
			time.Sleep(p.Latency)
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// readCommand reads one array of bulk strings.
func readCommand(r *bufio.Reader) (raw []byte, command []string, err error) {
	var b bytes.Buffer
	n, err := readCount(r, &b, '*')
	if err != nil {
		return nil, nil, err
	}
	for range n {
		size, err := readCount(r, &b, '$')
		if err != nil {
			return nil, nil, err
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(r, arg); err != nil {
			return nil, nil, err
		}
		b.Write(arg)
		command = append(command, string(arg[:size]))
	}
	return b.Bytes(), command, nil
}

func readCount(r *bufio.Reader, b *bytes.Buffer, kind byte) (int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("redistest: got %q, want %q", line[0], kind)
	}
	b.Write(line)
	return strconv.Atoi(strings.TrimRight(string(line[1:]), "\r\n"))
}

// copyReply reads one RESP 2 reply.
func copyReply(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(strings.TrimRight(string(line[1:]), "\r\n"))
	switch line[0] {
	case '$':
		if n < 0 {
			return line, nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(r, body)
		return append(line, body...), err
	case '*':
		for range n {
			part, err := copyReply(r)
			if err != nil {
				return nil, err
			}
			line = append(line, part...)
		}
	}
	return line, nil
}
