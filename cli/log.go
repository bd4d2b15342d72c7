package cli

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/cli/settings"
)

// logFile is where the log goes: the file asked for, or standard error. The file is only appended to, so that it can be
// copied and truncated by a log rotation under a running server; and it can be reopened, for one that renames it.
type logFile struct {
	path string // empty: standard error

	mu   sync.Mutex
	to   io.Writer
	file *os.File // what to is, if not standard error
}

// openLog opens the log file, or standard error where it has no path.
func openLog(path string, stderr io.Writer) (*logFile, error) {
	if path == "" {
		return &logFile{to: stderr}, nil
	}
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &logFile{path: path, to: f, file: f}, nil
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

// Write is for loggers. A line goes to the old file or to the new one and is never lost.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(line)
}

// reopen opens the file by its name again. After an error the old file stays in use.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := openAppend(l.path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// In the background standard output and error are the log too, for what no logger writes: the stack of a crash.
	for _, standard := range []*os.File{os.Stdout, os.Stderr} {
		if sameFile(standard, l.file) {
			_ = unix.Dup2(int(f.Fd()), int(standard.Fd())) // if it fails, such a stack goes to the old file
		}
	}
	l.file.Close()
	l.to, l.file = f, f
	return nil
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
}

// newLog makes the logger that was asked for; its level can be changed afterwards. Call flush before its writer is closed.
func newLog(w io.Writer, s *settings.Settings) (log *slog.Logger, level *slog.LevelVar, flush func()) {
	level = &slog.LevelVar{}
	level.Set(s.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if s.LogFormat == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	q := newQuiet(h, time.Now, func(d time.Duration, f func()) { time.AfterFunc(d, f) })
	return slog.New(q), level, q.flush
}
