package api

import (
	"net"
	"sync"
)

// fed is a listener whose connections somebody gives it.
//
// Owner: any goroutine.
type fed struct {
	conns chan net.Conn
	over  chan struct{}
	end   func()
}

func newFed() *fed {
	over := make(chan struct{})
	return &fed{conns: make(chan net.Conn), over: over, end: sync.OnceFunc(func() { close(over) })}
}

// give has Accept return a connection; false: the listener is closed, and the connection is still the caller's.
func (l *fed) give(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.over:
		return false
	}
}

// Accept is part of net.Listener.
func (l *fed) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (l *fed) Close() error {
	l.end()
	return nil
}

// Addr is part of net.Listener; the connections have addresses of their own.
func (l *fed) Addr() net.Addr { return &net.UnixAddr{} }
