package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// serveDropper is a server in the test program: it loses one message of each member, after so many that who looks for a moment only may miss it.
func serveDropper(addr string) {
	s := &groupServer{spoil: func(m *groupMember, text string) []string {
		if m.heard == 200 {
			return nil
		}
		return []string{text}
	}}
	s.init()
	listener, err := net.Listen("tcp", addr)
	if err == nil {
		fmt.Println("listening", addr)
		err = http.Serve(listener, s)
	}
	panic(err) // it ends with the process
}

var ringcastMade string // the directory in which ringcast is; TestMain removes it

// Loads of tests alone. They are small, and are added before any test runs, so that tests may run side by side.
func init() {
	suite["tiny"] = named{title: "20 members, 4 in flight", load: &load{Members: 20, Window: 4}}
	suite["back"] = named{title: "60 members come back", back: &comeback{Members: 60, Groups: 5, Joins: 1, Rate: 200, Missed: 20, Calm: 200 * time.Millisecond, Bystanders: 3}}
	suiteOrder = append(suiteOrder, "tiny", "back")

	build, once := makeRingcast, sync.Once{}
	makeRingcast = func(ctx context.Context, root, program string) (err error) {
		once.Do(func() { // to link it takes seconds
			if ringcastMade, err = os.MkdirTemp("", "ringcast-bench-test-"); err == nil {
				err = build(ctx, root, filepath.Join(ringcastMade, "ringcast"))
			}
		})
		if err == nil {
			err = os.Link(filepath.Join(ringcastMade, "ringcast"), program)
		}
		return err
	}
}

func TestCompareMeasuresEveryServerInEveryRound(t *testing.T) {
	t.Parallel()
	const tiny, back = "20 members, 4 in flight", "60 members come back"
	for _, c := range []struct {
		args []string
		want map[string][]string // servers, by load
	}{
		{[]string{"--with", "ceiling", "--dialect", "plain", "--loads", "tiny", "--history", "100"},
			map[string][]string{tiny: {"ringcast", "ringcast 8 loops", "ringcast history", "ceiling message", "ceiling turn"}}},
		{[]string{"--with", "ceiling", "--dialect", "centrifuge", "--loads", "tiny,back"},
			map[string][]string{tiny + ", centrifuge": {"ringcast", "ringcast 8 loops", "ceiling message", "ceiling turn"}, back + ", centrifuge": {"ringcast history"}}},
		{[]string{"--with", "ceiling", "--dialect", "pusher", "--loads", "tiny"},
			map[string][]string{tiny + ", pusher": {"ringcast", "ringcast 8 loops", "ceiling message", "ceiling turn"}}},
		{[]string{"--compression", "--dialect", "centrifuge", "--loads", "tiny"},
			map[string][]string{tiny + ", centrifuge, 1,024 bytes of JSON, compressed": {"ringcast", "ringcast uncompressed", "ceiling message", "ceiling turn"}}},
		{[]string{"--tls", "--loads", "tiny"}, map[string][]string{tiny + ", TLS": {"ringcast", "ringcast without TLS", "goroutines"}}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			if !slices.Contains(c.args, "pusher") { // which is one of the small ones
				unraced(t)
			}
			compareAll(t, c.args, c.want)
		})
	}
}

// compareAll compares and checks which servers were measured under which loads.
func compareAll(t *testing.T, args []string, want map[string][]string) {
	t.Parallel()
	file := t.TempDir() + "/result.json"
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), append([]string{"compare", "--rounds", "2", "--time", "300ms", "--json", file}, args...), &stdout, &stderr)
	if status != exitFine {
		t.Fatalf("got status %d\n%s%s", status, &stdout, &stderr)
	}
	result, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	rounds, runs := map[string]int{}, 0
	for _, r := range result.Runs {
		if !r.Fine || r.Fanout == nil && r.Resume == nil || r.Memory == nil {
			t.Errorf("got %+v", r)
		}
		if packs := slices.Contains(args, "--compression") && r.Server != "ringcast uncompressed"; (r.Flags["compression"] != nil) != packs || packs && r.Fanout.WireBytes > 800 {
			t.Errorf("%s: got %v bytes a delivery, flags %v", r.Server, r.Fanout.WireBytes, r.Flags)
		}
		if secure := slices.Contains(args, "--tls") && r.Server != "ringcast without TLS"; (r.TLS != nil) != secure {
			t.Errorf("%s: got TLS %v", r.Server, r.TLS)
		}
		if (r.Flags["history"] != nil) != (r.Server == "ringcast history") {
			t.Errorf("%s: got flags %v", r.Server, r.Flags)
		}
		if x := r.Resume; x != nil && (x.Returns != 60 || x.Recovered != 60 || x.NotRecovered != 0) {
			t.Errorf("got %+v, want all 60 members recovered", x)
		}
		rounds[r.Load+r.Server] += r.Round
	}
	for load, servers := range want {
		for _, server := range servers {
			if rounds[load+server] != 1+2 {
				t.Errorf("%s, %s: the numbers of its rounds sum up to %d, want 3", load, server, rounds[load+server])
			}
			if !strings.Contains(stdout.String(), server) {
				t.Errorf("no %s in\n%s", server, &stdout)
			}
			runs += 2
		}
	}
	if len(result.Runs) != runs {
		t.Errorf("%v: got %d runs, want %d", args, len(result.Runs), runs)
	}
}

func TestCompareRefusesAServerThatLosesMessages(t *testing.T) {
	t.Parallel()
	program, err := self()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	e := &env{ctx: context.Background(), stdout: io.Discard, stderr: &stderr, started: time.Now()}
	err = e.examine([]contender{{"dropper", "", func(addr string, _ int) []string { return []string{program, "dropper", addr} }, nil, client.Plain, 0, wireFlags{}}}, suiteSize)
	if !errors.Is(err, errFaulty) || !strings.Contains(stderr.String(), "dropper failed the check") || !strings.Contains(stderr.String(), "lost") {
		t.Errorf("got %v and %s, want the loss named", err, &stderr)
	}
}

func TestAServerThatDoesNotStartIsQuoted(t *testing.T) {
	t.Parallel()
	addr, _, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = startChild(context.Background(), addr, "", "sh", "-c", "echo no such port; exit 3"); err == nil || !strings.Contains(err.Error(), "no such port") {
		t.Errorf("got %v, want what the server said", err)
	}
	if _, err = startChild(context.Background(), addr, "", "/no/such/program"); err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeComparedSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an unknown server": {[]string{"compare", "--with", "apache"}, "there are ceiling, gws"},
		"an unknown load":   {[]string{"compare", "--loads", "heavy"}, "wide-64"},
		"no such history":   {[]string{"compare", "--history=-1"}, "--history must be"},
		"resume in plain":   {[]string{"compare", "--loads", "resume"}, "resume is for --dialect centrifuge"},
		"TLS of a peer":     {[]string{"compare", "--tls", "--with", "ws"}, "with --tls there are goroutines and nginx"},
		"no deflate":        {[]string{"compare", "--compression", "--with", "nbio"}, "nbio cannot compress"},
		"both":              {[]string{"compare", "--compression", "--tls"}, "one after the other"},
		"no rounds":         {[]string{"compare", "--rounds", "0"}, "--rounds must be"},
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
