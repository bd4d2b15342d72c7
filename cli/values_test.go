package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"ringcast/loop"
)

// freeText are the options that take any text, each with what it is.
var freeText = map[string]string{"log-file": "a path", "run-dir": "a path", "config": "a path, read before all others",
	"token-secret": "a secret", "token-audience": "what tokens say", "token-issuer": "what tokens say", "token-jwks": "an address from which something would be fetched"}

// garbage is wrong for nearly every option, and lists for those that take addresses, networks or origins.
var garbage = []string{
	"", " ", "-1", "+1", "1e3", "0x10", "1_000", "1.5", "٣", "99999999999999999999", "1 2", "1,2", "64KB", "1m1", "NaN", "OFF", "true", "none",
	"\x00", "\xff", strings.Repeat("x", 300), ":", "https://a/",
}

var wrongAddresses = []string{
	"::", ":1234x", "127.0.0.1", "[::1]", "[::1:80", "[::1]80", "[fe80::zz]:80", "300.1.1.1:80", "1.2.3:80", "bücher.example:80", "a\x00b:80", "a b:80",
	"localhost:http", "unix:", "unix:sock", "unix:/" + strings.Repeat("x", 200), "tcp://127.0.0.1:80", "127.0.0.1:65536", "127.0.0.1:080",
}

var wrongNetworks = []string{"10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "::/129", "10.0.0.1-10.0.0.9", "example.org", "10.0.0.0/8 192.0.2.1"}

var wrongOrigins = []string{
	"*.example.org", "example.org", "https://", "https://a b", "https://a:b", "https://a:123456", "https://[::1", "https://a%b", "https://ü.example", "https://*",
	"https://b.*.example", "https://user@example.org", "https://example.org?", "//example.org", "ht tp://a", "https://a\\b", "https://a!b", "https://a(b)",
	"https://a;b", "https://a&b", "https://ä:443", "https://ok.example,https://a'b",
}

var wrongMore = map[string][]string{
	"listen": wrongAddresses, "admin": wrongAddresses, "channel": wrongAddresses, "channel-connect": wrongAddresses,
	"trusted-proxies": wrongNetworks, "channel-allow": wrongNetworks, "allowed-origins": wrongOrigins,
}

// started runs start with arguments and a real server, which is asked to stop as soon as it serves.
func started(t *testing.T, dir runDir, args ...string) (status int, stderr string) {
	t.Helper()
	v := &verb{asked: make(chan os.Signal, 2), reload: make(chan os.Signal, 1), exited: make(chan int, 1)}
	v.asked <- os.Interrupt
	r := &env{
		args: append([]string{"start", "--run-dir", dir.path, "--loops", "1", "--listen", "127.0.0.1:0"}, args...), stdout: &v.out, stderr: &v.err,
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return v.asked, v.reload, func() {} },
		serve: func(cfg loop.Config) (server, hub, error) {
			srv, err := loop.Boot(cfg)
			if err != nil {
				return nil, nil, err
			}
			return srv, srv.Hub(), nil
		},
	}
	go func() { v.exited <- run(r) }()
	return v.exit(t), v.err.String()
}

// options are the flags of start, and the arguments without which each would be refused for another one's sake.
func options(t *testing.T) (flags []*kong.Flag, others map[string][]string) {
	t.Helper()
	var g grammar
	ctx, err := (&env{args: []string{"start"}}).parse(&g)
	if err != nil {
		t.Fatal(err)
	}
	others = map[string][]string{"proxy-protocol": {"--trusted-proxies", "192.0.2.1"}}
	for _, flag := range slices.Concat(ctx.Model.Node.Flags, ctx.Selected().Flags) {
		if flag.Name == "help" {
			continue
		}
		if strings.HasPrefix(flag.Name, "channel-") && flag.Name != "channel-connect" {
			others[flag.Name] = []string{"--channel", "127.0.0.1:0"}
		}
		flags = append(flags, flag)
	}
	if len(flags) < 40 {
		t.Fatalf("flags of start: got %d, want all", len(flags))
	}
	return flags, others
}

// What settings accept nothing after them may refuse, and what they refuse is a mistake in what was typed: its message names
// the option.
func TestAWrongValueIsRefusedByTheSettingsAndNobodyElse(t *testing.T) {
	dir := shortDir(t)
	flags, others := options(t)
	refused := 0
	tried := 0
	for at, flag := range flags {
		if freeText[flag.Name] != "" {
			continue
		}
		var values []string
		for i, value := range garbage {
			if i%3 == at%3 || os.Getenv("FAULTS") == "full" { // the small test throws a third, another at each option's neighbour
				values = append(values, value)
			}
		}
		values = append(values, wrongMore[flag.Name]...)
		if words := append(strings.Fields(flag.Tag.Get("value")), "", "", "", ""); strings.Contains("size count duration memory", words[0]) && words[0] != "" {
			values = append(values, words[1], words[2]) // the bounds themselves are right
		}
		for _, value := range values {
			if flag.Name == "daemon" && value == "true" {
				continue // it is right, and would leave a process behind
			}
			tried++
			status, stderr := started(t, dir, append(others[flag.Name], "--"+flag.Name+"="+value)...)
			what := fmt.Sprintf("--%s=%q: exit status %d, standard error %q", flag.Name, value, status, stderr)
			switch status {
			case statusUsage:
				refused++
				if !strings.Contains(stderr, "--"+flag.Name) {
					t.Errorf("%s: want the option named", what)
				}
			case statusOK:
			default:
				t.Errorf("%s: want what is typed wrong to be the settings' to refuse", what)
			}
		}
	}
	if refused < tried*3/4 {
		t.Errorf("refused: got %d of %d, want nearly all", refused, tried)
	}
}

// One wrong value of each option, by the two other ways in.
func TestAWrongValueNamesTheVariableOrTheFileThatHasIt(t *testing.T) {
	dir := shortDir(t)
	flags, others := options(t)
	for _, flag := range flags {
		if freeText[flag.Name] != "" {
			continue
		}
		wrong := "https://bücher.example"
		if flag.Name == "channel-name" {
			wrong = strings.Repeat("x", 256)
		}
		config := filepath.Join(t.TempDir(), "c.json")
		if err := os.WriteFile(config, fmt.Appendf(nil, `{%q: %q}`, flag.Name, wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if flag.Name != "listen" && flag.Name != "loops" { // which started gives as flags
			before, was := os.LookupEnv(flag.Envs[0])
			os.Unsetenv(flag.Envs[0])
			status, stderr := started(t, dir, append(others[flag.Name], "--config", config)...)
			if status != statusUsage || !strings.Contains(stderr, "--"+flag.Name) || !flag.IsBool() && !strings.Contains(stderr, "config file") {
				t.Errorf("%s in the file: got exit status %d and %q, want %d, the option and the file", flag.Name, status, stderr, statusUsage)
			}
			os.Setenv(flag.Envs[0], wrong)
			if status, stderr = started(t, dir, others[flag.Name]...); status != statusUsage || !strings.Contains(stderr, "--"+flag.Name) || !strings.Contains(stderr, flag.Envs[0]) {
				t.Errorf("%s: got exit status %d and %q, want %d, the option and the variable", flag.Envs[0], status, stderr, statusUsage)
			}
			os.Unsetenv(flag.Envs[0])
			if was {
				os.Setenv(flag.Envs[0], before)
			}
		}
	}
}

func TestAnOriginInAnotherAlphabetIsToldItsPunycode(t *testing.T) {
	dir := shortDir(t)
	for text, want := range map[string]string{
		"https://bücher.example":          "https://xn--bcher-kva.example",
		"HTTPS://BÜCHER.example:8443":     "https://xn--bcher-kva.example:8443",
		"https://*.bücher.example":        "https://*.xn--bcher-kva.example",
		"https://faß.example":             "https://xn--fa-hia.example",
		"http://例え.テスト":                   "http://xn--r8jz45g.xn--zckzah",
		"https://ok.example,https://ä.de": "https://xn--4ca.de",
	} {
		status, stderr := started(t, dir, "--allowed-origins", text)
		if status != statusUsage {
			t.Errorf("%s: exit status: got %d, want %d", text, status, statusUsage)
		}
		has(t, text, stderr, "--allowed-origins", "write it as "+want+", which is what browsers send")
		if status, stderr := started(t, dir, "--allowed-origins", want); status != statusOK {
			t.Errorf("%s: got exit status %d and %q, want what is proposed to be right", want, status, stderr)
		}
	}
}

func TestTwoOptionsMayNotHaveOnePort(t *testing.T) {
	dir := shortDir(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	for _, args := range [][]string{{"--listen", addr, "--channel", addr}, {"--admin", addr, "--channel", addr}, {"--listen", addr, "--admin", addr}} {
		status, stderr := started(t, dir, args...)
		if status != statusUsage || !strings.Contains(stderr, "has the port of "+args[0]) {
			t.Errorf("%q: got exit status %d and %q, want %d, and the option that has the port named", args, status, stderr, statusUsage)
		}
	}
}
