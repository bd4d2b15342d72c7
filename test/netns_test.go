package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netns is a network namespace, made by a test. It has no name: it disappears, with the links in it, with the last process
// and the last descriptor in it, however the tests end.
type netns struct {
	ns *os.File
}

// newNetns makes a namespace with a loopback interface that is up, or skips the test with the reason.
func newNetns(t *testing.T) *netns {
	t.Helper()
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no network of our own: %v (it is part of iproute2)", err)
		}
	}
	n := &netns{}
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		n.ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("no network of our own: %v (it takes CAP_SYS_ADMIN, such as root has)", err)
	}
	must(t, err)
	t.Cleanup(func() { n.ns.Close() })
	n.run(t, "ip", "link", "set", "lo", "up")
	return n
}

// do calls f on a thread inside, so that sockets and processes that it makes are inside too. A nil netns is the namespace
// of the tests.
func (n *netns) do(f func() error) error {
	if n == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// onOwnThread calls f on a thread that may change its network namespace meanwhile, and changes it back.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// What network a process is in is asked of its main thread, by /proc/net for one. While we hold it, another
			// goroutine gets another.
			done <- onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return // a thread that is not unlocked ends with its goroutine
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// run runs a tool inside.
func (n *netns) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := n.try(name, args...); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (n *netns) try(name string, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimSpace(out.String()), err
}

// remote is a server in a namespace of its own, and another namespace at the far end of a link to it.
type remote struct {
	s      *server // by its own loopback
	inside *netns  // where the server is
	beyond *netns  // where peers are that a cut can affect
	addr   string  // the server's, for peers beyond
}

// apart starts a server and a network that is linked to it.
func apart(t *testing.T, args ...string) *remote {
	t.Helper()
	r := &remote{inside: newNetns(t), beyond: newNetns(t)}
	r.inside.run(t, "ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
	r.inside.run(t, "ip", "link", "set", "there", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.beyond.ns.Fd()))
	r.inside.run(t, "ip", "address", "add", "10.0.0.1/24", "dev", "here")
	r.inside.run(t, "ip", "link", "set", "here", "up")
	r.beyond.run(t, "ip", "address", "add", "10.0.0.2/24", "dev", "there")
	r.beyond.run(t, "ip", "link", "set", "there", "up")
	r.s = launch(t, starting{inside: r.inside, args: append([]string{"--listen", "0.0.0.0:0"}, args...)})
	r.s.waitUp()
	p := port(r.s.addr)
	r.s.addr, r.addr = "127.0.0.1:"+p, "10.0.0.1:"+p
	return r
}

// cut takes the far end of the link down: what is sent either way is lost without notice. mend undoes it.
func (r *remote) cut(t *testing.T)  { r.beyond.run(t, "ip", "link", "set", "there", "down") }
func (r *remote) mend(t *testing.T) { r.beyond.run(t, "ip", "link", "set", "there", "up") }

// near are bystanders on the server's loopback, which no cut affects.
func (r *remote) near(g gathering) gathering {
	g.dialing.inside, g.senders.inside = r.inside, r.inside
	return g
}

// far are members beyond the link of groups that are published to on the server's side of it, by texts that soon fill
// what the kernel keeps for each.
func (r *remote) far(t *testing.T) *bystanders {
	t.Helper()
	g := gathering{groups: 5, members: 50, pace: 20 * time.Millisecond, name: "and far ", padding: strings.Repeat(" far", 4<<10)}
	g.dialing.inside, g.senders.inside = r.beyond, r.inside
	s := *r.s
	s.addr = r.addr // which its own side reaches too
	return gather(t, &s, g)
}

func TestFaultPeersBehindACutAreGoneAndNobodyElse(t *testing.T) {
	fault(t)
	r := apart(t, "--heartbeat", "3s")
	peers := size(50, 1000)
	besidesOf(t, r.s, r.near(many), func(b *bystanders) {
		// Half of them are sent to, so that their connections have unacknowledged bytes; half receive nothing.
		var lost []*client
		for i := range peers {
			c, err := open(r.addr, dialing{inside: r.beyond, small: true})
			must(t, err)
			t.Cleanup(c.hangUp)
			must(t, c.join([]string{"sent to", "silent"}[i%2]))
			lost = append(lost, c)
		}
		sender := dial(t, r.s, dialing{inside: r.inside})
		r.cut(t)
		must1(t, sender.askOK)(sendCommand("sent to", "lost on its way"))
		sender.hangUp()
		r.s.eventually("the heartbeat has closed those behind the cut", func() error {
			if got := r.s.status().Total.HeartbeatClosed; got != uint64(peers) {
				return fmt.Errorf("got heartbeat_closed %d, want %d", got, peers)
			}
			return nil
		})
		b.goOn()
		b.alone() // their connections are given up too, with no answer from the peer
		r.mend(t)
		for _, c := range lost { // those that come back notice it, by what still waits in the kernel or by a reset
			c.text("are you there?")
			if _, err := c.discard(); err != nil {
				t.Fatalf("a peer after the cut: %v, want its connection ended", err)
			}
		}
		b.goOn()
	})
	equal(t, "closed by the heartbeat in the end", r.s.status().Total.HeartbeatClosed, uint64(peers))
}

func TestFaultShortCutLosesNothing(t *testing.T) {
	fault(t)
	r := apart(t, "--outbox-max", "64MiB") // and a heartbeat that waits longer than any of these cuts
	besidesOf(t, r.s, r.near(many), func(b *bystanders) {
		far := r.far(t)
		func() {
			defer far.dismiss()
			for range size(2, 5) {
				far.goOn()
				r.cut(t)
				r.s.eventually("texts wait for everyone behind the cut", func() error {
					var list []struct {
						SendQ  int    `json:"send_q"`
						Remote string `json:"remote"`
					}
					if err := askControl(r.s.dir, "/connections", &list); err != nil {
						return err
					}
					waiting := int64(0)
					for _, c := range list {
						if strings.HasPrefix(c.Remote, "10.0.0.2:") && c.SendQ > 0 {
							waiting++
						}
					}
					if waiting != far.members() {
						return fmt.Errorf("got something in the outboxes of %d, want all %d", waiting, far.members())
					}
					return nil
				})
				b.goOn()
				r.mend(t)
				far.goOn()
			}
		}()
		if got := r.s.status().Total; got.HeartbeatClosed != 0 || got.SlowClosed != 0 {
			t.Errorf("after short cuts: got heartbeat_closed %d, slow_closed %d, want 0", got.HeartbeatClosed, got.SlowClosed)
		}
	})
}

func TestFaultLossyLinkLosesNoMessage(t *testing.T) {
	fault(t)
	r := apart(t)
	if out, err := r.inside.try("tc", "qdisc", "add", "dev", "here", "root", "netem", "delay", "50ms", "loss", "2%"); err != nil {
		t.Skipf("no netem in this kernel (%s); cuts are tested in its place", out)
	}
	r.beyond.run(t, "tc", "qdisc", "add", "dev", "there", "root", "netem", "delay", "50ms", "loss", "2%")
	besidesOf(t, r.s, r.near(many), func(b *bystanders) {
		far := r.far(t)
		defer far.dismiss()
		for range size(5, 50) {
			far.goOn()
			b.goOn()
		}
	})
}
