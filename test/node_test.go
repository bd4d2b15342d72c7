package test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A node as its operator meets it: one process, and its store.

// nodeStatus is the part of a status that is about the cluster.
type nodeStatus struct {
	Cluster *struct {
		Ready      bool
		Trouble    string
		Node       string
		Nodes      []struct{ Name string }
		Partitions []struct{ Tip uint64 }
		Ordered    uint64
	}
}

func (n *nodeStatus) tips() (sum uint64) {
	for _, p := range n.Cluster.Partitions {
		sum += p.Tip
	}
	return sum
}

func nodeStatusOf(t *testing.T, dir string) (n nodeStatus) {
	t.Helper()
	must(t, askControl(dir, "/status", &n))
	if n.Cluster == nil {
		t.Fatal("status: got none of a cluster")
	}
	return n
}

// The old process still has clients that take nothing when the new one has the store.
func TestARestartOfANodeFindsItsStoreFreeAndWhatIsInIt(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	options := []string{"--cluster-name", "x", "--cluster-node", "n1", "--store-dir", filepath.Join(dir, "store"), "--cluster-partitions", "3", "--slow-client", "drop", "--stop-timeout", "15s"}
	first := daemon(t, dir, options...)
	s := &server{t: t, dir: dir, addr: first.Listen}
	slow := dial(t, s, dialing{readBytes: 4 << 10})
	must(t, slow.join("g"))
	c := member(t, s, "g")
	go c.discard()
	sender := dial(t, s)
	s.eventually("the slow client misses messages", func() error {
		for range 10 {
			if _, err := sender.publish("g", strings.Repeat("x", 20_000)); err != nil {
				return err
			}
		}
		if s.status().Total.SlowDropped == 0 {
			return fmt.Errorf("it has missed none yet")
		}
		return nil
	})
	before := nodeStatusOf(t, dir)
	r := run(append([]string{"restart", "-d", "--run-dir", dir, "--listen", first.Listen}, options...)...)
	if r.exit != 0 || !strings.Contains(r.stdout, "Start success.") {
		t.Fatalf("restart -d: got exit %d: %s", r.exit, r.all())
	}
	after := nodeStatusOf(t, dir)
	if now := s.status().PID; now == first.PID {
		t.Errorf("pid: got %d still, want another", now)
	}
	if after.tips() < before.tips() || before.tips() < 10 {
		t.Errorf("messages in the log: got %d before and %d after, want all of them still", before.tips(), after.tips())
	}
	late := member(t, s, "g")
	if _, err := late.publish("g", "after the restart"); err != nil {
		t.Fatal(err)
	}
	late.expect(t, "after the restart")
	slow.die()
	if r := run("stop", "--run-dir", dir); r.exit != 0 {
		t.Errorf("stop: got exit %d: %s", r.exit, r.all())
	}
}

func TestAStoreIsOfOneProcessAtATime(t *testing.T) {
	t.Parallel()
	store := filepath.Join(runDir(t), "store")
	options := []string{"--cluster-name", "x", "--cluster-node", "n1", "--store-dir", store}
	s, _ := startAdmin(t, options...)
	r := run(append([]string{"start", "--listen", "127.0.0.1:0", "--admin", "off", "--run-dir", runDir(t)}, options...)...)
	if r.exit != 1 || !strings.Contains(r.stderr, fmt.Sprintf("--store-dir %q is locked by another ringcast (pid %d); stop that one", store, s.status().PID)) {
		t.Errorf("a second server with the store: got exit %d and %s, want 1 and who has it", r.exit, r.all())
	}
	nodeStatusOf(t, s.dir) // the first serves on
}

// Three nodes are started one after the other, so the first must not wait for the second in the terminal.
func TestANodeInTheBackgroundThatWaitsForOthersReturnsToTheTerminal(t *testing.T) {
	t.Parallel()
	dir, own := runDir(t), freeAddr(t)
	t.Cleanup(func() { run("stop", "--run-dir", dir) })
	r := run("start", "-d", "--run-dir", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cluster-name", "x", "--cluster-node", "n1",
		"--store-dir", filepath.Join(dir, "store"), "--cluster-listen", own, "--cluster-peers", own+","+freeAddr(t)+","+freeAddr(t))
	if r.exit != 0 || !strings.Contains(r.stdout, "[WAITS]") || !strings.Contains(r.stdout, "It goes on waiting.") {
		t.Fatalf("start -d: got exit %d and %s, want 0 and that it waits", r.exit, r.all())
	}
	st, err := readStatus(dir)
	must(t, err)
	code, body, err := ask("http://"+st.Admin+"/readyz", "")
	must(t, err)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "the cluster is not ready") {
		t.Errorf("readyz: got %d %q, want 503 and what it waits for", code, body)
	}
	if n := nodeStatusOf(t, dir); n.Cluster.Ready || n.Cluster.Trouble == "" {
		t.Errorf("status: got %+v, want that it is not ready, and why", n.Cluster)
	}
	if text := run("status", "--run-dir", dir).stdout; !strings.Contains(text, "not ready: ") {
		t.Errorf("status: got %s, want that it is not ready", text)
	}
	if r := run("stop", "--run-dir", dir); r.exit != 0 || !strings.Contains(r.stdout, "Stopped.") {
		t.Errorf("stop: got exit %d: %s", r.exit, r.all())
	}
}
