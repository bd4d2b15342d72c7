package loop

import (
	"net"
	"path/filepath"
	"testing"
)

// Another server can have the addresses, and a stop that comes later touches none of what is then the other's.
func TestAServerThatHasGivenUpItsAddressesServesItsClientsOn(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	listen := []string{"127.0.0.1:0", "unix:" + path}
	s, err := Start(Config{Loops: 2, Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	p := joinAll(t, s, 1)[0]
	s.GiveUp()
	s.GiveUp()
	listen[0] = s.Addr().String()
	next, err := Start(Config{Loops: 2, Listen: listen})
	if err != nil {
		t.Fatalf("a server on the addresses that were given up: got %v, want that it starts", err)
	}
	defer func() { next.Stop(within(t), nil) }()
	port, err := s.Hub().NewPort()
	if err != nil {
		t.Fatal(err)
	}
	if err := offer(port, "g", []byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := p.next(); m != "still" || err != nil {
		t.Errorf("a client of the server that has given up: got %q, %v, want what is published", m, err)
	}
	p.conn.Close()
	if err := s.Stop(within(t), nil); err != nil {
		t.Errorf("Stop afterwards: got %v, want nil", err)
	}
	s.GiveUp()
	for _, a := range next.Addrs() {
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Errorf("%v after the first server's end: got %v, want that the next one has it", a, err)
			continue
		}
		c.Close()
	}
}

func TestAServerThatWasNeverOpenGivesUpItsAddresses(t *testing.T) {
	s, err := Boot(Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.GiveUp()
	l, err := net.Listen("tcp", s.Addr().String())
	if err != nil {
		t.Errorf("its address: got %v, want it free", err)
	} else {
		l.Close()
	}
	if err := s.LetIn(); err == nil {
		t.Error("LetIn afterwards: got nil, want an error")
	}
	if err := s.Stop(within(t), nil); err != nil {
		t.Errorf("Stop: got %v, want nil", err)
	}
}
