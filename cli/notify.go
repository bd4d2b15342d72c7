package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells a service manager, systemd or one like it, what becomes of the server (sd_notify(3)). Without a manager it
// says nothing. A manager that does not listen any more is no failure, and nothing waits for one that is slow: a goroutine of
// its own sends. What the server has become is said again until the manager has it, or something newer is to be said: a manager
// that misses that the server is ready ends it. Its watchdog is fed only while nothing else is to be said, and once each time.
//
// Owner: any goroutine.
type notifier struct {
	path  string        // of the manager's datagram socket; @ begins an abstract one. Empty: no manager
	every time.Duration // after which the manager takes a server that says nothing for dead; 0: never
	some  chan struct{} // has a token if something is to be said; nil: no manager

	mu    sync.Mutex
	state []*notice // still to be said, the oldest first: at most one of each kind
	feed  bool      // the watchdog is to be fed
	up    bool      // it was said that the server is ready
	over  bool      // it was said that it ends: it is neither ready nor reloading any more
}

// notice is a state of the server, to be said to the manager.
type notice struct {
	kind noticeKind
	text string
}

// noticeKind is what a notice is about; a newer one of the same kind takes the place of an older one.
type noticeKind int

const (
	noticeWaiting noticeKind = iota
	noticeReady
	noticeReloading
	noticeStopping // takes the place of all others
)

// notifyPatience is for a manager whose socket is full, and the pause after an attempt that has failed.
const notifyPatience = time.Second

// readNotifier reads what the environment says of the manager, and takes it out of there: it is about this process alone, and
// not about those that it starts.
func readNotifier() *notifier {
	n := &notifier{path: os.Getenv("NOTIFY_SOCKET")}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(usec) * time.Microsecond
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
	if !strings.HasPrefix(n.path, "/") && !strings.HasPrefix(n.path, "@") {
		n.path = ""
		return n
	}
	n.some = make(chan struct{}, 1)
	go func() {
		for range n.some { // until the process ends
			for n.sayNext(n.send) != nil {
				time.Sleep(notifyPatience)
			}
		}
	}()
	return n
}

// is notes a state that is to be said. Under the lock.
func (n *notifier) is(kind noticeKind, lines ...string) {
	n.state = slices.DeleteFunc(n.state, func(old *notice) bool { return old.kind == kind || kind == noticeStopping })
	n.state = append(n.state, &notice{kind, strings.Join(lines, "\n") + "\n"})
	n.stir()
}

// stir has the goroutine look. Under the lock.
func (n *notifier) stir() {
	select {
	case n.some <- struct{}{}:
	default: // it will look; or there is no manager
	}
}

// sayNext says what is to be said, until there is nothing, or until send has failed with a state, which is then said again the next
// time. It is called by one goroutine.
func (n *notifier) sayNext(send func(string) error) error {
	for {
		next, feed := n.next()
		switch {
		case next != nil:
			if err := send(next.text); err != nil {
				return err
			}
			n.said(next)
		case feed:
			_ = send("WATCHDOG=1\n")
		default:
			return nil
		}
	}
}

// next is the state to be said; nil: none, and perhaps the watchdog is to be fed.
func (n *notifier) next() (state *notice, feed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	feed, n.feed = n.feed, false
	if len(n.state) > 0 {
		return n.state[0], false
	}
	return nil, feed
}

// said takes a state out, unless a newer one has taken its place.
func (n *notifier) said(state *notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = slices.DeleteFunc(n.state, func(s *notice) bool { return s == state })
}

// send opens the socket for each notification: they are few, and a manager that was replaced has another.
func (n *notifier) send(text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyPatience))
	_, err = conn.Write([]byte(text))
	return err
}

// waiting says that the start goes on, and that it may take so long from now: the manager would else end it after its own time.
func (n *notifier) waiting(status string, within time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up && !n.over {
		n.is(noticeWaiting, "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10), "STATUS="+oneLine(status))
	}
}

// ready says that clients can connect.
func (n *notifier) ready(status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = true
	n.isReady(status)
}

// isReady is ready under the lock.
func (n *notifier) isReady(status string) {
	if n.up && !n.over {
		n.is(noticeReady, "READY=1", "MAINPID="+strconv.Itoa(os.Getpid()), "STATUS="+oneLine(status))
	}
}

// reloading says that a reload begins. When it has ended, however, reloaded has to follow: the manager waits for it. The time
// tells it that this is the reload that it has asked for, and not an earlier one. Nothing is said of a reload before the server is
// ready, and of one that it ends with.
func (n *notifier) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail for this clock
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up && !n.over {
		n.is(noticeReloading, "RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10), "STATUS=reloading")
	}
}

// reloaded says that a reload has ended.
func (n *notifier) reloaded(status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isReady(status)
}

// stopping says that the server ends, and that it may take so long: the manager would else kill it after its own time.
func (n *notifier) stopping(status string, within time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	n.is(noticeStopping, "STOPPING=1", "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10), "STATUS="+oneLine(status))
}

// alive feeds the manager's watchdog.
func (n *notifier) alive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.feed = true
	n.stir()
}

// oneLine: a line break would end the assignment.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// keepAlive feeds the manager's watchdog until ctx is done, as long as no loop has been in one callback for half of the manager's
// time: then its clients get nothing any more, and to be killed and started again is what the operator has asked for. It is
// fed four times in that time, so that a loop which goes on just in time is not killed for want of the next occasion.
// A machine or a process that was stopped is not a loop that hangs, see loop.Hub.Busy.
func (n *notifier) keepAlive(ctx context.Context, busy func() time.Duration, log *slog.Logger) {
	if n.some == nil || n.every <= 0 {
		return
	}
	again := time.NewTicker(n.every / 4)
	defer again.Stop()
	for told := false; ; {
		if hung := busy(); hung < n.every/2 {
			n.alive()
			told = false
		} else if !told {
			told = true
			log.Error("a loop hangs in one callback; the service manager's watchdog is not fed any more", "for", hung.String(), "watchdog", n.every.String())
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// keepingAlive runs keepAlive until stop is called.
func (n *notifier) keepingAlive(busy func() time.Duration, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.keepAlive(ctx, busy, log) })
	return func() {
		cancel()
		running.Wait()
	}
}

// servingText is what a manager shows of a server that serves.
func servingText(listen string, clientsMax int) string {
	return fmt.Sprintf("serving on %s, room for %s clients", listen, countText(clientsMax))
}
