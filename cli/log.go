package cli

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// openLog gives the log's writer: the file asked for, or standard error. The file is only appended to, so that it can be
// copied and truncated by a log rotation under a running server.
func (s *settings) openLog(stderr io.Writer) (w io.Writer, closeLog func(), err error) {
	if s.logFile == "" {
		return stderr, func() {}, nil
	}
	f, err := openAppend(s.logFile)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { f.Close() }, nil
}

// openAppend opens a log file. It is closed to others: addresses of clients stand in it.
func openAppend(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, usagef("--log-file %q cannot be written: %v; name a file in a directory that you may write to", path, err)
	}
	return f, nil
}

// newLog makes the logger that was asked for. Call flush before its writer is closed.
func (s *settings) newLog(w io.Writer) (log *slog.Logger, flush func()) {
	options := &slog.HandlerOptions{Level: s.logLevel}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if s.logFormat == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	q := newQuiet(h, time.Now, func(d time.Duration, f func()) { time.AfterFunc(d, f) })
	return slog.New(q), q.flush
}
