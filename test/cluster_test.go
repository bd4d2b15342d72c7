package test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// clusterNodes is how many nodes the clusters of these tests have.
const clusterNodes = 3

// cluster is nodes that are processes of this machine, each with an address of its own that survives its restarts.
type cluster struct {
	t     *testing.T
	name  string
	nodes []*node
	wait  time.Duration // for which a publish waits for its place in the order
}

// node is one of a cluster, over all its lives.
type node struct {
	c       *cluster
	i       int
	program string // other than the program under test, if it is not empty
	args    []string
	dir     string // run dir
	store   string
	listen  string
	admin   string
	routes  string      // where the other nodes connect
	inside  *netns      // nil: the namespace of the tests
	s       *server     // its present life, or the last
	away    atomic.Bool // nobody can connect: it has been killed, stopped or cut off
}

// clustering is how a cluster is made; its zero value is the ordinary way.
type clustering struct {
	nodes  int // 3 if zero
	args   []string
	wait   time.Duration      // 2 s in an everyday run, else 5 s, if zero
	inside []*netns           // of each node
	host   func(i int) string // of each node, if it is in a namespace
	store  func(i int) string // of each node; made if nil
	build  func(i int) string // program of each node, empty for that under test
}

// clustersMade gives each cluster of this process addresses of its own. Nobody takes a port there by chance: connections to any loopback
// address are made from 127.0.0.1.
var clustersMade, hostsMade atomic.Int32

// loopbackHost is a loopback address that nobody else uses.
func loopbackHost() string { return fmt.Sprintf("127.%d.%d.1", 8+os.Getpid()%200, hostsMade.Add(1)) }

// loopbackPort is an address of a host with a port at which nothing listens. Each is given once, and is below those that the kernel gives to connections.
func loopbackPort(t testing.TB, host string) string {
	t.Helper()
	var last error
	for range 1000 {
		address := fmt.Sprintf("%s:%d", host, 12_000+(firstPort+int(portsGiven.Add(1)))%20_000)
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
		last = err
	}
	t.Fatalf("no free port on %s: %v", host, last)
	return ""
}

// freeAddr is loopbackPort of the usual host.
func freeAddr(t testing.TB) string {
	t.Helper()
	return loopbackPort(t, "127.0.0.1")
}

// firstPort is where a process begins, so that two seldom give the same port.
var (
	firstPort  = rand.IntN(20_000)
	portsGiven atomic.Int32
)

// startCluster starts the nodes of a cluster and waits until they are ready.
func startCluster(t *testing.T, o clustering) *cluster {
	t.Helper()
	c := makeCluster(t, o)
	for _, n := range c.nodes {
		n.launch()
	}
	c.ready(t, c.nodes...)
	return c
}

// makeCluster decides how nodes are to be started. A cluster of one has no port for others.
func makeCluster(t *testing.T, o clustering) *cluster {
	t.Helper()
	o.nodes = cmp.Or(o.nodes, clusterNodes)
	c := &cluster{t: t, name: fmt.Sprint("c", clustersMade.Add(1)), wait: cmp.Or(o.wait, size(2*time.Second, 5*time.Second))}
	host := loopbackHost()
	for i := range o.nodes {
		n := &node{c: c, i: i, dir: runDir(t)}
		if o.host != nil {
			n.inside = o.inside[i]
			h := o.host(i)
			n.listen, n.admin, n.routes = h+":1234", h+":1235", h+":1236"
		} else {
			n.listen, n.admin, n.routes = loopbackPort(t, host), loopbackPort(t, host), loopbackPort(t, host)
		}
		if n.store = filepath.Join(n.dir, "store"); o.store != nil {
			n.store = o.store(i)
		}
		if o.build != nil {
			n.program = o.build(i)
		}
		c.nodes = append(c.nodes, n)
	}
	var peers []string
	for _, n := range c.nodes {
		peers = append(peers, n.routes)
	}
	for _, n := range c.nodes {
		n.args = append([]string{"--listen", n.listen, "--admin", n.admin, "--cluster-name", c.name, "--cluster-node", n.name(),
			"--cluster-wait", c.wait.String(), "--store-dir", n.store, "--api-key", apiKey, "--history", "100000", "--history-ttl", "24h",
			"--recovery-max", "10000", "--outbox-max", "64MiB", "--stop-timeout", "2s", "--presence", "on", "--channel", "127.0.0.1:0"}, o.args...)
		if o.nodes > 1 {
			n.args = append(n.args, "--cluster-listen", n.routes, "--cluster-peers", strings.Join(peers, ","), "--cluster-token", "a token of these tests alone")
		}
	}
	return c
}

func (n *node) name() string { return fmt.Sprintf("n%d", n.i+1) }

// launch starts a life of the node and does not wait until it is ready.
func (n *node) launch() {
	n.s = launch(n.c.t, starting{dir: n.dir, inside: n.inside, args: n.args, program: n.program}) // it ends with the cluster, not with t
	n.s.addr = n.listen
	n.away.Store(false)
}

// ready waits until nodes can be given clients.
func (c *cluster) ready(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		deadline := time.Now().Add(2 * patience) // a node that comes back has to learn what it missed
		again := time.NewTicker(50 * time.Millisecond)
		for {
			code, why := n.readyz()
			if code == http.StatusOK {
				break
			}
			if n.s.ended() || time.Now().After(deadline) {
				again.Stop()
				t.Fatalf("%s does not become ready: %d %s", n.name(), code, why)
			}
			<-again.C
		}
		again.Stop()
	}
}

// readyz is what a balancer asks; 0 if nobody answers.
func (n *node) readyz() (code int, why string) {
	r, err := http.NewRequest(http.MethodGet, "http://"+n.admin+"/readyz", nil)
	must(n.c.t, err)
	code, why, err = n.ask(r)
	if err != nil {
		return 0, err.Error()
	}
	return code, why
}

// ask asks the node by HTTP, from where it is.
func (n *node) ask(r *http.Request) (code int, body string, err error) {
	client := http.Client{Timeout: patience / 2, Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.inside.dialContext}}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func notYet(code int, why string) error { return fmt.Errorf("readyz: got %d %s", code, why) }

// kill ends the node's process by kill -9 and waits for its end.
func (n *node) kill(t testing.TB) {
	t.Helper()
	n.away.Store(true)
	must(t, n.s.cmd.Process.Signal(syscall.SIGKILL))
	n.s.kept = true
	<-n.s.over
}

// stop ends the node as an operator does.
func (n *node) stop(t testing.TB) {
	t.Helper()
	n.away.Store(true)
	must(t, n.s.cmd.Process.Signal(syscall.SIGTERM))
	n.stopped(t)
}

// comeBack starts a further life of the node in the same store, and waits until it is ready.
func (n *node) comeBack(t testing.TB) {
	t.Helper()
	n.launch()
	n.c.ready(t, n)
}

// dialContext connects from inside a namespace.
func (n *netns) dialContext(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = n.do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// others are all nodes but this one.
func (n *node) others() []*node {
	return slices.DeleteFunc(slices.Clone(n.c.nodes), func(o *node) bool { return o == n })
}

// clusterStatus is what status --json has about the cluster, as far as these tests read it.
type clusterStatus struct {
	Name  string `json:"name"`
	Node  string `json:"node"`
	Nodes []struct {
		Name string `json:"name"`
		Up   bool   `json:"up"`
	} `json:"nodes"`
	Partitions []struct {
		Leader string `json:"leader"`
		Tip    uint64 `json:"tip"`
		Lag    uint64 `json:"lag"`
	} `json:"partitions"`
	HolesFilled uint64 `json:"holes_filled"`
	Recalls     uint64 `json:"recalls"`
	Resends     uint64 `json:"resends"`
	Ready       bool   `json:"ready"`
}

func (n *node) cluster(t testing.TB) clusterStatus {
	t.Helper()
	var st struct {
		Cluster *clusterStatus `json:"cluster"`
	}
	must(t, askControl(n.dir, "/status", &st))
	if st.Cluster == nil {
		t.Fatalf("%s: the status has no cluster", n.name())
	}
	return *st.Cluster
}

// leads is how many partitions each node leads, as this one knows.
func (n *node) leads(t testing.TB) map[string]int {
	t.Helper()
	led := map[string]int{}
	for _, p := range n.cluster(t).Partitions {
		led[p.Leader]++
	}
	return led
}

// leader is the node that leads the most partitions.
func (c *cluster) leader(t testing.TB) *node {
	t.Helper()
	led := c.up()[0].leads(t)
	return slices.MaxFunc(c.up(), func(a, b *node) int { return cmp.Compare(led[a.name()], led[b.name()]) })
}

// follower is the node that leads the fewest.
func (c *cluster) follower(t testing.TB) *node {
	t.Helper()
	led := c.up()[0].leads(t)
	return slices.MinFunc(c.up(), func(a, b *node) int { return cmp.Compare(led[a.name()], led[b.name()]) })
}

// up are the nodes whose process runs.
func (c *cluster) up() []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n.s.ended() })
}
