package loop

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// socketDir is a directory whose name leaves room in the 107 bytes that a socket's path may have.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ringcast")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// needIPv6 skips a test where the machine has none.
func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	l.Close()
}

func TestAnAddressWithoutAHostServesBothFamilies(t *testing.T) {
	needIPv6(t)
	for _, listen := range []string{":0", "[::]:0", "localhost:0"} {
		s := startServer(t, Config{Listen: []string{listen}, Loops: 2})
		_, port, _ := net.SplitHostPort(s.Addr().String())
		for _, host := range []string{"127.0.0.1", "::1"} {
			if listen == "localhost:0" && len(s.Addrs()) == 1 {
				continue // the machine's own choice
			}
			p := dialAt(t, "tcp", net.JoinHostPort(host, port), "/")
			p.join("g")
			list, err := s.Hub().Clients(within(t))
			if err != nil || len(list) != 1 {
				t.Fatalf("%s by %s: list: got %v (%v), want one client", listen, host, list, err)
			}
			if c := list[0]; c.Remote != p.conn.LocalAddr().String() || c.Local != p.conn.RemoteAddr().String() {
				t.Errorf("%s by %s: got %s to %s, want %s to %s", listen, host, c.Remote, c.Local, p.conn.LocalAddr(), p.conn.RemoteAddr())
			}
			p.conn.Close()
			waitForClients(t, s, 0)
		}
	}
}

func TestAnAddressOfOneFamilyServesThatOne(t *testing.T) {
	needIPv6(t)
	for listen, other := range map[string]string{"0.0.0.0:0": "::1", "127.0.0.1:0": "::1", "[::1]:0": "127.0.0.1"} {
		s := startServer(t, Config{Listen: []string{listen}, Loops: 1})
		_, port, _ := net.SplitHostPort(s.Addr().String())
		if c, err := net.Dial("tcp", net.JoinHostPort(other, port)); err == nil {
			c.Close()
			t.Errorf("%s: a connection to %s was accepted", listen, other)
		}
		if len(s.Addrs()) != 1 {
			t.Errorf("%s: got addresses %v, want one", listen, s.Addrs())
		}
	}
}

// waitForClients waits until the server has so many.
func waitForClients(t *testing.T, s *Server, n int64) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); s.hub.connections.Load() != n; {
		if time.Now().After(deadline) {
			t.Fatalf("clients: got %d, want %d", s.hub.connections.Load(), n)
		}
		<-time.After(time.Millisecond)
	}
}

func TestAllAddressesServeTheSameGroups(t *testing.T) {
	path := filepath.Join(socketDir(t), "http.sock")
	s := startServer(t, Config{Listen: []string{"127.0.0.1:0", "127.0.0.2:0", "unix://" + path + "?mode=0606"}, Loops: 2})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("file of the socket: got %v (%v), want mode 0606", info.Mode(), err)
	}
	var peers []*peer
	for _, a := range s.Addrs() {
		p := dialAt(t, a.Network(), a.String(), "/")
		p.join("g")
		peers = append(peers, p)
	}
	peers[2].say(`{"cmd":"send_to_group","group_id":"g","message":"hi"}`)
	for _, p := range peers {
		p.want("hi")
	}
	list, err := s.Hub().Clients(within(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range list {
		got[c.Local] = c.Remote
	}
	want := map[string]string{"unix:" + path: "unix", s.Addrs()[0].String(): peers[0].conn.LocalAddr().String(), s.Addrs()[1].String(): peers[1].conn.LocalAddr().String()}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("clients: got %v, want %v", got, want)
	}
	if err := s.Stop(within(t), nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("after a stop: the file of the socket is there, want it gone")
	}
}

func TestTheFileOfASocketIsReplacedOnlyIfItIsASocketThatNobodyAnswersOn(t *testing.T) {
	dir := socketDir(t)
	path := filepath.Join(dir, "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	s := startServer(t, Config{Listen: []string{"unix:" + path}, Loops: 1})
	if _, err := Start(Config{Listen: []string{"unix:" + path}, Loops: 1}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a path that somebody answers on: got %v, want that it is in use", err)
	}
	dialAt(t, "unix", path, "/").join("g") // that start has taken nothing away

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{Listen: []string{"unix:" + file}, Loops: 1}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a path of a file: got %v, want that it is no socket", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file: got %q, want it as it was", text)
	}

	// Somebody has put another socket into the place: it is not this server's to remove.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := s.Stop(within(t), nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another's socket: %v, want it left alone", err)
	}
}

func TestWrongAddressesAreNamedWithTheMend(t *testing.T) {
	for text, want := range map[string]string{
		"unix:relative":                             "write unix:///PATH",
		"unix:///":                                  "write unix:///PATH",
		"unix:///" + strings.Repeat("x", 107):       "at most 107 bytes",
		"unix:///x?mod=0660":                        "?mode=0660",
		"unix:///x?mode=9":                          "?mode=0660",
		"unix:///x?mode=01777":                      "?mode=0660",
		"unix:///x?group=":                          "?mode=0660",
		"unix:///x?group=nobody-has-this-name-here": "unknown group",
		"127.0.0.1":                                 "missing port",
		"127.0.0.1:99999":                           "invalid port",
		"256.0.0.1:80":                              "no such host",
	} {
		s, err := Start(Config{Listen: []string{text}, Loops: 1})
		if err == nil {
			s.Stop(within(t), nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
	free := startServer(t, Config{Loops: 1})
	port := free.Addr().(*net.TCPAddr).Port
	free.Stop(within(t), nil)
	both := []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("0.0.0.0:%d", port)}
	if _, err := Start(Config{Listen: both, Loops: 1}); err == nil || !strings.Contains(err.Error(), "leave one of them out") {
		t.Errorf("%v: got %v, want that one covers the other", both, err)
	}
	if _, err := Start(Config{Listen: make([]string, ListenMax+1)}); err == nil || !strings.Contains(err.Error(), "more than 16") {
		t.Errorf("17 addresses: got %v, want that they are too many", err)
	}
}

// handedIn is a socket as a supervisor hands it in, which it keeps.
func handedIn(t *testing.T, network, address string) (file func() *os.File, addr net.Addr) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func() *os.File {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}, l.Addr()
}

// A supervisor's socket never refuses anybody, though the servers behind it come and go. Whoever a stopping server has accepted is
// answered 101 and then told 1001; the others wait for the next one.
func TestNobodyIsRefusedWhileServersOnASocketThatIsHandedInFollowEachOther(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	for _, at := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp", "[::]:0"}, {"unix", path}} {
		if at[1] == "[::]:0" {
			if l, err := net.Listen("tcp", at[1]); err != nil {
				continue // no IPv6
			} else {
				l.Close()
			}
		}
		file, addr := handedIn(t, at[0], at[1])
		address := addr.String()
		if tcp, ok := addr.(*net.TCPAddr); ok {
			address = fmt.Sprintf("127.0.0.1:%d", tcp.Port) // of a dual-stack socket too: its peers are mapped
		}
		over := make(chan struct{})
		served := make(chan error, 16)
		for range cap(served) {
			go func() {
				for n := 0; ; n++ {
					select {
					case <-over:
						served <- nil
						return
					default:
					}
					if err := comeOnce(addr.Network(), address); err != nil {
						served <- fmt.Errorf("connection %d of one client: %w", n, err)
						return
					}
				}
			}()
		}
		for round := range 4 {
			s, err := Start(Config{Sockets: []*os.File{file()}, Loops: 3})
			if err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(testTimeout); s.Hub().Snapshot().Total().Accepted < uint64(20*round+10); {
				if time.Now().After(deadline) {
					t.Fatalf("%v: round %d: nobody comes", at, round)
				}
				<-time.After(time.Millisecond)
			}
			if err := s.Stop(within(t), nil); err != nil {
				t.Errorf("%v: %v", at, err)
			}
			if away := s.Hub().Snapshot().Total().RefusedClients; away != 0 {
				t.Errorf("%v: refused: got %d, want none", at, away)
			}
		}
		last := startServer(t, Config{Sockets: []*os.File{file()}, Loops: 1}) // serves those that wait
		close(over)
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("%v: %v", at, err)
			}
		}
		if err := last.Stop(within(t), nil); err != nil {
			t.Errorf("%v: %v", at, err)
		}
		if at[0] == "unix" {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the file of somebody else's socket: %v, want it left alone", err)
			}
		}
	}
}

// comeOnce connects, wants 101 and leaves.
func comeOnce(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(c, simRequest); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	for line, n := "", 0; line != "\r\n"; n++ {
		if line, err = in.ReadString('\n'); err != nil {
			return fmt.Errorf("line %d of the answer: %w", n, err)
		}
		if n == 0 && !strings.HasPrefix(line, "HTTP/1.1 101") {
			return fmt.Errorf("got answer %q, want 101", line)
		}
	}
	return nil
}

// An IPv4 client of a dual-stack socket has a mapped address, which nobody should see.
func TestAMappedAddressIsShownAsTheIPv4AddressThatItIs(t *testing.T) {
	needIPv6(t)
	file, addr := handedIn(t, "tcp", "[::]:0")
	s := startServer(t, Config{Sockets: []*os.File{file()}, Loops: 1})
	p := dialAt(t, "tcp", fmt.Sprintf("127.0.0.1:%d", addr.(*net.TCPAddr).Port), "/")
	list, err := s.Hub().Clients(within(t))
	if err != nil || len(list) != 1 {
		t.Fatalf("list: got %v (%v), want one client", list, err)
	}
	if c := list[0]; c.Remote != p.conn.LocalAddr().String() || c.Local != p.conn.RemoteAddr().String() {
		t.Errorf("got %s to %s, want %s to %s", c.Remote, c.Local, p.conn.LocalAddr(), p.conn.RemoteAddr())
	}
}

func TestASocketThatDoesNotListenIsNotTakenOver(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{Sockets: []*os.File{file}, Loops: 1}); err == nil {
		t.Error("/dev/null: got no error")
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if file, err = udp.File(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{Sockets: []*os.File{file}, Loops: 1}); err == nil || !strings.Contains(err.Error(), "ListenStream=") {
		t.Errorf("a UDP socket: got %v, want that it does not listen for streams", err)
	}
	if err := file.Close(); err == nil {
		t.Error("the file that was handed in is open after Start, want it taken over")
	}
}

// Whoever waits for the addresses is told when they are free, and clients that take their time take nobody else's.
func TestAddressesAreFreeWhenAStopSaysSoAndClientsAreStillThere(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	s, err := Start(Config{Listen: []string{"127.0.0.1:0", "unix:" + path}, Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	const clients = 6
	peers := joinAll(t, s, clients)
	var next *Server
	told := 0
	err = s.Stop(within(t), func() {
		told++
		if n := s.Hub().Snapshot().Total().Clients; n != clients {
			t.Errorf("clients when all have been told: got %d, want %d, which have not answered yet", n, clients)
		}
		again := Config{Listen: []string{s.Addr().String(), "unix:" + path}, Loops: 1}
		if next, err = Start(again); err != nil {
			t.Errorf("another server on the same addresses: %v", err)
			return
		}
		dial(t, next).join("g")
		dialAt(t, "unix", path, "/").join("g")
		for i, p := range peers {
			if op, m, err := p.next(); op != 8 || !strings.HasPrefix(m, "\x03\xe9") {
				t.Errorf("member %d: got frame %d %q (%v), want close 1001", i, op, m, err)
			}
			p.conn.Close()
		}
	})
	if err != nil || told != 1 {
		t.Errorf("Stop: got %v and told %d times, want it once", err, told)
	}
	if next == nil {
		return
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of the other server's socket: %v, want it left alone", err)
	}
	if err := next.Stop(within(t), nil); err != nil {
		t.Error(err)
	}
}
