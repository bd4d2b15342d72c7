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
	"strings"
	"syscall"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
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
	if !held {
		return dir.notRunning()
	}
	return r.stop(dir)
}

// Run is called by kong. The flags are checked before anything is stopped: a typing mistake must not end a server.
func (v *restartVerb) Run(r *env, g *settings.Globals) error {
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

// canListen tries those addresses that the running server does not have, before that server is stopped.
func canListen(dir runDir, s *settings.Settings) error {
	now, err := statusOf(dir)
	if err != nil {
		return nil // without a status there is nothing to compare; the start will tell
	}
	theirs := []string{port(now.Admin)}
	for listen := range strings.SplitSeq(now.Listen, ",") {
		theirs = append(theirs, port(listen))
	}
	for _, listen := range s.Loop.Listen {
		if strings.HasPrefix(listen, "unix:") || slices.Contains(theirs, port(listen)) {
			continue // what is in the place of a unix socket shows only when it is made
		}
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return listenError(&loop.ListenError{Address: listen, Err: err})
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
	// stopMargin is the time that a server may take beyond its own stop timeout: to close, to write its log, to be scheduled.
	stopMargin = 5 * time.Second
	// holderPatience bounds the search for the process that holds the lock, which may just be starting or ending.
	holderPatience = 2 * time.Second
	// stopTimeoutGuess is used if the server does not answer with its own; it is the default of start.
	stopTimeoutGuess = 10 * time.Second
)

// stop asks the holder of the run dir's lock to end and waits until it has.
func (r *env) stop(dir runDir) error {
	pid, err := holder(dir)
	if err != nil {
		return err
	}
	if pid == 0 {
		fmt.Fprintln(r.stdout, "The server has just ended on its own.")
		return nil
	}
	timeout := stopTimeoutOf(dir)
	fmt.Fprintf(r.stdout, "Stopping ringcast (pid %d); its clients have up to %s to receive what is queued.\n", pid, settings.DurationText(timeout))
	switch err := syscall.Kill(pid, syscall.SIGTERM); {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("not allowed to signal pid %d; run as the user who started it", pid)
	case err != nil && !errors.Is(err, syscall.ESRCH): // ESRCH: it has ended already
		return fmt.Errorf("signal to pid %d: %w", pid, err)
	}
	deadline := time.Now().Add(timeout + stopMargin)
	for time.Now().Before(deadline) {
		held, err := alive(dir)
		if err != nil {
			return err
		}
		// Another pid holds the lock: a supervisor has started the next server already.
		if now, err := readPID(dir); !held || (err == nil && now != pid) {
			fmt.Fprintln(r.stdout, "Stopped.")
			return nil
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("pid %d is still running after %s; kill -9 %d ends it at once", pid, settings.DurationText(timeout+stopMargin), pid)
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

// stopTimeoutOf asks the server how long its stop may take.
func stopTimeoutOf(dir runDir) time.Duration {
	s, err := statusOf(dir)
	if err != nil {
		return stopTimeoutGuess
	}
	return time.Duration(s.StopTimeoutSeconds * float64(time.Second))
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
