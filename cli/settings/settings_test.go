package settings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"ringcast/loop"
)

// world is an invented Source: an environment, and one config file.
type world struct {
	environ []string
	config  string // the text of the config file
	files   map[string]string
}

// configName is the name of the config file of a world that has one.
const configName = "/etc/ringcast.json"

func (w world) source() Source {
	return Source{
		Environ: w.environ, Dir: "/start", TmpRunDir: "/tmp/ringcast-7", Memory: 4 << 30, CPUs: 3, Hostname: "host.example",
		Open: func(name string) (io.ReadCloser, error) {
			if text, is := w.files[name]; is {
				return io.NopCloser(strings.NewReader(text)), nil
			}
			if name != configName {
				return nil, &fs.PathError{Op: "open", Path: "/start/" + name, Err: fs.ErrNotExist}
			}
			return io.NopCloser(strings.NewReader(w.config)), nil
		},
	}
}

// parse gives the settings that a command line makes in a world.
func (w world) parse(args ...string) (Settings, error) {
	var g struct {
		Globals

		Start struct{ Flags } `cmd:""`
		Other struct{}        `cmd:""`
	}
	if _, err := Parse(w.source(), &g, &g.Globals, append([]string{"start"}, args...)); err != nil {
		return Settings{}, err
	}
	dir := g.RunDir
	if dir == "" {
		dir = "/r"
	}
	return g.Start.Settings(&g.Globals, dir)
}

// parse gives the settings that a command line makes where nothing else is set.
func parse(t *testing.T, args ...string) (Settings, error) {
	t.Helper()
	return world{}.parse(args...)
}

// parseConfig gives the settings that a config file makes.
func parseConfig(text string, args ...string) (Settings, error) {
	return world{config: text}.parse(append([]string{"--config", configName}, args...)...)
}

// refused checks that err is a UsageError with all of wants in its text.
func refused(t *testing.T, what string, err error, wants ...string) {
	t.Helper()
	var wrong *UsageError
	if !errors.As(err, &wrong) {
		t.Errorf("%s: got %v, want a UsageError", what, err)
		return
	}
	for _, want := range wants {
		if !strings.Contains(wrong.Text, want) {
			t.Errorf("%s: got %q, want it to contain %q", what, wrong.Text, want)
		}
	}
}

func TestDefaultsAreTheOriginals(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r")
	want := Settings{
		RunDir: "/r", Admin: "127.0.0.1:1235", StopTimeout: 10 * time.Second, LogLevel: slog.LevelInfo, LogFormat: "text",
		HTTP: HTTP{ConnectionsMax: 512, BodyBytesMax: 8 << 20, HeaderTimeout: 10 * time.Second, BodyTimeout: time.Minute},
		Loop: loop.Config{
			Listen: []string{"0.0.0.0:1234"}, Loops: 8, TCPKeepAlive: time.Minute, TCPUserTimeout: 150 * time.Second, Centrifuge: true,
			Limits: loop.Limits{
				MessageBytesMax: 1 << 20, MessageTimeout: 2 * time.Minute, GroupBytesMax: 255, GroupsPerClient: 1024,
				HistoryTTL: 5 * time.Minute, RecoveryMax: 1000, HandshakeBytesMax: 16 << 10, HandshakeTimeout: 10 * time.Second, HandshakesMax: 100_000,
				CompressionMin: 256, OutboxBytesMax: 1 << 20, MemoryMax: 4 << 30, Heartbeat: time.Minute, SlowTurn: 100 * time.Millisecond,
			},
		},
	}
	s.typed = texts{}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v, %v\nwant %+v", s, err, want)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	w := world{config: `{"listen": "127.0.0.1:3", "loops": 3, "daemon": true, "heartbeat": "3s", "run-dir": "/from/file"}`,
		environ: []string{"RINGCAST_LISTEN=127.0.0.1:2", "RINGCAST_LOOPS=2"}}
	for _, c := range []struct {
		source string
		args   []string
	}{
		{"--config", []string{"--config", configName, "--listen", "127.0.0.1:1"}},
		{"RINGCAST_CONFIG", []string{"--listen", "127.0.0.1:1"}},
	} {
		if c.source == "RINGCAST_CONFIG" {
			w.environ = append(w.environ, "RINGCAST_CONFIG="+configName)
		}
		s, err := w.parse(c.args...)
		if err != nil {
			t.Fatalf("%s: %v", c.source, err)
		}
		for _, v := range []struct {
			what      string
			got, want any
		}{
			{"listen, from the flag", strings.Join(s.Loop.Listen, ","), "127.0.0.1:1"},
			{"loops, from the environment", s.Loop.Loops, 2},
			{"heartbeat, from the file", s.Loop.Heartbeat, 3 * time.Second},
			{"daemon, from the file", s.Daemon, true},
			{"run-dir, from the file", s.RunDir, "/from/file"},
			{"log-file, made of the run dir", s.LogFile, "/from/file/ringcast.log"},
			{"stop-timeout, the default", s.StopTimeout, 10 * time.Second},
		} {
			if v.got != v.want {
				t.Errorf("%s: %s: got %v, want %v", c.source, v.what, v.got, v.want)
			}
		}
	}
}

func TestNothingIsLookedAtButTheSource(t *testing.T) {
	t.Setenv("RINGCAST_LOOPS", "5")
	t.Setenv("RINGCAST_DAEMON", "perhaps")
	t.Setenv("RINGCAST_CONFIG", "/no/such/file")
	s, err := parse(t, "--log-file", "my.log")
	if err != nil || s.Loop.Loops != 8 || s.LogFile != "/start/my.log" {
		t.Errorf("got %d loops and log file %q, %v, want 8 and /start/my.log", s.Loop.Loops, s.LogFile, err)
	}
	_, err = world{environ: []string{"RINGCAST_DAEMON=perhaps"}}.parse()
	refused(t, "a variable of its own", err, "--daemon: bool value must be", `(from envar RINGCAST_DAEMON="perhaps")`)
}

func TestNetworksOfIPv4MayBeWrittenAsIPv6s(t *testing.T) {
	s, err := parse(t, "--run-dir", "/r", "--channel", "[::]:2206", "--channel-allow", "::ffff:10.1.2.3/104, ::ffff:192.0.2.1, ::1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0/8", "192.0.2.1/32", "::1/128"}
	var got []string
	for _, network := range s.Channel.Allow {
		got = append(got, network.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListsMayBeArraysInTheFile(t *testing.T) {
	s, err := parseConfig(`{"allowed-origins": ["https://example.org", "https://*.example.org"], "trusted-proxies": ["127.0.0.1", "10.0.0.0/8"]}`, "--run-dir", "/r")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Loop.AllowedOrigins, []string{"https://example.org", "https://*.example.org"}; !slices.Equal(got, want) {
		t.Errorf("allowed-origins: got %v, want %v", got, want)
	}
	if got := s.Loop.TrustedProxies; len(got) != 2 || got[1].String() != "10.0.0.0/8" {
		t.Errorf("trusted-proxies: got %v, want two", got)
	}
	if s, err = parseConfig(`{"admin-hosts": ["a.example", "b.example"]}`); err != nil || !slices.Equal(s.AdminHosts, []string{"a.example", "b.example"}) {
		t.Errorf("admin-hosts: got %v (%v), want two", s.AdminHosts, err)
	}
	s, err = parseConfig(`{"trusted-proxies": []}`, "--run-dir", "/r")
	if err != nil || len(s.Loop.TrustedProxies) != 0 {
		t.Errorf("an empty list: got %v, %v, want none", s.Loop.TrustedProxies, err)
	}
	if _, err = parseConfig(`{"allowed-origins": []}`); err == nil || !strings.Contains(err.Error(), "names no origin") {
		t.Errorf("an empty list of origins: got %v, want it refused: nobody could connect, or everybody", err)
	}
}

func TestWrongSubprotocolsAreNamedWithTheMend(t *testing.T) {
	for value, want := range map[string]string{
		"chat, a b":                      `subprotocol "a b" is not a name such as chat`,
		"組":                              `subprotocol "組" is not a name`,
		"chat/2":                         "use letters, digits and",
		"chat,superchat,chat":            `subprotocol "chat" stands twice; name it once`,
		strings.Repeat("x", 1025):        "more than 1024 bytes together; name fewer, or shorter ones",
		strings.Repeat("x", 1023) + ",a": "",
		" chat , superchat,":             "",
	} {
		s, err := parse(t, "--subprotocols", value)
		if want == "" {
			if err != nil || len(s.Loop.Subprotocols) == 0 {
				t.Errorf("%.40q: got %q, %v, want it taken", value, s.Loop.Subprotocols, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--subprotocols") {
			t.Errorf("%.40q: got %v, want %q", value, err, want)
		}
	}
	s, err := parseConfig(`{"subprotocols": ["superchat", "chat"]}`, "--run-dir", "/r")
	if want := []string{"superchat", "chat"}; err != nil || !slices.Equal(s.Loop.Subprotocols, want) {
		t.Errorf("an array: got %q, %v, want %q", s.Loop.Subprotocols, err, want)
	}
	w := world{environ: []string{"RINGCAST_SUBPROTOCOLS=a,b"}}
	if s, err := w.parse("--run-dir", "/r"); err != nil || len(s.Loop.Subprotocols) != 2 {
		t.Errorf("the environment: got %q, %v, want two", s.Loop.Subprotocols, err)
	}
}

func TestListenTakesSeveralAddresses(t *testing.T) {
	want := []string{"127.0.0.1:1", "[::1]:1", "unix:///run/a.sock?mode=0600&group=web"}
	list := strings.Join(want, ",")
	for what, from := range map[string]struct {
		w    world
		args []string
	}{
		"flags":      {world{}, []string{"--listen", want[0], "--listen", want[1], "--listen", want[2]}},
		"a list":     {world{}, []string{"--listen", want[0] + ", " + want[1], "--listen", want[2]}},
		"a variable": {world{environ: []string{"RINGCAST_LISTEN=" + list}}, nil},
		"an array":   {world{config: `{"listen": ["` + strings.Join(want, `", "`) + `"]}`}, []string{"--config", configName}},
		"a string":   {world{config: `{"listen": "` + list + `"}`}, []string{"--config", configName}},
		"flags beside a variable": {world{environ: []string{"RINGCAST_LISTEN=127.0.0.1:9"}},
			[]string{"--listen", want[0], "--listen", want[1], "--listen", want[2]}},
	} {
		s, err := from.w.parse(append(from.args, "--run-dir", "/r")...)
		if err != nil || !slices.Equal(s.Loop.Listen, want) {
			t.Errorf("%s: got %q (%v), want %q", what, s.Loop.Listen, err, want)
		}
	}
}

func TestWrongListsOfAddressesAreNamedWithTheMend(t *testing.T) {
	for list, wants := range map[string][]string{
		",":                                {"--listen", "names no address; write HOST:PORT"},
		"127.0.0.1:1,127.0.0.1:1":          {"--listen \"127.0.0.1:1\"", "is named twice; name it once"},
		"unix:/a,unix:///a?mode=0600":      {"--listen \"unix:///a?mode=0600\"", "is named twice; name it once"},
		strings.Repeat("127.0.0.1:0,", 17): {"--listen", "names 17 addresses; name at most 16"},
		"unix:///a,[::]:1235":              {"--admin", "has the port of --listen \"[::]:1235\""},
		"127.0.0.1:1,1234":                 {"--listen \"1234\"", "write :1234 for all addresses"},
	} {
		_, err := parse(t, "--listen", list, "--run-dir", "/r")
		refused(t, list, err, wants...)
	}
}

func TestPeersOnUnixSocketsMayBeTrusted(t *testing.T) {
	s, err := parse(t, "--trusted-proxies", "10.0.0.0/8, unix", "--proxy-protocol", "on", "--run-dir", "/r")
	if want := []netip.Prefix{loop.UnixPeers, netip.MustParsePrefix("10.0.0.0/8")}; err != nil || !slices.Equal(s.Loop.TrustedProxies, want) {
		t.Errorf("got %v (%v), want %v", s.Loop.TrustedProxies, err, want)
	}
}

func TestAutoLoopsAreTheUsableCPUs(t *testing.T) {
	s, err := parse(t, "--loops", "auto", "--run-dir", "/r")
	if err != nil || s.Loop.Loops != 3 {
		t.Errorf("got %d, %v, want 3", s.Loop.Loops, err)
	}
}

func TestCompressionIsSwitchedOnByAWordOrInTheFileByTrue(t *testing.T) {
	s, err := parse(t, "--compression", "on", "--compression-min", "1KiB", "--run-dir", "/r")
	if err != nil || !s.Loop.Compression || s.Loop.CompressionMin != 1024 {
		t.Errorf("flags: got %v from %d on, %v, want it on from 1024 on", s.Loop.Compression, s.Loop.CompressionMin, err)
	}
	if s, err = parseConfig(`{"compression": true, "compression-min": 1, "run-dir": "/r"}`); err != nil || !s.Loop.Compression || s.Loop.CompressionMin != 1 {
		t.Errorf("file: got %v from %d on, %v, want it on from 1 on", s.Loop.Compression, s.Loop.CompressionMin, err)
	}
}

func TestHeartbeatCanBeOff(t *testing.T) {
	s, err := parse(t, "--heartbeat", "off", "--run-dir", "/r")
	if err != nil || s.Loop.Heartbeat >= 0 {
		t.Errorf("got %v, %v, want a negative duration", s.Loop.Heartbeat, err)
	}
}

func TestWrongValuesAreNamedWithFlagAndMend(t *testing.T) {
	for _, c := range []struct{ flag, value, mend string }{
		{"listen", "1234", "write :1234 for all addresses"},
		{"listen", "127.0.0.1:99999", "no port between 0 and 65535"},
		{"listen", "127.0.0.1:+5", "no port between 0 and 65535"},
		{"listen", "::1:1234", "[::]:1234"},
		{"listen", "ws://0.0.0.0:1234", "leave it off"},
		{"listen", "a b:1", "write HOST:PORT"},
		{"listen", "unix:relative", "write unix:///PATH"},
		{"listen", "unix:///a?owner=me", "?mode=0660&user=NAME&group=NAME"},
		{"channel-allow", "unix", "neither an address nor a network"},
		{"admin", "1235", "or 127.0.0.1:1235"},
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
		{"compression", "yes", "must be off or on"},
		{"compression-min", "0", "from 1B to 64MiB"},
		{"compression-min", "65MiB", "from 1B to 64MiB"},
		{"outbox-max", "2GiB", "from 1KiB to 1GiB"},
		{"client-groups-max", "100001", "from 1 to 100000"},
		{"history", "-1", "from 0 to 100000, or off"},
		{"history", "100001", "from 0 to 100000, or off"},
		{"history", "10m", "from 0 to 100000, or off"},
		{"history-ttl", "600", "write 600s for seconds"},
		{"history-ttl", "off", "write one such as 10s, 500ms or 2m"},
		{"history-ttl", "500ms", "from 1s to 24h"},
		{"history-ttl", "25h", "from 1s to 24h"},
		{"history-max", "off", "such as 64KiB, or auto"},
		{"history-max", "1023KiB", "from 1MiB to 1024GiB, or auto"},
		{"recovery-max", "0", "from 1 to 10000"},
		{"recovery-max", "10001", "from 1 to 10000"},
		{"handshake-timeout", "1ms", "from 100ms to 10m"},
		{"http-connections-max", "0", "from 1 to 100000"},
		{"http-connections-max", "off", "from 1 to 100000"},
		{"http-body-max", "8MB", "such as 64KiB"},
		{"http-body-max", "2GiB", "from 1KiB to 1GiB"},
		{"http-header-timeout", "10", "write 10s for seconds"},
		{"http-header-timeout", "2h", "from 100ms to 1h"},
		{"http-body-timeout", "off", "write one such as 10s, 500ms or 2m"},
		{"stop-timeout", "-1s", "from 0s to 1h"},
		{"log-level", "loud", "must be debug, info, warn or error"},
		{"log-format", "xml", "must be text or json"},
		{"config", "/no/such/file", "name a file that can be read"},
	} {
		_, err := parse(t, "--"+c.flag+"="+c.value)
		refused(t, "--"+c.flag+" "+c.value, err, "--"+c.flag, `"`+c.value+`"`, c.mend)
	}
}

func TestWrongValueSaysWhereItCameFrom(t *testing.T) {
	_, err := parseConfig(`{"log-level": "loud"}`)
	if err == nil || !strings.Contains(err.Error(), `--log-level "loud" (from the config file)`) {
		t.Errorf("got %v, want the config file named", err)
	}
	_, err = world{environ: []string{"RINGCAST_LOOPS=many"}}.parse()
	if err == nil || !strings.Contains(err.Error(), `--loops "many" (from RINGCAST_LOOPS)`) {
		t.Errorf("got %v, want the variable named", err)
	}
}

func TestWrongConfigFileIsNamedWithTheMend(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"lisen": ":1"}`, `there is no setting "lisen"; did you mean "listen"?`},
		{`{"xyzzy": ":1"}`, `there is no setting "xyzzy"; the settings are acme-ca, acme-dir, acme-directory, acme-domain, acme-email, address-clients-max, admin, admin-hosts, admin-pprof,`},
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
		_, err := parseConfig(c.text)
		refused(t, fmt.Sprintf("%.40q", c.text), err, "--config", configName, c.want)
	}
}

func TestEditorsMarksOfEncodingAreNoPartOfTheFile(t *testing.T) {
	const bom, object = "\xef\xbb\xbf", "{\r\n\"loops\": 4,\r\n\"groups\": [{\"match\": \"ü*\"}]\r\n}\r\n"
	s, err := parseConfig(bom + object)
	if err != nil || s.Loop.Loops != 4 || len(s.Loop.Kinds) != 1 || s.Loop.Kinds[0].Match != "ü*" {
		t.Errorf("byte order mark and CRLF: got %d loops, %v, %v, want 4 and a kind", s.Loop.Loops, s.Loop.Kinds, err)
	}
	for _, c := range []struct{ what, text, want string }{
		{"UTF-16 of Windows", utf16Text(binary.LittleEndian, "\ufeff"+object), "is UTF-16; save it as UTF-8"},
		{"UTF-16, big-endian", utf16Text(binary.BigEndian, "\ufeff"+object), "is UTF-16; save it as UTF-8"},
		{"UTF-16 without a mark", utf16Text(binary.LittleEndian, object), "is UTF-16; save it as UTF-8"},
		{"UTF-16 without a mark, big-endian", utf16Text(binary.BigEndian, object), "is UTF-16; save it as UTF-8"},
		{"Latin-1", "{\n\"log-file\": \"/b\xfccher\"}", "is not UTF-8 (line 2); save it as UTF-8"},
		{"a mark in Latin-1", bom + "\xfc", "is not UTF-8 (line 1)"},
		{"nothing", "", "is empty; write an object, such as {\"loops\": 4}, or {} for no settings"},
		{"white space", " \r\n\t", "is empty"},
		{"a mark alone", bom, "is empty"},
		{"a mark twice", bom + bom + object, "is not a JSON object: invalid character"},
		{"a second object", object + "{}", "is not a JSON object: invalid character '{' after top-level value (line 5)"},
		{"zeros at the end", object + "\x00\x00", "is not a JSON object: invalid character '\\x00' after top-level value (line 5)"},
		{"a mark and a mistake", bom + "{\r\n\"loops\": 4,\r\n}", "(line 3)"},
	} {
		_, err := parseConfig(c.text)
		refused(t, c.what, err, "--config", configName, c.want)
	}
}

// utf16Text is a text as Windows calls it Unicode.
func utf16Text(order binary.AppendByteOrder, text string) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

func TestBudgetsBeyondTheirPartOfTheMemoryLimitAreWarnedOf(t *testing.T) {
	for _, test := range []struct {
		outboxes, fragments, history, limit string
		want                                bool
	}{
		{"auto", "auto", "auto", "64MiB", false}, {"32MiB", "16MiB", "16MiB", "64MiB", false}, {"33MiB", "auto", "auto", "64MiB", true},
		{"auto", "17MiB", "auto", "64MiB", true}, {"auto", "auto", "17MiB", "64MiB", true}, {"4GiB", "4GiB", "4GiB", "off", false},
	} {
		s, err := parse(t, "--run-dir", "/r", "--outboxes-max", test.outboxes, "--fragments-max", test.fragments, "--history-max", test.history, "--memory-limit", test.limit)
		if err != nil {
			t.Fatal(err)
		}
		log := fmt.Sprint(s.Warnings())
		if got := strings.Contains(log, "--memory-limit"); got != test.want {
			t.Errorf("%+v: warned: got %v, want %v, in\n%s", test, got, test.want, log)
		}
	}
}

func TestAByteRateThatRefusesWhatMayBeSentIsWarnedOf(t *testing.T) {
	for rate, want := range map[string]bool{"64KiB": true, "1MiB": false, "off": false} {
		s, err := parse(t, "--run-dir", "/r", "--byte-rate", rate)
		if err != nil {
			t.Fatal(err)
		}
		log := fmt.Sprint(s.Warnings())
		if got := strings.Contains(log, "--byte-rate"); got != want {
			t.Errorf("byte rate %s: warned: got %v, want %v, in\n%s", rate, got, want, log)
		}
	}
}

func TestWrongAdminHostsAreNamedWithTheMend(t *testing.T) {
	for value, want := range map[string]string{
		"http://ringcast.internal": "has a scheme", "*.internal": "has a wildcard", "ringcast.internal:1235": "is no host name", "a/b": "is no host name",
		strings.Repeat("a,", adminHostsMax+1): "name at most 64",
	} {
		_, err := parse(t, "--admin-hosts", value)
		if err == nil || !strings.Contains(err.Error(), "--admin-hosts") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q and the flag", value, err, want)
		}
	}
	s, err := parse(t, "--admin-hosts", " Ringcast.Internal. , b,")
	if err != nil || !slices.Equal(s.AdminHosts, []string{"ringcast.internal", "b"}) {
		t.Errorf("got %q (%v), want two names in lower case", s.AdminHosts, err)
	}
}
