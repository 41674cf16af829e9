package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sentinel is a primary with replicas, watched by sentinels that promote a
// replica when the primary has been silent for a second.
type Sentinel struct {
	MasterName string
	// Addrs are the sentinels.
	Addrs []string

	t         testing.TB
	servers   []*Server
	sentinels []*Server
}

// StartSentinel runs one primary, replicas and sentinels, and waits until all
// of them know each other and the replicas are in sync.
func StartSentinel(t testing.TB, replicas, sentinels int, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{MasterName: "sessions", t: t}
	// A primary that comes back must neither be empty nor accept writes before
	// the sentinels have made it a replica: docs/operations.md.
	// What a process has written survives its death without any fsync, and one on a
	// busy disk would stop the server for longer than the sentinels wait.
	args = append([]string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
		"--appendonly", "yes", "--appendfsync", "no", "--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"}, args...)
	primary := Start(t, args...)
	s.servers = append(s.servers, primary)
	for range replicas {
		s.servers = append(s.servers, Start(t, append(args, "--replicaof", primary.Host()+" "+primary.Port())...))
	}
	for range sentinels {
		s.sentinels = append(s.sentinels, s.startSentinel(primary))
		s.Addrs = append(s.Addrs, s.sentinels[len(s.sentinels)-1].Addr)
	}
	s.AwaitReady(replicas)
	return s
}

func (s *Sentinel) startSentinel(primary *Server) *Server {
	w := prepare(s.t)
	w.tells = true
	conf := filepath.Join(w.dir, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 3000\nsentinel parallel-syncs %[1]s 2\n",
		s.MasterName, primary.Host(), primary.Port())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	w.first = []string{conf, "--sentinel"}
	w.args = []string{"--bind", "127.0.0.1", "--dir", w.dir, "--loglevel", "warning"}
	w.launch()
	return w
}

// AwaitReady waits until the primary has so many replicas in sync and all
// sentinels know all of them and each other.
func (s *Sentinel) AwaitReady(replicas int) {
	s.t.Helper()
	Await(s.t, 60*time.Second, "replicas in sync and sentinels agreed", func() bool {
		p := s.Primary()
		if p == nil {
			return false
		}
		info, err := p.Do("INFO", "replication")
		if err != nil || strings.Count(info, "state=online") != replicas {
			return false
		}
		for _, w := range s.sentinels {
			state, err := w.Do("SENTINEL", "MASTER", s.MasterName)
			if err != nil || member(state, "flags") != "master" || member(state, "num-slaves") < fmt.Sprint(replicas) || member(state, "num-other-sentinels") != fmt.Sprint(len(s.sentinels)-1) {
				return false
			}
			addr, err := w.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.MasterName)
			if err != nil || strings.ReplaceAll(addr, "\n", ":") != p.Addr {
				return false
			}
		}
		return true
	})
}

// member returns a value of a reply that is a list of names and values.
func member(reply, name string) string {
	lines := strings.Split(reply, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		if lines[i] == name {
			return lines[i+1]
		}
	}
	return ""
}

// Primary returns the server that the first sentinel takes for the primary, if
// that server agrees.
func (s *Sentinel) Primary() *Server {
	reply, err := s.sentinels[0].Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.MasterName)
	if err != nil {
		return nil
	}
	host, port, _ := strings.Cut(reply, "\n")
	for _, server := range s.servers {
		if server.Addr == net.JoinHostPort(host, port) {
			if info, err := server.Do("INFO", "replication"); err == nil && strings.Contains(info, "role:master") {
				return server
			}
		}
	}
	return nil
}

// Followed reports whether all sentinels take p for the primary, and all other
// servers but old replicate it.
func (s *Sentinel) Followed(p, old *Server) bool {
	for _, w := range s.sentinels {
		if addr, err := w.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.MasterName); err != nil || strings.ReplaceAll(addr, "\n", ":") != p.Addr {
			return false
		}
	}
	for _, server := range s.servers {
		if server == p || server == old {
			continue
		}
		info, err := server.Do("INFO", "replication")
		if err != nil || !strings.Contains(info, "master_port:"+p.Port()) || !strings.Contains(info, "master_link_status:up") {
			return false
		}
	}
	return true
}

// Failover kills the primary, waits until another server has taken its place
// for everybody, and starts the old one again as a replica. Earlier it would
// find servers that still follow it, and be a second primary that accepts and
// confirms writes, for as long as it takes the sentinels to demote it.
func (s *Sentinel) Failover() {
	s.t.Helper()
	old := s.Primary()
	if old == nil {
		s.t.Fatal("there is no primary")
	}
	old.Kill()
	Await(s.t, 60*time.Second, "a replica is promoted", func() bool {
		p := s.Primary()
		return p != nil && p != old && s.Followed(p, old)
	})
	// It comes back as what it was, and is turned into a replica.
	old.Restart()
	s.AwaitReady(len(s.servers) - 1)
}
