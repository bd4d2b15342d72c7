package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"

	"ringcast/bench/check"
)

// resume runs one who stays in each of three groups, three publishers, and twelve who come back: the numbers 6 to 17.
func resumeArgs(t *testing.T, s *groupServer, more ...string) []string {
	return append([]string{"resume", "--url", s.serve(t), "--members", "12", "--groups", "3", "--rate", "200", "--calm", "200ms", "--time", "300ms", patient}, more...)
}

var (
	storms = []string{"--missed", "5"}
	cuts   = []string{"--cuts", "100"}
)

// returns says whether a connection is of one who comes back.
func returns(m *groupMember) bool { return m.place >= 6 && m.place < 18 }

func TestResumeFindsNothingWrongWithACorrectServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pings bool
		args  []string
	}{
		"a storm":                                 {false, storms},
		"one by one":                              {false, cuts},
		"pings":                                   {true, cuts},
		"several groups each":                     {false, append([]string{"--joins", "2"}, storms...)},
		"several groups each, one by one":         {false, append([]string{"--joins", "3"}, cuts...)},
		"several publishers":                      {false, append([]string{"--publishers", "7"}, storms...)},
		"several publishers, one by one":          {false, append([]string{"--publishers", "7"}, cuts...)},
		"bystanders of the other dialect":         {false, append([]string{"--bystanders", "3"}, storms...)},
		"bystanders of the same, one by one":      {false, append([]string{"--bystanders", "3", "--dialect", "centrifuge"}, cuts...)},
		"long messages, many of them, and a name": {false, []string{"--missed", "100", "--size", "2000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			again(t, 300*time.Millisecond, func(long time.Duration) bool {
				s := &groupServer{keeps: 1000, pings: c.pings}
				status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, append([]string{"--time", long.String()}, c.args...)...)...)
				if status != exitFine || !runs[0].Fine {
					t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
				}
				x := runs[0].Resume
				oneByOne := slices.Contains(c.args, "--cuts")
				if oneByOne && (x.Missed == 0 || x.BeforeCount > 0 && x.DuringCount == 0) { // a storm may be over too soon for bystanders
					return false
				}
				if x.Published == 0 || x.Heard == 0 || x.Missed == 0 || x.Answer.Max == 0 || x.Histogram == "" || runs[0].Fanout != nil {
					t.Errorf("figures are missing: %+v", x)
				}
				joins := uint64(runs[0].Flags["joins"].(float64))
				if x.Resets+x.HangUps != x.Returns || x.Recovered != x.Returns*joins || x.NotRecovered != 0 || x.Heard != 4*x.Published*joins {
					t.Errorf("the figures do not add up: %+v", x)
				}
				if slices.Contains(c.args, "--missed") && (x.Returns != 12 || x.Missed < 12*5*joins || x.Seconds <= 0) {
					t.Errorf("in a storm 12 are cut off and miss 5 messages at least: %+v", x)
				}
				if slices.Contains(c.args, "--bystanders") != (x.BeforeCount > 0 && strings.Contains(out, "bystanders  p99 ")) {
					t.Errorf("got %+v of bystanders in\n%s", x, out)
				}
				if !strings.Contains(out, "not recovered 0") || runs[0].Flags["seed"] != 1.0 {
					t.Errorf("got flags %v and\n%s", runs[0].Flags, out)
				}
				abandoned(t, s)
				return true
			})
		})
	}
}

func TestWhoIsNotRecoveredBeginsAnewAndIsCounted(t *testing.T) {
	t.Parallel()
	lives := map[int]int{}
	for name, s := range map[string]*groupServer{
		"a history that is too short": {keeps: 3},
		"another epoch": {keeps: 1000, epoch: func(m *groupMember) string {
			lives[m.place]++
			return fmt.Sprint("epoch ", lives[m.place])
		}},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, "--publishers", "6", "--missed", "20")...)
			if status != exitFine || runs[0].Resume.NotRecovered != 12 || runs[0].Resume.Recovered != 0 || runs[0].Resume.Missed != 0 {
				t.Fatalf("got status %d, want %d and nobody recovered\n%s%s", status, exitFine, out, errs)
			}
			if x := runs[0].Resume; x.Heard >= 4*x.Published || !strings.Contains(out, "from the last time on that it was not recovered") {
				t.Errorf("got %+v\n%s", x, out)
			}
		})
	}
}

func TestABusyServerIsAskedAgain(t *testing.T) {
	t.Parallel()
	asked := 0
	s := &groupServer{keeps: 1000, reject: func(cmd string) bool {
		if cmd == "add_group" {
			asked++
		}
		return cmd == "add_group" && asked > 3+12 && asked%3 > 0 // after the first joins of all
	}}
	status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, storms...)...)
	if status != exitFine || runs[0].Resume.AskedAgain == 0 || runs[0].Resume.Recovered != 12 {
		t.Fatalf("got status %d, want %d, 12 recovered, some of them when they asked again\n%s%s", status, exitFine, out, errs)
	}
}

// Each server is wrong once, with one who has come back.
func TestResumeCountsWhatIsWrongOverAllLives(t *testing.T) {
	t.Parallel()
	other := func(publication string) string { // one with another text
		return strings.Replace(publication, `"data":"`, `"data":"?`, 1)
	}
	for _, c := range []struct {
		name string
		past func(missed []string) []string           // what the one is given in place of what it has missed
		line func(m *groupMember, push string) string // how it is told the first text after that; nil: as all others
		kind check.Fault
		n    uint64
		want string // in the example
	}{
		{"doubles one that was missed", func(missed []string) []string { return append(missed[:2:2], missed[1:]...) }, nil, check.Doubled, 1, "again, after its #"},
		{"drops one", func(missed []string) []string { return append(missed[:1:1], missed[2:]...) }, nil, check.Lost, 1, "never got publisher"},
		{"drops the last", func(missed []string) []string { return missed[:len(missed)-1] }, nil, check.Lost, 1, "never got publisher"},
		{"gives nothing", func([]string) []string { return nil }, nil, check.Lost, 0, "never got publisher"},
		{"swaps two", func(missed []string) []string { missed[0], missed[1] = missed[1], missed[0]; return missed }, nil, check.Swapped, 1, "after its #"},
		{"changes one", func(missed []string) []string { return append(missed, other(missed[0])) }, nil, check.Altered, 1, "that was not published"},
		{"gives one of another group", func(missed []string) []string {
			at := strings.Index(missed[0], `"data":"`) + len(`"data":"`)
			given, _ := check.ReadStamp([]byte(missed[0][at:]))
			given.Publisher = (given.Publisher + 1) % 3
			return append(missed, missed[0][:at]+string(check.AppendStamp(nil, given))+missed[0][at+check.StampBytes:])
		}, nil, check.Foreign, 1, "which is not for it"},
		{"numbers one twice", func(missed []string) []string {
			missed[1] = missed[1][:strings.Index(missed[1], `"offset":`)] + missed[0][strings.Index(missed[0], `"offset":`):]
			return missed
		}, nil, check.Disordered, 1, "with the offset"},
		{"gives the last again when it goes on", nil, func(m *groupMember, push string) string {
			return fmt.Sprintf(`{"push":{"channel":"%s","pub":%s}}`, m.channel, m.held) + "\n" + push
		}, check.Doubled, 1, "again, after its #"},
		{"loses the first when it goes on", nil, func(*groupMember, string) string { return "\n" }, check.Lost, 1, "never got publisher"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var chosen *groupMember
			s := &groupServer{keeps: 1000}
			s.past = func(m *groupMember, missed []string) []string {
				if chosen != nil || !returns(m) || len(missed) < 5 {
					return missed
				}
				chosen = m
				m.held = missed[len(missed)-1]
				if c.past == nil {
					return missed
				}
				return c.past(missed)
			}
			s.line = func(m *groupMember, text string) string {
				if m != chosen || c.line == nil || m.mark > 0 {
					return ""
				}
				m.mark = 1
				said := s.said[m.channel]
				return c.line(m, fmt.Sprintf(`{"push":{"channel":"%s","pub":%s}}`, m.channel, said[len(said)-1]))
			}
			status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, append([]string{patience(c.kind)}, storms...)...)...)
			if status != exitFaulty {
				t.Fatalf("got status %d, want %d\n%s%s", status, exitFaulty, out, errs)
			}
			r := runs[0]
			if n := r.Counts[c.kind.String()]; len(r.Counts) != 1 || n == 0 || c.n > 0 && n != c.n {
				t.Fatalf("got faults %v, want only %d %v\n%s", r.Counts, c.n, c.kind, out)
			}
			if got := r.Examples[c.kind.String()][0]; !strings.Contains(got, " returner ") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want a returner and %q", got, c.want)
			}
		})
	}
}

func TestWhatIsGivenWithoutARecoveryIsFound(t *testing.T) {
	t.Parallel()
	answers := 0
	s := &groupServer{keeps: 1000}
	s.answer = func(method string, id int) string {
		if method != "subscribe" {
			return "-"
		}
		if answers++; answers != 3+12+1 {
			return "-"
		}
		return fmt.Sprintf(`{"id":%d,"subscribe":{"recoverable":true,"epoch":"e","offset":1000,"publications":[{"data":"x","offset":7}],"was_recovering":true}}`, id)
	}
	status, out, _, runs := benchRuns(t, 1, resumeArgs(t, s, storms...)...)
	if status != exitFaulty || runs[0].Counts["foreign"] != 1 || !strings.Contains(runs[0].Examples["foreign"][0], "an answer that recovers nothing") {
		t.Fatalf("got status %d and %v\n%s", status, runs[0].Counts, out)
	}
}

func TestAnAnswerOfTheWrongPlaceOrTimeIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(s *groupServer, once func(m *groupMember) bool)
		kind  check.Fault
		want  string
	}{
		{"a message before the answer", func(s *groupServer, once func(m *groupMember) bool) {
			s.past = func(m *groupMember, missed []string) []string {
				if !once(m) {
					return missed
				}
				wsutil.WriteServerText(m.conn, fmt.Appendf(nil, `{"push":{"channel":"%s","pub":%s}}`, m.channel, missed[0]))
				return missed[1:]
			}
		}, check.Foreign, "before its join was answered"},
		{"another epoch", func(s *groupServer, once func(m *groupMember) bool) {
			s.result = func(m *groupMember, result string) string {
				if !once(m) {
					return result
				}
				return strings.Replace(result, `"epoch":"e"`, `"epoch":"f"`, 1)
			}
		}, check.Altered, `in the epoch "f", and had asked for it in "e"`},
		{"of another command", func(s *groupServer, once func(m *groupMember) bool) {
			s.result = func(m *groupMember, result string) string {
				if once(m) {
					wsutil.WriteServerText(m.conn, []byte(`{"id":1,"subscribe":{"recoverable":true,"epoch":"e"}}`))
				}
				return result
			}
		}, check.Failed, "got a reply to nothing"},
		{"a push of another channel", func(s *groupServer, once func(m *groupMember) bool) {
			s.line = func(m *groupMember, text string) string {
				said := s.said[m.channel]
				if len(said) < 3 || !once(m) {
					return ""
				}
				push := `{"push":{"channel":"%s","pub":%s}}`
				return fmt.Sprintf(push+"\n"+push, m.channel, said[len(said)-1], "other", said[len(said)-1])
			}
		}, check.Foreign, "is of none of its groups"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			done := false
			s := &groupServer{keeps: 1000}
			c.spoil(s, func(m *groupMember) bool {
				yes := returns(m) && !done
				done = done || yes
				return yes
			})
			status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, storms...)...)
			if status != exitFaulty || len(runs[0].Counts) != 1 || runs[0].Counts[c.kind.String()] != 1 || !strings.Contains(runs[0].Examples[c.kind.String()][0], c.want) {
				t.Fatalf("got status %d and %v %v, want 1 %v\n%s%s", status, runs[0].Counts, runs[0].Examples, c.kind, out, errs)
			}
		})
	}
}

func TestWhoCannotComeBackIsCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(s *groupServer, refuses func() bool)
		kind check.Fault
		want string
	}{
		{"a join is refused", func(s *groupServer, refuses func() bool) {
			s.answer = func(method string, id int) string {
				if method == "subscribe" && refuses() {
					return fmt.Sprintf(`{"id":%d,"error":{"code":103,"message":"permission denied"}}`, id)
				}
				return "-"
			}
		}, check.Failed, `did not come back: join: refused with 103 "permission denied"`},
		{"a request is refused", func(s *groupServer, refuses func() bool) { s.refuse = refuses }, check.Failed, "did not come back: handshake: answered 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, n, refused := &groupServer{keeps: 1000}, 0, 0
			c.make(s, func() bool {
				if n++; n <= 3+3+12 || n%4 > 0 { // nobody yet of those who stay, publish and come back for the first time
					return false
				}
				refused++
				return true
			})
			status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, storms...)...)
			if status != exitFaulty || refused == 0 {
				t.Fatalf("got status %d, want %d\n%s%s", status, exitFaulty, out, errs)
			}
			r := runs[0]
			if len(r.Counts) != 1 || r.Counts[c.kind.String()] != uint64(refused) || r.Resume.Returns != uint64(12-refused) || r.Resume.MissedByGone == 0 {
				t.Fatalf("got faults %v, %+v, want %d %v\n%s", r.Counts, r.Resume, refused, c.kind, out)
			}
			if got := r.Examples[c.kind.String()][0]; !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWhoIsCutOffByTheServerComesBackToo(t *testing.T) {
	t.Parallel()
	cut := false
	s := &groupServer{keeps: 1000}
	s.spoil = func(m *groupMember, text string) []string {
		if returns(m) && m.heard == 0 && !cut {
			cut = true
			m.conn.Close()
			return nil
		}
		return []string{text}
	}
	status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, storms...)...)
	if status != exitFaulty || len(runs[0].Counts) != 1 || runs[0].Counts["cut off"] != 1 || runs[0].Resume.Returns != 13 {
		t.Fatalf("got status %d and %v, want one cut off, and all back\n%s%s", status, runs[0].Counts, out, errs)
	}
}

func TestResumeStillChecksThoseWhoStay(t *testing.T) {
	t.Parallel()
	for name, loses := range map[string]func(m *groupMember) bool{
		"group 1 member 0":              func(m *groupMember) bool { return m.place == 1 && m.channel != "" },
		"bystanders, group 0 member 2 ": func(m *groupMember) bool { return m.place == 2 && m.channel == "" },
	} {
		s := &groupServer{keeps: 1000, spoil: func(m *groupMember, text string) []string {
			if loses(m) && m.heard == 3 {
				return nil
			}
			return []string{text}
		}}
		status, out, errs, runs := benchRuns(t, 1, resumeArgs(t, s, "--missed", "5", "--bystanders", "3", patience(check.Lost))...)
		if status != exitFaulty || runs[0].Counts["lost"] != 1 || !strings.HasPrefix(runs[0].Examples["lost"][0], name) {
			t.Errorf("%s: got status %d and %v\n%s%s", name, status, runs[0].Counts, out, errs)
		}
	}
}

func TestResumeRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"keeps no history":          {"--url", (&groupServer{}).serve(t), "--members", "12", "--groups", "3"},
		"--missed and --cuts can't": {"--missed", "3", "--cuts", "3"},
		"--missed must":             {"--missed=-1"},
		"--cuts must":               {"--cuts=-1"},
		"--rate must":               {"--rate", "0"},
		"--members must":            {"--members", "0"},
		"--groups must":             {"--groups", "0"},
		"--joins must":              {"--joins", "11"},
		"--size must":               {"--size", "3"},
		"--calm must":               {"--calm=-1s"},
		"--time must":               {"--time", "0s"},
		"--bystanders must":         {"--bystanders", "1"},
		"--patience must":           {"--patience=-1s"},
		"--join-proof probe":        {"--join-proof", "probe"},
		"--threads: those":          {"--threads", "2"},
		"the check needs a cell":    {"--members", "4000000", "--publishers", "4000000", "--groups", "1"},
		"--allow-remote":            {"--url", "ws://192.0.2.1:1234/"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), append([]string{"resume"}, args...), &stdout, &stderr)
		if status != exitUnable || !strings.Contains(stderr.String(), want) {
			t.Errorf("%v: got status %d and %q, want %d and something about %q", args, status, &stderr, exitUnable, want)
		}
	}
}
