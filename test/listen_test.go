package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// speak sends a handshake to an address of any kind and gives the first line of the answer.
func speak(t *testing.T, network, address, header string) (line string) {
	t.Helper()
	c, err := net.DialTimeout(network, address, patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n", newKey(), header)
	line, err = bufio.NewReader(c).ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line)
}

func TestAServerListensOnAllItsAddressesAndBelievesAProxyOnItsUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runDir(t), "http.sock")
	must(t, os.WriteFile(path+".not", nil, 0o600))
	s := start(t, "--listen", "127.0.0.1:0,127.0.0.2:0", "--listen", "unix://"+path+"?mode=0600", "--trusted-proxies", "unix",
		"--address-clients-max", "2")
	addresses := strings.Split(s.addr, ",")
	equal(t, "addresses in status", len(addresses), 3)
	equal(t, "the last of them", addresses[2], "unix:"+path)
	info, err := os.Stat(path)
	must(t, err)
	equal(t, "mode of the socket's file", info.Mode().Perm(), os.FileMode(0o600))
	for _, address := range addresses[:2] {
		equal(t, "answer on "+address, speak(t, "tcp", address, ""), "HTTP/1.1 101 Switching Protocols")
	}
	for _, header := range []string{"", "X-Forwarded-For: 192.0.2.7\r\n", "X-Forwarded-For: 192.0.2.7\r\n", "X-Forwarded-For: 2001:db8::1\r\n"} {
		equal(t, "answer behind "+header, speak(t, "unix", path, header), "HTTP/1.1 101 Switching Protocols")
	}
	if line := speak(t, "unix", path, "X-Forwarded-For: 192.0.2.7\r\n"); !strings.Contains(line, " 429 ") {
		t.Errorf("a third connection of 192.0.2.7: got %q, want 429", line)
	}
	want := map[string]int{"127.0.0.1": 2, "unix": 1, "192.0.2.7": 2, "2001:db8::1": 1}
	s.eventually("connections shows where clients come from", func() error {
		if got := s.remotes(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
	if r := run("status", "--run-dir", s.dir); !strings.Contains(r.stdout, "ws://"+addresses[0]+"  ws://"+addresses[1]+"  unix:"+path) {
		t.Errorf("status: got\n%s\nwant all addresses", r.all())
	}

	// Another server on the same path does not start, and takes nothing away.
	if r := run("start", "--listen", "unix:"+path, "--run-dir", runDir(t)); r.exit != 1 || !strings.Contains(r.all(), "another program answers on this socket") {
		t.Errorf("a second server: got exit %d and %q, want 1 and the reason", r.exit, r.all())
	}
	if r := run("start", "--listen", "unix:"+path+".not", "--run-dir", runDir(t)); r.exit != 1 || !strings.Contains(r.all(), "no socket") {
		t.Errorf("a file that is no socket: got exit %d and %q, want 1 and the reason", r.exit, r.all())
	}
	equal(t, "answer after others have tried", speak(t, "unix", path, ""), "HTTP/1.1 101 Switching Protocols")

	// A server that is killed leaves the file; the next one replaces it.
	s.signal(syscall.SIGKILL)
	s.exit()
	again := start(t, "--listen", "unix:"+path)
	equal(t, "answer of the next server", speak(t, "unix", path, ""), "HTTP/1.1 101 Switching Protocols")
	again.signal(syscall.SIGTERM)
	equal(t, "exit status", again.exit(), 0)
	if _, err := os.Lstat(path); err == nil {
		t.Error("after a stop: the file is there, want it gone")
	}
}

func TestAPortWithoutAHostServesIPv4AndIPv6(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else {
		l.Close()
	}
	for _, listen := range []string{":0", "[::]:0"} {
		s := start(t, "--listen", listen)
		first, _, _ := strings.Cut(s.addr, ",")
		_, port, err := net.SplitHostPort(first)
		must(t, err)
		equal(t, "addresses in status", s.addr, "0.0.0.0:"+port+",[::]:"+port)
		for _, host := range []string{"127.0.0.1", "::1"} {
			equal(t, "answer of "+host, speak(t, "tcp", net.JoinHostPort(host, port), ""), "HTTP/1.1 101 Switching Protocols")
		}
		s.eventually("connections shows both families as they are", func() error {
			if got, want := fmt.Sprint(s.remotes()), fmt.Sprint(map[string]int{"127.0.0.1": 1, "::1": 1}); got != want {
				return fmt.Errorf("got %s, want %s", got, want)
			}
			return nil
		})
	}
}
