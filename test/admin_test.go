package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startAdmin starts a server with an admin address and returns its URL.
func startAdmin(t *testing.T, args ...string) (s *server, url string) {
	t.Helper()
	s = start(t, append([]string{"--admin", "127.0.0.1:0"}, args...)...)
	s.waitIn()
	return s, "http://" + s.status().Admin
}

// ask asks the admin address, by the name in host if there is one.
func ask(url, host string) (code int, body string, err error) {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	r.Host = host
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// scrape reads the metrics: the value of each series by its name and labels, as written in the text.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	code, text, err := ask(url+"/metrics", "")
	must(t, err)
	equal(t, "status of /metrics", code, 200)
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(name, "#") {
			values[name] = v
		}
	}
	return values
}

func TestMetricsMoveWhenTrafficFlows(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--loops", "2")
	before := scrape(t, url)
	equal(t, "deliveries before", before["ringcast_deliveries_total"], 0)
	const members, messages = 3, 40
	group := "a private name"
	var all []*client
	for range members {
		all = append(all, member(t, s, group))
	}
	run("reload", "--run-dir", s.dir)
	var texts []string
	for i := range messages {
		texts = append(texts, fmt.Sprint("message ", i))
		must1(t, func(text string) (uint64, error) { return all[0].publish(group, text) })(texts[i])
	}
	for _, m := range all[1:] {
		m.expect(t, texts...)
	}
	s.eventually("the metrics say what happened", func() error {
		got := scrape(t, url)
		for name, want := range map[string]float64{
			"ringcast_deliveries_total": members * messages, "ringcast_publishes_total": messages, "ringcast_groups": 1,
			"ringcast_messages_received_total": messages + members, `ringcast_handshakes_total{outcome="ok"}`: members,
			`ringcast_reloads_total{result="done"}`: 1,
		} {
			if got[name] != want {
				return fmt.Errorf("%s: got %v, want %v", name, got[name], want)
			}
		}
		for name, want := range map[string]float64{`ringcast_connections{%s,state="open"}`: members, "ringcast_members{%s}": members} {
			if sum := got[fmt.Sprintf(name, `loop="0"`)] + got[fmt.Sprintf(name, `loop="1"`)]; sum != want {
				return fmt.Errorf("%s over the loops: got %v, want %v", name, sum, want)
			}
		}
		for _, name := range []string{"ringcast_received_bytes_total", "ringcast_sent_bytes_total", "ringcast_fanout_batch_messages_count",
			"ringcast_turn_duration_seconds_sum", "ringcast_pass_duration_seconds_count", "ringcast_lane_wait_seconds_count"} {
			if got[name] <= before[name] {
				return fmt.Errorf("%s: got %v, want more than the %v before", name, got[name], before[name])
			}
		}
		for name := range got {
			if strings.Contains(name, "business") || strings.Contains(name, "127.0.0.1") {
				t.Fatalf("metrics have %s: want nothing in them that names a group or a client", name)
			}
		}
		return nil
	})
}

// /readyz says 503 before the loops refuse anybody, which a test of cli holds: when every client has been told, the admin address
// is given up with all others.
func TestADrainingServersClientsGetAllThatWaits(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--stop-timeout", "1h", "--outbox-max", "8MiB")
	code, body, err := ask(url+"/readyz", "")
	must(t, err)
	if code != 200 {
		t.Errorf("readyz while it serves: got %d %q, want 200", code, body)
	}
	c := stuck(t, s) // keeps the server draining
	sent := 0
	s.eventually("nothing moves any more", func() error { // a pass counts when it ends
		now := int(scrape(t, url)["ringcast_deliveries_total"])
		same := now == sent && now > 0
		if sent = now; !same {
			return fmt.Errorf("got %d deliveries, want as many as before", now)
		}
		return nil
	})
	s.signal(syscall.SIGTERM)
	s.eventually("the admin address is given up", func() error {
		if code, body, err := ask(url+"/readyz", ""); err == nil {
			return fmt.Errorf("got %d %q, want nobody there", code, body)
		}
		return nil
	})
	// Every message that it was sent by then comes before the end.
	texts, err := c.collect(sent)
	must(t, err)
	equal(t, "texts read during the drain", len(texts), sent)
	c.expectClose(t, 1001)
	equal(t, "exit status", s.exit(), 0)
}

func TestProfilesAreForThisMachineByAddressUnlessTheFlagIsSet(t *testing.T) {
	t.Parallel()
	_, narrow := startAdmin(t)
	_, wide := startAdmin(t, "--admin-pprof")
	for _, c := range []struct {
		url, host string
		want      int
	}{{narrow, "", 200}, {narrow, "rebound.example.org", 403}, {wide, "ringcast.example.org", 200}} {
		code, body, err := ask(c.url+"/debug/pprof/goroutine?debug=1", c.host)
		must(t, err)
		if code != c.want || code == 403 && !strings.Contains(body, "--admin-pprof") {
			t.Errorf("profile asked for by the name %q: got %d %.80q, want %d, and the flag where it is refused", c.host, code, body, c.want)
		}
	}
}

func TestATakenAdminPortIsToldPlainly(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	addr, dir := taken.Addr().String(), runDir(t)
	r := run("start", "--listen", "127.0.0.1:0", "--admin", addr, "--run-dir", dir)
	if r.exit != 1 || !strings.Contains(r.stderr, "--admin "+quote(addr)) || !strings.Contains(r.stderr, "another port, or off") {
		t.Errorf("start on a taken admin port: got exit %d with %q, want 1, the flag, the address and what to do", r.exit, r.all())
	}
	s := startWith(t, starting{dir: dir}) // and nothing is left that would prevent a start
	if r := run("restart", "-d", "--listen", s.addr, "--admin", addr, "--run-dir", dir); r.exit != 1 || !strings.Contains(r.all(), "--admin") {
		t.Errorf("restart onto a taken admin port: got exit %d with %q, want 1 and the flag", r.exit, r.all())
	}
	must(t, dial(t, s).join("g")) // it serves on
}

func TestASlowTurnIsLoggedAndCounted(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--loops", "1", "--slow-turn", "1ms")
	// A million bytes of commands at once: some callback takes longer than a millisecond for them.
	c := member(t, s, "g")
	go c.discard()
	commands := make([]string, 2000)
	for i := range commands {
		commands[i] = sendCommand("g", strings.Repeat("x", 500))
	}
	s.eventually("a slow turn is counted", func() error {
		if err := c.commands(commands...); err != nil {
			t.Fatal(err)
		}
		if n := scrape(t, url)["ringcast_slow_turns_total"]; n == 0 {
			return fmt.Errorf("got %v slow turns, want some", n)
		}
		return nil
	})
	s.eventually("it is logged", func() error { // counted first
		if out := s.out.String(); !strings.Contains(out, "busy with one callback") || !strings.Contains(out, "loop=0") {
			return fmt.Errorf("got %s, want that loop 0 is busy", out)
		}
		return nil
	})
}
