package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"ringcast/loop"
)

// reloadVerb has the running server read its settings anew.
type reloadVerb struct{}

// Help is the longer text of reload --help.
func (*reloadVerb) Help() string {
	return "The server reads again what it was started with: its own flags and environment, and the config file as that is " +
		"now. Limits, --log-level and --stop-timeout change at once, for all clients; what needs a restart is named; a " +
		"mistake changes nothing. The log file is opened anew. SIGHUP and SIGUSR1 do the same; the outcome is in the log then."
}

// reloadTimeout bounds the wait for loops to take up other limits.
const reloadTimeout = 10 * time.Second

// Run is called by kong.
func (*reloadVerb) Run(ctx *kong.Context, r *rim, g *globals) error {
	dir, err := g.runDir(ctx)
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
		return fmt.Errorf("the server's answer is not understood: %w", err)
	}
	_, err = io.WriteString(r.stdout, done.text())
	return err
}

// reloaded is the answer to POST /reload on the control socket.
type reloaded struct {
	Changed      []change `json:"changed"`
	NeedsRestart []string `json:"needs_restart"` // settings that differ too, and that a running server cannot change
}

// change is a setting's old and new value, as they were written.
type change struct {
	Setting string `json:"setting"`
	Old     string `json:"old"`
	New     string `json:"new"`
}

func (c change) String() string {
	return fmt.Sprintf("%s: %s → %s", c.Setting, cmp.Or(c.Old, "none"), cmp.Or(c.New, "none"))
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
		return "nothing changed\n"
	}
	return b.String()
}

// reloader changes what can be changed of a running server. Any goroutine.
type reloader struct {
	read  func() (settings, error) // what the server was started with, anew
	apply func(context.Context, loop.Limits) error
	file  *logFile
	level *slog.LevelVar
	log   *slog.Logger

	turn sync.Mutex // one reload at a time

	mu  sync.Mutex
	now settings // in force

	done, failed atomic.Uint64
}

// Reloads is how often a server was told to reload.
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

// reload opens the log file anew and takes up other settings. With an error of the operator's (usageError) all settings
// are as they were; with another one some loops may have limits that others have yet to take up, and the next reload
// does it again.
func (l *reloader) reload(ctx context.Context) (done reloaded, err error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	defer func() {
		if err != nil {
			l.failed.Add(1)
		} else {
			l.done.Add(1)
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
	next := now
	next.adopt(read)
	done = reloaded{Changed: differences(&now.typed, &next.typed), NeedsRestart: []string{}}
	for _, c := range differences(&next.typed, &read.typed) {
		done.NeedsRestart = append(done.NeedsRestart, c.Setting)
	}
	if read.runDir.path != now.runDir.path {
		done.NeedsRestart = append(done.NeedsRestart, "run-dir")
	}
	if len(done.Changed) > 0 {
		within, cancel := context.WithTimeout(ctx, reloadTimeout)
		defer cancel()
		if err := l.apply(within, next.limits); err != nil {
			return reloaded{}, fmt.Errorf("the loops have not taken up the limits: %w; try again", err)
		}
		l.mu.Lock()
		l.now = next
		l.mu.Unlock()
	}
	l.tell(now.logLevel, next, done)
	return done, nil
}

// tell logs what a reload has done, before the level rises or after it has fallen.
func (l *reloader) tell(level slog.Level, next settings, done reloaded) {
	l.level.Set(min(level, next.logLevel))
	changed := make([]string, 0, len(done.Changed))
	for _, c := range done.Changed {
		changed = append(changed, c.String())
	}
	l.log.Info("reloaded", "changed", changed, "needs_restart", done.NeedsRestart)
	if len(changed) > 0 {
		next.warn(l.log)
	}
	l.level.Set(next.logLevel)
}

// inForce is what the server works with now.
func (l *reloader) inForce() settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// onSignals reloads at each signal that asks for it, until stop is called. Nobody waits for an answer, so the outcome is
// in the log.
func (l *reloader) onSignals(asked <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case sig := <-asked:
				if _, err := l.reload(ctx); err != nil {
					l.log.Error("reload failed; the settings are as they were", "signal", sig.String(), "err", err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// again reads what this process was started with: the same arguments and environment, the config file as it is now.
func (r *rim) again() (settings, error) {
	var g grammar
	g.dir = r.dir
	parser, err := newParser(&g)
	if err != nil {
		return settings{}, err
	}
	ctx, err := parser.Parse(r.args)
	if err != nil {
		return settings{}, usagef("%s", parseErrorText(err))
	}
	flags := &g.Start.startFlags
	if ctx.Command() == "restart" {
		flags = &g.Restart.startFlags
	}
	return flags.settings(ctx, &g.globals)
}

// adopt takes over what can be changed while the server runs. Everything else stays.
func (s *settings) adopt(read settings) {
	s.limits, s.typed.limitFlags = read.limits, read.typed.limitFlags
	s.stopTimeout, s.typed.StopTimeout = read.stopTimeout, read.typed.StopTimeout
	s.logLevel, s.typed.LogLevel = read.logLevel, read.typed.LogLevel
}

// changeable gives by name what adopt takes over, as it was written.
func (f *startFlags) changeable() map[string]string {
	texts := map[string]string{"stop-timeout": f.StopTimeout, "log-level": f.LogLevel}
	eachFlag(reflect.ValueOf(&f.limitFlags).Elem(), func(name, value string) { texts[name] = value })
	return texts
}

// differences compares two sets of flags in the order in which they are declared. They are compared as they were
// written, because that is what somebody has changed: auto stays auto, whatever it comes to now.
func differences(a, b *startFlags) []change {
	old := map[string]string{}
	eachFlag(reflect.ValueOf(a).Elem(), func(name, value string) { old[name] = value })
	changes := []change{}
	eachFlag(reflect.ValueOf(b).Elem(), func(name, value string) {
		if old[name] != value {
			changes = append(changes, change{name, old[name], value})
		}
	})
	return changes
}

// eachFlag visits the flags of a struct as kong sees them.
func eachFlag(flags reflect.Value, visit func(name, value string)) {
	for i := range flags.NumField() {
		field := flags.Type().Field(i)
		if field.Anonymous {
			eachFlag(flags.Field(i), visit)
		} else if name := field.Tag.Get("name"); name != "" {
			visit(name, fmt.Sprint(flags.Field(i)))
		}
	}
}
