package main

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// hub is what the loops share: which loops have members of which group, and what waits for each loop.
type hub struct {
	loops []*loop

	mu      sync.Mutex
	groups  map[string]*group
	inboxes [][]item // per loop
	woken   []bool   // per loop: it was woken for its inbox
}

// group knows where its members are.
type group struct {
	rooms []*room // per loop, nil where it has no members
	homes int     // loops that have members
}

// item is a message for the members of a room.
type item struct {
	room  *room
	frame []byte
}

func (h *hub) start(loops int, batch bool) error {
	h.inboxes = make([][]item, loops)
	h.woken = make([]bool, loops)
	for i := range loops {
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("epoll_create", err)
		}
		bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("eventfd", err)
		}
		l := &loop{hub: h, index: i, batch: batch, epoll: epoll, bell: bell, rooms: map[string]*room{}}
		if err := l.watch(unix.EPOLL_CTL_ADD, bell, unix.EPOLLIN); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
		h.loops = append(h.loops, l)
	}
	for _, l := range h.loops {
		go l.run()
	}
	return nil
}

// settle tells the hub whether a loop has a room of a group.
func (h *hub) settle(l *loop, name string, r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[name]
	if g == nil {
		g = &group{rooms: make([]*room, len(h.loops))}
		h.groups[name] = g
	}
	g.rooms[l.index] = r
	if r != nil {
		g.homes++
	} else if g.homes--; g.homes == 0 {
		delete(h.groups, name)
	}
}

// exchange passes on what a loop's clients sent and fetches what waits for the loop, which is in one order for all loops
// because the lock is held over all inboxes.
func (h *hub) exchange(l *loop, said []message, emptied []item) (inbox []item) {
	var wake uint64 // bits of loops
	h.mu.Lock()
	for _, m := range said {
		g := h.groups[m.group]
		if g == nil {
			continue
		}
		for i, r := range g.rooms {
			if r == nil {
				continue
			}
			h.inboxes[i] = append(h.inboxes[i], item{r, m.frame})
			if i != l.index && !h.woken[i] {
				h.woken[i] = true
				wake |= 1 << (i % 64)
			}
		}
	}
	inbox, h.inboxes[l.index], h.woken[l.index] = h.inboxes[l.index], emptied, false
	h.mu.Unlock()
	for i := range h.loops {
		if wake&(1<<(i%64)) != 0 {
			h.loops[i].wake()
		}
	}
	return inbox
}
