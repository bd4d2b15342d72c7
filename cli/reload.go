package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// reloadVerb has the running server read its settings again.
type reloadVerb struct{}

// Help is the longer text of reload --help.
func (*reloadVerb) Help() string {
	return "The server reads again what it was started with: its own flags and environment, and the config file as it is " +
		"now. Certificates are read again. Limits, --log-level and --stop-timeout change at once, for all clients. A setting that needs a restart is " +
		"reported; if any setting is wrong, nothing changes. The log file is reopened. SIGHUP and SIGUSR1 do the same; the " +
		"outcome is then in the log."
}

// reloadTimeout bounds the wait for loops to adopt new limits.
const reloadTimeout = 10 * time.Second

// Run is called by kong.
func (*reloadVerb) Run(r *env, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(context.Background(), reloadTimeout+askTimeout)
	defer cancel()
	body, err := ask(within, dir, http.MethodPost, "/reload")
	if err != nil {
		return err
	}
	defer body.Close()
	var done reloaded
	if err := json.NewDecoder(body).Decode(&done); err != nil {
		return fmt.Errorf("cannot read the server's answer: %w", err)
	}
	_, err = io.WriteString(r.stdout, done.text())
	return err
}

// reloaded is the answer to POST /reload on the control socket.
type reloaded struct {
	Changed      []settings.Change `json:"changed"`
	NeedsRestart []string          `json:"needs_restart"` // other settings that differ, which a running server cannot change
	Warnings     []string          `json:"warnings"`      // that the settings in force deserve, as a start prints them
}

func (d *reloaded) text() string {
	var b strings.Builder
	for _, c := range d.Changed {
		fmt.Fprintln(&b, c)
	}
	if len(d.NeedsRestart) > 0 {
		fmt.Fprintln(&b, "needs a restart:", strings.Join(d.NeedsRestart, ", "))
	}
	if b.Len() == 0 {
		b.WriteString("nothing changed\n")
	}
	for _, warning := range d.Warnings {
		fmt.Fprintln(&b, "WARNING:", warning)
	}
	return b.String()
}

// reloader changes the settings of a running server that can change. Any goroutine.
type reloader struct {
	read         func() (settings.Settings, error) // reads what the server was started with again
	apply        func(context.Context, loop.Limits) error
	public       func(*settings.Settings)
	notify       *notifier
	status       func() string // for the service manager, after a reload that did not fail
	file         *logFile
	level        *slog.LevelVar
	log          *slog.Logger
	keys         *keyFetcher
	server       *serverAPI
	certificates *certificates // nil: there is no TLS

	warnings func(*settings.Settings) []string // for an operator who starts a server with them

	turn sync.Mutex // one reload at a time

	mu  sync.Mutex
	now settings.Settings // in force

	done, failed atomic.Uint64
}

// Reloads counts the reloads that a server was asked for.
type Reloads struct {
	Done   uint64 `json:"done"`
	Failed uint64 `json:"failed"` // mistakes in the settings, a log file that cannot be opened, loops that took too long
}

func (l *reloader) reloads() Reloads { return Reloads{l.done.Load(), l.failed.Load()} }

// metrics are Reloads for Prometheus.
func (l *reloader) metrics() []prometheus.Collector {
	counter := func(result string, count *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ringcast_reloads_total", Help: "Reloads by result. One that failed changed nothing, or not everywhere.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(count.Load()) })
	}
	return []prometheus.Collector{counter("done", &l.done), counter("failed", &l.failed)}
}

// reload reopens the log file and adopts new settings. After a mistake of the operator (settings.UsageError) all settings
// are as they were; after another error some loops may have limits that others have yet to adopt, and the next reload tries
// again.
func (l *reloader) reload(ctx context.Context) (done reloaded, err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.notify.reloading()
	defer func() {
		if err != nil {
			l.failed.Add(1)
			l.log.Error("reload failed; the settings are as they were", "err", err)
			l.notify.reloaded("a reload has failed: " + err.Error())
		} else {
			l.done.Add(1)
			l.notify.reloaded(l.status())
		}
	}()
	// First, because it does not depend on the settings: a mistake there must not keep a rotated file growing.
	if err := l.file.reopen(); err != nil {
		return reloaded{}, err
	}
	read, err := l.read()
	if err != nil {
		return reloaded{}, err
	}
	now := l.inForce()
	var next settings.Settings
	next, done.Changed, done.NeedsRestart = now.Adopt(&read)
	renewed, err := l.certificates.reload(&next)
	if err != nil {
		return reloaded{}, err
	}
	if len(done.Changed) > 0 {
		within, cancel := context.WithTimeout(ctx, reloadTimeout)
		defer cancel()
		l.keys.follow(next.JWKSURL, next.Loop.Tokens)
		l.keys.await(within)
		if err := l.apply(within, next.Loop.Limits); err != nil {
			_, _ = l.certificates.reload(&now) // those of before, as nothing else has changed; where they cannot be read the new ones stay
			return reloaded{}, fmt.Errorf("the event loops have not adopted the limits: %w; try again", err)
		}
		l.server.apply(&next)
		l.public(&next)
		l.mu.Lock()
		l.now = next
		l.mu.Unlock()
	}
	for _, file := range renewed {
		done.Changed = append(done.Changed, settings.Change{Setting: "tls-cert", Old: file, New: file + ", with another certificate"})
	}
	done.Warnings = l.warnings(&next)
	l.tell(now.LogLevel, &next, done)
	return done, nil
}

// tell logs what a reload has done, at the lower one of the old and the new level.
func (l *reloader) tell(level slog.Level, next *settings.Settings, done reloaded) {
	l.level.Set(min(level, next.LogLevel))
	changed := make([]string, 0, len(done.Changed))
	for _, c := range done.Changed {
		changed = append(changed, c.String())
	}
	l.log.Info("reloaded", "changed", changed, "needs_restart", done.NeedsRestart)
	if len(changed) > 0 {
		warn(l.log, next)
	}
	l.level.Set(next.LogLevel)
}

// inForce is what the server works with now.
func (l *reloader) inForce() settings.Settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// onSignals reloads at each signal that asks for it, until stop is called, which does not wait for a reload that is under way: a log
// file or a config file on a file system that hangs must not hold up an end. Nobody waits for an answer, so the outcome is in the
// log.
func (l *reloader) onSignals(asked <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			select {
			case <-asked:
				_, _ = l.reload(ctx) // which logs what became of it
			case <-ctx.Done():
				return
			}
		}
	}()
	return cancel
}

// again reads what this process was started with: the same arguments and environment, and the config file as it is now.
func (r *env) again() (settings.Settings, error) {
	var g grammar
	ctx, err := r.parse(&g)
	if err != nil {
		return settings.Settings{}, err
	}
	flags := &g.Start.Flags
	if ctx.Command() == "restart" {
		flags = &g.Restart.Flags
	}
	_, s, err := r.settings(flags, &g.Globals)
	return s, err
}
