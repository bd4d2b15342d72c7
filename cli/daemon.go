package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"ringcast/cli/settings"
)

// A Go program cannot fork: the child would not have its threads. So -d runs the program a second time, detached, with
// the same arguments, and a pipe over which the child reports that it listens or why it does not:
//
//	parent ── exec, setsid, pipe as descriptor 3 ──► child
//	prints what it is told ◄──────── reports ─────── child stops the server that it replaces, if it is to; then listens
//	prints the banner, exits ◄────── report ──────── serves on
//
// So a restart stops the old server only when the new process is there, and its port is without a server for a moment only. A node of a
// cluster that waits for others reports after a while too, or three of them could not be started one after the other.

// readyEnv tells the child the number of its end of the pipe.
const readyEnv = "RINGCAST_READY_FD"

// detachTimeout bounds the wait for a child that neither listens nor ends.
const detachTimeout = 30 * time.Second

// report is what the child sends over the pipe: any number of texts, then a banner or an error.
type report struct {
	Text   string `json:"text,omitempty"`
	Banner string `json:"banner,omitempty"`
	Error  string `json:"error,omitempty"`
	Usage  bool   `json:"usage,omitempty"` // the error is the operator's
}

// detach starts the child and waits for its last report, for so long after each.
func (r *env) detach(dir runDir, s settings.Settings, m manager, patience time.Duration) error {
	if err := dir.make(); err != nil {
		return err
	}
	if m.path != "" {
		fmt.Fprintln(r.stderr, "ringcast: NOTIFY_SOCKET is set, but a process in the background tells a service manager nothing; under one, leave -d off")
	}
	for _, text := range settings.UnknownVariables(os.Environ()) {
		fmt.Fprintln(r.stderr, "ringcast:", text) // the child has it in its log only, which nobody reads now
	}
	// The child's standard error goes to the log too: the stack of a crash must not be lost.
	log, err := openAppend(s.LogFile)
	if err != nil {
		return err
	}
	defer log.Close()
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	path, err := executable()
	if err != nil {
		return err
	}
	child := &exec.Cmd{
		Path:        path,
		Args:        append([]string{os.Args[0]}, r.args...),
		Env:         append(os.Environ(), readyEnv+"=3"), // the first of ExtraFiles
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = child.Start()
	theirs.Close() // so that the pipe ends when the child does
	if err != nil {
		return fmt.Errorf("cannot start a process in the background: %w", err)
	}

	var said report
	for in := json.NewDecoder(ours); said.Banner == "" && said.Error == ""; {
		said = report{}
		ours.SetReadDeadline(time.Now().Add(patience))
		if err := in.Decode(&said); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				child.Process.Kill()
				child.Wait()
				return fmt.Errorf("the process in the background did not listen within %s and was killed; its log is %s",
					settings.DurationText(patience), s.LogFile)
			}
			return fmt.Errorf("the process in the background ended before it listened (%v); its log is %s", child.Wait(), s.LogFile)
		}
		fmt.Fprint(r.stdout, said.Text)
	}
	if said.Error != "" {
		child.Wait()
		if said.Usage {
			return settings.Usagef("%s", said.Error)
		}
		return errors.New(said.Error)
	}
	fmt.Fprint(r.stdout, said.Banner)
	return child.Process.Release()
}

// serveInBackground is the part of the child. First it replaces the server that runs, if it is to.
func (r *env) serveInBackground(dir runDir, s settings.Settings, pipe io.WriteCloser, replace func(io.Writer) error) error {
	var err error
	if replace != nil {
		err = replace(texts{pipe})
	}
	told := false
	if err == nil {
		show := func(b banner, outcome string) {
			if told { // that it waits for others
				return
			}
			told = true
			b.note = fmt.Sprintf("Running in the background, log: %s\nStop it with: ringcast stop%s. %s", s.LogFile, dir.flag(), outcome)
			tell(pipe, report{Banner: b.text()})
			pipe.Close()
		}
		err = r.serveUntilAsked(dir, s, manager{notifier: &notifier{}}, tells{
			ready:   func(b banner) { show(b, "Start success.") },
			waiting: func(b banner) { show(b, "It goes on waiting.") },
		})
	}
	if err == nil || told {
		return err
	}
	var wrong *settings.UsageError
	tell(pipe, report{Error: err.Error(), Usage: errors.As(err, &wrong)})
	pipe.Close()
	return toldError{err}
}

// tell sends a report. A parent that has gone in the meantime is no reason to end.
func tell(pipe io.Writer, said report) { _ = json.NewEncoder(pipe).Encode(said) }

// texts sends what is written as reports.
type texts struct{ pipe io.Writer }

func (t texts) Write(p []byte) (int, error) {
	tell(t.pipe, report{Text: string(p)})
	return len(p), nil
}

// parentPipe is the pipe to a parent that waits for a report; nil when there is none. Only the first call gets it: the
// number must not be inherited by anything else.
func parentPipe() io.WriteCloser {
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil {
		return nil
	}
	os.Unsetenv(readyEnv)
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "report")
}

// executable is the file of this program. A binary that has been replaced or removed meanwhile, as that of go run may be, is
// still available through /proc; its own path is preferred, because ps and top show that name.
func executable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "/proc/self/exe", nil
	}
	return path, nil
}
