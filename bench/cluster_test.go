package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// nodesOf are three doors of one server: nodes that agree on everything, but for the faults that a test inserts.
func nodesOf(t *testing.T, s *groupServer) (urls string) {
	t.Helper()
	if s.keeps == 0 {
		s.keeps = 100_000
	}
	all := []string{s.serve(t)}
	for range 2 {
		door := httptest.NewServer(s)
		t.Cleanup(door.Close)
		all = append(all, strings.Replace(door.URL, "http", "ws", 1)+"/")
	}
	return strings.Join(all, ",")
}

func clusterArgs(t *testing.T, s *groupServer, more ...string) []string {
	return append([]string{"cluster", "--url", nodesOf(t, s), "--groups", "4", "--members", "12", "--publishers", "6", "--time", "400ms", "--patience", "5s"}, more...)
}

func TestNodesThatAgreePassTheCheck(t *testing.T) {
	t.Parallel()
	for _, pace := range [][]string{{"--rate", "1000"}, {"--window", "8"}, {"--rate", "1000", "--keys", "--threads", "2"}} {
		status, out, errs, runs := benchRuns(t, 1, clusterArgs(t, &groupServer{}, pace...)...)
		if status != exitFine {
			t.Fatalf("%v: got status %d, want %d\n%s%s", pace, status, exitFine, out, errs)
		}
		x := runs[0].Cluster
		if x.OK == 0 || x.OK != x.Published || x.Ordered != x.OK || x.Delivered != 3*x.OK {
			t.Errorf("%v: got %+v, want each message answered ok, in the order once and heard by the three members of its group", pace, x)
		}
		if x.Ack.P50 == 0 || x.Delivery.P50 == 0 || x.Ack.Max > int64(10*time.Second) || len(x.Nodes) != 3 {
			t.Errorf("%v: got %+v, want times and three nodes", pace, x)
		}
		if pace[0] == "--rate" && x.Published != 400 {
			t.Errorf("%v: got %d published, want 1,000/s for 400 ms", pace, x.Published)
		}
	}
}

// nth does something once, to message n of those with a stamp that it is asked about.
func nth(n int) func(text string) bool {
	var mu sync.Mutex
	return func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := check.ReadStamp([]byte(text)); ok {
			n--
		}
		return n == 0
	}
}

func TestEveryFaultOfNodesIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(hit func(string) bool) func(m *groupMember, text string) []string
		orders func(hit func(string) bool) func(key, text string) (string, int)
		line   func(hit func(string) bool) func(m *groupMember, text string) string
		more   []string
		want   string // a count with the space before it: the whole number
	}{
		"a member is not told": {spoil: func(hit func(string) bool) func(*groupMember, string) []string {
			return func(_ *groupMember, text string) []string {
				if hit(text) {
					return nil
				}
				return []string{text}
			}
		}, want: " 1 lost"},
		"a member is told twice": {spoil: func(hit func(string) bool) func(*groupMember, string) []string {
			return func(_ *groupMember, text string) []string {
				if hit(text) {
					return []string{text, text}
				}
				return []string{text}
			}
		}, want: " 1 doubled"},
		"a member is told another text": {spoil: func(hit func(string) bool) func(*groupMember, string) []string {
			return func(_ *groupMember, text string) []string {
				if hit(text) {
					return []string{text[:len(text)-1] + "!"}
				}
				return []string{text}
			}
		}, want: " 1 altered"},
		"a member is told another offset": {line: func(hit func(string) bool) func(*groupMember, string) string {
			return func(m *groupMember, text string) string {
				if hit(text) {
					return fmt.Sprintf(`{"push":{"channel":"%s","pub":{"data":"%s","offset":%d}}}`, m.channel, text, 90_000)
				}
				return ""
			}
		}, want: "lost"},
		"a member is told of another group": {line: func(hit func(string) bool) func(*groupMember, string) string {
			return func(m *groupMember, text string) string {
				if hit(text) {
					return fmt.Sprintf(`{"push":{"channel":"other","pub":{"data":"%s","offset":1}}}`, text)
				}
				return ""
			}
		}, want: " 1 foreign"},
		"ok, and never said":          {orders: answers("ok", 0), want: " 3 lost"},
		"ok, and said twice":          {orders: answers("ok", 2), want: "is in the order twice"},
		"ok with another number":      {orders: answers("wrong", 1), want: " 1 contradicted"},
		"busy, and said":              {orders: answers("busy", 1), want: " 1 contradicted"},
		"unavailable, and said":       {orders: answers("unavailable", 1), want: "was answered unavailable, and heard"},
		"forbidden, and said":         {orders: answers("forbidden", 1), want: "was answered refused, and heard"},
		"unknown, and said twice":     {orders: answers("unknown", 2), want: "is in the order twice"},
		"no answer":                   {orders: answers("-", 1), want: " 1 unanswered"},
		"a publisher is cut off":      {orders: answers("cut", 0), want: " 1 cut off"},
		"a key is forgotten":          {orders: answers("unknown", 1), more: []string{"--repeat-unknown"}, want: "is in the order twice"},
		"another number for a repeat": {orders: answersOnce("unknown", "wrong"), more: []string{"--repeat-unknown"}, want: " 1 contradicted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &groupServer{}
			hit := nth(100)
			if c.spoil != nil {
				s.spoil = c.spoil(hit)
			}
			if c.orders != nil {
				s.orders = c.orders(hit)
			}
			if c.line != nil {
				s.line = c.line(hit)
			}
			if name == "a key is forgotten" {
				orders := s.orders
				s.orders = func(key, text string) (string, int) { clear(s.keyed); return orders(key, text) }
			}
			status, out, errs, _ := benchAll(t, clusterArgs(t, s, append([]string{"--rate", "1000"}, c.more...)...)...)
			if status != exitFaulty || !strings.Contains(out, c.want) || !strings.Contains(out, "FAULTY") {
				t.Errorf("got status %d, want %d and %q in\n%s%s", status, exitFaulty, c.want, out, errs)
			}
		})
	}
}

// answers has one publish answered by a code and said so often.
func answers(code string, says int) func(hit func(string) bool) func(key, text string) (string, int) {
	return func(hit func(string) bool) func(key, text string) (string, int) {
		return func(_, text string) (string, int) {
			if hit(text) {
				return code, says
			}
			return "ok", 1
		}
	}
}

// answersOnce has one publish answered by a code, and its repeat by another.
func answersOnce(code, again string) func(hit func(string) bool) func(key, text string) (string, int) {
	return func(hit func(string) bool) func(key, text string) (string, int) {
		known := ""
		return func(key, text string) (string, int) {
			switch {
			case known == key && key != "":
				return again, 0
			case hit(text):
				known = key
				return code, 1
			}
			return "ok", 1
		}
	}
}

func TestWhatIsUnknownIsRepeatedAndNeverDoubled(t *testing.T) {
	t.Parallel()
	n := 0
	s := &groupServer{orders: func(_, _ string) (string, int) {
		n++
		switch n % 7 {
		case 0:
			return "unknown", 0
		case 1:
			return "unknown", 1
		case 2:
			return "cut", 1
		case 3:
			return "cut", 0
		}
		return "ok", 1
	}}
	status, out, errs, runs := benchRuns(t, 1, clusterArgs(t, s, "--rate", "500", "--repeat-unknown", "--expect-cuts")...)
	if status != exitFine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	x := runs[0].Cluster
	if x.OK != 200 || x.Published != 200 || x.Ordered != 200 || x.Repeats == 0 || x.RepeatsOK == 0 || x.Cuts == 0 {
		t.Errorf("got %+v, want all of 200 answered ok in the end, and repeats", x)
	}
}

func TestWhatIsRefusedIsCountedAndNoFault(t *testing.T) {
	t.Parallel()
	n := 0
	s := &groupServer{orders: func(_, _ string) (string, int) {
		n++
		switch n % 10 {
		case 0:
			return "busy", 0
		case 1:
			return "unavailable", 0
		case 2:
			return "unknown", 0
		case 3:
			return "unknown", 1
		case 4:
			return "rate_limited", 0
		}
		return "ok", 1
	}}
	status, out, errs, runs := benchRuns(t, 1, clusterArgs(t, s, "--rate", "500")...)
	if status != exitFine || !strings.Contains(out, "20 publishes were refused as rate_limited") {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	x := runs[0].Cluster
	if x.OK != 100 || x.Busy != 20 || x.Unavailable != 20 || x.Unknown != 40 || x.UncertainHeard != 20 || x.Refused != 20 || x.Ordered != 120 {
		t.Errorf("got %+v", x)
	}
}

func TestMembersThatAreCutOffComeBackToAnotherNodeAndMissNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		past func(m *groupMember, missed []string) []string
		want string // empty: fine
	}{
		"all":       {nil, ""},
		"one not":   {func(_ *groupMember, missed []string) []string { return missed[min(1, len(missed)):] }, "lost"},
		"one twice": {func(_ *groupMember, missed []string) []string { return append(missed, missed[:min(1, len(missed))]...) }, "doubled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, n := &groupServer{past: c.past}, 0
			s.line = func(m *groupMember, _ string) string {
				if n++; n%40 == 0 {
					m.conn.Close() // with what is to be told to it
				}
				return ""
			}
			status, out, errs, runs := benchRuns(t, 1, clusterArgs(t, s, "--rate", "500", "--expect-cuts")...)
			if c.want != "" {
				if status != exitFaulty || !strings.Contains(out, c.want) {
					t.Errorf("got status %d, want %d and %q in\n%s%s", status, exitFaulty, c.want, out, errs)
				}
				return
			}
			x := runs[0].Cluster
			if status != exitFine || x.Returns < 5 || x.Recovered != x.Returns || x.Missed == 0 || x.Delivered != 3*x.OK {
				t.Errorf("got status %d and %+v, want %d and members that came back\n%s%s", status, x, exitFine, out, errs)
			}
		})
	}
}

func TestGroupsWithoutAHistoryCannotBeChecked(t *testing.T) {
	t.Parallel()
	status, out, errs, _ := benchAll(t, "cluster", "--url", (&groupServer{}).serve(t), "--groups", "2", "--time", "100ms")
	if status != exitUnable || !strings.Contains(errs, "start them with --history") {
		t.Errorf("got status %d, want %d and the mend\n%s%s", status, exitUnable, out, errs)
	}
}

func TestTheLimitIsTheRateBeforeTheOneThatBreaks(t *testing.T) {
	t.Parallel()
	s := &groupServer{}
	var mu sync.Mutex
	said := 0
	s.orders = func(_, _ string) (string, int) {
		mu.Lock()
		defer mu.Unlock()
		if said++; said > 400 { // within the third step: 100 ms of 1,000, 2,000 and 4,000 a second
			return "busy", 0
		}
		return "ok", 1
	}
	status, out, errs, _ := benchRuns(t, 3, "cluster", "--url", nodesOf(t, s), "--groups", "3", "--time", "100ms", "--rate", "1000", "--find-limit", "--step", "2", "--limit-p99", "10s")
	if status != exitFine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	if !strings.Contains(out, "4,000 messages/s did not hold, as not all publishes were answered ok; 2,000 did") {
		t.Errorf("the limit is not in\n%s", out)
	}
}

func TestMishapsAreReadAndPutInOrder(t *testing.T) {
	t.Parallel()
	f := &mishapFlags{Kill: []string{"1@5s", "3@1s"}, Stop: []string{"2@2s+4s"}, Restart: 3 * time.Second}
	plan, longest, err := f.plan(3, 10*time.Second)
	want := "3 killed at 1s, 2 stopped at 2s, 3 started again at 4s, 1 killed at 5s, 2 goes on at 6s, 1 started again at 8s, "
	got := ""
	for _, m := range plan {
		got += fmt.Sprintf("%d %s at %v, ", m.node+1, mishapNames[m.what], m.at)
	}
	if got != want || err != nil || longest != 4*time.Second {
		t.Errorf("got %s, %v and %v, want %s and 4s", got, longest, err, want)
	}
	for _, bad := range []mishapFlags{{Kill: []string{"0@1s"}}, {Kill: []string{"4@1s"}}, {Kill: []string{"1"}}, {Kill: []string{"x@1s"}}, {Kill: []string{"1@x"}}, {Kill: []string{"1@-1s"}},
		{Kill: []string{"1@10s"}}, {Stop: []string{"1@1s"}}, {Stop: []string{"1@1s+x"}}, {Stop: []string{"1@5s+5s"}}, {Term: []string{"1@11s"}}} {
		if plan, _, err := bad.plan(3, 10*time.Second); err == nil {
			t.Errorf("%+v: got %v, want an error", bad, plan)
		}
	}
}

func TestWhatMakesNoSenseOfAClusterIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--nodes", "0"}, {"--nodes", "17"}, {"--rate", "1", "--window", "1"}, {"--groups", "0"}, {"--size", "3"}, {"--members", "2"}, {"--find-limit", "--window", "1"},
		{"--url", "ws://127.0.0.1:1/", "--kill", "1@1s"}, {"--url", "ws://127.0.0.1:1/", "--server", "x"}, {"--kill", "9@1s"}, {"--ceiling", "all"}, {"--step", "1", "--find-limit"},
		{"--cluster-wait", "1ms"}, {"--time", "0s"}, {"--threads", "0"}, {"--history", "0"}, {"--rate", "1000000", "--time", "1h"}} {
		if status, out, errs, _ := benchAll(t, append([]string{"cluster"}, args...)...); status != exitUnable || errs == "" {
			t.Errorf("%v: got status %d, want %d and why\n%s%s", args, status, exitUnable, out, errs)
		}
	}
}

// serveNode is a node in a process of its own, which keeps nothing over a restart. It takes the flags of ringcast's.
func serveNode(args []string) {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	s := &groupServer{keeps: 100_000}
	if after, dies := strings.CutPrefix(args[len(args)-1], "--dies="); dies { // after so many publishes
		left, _ := strconv.Atoi(after)
		s.orders = func(_, _ string) (string, int) {
			if left--; left < 0 {
				fmt.Fprintln(os.Stderr, "this is a panic")
				os.Exit(2)
			}
			return "ok", 1
		}
	}
	s.init()
	clients, err := net.Listen("tcp", flags["--listen"])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go http.Serve(clients, s)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "go_goroutines 7") })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(flags["--admin"], mux))
	os.Exit(1)
}

func TestNodesAreStartedAndMishapsAreDone(t *testing.T) {
	t.Parallel()
	program, err := self()
	if err != nil {
		t.Fatal(err)
	}
	load := []string{"cluster", "--server", program, "--alone", "--groups", "4", "--members", "8", "--rate", "400", "--patience", "5s"}
	for name, c := range map[string]struct {
		more   []string
		status int
		want   []string
		done   []mishap // in this order, and none of them early
	}{
		"nothing happens": {[]string{"--time", "400ms", "--rate", "4000"}, exitFine, []string{"ringcast alone", "1,600 ok", "node        n1: ", "fine: what was answered ok"}, nil},
		"it is stopped for a while": {[]string{"--time", "2s", "--stop", "1@200ms+400ms"}, exitFine,
			[]string{"800 ok", "fine: what was answered ok"}, []mishap{{at: 200 * time.Millisecond, what: mishapStop}, {at: 600 * time.Millisecond, what: mishapGoOn}}},
		"it is killed and forgets": {[]string{"--time", "2s", "--kill", "1@400ms", "--restart", "100ms"}, exitFaulty,
			[]string{"FAULTY", "cut off     "}, []mishap{{at: 400 * time.Millisecond, what: mishapKill}, {at: 500 * time.Millisecond, what: mishapStart}}},
		"it is killed and stays away": {[]string{"--time", "2s", "--kill", "1@300ms", "--patience", "1s"}, exitFaulty,
			[]string{"FAULTY", "had not come back when all was over", "due messages were not sent"}, []mishap{{at: 300 * time.Millisecond, what: mishapKill}}},
		"it ends by itself": {[]string{"--time", "1s", "--patience", "1s", "--node-flag=--dies=100"}, exitFaulty, []string{"FAULTY: node n1 ended by itself: this is a panic"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs, runs := benchRuns(t, 1, append(load, c.more...)...)
			if status != c.status {
				t.Fatalf("got status %d, want %d\n%s%s", status, c.status, out, errs)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s%s", want, out, errs)
				}
			}
			events := runs[0].Cluster.Events
			if len(events) != len(c.done) {
				t.Fatalf("got %+v, want %+v", events, c.done)
			}
			for i, m := range c.done {
				if x := events[i]; x.Node != "n1" || x.What != mishapNames[m.what] || x.At < int64(m.at) || !strings.Contains(out, " s: "+mishapNames[m.what]) {
					t.Errorf("got %+v, want that n1 is %s after %v, in\n%s", x, mishapNames[m.what], m.at, out)
				}
			}
			if n := runs[0].Cluster.Nodes; len(n) != 1 || n[0].RSSPeak == 0 || c.status == exitFine && n[0].User+n[0].System == 0 || len(n[0].Samples) == 0 || n[0].Samples[0].FDs == 0 {
				t.Errorf("got %+v, want one node that was seen", n)
			}
		})
	}
}

func TestOneNodeAloneIsMeasuredBesideACluster(t *testing.T) {
	t.Parallel()
	program, err := self()
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs, runs := benchRuns(t, 2, "cluster", "--server", program, "--nodes", "1", "--beside-alone", "--no-ceiling", "--groups", "2", "--rate", "200", "--time", "1s", "--profile", t.TempDir())
	if status != exitFine || runs[0].Server != "ringcast 1 node" || runs[1].Server != report.AloneName || runs[1].Cluster.OK != 200 {
		t.Fatalf("got status %d of %s and %s, want %d\n%s%s", status, runs[0].Server, runs[1].Server, exitFine, out, errs)
	}
	for _, want := range []string{"against ringcast alone at 200/s", "note: no profile of n1: 404 Not Found"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestANodeThatEndsInsteadOfServingIsNamed(t *testing.T) {
	t.Parallel()
	status, out, errs, _ := benchAll(t, "cluster", "--server", "/bin/false", "--nodes", "2")
	if status != exitUnable || !strings.Contains(errs, "node n1 ended instead of serving") {
		t.Errorf("got status %d, want %d and the node\n%s%s", status, exitUnable, out, errs)
	}
}
