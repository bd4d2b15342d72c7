package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Slow clients, partial messages and the memory of the whole process.

const megabyte = 1_000_000 // of text, which with the command around it is under the bound of 1 MiB

// The kernel kills a server that uses a fourth more than its limit, if it lets a test set that.
func TestAServerUnderAMemoryLimitOutlivesSlowClientsAndUnfinishedMessages(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector multiplies the memory that everything takes")
	}
	const limit, slows, unfinished = 128 << 20, 300, 200
	group, err := memoryGroup(t, limit/4*5)
	if err != nil {
		t.Logf("no control group, so only the resident memory is looked at: %v", err)
	}
	s := startWith(t, starting{args: []string{"--memory-limit", "128MiB"}, cgroup: group})
	var most uint64
	look := func() status {
		st := s.status()
		most = max(most, st.RSSBytes)
		return st
	}
	var attackers []*client
	besides(t, s, func(t *testing.T) {
		for range slows {
			c := dial(t, s, dialing{readBytes: slowBytes})
			must(t, c.text(joinCommand("slow")))
			attackers = append(attackers, c)
		}
		sender := dial(t, s)
		text := strings.Repeat("x", megabyte)
		for round := 0; look().Total.SlowClosed < slows/2; round++ {
			if round == 100 {
				t.Fatalf("after %d messages of a megabyte to %d slow clients: got %+v, want half of them cut off", round, slows, s.status().Total)
			}
			must1(t, func(command string) (reply, error) { return sender.ask(command) })(sendCommand("slow", text))
		}
		front := frameBytes(1, true, []byte(text))[:megabyte*9/10]
		for range unfinished {
			c, err := open(s.addr, dialing{})
			if err != nil { // refused for memory
				continue
			}
			attackers = append(attackers, c)
			_ = c.raw(front) // it may be closed before it has sent this much
			look()
		}
		if got := look().Total; got.FragmentsClosed == 0 {
			t.Errorf("after %d unfinished messages of a megabyte: got %+v, want some closed", unfinished, got)
		}
	})
	for _, c := range attackers {
		c.die()
	}
	if most > limit/4*5 {
		t.Errorf("resident memory: got up to %d bytes, want at most a fourth over the limit of %d", most, limit)
	}

	talker := member(t, s, "talk")
	s.eventually("nothing waits, and the memory is back", func() error {
		for range 16 { // garbage, for the collector to have something to do
			if _, err := publishAgain(talker, "talk", strings.Repeat("x", 64<<10)); err != nil {
				return err
			}
			if _, err := talker.next(); err != nil {
				return err
			}
		}
		st := s.status()
		if st.Total.OutboxBytes+st.Total.FragmentBytes+st.Total.Slow != 0 || st.Pressure != "none" || st.HeapBytes > 16<<20 {
			return fmt.Errorf("got %d bytes in outboxes, %d of fragments, pressure %s, heap %d; want 0, 0, none, at most 16 MiB",
				st.Total.OutboxBytes, st.Total.FragmentBytes, st.Pressure, st.HeapBytes)
		}
		return nil
	})
	t.Logf("limit %d, most resident %d, closed slow %d, closed for unfinished messages %d, refused %+v and %+v", limit, most,
		s.status().Total.SlowClosed, s.status().Total.FragmentsClosed, s.status().Total.RefusedBy, s.status().Total.RefusedClientsBy)
}

// memoryGroup makes a control group with a memory limit, which ends with the test.
func memoryGroup(t *testing.T, limit int) (string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		of := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(of) != 3 || of[1] != "memory" {
			continue
		}
		dir := filepath.Join("/sys/fs/cgroup/memory", of[2], fmt.Sprintf("rc-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		// Cleanups run from last to first: the server has ended by then.
		t.Cleanup(func() { os.Remove(dir) })
		return dir, os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), fmt.Append(nil, limit), 0)
	}
	return "", errors.New("no memory controller of version 1")
}

// publishAgain publishes until it is not refused for being busy, as it is when loops fall behind one who sends much.
func publishAgain(c *client, group, text string) (uint64, error) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for late := time.Now().Add(patience); ; {
		r, err := c.ask(sendCommand(group, text))
		switch {
		case err != nil:
			return 0, err
		case r.code() == "ok":
			return *r.Seq, nil
		case r.code() != "busy":
			return 0, fmt.Errorf("got %s, want ok or busy", r.code())
		case time.Now().After(late):
			return 0, fmt.Errorf("got busy again and again for %v, want ok", patience)
		}
		<-pace.C
	}
}

func TestNearTheMemoryLimitNewcomersAndMessagesAreRefused(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector multiplies the memory that everything takes")
	}
	t.Parallel()
	s := startWith(t, starting{args: []string{"--loops", "1", "--memory-limit", "32MiB", "--outboxes-max", "16MiB",
		"--fragments-max", "8MiB", "--outbox-max", "16MiB"}})
	front := frameBytes(1, true, []byte(strings.Repeat("x", megabyte)))[:megabyte*9/10]
	var attackers []*client
	for range 7 {
		c := dial(t, s)
		must(t, c.raw(front))
		attackers = append(attackers, c)
	}
	slow := dial(t, s, dialing{readBytes: slowBytes})
	must(t, slow.join("slow"))
	attackers = append(attackers, slow)
	sender := dial(t, s)
	text := strings.Repeat("x", megabyte/4)
	s.eventually("publishes are refused", func() error {
		r, err := sender.ask(sendCommand("slow", text))
		if err != nil {
			t.Fatal(err)
		}
		if st := s.status(); r.code() != "busy" || st.Total.RefusedBy.Memory == 0 {
			return fmt.Errorf("got %s with %d bytes used, %+v", r.code(), st.MemoryUsed, st.Total)
		}
		return nil
	})
	var refused *refusedError
	if c, err := open(s.addr, dialing{}); !errors.As(err, &refused) || refused.status != 503 || !strings.Contains(refused.body, "memory") {
		if err == nil {
			c.hangUp()
		}
		t.Errorf("a new client: got %v, want 503 for want of memory", err)
	}
	for _, c := range attackers {
		c.die()
	}
	s.eventually("new connections are accepted again", func() error {
		c, err := open(s.addr, dialing{})
		if err == nil {
			c.hangUp()
		}
		return err
	})
	_, err := sender.publish("slow", "heard by nobody")
	must(t, err)
}

// The operator chooses the policy for slow clients; with both the client is told.
func TestASlowClientThatUsesIDsMissesMessagesAndIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, "--slow-client", "drop", "--outbox-max", "128KiB", "--message-max", "64KiB")
	slow := dial(t, s, dialing{readBytes: slowBytes})
	must(t, slow.join("g"))
	sender := dial(t, s)
	sent := 0
	s.eventually("messages are dropped", func() error {
		for range 16 {
			_, err := publishAgain(sender, "g", fmt.Sprintf("%d ", sent)+strings.Repeat("x", 32<<10))
			must(t, err)
			sent++
		}
		if got := s.status().Total.SlowDropped; got < 100 {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
	// It reads on, and the server sends it nothing else.
	next := 0
	for next < sent {
		text, err := slow.next()
		must(t, err)
		var number, missed int
		if n, _ := fmt.Sscanf(text, `{"event":"gap","messages":%d}`, &missed); n == 1 {
			next += missed
			continue
		}
		fmt.Sscanf(text, "%d ", &number)
		equal(t, "message after what was heard and what was missed", number, next)
		next++
	}
	_, err := publishAgain(sender, "g", lastText)
	must(t, err)
	slow.expect(t, lastText)
	got := s.status().Total
	if got.SlowClosed != 0 || got.SlowGaps == 0 || got.Members != 1 {
		t.Errorf("got slow_closed %d, slow_gaps %d, members %d; want 0, some, 1", got.SlowClosed, got.SlowGaps, got.Members)
	}
}

// What the kernel buffers for a client that does not read is the kernel's memory, which the server does not count.
func TestAClientThatDoesNotReadCostsTheKernelLittle(t *testing.T) {
	t.Parallel()
	const most = 1 << 20 // without a bound set by the server the kernel buffers up to the third number of tcp_wmem, 4 MiB or more
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_wmem"); err != nil {
		t.Skipf("this kernel does not say how much it would take: %v", err)
	} else if f := strings.Fields(string(b)); len(f) != 3 || len(f[2]) < 7 {
		t.Skipf("tcp_wmem is %q: this kernel takes little by itself", b)
	}
	s := start(t, "--outbox-max", "16MiB")
	slow := dial(t, s, dialing{readBytes: slowBytes})
	must(t, slow.join("g"))
	sender := dial(t, s)
	text := strings.Repeat("x", megabyte/4)
	s.eventually("a few megabytes wait in its outbox", func() error {
		_, err := publishAgain(sender, "g", text)
		must(t, err)
		if got := s.status().Total.OutboxBytes; got < 4<<20 {
			return fmt.Errorf("got %d bytes", got)
		}
		return nil
	})
	got, found := unsent(t, netAddr(t, slow.conn.LocalAddr().String()).Port)
	if !found || got == 0 || got > most {
		t.Errorf("the kernel holds %d bytes (found: %v), want some and at most %d", got, found, most)
	}
}

// unsent is what the kernel holds for the peer with this port, by the connection's transmit queue in /proc/net/tcp.
func unsent(t *testing.T, peer int) (bytes int, found bool) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	remote := fmt.Sprintf(":%04X", peer)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasSuffix(f[2], remote) && f[3] == "01" { // 01: ESTABLISHED
			_, err := fmt.Sscanf(f[4], "%X:", &bytes)
			must(t, err)
			return bytes, true
		}
	}
	return 0, false
}
