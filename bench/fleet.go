package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/bench/report"
)

// Proofs of a join, as --join-proof has them.
const (
	proofReply = "reply"
	proofProbe = "probe"
)

// fleet is all clients of a run, spread over the generators. Owner: the verb's goroutine, which hands each generator to
// a thread for the length of a phase.
type fleet struct {
	generators []*generator
	clients    int         // of all processes
	share      share       // which of them are here; none said: all
	helpers    *helpers    // the other processes; nil in one of one process, and in a helper
	halt       atomic.Bool // the operator has had enough
	release    func() bool
}

// seat is what one client of the plan does: in which group, as which of its members (or notMember), on which thread.
type seat struct{ group, member, thread int }

// roster is what a generator must know of groups to join them.
type roster struct {
	name  func(group int) string // on the wire
	joins int                    // of each member
	group func(first, j int) int // the group of join number j of a client, whose join 0 is to group first

	patience time.Duration // beside clientTimeout, whichever is longer
}

// until is when a client that asked for something at a time is given up.
func (r *roster) until(asked int64) int64 { return asked + int64(max(clientTimeout, r.patience)) }

func newFleet(ctx context.Context, t target, proof string, threads int, seats []seat, r roster) (*fleet, error) {
	f := &fleet{}
	f.release = context.AfterFunc(ctx, func() { f.halt.Store(true) })
	for range threads {
		g, err := newGenerator(t, proof, r, &f.halt)
		if err != nil {
			f.close()
			return nil, err
		}
		f.generators = append(f.generators, g)
	}
	f.seat(seats)
	return f, nil
}

// seat adds clients, for the next open to bring in.
func (f *fleet) seat(seats []seat) {
	first := f.clients
	f.clients += len(seats)
	for n, s := range seats {
		if s.thread == elsewhere {
			continue
		}
		g := f.generators[s.thread]
		g.conns = append(g.conns, conn{fd: -1, number: int32(first + n), at: int32(len(g.conns)), group: int32(s.group), member: int32(s.member)})
	}
}

// phase runs one step on every generator, each on a thread of its own, and returns when all are done, with what each
// thread consumed meanwhile.
func (f *fleet) phase(steps func(*generator) step) ([]report.Thread, error) {
	uses, errs := make([]report.Thread, len(f.generators)), make([]error, len(f.generators))
	var all sync.WaitGroup
	for i, g := range f.generators {
		all.Go(func() {
			runtime.LockOSThread() // so that the thread's own times are the generator's
			defer runtime.UnlockOSThread()
			before := readThread()
			errs[i] = g.run(steps(g))
			uses[i] = readThread().Since(before)
		})
	}
	all.Wait()
	if err := f.helpers.failure(); err != nil {
		return uses, err
	}
	if f.halt.Load() {
		return uses, errInterrupted
	}
	return uses, errors.Join(errs...)
}

// open brings all clients that are not there yet to ready. Clients that fail are counted by cause, they are no error of this function.
func (f *fleet) open() ([]report.Thread, error) {
	f.helpers.tell(told{Do: doOpen})
	uses, err := f.phase((*generator).open)
	if err != nil {
		return uses, err
	}
	more, err := f.helpers.opened()
	return append(uses, more...), err
}

// hold keeps the clients for so long and answers pings.
func (f *fleet) hold(d time.Duration) error {
	until := clock() + int64(d)
	_, err := f.phase(func(*generator) step {
		return func(now int64) (int64, bool) { return until, now >= until }
	})
	return err
}

// openingTime is from the first connect to the last proof of a join.
func (f *fleet) openingTime() time.Duration {
	first, last := f.openingSpan()
	return time.Duration(max(0, last-first))
}

func (f *fleet) openingSpan() (first, last int64) {
	for i, g := range f.generators {
		if i == 0 || g.opening.firstAt < first {
			first = g.opening.firstAt
		}
		last = max(last, g.opening.lastAt)
	}
	for _, h := range f.helpers.list() {
		first, last = min(first, h.opening.FirstAt), max(last, h.opening.LastAt)
	}
	return first, last
}

func (f *fleet) openingTally() tally {
	return tally{done: f.joined(), rated: f.joined(), errors: f.failed()}
}

func (f *fleet) joined() (n int64) {
	for _, g := range f.generators {
		n += g.joined.Load()
	}
	for _, h := range f.helpers.list() {
		n += h.joined.Load()
	}
	return n
}

func (f *fleet) failed() (n int64) {
	for _, g := range f.generators {
		n += g.failed.Load()
	}
	for _, h := range f.helpers.list() {
		n += h.failed.Load()
	}
	return n
}

func (f *fleet) delivered() (n int64) {
	for _, g := range f.generators {
		n += g.delivered.Load()
	}
	for _, h := range f.helpers.list() {
		n += h.delivered.Load()
	}
	return n
}

// p99 is the worst of the generators', in nanoseconds; 0 while nothing was measured.
func (f *fleet) p99() (worst int64) {
	for _, g := range f.generators {
		worst = max(worst, g.p99.Load())
	}
	for _, h := range f.helpers.list() {
		worst = max(worst, h.p99.Load())
	}
	return worst
}

func (f *fleet) size() int { return f.clients }

func (f *fleet) pings() (n uint64) {
	for _, g := range f.generators {
		n += g.pings
	}
	for _, h := range f.helpers.list() {
		n += h.pings
	}
	return n
}

// causes returns why clients failed or were cut off, and how many for each cause.
func (f *fleet) causes() map[string]int {
	all := map[string]int{}
	for _, g := range f.generators {
		for cause, n := range g.causes {
			all[cause] += n
		}
	}
	for _, h := range f.helpers.list() {
		for cause, n := range h.opening.Causes {
			all[cause] += n
		}
	}
	return all
}

func (f *fleet) close() {
	f.release()
	defer f.helpers.close()
	for _, g := range f.generators {
		g.close()
	}
}
