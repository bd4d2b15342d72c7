package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// This file finds out whether a server could boot, before another one is stopped for it.

// CheckBoot says why Boot would fail, for want of an address or of descriptors. theirs are the addresses of another server, as
// AddrText shows them, which it is about to give up: that they are in use is no failure. With nil it is not known which they are,
// and no address fails for being in use. more are the descriptors that the caller is going to open before it calls Boot. Nothing is
// left open, and nothing of theirs is touched.
func CheckBoot(cfg Config, theirs []string, more int) error {
	if err := cfg.fill(); err != nil {
		return err
	}
	var tried listeners
	defer func() { tried.close() }()
	var addresses []string
	if len(cfg.Sockets) == 0 {
		addresses = append(addresses, cfg.Listen...)
	}
	if len(cfg.TLSSockets) == 0 {
		addresses = append(addresses, cfg.TLSListen...)
	}
	for _, text := range addresses {
		a, err := ParseListen(text)
		if err == nil {
			err = tried.try(&a, theirs)
		}
		if err != nil {
			return &ListenError{text, err}
		}
	}
	for _, l := range tried {
		if l.fd < 0 {
			more++ // the others are open now, and counted
		}
	}
	_, err := descriptorsFree(more + cfg.Reserve + bootDescriptors(cfg.Loops, len(tried)+len(cfg.Sockets)+len(cfg.TLSSockets)))
	return err
}

// bootDescriptors is how many descriptors Boot opens beside the listening sockets: for each of them a placeholder; the gong; for each
// loop a poller, what wakes it and the two ends of a kick; and a poller and what wakes it for the acceptor.
func bootDescriptors(loops, listeners int) int { return listeners + 1 + 4*loops + 2 }

// try opens the sockets of an address, as far as that touches nobody.
func (all *listeners) try(a *ListenAddress, theirs []string) error {
	if a.path != "" {
		uid, gid, err := a.owners()
		if err == nil {
			err = tryFile(a.path, uid, gid, a.mode, theirs == nil || slices.Contains(theirs, unixName(a.path)))
		}
		*all = append(*all, &listener{addr: &net.UnixAddr{Net: "unix", Name: a.path}, fd: -1, berth: -1})
		return err
	}
	return all.open(a, func(address netip.AddrPort) (*listener, error) {
		l, err := openTCP(address)
		if errors.Is(err, syscall.EADDRINUSE) && has(theirs, address) {
			return &listener{addr: net.TCPAddrFromAddrPort(address), fd: -1, berth: -1}, nil
		}
		return l, err
	})
}

// has says whether one of a server's sockets is in the way of an address. Families are not told apart: a socket that was handed in
// may be of both.
func has(theirs []string, address netip.AddrPort) bool {
	return theirs == nil || slices.ContainsFunc(theirs, func(text string) bool {
		other, err := netip.ParseAddrPort(text)
		return err == nil && other.Port() == address.Port() &&
			(other.Addr().Unmap() == address.Addr() || other.Addr().IsUnspecified() || address.Addr().IsUnspecified())
	})
}

// CheckSocketFile says why nobody could listen on a unix socket at a path. theirs: if somebody answers there, it is a server that is
// about to give it up.
func CheckSocketFile(path string, theirs bool) error {
	return tryFile(path, -1, -1, socketMode, theirs)
}

// tryFile makes a file with an owner beside the place of a unix socket, and removes it.
func tryFile(path string, uid, gid int, mode fs.FileMode, theirs bool) error {
	if _, err := staleFile(path); err != nil && !(theirs && errors.Is(err, syscall.EADDRINUSE)) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ringcast-*")
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = fmt.Errorf("%s: %w", filepath.Dir(path), at.Err) // its name is nobody's business
		}
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return errors.Join(f.Chown(uid, gid), f.Chmod(mode))
}
