package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// Exit statuses. A second start in one run dir is statusFailed: nothing is wrong with what was typed.
const (
	statusOK     = 0
	statusFailed = 1 // the verb could not do what it was asked
	statusUsage  = 2 // what was typed, set or written in the config file is wrong
)

// Main runs the program with the arguments that follow its name and returns its exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	dir, _ := os.Getwd() // without one, names of files are taken as they are
	return run(&rim{
		args:    args,
		dir:     dir,
		stdout:  stdout,
		stderr:  stderr,
		signals: osSignals,
		serve: func(cfg loop.Config) (server, hub, error) {
			keepCollecting()
			srv, err := loop.Start(cfg)
			if err != nil {
				return nil, nil, err
			}
			return srv, srv.Hub(), nil
		},
	})
}

// grammar is everything that can be typed.
type grammar struct {
	settings.Globals

	Start       startVerb       `cmd:"" help:"Start the server, in the foreground or (-d) in the background."`
	Stop        stopVerb        `cmd:"" help:"Stop the running server gracefully and wait until it has gone."`
	Restart     restartVerb     `cmd:"" help:"Stop the server if one runs, then start with the flags given here."`
	Reload      reloadVerb      `cmd:"" help:"Have the running server read its config file anew and open its log file anew."`
	Status      statusVerb      `cmd:"" help:"Show how the running server is: a global part, a row per loop, a summary."`
	Connections connectionsVerb `cmd:"" help:"List the running server's connections."`
	Version     versionVerb     `cmd:"" help:"Show the version."`
}

// rim is what the verbs touch of the world outside, handed in so that tests can stand in for it.
type rim struct {
	stdout, stderr io.Writer

	args []string // as Main got them; a process in the background is started with the same, and a reload reads them again
	dir  string   // the directory in which the program was started

	// signals delivers the signals that ask a server to end, and those that ask it to reload, until stop is called.
	signals func(background bool) (asked, reload <-chan os.Signal, stop func())
	// serve starts a server; loop.Start but for tests.
	serve func(loop.Config) (server, hub, error)
}

// run is Main with the world handed in.
func run(r *rim) int {
	var g grammar
	var exited *int
	ctx, err := r.parse(&g, kong.Writers(r.stdout, r.stderr),
		kong.Exit(func(status int) { exited = &status })) // kong prints help in mid-parse and counts on not coming back
	var wrong *settings.UsageError
	switch {
	case exited != nil:
		return *exited
	case errors.As(err, &wrong):
		fmt.Fprintf(r.stderr, "ringcast: %s\nTry: ringcast --help\n", err)
		return statusUsage
	case err != nil:
		fmt.Fprintln(r.stderr, "ringcast:", err)
		return statusFailed
	}
	return r.exit(ctx.Command(), ctx.Run(r, &g.Globals))
}

// customary turns what people type out of habit into what the grammar has.
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
func (r *rim) parse(g *grammar, more ...kong.Option) (*kong.Context, error) {
	source := settings.Source{
		Environ:   os.Environ(),
		Open:      r.open,
		Dir:       r.dir,
		TmpRunDir: tmpRunDir(),
		Memory:    memoryAuto(),
		CPUs:      runtime.GOMAXPROCS(0),
	}
	return settings.Parse(source, g, &g.Globals, customary(r.args), append([]kong.Option{
		kong.Name("ringcast"),
		kong.Description("WebSocket group push: clients join groups, a message to a group reaches all its members."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	}, more...)...)
}

// settings checks what was set for a start, and finds its run dir.
func (r *rim) settings(f *settings.Flags, g *settings.Globals) (runDir, settings.Settings, error) {
	dir, err := r.runDir(g)
	if err != nil {
		return dir, settings.Settings{}, err
	}
	s, err := f.Settings(g, dir.path)
	return dir, s, err
}

// open opens a file by the name that the operator gave it.
func (r *rim) open(name string) (io.ReadCloser, error) {
	if !strings.HasPrefix(name, "~/") {
		name = r.abs(name)
	}
	return os.Open(kong.ExpandPath(name))
}

// abs makes a name of a file independent of where it is used.
func (r *rim) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

// exit says what went wrong, once, and turns it into the exit status.
func (r *rim) exit(verb string, err error) int {
	var wrong *settings.UsageError
	var told toldError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &told):
		return statusFailed
	case errors.As(err, &wrong):
		fmt.Fprintf(r.stderr, "ringcast %s: %v\n", verb, err)
		return statusUsage
	default:
		fmt.Fprintf(r.stderr, "ringcast %s: %v\n", verb, err)
		return statusFailed
	}
}

// toldError is a failure that has been logged or printed already and only needs its exit status.
type toldError struct{ error }

// osSignals delivers SIGINT and SIGTERM, which ask for the end, and what asks for a reload: SIGUSR1, because that is what
// the original's operators send, and SIGHUP, because that is what everybody sends to a daemon.
//
// But SIGHUP is also what the kernel says when a terminal has gone. A server in the foreground of a terminal then ends:
// nobody could reach its Ctrl-C any more, and whoever closed the window expects it gone; nohup asks for the contrary. So
// the meaning hangs on whether there is a controlling terminal to lose. In the background there is none (-d makes a
// session of its own), nor under systemd, nor in a container without -t.
//
// SIGUSR2 is the original's graceful reload of code, which is a restart here; its default would be to kill.
func osSignals(background bool) (<-chan os.Signal, <-chan os.Signal, func()) {
	asked, reload := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM)
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

// hasTerminal says whether this process has a controlling terminal; /dev/tty can be opened by no other (tty(4)).
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// untilAsked gives a context that ends with the first signal that asks the verb to end.
func (r *rim) untilAsked() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	asked, hungUp, stop := r.signals(false)
	go func() {
		defer stop()
		select {
		case <-asked:
			cancel()
		case <-hungUp: // there is nothing to reload in a verb that only looks
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
