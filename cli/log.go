package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"ringcast/cli/settings"
)

// logFile is where the log goes: the file asked for, or standard error. The file is only appended to, so that it can be
// copied and truncated by a log rotation under a running server; and it can be reopened, for one that renames it.
type logFile struct {
	*logWriter
	path string // empty: standard error

	standard []*os.File // those of standard output and error that are the same file

	turning sync.Mutex // held while the log turns to another file; an end waits for that, and not for the opening of the other
	file    *os.File   // nil: standard error
	closed  bool
}

// openLog opens the log of a server: a file, or standard error where it has no path. From now on the process outlives whoever
// reads its log or its output: without this, Go ends it at the first write to standard output or error after the reader has
// gone (SIGPIPE, see os/signal). A verb that only prints something does end so.
func openLog(s *settings.Settings, stderr io.Writer) (*logFile, error) {
	signal.Ignore(syscall.SIGPIPE)
	missing := func(lines uint64, err error) []byte { return missingLine(s.LogFormat, lines, err) }
	if s.LogFile == "" {
		return &logFile{logWriter: newLogWriter(stderr, missing)}, nil
	}
	f, err := openInTime(s.LogFile, logOpenMax)
	if err != nil {
		return nil, err
	}
	l := &logFile{logWriter: newLogWriter(f, missing), path: s.LogFile, file: f}
	// In the background standard output and error are the log too, for what no logger writes: the stack of a crash.
	for _, standard := range []*os.File{os.Stdout, os.Stderr} {
		if sameFile(standard, f) {
			l.standard = append(l.standard, standard)
		}
	}
	return l, nil
}

// openAppend opens a log file. Other users cannot read it: it has addresses of clients.
func openAppend(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, settings.Usagef("--log-file %q cannot be written: %v; name a file in a directory that you may write to", path, err)
	}
	return f, nil
}

// logOpenMax bounds the opening of a log file. A named pipe without a reader and a file system that hangs hold it up.
const logOpenMax = 10 * time.Second

// openInTime is openAppend that gives up: a server that reopens its log must be able to stop.
func openInTime(path string, most time.Duration) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened, late := make(chan result), make(chan struct{})
	defer close(late)
	go func() {
		f, err := openAppend(path)
		select {
		case opened <- result{f, err}:
		case <-late:
			if err == nil {
				f.Close()
			}
		}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-time.After(most):
		return nil, settings.Usagef("--log-file %q could not be opened within %s; if it is a named pipe start its reader first, else look at its file system",
			path, settings.DurationText(most))
	}
}

// reopen opens the file by its name again. Lines that were logged before are in the old file afterwards, and later ones in the
// new one; an old file that takes nothing is given up. After an error the old file stays in use.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := openInTime(l.path, logOpenMax)
	if err != nil {
		return err
	}
	l.turning.Lock()
	defer l.turning.Unlock()
	if l.closed {
		f.Close()
		return errLogEnded
	}
	for _, standard := range l.standard {
		_ = unix.Dup2(int(f.Fd()), int(standard.Fd())) // if it fails, the stack of a crash goes to the old file
	}
	l.catchUp()
	old := l.file
	l.file = f
	l.turnTo(f, func() { old.Close() })
	return nil
}

// errLogEnded is for a reload that an end has overtaken.
var errLogEnded = errors.New("the server has ended")

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// close ends the log. A file that takes nothing is left to the end of the process.
func (l *logFile) close() {
	l.turning.Lock()
	defer l.turning.Unlock()
	l.closed = true
	if l.logWriter.close() && l.file != nil {
		l.file.Close()
	}
}

// newLog makes the logger that was asked for; its level can be changed afterwards. Call flush before its writer is closed.
func newLog(w io.Writer, s *settings.Settings) (log *slog.Logger, level *slog.LevelVar, flush func()) {
	level = &slog.LevelVar{}
	level.Set(s.LogLevel)
	q := newQuiet(newHandler(w, s.LogFormat, level), time.Now, func(d time.Duration, f func()) { time.AfterFunc(d, f) })
	return slog.New(q), level, q.flush
}

// newHandler formats records, each into one whole line. Its lock is held for the copy of a line: a logWriter does not wait.
func newHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// missingLine is the line that stands where others were dropped, whatever the level is. err is why they could not be written; nil:
// there was no room for them.
func missingLine(format string, lines uint64, err error) []byte {
	var line bytes.Buffer
	text := "log lines were left out: the log took them too slowly, or not at all"
	if err != nil {
		text = "log lines were left out: they could not be written"
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, text, 0)
	r.AddAttrs(slog.Uint64("left_out", lines))
	if err != nil {
		r.AddAttrs(slog.String("err", err.Error()))
	}
	_ = newHandler(&line, format, slog.LevelInfo).Handle(context.Background(), r)
	return line.Bytes()
}

// losses counts the lines that were dropped since the start, by reason.
func (w *logWriter) losses() map[string]uint64 {
	by := make(map[string]uint64, logLosses)
	for i := range w.dropped {
		by[logLossNames[i]] = w.dropped[i].Load()
	}
	return by
}

// metrics are losses for Prometheus.
func (w *logWriter) metrics() (all []prometheus.Collector) {
	for i := range w.dropped {
		count := &w.dropped[i]
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ringcast_log_dropped_lines_total", Help: "Log lines that were dropped: full, as the log takes them too slowly; failed, as they could not be written.",
			ConstLabels: prometheus.Labels{"reason": logLossNames[i]},
		}, func() float64 { return float64(count.Load()) }))
	}
	return all
}
