// Command gobwas is a peer of ringcast in its bench: the same groups over github.com/gobwas/ws v1.5.0, as a user who
// knows that library would write them.
//
// ws is made for servers that own their I/O (README, "Why" and "Zero-copy upgrade"). So this one has no goroutine per
// client: one epoll loop per core owns its share of the connections, with no lock around them. ws.Upgrade shakes hands
// over what was read; ws.ReadHeaderBuffer, ws.CheckHeader and ws.Cipher read frames in place. What the clients of a loop
// send, it hands to the loops that have members of the group, once it has read from all clients that were ready.
//
//   - usual: a message is compiled once (ws.CompileFrame is documented for frames that are used often) and written to
//     each member with one write, as Broadcast of the chat in ws-examples does.
//   - batch: what a turn of the loop has for a group is joined, what it has for a connection goes out with one write at
//     the end of the turn. Pipelined messages and those of many publishers share their system calls.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/bench/peers/common"
)

func main() {
	port, batch := common.Options()

	h := &hub{groups: map[string]*group{}}
	listener, err := listen(port)
	if err == nil {
		err = h.start(runtime.GOMAXPROCS(0), batch)
	}
	if err != nil {
		common.Fail(err)
	}
	go h.accept(listener)
	common.Serve(port)
}

func listen(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	// Connections inherit TCP_NODELAY, which package net would set on each.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("127.0.0.1:%d: %w", port, os.NewSyscallError("bind", err))
	}
	return fd, os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
}

// accept distributes the connections over the loops. A loop learns of one when epoll first reports it.
func (h *hub) accept(listener int) {
	for i := 0; ; {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			if err != unix.EINTR && err != unix.ECONNABORTED { // out of descriptors
				time.Sleep(10 * time.Millisecond)
			}
			continue
		}
		if h.loops[i%len(h.loops)].watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			unix.Close(fd)
		}
		i++
	}
}
