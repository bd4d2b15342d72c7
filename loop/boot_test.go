package loop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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
	h := newHub(1, defaultBounds())
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
	for deadline := time.Now().Add(testTimeout); l.gates[0].enter(); runtime.Gosched() { // until the engine has come to the gate
		l.gates[0].leave()
		if time.Now().After(deadline) {
			close(loop.goOn)
			t.Fatal("the engine does not come to the gate")
		}
	}
	l.execute(0, nil) // does not wait for the engine, and does nothing
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

// Until clients are let in they wait in the kernel's queue. A stranger who has found the engine's own sockets is none.
func TestWhoComesBeforeClientsAreLetInWaitsAndAStrangerIsNoClient(t *testing.T) {
	s, err := Boot(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(within(t), nil); err != nil {
			t.Error(err)
		}
	}()
	early, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	_ = early.SetDeadline(time.Now().Add(testTimeout))
	io.WriteString(early, simRequest)
	strange := func(name string) {
		t.Helper()
		c, err := net.Dial("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(testTimeout))
		io.WriteString(c, simRequest)
		if got, _ := io.ReadAll(c); len(got) > 0 {
			t.Errorf("at %s: got answer %q, want the end alone", name, got)
		}
	}
	strange(s.berths.name(0))
	strange(s.berths.gong)
	if n := s.Hub().Snapshot().Total().Accepted; n != 0 {
		t.Errorf("accepted before clients are let in: got %d, want 0", n)
	}
	if err := s.LetIn(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(early).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 101") {
		t.Errorf("who came early: got %q (%v), want 101", line, err)
	}
	strange(s.berths.gong)
	if c, err := net.Dial("unix", s.berths.name(0)); err == nil {
		c.Close()
		t.Error("the placeholder is still there")
	}
	if n := s.Hub().Snapshot().Total().Accepted; n != 1 {
		t.Errorf("accepted: got %d, want 1", n)
	}
}

// Whoever is on this machine can strike the gong, and a stroke can be heard after it was given up: neither stands for one's own.
func TestAStrokeOfTheGongIsAnsweredByItsOwnEndAlone(t *testing.T) {
	s := startServer(t, Config{Loops: 2})
	hold := func() (letGo func()) {
		held, over := make(chan struct{}, 2), make(chan struct{})
		for i := range s.hub.shards {
			s.handler.loops.execute(i, gnet.RunnableFunc(func(context.Context) error {
				held <- struct{}{}
				<-over
				return nil
			}))
		}
		for range s.hub.shards {
			<-held
		}
		return func() { close(over) }
	}
	strange, err := net.Dial("unix", s.berths.gong)
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Close()
	_ = strange.SetDeadline(time.Now().Add(testTimeout))
	if _, err := strange.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("a stranger at the gong: got %v, want the end", err)
	}
	for _, before := range []string{"a stranger has struck it", "an earlier stroke was given up"} {
		letGo := hold()
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := s.strike(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s; a stroke that no loop can hear: got %v, want %v", before, err, context.DeadlineExceeded)
		}
		cancel()
		letGo()
		if err := s.strike(within(t)); err != nil {
			t.Errorf("%s; a stroke that loops can hear: %v", before, err)
		}
	}
}

// A process that starts and stops servers, or fails to, has as many descriptors as before.
func TestServersGiveAllDescriptorsBack(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	taken := startServer(t, Config{Loops: 1})
	file, _ := handedIn(t, "tcp", "127.0.0.1:0")
	var before []int
	for round := range 4 {
		for _, cfg := range []Config{
			{Listen: []string{":0", "127.0.0.1:0", "unix:" + path}, Loops: 2},
			{Sockets: []*os.File{file()}, Loops: 2},
			{Listen: []string{"unix:" + path, taken.Addr().String()}, Loops: 2}, // fails
		} {
			s, err := Start(cfg)
			if err != nil {
				continue
			}
			dial(t, s).conn.Close()
			if err := s.Stop(within(t), nil); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(path); err == nil {
			t.Fatalf("round %d: the file of the socket is still there", round)
		}
		open, err := descriptors()
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(testTimeout); round > 0 && len(open) > len(before); open, _ = descriptors() {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: got descriptors %v, want as many as before: %v", round, open, before)
			}
			runtime.Gosched()
		}
		before = open
	}
}

// gnet closes no socket that it has accepted and not yet opened when it ends, so a stop has all of them opened before.
func TestAServerThatStopsWhileClientsComeGivesAllDescriptorsBack(t *testing.T) {
	var addr atomic.Pointer[string]
	var came atomic.Int64
	storm := func(rounds int) (open []int) {
		over := make(chan struct{})
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for {
					select {
					case <-over:
						return
					default:
					}
					if c, err := net.Dial("tcp", *addr.Load()); err == nil {
						came.Add(1)
						c.Close()
					}
				}
			})
		}
		for range rounds {
			s, err := Start(Config{Loops: 2})
			if err != nil {
				t.Error(err)
				break
			}
			now, before := s.Addr().String(), came.Load()
			addr.Store(&now)
			for deadline := time.Now().Add(testTimeout); came.Load() == before && time.Now().Before(deadline); {
				runtime.Gosched()
			}
			if err := s.Stop(within(t), nil); err != nil {
				t.Error(err)
			}
		}
		close(over)
		clients.Wait()
		open, err := descriptors()
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
	none := "127.0.0.1:1"
	addr.Store(&none)
	before := storm(1)
	open := storm(60)
	for deadline := time.Now().Add(testTimeout); len(open) > len(before); open, _ = descriptors() {
		if time.Now().After(deadline) {
			t.Fatalf("after 60 servers: got %d descriptors, want as many as after one, %d", len(open), len(before))
		}
		runtime.Gosched()
	}
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
