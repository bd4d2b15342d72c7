package client

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Fleet is the clients of one process, spread over generators. Owner: the goroutine that made it, which hands each generator
// to a thread for the length of a phase.
type Fleet struct {
	generators []*Generator
	clients    int         // that have a seat, here or in another process
	halt       atomic.Bool // phases end
	release    func() bool
}

// Seat is what one client of a plan does: in which group, as which of its members (or NotMember), on which thread (or
// Elsewhere).
type Seat struct {
	Group, Member, Thread int

	Sends bool // it is no member and publishes: in a dialect whose senders join, to the groups of Roster.Sends
}

const (
	// NotMember is the place of a client that joins no group.
	NotMember = -1
	// Elsewhere is the thread of a client of another process: here it only has a number.
	Elsewhere = -1
)

// Roster is what a generator must know of groups to join clients to them.
type Roster struct {
	Name   func(group int) string // on the wire
	Number func(name string) int  // of the group with a name; NoGroup if there is none
	Joins  int                    // of each member
	Group  func(first, j int) int // the group of join number j of a client, whose join 0 is to group first
	Sends  func(number int) []int // the groups to which a client publishes that is no member; nil: there is none

	Probe    *Probe        // proves joins; nil: the reply to each does
	Patience time.Duration // beside Timeout, whichever is longer
}

// Probe proves a join by a message to the group that the client then receives; it works with any server.
type Probe struct {
	Text func(group int, now int64) []byte      // a message that is a probe of the group; it needs no JSON escapes
	Read func(text []byte) (group int, ok bool) // which group's probe a text is, or that it is none
}

// until is when a client that is waiting since a given time is given up.
func (r *Roster) until(asked int64) int64 { return asked + int64(max(Timeout, r.Patience)) }

// ErrHalted says that a phase was halted before its end.
var ErrHalted = errors.New("halted")

// NewFleet makes a fleet with so many threads and gives its clients their seats. It is halted when ctx ends.
func NewFleet(ctx context.Context, t Target, threads int, seats []Seat, r Roster) (*Fleet, error) {
	f := &Fleet{}
	f.release = context.AfterFunc(ctx, func() { f.halt.Store(true) })
	for range threads {
		g, err := newGenerator(t, r, &f.halt)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.generators = append(f.generators, g)
	}
	f.Seat(seats)
	return f, nil
}

// Seat adds clients, which the next phase with Open connects. They are numbered consecutively.
func (f *Fleet) Seat(seats []Seat) {
	first := f.clients
	f.clients += len(seats)
	for n, s := range seats {
		if s.Thread == Elsewhere {
			continue
		}
		g := f.generators[s.Thread]
		g.conns = append(g.conns, Conn{fd: -1, Number: int32(first + n), At: int32(len(g.conns)), Group: int32(s.Group), Member: int32(s.Member), sends: s.Sends})
	}
}

// Divide makes this fleet one of several processes, which together begin no more clients at a time than a single one does,
// and whose generators can be woken by Ring.
func (f *Fleet) Divide(processes int) error {
	for _, g := range f.generators {
		g.pendings = max(1, pendingMax/(processes*len(f.generators)))
		if err := g.hangBell(); err != nil {
			return err
		}
	}
	return nil
}

// Phase runs one step on every generator, each on a thread of its own, and returns when all are done, or ErrHalted. On
// each thread meter is called before the step, and the function that it returns afterwards: only on the thread itself can
// its times be read.
func (f *Fleet) Phase(steps func(*Generator) Step, meter func(thread int) (over func())) error {
	errs := make([]error, len(f.generators))
	var all sync.WaitGroup
	for i, g := range f.generators {
		all.Go(func() {
			runtime.LockOSThread() // so that the thread's own times are the generator's
			defer runtime.UnlockOSThread()
			defer meter(i)()
			errs[i] = g.run(steps(g))
		})
	}
	all.Wait()
	if f.halt.Load() {
		return ErrHalted
	}
	return errors.Join(errs...)
}

// Halt ends the running phase and all later ones. Any goroutine.
func (f *Fleet) Halt() {
	f.halt.Store(true)
	f.Ring()
}

// Ring wakes all generators of a fleet that was divided. Any goroutine.
func (f *Fleet) Ring() {
	for _, g := range f.generators {
		g.Ring()
	}
}

// Generators are those of the fleet, by thread.
func (f *Fleet) Generators() []*Generator { return f.generators }

// Size is how many clients have a seat, including those of other processes.
func (f *Fleet) Size() int { return f.clients }

// OpeningSpan is from the first connect of the last Open to the last proof of a join.
func (f *Fleet) OpeningSpan() (first, last int64) {
	for i, g := range f.generators {
		if i == 0 || g.opening.firstAt < first {
			first = g.opening.firstAt
		}
		last = max(last, g.opening.lastAt)
	}
	return first, last
}

// Joined is how many clients are ready now. Any goroutine.
func (f *Fleet) Joined() (n int64) {
	for _, g := range f.generators {
		n += g.Joined()
	}
	return n
}

// Failed is how many clients could not connect or join, or were cut off. Any goroutine.
func (f *Fleet) Failed() (n int64) {
	for _, g := range f.generators {
		n += g.Failed()
	}
	return n
}

// Pings is the number of the server's pings that were answered.
func (f *Fleet) Pings() (n uint64) {
	for _, g := range f.generators {
		n += g.pings
	}
	return n
}

// Causes are why clients failed or were cut off, and how many for each cause.
func (f *Fleet) Causes() map[string]int {
	all := map[string]int{}
	for _, g := range f.generators {
		for cause, n := range g.causes {
			all[cause] += n
		}
	}
	return all
}

// Close ends all connections with a close frame.
func (f *Fleet) Close() {
	f.release()
	for _, g := range f.generators {
		g.close()
	}
}
