package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// churn runs seven members and a publisher, numbers 0 to 7, and many short lives after them.
func churnArgs(t *testing.T, s *groupServer, more ...string) []string {
	return append([]string{"churn", "--url", s.serve(t), "--members", "7", "--lives", "200", "--stay", "100ms", "--time", "500ms", "--no-ceiling"}, more...)
}

// churnTime is how long the loads here publish at first, see again.
const churnTime = 500 * time.Millisecond

func TestTheCeilingBesideChurnPassesTheCheckInBothForms(t *testing.T) {
	t.Parallel()
	ceilingBesideChurn(t, "--window", "1")
	ceilingBesideChurn(t, "--rate", ceilingRate(), "--publishers", "4")
}

// ceilingRate goes with the lives of ceilingBesideChurn.
func ceilingRate() string {
	if underRace {
		return "400"
	}
	return "1000"
}

func ceilingBesideChurn(t *testing.T, more ...string) {
	t.Helper()
	lives, stay := "250", "50ms"
	if underRace {
		lives, stay = "100", "100ms"
	}
	again(t, churnTime, func(long time.Duration) bool {
		args := append([]string{"churn", "--url", (&groupServer{}).serve(t), "--members", "7", "--lives", lives, "--stay", stay, "--time", long.String(), patient}, more...)
		status, out, errs, runs := benchRuns(t, 2, args...)
		if !runs[1].IsCeiling() {
			t.Fatalf("%v: got status %d, want that the second run is of a ceiling\n%s%s", more, status, out, errs)
		}
		heard := true
		for _, r := range runs {
			if r.Churn == nil || len(r.Counts) > 0 || !r.Fine && r.Churn.Heard > 0 {
				t.Fatalf("%v: got status %d, %+v, faults %v, want none\n%s%s", more, status, r.Churn, r.Counts, out, errs)
			}
			heard = heard && r.Churn.Heard > 0 // otherwise that is a fault in itself
		}
		if heard && status != exitFine {
			t.Fatalf("%v: got status %d, want %d\n%s%s", more, status, exitFine, out, errs)
		}
		return heard
	})
}

// onlyFault judges what must hold whatever has happened in a run: it has at least so many and at most so many faults of a kind and none of
// another, and its status says whether it has any. That those who came and went heard nothing is a fault in itself.
func onlyFault(t *testing.T, status int, out string, runs []*report.Run, kind check.Fault, least, most uint64) (n uint64) {
	t.Helper()
	if runs[0].Churn == nil {
		t.Fatalf("got status %d\n%s", status, out)
	}
	r, want := runs[0], exitFine
	if n = r.Counts[kind.String()]; n > 0 || r.Churn.Heard == 0 {
		want = exitFaulty
	}
	if len(r.Counts) > int(min(n, 1)) || n < least || n > most || status != want {
		t.Fatalf("got status %d, faults %v, want %d and only %v, from %d to %d\n%s", status, r.Counts, want, kind, least, most, out)
	}
	return n
}

func isLife(m *groupMember) bool { return m.place > 7 }

// abandoned waits until the server has seen the end of every connection: one that the bench did not close would stay.
func abandoned(t *testing.T, s *groupServer) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for range look.C {
		s.mu.Lock()
		open := s.open
		s.mu.Unlock()
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open after the run", open)
		}
	}
}

func TestChurnFindsNothingWrongWithACorrectServer(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		for name, args := range map[string][]string{
			"open loop":                     {"--rate", "200"},
			"closed loop":                   {"--window", "2"},
			"several groups and publishers": {"--rate", "400", "--groups", "3", "--publishers", "7"},
			"two threads and bystanders":    {"--rate", "200", "--groups", "2", "--threads", "2", "--bystanders", "2"},
			"a server that answers no ids":  {"--rate", "200", "--join-proof", "probe"},
			"long messages":                 {"--rate", "100", "--size", "20000"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				silent := strings.Contains(name, "no ids")
				if silent && dialect != "plain" {
					t.Skip("every server of this dialect answers ids")
				}
				again(t, churnTime, func(long time.Duration) bool {
					s := &groupServer{silent: silent, pings: true}
					status, out, errs, runs := benchRuns(t, 1, churnArgs(t, s, append([]string{"--dialect", dialect, "--time", long.String(), patient}, args...)...)...)
					if runs[0].Churn == nil {
						t.Fatalf("got status %d\n%s%s", status, out, errs)
					}
					c := runs[0].Churn
					if want := c.Heard > 0; len(runs[0].Counts) > 0 || runs[0].Fine != want || (status == exitFine) != want {
						t.Fatalf("got status %d, faults %v, want %d, or nothing heard\n%s%s", status, runs[0].Counts, exitFine, out, errs)
					}
					if c.Connects == 0 || c.PerSecond == 0 {
						t.Errorf("figures are missing: %+v", c)
					}
					if c.Closes+c.Aborts != c.Connects || c.Joins > c.Connects || c.Leaves > c.Joins && !s.silent {
						t.Errorf("the figures do not add up: %+v", c)
					}
					if runs[0].Flags["lives"] != 200.0 || runs[0].Verb != "churn" || runs[0].Fanout.Delivered == 0 {
						t.Errorf("got verb %s, flags %v, %d delivered", runs[0].Verb, runs[0].Flags, runs[0].Fanout.Delivered)
					}
					if !strings.Contains(out, "lives/s; they heard") {
						t.Errorf("no line about who came and went:\n%s", out)
					}
					abandoned(t, s)
					return c.Joins > 0 && c.Leaves > 0 && c.Closes > 0 && c.Aborts > 0 && c.Heard > 0
				})
			})
		}
	})
}

// Each server has one kind of fault, for many of the lives, tried times in all. Some of those end before they can notice;
// one that leaves later has noticed for certain, as the answer to its leave comes after the fault.
func TestChurnCountsWhatIsWrongWithShortLives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(m *groupMember, text string, try func(), most uint32) []string // most: of the messages, four of five have a lower number
		kind  check.Fault
		want  string // in the first example
	}{
		{"drops one", func(m *groupMember, text string, try func(), _ uint32) []string {
			if m.heard == 1 {
				try()
				return nil
			}
			return []string{text}
		}, check.Lost, "never got publisher 0's #"},
		{"doubles one", func(m *groupMember, text string, try func(), _ uint32) []string {
			if m.heard == 1 {
				try()
				return []string{text, text}
			}
			return []string{text}
		}, check.Doubled, "again, after its #"},
		{"swaps two", func(m *groupMember, text string, try func(), most uint32) []string {
			given, _ := check.ReadStamp([]byte(text))
			if m.heard == 1 && given.Sequence < most { // after the last ones of the run none may follow, which would be another fault
				m.held = text
				return nil
			}
			if m.held != "" {
				held := m.held
				m.held = ""
				try()
				return []string{text, held}
			}
			return []string{text}
		}, check.Swapped, "got publisher 0's #"},
		{"steps back before the first", func(m *groupMember, text string, try func(), _ uint32) []string {
			given, _ := check.ReadStamp([]byte(text))
			if m.heard == 0 && given.Sequence > 0 {
				try()
				given.Sequence--
				return []string{text, string(check.AppendStamp(nil, given)) + text[check.StampBytes:]}
			}
			return []string{text}
		}, check.Swapped, "after its #"},
		{"changes a byte", func(m *groupMember, text string, try func(), _ uint32) []string {
			if m.heard == 1 {
				try()
				return []string{text, text[:len(text)-1] + "!"}
			}
			return []string{text}
		}, check.Altered, "that was not published"},
		{"delivers what is not for the group", func(m *groupMember, text string, try func(), _ uint32) []string {
			if m.heard == 1 {
				try()
				return []string{text, string(check.AppendStamp(nil, check.Stamp{Publisher: 1})) + text[check.StampBytes:]}
			}
			return []string{text}
		}, check.Foreign, "got publisher 1's #0, which is not for it"},
	} {
		inEach(t, func(t *testing.T, dialect string) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				again(t, churnTime, func(long time.Duration) bool {
					var tried, certain uint64
					s := &groupServer{}
					s.spoil = func(m *groupMember, text string) []string {
						if !isLife(m) {
							return []string{text}
						}
						return c.spoil(m, text, func() { tried++; m.mark = m.heard + 1 }, uint32(long/(5*time.Millisecond)*4/5))
					}
					s.left = func(m *groupMember) {
						if m.mark > 0 && m.heard > m.mark { // another one came after it
							certain++
						}
					}
					status, out, errs, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--dialect", dialect, "--time", long.String(), patience(c.kind))...)
					s.mu.Lock()
					defer s.mu.Unlock()
					if dialect == "pusher" { // its leaves are not answered, so some that leave do not see it
						certain = min(certain/5, 1)
					}
					if onlyFault(t, status, out+errs, runs, c.kind, certain, tried) == 0 {
						return false
					}
					if got := runs[0].Examples[c.kind.String()][0]; !strings.HasPrefix(got, "life ") || !strings.Contains(got, c.want) {
						t.Errorf("got %q, want a life and %q", got, c.want)
					}
					return certain > 0
				})
			})
		})
	}
}

func TestChurnSeesAServerThatIgnoresALeave(t *testing.T) {
	t.Parallel()
	inEach(t, func(t *testing.T, dialect string) {
		if dialect == "pusher" {
			t.Skip("its leaves are not answered, so it is not known from when on nothing may come")
		}
		again(t, churnTime, func(long time.Duration) bool {
			leaves := 0
			s := &groupServer{shirk: func(cmd string, _ int) bool {
				if cmd == "leave_group" {
					leaves++
				}
				return cmd == "leave_group"
			}}
			status, out, _, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--dialect", dialect, "--time", long.String(), patient)...)
			s.mu.Lock()
			defer s.mu.Unlock()
			least := uint64(min(leaves/10, 1)) // who leaves last hears nothing after it
			onlyFault(t, status, out, runs, check.Foreign, least, math.MaxUint64)
			for _, example := range runs[0].Examples["foreign"] {
				if !strings.Contains(example, "after its leave was answered") {
					t.Errorf("got %q, want that it was after a leave", example)
				}
			}
			return least > 0
		})
	})
}

func TestChurnSeesThatAJoinWasAnsweredButNotDone(t *testing.T) {
	t.Parallel()
	again(t, churnTime, func(long time.Duration) bool {
		shirked, many := map[int]bool{}, 0
		s := &groupServer{shirk: func(cmd string, id int) bool {
			if cmd == "add_group" && id > 7 && id%10 == 0 && !shirked[id] {
				shirked[id] = true
				many++
			}
			return cmd == "add_group" && shirked[id]
		}}
		status, out, _, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--time", long.String())...)
		s.mu.Lock()
		defer s.mu.Unlock()
		least := uint64(min(many/5, 1)) // it is not known of all, as some stay for a moment only
		onlyFault(t, status, out, runs, check.Lost, least, math.MaxUint64)
		for _, example := range runs[0].Examples["lost"] {
			var life int
			if fmt.Sscanf(example, "life %d", &life); !shirked[life+8] {
				t.Errorf("%q is named, but it was let in", example)
			}
		}
		return least > 0
	})
}

func TestChurnSeesThatTheFirstMessageAfterAJoinIsMissing(t *testing.T) {
	t.Parallel()
	again(t, churnTime, func(long time.Duration) bool {
		var tried, left uint64
		joined := map[net.Conn]int64{} // when it was known that the answer to the join had been read: the ping after it was answered
		s := &groupServer{pings: true, ponged: func(conn net.Conn) { joined[conn] = client.Clock() }, left: func(m *groupMember) {
			if m.mark > 0 && m.heard > m.mark+1 {
				left++
			}
		}}
		// A message that was sent before the answer to the join had been read is not expected, so one misses all, up to the first that was
		// sent after that. Others have to receive it, otherwise it is not known.
		spared := func(m *groupMember) bool { return m.place%3 > 0 }
		s.spoil = func(m *groupMember, text string) []string {
			if !isLife(m) || spared(m) || m.mark > 0 {
				return []string{text}
			}
			others := 0
			for _, members := range s.groups {
				for _, other := range members {
					if isLife(other) && spared(other) {
						others++
					}
				}
			}
			at, known := joined[m.conn]
			if given, _ := check.ReadStamp([]byte(text)); known && given.Due > at && others >= 8 {
				m.mark = m.heard + 1
			}
			tried++
			return nil
		}
		status, out, _, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--time", long.String(), "--stay", (long/2).String())...)
		s.mu.Lock()
		defer s.mu.Unlock()
		onlyFault(t, status, out, runs, check.Lost, left, tried)
		return left >= 4
	})
}

func TestChurnIsFaultyWhenNobodyWhoPassesHearsAnything(t *testing.T) {
	t.Parallel()
	s := &groupServer{shirk: func(cmd string, id int) bool { return cmd == "add_group" && id > 7 }}
	status, out, _, _ := benchRuns(t, 1, churnArgs(t, s, "--rate", "200")...)
	if status != exitFaulty || !strings.Contains(out, "heard nothing") {
		t.Fatalf("got status %d\n%s", status, out)
	}
}

func TestChurnCountsLivesThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(s *groupServer, tried *int)
		kind check.Fault
		want string
	}{
		{"refused", func(s *groupServer, tried *int) {
			requests := 0
			s.refuse = func() bool {
				if requests++; requests > 8 && requests%5 == 0 {
					*tried++
					return true
				}
				return false
			}
		}, check.Failed, "failed: handshake: answered 503"},
		{"a leave is refused", func(s *groupServer, tried *int) {
			s.reject = func(cmd string) bool {
				if cmd == "leave_group" {
					*tried++
				}
				return cmd == "leave_group"
			}
		}, check.Failed, "failed: leave: refused "},
		{"cut off", func(s *groupServer, tried *int) {
			s.spoil = func(m *groupMember, text string) []string {
				if isLife(m) && m.heard == 0 {
					*tried++
					m.conn.Close()
					return nil
				}
				return []string{text}
			}
		}, check.Cut, "was cut off: the server ended the connection without a close frame"},
	} {
		inEach(t, func(t *testing.T, dialect string) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if dialect == "pusher" && c.name == "a leave is refused" {
					t.Skip("its leaves are not answered")
				}
				again(t, churnTime, func(long time.Duration) bool {
					s, tried := &groupServer{}, 0
					c.make(s, &tried)
					status, out, errs, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--dialect", dialect, "--time", long.String(), patience(c.kind))...)
					s.mu.Lock()
					defer s.mu.Unlock()
					least := tried
					if c.kind != check.Failed { // one that is cut off may have ended by itself at that moment
						least = min(tried/5, 1)
					}
					if onlyFault(t, status, out+errs, runs, c.kind, uint64(least), uint64(tried)) == 0 {
						return false
					}
					if !strings.Contains(runs[0].Examples[c.kind.String()][0], c.want) {
						t.Errorf("got %q, want %q", runs[0].Examples[c.kind.String()][0], c.want)
					}
					return least > 0
				})
			})
		})
	}
}

func TestChurnStillChecksTheMembersThatStay(t *testing.T) {
	t.Parallel()
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.place == 3 && m.heard == 20 {
			return nil
		}
		return []string{text}
	}}
	status, out, _, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200")...)
	if status != exitFaulty || len(runs[0].Counts) != 1 || runs[0].Counts["lost"] != 1 || !strings.HasPrefix(runs[0].Examples["lost"][0], "group 0 member 3 never got") {
		t.Fatalf("got status %d, faults %v\n%s", status, runs[0].Counts, out)
	}
}

func TestALifeThatFindsNoPlaceIsCountedAndNotBegun(t *testing.T) {
	t.Parallel()
	s := &groupServer{}
	most, at := 0, 0
	s.refuse = func() bool { // counts, and refuses no client
		at++
		most = max(most, s.open)
		return false
	}
	// They stay long, so that there are few: the server may notice late that clients have disconnected.
	status, out, errs, runs := benchRuns(t, 1, churnArgs(t, s, "--rate", "200", "--places", "3", "--stay", "1s", "--time", "2s", patient)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := runs[0].Churn
	if c == nil {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	if due := c.Connects + c.Behind; status != exitFine || c.Behind == 0 || due != 2*200 {
		t.Fatalf("got status %d, %+v, want 200 lives due in each of 2 s, some without a place\n%s%s", status, c, out, errs)
	}
	if most > 8+2*3 {
		t.Errorf("the server saw %d clients at once, want 8 and 3", most)
	}
}

func TestLivesThatAreDueWhenTheTimeIsOverAreCountedAndNotBegun(t *testing.T) {
	t.Parallel()
	// More than any machine can do, and a place for each: what is behind would have to be worked off afterwards.
	_, out, errs, runs := benchRuns(t, 1, churnArgs(t, &groupServer{}, "--rate", "50", "--lives", "20000", "--places", "4000", "--stay", "10ms", "--time", "200ms", patient)...)
	if runs[0].Churn == nil || len(runs[0].Counts) > 0 {
		t.Fatalf("got faults %v, want none\n%s%s", runs[0].Counts, out, errs)
	}
	if c := runs[0].Churn; c.Behind == 0 || c.Connects+c.Behind != 4000 {
		t.Errorf("got %+v, want 4000 lives due, some not begun\n%s", c, out)
	}
}

func TestLivesEndWithPublishingThatEndsBeforeItsTime(t *testing.T) {
	t.Parallel()
	_, out, errs, runs := benchRuns(t, 1, churnArgs(t, &groupServer{}, "--rate", "200", "--messages", "50", "--time", "1m", patient)...)
	if runs[0].Churn == nil || len(runs[0].Counts) > 0 {
		t.Fatalf("got faults %v, want none\n%s%s", runs[0].Counts, out, errs)
	}
	if c := runs[0].Churn; c.Connects == 0 || c.Connects+c.Behind >= 60*200 {
		t.Errorf("got %+v, want fewer lives than are due in 1m\n%s", c, out)
	}
}

func TestTheSameSeedGivesTheSameLives(t *testing.T) {
	draw := func(seed uint64) (all []fate) {
		r := rand.New(rand.NewPCG(seed, 0))
		for range 1000 {
			all = append(all, drawFate(r, time.Second))
		}
		return all
	}
	a, b, c := draw(1), draw(1), draw(2)
	if fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("fates do not follow the seed")
	}
	var breaks, halves, leaves int
	for _, f := range a {
		if f.breaks {
			breaks++
		}
		if f.half {
			halves++
		}
		if f.leaves {
			leaves++
		}
		if f.stay < 0 || f.stay > time.Second || f.half && (!f.breaks || f.stay > halfTime) {
			t.Fatalf("got %+v", f)
		}
	}
	if breaks < 400 || breaks > 600 || halves < 75 || halves > 175 || leaves < 400 || leaves > 600 {
		t.Errorf("of 1000 lives %d break off, %d of them in their request, %d leave", breaks, halves, leaves)
	}
}

func TestChurnAndSlowRefuseWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--lives":        {"churn", "--lives", "0"},
		"--places must":  {"churn", "--places", "0"},
		"--stay":         {"churn", "--stay", "0s"},
		"--places and":   {"churn", "--places", "20000", "--publishers", "20000", "--members", "1"},
		"--slow must":    {"slow", "--slow", "0"},
		"--processes":    {"churn", "--processes", "2"},
		"--allow-remote": {"slow", "--url", "ws://192.0.2.1:1234/"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), args, &stdout, &stderr)
		if status != exitUnable || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: got status %d and %q, want %d and something about %q", args, status, &stderr, exitUnable, want)
		}
	}
}
