package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/bench/check"
)

func TestHelpersMakeNoDifferenceToACorrectServer(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"open loop":                      {"--rate", "200"},
		"closed loop":                    {"--window", "4"},
		"one message in flight":          {"--window", "1"},
		"so many messages and no more":   {"--rate", "1000", "--messages", "7"},
		"several groups and publishers":  {"--rate", "200", "--groups", "3", "--publishers", "6"},
		"the same in a closed loop":      {"--window", "2", "--groups", "3", "--publishers", "6"},
		"groups that no helper has":      {"--window", "2", "--groups", "6"},
		"members of several groups":      {"--rate", "200", "--groups", "4", "--joins", "3"},
		"the same, closed, two threads":  {"--window", "2", "--groups", "4", "--joins", "2", "--threads", "2"},
		"publishers are members":         {"--window", "2", "--groups", "2", "--publishers", "4", "--member-publishers"},
		"the first process publishes":    {"--window", "2", "--publishers", "20"},
		"a server that answers no ids":   {"--rate", "200", "--join-proof", "probe"},
		"bystanders":                     {"--rate", "200", "--bystanders", "2"},
		"two publishers of one group":    {"--rate", "400", "--publishers", "2"},
		"more groups than members apart": {"--window", "1", "--groups", "12"},
		"Centrifuge clients":             {"--window", "4", "--dialect", "centrifuge"},
		"Pusher clients":                 {"--window", "4", "--dialect", "pusher", "--groups", "2", "--publishers", "4"},
		"they publish themselves":        {"--rate", "200", "--dialect", "centrifuge", "--groups", "2", "--publishers", "4", "--member-publishers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &groupServer{silent: strings.Contains(name, "no ids")}
			args := append([]string{"fanout", "--url", s.serve(t), "--processes", "3", "--members", "12", "--time", "300ms", patient}, args...)
			status, out, errs, r := bench(t, args...)
			if status != exitFine || !r.Fine {
				t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
			}
			f := r.Fanout
			joins, groups, helped := r.Flags["joins"].(float64), r.Flags["groups"].(float64), 0
			for _, u := range r.Threads {
				if u.Helper > 0 {
					helped++
				}
			}
			if want := float64(f.Published) * 12 * joins / groups; groups < 2 && float64(f.Delivered) != want {
				t.Errorf("got %d delivered of %d published, want %v", f.Delivered, f.Published, want)
			}
			if f.Published == 0 || f.Latency.Max == 0 || f.Histogram == "" || r.Flags["processes"] != 3.0 || helped < 2 || !strings.Contains(out, "(helper 2)") {
				t.Errorf("figures are missing: %+v, threads %+v\n%s", f, r.Threads, out)
			}
		})
	}
}

func TestHelpersHoldAndAnswerPings(t *testing.T) {
	t.Parallel()
	again(t, 200*time.Millisecond, func(hold time.Duration) bool {
		s := &groupServer{pings: true}
		status, out, errs, r := bench(t, "connect", "-n", "50", "--groups", "3", "--hold", hold.String(), "--processes", "3", "--url", s.serve(t))
		if status != exitFine || r.Connect.Joined != 50 || r.Connect.PingsAnswered > 50 || len(r.Threads) != 3 {
			t.Fatalf("got status %d, %+v\n%s%s", status, r.Connect, out, errs)
		}
		return r.Connect.PingsAnswered == 50
	})
}

func TestTheFirstClientsAreInBeforeTheRestInAllProcesses(t *testing.T) {
	t.Parallel()
	for _, processes := range []string{"1", "3"} {
		for _, from := range []int{0, 20, 49} {
			t.Run(fmt.Sprintf("%d, processes %s", from, processes), func(t *testing.T) {
				t.Parallel()
				var joins []int
				s := &groupServer{shirk: func(cmd string, id int) bool {
					joins = append(joins, id)
					return false
				}}
				status, out, errs, r := bench(t, "connect", "-n", "50", "--from", strconv.Itoa(from), "--groups", "3", "--hold", "10ms", "--processes", processes, "--url", s.serve(t))
				if status != exitFine || r.Connect.Joined != 50 || r.Connect.PerSecond <= 0 {
					t.Fatalf("got status %d, %+v\n%s%s", status, r.Connect, out, errs)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				slices.Sort(joins[:from])
				slices.Sort(joins[from:])
				for i, id := range joins {
					if id != i || len(joins) != 50 {
						t.Fatalf("got joins of %v, want those below %d and then the others, each once", joins, from)
					}
				}
			})
		}
	}
}

// With one group, members 4 to 7 of 12 are with helper 1. Each server has one fault, at message 20.
func TestWhatIsWrongWithAHelpersMemberIsNamedExactly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kind  check.Fault
		spoil func(m *groupMember, text string) []string
		want  string
	}{
		{"drops one", check.Lost, func(*groupMember, string) []string { return nil }, "group 0 member 5 never got publisher 0's #20"},
		{"doubles one", check.Doubled, func(_ *groupMember, text string) []string { return []string{text, text} },
			"group 0 member 5 got publisher 0's #20 again, after its #20"},
		{"delivers what is not due", check.Foreign, func(_ *groupMember, text string) []string {
			never := check.AppendStamp(nil, check.Stamp{Publisher: 0, Sequence: 5000})
			return []string{text, string(never) + text[check.StampBytes:]}
		}, "group 0 member 5 got publisher 0's #5000, which was never sent"},
		{"cuts a member off", check.Cut, func(m *groupMember, text string) []string {
			m.conn.Close()
			return []string{text}
		}, "group 0 member 5 was cut off: the server ended the connection without a close frame"},
	} {
		for _, pace := range []string{"--rate=200", "--window=2"} {
			t.Run(c.name+" "+pace, func(t *testing.T) {
				t.Parallel()
				s := &groupServer{spoil: func(m *groupMember, text string) []string {
					if m.place == 5 && m.heard == 20 {
						return c.spoil(m, text)
					}
					return []string{text}
				}}
				status, out, errs, r := bench(t, "fanout", "--url", s.serve(t), "--members", "12", "--processes", "3", pace, "--time", "1m", "--messages", "40", patience(c.kind))
				if status != exitFaulty || len(r.Counts) != 1 || r.Counts[c.kind.String()] != 1 {
					t.Fatalf("got status %d and faults %v, want %d and exactly one %v\n%s%s", status, r.Counts, exitFaulty, c.kind, out, errs)
				}
				if got := r.Examples[c.kind.String()]; len(got) != 1 || got[0] != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		}
	}
}

// Messages that were due but not sent can only be told from sent ones at the end.
func TestAHelperLearnsAtTheEndWhatWasNeverSent(t *testing.T) {
	t.Parallel()
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		given, _ := check.ReadStamp([]byte(text))
		if m.place != 5 || given.Sequence != 9 {
			return []string{text}
		}
		beyond := check.AppendStamp(nil, check.Stamp{Publisher: 0, Sequence: 10, Due: given.Due})
		return []string{text, string(beyond) + text[check.StampBytes:]}
	}}
	// The tenth is the last. The window would allow one more, so the helper accepts it as one, and its acknowledgement is waited for.
	status, out, errs, r := bench(t, "fanout", "--url", s.serve(t), "--members", "12", "--processes", "3", "--window", "2", "--messages", "10", patience(check.Lost))
	if status != exitFaulty || len(r.Counts) != 1 || r.Counts["foreign"] != 1 || r.Examples["foreign"][0] != "group 0 member 5 got publisher 0's #10, which was never sent" {
		t.Fatalf("got status %d and %v %v\n%s%s", status, r.Counts, r.Examples, out, errs)
	}
}

func TestAClosedLoopEndsWhenAHelpersMemberIsCutOff(t *testing.T) {
	t.Parallel()
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.place == 5 && m.heard == 20 {
			m.conn.Close()
		}
		return []string{text}
	}}
	status, out, _, r := bench(t, "fanout", "--url", s.serve(t), "--members", "12", "--processes", "3", "--window", "2", "--time", "1m", patience(check.Cut))
	if status != exitFaulty || len(r.Counts) != 1 || r.Counts["cut off"] != 1 || len(r.Notes) > 0 {
		t.Fatalf("got status %d and %v, want %d, one cut off and no window that stands still\n%s", status, r.Counts, exitFaulty, out)
	}
}

func TestWhatAnyMemberSawOfAPublisherThatIsGoneCountsInAllProcesses(t *testing.T) {
	t.Parallel()
	var publisher *groupMember
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.place == 0 {
			publisher = m
		}
		if given, _ := check.ReadStamp([]byte(text)); given.Sequence < 20 {
			return []string{text}
		}
		if m.place == 11 {
			publisher.conn.Close()
		}
		if m.place < 8 {
			return nil // only the members of helper 2 get the last one
		}
		return []string{text}
	}}
	status, out, _, r := bench(t, "fanout", "--url", s.serve(t), "--members", "12", "--member-publishers", "--processes", "3", "--window", "1", "--time", "1m")
	if status != exitFaulty || len(r.Counts) != 2 || r.Counts["lost"] != 7 || r.Counts["cut off"] != 1 || r.Fanout.MissedByCut != 1 {
		t.Fatalf("got status %d and %v, want %d, 7 lost and one cut off\n%s", status, r.Counts, exitFaulty, out)
	}
}

func TestAWholeProcessOutOfOrderIsSeen(t *testing.T) {
	t.Parallel()
	// All members of helper 1, which has 3 to 7, get the same two messages in the wrong order: they agree with each other.
	done := map[int]bool{}
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.place < 3 || m.place > 7 || m.heard < 20 || done[m.place] {
			return []string{text}
		}
		held := m.held
		if m.held = text; held == "" {
			return nil
		}
		first, _ := check.ReadStamp([]byte(held))
		second, _ := check.ReadStamp([]byte(text))
		if first.Publisher == second.Publisher { // swapping these would be another fault: all try with the next
			return []string{held}
		}
		done[m.place] = true
		return []string{text, held}
	}}
	status, out, errs, r := bench(t, "fanout", "--url", s.serve(t), "--members", "12", "--processes", "3", "--publishers", "2", "--rate", "200", "--time", "300ms", patient)
	if status != exitFaulty || len(r.Counts) != 1 || r.Counts["disordered"] != 5 {
		t.Fatalf("got status %d and %v, want %d and 5 disordered\n%s%s", status, r.Counts, exitFaulty, out, errs)
	}
	if want := "group 0: all 5 members of helper 1 saw"; !strings.HasPrefix(r.Examples["disordered"][0], want) {
		t.Errorf("got %q, want it to start with %q", r.Examples["disordered"], want)
	}
}

// fanoutProcess is a bench in a process of its own, in the middle of publishing.
func fanoutProcess(t *testing.T) (cmd *exec.Cmd, errs *bytes.Buffer, helpers []int) {
	t.Helper()
	published := make(chan struct{})
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.heard == 3 && m.place == 11 {
			close(published)
		}
		return []string{text}
	}}
	program, err := self()
	if err != nil {
		t.Fatal(err)
	}
	cmd, errs = exec.Command(program, "fanout", "--url", s.serve(t), "--members", "12", "--processes", "3", "--rate", "50", "--time", "1m", "--no-ceiling"), &bytes.Buffer{}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // an error means that it is gone
		cmd.Wait()
	})
	select {
	case <-published:
	case <-time.After(time.Minute):
		t.Fatalf("nothing was published: %s", errs)
	}
	helpers = children(t, cmd.Process.Pid)
	if len(helpers) != 2 {
		t.Fatalf("got children %v, want 2 helpers", helpers)
	}
	return cmd, errs, helpers
}

// children are the processes that one has started.
func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	tables, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, table := range tables {
		text, _ := os.ReadFile(table)
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, child)
		}
	}
	return all
}

func TestARunWithoutOneOfItsHelpersHasNoVerdict(t *testing.T) {
	t.Parallel()
	cmd, errs, helpers := fanoutProcess(t)
	if err := syscall.Kill(helpers[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitUnable || !strings.Contains(errs.String(), fmt.Sprintf("(pid %d) ended in the middle", helpers[1])) {
		t.Errorf("got %v and %q, want status %d and which helper ended", err, errs, exitUnable)
	}
}

func TestHelpersEndWithTheBench(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd, errs, helpers := fanoutProcess(t)
			var fds []unix.PollFd // a pidfd is readable when its process has ended
			for _, pid := range helpers {
				fd, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			if signal == syscall.SIGINT && (cmd.ProcessState.ExitCode() != exitUnable || !strings.Contains(errs.String(), "interrupted")) {
				t.Errorf("got %v and %q, want status %d", err, errs, exitUnable)
			}
			for i := range fds {
				n := 0
				for n, err = unix.Poll(fds[i:i+1], 60_000); err == unix.EINTR; {
					n, err = unix.Poll(fds[i:i+1], 60_000)
				}
				if n != 1 {
					t.Errorf("helper %d lives on: %v", helpers[i], err)
				}
			}
		})
	}
}

func TestProcessesAreAsFewAsTheLimitAllows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		crowding crowding
		asked    int
		limit    uint64
		want     int    // 0: refused
		says     string // when refused
	}{
		{crowding{1000, 1000, 1, 0}, 0, 1064, 1, ""},
		{crowding{1001, 1001, 1, 0}, 0, 1064, 2, ""},
		{crowding{50_000, 49_999, 1, 0}, 0, 20_000, 3, ""},
		{crowding{50_000, 49_999, 1, 0}, 5, 20_000, 5, ""},
		{crowding{50_000, 50_000, 1, 0}, 1, 20_000, 1, ""}, // needDescriptors refuses it
		{crowding{1000, 100, 1, 0}, 0, 500, 1, ""},         // likewise: publishers stay
		{crowding{4_000_000, 4_000_000, 1, 0}, 0, 1024, 0, "ulimit -n"},
		{crowding{10, 10, 1, 0}, 33, 1024, 0, "--processes must be"},
		{crowding{10, 10, 1, 9}, 3, 1024, 0, "no use"},
	} {
		got, err := c.crowding.processes(c.asked, c.limit)
		if c.want == 0 && (err == nil || !strings.Contains(err.Error(), c.says)) || c.want > 0 && (err != nil || got != c.want) {
			t.Errorf("%+v asked for %d under %d: got %d, %v; want %d %s", c.crowding, c.asked, c.limit, got, err, c.want, c.says)
		}
	}
}

func TestEveryClientIsInOneProcessAndNoneHasTooMany(t *testing.T) {
	t.Parallel()
	for _, d := range []crowding{{12, 12, 1, 0}, {13, 12, 5, 0}, {40, 12, 1, 0}, {30, 30, 7, 9}, {1001, 1000, 100, 0}} {
		for processes := 2; processes <= 4; processes++ {
			sum, split := 0, 0
			for process := range processes {
				s := d.share(processes, process)
				sum += s.clients()
				if most := max((d.clients+processes-1)/processes, d.staying()); s.clients() > most || process > 0 && s.clients() == 0 {
					t.Errorf("%+v: process %d of %d has %d clients, want 1 to %d", d, process, processes, s.clients(), most)
				}
			}
			holders := d.share(processes, 0).holders
			for n := range holders {
				if (n < d.publishing || n >= d.members) && holders[n] != 0 {
					t.Errorf("%+v: client %d has to stay, but is in process %d", d, n, holders[n])
				}
			}
			for group := range d.groups {
				for n := group + d.groups; n < d.members; n += d.groups {
					if n-d.groups >= d.publishing && holders[n] != holders[n-d.groups] {
						split++
					}
				}
			}
			if sum != d.clients || split > processes-1 {
				t.Errorf("%+v over %d processes: %d clients, groups are cut %d times", d, processes, sum, split)
			}
		}
	}
}
