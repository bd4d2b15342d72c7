package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// After a restart that cannot work the old server still answers: what would keep the new one from listening is found before
// the old one is told to stop.
func TestARestartThatCannotWorkStopsNothing(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	plain := filepath.Join(dir, "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	first := daemon(t, dir, "--listen", "unix:"+filepath.Join(dir, "http.sock"), "--admin", "127.0.0.1:0", "--channel", "127.0.0.1:0")
	tcp, _, _ := strings.Cut(first.Listen, ",")
	s := &server{t: t, dir: dir, addr: tcp, over: make(chan struct{})}
	same := port(tcp)
	other, err := net.Listen("tcp", "127.0.0.2:"+same) // another program, on the same port of another address
	must(t, err)
	defer other.Close()
	const nowhere = "203.0.113.5" // of the documentation (RFC 5737): no machine has it
	for _, c := range []struct {
		descriptors int
		args        []string
		want        string
	}{
		{0, []string{"-d", "--listen", "unix://" + dir + "/no/such/x.sock"}, "there is no such directory"},
		{0, []string{"-d", "--listen", "unix://" + plain}, "exists and is no socket"},
		{0, []string{"-d", "--listen", "unix://" + plain + "/x.sock"}, "not a directory"},
		{0, []string{"-d", "--listen", "unix:///proc/x.sock"}, "--listen"},
		{0, []string{"-d", "--listen", "unix://" + dir + "/x.sock?group=nosuchgroup"}, "nosuchgroup"},
		{0, []string{"-d", "--listen", "unix://" + dir + "/http.sock?user=nosuchuser"}, "nosuchuser"},
		{0, []string{"-d", "--listen", nowhere + ":" + same}, "does not have that address"},
		{0, []string{"-d", "--listen", "127.0.0.2:" + same}, "another program has this port"},
		{0, []string{"-d", "--listen", tcp, "--listen", "0.0.0.0:" + same}, "leave one of them out"},
		{0, []string{"-d", "--listen", tcp, "--admin", nowhere + ":" + same}, "--admin"},
		{0, []string{"-d", "--listen", tcp, "--admin", nowhere + ":" + port(first.Admin)}, "does not have that address"},
		{0, []string{"-d", "--listen", tcp, "--channel", "unix:" + dir + "/no/such/x.sock"}, "--channel"},
		{0, []string{"-d", "--listen", tcp, "--channel", "unix:" + plain}, "exists and is no socket"},
		{0, []string{"-d", "--listen", tcp, "--channel", nowhere + ":" + port(first.Channel.Addr)}, "--channel"},
		{0, []string{"--listen", tcp, "--log-file", dir + "/no/such/log"}, "--log-file"},
		{60, []string{"-d", "--listen", tcp}, "limit of 60 open files"},
		{60, []string{"--listen", tcp}, "limit of 60 open files"},
	} {
		args := append([]string{"restart", "--run-dir", dir, "--loops", "4"}, c.args...)
		r := runLimited(c.descriptors, args...)
		what := fmt.Sprintf("restart %v with %d descriptors", c.args, c.descriptors)
		if r.exit == 0 || !strings.Contains(r.all(), c.want) || strings.Contains(r.all(), "Stopping") {
			t.Errorf("%s: got exit %d with %s, want a failure, %q in it and nothing stopped", what, r.exit, r.all(), c.want)
		}
		if st, err := readStatus(dir); err != nil || st.PID != first.PID {
			t.Fatalf("%s: afterwards got pid %d, %v, want the old server, %d", what, st.PID, err, first.PID)
		}
	}
	c := member(t, s, "g")
	must(t, c.text(sendCommand("g", "still served")))
	c.expect(t, "still served")
	left, err := os.ReadDir(filepath.Join(dir, "empty"))
	must(t, err)
	equal(t, "files that the attempts have left", len(left), 0)
}

// runLimited is run with so many descriptors, 0 for those of this process.
func runLimited(descriptors int, args ...string) result {
	if descriptors == 0 {
		return run(args...)
	}
	script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, descriptors)
	out, err := exec.Command("sh", append([]string{"-c", script, program}, args...)...).CombinedOutput()
	r := result{stdout: string(out)}
	if err != nil {
		r.exit = 1
	}
	return r
}
