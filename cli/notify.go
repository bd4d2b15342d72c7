package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells a service manager, systemd or one like it, what becomes of the server (sd_notify(3)). Without a manager it
// says nothing. A manager that does not listen any more is no failure, and nothing waits for one that is slow: a goroutine of
// its own sends, and what does not fit into its queue is dropped.
//
// Owner: any goroutine.
type notifier struct {
	path  string        // of the manager's datagram socket; @ begins an abstract one. Empty: no manager
	every time.Duration // after which the manager takes a server that says nothing for dead; 0: never
	queue chan string   // what is still to be said; nil: no manager
}

const (
	notifyPatience = time.Second // for a manager whose socket is full; then it misses what was to be said
	notifyQueueMax = 16
)

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
	n.queue = make(chan string, notifyQueueMax)
	go func() {
		for text := range n.queue { // until the process ends
			n.send(text)
		}
	}()
	return n
}

// say sends one notification.
func (n *notifier) say(lines ...string) {
	select {
	case n.queue <- strings.Join(lines, "\n") + "\n":
	default:
	}
}

// send opens the socket for each notification: they are few, and a manager that was replaced has another.
func (n *notifier) send(text string) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyPatience))
	_, _ = conn.Write([]byte(text))
}

// ready says that clients can connect.
func (n *notifier) ready(status string) {
	n.say("READY=1", "MAINPID="+strconv.Itoa(os.Getpid()), "STATUS="+oneLine(status))
}

// reloading says that a reload begins. When it has ended, however, ready has to follow: the manager waits for it. The time
// tells it that this is the reload that it has asked for, and not an earlier one.
func (n *notifier) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail for this clock
	n.say("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10), "STATUS=reloading")
}

// stopping says that the server ends, and that it may take so long: the manager would else kill it after its own time.
func (n *notifier) stopping(status string, within time.Duration) {
	n.say("STOPPING=1", "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10), "STATUS="+oneLine(status))
}

// oneLine: a line break would end the assignment.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// keepAlive feeds the manager's watchdog until ctx is done, as long as no loop has been in one callback for half of the manager's
// time: then its clients get nothing any more, and to be killed and started again is what the operator has asked for. It is
// fed four times in that time, so that a loop which goes on just in time is not killed for want of the next occasion.
// A machine or a process that was stopped is not a loop that hangs, see loop.Hub.Busy.
func (n *notifier) keepAlive(ctx context.Context, busy func() time.Duration, log *slog.Logger) {
	if n.queue == nil || n.every <= 0 {
		return
	}
	again := time.NewTicker(n.every / 4)
	defer again.Stop()
	for told := false; ; {
		if hung := busy(); hung < n.every/2 {
			if len(n.queue) == 0 { // else it would take the place of what is said once
				n.say("WATCHDOG=1")
			}
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
