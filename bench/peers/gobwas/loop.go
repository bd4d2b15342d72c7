package main

import (
	"bytes"
	"os"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

const (
	eventsMax = 1 << 10
	readBytes = 64 << 10
)

// loop is an epoll loop. It owns its fields, its connections and its rooms.
type loop struct {
	hub         *hub
	index       int
	batch       bool
	epoll, bell int

	conns []*conn          // by descriptor
	rooms map[string]*room // that have members here

	// Of this turn.
	said    []message // by its clients, not handed to the hub yet
	inbox   []item
	talking []*room // that have something in words
	due     []*conn // that have something pending
	dead    []*conn

	// Scratch memory.
	input  [readBytes]byte
	output []byte
	reader bytes.Reader
	head   [ws.MaxHeaderSize]byte
}

// message is a frame that a client of this loop sent to a group.
type message struct {
	group string
	frame []byte
}

// room is the members of a group on one loop.
type room struct {
	name    string
	members []*conn
	words   []byte // batch form: the frames of this turn
}

func (l *loop) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Fd: int32(fd), Events: events})
}

var ring = []byte{1, 0, 0, 0, 0, 0, 0, 0} // any number wakes the loop

func (l *loop) wake() { unix.Write(l.bell, ring) }

func (l *loop) run() {
	events := make([]unix.EpollEvent, eventsMax)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err))
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.bell {
				unix.Read(l.bell, l.head[:8])
				continue
			}
			c := l.conn(int(e.Fd))
			if e.Events&unix.EPOLLOUT != 0 {
				c.drain()
			}
			if e.Events&^unix.EPOLLOUT != 0 {
				c.read()
			}
		}
		l.deliver()
		l.bury()
	}
}

// conn finds the connection of a descriptor, or makes one for a new descriptor. Descriptors are closed at the end of a turn
// only, so no event of a turn is for another connection.
func (l *loop) conn(fd int) *conn {
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	if l.conns[fd] == nil {
		l.conns[fd] = &conn{loop: l, fd: fd, state: ws.StateServerSide, rooms: map[*room]int{}}
	}
	return l.conns[fd]
}

// deliver passes on what clients sent and writes what came in. It runs at the end of a turn and before each change of a
// membership, so that a message goes to those that were members when it was sent.
func (l *loop) deliver() {
	inbox := l.hub.exchange(l, l.said, l.inbox[:0])
	clear(l.said)
	l.said = l.said[:0]
	for _, it := range inbox {
		if !l.batch {
			for _, c := range it.room.members {
				c.write(it.frame)
			}
			continue
		}
		if len(it.room.words) == 0 {
			l.talking = append(l.talking, it.room)
		}
		it.room.words = append(it.room.words, it.frame...)
	}
	clear(inbox)
	l.inbox = inbox
	for _, r := range l.talking {
		for _, c := range r.members {
			c.queue(r.words)
		}
	}
	for _, c := range l.due {
		c.flush()
	}
	clear(l.due)
	l.due = l.due[:0]
	for _, r := range l.talking {
		r.words = r.words[:0] // no connection refers to them any more
	}
	clear(l.talking)
	l.talking = l.talking[:0]
}

// bury closes the connections that ended in this turn.
func (l *loop) bury() {
	for _, c := range l.dead {
		for r := range c.rooms {
			c.leave(r)
		}
		l.conns[c.fd] = nil
		unix.Close(c.fd)
	}
	clear(l.dead)
	l.dead = l.dead[:0]
}
