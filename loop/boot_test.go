package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
)

func TestClientsThatComeBeforeTheLoopsAreReadyAreServed(t *testing.T) {
	// A listener of our own finds a free port; clients then connect to it from before the server starts.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	done := make(chan error, 8)
	for range cap(done) {
		go func() { done <- dialUntilServed(addr) }()
	}
	startServer(t, Config{Listen: []string{addr}, Loops: 8})
	for range cap(done) {
		if err := <-done; err != nil {
			t.Errorf("early client: %v", err)
		}
	}
}

// sleeper is a loop of gnet whose descriptor a test closes.
type sleeper struct {
	gnet.EventLoop
	entered, goOn chan struct{}
	closed        atomic.Bool
	wakes         atomic.Int64
}

func (l *sleeper) Execute(context.Context, gnet.Runnable) error {
	l.entered <- struct{}{}
	<-l.goOn
	l.wakes.Add(1)
	if l.closed.Load() {
		return errors.New("written to a descriptor that may be a client's by now")
	}
	return nil
}

// A bus or a port may be about to wake a loop at the moment in which the engine closes the descriptor for it.
func TestNobodyWakesALoopWhoseDescriptorIsClosed(t *testing.T) {
	h := newHub(1, defaultBounds(), nil)
	l := newLoops(h.shards)
	loop := &sleeper{entered: make(chan struct{}, 1), goOn: make(chan struct{})}
	l.bound = []boundLoop{{loop: loop, kick: -1}}
	late := make(chan struct{})
	go func() {
		l.execute(0, nil) // in the middle of a wake
		close(late)
	}()
	<-loop.entered
	closed := make(chan struct{})
	go func() {
		l.shut()
		loop.closed.Store(true) // as gnet does after OnShutdown
		close(closed)
	}()
	for l.gates[0].enter() { // until the engine has come to the gate
		l.gates[0].leave()
		runtime.Gosched()
	}
	l.execute(0, nil) // does not wait, and does nothing
	if loop.closed.Load() {
		t.Error("the engine did not wait for a wake that was under way")
	}
	close(loop.goOn)
	<-late
	<-closed
	l.execute(0, nil)
	if n := loop.wakes.Load(); n != 1 {
		t.Errorf("wakes: got %d, want 1, the one that had begun", n)
	}
	l.shut() // gnet's end after a start that failed calls nothing, so the server does
}

// dialUntilServed tries to connect without a pause, and wants the first connection that opens to be served.
func dialUntilServed(addr string) error {
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); runtime.Gosched() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		defer c.Close()
		_ = c.SetDeadline(deadline)
		io.WriteString(c, simRequest)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "HTTP/1.1 101") {
			err = fmt.Errorf("answer %q", line)
		}
		return err
	}
	return errors.New("never connected")
}
