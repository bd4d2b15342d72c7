package bus

import (
	"context"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestALinkThatTakesNothingIsGivenUpByTheKernel(t *testing.T) {
	s := listenAsServer(t)
	r := &remote{cfg: Config{Connect: s.listener.Addr().String()}}
	conn, err := r.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if want := int(untakenMax.Milliseconds()); err != nil || got != want {
			t.Errorf("got %d ms, %v, want %d", got, err, want)
		}
	})
}
