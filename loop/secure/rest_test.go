package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"ringcast/loop/assert"
)

// What this package rests on of crypto/tls, and no document promises. If a new Go changes any of it, a test in here fails.

// portions are how many bytes come at a time: one, some that fit no record, all.
var portions = []int{1, 1000, 0}

func text(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

func TestReadsGoOnWhereTheyWereHoweverBytesCome(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, portion := range portions {
			d := begun(t, newServer(), clientConfig(version), portion)
			sizes := []int{1, 100, 16 << 10, 16<<10 + 1, 100_000}
			if portion == 0 {
				sizes = append(sizes, 1<<20)
			}
			for _, n := range sizes {
				d.say(text(n))
				if got := d.open(n); d.err != nil || !bytes.Equal(got, text(n)) {
					t.Fatalf("%d bytes, %d at a time: got %d (%v), want what was sent", n, portion, len(got), d.err)
				}
			}
			if n := d.conn.Held(); n != 0 {
				t.Errorf("%d at a time: %d bytes are held of nothing", portion, n)
			}
		}
	})
}

func TestWhatIsSealedIsReadByTheClient(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 0)
		var sealed []byte
		want := 0
		for _, n := range []int{1, 100, 16 << 10, 1 << 20} {
			var err error
			if sealed, err = d.conn.Seal(sealed, text(n)); err != nil {
				t.Fatal(err)
			}
			want += n
		}
		if over, records := len(sealed)-want, want/(16<<10)+4; over > 40*records {
			t.Errorf("%d bytes in at most %d records: %d more are sent, want 40 for each record", want, records, over)
		}
		go func() { // as a kernel takes it that takes a part each time
			for len(sealed) > 0 {
				n := min(len(sealed), 1999)
				d.send(sealed[:n])
				sealed = sealed[n:]
			}
		}()
		for _, n := range []int{1, 100, 16 << 10, 1 << 20} {
			got := make([]byte, n)
			if _, err := io.ReadFull(d.peer, got); err != nil || !bytes.Equal(got, text(n)) {
				t.Fatalf("%d bytes: %v, want what was sealed", n, err)
			}
		}
	})
}

func TestKeysChangeInBothDirections(t *testing.T) {
	t.Parallel()
	for _, portion := range portions {
		h := newByHand(t, tls.VersionTLS13, portion)
		for round := range 5 {
			h.changeKeys()
			h.send(23, text(50+round))
			if got := h.d.open(50 + round); h.d.err != nil || !bytes.Equal(got, text(50+round)) {
				t.Fatalf("behind a change of keys: got %d bytes (%v)", len(got), h.d.err)
			}
			kind, p := h.next()
			for ; kind == recordHandshake && p[0] == 4; kind, p = h.next() { // tickets
			}
			if kind != recordHandshake || !bytes.Equal(p, []byte{24, 0, 0, 1, 0}) {
				t.Fatalf("the client hears a record %d of %x, want that our keys have changed", kind, p)
			}
			h.in, h.inCount = label(h.in, "traffic upd", 32), 0
			sealed, err := h.d.conn.Seal(nil, text(70))
			if err != nil {
				t.Fatal(err)
			}
			h.d.send(sealed)
			if kind, p := h.next(); kind != 23 || !bytes.Equal(p, text(70)) {
				t.Fatalf("behind our change of keys the client hears a record %d of %d bytes", kind, len(p))
			}
		}
	}
}

func TestASessionIsResumed(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		s, config := newServer(), clientConfig(version)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for round := range 2 {
			d := begun(t, s, config, 0)
			sealed, _ := d.conn.Seal(nil, []byte("x")) // the client reads the ticket with it
			d.send(sealed)
			if _, err := io.ReadFull(d.peer, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if got := d.peer.ConnectionState().DidResume; got != (round == 1) {
				t.Errorf("connection %d: resumed is %v", round, got)
			}
		}
	})
}

func TestTheEndOfAClientIsSeenWhereverItComes(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, said := range []int{0, 1, 20_000} {
			for _, portion := range portions {
				d := begun(t, newServer(), clientConfig(version), portion)
				go func() {
					if said > 0 {
						d.peer.Write(text(said))
					}
					d.peer.CloseWrite()
				}()
				if got := d.open(said + 1); d.err != io.EOF || !bytes.Equal(got, text(said)) {
					t.Errorf("behind %d bytes, %d at a time: got %d and %v, want io.EOF", said, portion, len(got), d.err)
				}
				d.send(d.conn.CloseNotify(nil)) // our direction is still open
				if _, err := d.peer.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the client hears %v, want io.EOF", err)
				}
				if again := d.conn.CloseNotify(nil); len(again) > 0 {
					t.Errorf("a second close_notify has %d bytes", len(again))
				}
			}
		}
	})
}

func TestOurEndEndsNothingThatTheClientSays(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 0)
		d.send(d.conn.CloseNotify(nil))
		if _, err := d.peer.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the client hears %v, want io.EOF", err)
		}
		d.say(text(100))
		if got := d.open(100); d.err != nil || len(got) != 100 {
			t.Errorf("got %d bytes (%v), want 100", len(got), d.err)
		}
		if _, err := d.conn.Seal(nil, []byte("x")); err == nil {
			t.Error("Seal behind the end: got nil, want an error")
		}
	})
}

func TestAnotherHandshakeIsRefused(t *testing.T) {
	t.Parallel()
	h := newByHand(t, tls.VersionTLS12, 0)
	h.send(23, []byte("x")) // it can be read
	if got := h.d.open(1); string(got) != "x" {
		t.Fatalf("got %q (%v), want what was sent", got, h.d.err)
	}
	h.send(recordHandshake, h.d.hello[recordHeader:]) // its own hello again
	h.d.open(1)
	if h.d.err == nil || errors.Is(h.d.err, io.EOF) {
		t.Errorf("got %v, want an error", h.d.err)
	}
	if _, err := h.d.peer.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client hears %v, want an alert", err)
	}
}

func TestAMessageThatIsNoBusinessOfAClientIsNotGathered(t *testing.T) {
	t.Parallel()
	h := newByHand(t, tls.VersionTLS13, 0)
	h.send(recordHandshake, append([]byte{24, 0, 0xf0, 0}, make([]byte, messageBytesMax)...))
	h.d.open(1)
	if h.d.err != errMessage {
		t.Errorf("got %v, want %v", h.d.err, errMessage)
	}
}

func TestARecordThatIsNotGoodEndsTheConnection(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		for name, bad := range map[string][]byte{
			"not encrypted": {23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0},
			"too long":      {23, 3, 3, 0xff, 0xff},
			"no record":     []byte("GET / HTTP/1.1\r\n\r\n"),
		} {
			d := begun(t, newServer(), clientConfig(version), 0)
			d.peer.NetConn().Write(bad)
			if got := d.open(1); d.err == nil || errors.Is(d.err, io.EOF) || len(got) > 0 {
				t.Errorf("%s: got %q (%v), want an error", name, got, d.err)
			}
			if len(d.kit.Out) == 0 {
				t.Errorf("%s: nothing is said of it, want an alert", name)
			}
		}
	})
}

func TestAnIdleConnectionHoldsNoBuffer(t *testing.T) {
	t.Parallel()
	if rawInputAt == noBuffer || handAt == noBuffer {
		t.Fatal("crypto/tls keeps its buffers elsewhere: slim.go has to find them, or every idle connection keeps some kilobytes more")
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 0)
		look := func(when string) {
			if raw, hand := buffer(d.conn.tls, rawInputAt), buffer(d.conn.tls, handAt); raw.Cap() > 0 || hand.Cap() > 0 || d.conn.held != nil || d.conn.out != nil || d.conn.in != nil {
				t.Errorf("%s: buffers of %d, %d, %d, %d and %d bytes, want none", when, raw.Cap(), hand.Cap(), cap(d.conn.held), cap(d.conn.out), cap(d.conn.in))
			}
		}
		look("behind the handshake")
		d.say(text(100_000))
		d.open(100_000)
		look("behind large records")
	})
}

func TestReadingAndWritingAllocateNothing(t *testing.T) {
	eachVersionInTurn(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 0)
		var records [][]byte
		for range 200 { // in the order in which they were sealed
			d.say(text(200))
			records = append(records, <-d.chunks)
		}
		sealed := make([]byte, 0, 4096)
		message := text(200)
		n := 0
		allocs := testing.AllocsPerRun(100, func() {
			if plain, _, err := d.conn.Open(&d.kit, records[n]); err != nil || len(plain) != 200 {
				t.Fatalf("got %d bytes (%v)", len(plain), err)
			}
			n++
			var err error
			if sealed, err = d.conn.Seal(sealed[:0], message); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0.5 && !assert.Race { // with the detector crypto/tls's pool forgets what it was given
			t.Errorf("a record each way allocates %.1f times, want 0", allocs)
		}
	})
}

func eachVersionInTurn(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f(t, version)
	}
}

func TestAHandshakeThatIsGivenUpEndsItsGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newServer()
	var told []chan struct{}
	for range 50 {
		d := newDriven(t, s, clientConfig(tls.VersionTLS13), 0)
		go d.peer.Handshake()
		hello := <-d.chunks
		for KindOf(hello) != Hello {
			hello = append(hello, <-d.chunks...)
		}
		done := make(chan struct{}, 2)
		conn := s.Begin(hello, func() { done <- struct{}{} })
		<-done // it has answered, and waits for the client
		conn.Abort()
		conn.Abort()
		told = append(told, done)
		d.wire.Close()
		d.peer.NetConn().Close()
	}
	for _, done := range told {
		<-done
	}
	until(t, "goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	if n := len(s.places); n != 0 {
		t.Errorf("%d places are taken, want none", n)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestAConnectionThatHasLeftIsAnOrdinaryOne(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 0)
		all := text(50_000)
		d.say(all[:40_000])
		var got, behind []byte
		for len(got) == 0 { // the first record; what has come behind it is not opened
			chunk := <-d.chunks
			plain, rest, err := d.conn.Open(&d.kit, chunk)
			if err != nil && !errors.Is(err, ErrMore) {
				t.Fatal(err)
			}
			got, behind = append(got, plain...), bytes.Clone(rest)
		}
		real := &fed{Conn: d.wire, chunks: d.chunks}
		conn := d.conn.Leave(real, behind)
		if conn.RemoteAddr() != d.wire.RemoteAddr() {
			t.Errorf("it is from %v, want %v", conn.RemoteAddr(), d.wire.RemoteAddr())
		}
		rest := make([]byte, 40_000-len(got))
		if _, err := io.ReadFull(conn, rest); err != nil || !bytes.Equal(append(got, rest...), all[:40_000]) {
			t.Fatalf("got %d bytes (%v), want what was sent", len(rest), err)
		}
		d.say(all[40_000:])
		rest = make([]byte, 10_000)
		if _, err := io.ReadFull(conn, rest); err != nil || !bytes.Equal(rest, all[40_000:]) {
			t.Fatalf("behind it: %v", err)
		}
		go func() {
			conn.Write(all)
			conn.Close()
		}()
		if heard, err := io.ReadAll(d.peer); err != nil || !bytes.Equal(heard, all) {
			t.Errorf("the client hears %d bytes (%v), want %d and the end", len(heard), err, len(all))
		}
	})
}

// fed is a socket whose bytes are read by the test.
type fed struct {
	net.Conn
	chunks chan []byte
	rest   []byte
}

func (f *fed) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		var ok bool
		if f.rest, ok = <-f.chunks; !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
