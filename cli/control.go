package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// control answers the other verbs over a unix socket in the run dir: GET /status and GET /connections, as JSON; only POST
// /reload changes anything, and its answer says what.
//
// It speaks HTTP because curl --unix-socket is then a second client for free. Only those who may write to the socket can
// connect, which is its owner. A stop is not asked for here but by a signal, which works even when this does not.
type control struct {
	path   string
	socket os.FileInfo // of the file that was made at path
	http   *http.Server
	closed chan struct{} // closed when the last request has been served
}

// Timeouts of the control socket. A list of connections may take any time as a whole, since it goes as fast as it is read, by a
// person in a pager perhaps; meanwhile it costs a slice of rows, one of few places for lists, and little work of a loop.
const (
	controlHeaderTimeout = 5 * time.Second
	controlWriteTimeout  = 60 * time.Second // for an answer; between parts of a list, that the verb waits
	listLoopTimeout      = 20 * time.Second // for a loop to make the next slice
	listReadTimeout      = 10 * time.Minute // for a slice to be read
)

// openControl listens on the run dir's socket. The caller holds the lock, so an existing socket is that of a dead server.
func openControl(dir runDir, state func() Status, h hub, reload reloadFunc, log *slog.Logger) (*control, error) {
	path := dir.socket()
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		os.Remove(path)
	}
	// With this mask the socket is created with mode 0600. A chmod afterwards would leave a moment in which others could
	// connect, if the run dir lets them in. The mask is that of the whole process, and nothing else creates files now.
	mask := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // it would remove whatever has the name by then, see close
	info, err := os.Lstat(path)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	c := &control{
		path: path, socket: info,
		http: &http.Server{
			Handler:           controlHandler(state, h, reload, listReadTimeout, log),
			ReadHeaderTimeout: controlHeaderTimeout,
			WriteTimeout:      controlWriteTimeout,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		closed: make(chan struct{}),
	}
	go func() {
		defer close(c.closed)
		if err := c.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the control socket has failed; the verbs status, connections and reload no longer work", "err", err)
		}
	}()
	return c, nil
}

// close ends the socket and removes it, unless the file is another server's: after somebody has removed the pid file by hand, a
// second one may have started in the run dir.
func (c *control) close() {
	if info, err := os.Lstat(c.path); err == nil && os.SameFile(info, c.socket) {
		os.Remove(c.path)
	}
	c.http.Close()
	<-c.closed
}

// reloadFunc is reloader.reload.
type reloadFunc func(context.Context) (reloaded, error)

// controlHandler serves the three requests.
func controlHandler(state func() Status, h hub, reload reloadFunc, listRead time.Duration, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		// An error here means that the client has gone, and nobody else needs to know.
		_ = out.Encode(state())
	})
	mux.HandleFunc("GET /connections", func(w http.ResponseWriter, r *http.Request) { writeConnections(w, r, h, listRead, log) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		// Not the request's context: all loops must get the same limits even if the client has gone.
		done, err := reload(context.Background())
		var wrong *settings.UsageError
		switch {
		case errors.As(err, &wrong):
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(done)
		}
	})
	return mux
}

// writeConnections answers with a JSON array, a line for each row. It writes the rows of a slice before it has the next made, so
// nobody holds all of them. A list that breaks off ends without the array's end, and its connection is cut, so that nobody takes it
// for the whole.
func writeConnections(w http.ResponseWriter, r *http.Request, h hub, read time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	late := time.AfterFunc(listLoopTimeout, func() { cancel(errLoopLate) })
	defer late.Stop()
	w.Header().Set("Content-Type", "application/json")
	out, before := http.NewResponseController(w), "[\n"
	err := h.Clients(ctx, func(rows []loop.ClientInfo) error {
		late.Stop()
		defer late.Reset(listLoopTimeout)
		_ = out.SetWriteDeadline(time.Now().Add(read)) // an error means that there is no socket
		for i := range rows {
			row, err := json.Marshal(&rows[i])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s%s", before, row); err != nil {
				return err
			}
			before = ",\n"
		}
		return out.Flush()
	})
	switch {
	case err == nil && before == "[\n":
		io.WriteString(w, "[\n]\n")
	case err == nil:
		io.WriteString(w, "\n]\n")
	case r.Context().Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded): // the client has gone
		panic(http.ErrAbortHandler)
	default:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if before == "[\n" {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		log.Warn("a list of connections was broken off", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// errLoopLate says that a list of connections cannot go on.
var errLoopLate = fmt.Errorf("a loop has not listed its connections within %v; it or the machine is overloaded", listLoopTimeout)

// errSilent says that nobody listens on the control socket.
var errSilent = errors.New("the control socket does not answer")

// errHungUp says that the server ended the connection without an answer.
var errHungUp = errors.New("the control socket hangs up")

// askControl asks the running server and gives the body of its answer, to be closed by the caller.
func askControl(ctx context.Context, dir runDir, method, path string) (io.ReadCloser, error) {
	var answered atomic.Bool
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", dir.socket())
			answered.Store(err == nil)
			return conn, err
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://ringcast"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	switch {
	case err == nil && answer.StatusCode == http.StatusOK:
		return answer.Body, nil
	case err == nil:
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 16<<10))
		answer.Body.Close()
		if answer.StatusCode == http.StatusUnprocessableEntity {
			return nil, settings.Usagef("%s", strings.TrimSpace(string(text)))
		}
		return nil, fmt.Errorf("the server answers %s: %s", answer.Status, text)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("control socket %s: permission denied; run as the user who started the server", dir.socket())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errSilent
	case errors.Is(err, context.DeadlineExceeded), context.Cause(ctx) == context.DeadlineExceeded:
		return nil, fmt.Errorf("the server with run dir %s (pid %s) has not answered in time; it or its machine is overloaded, ask again", dir.path, pidText(dir))
	case answered.Load() && ctx.Err() == nil: // net/http has many errors for it
		return nil, errHungUp
	default:
		return nil, err
	}
}

// ask asks the server of a run dir; an error tells the operator why there is no answer.
func ask(ctx context.Context, dir runDir, method, path string) (io.ReadCloser, error) {
	body, err := askControl(ctx, dir, method, path)
	if !errors.Is(err, errSilent) && !errors.Is(err, errHungUp) {
		return body, err
	}
	held, lockErr := alive(dir)
	switch {
	case lockErr != nil:
		return nil, lockErr
	case held && errors.Is(err, errHungUp):
		return nil, fmt.Errorf("the server with run dir %s (pid %s) hung up without an answer; it is stopping, or its log says why", dir.path, pidText(dir))
	case held:
		return nil, fmt.Errorf("the server with run dir %s (pid %s) is starting or stopping; ask again", dir.path, pidText(dir))
	default:
		return nil, dir.notRunning()
	}
}
