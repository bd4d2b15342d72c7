package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file is about the files of unix sockets: a dead server's is replaced, nobody else's is touched, and nobody comes in by a new
// one before it has its mode and owner.

// openUnix listens on a unix socket. A file that a dead server has left in its place is replaced.
func openUnix(a *ListenAddress) (*listener, error) {
	uid, gid, err := a.owners()
	if err != nil {
		return nil, err
	}
	if err := removeStale(a.path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// Linux gives the file the mode of the socket: nobody gets in before the file has its own mode and owner.
		lost := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0) })
		return errors.Join(lost, ignoreUnsupported(err))
	}}
	opened, err := config.Listen(context.Background(), "unix", a.path)
	if err != nil {
		return nil, err
	}
	opened.(*net.UnixListener).SetUnlinkOnClose(false)
	defer opened.Close()
	l, err := takeOver(opened.(*net.UnixListener))
	if err != nil {
		_ = os.Remove(a.path)
		return nil, err
	}
	l.file = a.path
	if l.inode, err = os.Lstat(a.path); err == nil {
		if err = os.Lchown(a.path, uid, gid); err == nil {
			err = os.Chmod(a.path, a.mode)
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// ignoreUnsupported drops the error of a system that cannot change the mode of a socket.
func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// removeStale removes the file of a unix socket that nobody answers on. The error is EADDRINUSE if somebody does.
func removeStale(path string) error {
	if stale, err := staleFile(path); !stale {
		return err
	}
	return os.Remove(path)
}

// staleFile says whether there is a file of a unix socket that nobody answers on. It is an error if anything else is there.
func staleFile(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode().Type() != fs.ModeSocket:
		return false, fmt.Errorf("%s exists and is no socket; remove it, or name another path", path)
	}
	c, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return false, fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
	}
	return true, nil
}

// isOurs says whether the file of a unix socket is still the one that it was opened with.
func (l *listener) isOurs() bool {
	now, err := os.Lstat(l.file)
	return err == nil && os.SameFile(now, l.inode)
}

// unlink removes the file of a unix socket. It comes before the socket is closed: as long as somebody answers no other server
// replaces the file, so it cannot be another server's that is removed.
func (l *listener) unlink() {
	if l.file != "" && l.isOurs() {
		_ = os.Remove(l.file)
	}
	l.file = ""
}
