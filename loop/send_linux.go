package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSend is sendto without the runtime's bookkeeping around system calls. It never blocks (MSG_DONTWAIT), so the scheduler need
// not know of it; in a prototype that saved a fifth of the cost at one message a send. p must not be empty. The number of the
// call is that of package unix: package syscall has none for 386, where sendto was a part of socketcall before Linux 4.3.
var rawSend = func(fd int, p []byte) sent {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return sent{errno: errno}
	}
	return sent{n: int(n)}
}

// A kernel without the call says so to a descriptor that is none; everything then goes through gnet's Conn.Write.
func init() {
	if rawSend(-1, []byte{0}).errno == syscall.ENOSYS {
		rawSend = nil
	}
}

// limitUnsent bounds the bytes that the kernel takes for a peer beyond what it has sent already (TCP_NOTSENT_LOWAT);
// connections inherit it from their listener. Without it, the kernel's buffer of a client that does not read grows to
// tcp_wmem's third number: 4 MB of the kernel's memory for each client were measured, and with it 0.2 MB, or up to 1.5 MB
// for one that read fast before. The rest waits in the outbox, where it counts. A fixed SO_SNDBUF does the same for slow
// clients, but also bounds what may be in flight to one that reads fast over a long distance.
func limitUnsent(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytesMax)
}

// unsentBytesMax is enough for most batches to go in one call.
const unsentBytesMax = 128 << 10
