package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Faults are small in an everyday run, so that it ends soon, and of full size with FAULTS=full, one after another.

// fault begins a test of a fault.
func fault(t *testing.T) {
	t.Helper()
	switch v := os.Getenv("FAULTS"); v {
	case "full": // one at a time: two of these have more sockets than a process may open
	case "":
		t.Parallel()
	default:
		t.Fatalf("FAULTS=%s: want full, or nothing", v)
	}
}

// size is the size of a fault: small, or full.
func size[T any](small, full T) T {
	if os.Getenv("FAULTS") == "full" {
		return full
	}
	return small
}

func TestFaultKilledServerStartsAgainInItsRunDirAndIsUsedAgain(t *testing.T) {
	fault(t)
	dir := runDir(t)
	t.Cleanup(func() { run("stop", "--run-dir", dir) })
	listen, last := freeAddr(t), 0
	for round := range size(2, 6) {
		// At once: what the dead server has left in the run dir and on its port must not prevent a start.
		r := run("start", "-d", "--listen", listen, "--run-dir", dir)
		if r.exit != 0 {
			t.Fatalf("start %d: got exit %d with %s, want 0", round, r.exit, r.all())
		}
		st, err := readStatus(dir)
		must(t, err)
		if st.PID == last || st.Listen != listen {
			t.Fatalf("start %d: got pid %d on %s, want another than %d on %s", round, st.PID, st.Listen, last, listen)
		}
		last = st.PID
		s := &server{t: t, dir: dir, addr: st.Listen, over: make(chan struct{})}
		equal(t, "clients that a new server begins with", st.Total.Clients, 0)

		b := gather(t, s, many) // clients come again as they came
		b.goOn()
		b.doomed.Store(true)
		must(t, syscall.Kill(st.PID, syscall.SIGKILL))
		b.end() // until then each has received all numbers in order
		gone(t, st.PID)
	}
	for _, name := range must1(t, filepath.Glob)(filepath.Join(dir, "*.log")) {
		for _, sign := range []string{"DATA RACE", "panic:", "goroutine 1 [", "assertion"} {
			if log, err := os.ReadFile(name); err != nil || strings.Contains(string(log), sign) {
				t.Errorf("%s: got %q in it (%v)", filepath.Base(name), sign, err)
			}
		}
	}
}

func TestFaultPausedServerClosesNobodyForItsOwnPause(t *testing.T) {
	fault(t)
	s := start(t, "--heartbeat", "5s", "--handshake-timeout", "5s")
	besidesOf(t, s, many, func(b *bystanders) {
		group := t.Name() + "/paused"
		m, sender := member(t, s, group), dial(t, s)
		b.goOn()
		half, key := bare(t, s), newKey() // in the middle of its handshake
		must(t, half.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")))

		must(t, syscall.Kill(s.pid, syscall.SIGSTOP))
		t.Cleanup(func() { syscall.Kill(s.pid, syscall.SIGCONT) })
		// The pause itself is tested: longer than the timeouts of the handshake and of the heartbeat, two of its periods.
		pause := time.After(size(12*time.Second, 20*time.Second))
		var sent []string
		for i := range 200 {
			sent = append(sent, fmt.Sprintf("sent to a stopped server %d", i))
			must(t, sender.text(sendCommand(group, sent[i])))
		}
		late := make([]*client, size(50, 500))
		keys := make([]string, len(late))
		for i := range late { // the kernel accepts them; they send everything at once
			c := bare(t, s)
			keys[i] = newKey()
			hello := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + keys[i] +
				"\r\nSec-WebSocket-Version: 13\r\n\r\n"
			must(t, c.raw(append([]byte(hello), frameBytes(ws.OpText, true, []byte(withID("1", joinCommand(group))))...)))
			late[i] = c
		}
		<-pause
		must(t, syscall.Kill(s.pid, syscall.SIGCONT))

		must(t, half.raw([]byte("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n\r\n")))
		must(t, half.upgraded(key))
		m.expect(t, sent...)
		for i, c := range late {
			must(t, c.upgraded(keys[i]))
			r, err := c.replyTo("1")
			must(t, err)
			equal(t, "answer to a join of the time of the pause", r.code(), "ok")
			c.early = nil // what was published before its join was answered may come, or not
		}
		must1(t, sender.askOK)(sendCommand(group, lastText))
		for _, c := range append(late, m) {
			if _, err := c.collectUntil(lastText); err != nil {
				t.Fatalf("after the pause: %v", err)
			}
		}
		b.goOn()
		equal(t, "closed by the heartbeat", s.status().Total.HeartbeatClosed, 0)
	})
}
