package main

import "sync"

// registry finds groups by name.
type registry struct {
	mu     sync.RWMutex
	groups map[string]*group
}

// group is the members of a name. Its lock is held while a message is handed to all of them, so that all see all
// messages in one order.
type group struct {
	name    string
	mu      sync.Mutex
	members []*client       // a slice, because every message walks over it
	seats   map[*client]int // their places in it, to leave without a search
	gone    bool            // it was empty and left the registry

	// Batch form: the frames of messages that no pass has handed out yet.
	waiting struct {
		mu     sync.Mutex
		frames []byte
		passes bool // a goroutine is at it
	}
}

func (r *registry) find(name string) *group {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.groups[name]
}

func (r *registry) join(name string, c *client) *group {
	for {
		g := r.find(name)
		if g == nil {
			r.mu.Lock()
			if g = r.groups[name]; g == nil {
				g = &group{name: name, seats: map[*client]int{}}
				r.groups[name] = g
			}
			r.mu.Unlock()
		}
		if g.add(c) {
			return g
		}
	}
}

// add fails when the group went away between being found and being locked.
func (g *group) add(c *client) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return false
	}
	g.pass() // what was sent before is not for the new member
	g.seats[c] = len(g.members)
	g.members = append(g.members, c)
	return true
}

func (r *registry) leave(g *group, c *client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass() // what was sent before is still for the member
	seat, last := g.seats[c], len(g.members)-1
	g.members[seat] = g.members[last]
	g.seats[g.members[seat]] = seat
	g.members[last] = nil
	g.members = g.members[:last]
	delete(g.seats, c)
	if last == 0 {
		g.gone = true
		r.mu.Lock()
		delete(r.groups, g.name)
		r.mu.Unlock()
	}
}

// send is the batch form's way to all members: the frame joins what waits, and a pass of its own goroutine hands all
// of that to each member at once. While a pass walks over the members, what is sent meanwhile gathers for the next.
func (g *group) send(frame []byte) {
	w := &g.waiting
	w.mu.Lock()
	w.frames = append(w.frames, frame...)
	start := !w.passes
	w.passes = true
	w.mu.Unlock()
	if start {
		go g.passAll()
	}
}

func (g *group) passAll() {
	for {
		g.mu.Lock()
		g.pass()
		g.mu.Unlock()
		g.waiting.mu.Lock()
		over := len(g.waiting.frames) == 0
		g.waiting.passes = !over
		g.waiting.mu.Unlock()
		if over {
			return
		}
	}
}

// pass hands what waits to every member. All of them share the bytes. The group's lock is held.
func (g *group) pass() {
	g.waiting.mu.Lock()
	frames := g.waiting.frames
	g.waiting.frames = nil
	g.waiting.mu.Unlock()
	if len(frames) == 0 {
		return
	}
	for _, c := range g.members {
		c.push(frames)
	}
}
