package loop

import (
	"syscall"
	"unsafe"
)

// rawSend is sendto without the runtime's bookkeeping around system calls: it never blocks (MSG_DONTWAIT), so the
// scheduler need not know of it, and at one message a send that saved a fifth of the cost in the prototype. p must not be empty.
var rawSend = func(fd int, p []byte) sent {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
		uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return sent{errno: errno}
	}
	return sent{n: int(n)}
}
