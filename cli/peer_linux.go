package cli

import (
	"net"
	"syscall"
)

// listenerPID asks the kernel which process listens on the control socket (SO_PEERCRED, unix(7)). It needs no answer from
// the server, so it also finds one that hangs.
func listenerPID(dir runDir) (int, error) {
	conn, err := net.Dial("unix", dir.socket())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *syscall.Ucred
	var peerErr error
	if err := raw.Control(func(fd uintptr) {
		peer, peerErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if peerErr != nil {
		return 0, peerErr
	}
	return int(peer.Pid), nil
}
