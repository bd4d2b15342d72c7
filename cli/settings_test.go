package cli

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
)

// parse gives the settings that a command line makes.
func parse(t *testing.T, args ...string) (settings, error) {
	t.Helper()
	var g grammar
	parser, err := newParser(&g)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := parser.Parse(append([]string{"start"}, args...))
	if err != nil {
		return settings{}, err
	}
	return g.Start.settings(ctx, &g.globals)
}

func configWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ringcast.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreTheOriginals(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r")
	want := settings{
		runDir: runDir{path: "/r"}, listen: "0.0.0.0:1234", loops: 8, stopTimeout: 10 * time.Second, logLevel: slog.LevelInfo,
		logFormat: "text", tcpKeepAlive: time.Minute, tcpUserTimeout: 150 * time.Second,
		limits: loop.Limits{
			MessageBytesMax: 1 << 20, MessageTimeout: 2 * time.Minute, GroupBytesMax: 255, GroupsPerClient: 1024,
			HandshakeBytesMax: 8 << 10, HandshakeTimeout: 10 * time.Second, HandshakesMax: 100_000,
			OutboxBytesMax: 1 << 20, MemoryMax: memoryAuto(), Heartbeat: time.Minute, SlowTurn: 100 * time.Millisecond,
		},
	}
	s.typed = startFlags{}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v, %v\nwant %+v", s, err, want)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := configWith(t, `{"listen": "127.0.0.1:3", "loops": 3, "daemon": true, "heartbeat": "3s", "run-dir": "/from/file"}`)
	t.Setenv("RINGCAST_LISTEN", "127.0.0.1:2")
	t.Setenv("RINGCAST_LOOPS", "2")
	for _, c := range []struct {
		source string
		args   []string
	}{
		{"--config", []string{"--config", file, "--listen", "127.0.0.1:1"}},
		{"RINGCAST_CONFIG", []string{"--listen", "127.0.0.1:1"}},
	} {
		if c.source == "RINGCAST_CONFIG" {
			t.Setenv(c.source, file)
		}
		s, err := parse(t, c.args...)
		if err != nil {
			t.Fatalf("%s: %v", c.source, err)
		}
		for _, v := range []struct {
			what      string
			got, want any
		}{
			{"listen, from the flag", s.listen, "127.0.0.1:1"},
			{"loops, from the environment", s.loops, 2},
			{"heartbeat, from the file", s.limits.Heartbeat, 3 * time.Second},
			{"daemon, from the file", s.daemon, true},
			{"run-dir, from the file", s.runDir.path, "/from/file"},
			{"log-file, made of the run dir", s.logFile, "/from/file/ringcast.log"},
			{"stop-timeout, the default", s.stopTimeout, 10 * time.Second},
		} {
			if v.got != v.want {
				t.Errorf("%s: %s: got %v, want %v", c.source, v.what, v.got, v.want)
			}
		}
	}
}

func TestNetworksOfIPv4MayBeWrittenAsIPv6s(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r", "--channel", "[::]:2206", "--channel-allow", "::ffff:10.1.2.3/104, ::ffff:192.0.2.1, ::1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0/8", "192.0.2.1/32", "::1/128"}
	var got []string
	for _, network := range s.channel.Allow {
		got = append(got, network.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListsMayBeArraysInTheFile(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r", "--config", configWith(t,
		`{"allowed-origins": ["https://example.org", "https://*.example.org"], "trusted-proxies": ["127.0.0.1", "10.0.0.0/8"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.limits.AllowedOrigins, []string{"https://example.org", "https://*.example.org"}; !slices.Equal(got, want) {
		t.Errorf("allowed-origins: got %v, want %v", got, want)
	}
	if got := s.limits.TrustedProxies; len(got) != 2 || got[1].String() != "10.0.0.0/8" {
		t.Errorf("trusted-proxies: got %v, want two", got)
	}
	s, err = parse(t, "--run-dir", "/r", "--config", configWith(t, `{"trusted-proxies": []}`))
	if err != nil || len(s.limits.TrustedProxies) != 0 {
		t.Errorf("an empty list: got %v, %v, want none", s.limits.TrustedProxies, err)
	}
	if _, err = parse(t, "--config", configWith(t, `{"allowed-origins": []}`)); err == nil || !strings.Contains(err.Error(), "names no origin") {
		t.Errorf("an empty list of origins: got %v, want it refused: nobody could connect, or everybody", err)
	}
}

func TestAutoLoopsAreTheUsableCPUs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	s, err := parse(t, "--loops", "auto", "--run-dir", "/r")
	if err != nil || s.loops != 3 {
		t.Errorf("got %d, %v, want 3", s.loops, err)
	}
}

func TestHeartbeatCanBeOff(t *testing.T) {
	s, err := parse(t, "--heartbeat", "off", "--run-dir", "/r")
	if err != nil || s.limits.Heartbeat >= 0 {
		t.Errorf("got %v, %v, want a negative duration", s.limits.Heartbeat, err)
	}
}

func TestWrongValuesAreNamedWithFlagAndMend(t *testing.T) {
	long := "/" + strings.Repeat("x", 120)
	for _, c := range []struct{ flag, value, mend string }{
		{"listen", "1234", "write HOST:PORT"},
		{"listen", "127.0.0.1:99999", "no port between 0 and 65535"},
		{"listen", "127.0.0.1:+5", "no port between 0 and 65535"},
		{"listen", "::1:1234", "[::]:1234"},
		{"listen", "ws://0.0.0.0:1234", "leave it off"},
		{"listen", "a b:1", "write HOST:PORT"},
		{"admin", "1235", "write HOST:PORT"},
		{"admin", "http://127.0.0.1:1235", "leave it off"},
		{"admin", "127.0.0.1:1234", "has the port of --listen \"0.0.0.0:1234\"; name another port, or off"},
		{"loops", "0", "from 1 to 64, or auto"},
		{"loops", "65", "from 1 to 64, or auto"},
		{"loops", "many", "from 1 to 64, or auto"},
		{"heartbeat", "60", "write 60s for seconds"},
		{"heartbeat", "-1", "such as 10s, 500ms or 2m, or off"},
		{"heartbeat", "0s", "from 1s to 24h, or off"},
		{"heartbeat", "never", "or off"},
		{"memory-limit", "1MB", "such as 64KiB, or auto or off"},
		{"message-max", "1MB", "such as 64KiB"},
		{"message-max", "1", "from 1KiB to 64MiB"},
		{"outbox-max", "2GiB", "from 1KiB to 1GiB"},
		{"handshake-timeout", "1ms", "from 100ms to 10m"},
		{"stop-timeout", "-1s", "from 0s to 1h"},
		{"log-level", "loud", "write debug, info, warn or error"},
		{"log-format", "xml", "write text or json"},
		{"run-dir", long, "name a shorter one"},
		{"run-dir", "/dev/null", "is not a directory"},
		{"config", "/no/such/file", "name a file that can be read"},
	} {
		status, stdout, stderr := do(t, "start", "--"+c.flag+"="+c.value)
		if status != statusUsage || stdout != "" {
			t.Errorf("--%s %s: got exit status %d and stdout %q, want %d and nothing", c.flag, c.value, status, stdout, statusUsage)
		}
		has(t, "message", stderr, "--"+c.flag, `"`+c.value+`"`, c.mend)
	}
}

func TestWrongValueSaysWhereItCameFrom(t *testing.T) {
	_, err := parse(t, "--config", configWith(t, `{"log-level": "loud"}`))
	if err == nil || !strings.Contains(err.Error(), `--log-level "loud" (from the config file)`) {
		t.Errorf("got %v, want the config file named", err)
	}
	t.Setenv("RINGCAST_LOOPS", "many")
	_, err = parse(t)
	if err == nil || !strings.Contains(err.Error(), `--loops "many" (from RINGCAST_LOOPS)`) {
		t.Errorf("got %v, want the variable named", err)
	}
}

func TestWrongConfigFileIsNamedWithTheMend(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"lisen": ":1"}`, `there is no setting "lisen"; the settings are address-clients-max, admin, admin-pprof,`},
		{`{"config": "x"}`, `there is no setting "config"`},
		{`{"json": true}`, `there is no setting "json"`},
		{`{"loops": [1]}`, `key "loops" is [1]; write a string, a number, true or false`},
		{`{"loops": null}`, `key "loops" is null`},
		{`{"allowed-origins": [1]}`, `key "allowed-origins" is [1]; write a string or an array of strings`},
		{`{"allowed-origins": null}`, `key "allowed-origins" is null; write a string or an array of strings`},
		{"{\n\"loops\": 4,\n}", "is not a JSON object"},
		{"{\n\"loops\": 4,\n}", "(line 3)"},
		{`[]`, "holds a JSON array; write an object"},
		{`{"loops": 4, "allowed-origins": ["a", "a"], "l\u006fops": 5}`, `has the key "loops" twice`},
		{strings.Repeat(" ", configBytesMax+1), "is longer than 1MiB"},
	} {
		path := configWith(t, c.text)
		status, _, stderr := do(t, "start", "--config", path)
		if status != statusUsage {
			t.Errorf("%.40q: exit status: got %d, want %d", c.text, status, statusUsage)
		}
		has(t, "message", stderr, "--config", path, c.want)
	}
}

func TestOneConfigFileServesAllVerbs(t *testing.T) {
	dir := shortDir(t)
	path := configWith(t, `{"listen": "127.0.0.1:0", "run-dir": "`+dir.path+`"}`)
	status, _, stderr := do(t, "status", "--config", path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "message", stderr, "no server is running with run dir "+dir.path)
}
