package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ringcast/api"
	"ringcast/bus"
	"ringcast/cli/settings"
	"ringcast/loop"
	"ringcast/webhook"
)

// startVerb starts the server.
type startVerb struct{ settings.Flags }

// Run is called by kong.
func (v *startVerb) Run(r *env, g *settings.Globals) error {
	dir, s, err := r.settings(&v.Flags, g)
	if err != nil {
		return err
	}
	m, err := readManager(&s)
	if err != nil {
		return err
	}
	return r.start(dir, s, m)
}

// manager is what a service manager, such as systemd, wants to hear and has handed in.
type manager struct {
	*notifier
	handedIn
}

func readManager(s *settings.Settings) (m manager, err error) {
	m.notifier = readNotifier()
	if m.handedIn, err = readHandedIn(); err != nil {
		return m, err
	}
	return m, m.fits(s)
}

// server is what start needs of a running loop.Server.
type server interface {
	Addrs() []net.Addr
	TLSAddrs() []net.Addr                        // those on which TLS is spoken
	LetIn() error                                // lets clients in, who wait until then
	Stop(ctx context.Context, told func()) error // closes every client, calls told when the addresses are free, and waits for what is queued until ctx is done
	GiveUp()                                     // closes the listening sockets, if Stop has not come so far
	Done() <-chan struct{}                       // closed when the loops have ended, for whatever reason
	Err() error                                  // why they ended without being asked to

	Apply(ctx context.Context, l loop.Limits) error // has all loops work within other limits
}

// hub is what the control socket, the admin address and the Channel link need of a loop.Hub.
type hub interface {
	api.Watched // for the admin page, and for metrics
	Clients(ctx context.Context, take func([]loop.ClientInfo) error) error
	NewFeed() (*loop.Feed, error) // for the Channel link
	Busy() time.Duration          // for how long a loop has been in one callback
	Kinds() []loop.Kind           // of groups, as they are in force
	AllowsOrigin(string) bool     // whether a page may use this server
	NewPort() (*loop.Port, error) // for the server API
	api.Doing                     // likewise
	webhook.Hub                   // to tell backends of channels
}

// start serves in the foreground, or starts a process in the background that does.
func (r *env) start(dir runDir, s settings.Settings, m manager) error {
	if report := parentPipe(); report != nil {
		return r.serveInBackground(dir, s, report, nil)
	}
	if s.Daemon {
		return r.detach(dir, s, m, detachTimeout)
	}
	return r.serveInForeground(dir, s, m)
}

func (r *env) serveInForeground(dir runDir, s settings.Settings, m manager) error {
	out := newLogWriter(r.stdout, nil) // a terminal or pipe that takes nothing must not hold the server up
	defer out.close()
	return r.serveUntilAsked(dir, s, m, tells{ready: func(b banner) {
		b.note = "Press Ctrl-C to quit. Start success."
		fmt.Fprint(out, b.text())
	}})
}

// tells is whom a start tells what becomes of it.
type tells struct {
	ready   func(banner) // clients can connect
	waiting func(banner) // they will, when enough nodes of the cluster are there; nil: nobody is told
}

// serveUntilAsked is the composition root: it puts the parts together, tells when clients can connect, and returns
// when the server has ended. Whatever a successor needs is noted in a handover, beginning with the lock: a process that waits
// for the lock finds the addresses and the control socket free.
func (r *env) serveUntilAsked(dir runDir, s settings.Settings, m manager, tell tells) error {
	// From here on a signal leads to an orderly end, even during the start.
	asked, reload, quiet := r.signals(s.Daemon)
	defer quiet()
	if err := dir.make(); err != nil {
		return err
	}
	file, err := openLog(&s, r.stderr)
	if err != nil {
		return err
	}
	defer file.close()
	log, level, flush := newLog(file, &s)
	defer flush()
	if flags := m.instead(); len(flags) > 0 {
		log.Info("a service manager has handed in sockets; the addresses of these options are not used", "options", strings.Join(flags, ", "))
	}

	lock, err := takeLock(dir, log)
	if err != nil {
		return err
	}
	defer lock.release()
	end := &ending{notify: m.notifier, log: log, node: newNode(s.Cluster, log)}
	defer end.giveUp()
	end.has(func() { lock.drain(end.until) })
	end.has(end.node.close)

	for _, text := range settings.UnknownVariables(os.Environ()) {
		log.Warn(text)
	}
	warn(log, &s)
	if s.Loop.MemoryMax > 0 {
		log.Info("memory is limited", "limit", settings.SizeText(s.Loop.MemoryMax), "from", s.MemoryFrom)
	}
	keys := newKeyFetcher(log, r.keysWithin)
	defer keys.stop()
	keys.follow(s.JWKSURL, s.Loop.Tokens)
	if end.adm, err = openAdmin(s.Admin, m.admin); err != nil {
		return err
	}
	defer end.adm.close()
	end.has(end.adm.withdraw)
	if end.certificates, err = openCertificates(&s, log); err != nil {
		return err
	}
	defer end.certificates.stop()
	end.has(end.certificates.stop)
	if end.redirect, err = openRedirect(s.TLS.Redirect, m.redirect); err != nil {
		return err
	}
	defer end.redirect.close()
	end.has(end.redirect.withdraw)
	cfg := s.Loop
	cfg.HTTP, cfg.Log, cfg.Sockets = func(c net.Conn) { end.public.Serve(c) }, log, m.sockets // nobody is let in before there is one
	cfg.TLS, cfg.TLSSockets, cfg.Reserve = end.certificates.config(), m.secure, end.redirect.reserve()
	if end.srv, end.hub, err = r.serve(cfg); err != nil {
		return listenError(&s, err)
	}
	end.redirect.serve(end.srv.TLSAddrs(), end.certificates, log)
	srv, h := end.srv, end.hub
	end.has(srv.GiveUp) // mostly a second time
	var again *reloader
	end.hooks = openWebhooks(h, end.node, log)
	defer closeWebhooks(end.hooks)
	server := openServerAPI(&s, h, end.hooks, versionText(), func() int { return again.inForce().Loop.RecoveryMax })
	defer server.backend.Close()
	end.public = openPublic(&s, h, server, log)
	defer end.public.Close()
	openBus := func() error {
		channel, err := openChannel(s.Channel, m.channel, h, log)
		if err != nil {
			return errors.Join(err, end.now())
		}
		end.channel.Store(channel)
		end.has(func() { withdrawChannel(channel) })
		return nil
	}
	defer func() { closeChannel(end.channel.Load(), 0, log) }() // a second time, mostly
	if end.node == nil {                                        // else not before groups have their order
		if err := openBus(); err != nil {
			return err
		}
	}
	me := identity{version: versionText(), kernel: kernelText(), listen: listenText(srv.Addrs()), tlsListen: listenText(srv.TLSAddrs()), admin: end.adm.addr(), redirect: end.redirect.addr()}
	everywhere := slices.Concat(srv.Addrs(), srv.TLSAddrs())
	again = &reloader{read: r.again, apply: srv.Apply, public: func(s *settings.Settings) { end.public.Apply(publicBounds(s, h)) }, server: server, notify: m.notifier, file: file, level: level, log: log, now: s, keys: keys, certificates: end.certificates}
	again.status = func() string { return servingText(listenText(everywhere), h.Snapshot().ClientsMax) }
	again.warnings = func(s *settings.Settings) []string {
		return slices.Concat(warnings(s, everywhere, me.admin, end.channel.Load(), keys), plainWarnings(s, srv.Addrs()), end.certificates.warnings())
	}
	end.adm.serve(h, me.version, s.AdminPprof, again, end, log)
	state := func() Status {
		now := again.inForce()
		st := me.status(h.Snapshot(), now)
		st.HTTP, st.Reloads, st.LogDropped, st.Kinds = end.public.Stats(), again.reloads(), file.losses(), kindTexts(h.Kinds())
		st.Channel, st.Cluster, st.Keys = channelStatus(end.channel.Load()), end.node.status(), keysOf(&now, keys)
		st.Certificates = end.certificates.status()
		return st
	}
	control, err := openControl(dir, state, h, again.reload, log)
	if err != nil {
		return errors.Join(err, end.now())
	}
	end.has(control.close)

	keys.await(context.Background())
	show := func() banner {
		channel := end.channel.Load()
		return banner{
			version: me.version, golang: runtime.Version(), kernel: me.kernel, pid: os.Getpid(),
			listen: srv.Addrs(), tls: srv.TLSAddrs(), names: end.certificates.status(), redirect: me.redirect, admin: me.admin, loops: s.Loop.Loops, clientsMax: h.Snapshot().ClientsMax,
			channel: channelAddr(channel), cluster: end.node.banner(), apps: s.AppIDs(), warnings: again.warnings(&s),
		}
	}
	once := sync.OnceFunc(func() {
		if tell.waiting != nil {
			tell.waiting(show())
		}
	})
	opened := end.node.await(func(ctx context.Context) error {
		return end.node.open(ctx, server.backend, func(ctx context.Context, s settings.Cluster, log *slog.Logger) (clusterNode, error) {
			return r.join(ctx, s, h, log)
		})
	}, asked, srv.Done(), func() {
		m.waiting("waiting: "+end.node.trouble(), waitNoticeTime)
		once()
	})
	stopTimeout := func() time.Duration { return again.inForce().StopTimeout }
	switch {
	case opened.signal != nil:
		return end.stop(opened.signal, stopTimeout(), asked)
	case opened.err != nil:
		return errors.Join(opened.err, end.now())
	}
	if end.node != nil {
		if err := openBus(); err != nil {
			return err
		}
	}
	if err := srv.LetIn(); err != nil { // when all has its descriptors
		return errors.Join(listenError(&s, err), end.now())
	}
	end.certificates.run() // an ACME server's challenges are clients
	log.Info("listening", "addr", listenText(srv.Addrs()), "tls", me.tlsListen, "redirect", me.redirect, "admin", me.admin, "loops", s.Loop.Loops, "clients_max", h.Snapshot().ClientsMax, "pid", os.Getpid(),
		"version", me.version, "run_dir", dir.path)
	for _, text := range plainWarnings(&s, srv.Addrs()) {
		log.Warn(text)
	}
	end.node.letIn()
	tell.ready(show())
	m.ready(again.status())
	defer again.onSignals(reload)() // whoever asks by a signal asks a server that is ready
	defer m.keepingAlive(h.Busy, log)()
	return end.untilAsked(asked, stopTimeout)
}

// listenText is addresses in one text.
func listenText(addrs []net.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, loop.AddrText(a))
	}
	return strings.Join(all, ",")
}

// warnings are what an operator should see at every start, whatever the log level.
func warnings(s *settings.Settings, listen []net.Addr, admin string, channel *bus.Bus, keys *keyFetcher) (texts []string) {
	if openToEveryPage(listen, s.Loop.AllowedOrigins) {
		texts = append(texts, "Pages of any site may connect, also from other machines; restrict them with --allowed-origins.")
	}
	if admin != "" && !isLoopback(admin) {
		texts = append(texts, "--admin has no password and is reachable from other machines; restrict access to it.")
	}
	join, publish := s.OutOfReach()
	if join != "" {
		texts = append(texts, "No client can join groups of the kinds "+join+": they are for clients with a token, and no tokens are configured.")
	}
	if publish != "" {
		texts = append(texts, "No client can publish to groups of the kinds "+publish+": they are for clients with a token, and no tokens are configured.")
	}
	texts = append(texts, s.TokenWarnings()...)
	if warning := keys.warning(); warning != "" {
		texts = append(texts, warning)
	}
	if warning := s.APIWarning(); warning != "" {
		texts = append(texts, warning)
	}
	texts = append(texts, s.AppWarnings()...)
	texts = append(texts, s.ClusterWarnings()...)
	if warning := channelWarning(s.Channel, channel); warning != "" {
		texts = append(texts, warning)
	}
	return texts
}

// plainWarnings are about addresses where clients come without TLS, beside those where they come with it: an operator who has named the
// latter may have forgotten the former, which are open unless they are turned off.
func plainWarnings(s *settings.Settings, plain []net.Addr) (texts []string) {
	open := slices.DeleteFunc(slices.Clone(plain), func(a net.Addr) bool {
		_, tcp := a.(*net.TCPAddr)
		return !tcp || isLoopback(a.String())
	})
	if s.TLS.On() && len(open) > 0 {
		texts = append(texts, "Clients may also come without TLS, at "+listenText(open)+", and what they say goes over the network as plain text; set --listen off, or to a loopback address, unless a proxy or a private network needs it.")
	}
	return texts
}

// warn logs settings that are valid but probably not intended.
func warn(log *slog.Logger, s *settings.Settings) {
	for _, w := range s.Warnings() {
		log.Warn(w.Text, w.Attrs...)
	}
}

// openToEveryPage says whether the pages of any site may connect, from other machines. The same-origin policy does not apply
// to WebSockets: a browser sends the page's origin, and it is up to the server to check it.
func openToEveryPage(listen []net.Addr, origins []string) bool {
	return len(origins) == 0 && slices.ContainsFunc(listen, func(a net.Addr) bool {
		_, tcp := a.(*net.TCPAddr) // behind a unix socket there is a proxy, which has its own rules
		return tcp && !isLoopback(a.String())
	})
}

// isLoopback says whether an address that has been checked can only be reached from this machine.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}

// listenError gives an operator the common reasons and what to do about them.
func listenError(s *settings.Settings, err error) error {
	var on *loop.ListenError
	named := errors.As(err, &on)
	isFile := named && strings.HasPrefix(on.Address, "unix:")
	flag := "--listen"
	if named && slices.Contains(s.Loop.TLSListen, on.Address) {
		flag = "--tls-listen"
	}
	switch {
	case errors.Is(err, syscall.EMFILE):
		return errors.New("the limit of open files is too low to start with; raise it (ulimit -n 65536) or run fewer --loops")
	case !named:
		return fmt.Errorf("the server did not start: %w", err)
	case isFile && errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %q: another program answers on this socket; stop it or name another path", flag, on.Address)
	case isFile && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)):
		return fmt.Errorf("%s %q: no permission to make this socket with that owner; name a directory that the server may write to, and a group that it is in (%w)", flag, on.Address, on.Err)
	case isFile && errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%s %q: there is no such directory; make it, or name another path", flag, on.Address)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %q: another program has this port; stop it or name another port", flag, on.Address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %q: no permission for this port; name one from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE", flag, on.Address)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%s %q: this machine does not have that address; name one of its own, or 0.0.0.0 for all", flag, on.Address)
	default:
		return fmt.Errorf("%s %q: %w", flag, on.Address, on.Err)
	}
}
