package common

import "sync"

// Member is a client, as its groups see it.
type Member interface {
	comparable
	Push(frames []byte) // queues whole frames; only in the batch form. The bytes are shared
}

// Groups are those that a client is a member of, by name. Owner: the code that reads from the client.
type Groups[M Member] map[string]*Group[M]

// Registry finds groups by name.
type Registry[M Member] struct {
	mu     sync.RWMutex
	groups map[string]*Group[M]
}

// NewRegistry makes an empty registry.
func NewRegistry[M Member]() *Registry[M] { return &Registry[M]{groups: map[string]*Group[M]{}} }

// Do carries out a client's command, except sending: the group to send to is returned with the message, and the caller sends
// it as its form demands. answer is nil if there is none; it is sent after the message.
func (r *Registry[M]) Do(m M, groups Groups[M], text []byte) (to *Group[M], message string, answer []byte) {
	cmd, err := Parse(text)
	if err != nil {
		return nil, "", cmd.Answer(err)
	}
	g := groups[cmd.Group]
	switch {
	case cmd.Cmd == "add_group" && g == nil:
		groups[cmd.Group] = r.join(cmd.Group, m)
	case cmd.Cmd == "leave_group" && g != nil:
		r.leave(g, m)
		delete(groups, cmd.Group)
	case cmd.Cmd == "send_to_group":
		to, message = r.find(cmd.Group), *cmd.Message
	}
	return to, message, cmd.Answer(nil)
}

// LeaveAll is for a client that is gone.
func (r *Registry[M]) LeaveAll(m M, groups Groups[M]) {
	for _, g := range groups {
		r.leave(g, m)
	}
}

// Group is the members of one group. Its lock is held while a message is handed to all of them, so that all see all messages
// in one order.
type Group[M Member] struct {
	name    string
	mu      sync.Mutex
	members []M       // a slice, because it is walked for every message
	seats   map[M]int // their places in it, to leave without a search
	gone    bool      // it was empty and left the registry

	// Batch form: the frames of messages that no pass has handed out yet.
	waiting struct {
		mu     sync.Mutex
		frames []byte
		passes bool // a goroutine is doing passes
	}
}

func (r *Registry[M]) find(name string) *Group[M] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.groups[name]
}

func (r *Registry[M]) join(name string, m M) *Group[M] {
	for {
		g := r.find(name)
		if g == nil {
			r.mu.Lock()
			if g = r.groups[name]; g == nil {
				g = &Group[M]{name: name, seats: map[M]int{}}
				r.groups[name] = g
			}
			r.mu.Unlock()
		}
		if g.add(m) {
			return g
		}
	}
}

// add fails if the group was removed between being found and being locked.
func (g *Group[M]) add(m M) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return false
	}
	g.pass() // earlier messages are not for the new member
	g.seats[m] = len(g.members)
	g.members = append(g.members, m)
	return true
}

func (r *Registry[M]) leave(g *Group[M], m M) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass() // earlier messages are still for the member
	seat, last := g.seats[m], len(g.members)-1
	g.members[seat] = g.members[last]
	g.seats[g.members[seat]] = seat
	clear(g.members[last:])
	g.members = g.members[:last]
	delete(g.seats, m)
	if last == 0 {
		g.gone = true
		r.mu.Lock()
		delete(r.groups, g.name)
		r.mu.Unlock()
	}
}

// Each sends to all members in the usual form. f is finished with a message before the next one.
func (g *Group[M]) Each(f func(M)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		f(m)
	}
}

// Send sends to all members in the batch form: the frame is added to those that wait, and a pass in its own goroutine hands
// all of them to each member at once. Frames that are sent during a pass gather for the next.
func (g *Group[M]) Send(frame []byte) {
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

func (g *Group[M]) passAll() {
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
func (g *Group[M]) pass() {
	g.waiting.mu.Lock()
	frames := g.waiting.frames
	g.waiting.frames = nil
	g.waiting.mu.Unlock()
	if len(frames) == 0 {
		return
	}
	for _, m := range g.members {
		m.Push(frames)
	}
}
