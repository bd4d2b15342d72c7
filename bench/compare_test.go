package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// serveDropper is a server in the test program: it loses one message in twenty.
func serveDropper(addr string) {
	s := &groupServer{groups: map[string][]*groupMember{}, spoil: func(m *groupMember, text string) []string {
		if m.heard%20 == 19 {
			return nil
		}
		return []string{text}
	}}
	listener, err := net.Listen("tcp", addr)
	if err == nil {
		fmt.Println("listening", addr)
		err = http.Serve(listener, s)
	}
	panic(err) // it ends with the process
}

func TestCompareMeasuresEveryServerInEveryRound(t *testing.T) {
	suite["tiny"] = named{title: "20 members, 4 in flight", load: &load{Members: 20, Window: 4}}
	suiteOrder = append(suiteOrder, "tiny")
	t.Cleanup(func() {
		delete(suite, "tiny")
		suiteOrder = suiteOrder[:len(suiteOrder)-1]
	})
	for dialect, load := range map[string]string{"plain": "20 members, 4 in flight", "centrifuge": "20 members, 4 in flight, centrifuge"} {
		file := t.TempDir() + "/result.json"
		var stdout, stderr bytes.Buffer
		status := run(context.Background(), []string{"compare", "--dialect", dialect, "--with", "ceiling", "--loads", "tiny", "--rounds", "2", "--time", "200ms", "--json", file}, &stdout, &stderr)
		if status != exitFine {
			t.Fatalf("got status %d\n%s%s", status, &stdout, &stderr)
		}
		result, err := report.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		rounds := map[string]int{}
		for _, r := range result.Runs {
			if !r.Fine || r.Load != load || r.Fanout == nil || r.Memory == nil {
				t.Errorf("got %+v", r)
			}
			rounds[r.Server] += r.Round
		}
		for _, server := range []string{"ringcast", "ringcast 8 loops", "ceiling message", "ceiling turn"} {
			if rounds[server] != 1+2 {
				t.Errorf("%s: the numbers of its rounds sum up to %d, want 3", server, rounds[server])
			}
			if !strings.Contains(stdout.String(), server) {
				t.Errorf("no %s in\n%s", server, &stdout)
			}
		}
	}
}

func TestCompareRefusesAServerThatLosesMessages(t *testing.T) {
	program, err := self()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	e := &env{ctx: context.Background(), stdout: io.Discard, stderr: &stderr, started: time.Now()}
	err = e.examine([]contender{{"dropper", "", func(addr string, _ int) []string { return []string{program, "dropper", addr} }, nil, client.Plain, 0}})
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
