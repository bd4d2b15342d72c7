package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a server that the bench started itself. It ends with the bench, however that ends.
type child struct {
	cmd  *exec.Cmd
	said *tail
	gone chan struct{} // closed when the process has ended
}

const (
	childStartTime = 30 * time.Second // from the start of the process until it accepts connections
	childStopTime  = 10 * time.Second // from SIGTERM until it is killed
	childLookEvery = 20 * time.Millisecond
	listeningWord  = "listening" // in what a server prints when it is ready
	tailBytes      = 4 << 10     // of its output that is kept, for the message if it fails
)

// startChild runs a command that is to listen on addr, and returns when it does and has printed so: a server that forks
// listens before its workers run. Call it on the main goroutine: it is locked to its thread, and a child is killed when the
// thread that started it ends.
func startChild(ctx context.Context, addr, dir string, command ...string) (*child, error) {
	c, err := launch(dir, command...)
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(childStartTime)
	defer deadline.Stop()
	look := time.NewTicker(childLookEvery)
	defer look.Stop()
	for {
		if strings.Contains(c.said.String(), listeningWord) {
			if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
				conn.Close()
				return c, nil
			}
		}
		select {
		case <-look.C:
			continue
		case <-c.gone:
			return nil, fmt.Errorf("%s ended instead of listening on %s: %s", strings.Join(command, " "), addr, c.said)
		case <-deadline.C:
		case <-ctx.Done():
		}
		c.stop()
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, fmt.Errorf("%s does not listen on %s after %v: %s", strings.Join(command, " "), addr, childStartTime, c.said)
	}
}

// launch runs a command. As with startChild, call it on the main goroutine.
func launch(dir string, command ...string) (*child, error) {
	c := &child{cmd: exec.Command(command[0], command[1:]...), said: &tail{}, gone: make(chan struct{})}
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = dir, c.said, c.said
	// A group of its own, so that its own children end with it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", command[0], err)
	}
	go func() {
		_ = c.cmd.Wait() // its status is of no use: whether it serves is what counts
		close(c.gone)
	}()
	return c, nil
}

// stop ends the process and all that it started.
func (c *child) stop() {
	group := -c.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // an error means that it is gone
	patience := time.NewTimer(childStopTime)
	defer patience.Stop()
	select {
	case <-c.gone:
	case <-patience.C:
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // its own children, if any are left
	<-c.gone
}

// freeAddr is a loopback address on which nobody listens at this moment. Not every peer can listen on port 0 and print the port that it got. The
// kernel gives the port to no connection, nor to who listens on port 0: either would take it before the peer listens, or while a node is down.
// If another program takes it all the same, the peer fails to start and says so.
func freeAddr() (addr string, port int, err error) {
	lowest := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 0 {
			if low, err := strconv.Atoi(fields[0]); err == nil {
				lowest = low
			}
		}
	}
	for range 100 {
		if port = 0; lowest > freePorts { // else the kernel gives all ports
			port = freePorts + (freeFirst+int(freeGiven.Add(1)))%(lowest-freePorts)
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer l.Close()
			return l.Addr().String(), l.Addr().(*net.TCPAddr).Port, nil
		}
	}
	return "", 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
}

// freePorts is the first port that is given: above those of well-known services.
const freePorts = 12_000

// Ports are given in a row that begins anywhere, so that none is given twice, and seldom one that another process gives.
var (
	freeFirst = rand.IntN(1 << 20)
	freeGiven atomic.Int32
)

// tail keeps the end of a process's output.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return "it said nothing"
	}
	return string(bytes.TrimSpace(t.kept))
}

// self is this program's own file, for children that are the bench again.
func self() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find the bench's own program: %w", err)
	}
	return name, nil
}

// pids are the processes of the child's group: it may have forked workers, which count too. None when it has ended.
func (c *child) pids() []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right, so there is no error
	var pids []int
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		// After the name in parentheses: state, parent, group (proc(5), fields 3 to 5).
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 2 && string(fields[2]) == strconv.Itoa(c.cmd.Process.Pid) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
