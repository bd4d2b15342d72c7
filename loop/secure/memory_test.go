package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// What idle connections hold, and what panics in crypto/tls cost.

// inputOf is how much of a record crypto/tls still refers to.
func inputOf(t *testing.T, c *tls.Conn) int {
	t.Helper()
	f, ok := reflect.TypeFor[tls.Conn]().FieldByName("input")
	if !ok {
		t.Fatal("crypto/tls keeps what it has decrypted elsewhere: slim.go has to find it, or idle connections keep their last record")
	}
	return reflect.NewAt(reflect.TypeFor[bytes.Reader](), unsafe.Add(unsafe.Pointer(c), f.Offset)).Elem().FieldByName("s").Cap()
}

// A record that has come in parts was kept in memory of its own, and its plaintext lies in there.
func TestARecordThatCameInPartsIsNotKeptWhenItWasOpened(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, version uint16) {
		d := begun(t, newServer(), clientConfig(version), 5000)
		d.say(text(16_000))
		d.open(16_000)
		if n := inputOf(t, d.conn.tls); n > 0 {
			t.Errorf("%d bytes are kept of what was opened, want none", n)
		}
	})
}

// What comes while the handshake is under way is kept as a whole; its end, of which more has to come, must not hold all of it.
func TestTheStartOfARecordHoldsNoMoreThanIsCounted(t *testing.T) {
	t.Parallel()
	c := &Conn{}
	c.held = append(make([]byte, 0, 1<<20), 23, 3, 3, 0, 10)
	c.held = append(c.held, make([]byte, 10)...)
	c.held = append(c.held, 23, 3, 3, 0, 100, 1, 2, 3)
	if record, _ := c.next(nil); len(record) != 15 {
		t.Fatalf("got a record of %d bytes, want 15", len(record))
	}
	if record, _ := c.next(nil); record != nil || c.Held() > 64 {
		t.Errorf("got a record of %d bytes, and %d are held of 8, want none and few", len(record), c.Held())
	}
}

func TestAPanicInAHandshakeIsItsEndAlone(t *testing.T) {
	t.Parallel()
	s := NewServer(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("no certificate") }}, 1)
	for range 3 { // the place is given back
		d := newDriven(t, s, clientConfig(tls.VersionTLS13), 0)
		go d.peer.Handshake()
		var p *Panicked
		if err := d.shake(); !errors.As(err, &p) || p.Value != "no certificate" || !strings.Contains(p.Stack, "crypto/tls") {
			t.Errorf("got %v, want the panic, and where it was", err)
		}
		d.wire.Close()
	}
}
