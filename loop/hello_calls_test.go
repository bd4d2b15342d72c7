package loop

import (
	"errors"
	"net"
	"testing"

	"ringcast/loop/secure"
	"ringcast/wsproto"
)

// scripted is a TLS handshake that goes as a test says, and then a connection that encrypts nothing and whose records are a line each.
type scripted struct {
	cipher
	tell    func()
	done    bool
	err     error
	aborted bool
	held    []byte
}

func (c *scripted) Feed(p []byte) int { return len(p) }

func (c *scripted) Progress() ([]byte, bool, error) { return nil, c.done, c.err }

func (c *scripted) Abort() { c.aborted = true }

func (c *scripted) Held() int { return len(c.held) }

func (c *scripted) IsOther() bool { return false }

func (c *scripted) Seal(dst, p []byte) ([]byte, error) { return append(dst, p...), nil }

func (c *scripted) CloseNotify(dst []byte) []byte { return append(dst, "notify"...) }

// Open has records of 64 bytes.
func (c *scripted) Open(_ *secure.Kit, p []byte) (plain, rest []byte, err error) {
	if string(p) == "bad" {
		return nil, nil, errors.New("a bad record")
	}
	if c.held = append(c.held, p...); len(c.held) < 64 {
		return nil, nil, secure.ErrMore
	}
	plain, c.held = c.held[:64:64], c.held[64:]
	return plain, nil, nil
}

// ended has the handshake end, on its goroutine.
func (c *scripted) ended(err error) {
	c.done, c.err = true, err
	c.tell()
}

// shaking is a client whose TLS handshake has begun, or waits.
func (st *stage) shaking(t *testing.T) (*stageConn, *scripted) {
	var script *scripted
	s := st.hub.shards[0]
	s.env.secure = func(_ []byte, tell func()) cipher {
		script = &scripted{tell: tell}
		return script
	}
	c := &stageConn{shard: s, fd: len(st.conns)}
	st.conns = append(st.conns, c)
	st.hub.admit()
	c.client = s.opened(c)
	c.client.overTLS()
	s.traffic(c.client, helloOf(t))
	return c, script
}

// The goroutine of a handshake has said that there is something to send, and has ended before the loop came to ask.
func TestAHandshakeThatEndsBeforeItsFirstWordIsHeardEndsOnce(t *testing.T) {
	st := newStage(1, nil)
	for name, end := range map[string]func(*stageConn, *scripted){
		"it fails": func(_ *stageConn, script *scripted) {
			script.tell()
			script.ended(errors.New("no good"))
		},
		"its client goes": func(c *stageConn, script *scripted) {
			script.tell()
			c.shard.closed(c.client)
			script.tell()
			script.ended(errors.New("given up"))
		},
		"it is done": func(_ *stageConn, script *scripted) {
			script.tell()
			script.ended(nil)
		},
	} {
		c, script := st.shaking(t)
		end(c, script)
		st.settle()
		h, total := &c.shard.hellos, st.hub.Snapshot().Total()
		if total.TLSRunning != 0 || h.leaving != 0 || len(h.running) != 0 || total.Panics != 0 {
			t.Errorf("%s: %d run, the list has %d, %d are leaving, panics %d; want none", name, total.TLSRunning, len(h.running), h.leaving, total.Panics)
		}
	}
}

// What is called on a loop may have a client's panic; the calls behind it are those of others.
func TestAPanicInACallLosesNoOtherCall(t *testing.T) {
	st := newStage(1, nil)
	c, script := st.shaking(t)
	st.hub.call(c.shard, func(*shard) { panic("a call that panics") })
	script.ended(errors.New("no good"))
	st.settle()
	if total := st.hub.Snapshot().Total(); total.TLSRunning != 0 || total.Panics != 1 {
		t.Errorf("%d run, panics %d, want none and 1", total.TLSRunning, total.Panics)
	}
}

// One that always has the next record begun is late only with that one, as in TestTheTimeOfAMessageBeginsWithItsFirstByte.
func TestTheTimeOfARecordBeginsWithItsFirstByte(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.messageTicks = 10 })
	c, script := st.shaking(t)
	script.ended(nil)
	st.settle()
	request := simRequest
	for len(request)%64 != 0 { // a record's end is the request's
		request = request[:len(request)-2] + "X: y\r\n\r\n"
		if len(request) > 1<<10 {
			request = request[:len(request)-4] + "z\r\n\r\n"
		}
	}
	c.raw(request)
	if c.client.state != stateOpen {
		t.Fatalf("state %v, want it open; heard %q", c.client.state, c.out)
	}
	record := wsproto.AppendMaskedFrame(nil, wsproto.OpPong, [4]byte{}, make([]byte, 58))
	c.raw(string(record[:10]))
	for i := range 5 {
		st.ticks(6)
		c.raw(string(record[10:]) + string(record[:10]))
		if c.client.state != stateOpen {
			t.Fatalf("record %d: closed, want it open", i)
		}
	}
	st.ticks(9)
	if c.client.state != stateOpen {
		t.Error("after 9 ticks: closed, want it open")
	}
	st.ticks(1)
	c.heard(t, "\x03\xf0the message took too long")
}

// Whatever ends a handshake, and whenever, nothing is left of it.
func TestHandshakesThatEndAnywhereLeaveNothing(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 2}))
	hello := helloOf(t)
	for i := range 120 {
		c := dialRaw(t, s)
		c.Write(hello)
		switch i % 4 {
		case 0:
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		case 1:
			c.Write([]byte("\x17\x03\x03\x00\x10no data that is good"))
		case 2:
			c.Write([]byte("\x15\x03\x03\x00\x02\x02\x28")) // an alert
			c.Close()
		case 3:
			c.Write(hello) // once more
		}
	}
	waitFor(t, "nothing is left", func() bool {
		total := s.Hub().Snapshot().Total()
		return total.TLSRunning == 0 && total.TLSHandshakes["failed"]+total.TLSHandshakes["gone"] == 120
	})
	if err := s.Hub().each(within(t), func(s *shard) {
		if h := &s.hellos; h.leaving != 0 || h.gone != 0 || len(h.running)+len(h.waiting) != 0 {
			t.Errorf("loop %d: %+v, want none", s.index, *h)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n := s.Hub().Snapshot().Total().Panics; n != 0 {
		t.Errorf("panics: got %d, want 0", n)
	}
}

func TestABadRecordInPlaceOfARequestIsABadHandshake(t *testing.T) {
	st := newStage(1, nil)
	c, script := st.shaking(t)
	script.ended(nil)
	st.settle()
	c.raw("bad")
	if total := st.hub.Snapshot().Total(); total.Handshakes["bad"] != 1 || total.TLSErrors != 1 || !c.closed {
		t.Errorf("got handshakes %v, bad records %d, closed %v; want one bad one, 1, and the end", total.Handshakes, total.TLSErrors, c.closed)
	}
}
