package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestBeyondTheDescriptorLimitClientsAreRefusedAndMembersKeepReceiving(t *testing.T) {
	t.Parallel()
	const descriptors, burst = 300, 400
	s := startWith(t, starting{descriptors: descriptors})
	st := s.status()
	if st.ClientsMax <= 0 || st.ClientsMax >= descriptors {
		t.Fatalf("clients_max with ulimit -n %d: got %d, want less than that and more than 0", descriptors, st.ClientsMax)
	}
	members := make([]*client, 8)
	for i := range members {
		members[i] = member(t, s, "g")
	}

	// The burst, all at once, while the group is published to.
	var mu sync.Mutex
	var accepted []*client
	refused := 0
	var burstDone sync.WaitGroup
	for range burst {
		burstDone.Go(func() {
			c, err := open(s.addr, dialing{})
			if err == nil {
				_, err = c.beforePong() // a client that was accepted is served
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				accepted = append(accepted, c)
				return
			}
			refused++
			var answer *refusedError
			if errors.As(err, &answer) && answer.status != 503 {
				t.Errorf("refused with: got %v, want 503 or a closed connection", answer)
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range accepted {
			c.hangUp()
		}
	})
	sender := members[0]
	for i := range 200 {
		text := fmt.Sprintf("during the burst %d", i)
		must(t, sender.text(sendCommand("g", text)))
		for _, m := range members {
			m.expect(t, text)
		}
	}
	burstDone.Wait()
	if got := len(accepted) + len(members); got > st.ClientsMax || len(accepted) < st.ClientsMax/2 {
		t.Errorf("accepted: got %d and %d before, want about clients_max %d and not more", len(accepted), len(members), st.ClientsMax)
	}
	equal(t, "accepted and refused", len(accepted)+refused, burst)
	s.eventually("status answers and counts the refused", func() error {
		if got := s.status(); got.Total.RefusedClients == 0 {
			return fmt.Errorf("got refused_clients %d with %d refused, want some", got.Total.RefusedClients, refused)
		}
		return nil
	})

	// One more gets a 503 with the reason, if the server can still send it.
	if c, err := open(s.addr, dialing{}); err == nil {
		c.hangUp()
		if len(accepted)+len(members) >= st.ClientsMax {
			t.Errorf("a client beyond clients_max: got in, want it refused")
		}
	}

	// A place that becomes free can be taken.
	const leaving = 50
	for _, c := range accepted[:leaving] {
		c.hangUp()
	}
	for range leaving / 2 {
		s.eventually("a new client is accepted after others have closed", func() error {
			c, err := open(s.addr, dialing{})
			if err == nil {
				accepted = append(accepted, c)
				err = c.join("g")
			}
			return err
		})
	}
	must(t, sender.text(sendCommand("g", "after the burst")))
	for _, c := range append(members, accepted[len(accepted)-leaving/2:]...) {
		c.expect(t, "after the burst")
	}
}

func TestALimitThatLeavesNoRoomForClientsIsToldWithAMend(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"30", "60"} { // with the first it cannot even start its loops
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", `ulimit -n `+limit+`; exec "$0" "$@"`,
			program, "start", "--run-dir", runDir(t), "--listen", "127.0.0.1:0")
		out, _ := cmd.CombinedOutput()
		if text := string(out); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, "limit of "+limit+" open files") || !strings.Contains(text, "ulimit -n 65536") {
			t.Errorf("start with %s descriptors: got exit %d with %q, want 1, the limit and what to do", limit, cmd.ProcessState.ExitCode(), text)
		}
	}
}

func TestBareConnectionsBeyondTheLimitDoNotEndTheServer(t *testing.T) {
	t.Parallel()
	const descriptors, connections = 300, 400
	s := startWith(t, starting{descriptors: descriptors, args: []string{"--handshake-timeout", "5s"}})
	m := member(t, s, "g")
	// They send nothing: all of them together must not keep others out for longer than the handshake timeout.
	for range connections {
		c, err := connect(s.addr, dialing{})
		if err == nil {
			t.Cleanup(c.hangUp)
		}
		must(t, m.text(sendCommand("g", "tick")))
		m.expect(t, "tick")
	}
	var late *client
	s.eventually("a client is let in once the silent ones are cut", func() error {
		var err error
		late, err = open(s.addr, dialing{})
		return err
	})
	t.Cleanup(late.hangUp)
	must(t, late.join("g"))
	must(t, m.text(sendCommand("g", "welcome")))
	late.expect(t, "welcome")
}

// A reconnect storm against a server that was stopped for a while: the kernel's accept queue is full, and there are far
// fewer descriptors than connections in it. With the queue full nothing new can arrive, so no event reports that there is
// something to accept; the server must recover by itself.
func TestAFullAcceptQueueWithoutDescriptorsIsWorkedOff(t *testing.T) {
	queue := queueMax(t)
	if queue > 8000 {
		t.Skipf("net.core.somaxconn is %d: filling such a queue takes more descriptors than a test should", queue)
	}
	s := startWith(t, starting{descriptors: 120})
	must(t, syscall.Kill(s.pid, syscall.SIGSTOP))
	t.Cleanup(func() { syscall.Kill(s.pid, syscall.SIGCONT) })
	to := netAddr(t, s.addr)
	var storm []int
	closeStorm := func() {
		for _, fd := range storm {
			syscall.Close(fd)
		}
		storm = nil
	}
	t.Cleanup(closeStorm)
	for range 2*queue + 800 {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		must(t, err)
		storm = append(storm, fd)
		_ = syscall.Connect(fd, to) // in progress, or the queue is full
	}
	full := func() error {
		if got := queued(t, to.Port); got <= queue { // the kernel accepts one more than the bound
			return fmt.Errorf("got %d connections in it, want %d", got, queue+1)
		}
		return nil
	}
	s.eventually("the accept queue is full", full)
	must(t, syscall.Kill(s.pid, syscall.SIGCONT))
	s.eventually("accepts fail", func() error {
		st, err := readStatus(s.dir) // may find no descriptor either
		if err == nil && st.AcceptErrs == 0 {
			err = errors.New("got no accept error, want some: the test does not test")
		}
		return err
	})
	// The peers that found it full try again after a second and after three, and fill it again; from then on the server
	// gets no event: no accept succeeds, none fails. One that has emptied the queue by then is fine too.
	still, failed := 0, uint64(0)
	s.eventually("the accept queue is full again and the server hears nothing, or it is worked off", func() error {
		if queued(t, to.Port) == 0 {
			return nil
		}
		st, err := readStatus(s.dir)
		if err == nil {
			err = full()
		}
		if err != nil || st.AcceptErrs != failed {
			still, failed = 0, st.AcceptErrs
		} else {
			still++
		}
		if still < 10 {
			return fmt.Errorf("got %d quiet looks (%v), want 10", still, err)
		}
		return nil
	})
	closeStorm()
	var c *client
	s.eventually("a new client is let in", func() (err error) {
		c, err = open(s.addr, dialing{})
		return err
	})
	t.Cleanup(c.hangUp)
	must(t, c.join("g"))
}

// queueMax is the kernel's bound on a listener's accept queue.
func queueMax(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	must(t, err)
	return n
}

func netAddr(t *testing.T, addr string) *syscall.SockaddrInet4 {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp4", addr)
	must(t, err)
	return &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
}

// queued is the length of a listener's accept queue, which /proc/net/tcp shows as its receive queue.
func queued(t *testing.T, port int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	local := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasSuffix(f[1], local) && f[3] == "0A" { // 0A: LISTEN
			_, rx, _ := strings.Cut(f[4], ":")
			n, err := strconv.ParseInt(rx, 16, 64)
			must(t, err)
			return int(n)
		}
	}
	return 0
}

func TestOutboxBoundHoldsForEachClientByItself(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "128KiB", "--message-max", "64KiB")
	const slows = 3
	for range slows {
		c := dial(t, s, dialing{readBytes: slowBytes})
		must(t, c.join("g"))
	}
	// One that pauses within its bound and then reads on is not slow: it receives everything and is not closed.
	pausing := member(t, s, "g")
	sender := dial(t, s)
	var sent []string
	for i := range 3 {
		sent = append(sent, fmt.Sprintf("%d ", i)+strings.Repeat("x", 32<<10))
		must1(t, sender.askOK)(sendCommand("g", sent[i]))
	}
	pausing.expect(t, sent...)
	fast := make(chan error, 1)
	var more []string
	go func() {
		got, err := pausing.collectUntil(lastText)
		if err == nil && len(got) != len(more) {
			err = fmt.Errorf("got %d texts, want %d", len(got), len(more))
		}
		fast <- err
	}()
	for s.status().Total.SlowClosed < slows {
		if len(more) > 2048 {
			t.Fatalf("sent %d texts of 32 KiB: got slow_closed %d, want %d", len(more), s.status().Total.SlowClosed, slows)
		}
		for range 16 {
			more = append(more, sent[0])
			_, err := publishAgain(sender, "g", sent[0])
			must(t, err)
		}
	}
	_, err := publishAgain(sender, "g", lastText)
	must(t, err)
	must(t, <-fast)
	s.eventually("only the slow were closed", func() error {
		got := s.status().Total
		if got.SlowClosed != slows || got.Members != 1 {
			return fmt.Errorf("got slow_closed %d and members %d, want %d and 1", got.SlowClosed, got.Members, slows)
		}
		return nil
	})
}

// A client that does not read its socket is closed even if it does not answer the Close: the server does not keep it.
func TestSlowClientThatNeverReadsAgainIsForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "64KiB", "--message-max", "64KiB")
	c := dial(t, s, dialing{readBytes: slowBytes})
	must(t, c.join("g"))
	sender := dial(t, s)
	text := strings.Repeat("x", 32<<10)
	deadline := time.Now().Add(patience)
	for s.status().Total.SlowClosed == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the client that reads nothing is not closed")
		}
		for range 16 {
			_, err := publishAgain(sender, "g", text)
			must(t, err)
		}
	}
	s.eventually("its connection is gone", func() error {
		if got := s.status().Total; got.Clients != 1 || got.Members != 0 {
			return fmt.Errorf("got %d clients and %d members, want 1 and 0", got.Clients, got.Members)
		}
		return nil
	})
}
