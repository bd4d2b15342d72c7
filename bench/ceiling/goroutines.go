package ceiling

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// How TLS is usually served in Go: a goroutine that reads for each connection, and one that writes for as long as there is something to
// write. It is no ceiling, as Go offers TLS in no other way and nobody knows the least that it costs: it is what servers with TLS are
// compared with. It speaks the seed protocol alone.

// goroutines is the server. Any goroutine.
type goroutines struct {
	mu     sync.Mutex
	groups map[string]*audience
}

// audience is the members of a group. Its lock is held while a message is handed to all, so that all see one order.
type audience struct {
	mu      sync.Mutex
	members map[*talker]bool
}

// talker is one connection.
type talker struct {
	conn net.Conn

	mu      sync.Mutex
	waiting [][]byte
	writes  bool // a goroutine writes

	joined map[string]*audience // owner: the goroutine that reads
}

// ServeTLS serves TLS with a certificate that it signs itself, calls ready with the address that it got, and returns when accepting fails.
func ServeTLS(addr netip.AddrPort, ready func(netip.AddrPort)) error {
	certificate, err := SelfSigned()
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", addr.String(), &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	ready(listener.Addr().(*net.TCPAddr).AddrPort())
	s := &goroutines{groups: map[string]*audience{}}
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			go s.serve(&talker{conn: conn, joined: map[string]*audience{}})
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			time.Sleep(time.Millisecond) // until a client has gone: nothing else tells when a descriptor is free
		default:
			return err
		}
	}
}

// SelfSigned is a certificate for loopback that lasts a day, of the kind that is the cheapest for a server.
func SelfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{{127, 0, 0, 1}, net.IPv6loopback}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}, nil
}

const (
	talkerReadBytes  = 4 << 10
	talkerFrameBytes = 128 << 10 // of what a client may send
)

func (s *goroutines) serve(t *talker) {
	defer t.conn.Close()
	defer s.leaveAll(t)
	in := bufio.NewReaderSize(t.conn, talkerReadBytes)
	request := []byte{}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil || len(request) > talkerReadBytes {
			return
		}
		if request = append(request, line...); len(line) == 2 {
			break
		}
	}
	answer := upgrade(request, false)
	if answer == nil {
		return
	}
	t.push(answer)
	var partial []byte
	for {
		if _, err := in.Peek(1); err != nil {
			return
		}
		got, _ := in.Peek(in.Buffered())
		partial = append(partial, got...)
		_, _ = in.Discard(len(got)) // they are buffered
		used := 0
		for {
			op, payload, size := frame(partial[used:])
			if size == 0 {
				break
			}
			used += size
			switch op & opBits {
			case opText:
				s.command(t, payload)
			case opPing:
				t.push(append([]byte{fin | opPong, byte(len(payload))}, payload...))
			case opClose:
				return
			}
		}
		if partial = append(partial[:0], partial[used:]...); len(partial) > talkerFrameBytes {
			return
		}
		if len(partial) == 0 && cap(partial) > talkerReadBytes {
			partial = nil
		}
	}
}

// push gives frames to the goroutine that writes, and starts it if there is none. Frames are shared and not changed.
func (t *talker) push(frames []byte) {
	t.mu.Lock()
	t.waiting = append(t.waiting, frames)
	start := !t.writes
	t.writes = true
	t.mu.Unlock()
	if start {
		go t.write()
	}
}

func (t *talker) write() {
	var joined []byte
	for {
		t.mu.Lock()
		waiting := t.waiting
		t.waiting = nil
		t.writes = len(waiting) > 0
		t.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		b := waiting[0]
		if len(waiting) > 1 { // one record in place of several
			joined = joined[:0]
			for _, frames := range waiting {
				joined = append(joined, frames...)
			}
			b = joined
		}
		if _, err := t.conn.Write(b); err != nil {
			t.conn.Close() // ends the reading
			return
		}
	}
}

// command does what server.command does.
func (s *goroutines) command(t *talker, text []byte) {
	name := string(field(text, `"group_id":"`, '"'))
	if message := field(text, `"message":"`, '"'); message != nil {
		a := s.audience(name)
		frame := appendText(nil, message)
		a.mu.Lock()
		defer a.mu.Unlock()
		for member := range a.members {
			member.push(frame)
		}
		return
	}
	if a := s.audience(name); bytes.Contains(text, []byte(`"add_group"`)) {
		t.joined[name] = a
		a.mu.Lock()
		a.members[t] = true
		a.mu.Unlock()
	} else {
		delete(t.joined, name)
		a.leave(t)
	}
	if id := field(text, `"id":`, '}'); id != nil {
		t.push(appendText(nil, append(append([]byte(`{"id":`), id...), `,"ok":true}`...)))
	}
}

func (s *goroutines) audience(name string) *audience {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.groups[name]
	if a == nil {
		a = &audience{members: map[*talker]bool{}}
		s.groups[name] = a
	}
	return a
}

func (a *audience) leave(t *talker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.members, t)
}

func (s *goroutines) leaveAll(t *talker) {
	for _, a := range t.joined {
		a.leave(t)
	}
}
