package loop

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

func TestEchoSendsMessagesBackAsTheyCame(t *testing.T) {
	s := startServer(t, Config{Loops: 1, Dialects: []dialect.Entry{dialect.Echo}})
	p := dial(t, s)
	for _, m := range []struct {
		op      wsproto.OpCode
		payload string
	}{
		{wsproto.OpText, `{"cmd":"add_group","group_id":"g","id":1}`}, // no command here
		{wsproto.OpText, ""},
		{wsproto.OpBinary, "\x00\xff"},
		{wsproto.OpText, strings.Repeat("組", 50_000)},
	} {
		p.raw(m.op, m.payload)
		if op, got, err := p.next(); err != nil || op != byte(m.op) || got != m.payload {
			t.Errorf("got opcode %d with %.80q of %d bytes (%v), want %d with %.80q of %d bytes",
				op, got, len(got), err, m.op, m.payload, len(m.payload))
		}
	}
	if n := s.Hub().Snapshot().Total().Members; n != 0 {
		t.Errorf("members: got %d, want 0", n)
	}
}

// raw sends one frame of any kind.
func (p *peer) raw(op wsproto.OpCode, payload string) {
	p.t.Helper()
	if _, err := p.conn.Write(wsproto.AppendMaskedFrame(nil, op, [4]byte{1, 2, 3, 4}, []byte(payload))); err != nil {
		p.t.Errorf("write: %v", err)
	}
}

// A client that has said goodbye may still be far behind with reading; the kernel then holds the rest for it, and would
// throw it away if the socket were closed before the peer's end and the peer said one thing more.
func TestWhatCameBeforeACloseArrivesWholeAtASlowReader(t *testing.T) {
	s := startServer(t, Config{Loops: 1, Dialects: []dialect.Entry{dialect.Echo}, Limits: Limits{OutboxBytesMax: 4 << 20}})
	p := dial(t, s)
	if err := p.conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	p.raw(wsproto.OpText, strings.Repeat("x", size))
	p.raw(wsproto.OpClose, "\x03\xe8")
	rest, err := 10+size+4, error(nil) // the echo, and a Close frame with a code
	for buf := make([]byte, 16<<10); rest > 0 && err == nil; {
		var n int
		n, err = p.in.Read(buf)
		rest -= n
		// What comes behind a Close frame is not read, and does no harm. The server may have given us up by now.
		_, _ = p.conn.Write(wsproto.AppendMaskedFrame(nil, wsproto.OpPing, [4]byte{}, nil))
	}
	if rest != 0 || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("got all but %d bytes (%v), want all", rest, err)
	}
	if n, err := p.in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: got %d bytes (%v), want the end of the stream", n, err)
	}
}
