package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// What may come to a port for TLS, and in compressed messages. As always nobody else notices, and whoever does it is counted.

// hello is the first flight of a TLS client, as it would be sent.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go tls.Client(theirs, config).Handshake() // fails when the pipe is closed
	ours.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 64<<10)
	n, err := ours.Read(b) // crypto/tls writes it at once
	must(t, err)
	return b[:n]
}

// besidesTLS is besides, where half of the healthy come by TLS and compress.
func besidesTLS(t *testing.T, s *server, attack func()) {
	t.Helper()
	plain := few
	plain.pace = calm
	secure := plain
	secure.name, secure.dialing, secure.senders = "by TLS ", dialing{secure: trusted(t), offer: deflate}, dialing{secure: trusted(t)}
	secure.padding = strings.Repeat(" padding", 50)
	at := *s
	at.addr = s.wss
	besidesOf(t, s, plain, func(*bystanders) {
		besidesOf(t, &at, secure, func(*bystanders) { attack() })
	})
}

// calm is the pace of the healthy where a test mostly waits.
const calm = 10 * time.Millisecond

// healthyTLS is how many of these come by TLS, the senders included.
const healthyTLS = 9

// TLS handshakes of all kinds that never finish: nothing is said, half of a hello, a hello and nothing more.
func TestFaultTLSHandshakesThatNeverFinishHarmNobody(t *testing.T) {
	fault(t)
	few := 1500
	if raceDetector {
		few = 400
	}
	n := size(few, 10_000)
	// Who comes now stands behind all hellos that came before, and each may cost tens of milliseconds on a busy machine.
	s := startTLS(t, "--handshake-timeout", size("15s", "30s"), "--compression", "on")
	flights := [][]byte{nil, nil, hello(t, version(t, tls.VersionTLS13)), hello(t, version(t, tls.VersionTLS12))}
	flights[1] = flights[2][:len(flights[2])/2]
	at := *s
	at.addr = s.wss
	besidesTLS(t, s, func() {
		before := s.status()
		many := arrive(t, &at, n, 16, dialing{small: true}, func(i int, c *client) error {
			if flight := flights[i%len(flights)]; flight != nil {
				return c.raw(flight)
			}
			return nil
		})
		during := s.wire()
		if during.Running > 4096 {
			t.Errorf("handshakes under way: got %d, want at most 4,096", during.Running)
		}
		// Who comes now gets in.
		for range 3 {
			m := memberTLS(t, s, "newcomers")
			must(t, m.text(sendCommand("newcomers", "hi")))
			m.expect(t, "hi")
			m.hangUp()
		}
		s.wireIs("the handshakes are over", func(w wireFigures) bool {
			return w.Running == 0 && w.Handshakes["late"]+w.Handshakes["evicted"]+w.Handshakes["gone"] == uint64(n)
		})
		many.each((*client).hangUp)
		s.eventually("nobody of them is left, and no goroutine", func() error {
			if st := s.status(); st.Total.Pending != 0 || st.Total.Clients != before.Total.Clients || st.Goroutines > before.Goroutines+10 {
				return fmt.Errorf("got %d pending, %d clients, %d goroutines; want 0, %d, %d", st.Total.Pending, st.Total.Clients, st.Goroutines, before.Total.Clients, before.Goroutines)
			}
			return nil
		})
		t.Logf("%d handshakes: at most %d ran at once, ends %v", n, during.Running, s.wire().Handshakes)
	})
}

func TestWhatIsNoHelloHarmsNobody(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	good := hello(t, trusted(t))
	changed := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	record := func(kind byte, payload string) []byte {
		return append([]byte{kind, 3, 1, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	}
	upgrade := "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + newKey() + "\r\nSec-WebSocket-Version: 13\r\n\r\n"
	cases := []struct {
		what string
		sent []byte
		want string // in the answer, "": whatever, or nothing
	}{
		{"HTTP", []byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), "TLS is spoken here"},
		{"a WebSocket", []byte(upgrade), "TLS is spoken here"},
		{"text of no protocol", []byte("EHLO x\r\n"), ""},
		{"SSH", []byte("SSH-2.0-x\r\n"), ""},
		{"zeros", make([]byte, 5000), ""},
		{"random bytes", []byte("\x80" + randomBytes(5000)), ""},
		{"a hello of SSL 2", []byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + randomBytes(40)), ""},
		{"an alert", record(21, "\x02\x28"), ""},
		{"data before a handshake", record(23, randomBytes(100)), ""},
		{"a change of ciphers", record(20, "\x01"), ""},
		{"an empty record", record(22, ""), ""},
		{"another message than a hello", record(22, "\x0b\x00\x00\x03\x00\x00\x00"), ""},
		{"a hello that is garbage", record(22, "\x01\x00\x01\x00"+randomBytes(256)), ""},
		{"a hello with a lie in it", changed(43, 255), ""}, // the length of the session id
		{"a hello without ciphers that we know", record(22, "\x01\x00\x00\x2b\x03\x03"+randomBytes(32)+"\x00\x00\x02\x00\xff\x01\x00\x00\x00"), ""},
		{"a hello of 16 MiB", record(22, "\x01\xff\xff\xff"+randomBytes(5000)), ""},
		{"a record that is too long", []byte("\x16\x03\x01\xff\xff" + randomBytes(5000)), ""},
		{"a hello and then garbage", append(bytes.Clone(good), randomBytes(500)...), ""},
		{"a hello twice", append(bytes.Clone(good), good...), ""},
		{"a hello and then HTTP", append(bytes.Clone(good), upgrade...), ""},
		{"a megabyte behind a hello", append(bytes.Clone(good), record(20, "\x01")[:1]...), ""},
	}
	cases[len(cases)-1].sent = append(bytes.Clone(good), bytes.Repeat(record(20, "\x01"), 200_000)...)
	at := *s
	at.addr = s.wss
	besidesTLS(t, s, func() {
		var all sync.WaitGroup
		for _, c := range cases {
			for _, step := range []int{len(c.sent), 7} {
				client := bare(t, &at)
				all.Go(func() {
					for b := c.sent; len(b) > 0 && client.raw(b[:min(step, len(b))]) == nil; b = b[min(step, len(b)):] {
						if step < 100 && len(c.sent) > 10_000 {
							step = 10_000
						}
					}
					client.conn.SetReadDeadline(time.Now().Add(patience))
					answer, err := io.ReadAll(client.in)
					var late net.Error
					if errors.As(err, &late) && late.Timeout() {
						t.Errorf("%s: got nothing, want the end", c.what)
					} else if !strings.Contains(string(answer), c.want) {
						t.Errorf("%s: got %.200q, want %q", c.what, answer, c.want)
					}
				})
			}
		}
		all.Wait()
		s.wireIs("each is counted", func(w wireFigures) bool {
			return w.Running == 0 && w.Handshakes["not_tls"] >= 20 && w.Handshakes["not_tls"]+w.Handshakes["failed"]+w.Handshakes["gone"] == uint64(2*len(cases)) && w.Handshakes["late"] == 0
		})
		// The other way round: hellos where none are spoken to.
		for range 10 {
			c := bare(t, s)
			must(t, c.raw(good))
			c.conn.SetReadDeadline(time.Now().Add(patience))
			answer, err := io.ReadAll(c.in)
			must(t, err)
			if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
				t.Errorf("a hello to the plain port: got %q, want an answer of HTTP and the end", answer)
			}
		}
		s.wireIs("hellos to the plain port are counted", func(w wireFigures) bool { return w.Openings["tls"] == 10 })
	})
}

// drip is a connection that sends in small pieces, and no more than so many bytes if left is not negative.
type drip struct {
	*net.TCPConn
	piece, left int
}

func (d *drip) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := min(d.piece, len(b)-n)
		if d.left >= 0 {
			if piece = min(piece, d.left); piece == 0 {
				return n, io.ErrClosedPipe
			}
			d.left -= piece
		}
		if _, err = d.TCPConn.Write(b[n : n+piece]); err == nil {
			n += piece
		}
	}
	return n, err
}

// dripping is a client by TLS whose every byte comes alone.
func dripping(t testing.TB, s *server, config *tls.Config, piece, left int) (*client, error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.wss)
	must(t, err)
	tcp := conn.(*net.TCPConn)
	t.Cleanup(func() { tcp.Close() })
	must(t, tcp.SetNoDelay(true))
	tcp.SetDeadline(time.Now().Add(patience))
	secure := &secureSocket{Conn: tls.Client(&drip{tcp, piece, left}, config), tcp: tcp}
	c := &client{conn: secure, in: bufio.NewReader(secure)}
	if err = secure.Handshake(); err == nil {
		err = c.handshake(s.wss, dialing{offer: deflate})
	}
	if err != nil {
		c.conn.SetLinger(left % 2) // a reset, or the end of the stream
		tcp.Close()
	}
	return c, err
}

func TestTLSOneByteAtATimeWorks(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--compression", "on")
	besidesTLS(t, s, func() {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c, err := dripping(t, s, version(t, v), 1, -1)
			must(t, err)
			must(t, c.join(t.Name()))
			for _, text := range []string{"", "é", randomText(2000), strings.Repeat("x", 5000)} {
				must(t, c.text(sendCommand(t.Name(), text)))
				c.expect(t, text)
			}
			for n := range 300 { // a record each, so that some are cut at each place of their headers
				must(t, c.text(sendCommand(t.Name(), fmt.Sprint(n))))
			}
			for n := range 300 {
				c.expect(t, fmt.Sprint(n))
			}
			must(t, c.closeWith(1000, ""))
			c.expectClose(t, 1000)
		}
	})
}

// A connection by TLS may end at any byte: in its hello, its handshake, its request or its commands.
func TestAbruptEndsOfTLSAtAnyPlaceHarmNobody(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--compression", "on")
	besidesTLS(t, s, func() {
		var all sync.WaitGroup
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for first := range 8 {
				all.Go(func() {
					for left := first * 5; ; left += 40 {
						c, err := dripping(t, s, version(t, v), 1000, left)
						if err != nil {
							continue
						}
						c.commands(joinCommand(t.Name()), sendCommand(t.Name(), strings.Repeat("x", 500))) // may be cut off
						_, err = c.beforePong()
						c.die()
						if err == nil {
							break // all of it was sent
						}
					}
				})
			}
		}
		all.Wait()
	})
	s.eventually("the dead are gone from the tables", func() error {
		if got, w := s.status().Total, s.wire(); got.Pending != 0 || w.Running != 0 || w.Handshakes["gone"]+w.Handshakes["failed"] == 0 {
			return fmt.Errorf("got %d pending and %+v, want nobody, and ends in handshakes", got.Pending, w)
		}
		return nil
	})
}

// What is no record, behind a good handshake, ends that client, and only that.
func TestGarbageInRecordsHarmsNobody(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	besidesTLS(t, s, func() {
		n := 0
		rnd := rand.New(rand.NewPCG(5, 5))
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, garbage := range []string{"\x17\x03\x03\x00\x20" + randomBytes(32), "GET / HTTP/1.1\r\n\r\n", "\x17\x03\x03\xff\xff" + randomBytes(3000), "\x16\x03\x03\x00\x04\x01\x00\x00\x00", "\x17\x03\x03\x00\x00", string(make([]byte, 100)), "\x15\x03\x03\x00\x02\x02\x0a"} {
				c := memberTLS(t, s, t.Name(), dialing{secure: version(t, v)})
				n++
				b := []byte(garbage)
				for len(b) > 0 {
					piece := 1 + rnd.IntN(len(b))
					if _, err := c.conn.(*secureSocket).tcp.Write(b[:piece]); err != nil {
						break
					}
					b = b[piece:]
				}
				if _, err := c.discard(); err != nil {
					t.Errorf("version %#x, %.30q: got %v, want the end", v, garbage, err)
				}
			}
		}
		s.wireIs("each is counted", func(w wireFigures) bool { return w.Errors == uint64(n) && w.TLSClients == healthyTLS })
	})
}

func TestClientsByTLSThatNeverReadHarmNobody(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--outbox-max", "64KiB", "--message-max", "64KiB", "--compression", "on")
	besidesTLS(t, s, func() {
		const deafs = 6
		for i := range deafs {
			c := memberTLS(t, s, t.Name(), dialing{secure: version(t, []uint16{tls.VersionTLS12, tls.VersionTLS13}[i%2]), offer: []string{"", deflate}[i/3], readBytes: slowBytes})
			t.Cleanup(c.die) // what waits is not read any more
		}
		sender := dial(t, s)
		text := randomText(32 << 10)
		for sent := 0; s.status().Total.SlowClosed < deafs; {
			for range 16 {
				_, err := publishAgain(sender, t.Name(), text)
				must(t, err)
			}
			if sent += 16; sent > 2048 {
				t.Fatalf("sent %d texts of 32 KiB: got slow_closed %d, want %d", sent, s.status().Total.SlowClosed, deafs)
			}
		}
		s.wireIs("the deaf are gone", func(w wireFigures) bool { return w.TLSClients == healthyTLS })
		if got := s.status().Total.OutboxBytes; got > 16*64<<10 {
			t.Errorf("bytes in outboxes: got %d, want those of the deaf given back", got)
		}
	})
}

// Compressed messages that are larger than they look, or are none, by TLS and without.
func TestHostileCompressionHarmsNobody(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--compression", "on")
	zeros := deflatedAt(9, strings.Repeat("\x00", 64<<20))
	blocks := strings.Repeat("\x00\x00\x00\xff\xff", 20_000) // nothing, in many blocks
	final := strings.Repeat("\x03\x00", 50_000)
	cases := []struct {
		what string
		send [][]byte
		code int // 0: it stays
	}{
		{"a bomb", [][]byte{deflatedFrame(ws.OpText, true, zeros)}, 1009},
		{"a bomb in fragments", deflatedFragments(ws.OpBinary, zeros, 500), 1009},
		{"a bomb in parts, of which none is too large", deflatedFragments(ws.OpText, deflatedAt(9, strings.Repeat("\x00", 900<<10), strings.Repeat("\x00", 900<<10)), 1000), 1009},
		{"more than a message may have, before it is taken apart", [][]byte{deflatedFrame(ws.OpText, true, deflatedAt(0, randomText(2<<20)))}, 1009},
		{"no deflate", [][]byte{deflatedFrame(ws.OpText, true, []byte(randomBytes(5000)))}, 1007},
		{"no UTF-8", [][]byte{deflatedFrame(ws.OpText, true, deflated("\xff"))}, 1007},
		{"the bit on a continuation", [][]byte{deflatedFrame(ws.OpText, false, deflated("a")), deflatedFrame(ws.OpContinuation, true, nil)}, 1002},
		{"the bit on a ping", [][]byte{deflatedFrame(ws.OpPing, true, nil)}, 1002},
		{"many blocks of nothing", [][]byte{deflatedFrame(ws.OpText, true, []byte(blocks+"\x00"))}, 0},
		{"many final blocks of nothing", [][]byte{deflatedFrame(ws.OpText, true, []byte(final+"\x00"))}, 0},
		{"a command that is no JSON", [][]byte{deflatedFrame(ws.OpText, true, deflated("[1,"))}, 0},
		{"a command of a megabyte", [][]byte{deflatedFrame(ws.OpText, true, deflated(strings.Repeat("[", 1_000_000)))}, 0},
	}
	besidesTLS(t, s, func() {
		for _, c := range cases {
			for _, secure := range []bool{false, true} {
				d, to := dialing{offer: deflate}, *s
				if secure {
					d.secure, to.addr = trusted(t), s.wss
				}
				client := dial(t, &to, d)
				for _, b := range c.send {
					if client.raw(b) != nil {
						break
					}
				}
				if c.code == 0 {
					if _, err := client.beforePong(); err != nil {
						t.Errorf("%s: got %v, want the connection open", c.what, err)
					}
				} else if code, err := client.closeCode(); code != c.code {
					t.Errorf("%s: got close %d, %v; want %d", c.what, code, err, c.code)
				}
			}
		}
		// Without an agreement the bit is nobody's.
		for _, d := range []dialing{{}, {offer: "x-webkit-deflate-frame"}, {offer: deflate + "; server_max_window_bits=9"}} {
			c := dial(t, s, d)
			must(t, c.raw(deflatedFrame(ws.OpText, true, deflated("x"))))
			c.expectClose(t, 1002)
		}
		got := s.wire().Closes
		for code, want := range map[string]uint64{"1002": 2*2 + 3, "1007": 2 * 2, "1009": 4 * 2} {
			if got[code] != want {
				t.Errorf("closes with %s: got %d, want %d", code, got[code], want)
			}
		}
	})
}
