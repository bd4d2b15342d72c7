package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipe is a pipe that is closed with the test.
func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer = must2(t, os.Pipe)
	t.Cleanup(func() { reader.Close(); writer.Close() })
	return reader, writer
}

// fill makes a pipe full: the next write to it waits until somebody reads.
func fill(t *testing.T, writer *os.File) {
	t.Helper()
	// By a description of its own: O_NONBLOCK belongs to the description, and the server's must wait.
	filler, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", writer.Fd()), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer syscall.Close(filler)
	for err == nil {
		_, err = syscall.Write(filler, []byte(strings.Repeat("\n", 4096)))
	}
	equal(t, "why no more fits", err, error(syscall.EAGAIN))
}

func must2[A, B any](t testing.TB, f func() (A, B, error)) (A, B) {
	t.Helper()
	a, b, err := f()
	must(t, err)
	return a, b
}

func TestFaultALogThatNobodyReadsHoldsNothingUp(t *testing.T) {
	fault(t)
	reader, writer := pipe(t)
	s := startWith(t, starting{output: writer, args: []string{"--log-level", "debug", "--channel", "127.0.0.1:0",
		"--channel-outbound-max", "64KiB", "--clients-max", "20", "--stop-timeout", "1s"}})
	m, sender, c, publisher := member(t, s, "room"), dial(t, s), subscriber(t, s), dialChannel(t, s)
	round := 0
	serves := func() {
		t.Helper()
		round++
		ws, php := fmt.Sprintf("by WebSocket %d", round), fmt.Sprintf("by Channel %d", round)
		must1(t, sender.askOK)(sendCommand("room", ws))
		m.expect(t, ws)
		publisher.say(t, said("publish", "send_to_group", groupEvent("room", php)))
		m.expect(t, php)
		c.expectEvent(t, "send_to_group", groupEvent("room", ws))
		c.expectEvent(t, "send_to_group", groupEvent("room", php))
	}
	serves()
	fill(t, writer)
	for range size(20, 500) { // Channel clients that are cut for what they say
		bad := dialChannel(t, s)
		bad.say(t, "\x00\x00\x00\x00")
		bad.expectCut(t, "a frame that is none")
		serves()
	}
	// One that takes nothing is cut while its lock is held, by the goroutine that takes every publish out of the groups.
	deaf := subscriber(t, s)
	text := strings.Repeat("x", 16<<10) // of c two may be under way, as one that it has read may not be counted as sent yet
	s.eventually("the deaf one is cut", func() error {
		must1(t, sender.askOK)(sendCommand("room", text))
		m.expect(t, text)
		c.expectEvent(t, "send_to_group", groupEvent("room", text))
		if got := s.channel().Closed["outbound"]; got != 1 {
			return fmt.Errorf("got %d closed, want 1", got)
		}
		return nil
	})
	deaf.conn.Close()
	serves()
	for s.status().Total.Clients < 20 {
		dial(t, s)
	}
	for range size(200, 12_000) { // each is a line of the log, written by a loop
		other, err := open(s.addr, dialing{})
		if refused, is := err.(*refusedError); !is || refused.status != http.StatusServiceUnavailable {
			if err == nil {
				other.hangUp()
			}
			t.Fatalf("a client too many: got %v, want it refused", err)
		}
	}
	serves()
	if r := run("reload", "--run-dir", s.dir); r.exit != 0 {
		t.Errorf("reload: got exit %d with %s, want 0", r.exit, r.all())
	}
	dropped := s.status().LogDropped["full"]
	if size(false, true) && dropped == 0 {
		t.Error("lines dropped: got none, want more lines than fit")
	}
	serves()
	s.signal(syscall.SIGTERM)
	if got := s.exit(); got != 0 { // nothing of what waits for the log has been written
		t.Errorf("exit status: got %d, want 0", got)
	}
	writer.Close()
	if log := string(must1(t, io.ReadAll)(reader)); strings.Contains(log, "was closed") {
		t.Errorf("log: got %.500q, want a pipe that was full from the first cut to the end", log)
	}
}

func TestALogThatIsReadLateSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	fill(t, writer)
	s := startWith(t, starting{output: writer, args: []string{"--channel", "127.0.0.1:0"}})
	bad := dialChannel(t, s)
	bad.say(t, "\x00\x00\x00\x00")
	bad.expectCut(t, "a frame that is none")
	writer.Close() // the server has its own
	read := make(chan string)
	go func() {
		log, _ := io.ReadAll(reader)
		read <- string(log)
	}()
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
	log := <-read
	for _, want := range []string{"Start success", "msg=listening", "a Channel client was closed", "msg=stopped"} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got %s\nwant %q in it", strings.TrimLeft(log, "\n"), want)
		}
	}
}

func TestAServerOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	s := startWith(t, starting{output: writer})
	writer.Close()
	m := member(t, s, "g")
	must(t, reader.Close())
	for i := range 3 {
		before := s.status().LogDropped["failed"]
		s.signal(syscall.SIGHUP)
		s.eventually("the lines about the reload are dropped and counted", func() error {
			if got := s.status().LogDropped["failed"]; got <= before {
				return fmt.Errorf("got %d, want more than %d", got, before)
			}
			return nil
		})
		text := fmt.Sprintf("after reload %d", i)
		must(t, m.text(sendCommand("g", text)))
		m.expect(t, text)
	}
	if text := run("status", "--run-dir", s.dir).stdout; !strings.Contains(text, "unlogged failed ") {
		t.Errorf("status: got\n%s\nwant the lines that were dropped", text)
	}
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
}

func TestALogOnAFullDiskEndsNothing(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--log-file", "/dev/full")
	m := member(t, s, "g")
	s.eventually("lines are dropped and counted", func() error {
		if got := s.status().LogDropped; got["failed"] == 0 || got["full"] != 0 {
			return fmt.Errorf("got %v, want some that failed", got)
		}
		return nil
	})
	must(t, m.text(sendCommand("g", "all well")))
	m.expect(t, "all well")
	if got := scrape(t, url)[`ringcast_log_dropped_lines_total{reason="failed"}`]; got == 0 {
		t.Error("metric: got 0, want the lines that were dropped")
	}
}

// What PHP says and no group gets is not only a number: the log says who lost what, and why.
func TestTheLogSaysWhatTheChannelLosesAndWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	s := start(t, "--channel", "127.0.0.1:0", "--message-max", "1KiB")
	m, c, p := member(t, s, "123"), subscriber(t, s), dialChannel(t, s)
	large := strings.Repeat("x", 1025)
	p.say(t, said("publish", "send_to_group", groupEvent("123", "\xc4\xe3\xba\xc3")),
		said("publish", "send_to_group", groupEvent("123", large)), said("publish", "send_to_group", groupEvent("123", "the end")))
	m.expect(t, "the end")
	for _, message := range []string{"\xc4\xe3\xba\xc3", large, "the end"} { // all of it: a close with unread bytes is a reset, and the log then says so
		c.expectEvent(t, "send_to_group", groupEvent("123", message))
	}
	c.conn.Close()
	from, worker := "remote="+p.conn.LocalAddr().String(), "remote="+c.conn.LocalAddr().String()
	for _, want := range [][]string{
		{"level=WARN", "did not reach it", from, "channel=send_to_group", "group=123", "bytes=", "not UTF-8"},
		{"level=WARN", "did not reach it", from, "bytes=", "larger than --message-max"},
		{"level=INFO", "a Channel client receives", worker, "channel=send_to_group"},
		{"level=INFO", "a Channel client has gone", worker, "it has ended the connection", "after="},
	} {
		s.eventually("a line of the log", func() error {
			for line := range strings.Lines(s.out.String()) {
				missing := false
				for _, text := range want {
					missing = missing || !strings.Contains(line, text)
				}
				if !missing {
					return nil
				}
			}
			return fmt.Errorf("got none with %q", want)
		})
	}
	equal(t, "refused", s.channel().Refused["group"], 2)
}

func TestALogFileCanBeCopiedAndTruncated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runDir(t), "ringcast.log")
	s := start(t, "--log-file", path)
	logged := func(text string) {
		t.Helper()
		s.eventually("the log has "+text, func() error {
			log, err := os.ReadFile(path)
			if err == nil && (!strings.Contains(string(log), text) || strings.Contains(string(log), "\x00")) {
				err = fmt.Errorf("got %q", log)
			}
			return err
		})
	}
	logged("msg=listening")
	must(t, os.Truncate(path, 0))
	s.signal(syscall.SIGHUP)
	logged("msg=reloaded")
	must(t, os.Truncate(path, 0))
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
	if log, err := os.ReadFile(path); err != nil || strings.Contains(string(log), "\x00") || !strings.Contains(string(log), "msg=stopped") {
		t.Errorf("log after the end: got %q, %v, want the stop and no gap of zeros", log, err)
	}
}

// A server outlives its readers; a verb that only prints does not: its output is of no use to anybody.
func TestStatusThatIsWatchedEndsQuietlyWithItsReader(t *testing.T) {
	t.Parallel()
	s := start(t)
	cmd := exec.Command(program, "status", "--watch", "--json", "--run-dir", s.dir)
	var stderr output
	cmd.Stderr = &stderr
	out := must1(t, func(struct{}) (io.ReadCloser, error) { return cmd.StdoutPipe() })(struct{}{})
	must(t, cmd.Start())
	first := make([]byte, 1)
	_, err := io.ReadFull(out, first)
	must(t, err)
	out.Close()
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	select {
	case <-over:
	case <-time.After(patience):
		cmd.Process.Kill()
		t.Fatal("it goes on, want its end")
	}
	equal(t, "signal", cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), syscall.SIGPIPE)
	equal(t, "standard error", stderr.String(), "")
}
