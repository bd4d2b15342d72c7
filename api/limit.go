package api

import (
	"net"
	"sync"
)

// limited is a listener that accepts a bounded number of connections at a time and leaves the rest in the kernel's queue.
type limited struct {
	net.Listener
	room chan struct{}
	over chan struct{}
	end  func()
}

func limit(l net.Listener, most int) *limited {
	over := make(chan struct{})
	return &limited{l, make(chan struct{}, most), over, sync.OnceFunc(func() { close(over) })}
}

// Accept is part of net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.over:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{c, sync.OnceFunc(func() { <-l.room })}, nil
}

// Close is part of net.Listener.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

// counted releases its place when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close is part of net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
