package loop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
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

// earlyConn is a connection that no shard has yet.
type earlyConn struct {
	gnet.Conn
	waiting int
	answer  []byte
}

func (c *earlyConn) Context() any         { return nil }
func (c *earlyConn) InboundBuffered() int { return c.waiting }

func (c *earlyConn) Write(p []byte) (int, error) {
	c.answer = append(c.answer, p...)
	return len(p), nil
}

func TestAConnectionThatSendsTooMuchBeforeTheLoopsAreReadyIsRefused(t *testing.T) {
	h := newHandler(newHub(1, defaultBounds(), nil), slog.New(slog.DiscardHandler))
	c := &earlyConn{waiting: earlyBytesMax}
	if action := h.OnTraffic(c); action != gnet.None || len(c.answer) > 0 {
		t.Errorf("at the bound: got action %v and answer %q, want it kept", action, c.answer)
	}
	c.waiting++
	if action := h.OnTraffic(c); action != gnet.Close || !strings.HasPrefix(string(c.answer), "HTTP/1.1 503") {
		t.Errorf("over the bound: got action %v and answer %q, want 503 and the end", action, c.answer)
	}
	if got := h.hub.Snapshot().Total().RefusedClientsBy["booting"]; got != 1 {
		t.Errorf("refused while booting: got %d, want 1", got)
	}
}
