package redistest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Slots is the number of hash slots of a Cluster.
const Slots = 16384

// Cluster is a Redis Cluster.
type Cluster struct {
	// Nodes are all servers, the first primaries first.
	Nodes []*Server

	t testing.TB
}

// StartCluster runs primaries with the given number of replicas each, and
// waits until all nodes agree that the cluster works.
func StartCluster(t testing.TB, primaries, replicasPer int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"}, args...)
	for range primaries * (1 + replicasPer) {
		c.Nodes = append(c.Nodes, Start(t, append(args, "--cluster-port", strconv.Itoa(freePort(t)))...))
	}
	for i, n := range c.Nodes {
		n.Must("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, n := range c.Nodes[1:] {
		first := c.Nodes[0]
		first.Must("CLUSTER", "MEET", n.Host(), n.Port(), busPort(n))
	}
	for i := range primaries {
		c.Nodes[i].Must("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(Slots*i/primaries), strconv.Itoa(Slots*(i+1)/primaries-1))
	}
	Await(t, 30*time.Second, "all nodes know each other", func() bool {
		for _, n := range c.Nodes {
			nodes, err := n.Do("CLUSTER", "NODES")
			if err != nil || strings.Count(nodes, "connected") != len(c.Nodes) || strings.Contains(nodes, "handshake") {
				return false
			}
		}
		return true
	})
	for i, n := range c.Nodes[primaries:] {
		n.Must("CLUSTER", "REPLICATE", c.Nodes[i%primaries].Must("CLUSTER", "MYID"))
	}
	c.AwaitReady()
	return c
}

func busPort(s *Server) string {
	for i, a := range s.args {
		if a == "--cluster-port" {
			return s.args[i+1]
		}
	}
	return ""
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

// AwaitReady waits until every node that runs says that the cluster works, and
// every replica is linked to its primary.
func (c *Cluster) AwaitReady() {
	c.t.Helper()
	Await(c.t, 60*time.Second, "the cluster works", func() bool {
		for _, n := range c.Nodes {
			info, err := n.Do("CLUSTER", "INFO")
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:"+strconv.Itoa(Slots)) {
				return false
			}
			role, err := n.Do("INFO", "replication")
			if err != nil || strings.Contains(role, "role:slave") && !strings.Contains(role, "master_link_status:up") {
				return false
			}
		}
		return true
	})
}

// Primaries returns the nodes that are primaries now.
func (c *Cluster) Primaries() []*Server {
	var list []*Server
	for _, n := range c.Nodes {
		if info, err := n.Do("INFO", "replication"); err == nil && strings.Contains(info, "role:master") {
			list = append(list, n)
		}
	}
	return list
}

// MoveSlots moves live slots from one primary to another, key by key, as
// redis-cli does.
func (c *Cluster) MoveSlots(from, to *Server, slots []int) {
	c.t.Helper()
	fromID, toID := from.Must("CLUSTER", "MYID"), to.Must("CLUSTER", "MYID")
	for _, slot := range slots {
		n := strconv.Itoa(slot)
		to.Must("CLUSTER", "SETSLOT", n, "IMPORTING", fromID)
		from.Must("CLUSTER", "SETSLOT", n, "MIGRATING", toID)
		for {
			keys := from.Must("CLUSTER", "GETKEYSINSLOT", n, "10")
			if keys == "" {
				break
			}
			from.Must(append([]string{"MIGRATE", to.Host(), to.Port(), "", "0", "5000", "KEYS"}, strings.Split(keys, "\n")...)...)
		}
		to.Must("CLUSTER", "SETSLOT", n, "NODE", toID)
		from.Must("CLUSTER", "SETSLOT", n, "NODE", toID)
	}
}

// SlotsOf returns up to n slots of the node that hold keys.
func (c *Cluster) SlotsOf(node *Server, n int) []int {
	c.t.Helper()
	var slots []int
	for _, key := range strings.Fields(node.Must("KEYS", "*")) {
		slot, err := strconv.Atoi(node.Must("CLUSTER", "KEYSLOT", key))
		if err != nil {
			c.t.Fatal(err)
		}
		if len(slots) < n && !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}
