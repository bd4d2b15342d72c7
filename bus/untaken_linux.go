package bus

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setUntaken bounds how long the Channel server may leave bytes unacknowledged. The kernel's keepalive probes are for idle
// connections; one with unacknowledged bytes, as after a cable was pulled, it would keep for a quarter of an hour.
func setUntaken(network, _ string, conn syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if failed := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(untakenMax.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}
