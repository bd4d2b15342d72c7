package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"ringcast/bus"
	"ringcast/cli/settings"
	"ringcast/loop"
)

// startVerb starts the server.
type startVerb struct{ settings.Flags }

// Run is called by kong.
func (v *startVerb) Run(r *env, g *settings.Globals) error {
	dir, s, err := r.settings(&v.Flags, g)
	if err != nil {
		return err
	}
	return r.start(dir, s)
}

// server is what start needs of a running loop.Server.
type server interface {
	Addr() net.Addr
	Stop(ctx context.Context) error // closes every client and waits for what is queued until ctx is done
	Done() <-chan struct{}          // closed when the loops have ended, for whatever reason
	Err() error                     // why they ended without being asked to

	Apply(ctx context.Context, l loop.Limits) error // has all loops work within other limits
}

// hub is what the control socket, the admin address and the Channel link need of a loop.Hub.
type hub interface {
	Snapshot() loop.Snapshot
	Histograms() loop.Histograms
	Clients(ctx context.Context, take func([]loop.ClientInfo) error) error
	NewFeed() (*loop.Feed, error) // for the Channel link
}

// start serves in the foreground, or starts a process in the background that does.
func (r *env) start(dir runDir, s settings.Settings) error {
	if report := parentPipe(); report != nil {
		return r.serveInBackground(dir, s, report)
	}
	if s.Daemon {
		return r.detach(dir, s)
	}
	out := newLogWriter(r.stdout, nil) // a terminal or pipe that takes nothing must not hold the server up
	defer out.close()
	return r.serveUntilAsked(dir, s, func(b banner) {
		b.note = "Press Ctrl-C to quit. Start success."
		fmt.Fprint(out, b.text())
	})
}

// serveUntilAsked is the composition root: it puts the parts together, calls ready once clients can connect, and returns
// when the server has ended. Parts are taken down in the opposite order by the defers: the lock goes last, so that
// a process that waits for it finds the port and the socket free.
func (r *env) serveUntilAsked(dir runDir, s settings.Settings, ready func(banner)) error {
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

	lock, err := takeLock(dir, log)
	if err != nil {
		return err
	}
	defer lock.release()

	for _, text := range settings.UnknownVariables(os.Environ()) {
		log.Warn(text)
	}
	warn(log, &s)
	if s.Loop.MemoryMax > 0 {
		log.Info("memory is limited", "limit", settings.SizeText(s.Loop.MemoryMax), "from", s.MemoryFrom)
	}
	adm, err := openAdmin(s.Admin)
	if err != nil {
		return err
	}
	defer adm.close()
	cfg := s.Loop
	cfg.Page, cfg.Log = demoPage, log
	srv, h, err := r.serve(cfg)
	if err != nil {
		return listenError(s.Loop.Listen, err)
	}
	channel, err := openChannel(s.Channel, h, log)
	if err != nil {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		return errors.Join(err, ignoreTimeout(srv.Stop(now)))
	}
	me := identity{version: versionText(), kernel: kernelText(), listen: srv.Addr().String(), admin: adm.addr()}
	again := &reloader{read: r.again, apply: srv.Apply, file: file, level: level, log: log, now: s}
	adm.serve(h, me.version, s.AdminPprof, again, channel, log)
	state := func() Status {
		st := me.status(h.Snapshot(), again.inForce())
		st.Reloads, st.LogDropped, st.Channel = again.reloads(), file.losses(), channelStatus(channel)
		return st
	}
	control, err := openControl(dir, state, h, again.reload, log)
	if err != nil {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		return closeChannel(channel, errors.Join(err, ignoreTimeout(srv.Stop(now))), log)
	}
	defer control.close()
	defer again.onSignals(reload)()

	clientsMax := h.Snapshot().ClientsMax
	log.Info("listening", "addr", me.listen, "admin", me.admin, "loops", s.Loop.Loops, "clients_max", clientsMax, "pid", os.Getpid(),
		"version", me.version, "run_dir", dir.path)
	ready(banner{
		version: me.version, golang: runtime.Version(), kernel: me.kernel, pid: os.Getpid(),
		listen: srv.Addr(), admin: me.admin, loops: s.Loop.Loops, clientsMax: clientsMax,
		channel: channelAddr(channel), warnings: warnings(&s, channel),
	})
	return closeChannel(channel, endOf(srv, h, adm, asked, func() time.Duration { return again.inForce().StopTimeout }, log), log)
}

// warnings are what an operator should see at every start, whatever the log level.
func warnings(s *settings.Settings, channel *bus.Bus) (texts []string) {
	if openToEveryPage(s.Loop.Listen, s.Loop.AllowedOrigins) {
		texts = append(texts, "Pages of any site may connect, also from other machines; restrict them with --allowed-origins.")
	}
	if s.Admin != "" && !isLoopback(s.Admin) {
		texts = append(texts, "--admin has no password and is reachable from other machines; restrict access to it.")
	}
	if warning := channelWarning(s.Channel, channel); warning != "" {
		texts = append(texts, warning)
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
func openToEveryPage(listen string, origins []string) bool {
	return len(origins) == 0 && !isLoopback(listen)
}

// isLoopback says whether an address that has been checked can only be reached from this machine.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}

// endOf waits for the server's end, and stops the server when asked. Errors here are logged, because the log is where an
// operator looks for the reason why a server has ended.
func endOf(srv server, h hub, adm *admin, asked <-chan os.Signal, stopTimeout func() time.Duration, log *slog.Logger) error {
	var timeout time.Duration
	select {
	case <-srv.Done():
		err := srv.Err()
		if err == nil {
			err = errors.New("the event loops have ended")
		}
		log.Error("the server ended unexpectedly", "err", err)
		return toldError{err}
	case sig := <-asked:
		timeout = stopTimeout()
		adm.unready("the server is stopping") // before it refuses any client; the admin address answers until the last client has gone
		log.Info("stopping", "signal", sig.String(), "clients", h.Snapshot().Total().Clients,
			"timeout", timeout.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Stop(ctx) }()
	first := time.Now()
	for {
		select {
		case err := <-stopped:
			if ignoreTimeout(err) != nil {
				log.Error("the server did not stop cleanly", "err", err)
				return toldError{err}
			}
			if err != nil {
				log.Warn("stopped; some clients had not received everything that was queued for them", "timeout", timeout.String())
			} else {
				log.Info("stopped")
			}
			return nil
		case sig := <-asked:
			if time.Since(first) < echoTime {
				continue
			}
			log.Warn("second stop signal; ending at once, queued messages may be lost", "signal", sig.String())
			return toldError{errors.New("second stop signal")}
		}
	}
}

// echoTime: some supervisors signal a process and then its group, so that one request arrives twice. A person who asks again
// does so later.
const echoTime = 300 * time.Millisecond

// ignoreTimeout: a stop after the time given to slow clients has run out is not a failure.
func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// listenError gives an operator the common reasons and what to do about them.
func listenError(listen string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--listen %q: another program has this port; stop it or name another port", listen)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--listen %q: no permission for this port; name one from 1024 on", listen)
	case errors.Is(err, syscall.EMFILE):
		return errors.New("the limit of open files is too low to start with; raise it (ulimit -n 65536) or run fewer --loops")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--listen %q: this machine does not have that address; name one of its own, or 0.0.0.0 for all", listen)
	default:
		return fmt.Errorf("the server did not start on --listen %q: %w", listen, err)
	}
}
