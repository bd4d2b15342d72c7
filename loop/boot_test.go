package loop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
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
	startServer(t, Config{Listen: addr, Loops: 8})
	for range cap(done) {
		if err := <-done; err != nil {
			t.Errorf("early client: %v", err)
		}
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
