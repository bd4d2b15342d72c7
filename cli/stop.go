package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"ringcast/cli/settings"
)

// stopVerb stops the running server.
type stopVerb struct{}

// restartVerb stops and starts.
type restartVerb struct{ settings.Flags }

// Run is called by kong.
func (*stopVerb) Run(r *rim, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	held, err := alive(dir)
	if err != nil {
		return err
	}
	if !held {
		return dir.notRunning()
	}
	return r.stop(dir)
}

// Run is called by kong. The flags are checked before anything is stopped: a slip of the finger must not cost a server.
func (v *restartVerb) Run(r *rim, g *settings.Globals) error {
	dir, s, err := r.settings(&v.Flags, g)
	if err != nil {
		return err
	}
	held, err := alive(dir)
	if err != nil {
		return err
	}
	if held {
		if err := canListen(dir, &s); err != nil {
			return err
		}
		if err := r.stop(dir); err != nil {
			return err
		}
	}
	return r.start(dir, s)
}

// canListen tries the addresses that the running server does not have, before that server is stopped for them.
func canListen(dir runDir, s *settings.Settings) error {
	now, err := statusOf(dir)
	if err != nil {
		return nil // it does not say; the start will
	}
	theirs := []string{port(now.Listen), port(now.Admin)}
	if !slices.Contains(theirs, port(s.Loop.Listen)) {
		l, err := net.Listen("tcp", s.Loop.Listen)
		if err != nil {
			return listenError(s.Loop.Listen, err)
		}
		l.Close()
	}
	if !slices.Contains(theirs, port(s.Admin)) {
		a, err := openAdmin(s.Admin)
		if err != nil {
			return err
		}
		a.close()
	}
	return nil
}

// port is an address's port, empty when there is no address.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

const (
	// stopMargin is what a server may take beyond its own stop timeout: to close, to write its log, to be scheduled.
	stopMargin = 5 * time.Second
	// holderPatience bounds the search for the holder of the lock, who may just be starting or ending.
	holderPatience = 2 * time.Second
	// stopTimeoutGuess stands in when the server does not say its own; start's default.
	stopTimeoutGuess = 10 * time.Second
)

// stop asks the holder of the run dir's lock to end and waits until it has.
func (r *rim) stop(dir runDir) error {
	pid, err := holder(dir)
	if err != nil {
		return err
	}
	if pid == 0 {
		fmt.Fprintln(r.stdout, "The server has just ended by itself.")
		return nil
	}
	timeout := stopTimeoutOf(dir)
	fmt.Fprintf(r.stdout, "Stopping ringcast (pid %d); its clients have up to %s to take what is queued.\n", pid, settings.DurationText(timeout))
	switch err := syscall.Kill(pid, syscall.SIGTERM); {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("not allowed to signal pid %d; run as the user who started it", pid)
	case err != nil && !errors.Is(err, syscall.ESRCH): // ESRCH: it was faster, as wished
		return fmt.Errorf("signal to pid %d: %w", pid, err)
	}
	deadline := time.Now().Add(timeout + stopMargin)
	for time.Now().Before(deadline) {
		held, err := alive(dir)
		if err != nil {
			return err
		}
		// Another pid under the lock: a supervisor has started the next one already.
		if now, err := readPID(dir); !held || (err == nil && now != pid) {
			fmt.Fprintln(r.stdout, "Stopped.")
			return nil
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("pid %d still runs after %s; kill -9 %d ends it at once", pid, settings.DurationText(timeout+stopMargin), pid)
}

// holder is the pid of the process that holds the run dir's lock, or 0 when nobody does any more.
//
// The number in the pid file is not enough: between taking the lock and writing, a new server holds the lock over a dead
// one's number, and in a container the number may be another namespace's. The kernel knows better: it remembers who
// listens on the control socket, and gives the pid as this process has to use it. Only when nobody listens, for example
// because something cleaned up the socket, the file is taken at its word if it says the same for a long while, all of it
// under a held lock.
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
			return 0, fmt.Errorf("the server with run dir %s keeps changing; try again", dir.path)
		}
		time.Sleep(pause)
	}
}

// stopTimeoutOf asks the server how long its stop may take.
func stopTimeoutOf(dir runDir) time.Duration {
	s, err := statusOf(dir)
	if err != nil {
		return stopTimeoutGuess
	}
	return time.Duration(s.StopTimeoutSeconds * float64(time.Second))
}

// statusOf asks the running server how it is.
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
