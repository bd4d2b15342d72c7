package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// Exit statuses. A second start in one run dir is statusFailed: nothing is wrong with what was typed. 2 is left to Go, whose
// crashes end with it: a supervisor has to tell a crash, after which it starts the server again, from settings that are
// wrong at every start.
const (
	statusOK     = 0
	statusFailed = 1  // the verb could not do what it was asked
	statusUsage  = 78 // what was typed, set, handed in or written in the config file is wrong (EX_CONFIG of sysexits(3))
)

// Main runs the program with the arguments that follow its name and returns its exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	dir, _ := os.Getwd() // without one, names of files are taken as they are
	return run(&env{
		args:    args,
		dir:     dir,
		stdout:  stdout,
		stderr:  stderr,
		signals: osSignals,
		serve: func(cfg loop.Config) (server, hub, error) {
			keepCollecting()
			srv, err := loop.Boot(cfg)
			if err != nil {
				return nil, nil, err
			}
			return srv, srv.Hub(), nil
		},
		join:       joinCluster,
		keysWithin: fetchPatience,
	})
}

// grammar is everything that can be typed.
type grammar struct {
	settings.Globals

	Start       startVerb       `cmd:"" help:"Start the server, in the foreground or (-d) in the background."`
	Stop        stopVerb        `cmd:"" help:"Stop the running server gracefully and wait until it has ended."`
	Restart     restartVerb     `cmd:"" help:"Start with the flags given here, in place of the server that runs, if one does."`
	Reload      reloadVerb      `cmd:"" help:"Have the running server read its config file again and reopen its log file."`
	Status      statusVerb      `cmd:"" help:"Show the running server's state: the process, a row per event loop, and totals."`
	Connections connectionsVerb `cmd:"" help:"List the running server's connections."`
	Version     versionVerb     `cmd:"" help:"Show the version."`
}

// env is what the verbs use of the world outside, passed in so that tests can replace it.
type env struct {
	stdout, stderr io.Writer

	args []string // as Main got them; a process in the background is started with the same, and a reload reads them again
	dir  string   // the directory in which the program was started

	// signals delivers the signals that ask a server to end, and those that ask it to reload, until stop is called.
	signals func(background bool) (asked, reload <-chan os.Signal, stop func())
	// serve boots a server; loop.Boot, except in tests.
	serve func(loop.Config) (server, hub, error)
	// join makes a server a node of a cluster; joinCluster, except in tests.
	join func(context.Context, settings.Cluster, hub, *slog.Logger) (clusterNode, error)
	// keysWithin is how long a start and a reload wait for keys that are published elsewhere; fetchPatience, except in tests.
	keysWithin time.Duration
}

// run is Main with its environment passed in.
func run(r *env) int {
	var g grammar
	var exited *int
	ctx, err := r.parse(&g, kong.Writers(r.stdout, r.stderr),
		kong.Exit(func(status int) { exited = &status })) // kong prints help while it parses and expects this not to return
	var wrong *settings.UsageError
	switch {
	case exited != nil:
		return *exited
	case errors.As(err, &wrong):
		r.complain("ringcast: %s\nTry: ringcast --help\n", err)
		return statusUsage
	case err != nil:
		r.complain("ringcast: %s\n", err)
		return statusFailed
	}
	return r.exit(ctx.Command(), ctx.Run(r, &g.Globals))
}

// customary turns what people type by habit into what the grammar has.
func customary(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// parse reads the arguments, the environment and the config file into g.
func (r *env) parse(g *grammar, more ...kong.Option) (*kong.Context, error) {
	memory, from := memoryAuto()
	host, _ := os.Hostname() // without one, what is made of it has to be named
	source := settings.Source{
		Hostname:   host,
		NoCluster:  !hasCluster,
		Environ:    os.Environ(),
		Open:       r.open,
		Dir:        r.dir,
		TmpRunDir:  tmpRunDir(),
		Memory:     memory,
		MemoryFrom: from,
		CPUs:       runtime.GOMAXPROCS(0), // heeds the affinity and the CPU quota of the own cgroup
	}
	return settings.Parse(source, g, &g.Globals, customary(r.args), append([]kong.Option{
		kong.Name("ringcast"),
		kong.Description("WebSocket group push: clients join groups, a message to a group reaches all its members."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	}, more...)...)
}

// settings checks what was set for a start, and finds its run dir.
func (r *env) settings(f *settings.Flags, g *settings.Globals) (runDir, settings.Settings, error) {
	dir, err := r.runDir(g)
	if err != nil {
		return dir, settings.Settings{}, err
	}
	s, err := f.Settings(g, dir.path)
	return dir, s, err
}

// open opens a file by the name that the operator gave it.
func (r *env) open(name string) (io.ReadCloser, error) {
	if !strings.HasPrefix(name, "~/") {
		name = r.abs(name)
	}
	return os.Open(kong.ExpandPath(name))
}

// abs makes a name of a file independent of where it is used.
func (r *env) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

// exit prints what went wrong, once, and turns it into the exit status.
func (r *env) exit(verb string, err error) int {
	var wrong *settings.UsageError
	var told toldError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &told):
		return statusFailed
	}
	r.complain("ringcast %s: %v\n", verb, err)
	if errors.As(err, &wrong) {
		return statusUsage
	}
	return statusFailed
}

// complain prints what went wrong. Standard error may be a pipe that nobody reads: a server that could not start must end all the
// same, so that it is started again.
func (r *env) complain(format string, args ...any) {
	out := newLogWriter(r.stderr, nil)
	fmt.Fprintf(out, format, args...)
	out.close()
}

// toldError is a failure that has been logged or printed already and only sets the exit status.
type toldError struct{ error }

// osSignals delivers SIGINT and SIGTERM, which ask for a stop, and so does SIGQUIT: the original's "stop -g" sends it, and so do
// container engines to images that are made from those of nginx or php-fpm. By default Go would show all goroutines and
// end, which SIGABRT still does. The signals that ask for a reload are SIGUSR1, because operators of the original send it, and
// SIGHUP, which is the custom for daemons.
//
// But the kernel also sends SIGHUP when a terminal is closed. A server in the foreground of a terminal then stops: nobody
// could press its Ctrl-C any more, and the person who closed the window expects it to end; nohup asks for the contrary. So
// the meaning depends on whether there is a controlling terminal. In the background there is none (-d starts a session of
// its own), nor under systemd, nor in a container without -t.
//
// SIGUSR2 reloads the code of the original gracefully, which is a restart here. It is ignored, because by default it would
// end the process.
func osSignals(background bool) (<-chan os.Signal, <-chan os.Signal, func()) {
	asked, reload := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	signal.Notify(reload, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGUSR2)
	switch {
	case background || !hasTerminal():
		signal.Notify(reload, syscall.SIGHUP)
	case !signal.Ignored(syscall.SIGHUP):
		signal.Notify(asked, syscall.SIGHUP)
	}
	return asked, reload, func() {
		signal.Stop(asked)
		signal.Stop(reload)
	}
}

// hasTerminal says whether this process has a controlling terminal: without one /dev/tty cannot be opened (tty(4)).
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// untilAsked gives a context that ends with the first signal that asks the verb to end.
func (r *env) untilAsked() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	asked, hungUp, stop := r.signals(false)
	go func() {
		defer stop()
		select {
		case <-asked:
			cancel()
		case <-hungUp: // this verb has nothing to reload
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
