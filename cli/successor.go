package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/loop"
)

// canServe says why a server could not take the place of the one that runs, before that one is stopped: it tries the addresses,
// counts the descriptors and opens the log. That the running server has an address is no failure.
func canServe(dir runDir, s *settings.Settings, m manager) error {
	var theirs []string // nil: not known, as the running server does not answer; then any address may be its
	theirStore := ""
	if now, err := statusOf(dir); err == nil {
		if now.Cluster != nil {
			theirs, theirStore = append(theirs, now.Cluster.Listen), now.Cluster.StoreDir
		}
		theirs = append(theirs, strings.Split(now.Listen, ",")...)
		theirs = append(theirs, strings.Split(now.TLSListen, ",")...)
		theirs = append(theirs, now.Admin, now.Redirect)
		if now.Channel != nil && now.Channel.Mode == "server" {
			theirs = append(theirs, now.Channel.Addr)
		}
	}
	certificates, err := openCertificates(s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	cfg := s.Loop
	cfg.Sockets, cfg.TLSSockets, cfg.TLS = m.sockets, m.secure, certificates.config()
	if s.TLS.Redirect != "" {
		cfg.Reserve = api.RedirectConnectionsMax
	}
	if err := loop.CheckBoot(cfg, theirs, opensBefore(s, m)); err != nil {
		return listenError(s, err)
	}
	// Here ports alone are compared, as one port of several addresses is mostly one server's.
	isTheirs := func(address string) bool {
		return theirs == nil || slices.ContainsFunc(theirs, func(t string) bool { return place(t) == place(address) })
	}
	if s.Admin != "" && m.admin == nil {
		if err := tried(listenAdmin(s.Admin)); !isFree(err, isTheirs(s.Admin)) {
			return adminError(s.Admin, err)
		}
	}
	if address := s.TLS.Redirect; address != "" && m.redirect == nil {
		if err := tried(listenAdmin(address)); !isFree(err, isTheirs(address)) {
			return redirectError(address, err)
		}
	}
	if address := s.Channel.Listen; address != "" && m.channel == nil {
		var err error
		if path, unix := strings.CutPrefix(address, "unix:"); unix {
			err = loop.CheckSocketFile(path, isTheirs(address))
		} else {
			err = tried(net.Listen("tcp", address))
		}
		if !isFree(err, isTheirs(address)) {
			return channelError(address, err)
		}
	}
	if address := s.Cluster.Listen; address != "" {
		if err := tried(net.Listen("tcp", address)); !isFree(err, isTheirs(address)) {
			return clusterListenError(address, err)
		}
	}
	if store := s.Cluster.StoreDir; store != "" && store != theirStore {
		switch file, err := lockStoreNow(store); {
		case err == nil:
			file.Close()
		case !errors.Is(err, errLocked) || theirs != nil:
			return err
		}
	}
	if s.LogFile == "" || s.Daemon { // a process in the background is given it open
		return nil
	}
	if info, err := os.Stat(s.LogFile); err == nil && !info.Mode().IsRegular() {
		return nil // the reader of a pipe would take the closing for the end
	}
	log, err := openInTime(s.LogFile, logOpenMax)
	if err == nil {
		log.Close()
	}
	return err
}

// clusterListenError is why other nodes could not connect.
func clusterListenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--cluster-listen %q: another program has this port, perhaps another node; name another port", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--cluster-listen %q: this machine does not have that address; name one of its own", address)
	}
	return fmt.Errorf("--cluster-listen %q: %w", address, err)
}

// opensBefore is how many descriptors a start opens before it boots the loops: the lock, the log, the admin address, that for plain
// HTTP and the pipe to a parent.
func opensBefore(s *settings.Settings, m manager) (n int) {
	for _, opens := range []bool{true, s.LogFile != "", s.Admin != "" && m.admin == nil, s.TLS.Redirect != "" && m.redirect == nil, s.Daemon} {
		if opens {
			n++
		}
	}
	return n
}

// tried closes what was opened only to see whether that is possible.
func tried(l net.Listener, err error) error {
	if err == nil {
		l.Close()
	}
	return err
}

// isFree says whether an address that was tried will be free when the running server has given up what is its.
func isFree(err error, isTheirs bool) bool {
	return err == nil || isTheirs && errors.Is(err, syscall.EADDRINUSE)
}

// place is what of an address, as a server shows it, can only be one server's: the port, or the path of a unix socket. It is empty
// for no address.
func place(address string) string {
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		return filepath.Clean(strings.TrimPrefix(path, "//"))
	}
	_, port, _ := net.SplitHostPort(address)
	return port
}
