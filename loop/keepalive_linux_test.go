package loop

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel is told of the listener holds for those that are accepted from it.
func TestConnectionsInheritTheKernelsSettings(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want map[string]int
	}{
		{Config{}, map[string]int{"keepalive": 1, "idle": 60, "interval": 15, "count": 4, "untaken": 150_000}},
		{Config{TCPKeepAlive: 2 * time.Second, TCPUserTimeout: 9 * time.Second},
			map[string]int{"keepalive": 1, "idle": 2, "interval": 1, "count": 4, "untaken": 9000}},
		{Config{TCPKeepAlive: 24 * time.Hour, TCPUserTimeout: 24 * time.Hour},
			map[string]int{"keepalive": 1, "idle": 32_767, "interval": 8191, "count": 4, "untaken": 86_400_000}},
		{Config{TCPKeepAlive: -1, TCPUserTimeout: -1}, map[string]int{"keepalive": 0, "untaken": 0}},
	} {
		test.cfg.Loops = 1
		left := make(chan net.Conn, 1)
		test.cfg.HTTP = func(c net.Conn) { left <- c }
		s := startServer(t, test.cfg)
		dial(t, s)
		check := func(of string, fd int) {
			for what, option := range map[string][2]int{
				"keepalive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "idle": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
				"interval": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, "count": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
				"untaken": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
			} {
				want, asked := test.want[what]
				if got, err := unix.GetsockoptInt(fd, option[0], option[1]); asked && (err != nil || got != want) {
					t.Errorf("%v, %v, %s: %s: got %d (%v), want %d", test.cfg.TCPKeepAlive, test.cfg.TCPUserTimeout, of, what, got, err, want)
				}
			}
		}
		if err := s.Hub().each(within(t), func(sh *shard) { check("a client", int(sh.clients[0].fd)) }); err != nil {
			t.Fatal(err)
		}
		peer, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(peer, plainRequest)
		c := <-left
		raw, _ := c.(*departed).Conn.(syscall.Conn).SyscallConn()
		_ = raw.Control(func(fd uintptr) { check("one that has left its loop", int(fd)) })
		c.Close()
		peer.Close()
	}
}
