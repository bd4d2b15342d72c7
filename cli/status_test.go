package cli

import (
	"encoding/json"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
)

// exampleStatus is a status with a different number in every place.
func exampleStatus() *Status {
	s := &Status{
		Version: "0.1.0", Go: "go1.26.0", Kernel: "Linux 6.1.0", PID: 4711, Listen: "0.0.0.0:1234", Admin: "127.0.0.1:1235", UptimeSeconds: 93_784.5,
		machine: machine{CPUs: 2, LoadAverage: [3]float64{0.1, 1.25, 12}, RSSBytes: 123_456_789, HeapBytes: 3 << 20, Goroutines: 23,
			GCCycles: 1_017, DescriptorsOpen: 1_045, DescriptorsMax: 20_000},
		Snapshot: loop.Snapshot{
			Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ClientsMax: 19_000, AcceptErrors: 5,
			MemoryLimit: 1 << 30, MemoryUsed: 900 << 20, MemoryPressure: "refuse",
			Loops: []loop.LoopStats{
				{Clients: 1_001, Pending: 2, Groups: 3, Members: 4_004, Homes: 5, MessagesIn: 6, BytesIn: 7, BytesOut: 8, Published: 9,
					Deliveries: 1_234_567, LaneDepth: 10, Ignored: 11, CommandErrors: 100, Refused: 12, RefusedClients: 13,
					BadHandshakes: 200, ProtocolErrors: 300, SlowClosed: 14, HeartbeatClosed: 15, Panics: 16,
					Slow: 17, OutboxBytes: 18 << 10, FragmentBytes: 19 << 10, SlowHealed: 20, SlowDropped: 21, FragmentsClosed: 22, MessageTimeouts: 24},
				{Clients: 20},
			},
		},
	}
	s.Loops[0].RefusedBy = map[string]uint64{"busy": 9, "rate_limited": 3, "memory": 0}
	s.Loops[0].RefusedClientsBy = map[string]uint64{"clients": 13, "address": 0}
	s.Loops[0].Closes = map[string]uint64{"1001": 15, "4008": 14, "1013": 0}
	s.Loops[1].Closes = map[string]uint64{"4008": 1_000}
	s.Kinds = kindTexts((&loop.Limits{MembersMax: 1_000, HistoryTTL: 5 * time.Minute, Kinds: []loop.Kind{
		{Match: "chat:*", MembersMax: 100, History: 100_000, HistoryTTL: 24 * time.Hour, Presence: true, JoinLeave: loop.HearAll, Join: loop.Users, Publish: loop.Members},
		{Match: "locked:" + strings.Repeat("ä", 50), JoinLeave: loop.HearNone, Join: loop.Tokens, Publish: loop.Servers},
	}}).AllKinds())
	s.Keys = KeyStatus{APIKeys: 2, TokenSecrets: 1, PusherApps: 2, JWKS: &JWKSStatus{From: "https://id.example.org/jwks.json", Keys: 3, Failure: "which cannot be fetched: the server answers 500"}}
	s.Cluster = exampleCluster(s.at())
	s.Total = s.Snapshot.Total()
	return s
}

func TestStatusIsAsInTheGoldenFile(t *testing.T) {
	golden(t, "status.txt", statusText(exampleStatus()))
	s := exampleStatus()
	s.Stopping = true
	has(t, "status of a server that stops", statusText(s), "[stopping]")

	s.Total.RefusedBy, s.Total.RefusedClientsBy, s.Total.Closes, s.Cluster.Refused = map[string]uint64{"busy": 0}, nil, nil, nil
	for _, label := range []string{"\nrefused ", "\naway ", "\ncloses "} {
		if strings.Contains(statusText(s), label) {
			t.Errorf("status where nothing of the kind happened: got %q in %s, want no such line", label, statusText(s))
		}
	}
}

func TestWatchAddsRatesByTheServersClock(t *testing.T) {
	before, now := exampleStatus(), exampleStatus()
	first := watchText(now, nil, false)
	golden(t, "watch-first.txt", first)

	now.UptimeSeconds += 2
	now.Loops[0].MessagesIn += 50
	now.Loops[1].Deliveries += 20_000
	now.Total = now.Snapshot.Total()
	golden(t, "watch.txt", watchText(now, before, false))

	before.PID++
	if got, want := watchText(now, before, false), watchText(now, nil, false); got != want {
		t.Errorf("after a restart: got rates against another process:\n%s\nwant\n%s", got, want)
	}
	if got := watchText(now, nil, true); !strings.HasPrefix(got, "\x1b[H") || !strings.HasSuffix(got, "\x1b[J") {
		t.Errorf("on a terminal: got %q, want it drawn over the last block", got)
	}
	if strings.Contains(first, "\x1b") {
		t.Errorf("not on a terminal: got an escape sequence in %q", first)
	}
}

func TestStatusIsAskedOverTheControlSocket(t *testing.T) {
	dir := shortDir(t)
	f := newFakeServer()
	f.clients = []loop.ClientInfo{{Loop: 1, ID: 2, State: "open", Remote: "192.0.2.1:5", Dialect: "plain", Kinds: []string{"chat:*", "*"}}, {Loop: 0, ID: 1, State: "open"}}
	v := serving(t, f, dir)

	if info, err := os.Stat(dir.socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: got mode %v, %v, want 0600", info.Mode().Perm(), err)
	}
	status, stdout, stderr := do(t, "status", "--json", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("status --json: got exit status %d: %s", status, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("status --json: %v in %q", err, stdout)
	}
	for _, key := range []string{"version", "go", "kernel", "pid", "started", "uptime_seconds", "listen", "cpus", "load_average", "rss_bytes",
		"heap_bytes", "goroutines", "descriptors_open", "descriptors_max", "gc_cycles", "clients_max", "loops", "total", "stopping"} {
		if _, ok := got[key]; !ok {
			t.Errorf("status --json: key %q is missing in %s", key, stdout)
		}
	}
	if got["pid"] != float64(os.Getpid()) || got["listen"] != "127.0.0.1:1234" {
		t.Errorf("status --json: got pid %v and listen %v, want %d and 127.0.0.1:1234", got["pid"], got["listen"], os.Getpid())
	}
	for _, key := range []string{"rss_bytes", "heap_bytes", "goroutines", "descriptors_open", "descriptors_max"} {
		if n, _ := got[key].(float64); n <= 0 {
			t.Errorf("status --json: got %s %v, want more than 0", key, got[key])
		}
	}
	if total, _ := got["total"].(map[string]any); total["clients"] != 3.0 || total["panics"] != 4.0 {
		t.Errorf("status --json: got total %v, want clients 3 and panics 4", total)
	}

	_, stdout, _ = do(t, "status", "--run-dir", dir.path)
	has(t, "status", stdout, "clients  3 of 19,000", "ws://127.0.0.1:1234", "\nall ")
	_, stdout, _ = do(t, "connections", "--run-dir", dir.path)
	has(t, "connections", stdout, "192.0.2.1:5", "2 connections", "  plain  ", "  chat:* *\n")
	_, stdout, _ = do(t, "connections", "--json", "--run-dir", dir.path)
	var clients []loop.ClientInfo
	if err := json.Unmarshal([]byte(stdout), &clients); err != nil || !reflect.DeepEqual(clients, f.clients) {
		t.Errorf("connections --json: got %s, %v, want %v", stdout, err, f.clients)
	}
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
}

func TestWatchGoesOnUntilInterruptedOrTheServerGoes(t *testing.T) {
	dir := shortDir(t)
	srv := serving(t, newFakeServer(), dir)
	text := begin(newFakeServer(), "status", "--watch", "--run-dir", dir.path)
	lines := begin(newFakeServer(), "status", "--watch", "--json", "--run-dir", dir.path)
	left := begin(newFakeServer(), "status", "--watch", "--run-dir", dir.path)
	eventually(t, "two blocks were printed", func() bool {
		return strings.Count(text.out.String(), "RINGCAST") >= 2 && strings.Count(lines.out.String(), "\n") >= 2
	})
	text.asked <- os.Interrupt
	lines.asked <- os.Interrupt
	if a, b := text.exit(t), lines.exit(t); a != 0 || b != 0 {
		t.Errorf("exit status after an interrupt: got %d and %d, want 0", a, b)
	}
	has(t, "blocks", text.out.String(), "deliveries/s")
	for line := range strings.Lines(lines.out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--json: got line %q, want JSON", line)
		}
	}
	srv.asked <- os.Interrupt
	srv.exit(t)
	if status := left.exit(t); status != statusFailed {
		t.Errorf("exit status when the server has gone: got %d, want %d", status, statusFailed)
	}
	if said := left.err.String(); !strings.Contains(said, "no server is running") && !strings.Contains(said, "stopping") {
		t.Errorf("message: got %q, want that the server is stopping, or that none is running", said)
	}
}

func TestAServerThatEndsWithoutAnAnswerIsNoServer(t *testing.T) {
	dir := shortDir(t)
	socket, err := net.Listen("unix", dir.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	status, _, stderr := do(t, "status", "--run-dir", dir.path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "message", stderr, "no server is running")
}
