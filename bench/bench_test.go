package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// bench runs a command line without a ceiling beside it, and returns its exit status, both outputs and the only run of the result file.
func bench(t *testing.T, args ...string) (status int, out, errs string, r *report.Run) {
	t.Helper()
	status, out, errs, runs := benchRuns(t, 1, append(args, "--no-ceiling")...)
	return status, out, errs, runs[0]
}

// benchRuns is benchAll of a command line whose result file is to have so many runs.
func benchRuns(t *testing.T, n int, args ...string) (status int, out, errs string, runs []*report.Run) {
	t.Helper()
	status, out, errs, runs = benchAll(t, args...)
	if len(runs) != n {
		t.Fatalf("got status %d and %d runs, want %d runs\n%s%s", status, len(runs), n, out, errs)
	}
	return status, out, errs, runs
}

// benchAll runs a command line, and returns its exit status, both outputs and the runs of the result file, none when there is no file.
func benchAll(t *testing.T, args ...string) (status int, out, errs string, runs []*report.Run) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "result.json")
	var stdout, stderr bytes.Buffer
	status = run(context.Background(), append(inPusher(args), "--json", name), &stdout, &stderr)
	t.Logf("%s: status %d\n%s%s", args[0], status, &stdout, &stderr) // for who gives up, see again
	if _, err := os.Stat(name); err == nil {
		file, err := report.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine.Kernel == "" || file.Commit == "" || !strings.HasPrefix(file.Command, args[0]) {
			t.Errorf("the file says neither machine nor command: %+v", file)
		}
		runs = file.Runs
	}
	return status, stdout.String(), stderr.String(), runs
}

func TestFanoutIsAShareOfTheCeiling(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		for _, window := range []string{"1", "8"} {
			status, out, errs, runs := benchRuns(t, 2, "fanout", "--dialect", dialect, "--url", (&groupServer{}).serve(t), "--members", "20", "--window", window, "--time", "300ms", patient)
			if status != exitFine || !runs[1].Fine || !runs[1].IsCeiling() {
				t.Fatalf("got status %d, want %d and a ceiling without a fault\n%s%s", status, exitFine, out, errs)
			}
			if !strings.Contains(out, "against ceiling ") {
				t.Errorf("no share of the ceiling in\n%s", out)
			}
		}
	})
}

func TestBystandersThatAreNotAnsweredAreAFault(t *testing.T) {
	t.Parallel()
	for why, c := range map[string]struct {
		s        *groupServer
		patience string
	}{
		"pings of bystanders were not answered: no pong came for 1s":         {&groupServer{mute: true}, "1s"},
		"pings of bystanders were not answered: their connections had ended": {&groupServer{hangsUp: true}, "1m"}, // which it does not wait for
	} {
		status, out, _, r := bench(t, "fanout", "--url", c.s.serve(t), "--members", "3", "--bystanders", "2", "--window", "1", "--time", "300ms", "--patience", c.patience)
		if status != exitFaulty || r.Counts["lost"] == 0 || (r.Counts["cut off"] > 0) != c.s.hangsUp || !strings.Contains(out, why) {
			t.Errorf("got status %d and %v, want %q in\n%s", status, r.Counts, why, out)
		}
	}
}

func TestTheCeilingPassesTheCheckInBothForms(t *testing.T) {
	t.Parallel()
	status, out, errs, runs := benchRuns(t, 2, "ceiling", "--members", "40", "--groups", "4", "--joins", "2", "--publishers", "2", "--rate", "500",
		"--size", "3000", "--time", "300ms", patient)
	if status != exitFine || !runs[0].Fine || !runs[1].Fine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
}

func TestFanoutFindsNothingWrongWithACorrectServer(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		for name, pace := range map[string][]string{
			"closed loop":                     {"--window", "4"},
			"open loop":                       {"--rate", "200"},
			"several groups and publishers":   {"--rate", "200", "--groups", "3", "--publishers", "6"},
			"publishers are members":          {"--window", "2", "--groups", "2", "--publishers", "4", "--member-publishers"},
			"two threads":                     {"--window", "2", "--groups", "2", "--publishers", "5", "--threads", "2"},
			"long messages, 16-bit lengths":   {"--window", "2", "--size", "50000"},
			"a server that answers no ids":    {"--window", "2", "--join-proof", "probe"},
			"members of several groups":       {"--rate", "200", "--groups", "4", "--joins", "3"},
			"the same by probe":               {"--window", "2", "--groups", "4", "--joins", "3", "--join-proof", "probe"},
			"the same on two threads":         {"--window", "2", "--groups", "4", "--joins", "2", "--threads", "2"},
			"fewer publishers than groups":    {"--window", "2", "--groups", "4", "--publishers", "2"},
			"so many messages and no more":    {"--rate", "1000", "--messages", "7"},
			"bystanders":                      {"--window", "2", "--bystanders", "3"},
			"one-to-one, every member writes": {"--rate", "300", "--groups", "5", "--publishers", "10", "--member-publishers"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := &groupServer{silent: strings.Contains(name, "no ids") || strings.Contains(name, "by probe"), pings: true}
				if s.silent && dialect != "plain" {
					t.Skip("every server of this dialect answers ids")
				}
				if dialect == "pusher" && slices.Contains(pace, "--member-publishers") {
					t.Skip("who sends does not hear it")
				}
				args := append([]string{"fanout", "--dialect", dialect, "--url", s.serve(t), "--members", "10", "--time", "300ms", patient}, pace...)
				status, out, errs, r := bench(t, args...)
				if status != exitFine || !r.Fine {
					t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
				}
				f := r.Fanout
				if f.Published == 0 || f.Delivered == 0 || f.Latency.Max == 0 || f.Histogram == "" {
					t.Errorf("figures are missing: %+v", f)
				}
				if r.Flags["members"] != 10.0 || r.Flags["dialect"] != map[string]any{"centrifuge": "centrifuge", "pusher": "pusher"}[dialect] {
					t.Errorf("got flags %v, want members 10 and dialect %s", r.Flags, dialect)
				}
			})
		}
	})
}

// inEach runs a test in each dialect.
func inEach(t *testing.T, f func(t *testing.T, dialect string)) {
	for _, dialect := range []string{"plain", "centrifuge", "pusher"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			f(t, dialect)
		})
	}
}

// Each server has one fault, at message 20, for member 3 only.
func TestFanoutNamesExactlyWhatIsWrong(t *testing.T) {
	t.Parallel()
	at := func(m *groupMember, heard int) bool { return m.place == 3 && m.heard == heard }
	inEach(t, func(t *testing.T, dialect string) {
		for _, c := range []struct {
			name  string
			spoil func(m *groupMember, text string) []string
			kind  check.Fault
			want  string // all of the examples
		}{
			{"drops one", func(m *groupMember, text string) []string {
				if at(m, 20) {
					return nil
				}
				return []string{text}
			}, check.Lost, "group 0 member 3 never got publisher 0's #20"},
			{"doubles one", func(m *groupMember, text string) []string {
				if at(m, 20) {
					return []string{text, text}
				}
				return []string{text}
			}, check.Doubled, "group 0 member 3 got publisher 0's #20 again, after its #20"},
			{"swaps two", func(m *groupMember, text string) []string {
				if at(m, 20) {
					m.held = text
					return nil
				}
				if at(m, 21) {
					return []string{text, m.held}
				}
				return []string{text}
			}, check.Swapped, "group 0 member 3 got publisher 0's #20 after its #21"},
			{"changes a byte", func(m *groupMember, text string) []string {
				if at(m, 20) {
					return []string{text, text[:len(text)-1] + "!"}
				}
				return []string{text}
			}, check.Altered, "group 0 member 3 got publisher 0's #20 with another text"},
			{"delivers what nobody sent", func(m *groupMember, text string) []string {
				if at(m, 20) {
					never := check.AppendStamp(nil, check.Stamp{Publisher: 0, Sequence: 5000})
					return []string{text, string(never) + text[check.StampBytes:]}
				}
				return []string{text}
			}, check.Foreign, "group 0 member 3 got publisher 0's #5000, which was never sent"},
			{"cuts a member off", func(m *groupMember, text string) []string {
				if at(m, 20) {
					m.conn.Close()
				}
				return []string{text}
			}, check.Cut, "group 0 member 3 was cut off: the server ended the connection without a close frame"},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := &groupServer{spoil: c.spoil}
				status, out, errs, r := bench(t, "fanout", "--dialect", dialect, "--url", s.serve(t), "--members", "7", "--rate", "200", "--time", "200ms", patience(c.kind))
				if status != exitFaulty {
					t.Fatalf("got status %d, want %d\n%s%s", status, exitFaulty, out, errs)
				}
				if len(r.Counts) != 1 || r.Counts[c.kind.String()] != 1 {
					t.Errorf("got faults %v, want exactly one %v", r.Counts, c.kind)
				}
				if got := strings.Join(r.Examples[c.kind.String()], "\n"); !strings.HasPrefix(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if !strings.Contains(out, c.want) {
					t.Errorf("the fault is not printed:\n%s", out)
				}
			})
		}
	})
}

func TestFanoutCountsEveryLossOfAServerThatDropsOneInAThousand(t *testing.T) {
	t.Parallel()
	var sent, dropped int
	var names []string
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if sent++; sent%1000 == 0 {
			dropped++
			given, _ := check.ReadStamp([]byte(text))
			names = append(names, fmt.Sprintf("%s never got publisher %d's #%d", check.MemberName(0, m.place), given.Publisher, given.Sequence))
			return nil
		}
		return []string{text}
	}}
	status, out, errs, r := bench(t, "fanout", "--url", s.serve(t), "--members", "19", "--publishers", "2", "--rate", "1000", "--time", "400ms")
	s.mu.Lock()
	defer s.mu.Unlock()
	if status != exitFaulty || dropped == 0 || len(r.Counts) != 1 || r.Counts["lost"] != uint64(dropped) {
		t.Fatalf("got status %d and %v, want %d and %d lost\n%s%s", status, r.Counts, exitFaulty, dropped, out, errs)
	}
	for _, example := range r.Examples["lost"] {
		if !strings.Contains(strings.Join(names, "\n")+"\n", example+"\n") {
			t.Errorf("%q is named as lost, but these were dropped:\n%s", example, strings.Join(names, "\n"))
		}
	}
}

func TestFanoutSeesThatOneMemberHadTwoPublishersInAnotherOrder(t *testing.T) {
	t.Parallel()
	// The member that joined first receives everything first and so writes the log that the others are compared with. It
	// must be reported like any other, and alone.
	for _, place := range []int{0, 1, 7} {
		t.Run(fmt.Sprint("member ", place), func(t *testing.T) {
			t.Parallel()
			done := false
			s := &groupServer{spoil: func(m *groupMember, text string) []string {
				if m.place != place || m.heard < 20 || done {
					return []string{text}
				}
				if m.held == "" {
					m.held = text
					return nil
				}
				first, _ := check.ReadStamp([]byte(m.held))
				second, _ := check.ReadStamp([]byte(text))
				if first.Publisher == second.Publisher { // swapping these would be another fault: try with the next
					held := m.held
					m.held = text
					return []string{held}
				}
				done = true
				return []string{text, m.held}
			}}
			status, out, errs, r := bench(t, "fanout", "--url", s.serve(t), "--members", "8", "--publishers", "2", "--rate", "200", "--time", "300ms", patient)
			if status != exitFaulty || len(r.Counts) != 1 || r.Counts["disordered"] != 1 {
				t.Fatalf("got status %d and %v, want %d and one disordered\n%s%s", status, r.Counts, exitFaulty, out, errs)
			}
			if want := check.MemberName(0, place) + " (1 of 8 members) saw"; !strings.HasPrefix(r.Examples["disordered"][0], want) {
				t.Errorf("got %q, want it to start with %q", r.Examples["disordered"][0], want)
			}
		})
	}
}

func TestAWindowThatLosesItsMessageEndsTheRun(t *testing.T) {
	t.Parallel()
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.place == 1 && m.heard == 10 {
			return nil
		}
		return []string{text}
	}}
	status, out, _, r := bench(t, "fanout", "--url", s.serve(t), "--members", "3", "--window", "1", "--time", "1m")
	if status != exitFaulty || r.Counts["lost"] != 1 || !strings.Contains(out, "the window stood still") {
		t.Fatalf("got status %d, faults %v\n%s", status, r.Counts, out)
	}
}

func TestConnectJoinsHoldsAndAnswersPings(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		again(t, 200*time.Millisecond, func(hold time.Duration) bool {
			s := &groupServer{pings: true}
			status, out, errs, r := bench(t, "connect", "--dialect", dialect, "-n", "50", "--groups", "3", "--hold", hold.String(), "--url", s.serve(t))
			if status != exitFine || r.Connect == nil || r.Connect.Joined != 50 || r.Connect.PingsAnswered > 50 {
				t.Fatalf("got status %d, %+v\n%s%s", status, r.Connect, out, errs)
			}
			if r.Memory == nil || r.Memory.RSSAfter == 0 {
				t.Errorf("the server's memory was not found:\n%s", out)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.pongs == 50 && r.Connect.PingsAnswered == 50
		})
	})
}

func TestConnectCountsFailuresByCause(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // a server that is full
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				c.Read(make([]byte, 4096))
				c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))
				c.Close()
			}()
		}
	}()
	status, out, _, r := bench(t, "connect", "-n", "5", "--hold", "0s", "--url", "ws://"+listener.Addr().String()+"/")
	if status != exitFaulty || r.Causes["handshake: answered 503 Service Unavailable"] != 5 {
		t.Fatalf("got status %d, causes %v\n%s", status, r.Causes, out)
	}
}

func TestWhatCannotBeRunSaysWhatToDo(t *testing.T) {
	t.Parallel()
	addr, _, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	free := "ws://" + addr + "/"
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no server":               {[]string{"connect", "-n", "1", "--url", free}, "go run . start"},
		"a remote target":         {[]string{"connect", "-n", "1", "--url", "ws://192.0.2.1:1234/"}, "--allow-remote"},
		"another scheme":          {[]string{"connect", "-n", "1", "--url", "https://127.0.0.1/"}, "ws://"},
		"TLS flags without TLS":   {[]string{"connect", "-n", "1", "--tls-resume"}, "--tls"},
		"too many clients":        {[]string{"connect", "-n", "1000000", "--url", free}, "ulimit -n"},
		"threads cut a publisher": {[]string{"fanout", "--groups", "4", "--publishers", "3", "--threads", "2"}, "--publishers"},
		"joins beyond the groups": {[]string{"fanout", "--groups", "4", "--joins", "5"}, "--joins"},
		"a text without a stamp":  {[]string{"fanout", "--size", "5"}, "--size"},
		"both kinds of loop":      {[]string{"fanout", "--rate", "5", "--window", "5"}, "--rate"},
		"more groups than people": {[]string{"fanout", "--members", "3", "--groups", "5"}, "--members"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			status := run(context.Background(), c.args, &stdout, &stderr)
			if status != exitUnable || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("got status %d and %q, want %d and something about %q", status, &stderr, exitUnable, c.want)
			}
		})
	}
}

func TestAnInterruptedRunHasNoVerdict(t *testing.T) {
	t.Parallel()
	s := &groupServer{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"fanout", "--members", "3", "--url", s.serve(t)}, &stdout, &stderr)
	if status != exitUnable || !strings.Contains(stderr.String(), "no verdict") || stdout.Len() > 0 {
		t.Errorf("got status %d, %q, %q", status, &stdout, &stderr)
	}
}
