package test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestHostileCommandsHarmNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	deep := strings.Repeat("[", 100_000)
	texts := []string{
		`{"cmd":"add_group","group_id":["123"]}`, `{"cmd":"add_group","group_id":{"a":1}}`,
		`{"cmd":"send_to_group","group_id":[],"message":"x"}`, `{"cmd":"send_to_group","group_id":"1","message":`,
		`"x"`, `"`, `0`, `[]`, "\x00", strings.Repeat(" ", 100_000),
		deep, deep + strings.Repeat("]", 100_000), strings.Repeat(`{"a":`, 100_000),
		`{"cmd":"send_to_group","group_id":"1","message":` + deep + strings.Repeat("]", 100_000) + `}`,
		`{"cmd":"send_to_group","group_id":"1","x":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000) + `,"message":""}`,
		`{"id":` + strings.Repeat("9", 100_000) + `,"cmd":"add_group","group_id":"1"}`,
		`{"id":"` + strings.Repeat("i", 100_000) + `","cmd":"add_group","group_id":"1"}`,
		`{"cmd":"` + strings.Repeat("c", 100_000) + `"}`, `{"cmd":"add_group","group_id":"` + strings.Repeat("g", 100_000) + `"}`,
		`{` + strings.Repeat(`"k":0,`, 50_000) + `"cmd":"add_group","group_id":"1"}`,
		`{"cmd":"add_group","group_id":1` + strings.Repeat("0", 100_000) + `}`,
		`{"cmd":"add_group","group_id":"\ud800"}`, `{"cmd":"add_group","group_id":"\u0000"}`, `{"cmd":"add_group","group_id":"\u`,
	}
	besides(t, s, func(t *testing.T) {
		for _, text := range texts {
			c := dial(t, s)
			must(t, c.text(text))
			must(t, c.frame(ws.OpBinary, true, text))
			if _, err := c.beforePong(); err != nil { // none of these breaks the framing
				t.Errorf("after %.60q: got %v, want the connection open", text, err)
			}
		}
	})
}

func TestHostileFramesHarmNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		// All possible first bytes, with and without mask, then junk.
		junk := strings.Repeat("\xff\x00\xc1{", 64)
		for b := range 256 {
			for _, second := range []byte{0xFE, 0x7E, 0x80, 0x05} {
				c, err := open(s.addr, dialing{})
				must(t, err)
				// The server may cut the connection while this is written.
				c.raw(append([]byte{byte(b), second}, junk...))
				c.hangUp()
			}
		}
	})
}

func TestTenMegabyteFramesHarmNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		var wg sync.WaitGroup
		chunk := make([]byte, 256<<10)
		for range 4 {
			c := dial(t, s)
			wg.Go(func() {
				head := []byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0xA0, 0, 0, 0, 0, 0, 0}
				err := c.raw(head)
				for n := 0; n < 10<<20 && err == nil; n += len(chunk) {
					err = c.raw(chunk) // an error means that the server has closed, which it may
				}
				// The close frame may be lost in the reset of a connection with unread input. A pong must not come.
				c.frame(ws.OpPing, true, "x")
				for {
					e, err := c.read()
					if err != nil {
						return
					}
					if e.op == ws.OpPong || e.op == ws.OpClose && e.code != 1009 {
						t.Errorf("answer to a frame of 10 MiB: got %+v, want close 1009", e)
						return
					}
				}
			})
		}
		// Many clients that announce much and send nothing must not cost the memory that they announce.
		for range 100 {
			c := dial(t, s)
			must(t, c.raw([]byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0xFF, 0xFF, 0, 0, 0, 0}))
		}
		wg.Wait()
	})
}

func TestHeaderFloodsHarmNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		for name, head := range map[string]string{
			"one long line":        "GET /" + strings.Repeat("x", 100_000),
			"many headers":         "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 20_000),
			"one long header":      "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("y", 100_000) + "\r\n\r\n",
			"only line ends":       strings.Repeat("\r\n", 50_000),
			"nul bytes":            strings.Repeat("\x00", 100_000),
			"colons":               "GET / HTTP/1.1\r\n" + strings.Repeat(":\r\n", 1000) + "\r\n",
			"folded":               "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat(" y\r\n", 1000) + "\r\n",
			"upgrade with a body":  "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nContent-Length: 99999\r\n\r\n" + strings.Repeat("y", 9000),
			"smuggled lengths":     "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"another protocol":     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"pipelined requests":   strings.Repeat("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 1000),
			"a version of its own": "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
			"spaces":               "GET  /  HTTP/1.1 \r\n\r\n",
		} {
			var wg sync.WaitGroup
			for range 5 {
				c := bare(t, s)
				wg.Go(func() {
					c.raw([]byte(head)) // may be closed in the middle
					c.conn.CloseWrite()
					if _, err := c.discard(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestTLSClientHelloHarmsNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		for range 10 {
			c := bare(t, s)
			secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
			c.conn.SetDeadline(time.Now().Add(patience))
			err := secure.Handshake()
			var late net.Error
			if err == nil || errors.As(err, &late) && late.Timeout() {
				t.Fatalf("TLS handshake with a server that speaks no TLS: got %v, want a quick failure", err)
			}
		}
	})
}

func TestOneByteAtATimeWorks(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		c := bare(t, s)
		must(t, c.conn.SetNoDelay(true))
		drip := func(b []byte) {
			for i := range b {
				must(t, c.raw(b[i:i+1]))
			}
		}
		key := newKey()
		drip([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
			"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n\r\n"))
		must(t, c.upgraded(key))
		drip(frameBytes(ws.OpText, true, []byte(joinCommand(t.Name()))))
		text := strings.Repeat("é", 200) // a length of 16 bits
		command := []byte(sendCommand(t.Name(), text))
		drip(frameBytes(ws.OpText, false, command[:50]))
		drip(frameBytes(ws.OpPing, true, []byte("between")))
		drip(frameBytes(ws.OpContinuation, true, command[50:]))
		c.expect(t, text)
		drip(frameBytes(ws.OpClose, true, ws.NewCloseFrameBody(1000, "done")))
		c.expectClose(t, 1000)
	})
}

func TestRandomGarbageHarmsNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	const seed = 20260101
	besides(t, s, func(t *testing.T) {
		var wg sync.WaitGroup
		for socket := range 60 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(socket)))
				c, err := connect(s.addr, dialing{})
				if err != nil {
					t.Errorf("seed %d socket %d: %v", seed, socket, err)
					return
				}
				defer c.hangUp()
				if socket%3 > 0 {
					if err := c.handshake(s.addr, dialing{}); err != nil {
						t.Errorf("seed %d socket %d: %v", seed, socket, err)
						return
					}
				}
				for range 50 {
					b := make([]byte, rnd.IntN(2000))
					for i := range b {
						b[i] = byte(rnd.Uint32())
					}
					if socket%3 == 2 { // sound frames with garbage in them
						b = frameBytes([]ws.OpCode{ws.OpText, ws.OpBinary}[rnd.IntN(2)], rnd.IntN(2) == 0, b)
					}
					if c.raw(b) != nil {
						break // closed, as it should be
					}
				}
				if rnd.IntN(2) == 0 {
					c.die()
				}
			})
		}
		wg.Wait()
	})
}

func TestFragmentFloodHarmsNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		c := member(t, s, t.Name())
		text := strings.Repeat("x", 20_000)
		command := sendCommand(t.Name(), text)
		b := frameBytes(ws.OpText, false, nil)
		for i := range command {
			b = append(b, frameBytes(ws.OpContinuation, false, []byte(command[i:i+1]))...)
		}
		b = append(b, frameBytes(ws.OpContinuation, true, nil)...)
		must(t, c.raw(b))
		c.expect(t, text)
		// Empty fragments without end never fill a message, and must not fill the server either.
		b = frameBytes(ws.OpText, false, nil)
		for range 100_000 {
			b = append(b, 0x00, 0x80, 0, 0, 0, 0)
		}
		c.raw(b) // the server may accept or close it
	})
}

func TestPingFloodHarmsNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		const pings = 20_000
		c := dial(t, s)
		var b []byte
		for range pings {
			b = append(b, frameBytes(ws.OpPing, true, []byte("flood"))...)
		}
		sent := make(chan error, 1)
		go func() { sent <- c.raw(b) }()
		pongs := 0
		for pongs < pings {
			e, err := c.read()
			must(t, err)
			if e.op == ws.OpPong {
				pongs++
			}
		}
		must(t, <-sent)
		// One that floods and never reads must not fill the server.
		deaf := dial(t, s, dialing{readBytes: slowBytes})
		deaf.conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) // the write may block, which does not matter
		for range 20 {
			if _, err := deaf.conn.Write(b); err != nil {
				break
			}
		}
	})
}

func TestClientsThatNeverReadHarmNobody(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "64KiB", "--message-max", "64KiB")
	besides(t, s, func(t *testing.T) {
		const deafs = 5
		for range deafs {
			c := dial(t, s, dialing{readBytes: slowBytes})
			must(t, c.join(t.Name()))
		}
		sender := dial(t, s)
		text := strings.Repeat("x", 32<<10)
		for sent := 0; s.status().Total.SlowClosed < deafs; {
			for range 16 {
				_, err := publishAgain(sender, t.Name(), text)
				must(t, err)
			}
			if sent += 16; sent > 2048 { // 64 MiB for each
				t.Fatalf("sent %d texts of 32 KiB: got slow_closed %d, want %d", sent, s.status().Total.SlowClosed, deafs)
			}
		}
	})
	s.eventually("the deaf are gone from the tables", func() error {
		if got := s.status().Total.Members; got != 8 {
			return fmt.Errorf("got %d members, want the 8 healthy ones", got)
		}
		return nil
	})
}

func TestAbruptEndsAtAnyPlaceHarmNobody(t *testing.T) {
	t.Parallel()
	s := start(t)
	besides(t, s, func(t *testing.T) {
		whole := []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " +
			newKey() + "\r\nSec-WebSocket-Version: 13\r\n\r\n")
		whole = append(whole, frameBytes(ws.OpText, true, []byte(joinCommand(t.Name())))...)
		whole = append(whole, frameBytes(ws.OpText, true, []byte(sendCommand(t.Name(), "own")))...)
		for cut := range whole {
			c, err := connect(s.addr, dialing{})
			must(t, err)
			must(t, c.raw(whole[:cut]))
			if cut%2 == 0 {
				c.die()
			} else {
				c.hangUp()
			}
		}
	})
	s.eventually("the dead are gone from the tables", func() error {
		if got := s.status().Total; got.Clients != 9 || got.Members != 8 || got.Pending != 0 {
			return fmt.Errorf("got %d clients, %d members, %d pending; want 9, 8, 0", got.Clients, got.Members, got.Pending)
		}
		return nil
	})
}

func TestGroupFloodHarmsNobody(t *testing.T) {
	t.Parallel()
	s := start(t)
	besides(t, s, func(t *testing.T) {
		const groups = 50_000 // far more than one client may join
		c := dial(t, s)
		sent := make(chan error, 1)
		go func() {
			var b []byte
			for i := range groups {
				b = append(b, frameBytes(ws.OpText, true, []byte(joinCommand(fmt.Sprintf("flood %d", i))))...)
			}
			sent <- c.raw(b)
		}()
		must(t, <-sent)
		_, err := c.beforePong()
		var closed closedError
		if !errors.As(err, &closed) || closed.code != 1008 && closed.code != 1013 { // too many groups, or busy
			t.Errorf("after joining %d groups: got %v, want close 1008 or 1013", groups, err)
		}
		if got := s.status().Total.Members; got > 1024+8 {
			t.Errorf("members: got %d, want at most 1,024 of the flood and 8", got)
		}
	})
}

func TestLengthsThatLieHarmNobody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	besides(t, s, func(t *testing.T) {
		for _, length := range []uint64{1 << 63, 1<<63 - 1, 1<<64 - 1, 1 << 32, 1<<31 - 1, 1 << 20, 1<<20 + 1} {
			for _, op := range []byte{0x81, 0x01, 0x82, 0x80, 0x88, 0x89} {
				c := dial(t, s)
				b := binary.BigEndian.AppendUint64([]byte{op, 0xFF}, length)
				must(t, c.raw(append(b, 1, 2, 3, 4, 'x', 'y')))
				must(t, c.conn.CloseWrite())
				if _, err := c.discard(); err != nil {
					t.Errorf("first byte %#x, length %d: %v", op, length, err)
				}
			}
		}
	})
}
