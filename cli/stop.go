package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"ringcast/cli/settings"
)

// stopVerb stops the running server.
type stopVerb struct{}

// restartVerb stops and starts.
type restartVerb struct{ settings.Flags }

// Run is called by kong.
func (*stopVerb) Run(r *env, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	held, err := alive(dir)
	if err != nil {
		return err
	}
	switch left := dir.drainers(); {
	case held:
		err = r.stop(dir)
	case len(left) > 0:
		fmt.Fprintf(r.stdout, "No server is running with run dir %s any more.\n", dir.path)
	default:
		err = dir.notRunning()
	}
	if err != nil {
		return err
	}
	return r.awaitDrainers(dir)
}

// Run is called by kong. What the next server needs is checked before anything is stopped: a typing mistake must not end a server.
// With -d it is the process in the background that stops the old server, so that it can take its place at once.
func (v *restartVerb) Run(r *env, g *settings.Globals) error {
	dir, s, err := r.settings(&v.Flags, g)
	if err != nil {
		return err
	}
	m, err := readManager(&s)
	if err != nil {
		return err
	}
	report := parentPipe()
	replace := func(out io.Writer) error { return r.replace(dir, out) }
	if report != nil {
		return r.serveInBackground(dir, s, report, replace)
	}
	patience := detachTimeout
	if held, err := alive(dir); err != nil {
		return err
	} else if held {
		if err := canServe(dir, &s, m); err != nil {
			return err
		}
		timeout, margin := stopTimeoutOf(dir)
		patience += timeout + margin + holderPatience
	}
	if s.Daemon {
		return r.detach(dir, s, m, patience)
	}
	if err := replace(r.stdout); err != nil {
		return err
	}
	return r.serveInForeground(dir, s, m)
}

const (
	// stopMargin is the time that a server may take beyond its own stop timeout: to close, to write its log, to be scheduled.
	stopMargin = 5 * time.Second
	// holderPatience bounds the search for the process that holds the lock, which may just be starting or ending.
	holderPatience = 2 * time.Second
	// stopTimeoutGuess is used if the server does not answer with its own; it is the default of start.
	stopTimeoutGuess = 10 * time.Second
)

// stop asks the holder of the run dir's lock to end and waits until it has.
func (r *env) stop(dir runDir) error {
	t, err := r.tellToStop(dir, r.stdout)
	if err != nil || t == nil {
		return err
	}
	defer t.process.close()
	if !t.process.ended(t.patience) {
		return t.late()
	}
	fmt.Fprintln(r.stdout, "Stopped.")
	return nil
}

// replace asks the holder of the run dir's lock, if there is one, to end, and waits until it has given up the run dir, and with
// it all its addresses. It may go on for a while, for its clients to take their last bytes.
func (r *env) replace(dir runDir, out io.Writer) error {
	if held, err := alive(dir); err != nil || !held {
		return err
	}
	t, err := r.tellToStop(dir, out)
	if err != nil || t == nil {
		return err
	}
	defer t.process.close()
	for deadline := time.Now().Add(t.patience); time.Now().Before(deadline); time.Sleep(pause) {
		held, err := alive(dir)
		if err != nil {
			return err
		}
		// Another pid holds the lock: a supervisor has started the next server already, which the start will tell.
		if now, err := readPID(dir); held && (err != nil || now == t.process.pid) {
			continue
		}
		if t.process.ended(0) {
			fmt.Fprintln(out, "Stopped.")
		} else {
			fmt.Fprintf(out, "Stopped. Pid %d has given up its addresses, and may go on a little for clients that are slow.\n", t.process.pid)
		}
		return nil
	}
	return t.late()
}

// told is a server that was asked to stop.
type told struct {
	process  process
	patience time.Duration // for its end
}

// late is the error for one that does not end.
func (t *told) late() error {
	return fmt.Errorf("pid %d is still running after %s; kill -9 %d ends it at once", t.process.pid, settings.DurationText(t.patience), t.process.pid)
}

// tellToStop asks the holder of the run dir's lock to end; nil: it has ended, or given up the run dir, on its own.
func (r *env) tellToStop(dir runDir, out io.Writer) (*told, error) {
	pid, err := holder(dir)
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		fmt.Fprintln(out, "The server has just been stopped by others, or has ended on its own.")
		return nil, nil
	}
	timeout, margin := stopTimeoutOf(dir)
	fmt.Fprintf(out, "Stopping ringcast (pid %d); its clients have up to %s to receive what is queued.\n", pid, settings.DurationText(timeout))
	t := &told{openProcess(pid), timeout + margin}
	switch err := t.process.signal(syscall.SIGTERM); {
	case errors.Is(err, syscall.EPERM):
		t.process.close()
		return nil, fmt.Errorf("not allowed to signal pid %d; run as the user who started it", pid)
	case err != nil && !errors.Is(err, syscall.ESRCH): // ESRCH: it has ended already
		t.process.close()
		return nil, fmt.Errorf("signal to pid %d: %w", pid, err)
	}
	return t, nil
}

// awaitDrainers waits for processes that were stopped before and still drain: when a stop has returned, none is left. They are
// not signalled, as a second signal would end them at once.
func (r *env) awaitDrainers(dir runDir) error {
	last := 0
	for {
		left := dir.drainers()
		if len(left) == 0 {
			if last != 0 {
				fmt.Fprintln(r.stdout, "Stopped.")
			}
			return nil
		}
		d := left[0]
		if d.pid != last {
			fmt.Fprintf(r.stdout, "Waiting for %s.\n", d)
		}
		if time.Now().After(d.until.Add(stopMargin)) {
			return fmt.Errorf("pid %d is still running after the time that it gave its clients; kill -9 %d ends it at once", d.pid, d.pid)
		}
		last = d.pid
		time.Sleep(pause)
	}
}

// holder is the pid of the process that holds the run dir's lock, or 0 when none does any more.
//
// The pid file alone is not enough: between taking the lock and writing its pid, a new server holds the lock while the file
// has the pid of a dead one, and in a container the pid may be of another namespace. The kernel knows which process listens
// on the control socket, and gives its pid in the namespace of the caller. Only if no process listens, for example because
// something removed the socket, the file is trusted, provided that it has the same pid for as long as holderPatience while
// the lock is held.
func holder(dir runDir) (int, error) {
	first, _ := readPID(dir)
	deadline := time.Now().Add(holderPatience)
	for {
		held, err := alive(dir)
		if err != nil || !held {
			return 0, err
		}
		pid, err := listenerPID(dir)
		if err == nil && pid > 1 {
			return pid, nil
		}
		if errors.Is(err, os.ErrPermission) {
			return 0, fmt.Errorf("control socket %s: permission denied; run as the user who started the server", dir.socket())
		}
		if err == nil {
			return 0, fmt.Errorf("the server with run dir %s runs in another pid namespace; stop it from inside its container", dir.path)
		}
		if time.Now().After(deadline) {
			last, err := readPID(dir)
			if err != nil {
				return 0, err
			}
			if last == first {
				return last, nil
			}
			return 0, fmt.Errorf("the pid of the server with run dir %s keeps changing; try again", dir.path)
		}
		time.Sleep(pause)
	}
}

// stopTimeoutOf asks the server how long its stop waits for clients; margin is how much longer it may take.
func stopTimeoutOf(dir runDir) (timeout, margin time.Duration) {
	s, err := statusOf(dir)
	switch {
	case err != nil:
		return stopTimeoutGuess, stopMargin
	case s.Cluster != nil:
		margin = leaveMargin
	}
	return time.Duration(s.StopTimeoutSeconds * float64(time.Second)), margin + stopMargin
}

// statusOf asks the running server for its status.
func statusOf(dir runDir) (s Status, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	body, err := askControl(ctx, dir, http.MethodGet, "/status")
	if err != nil {
		return s, err
	}
	defer body.Close()
	err = json.NewDecoder(body).Decode(&s)
	return s, err
}
