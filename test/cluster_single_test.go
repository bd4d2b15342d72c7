package test

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// One node with a store is a cluster of one: no other node, no port, but what was accepted survives it.

func TestFaultOneNodeWithAStoreKeepsHistoryAndEpochOverAKill(t *testing.T) {
	fault(t)
	c := startCluster(t, clustering{nodes: 1})
	n := c.nodes[0]
	p := c.startPlay(t, playing{})
	for range size(2, 10) {
		n.kill(t)
		n.comeBack(t) // members want the same epoch, and all that they missed
		p.goOn()
	}
	n.stop(t)
	n.comeBack(t)
	p.goOn()
	p.finish()
	p.resumed(3 * len(p.groups))
}

// What a node is started with must be what its store was made with: anything else would read another order out of it.
func TestAStoreOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clustering{nodes: 1})
	n := c.nodes[0]
	n.stop(t)
	for what, args := range map[string][]string{
		"another name":                 {"--cluster-name", "another"},
		"another number of partitions": {"--cluster-name", c.name, "--cluster-partitions", "4"},
	} {
		r := run(append([]string{"start", "--run-dir", n.dir, "--listen", n.listen, "--store-dir", n.store}, args...)...)
		if r.exit != 78 || !strings.Contains(r.all(), "--"+strings.TrimPrefix(args[len(args)-2], "--")) && !strings.Contains(r.all(), n.store) {
			t.Errorf("%s: got exit %d with %s, want 78 and what to do about %s", what, r.exit, r.all(), n.store)
		}
	}
	n.comeBack(t) // and what was refused has left the store as it was
}

func TestOptionsOfAClusterThatMakeNoSenseAreRefusedWithTheMend(t *testing.T) {
	t.Parallel()
	store := filepath.Join(runDir(t), "store")
	three := "127.0.0.1:6001,127.0.0.1:6002,127.0.0.1:6003"
	node := func(args ...string) []string {
		return append([]string{"--cluster-name", "x", "--store-dir", store}, args...)
	}
	for what, c := range map[string]struct {
		args  []string
		names string // the option that has to be changed
	}{
		"a listener without a name":         {[]string{"--cluster-listen", "127.0.0.1:6001"}, "--cluster-name"},
		"peers without a name":              {[]string{"--cluster-peers", three}, "--cluster-name"},
		"a token without a name":            {[]string{"--cluster-token", "x"}, "--cluster-name"},
		"a store without a name":            {[]string{"--store-dir", store}, "--cluster-name"},
		"a name that is none":               {[]string{"--cluster-name", "a b", "--store-dir", store}, "--cluster-name"},
		"no store":                          {[]string{"--cluster-name", "x"}, "--store-dir"},
		"peers without a listener":          {node("--cluster-peers", three), "--cluster-listen"},
		"two nodes":                         {node("--cluster-listen", "127.0.0.1:6001", "--cluster-peers", "127.0.0.1:6001,127.0.0.1:6002"), "--cluster-replicas"},
		"an even number of replicas":        {node("--cluster-listen", "127.0.0.1:6001", "--cluster-peers", three, "--cluster-replicas", "2"), "--cluster-replicas"},
		"nobody is asked for a token":       {node("--cluster-listen", "0.0.0.0:6001", "--cluster-peers", "10.0.0.1:6001,10.0.0.2:6001,10.0.0.3:6001"), "--cluster-token"},
		"a certificate without a key":       {node("--cluster-listen", "127.0.0.1:6001", "--cluster-peers", three, "--cluster-tls-cert", "cert.pem"), "--cluster-tls-key"},
		"NATS of others and a listener":     {[]string{"--cluster-name", "x", "--cluster-nats", "nats://127.0.0.1:4222", "--cluster-listen", "127.0.0.1:6001"}, "--cluster-nats"},
		"NATS of others and a store":        {node("--cluster-nats", "nats://127.0.0.1:4222"), "--cluster-nats"},
		"no partitions":                     {node("--cluster-partitions", "0"), "--cluster-partitions"},
		"too many partitions":               {node("--cluster-partitions", "257"), "--cluster-partitions"},
		"a wait that is too short":          {node("--cluster-wait", "10ms"), "--cluster-wait"},
		"a store that is too small":         {node("--store-max", "1MiB"), "--store-max"},
		"a way to sync that does not exist": {node("--cluster-sync", "sometimes"), "--cluster-sync"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := run(append([]string{"start", "--listen", "127.0.0.1:0", "--run-dir", runDir(t)}, c.args...)...)
			if r.exit != 78 || !strings.Contains(r.all(), c.names) {
				t.Errorf("start %s: got exit %d with %s, want 78 and what to do about %s", strings.Join(c.args, " "), r.exit, r.all(), c.names)
			}
		})
	}
}

// A node that waits for the others is not ready, says so, and can be stopped.
func TestANodeThatIsAloneWaitsForTheOthersAndCanBeStopped(t *testing.T) {
	t.Parallel()
	c := makeCluster(t, clustering{})
	n := c.nodes[0]
	n.launch()
	n.s.eventually("the node says why it is not ready", func() error {
		if code, why := n.readyz(); code != http.StatusServiceUnavailable || !strings.Contains(why, "cluster") {
			return notYet(code, why)
		}
		return nil
	})
	must(t, n.s.cmd.Process.Signal(syscall.SIGTERM))
	n.stopped(t)
}
