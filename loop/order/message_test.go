package order

import (
	"testing"

	"ringcast/dialect"
)

// slowDialect is at work on a message until it is let go.
type slowDialect struct {
	dialect.Plain
	begun, end chan struct{}
	made       int
}

func (d *slowDialect) Encode(m *dialect.Message) []byte {
	d.made++
	d.begun <- struct{}{}
	<-d.end
	return m.Frame()
}

func TestAFormIsMadeOnceAndNobodyWaitsForIt(t *testing.T) {
	m, _ := NewMessage([]byte("g"), []byte("x"), nil, false)
	d := &slowDialect{begun: make(chan struct{}), end: make(chan struct{})}
	made := make(chan []byte)
	go func() {
		p, _ := m.In(1, d)
		made <- p
	}()
	<-d.begun
	if p, ready := m.In(1, d); ready {
		t.Errorf("while another loop makes the form: got %q, want none yet", p)
	}
	close(d.end)
	want := <-made
	if p, ready := m.In(1, d); !ready || &p[0] != &want[0] || d.made != 1 {
		t.Errorf("got %q, ready %v, made %d times, want the one that was made", p, ready, d.made)
	}
}

// What a dialect panics over is lost to its clients, and holds up nobody.
func TestAFormThatPanicsIsNotWaitedFor(t *testing.T) {
	m, _ := NewMessage([]byte("g"), []byte("x"), nil, false)
	func() {
		defer func() { recover() }()
		m.In(1, nil)
	}()
	if p, ready := m.In(1, nil); !ready || len(p) != 0 {
		t.Errorf("got %q, ready %v, want nothing, and no waiting", p, ready)
	}
}
