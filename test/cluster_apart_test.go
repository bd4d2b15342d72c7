package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Faults for which a node needs surroundings of its own: a network, a disk, a clock. The first two take root.

// apartCluster starts three nodes in a namespace each, which a bridge connects. cut takes a node's link down, mend undoes it; clients are in
// the namespace of their node, so no cut comes between.
func apartCluster(t *testing.T) (c *cluster, cut, mend func(n *node)) {
	t.Helper()
	hub := newNetns(t)
	if out, err := hub.try("ip", "link", "add", "bridge0", "type", "bridge"); err != nil {
		t.Skipf("no network of our own: this kernel has no bridge (%s)", out)
	}
	hub.run(t, "ip", "link", "set", "bridge0", "up")
	var inside []*netns
	for i := range clusterNodes {
		n, end := newNetns(t), fmt.Sprint("node", i)
		hub.run(t, "ip", "link", "add", end, "type", "veth", "peer", "name", "far")
		hub.run(t, "ip", "link", "set", "far", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.ns.Fd()))
		hub.run(t, "ip", "link", "set", end, "master", "bridge0")
		hub.run(t, "ip", "link", "set", end, "up")
		n.run(t, "ip", "address", "add", fmt.Sprintf("10.0.0.%d/24", i+1), "dev", "far")
		n.run(t, "ip", "link", "set", "far", "up")
		inside = append(inside, n)
	}
	c = startCluster(t, clustering{inside: inside, host: func(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }})
	turn := func(n *node, way string) { hub.run(t, "ip", "link", "set", fmt.Sprint("node", n.i), way) }
	return c, func(n *node) { turn(n, "down") }, func(n *node) { turn(n, "up") }
}

// Those of the majority go on. Who is cut off says so: to publishers, and to a balancer, after a while. When it is mended all agree.
func TestFaultClusterNodeThatIsCutOff(t *testing.T) {
	fault(t)
	if size(true, false) {
		t.Skip("at full size only, with FAULTS=full")
	}
	c, cut, mend := apartCluster(t)
	p := c.startPlay(t, playing{})
	for round, victim := range []*node{c.leader(t), c.follower(t)} {
		before := p.attempts.Load()
		victim.away.Store(true)
		cut(victim)
		p.goOn(victim)
		p.eventually("who is cut off is not ready", func() error {
			if code, why := victim.readyz(); code != http.StatusServiceUnavailable {
				return notYet(code, why)
			}
			return nil
		})
		asker, err := open(victim.listen, dialing{inside: victim.inside})
		must(t, err)
		r, err := asker.ask(sendCommand("cut off", "nobody is to hear this"))
		must(t, err)
		if r.code() != saidUnavailable && r.code() != saidUnknown {
			t.Errorf("a publish at who is cut off: got %s, want unavailable or unknown", r.code())
		}
		asker.hangUp()
		for _, n := range victim.others() {
			if code, why := n.readyz(); code != http.StatusOK {
				t.Errorf("%s of the majority: got readyz %d %s, want 200", n.name(), code, why)
			}
		}
		p.goOn(victim)
		mend(victim)
		victim.away.Store(false)
		c.ready(t, victim)
		p.goOn()
		t.Logf("cut %d: %d publishes accepted meanwhile", round+1, p.attempts.Load()-before)
	}
	if v := p.finish(); v.unavailable == 0 {
		t.Error("publishers at who was cut off were never told unavailable")
	}
}

// smallDisk mounts a file system of so many MiB.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := runDir(t)
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if errors.Is(err, unix.EPERM) {
		t.Skipf("no file system of our own: %v (it takes CAP_SYS_ADMIN, such as root has)", err)
	}
	must(t, err)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A node whose disk is full gets no more clients, and the others go on. With room, and restarted, it is as before.
func TestFaultClusterNodeWithAFullDisk(t *testing.T) {
	fault(t)
	if size(true, false) {
		t.Skip("at full size only, with FAULTS=full")
	}
	var disks []string
	for range clusterNodes {
		disks = append(disks, smallDisk(t, 64))
	}
	c := startCluster(t, clustering{store: func(i int) string { return filepath.Join(disks[i], "store") }})
	p := c.startPlay(t, playing{})
	victim := c.leader(t)
	filler := filepath.Join(disks[victim.i], "filler")
	fillDisk(t, filler)
	victim.away.Store(true) // as a balancer has it, in a while
	p.eventually("the node with the full disk is not ready", func() error {
		if code, why := victim.readyz(); code != http.StatusServiceUnavailable {
			return notYet(code, why)
		}
		return nil
	})
	p.goOn(victim)
	for _, n := range victim.others() {
		if code, why := n.readyz(); code != http.StatusOK {
			t.Errorf("%s: got readyz %d %s, want 200", n.name(), code, why)
		}
	}
	must(t, os.Remove(filler))
	victim.stop(t)
	victim.comeBack(t)
	p.goOn()
	p.finish()
}

// fillDisk writes a file until there is no more room.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for b := make([]byte, 1<<20); ; {
		if _, err := f.Write(b); errors.Is(err, unix.ENOSPC) {
			if b = b[:len(b)/2]; len(b) == 0 {
				return
			}
		} else {
			must(t, err)
		}
	}
}

// aheadOfTime builds the program with a clock that is an hour ahead, by another file in place of one of package time. A preloaded library does
// nothing to a program that asks the kernel itself, and a time namespace leaves the wall clock as it is.
func aheadOfTime(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	name := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(name)
	must(t, err)
	const asks = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), asks) != 1 {
		t.Skip("this Go asks for the time in another way than the test knows: no clock can be moved")
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "time.go")
	must(t, os.WriteFile(other, []byte(strings.Replace(string(text), asks, asks+"\tsec += 3600\n", 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{name: other}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	ahead := filepath.Join(dir, "ringcast")
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", ahead, "ringcast").CombinedOutput(); err != nil {
		t.Fatalf("build with another clock: %v\n%s", err, out)
	}
	return ahead
}

// Neither order nor resume nor repeats go by the wall clock: one node may be an hour ahead, whether it leads or follows.
func TestFaultClusterNodeWhoseClockIsAnHourAhead(t *testing.T) {
	fault(t)
	if size(true, false) {
		t.Skip("at full size only, with FAULTS=full")
	}
	ahead := aheadOfTime(t)
	c := startCluster(t, clustering{build: func(i int) string { return []string{ahead, "", ""}[i] }})
	r, err := http.Get("http://" + c.nodes[0].listen + "/healthz")
	must(t, err)
	r.Body.Close()
	date, err := http.ParseTime(r.Header.Get("Date"))
	must(t, err)
	if by := time.Until(date); by < 50*time.Minute {
		t.Fatalf("the first node's clock is %v ahead, want an hour", by)
	}
	p := c.startPlay(t, playing{})
	for _, victim := range []*node{c.nodes[1], c.nodes[0], c.nodes[2]} { // so that the one ahead leads, does not, and leads again
		victim.kill(t)
		p.goOn()
		victim.comeBack(t)
		p.goOn()
	}
	p.finish()
}
