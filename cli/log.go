package cli

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
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

// newLog makes the logger that was asked for.
func (s *settings) newLog(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
