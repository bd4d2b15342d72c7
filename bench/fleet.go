package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// Proofs of a join, as --join-proof has them.
const (
	proofReply = "reply"
	proofProbe = "probe"
)

// probeOf is what a roster needs for the proof.
func probeOf(proof string) *client.Probe {
	if proof != proofProbe {
		return nil
	}
	return &client.Probe{Text: check.Probe, Read: check.ReadProbe}
}

// fleet is all clients of a run: those of this process, and those that its helpers hold. Owner: the verb's goroutine.
type fleet struct {
	here  *client.Fleet
	share share     // which clients are in this process; zero value: all
	team  *team     // the other processes; nil in a run of one process, and in a helper
	shown []shown   // by thread
	acks  []*ackBox // by thread; nil without helpers
}

// shown is what a crew reports to the progress line. Any goroutine.
type shown struct {
	delivered atomic.Int64
	p99       atomic.Int64 // of the latency so far, in nanoseconds
}

func newFleet(ctx context.Context, t client.Target, threads int, seats []client.Seat, r client.Roster) (*fleet, error) {
	here, err := client.NewFleet(ctx, t, threads, seats, r)
	if err != nil {
		return nil, err
	}
	return &fleet{here: here, shown: make([]shown, threads)}, nil
}

// join makes this process one of several.
func (f *fleet) join(s share) error {
	f.share = s
	return f.here.Divide(s.processes)
}

// phase runs one step on every generator of this process and returns when all are done, with what each thread consumed
// meanwhile.
func (f *fleet) phase(steps func(*client.Generator) client.Step) ([]report.Thread, error) {
	uses := make([]report.Thread, len(f.here.Generators()))
	err := f.here.Phase(steps, func(thread int) func() {
		before := readThread()
		return func() { uses[thread] = readThread().Since(before) }
	})
	if failure := f.team.failure(); failure != nil {
		return uses, failure
	}
	if errors.Is(err, client.ErrHalted) {
		return uses, errInterrupted
	}
	return uses, err
}

// open makes all clients that have not begun ready. Clients that fail are counted by cause; they are no error of this
// function.
func (f *fleet) open() ([]report.Thread, error) {
	f.team.tell(told{Do: doOpen})
	uses, err := f.phase((*client.Generator).Open)
	if err != nil {
		return uses, err
	}
	more, err := f.team.opened()
	return append(uses, more...), err
}

// hold keeps the clients for a time and answers pings.
func (f *fleet) hold(d time.Duration) error {
	until := client.Clock() + int64(d)
	_, err := f.phase(func(*client.Generator) client.Step {
		return func(now int64) (int64, bool) { return until, now >= until }
	})
	return err
}

// openingTime is from the first connect to the last proof of a join.
func (f *fleet) openingTime() time.Duration {
	first, last := f.here.OpeningSpan()
	for _, h := range f.team.list() {
		first, last = min(first, h.opening.FirstAt), max(last, h.opening.LastAt)
	}
	return time.Duration(max(0, last-first))
}

func (f *fleet) openingTally() tally {
	return tally{done: f.joined(), rated: f.joined(), errors: f.failed()}
}

func (f *fleet) joined() int64 {
	n := f.here.Joined()
	for _, h := range f.team.list() {
		n += h.joined.Load()
	}
	return n
}

func (f *fleet) failed() int64 {
	n := f.here.Failed()
	for _, h := range f.team.list() {
		n += h.failed.Load()
	}
	return n
}

func (f *fleet) delivered() (n int64) {
	for i := range f.shown {
		n += f.shown[i].delivered.Load()
	}
	for _, h := range f.team.list() {
		n += h.delivered.Load()
	}
	return n
}

// p99 is the highest of all crews, in nanoseconds; 0 while nothing was measured.
func (f *fleet) p99() (worst int64) {
	for i := range f.shown {
		worst = max(worst, f.shown[i].p99.Load())
	}
	for _, h := range f.team.list() {
		worst = max(worst, h.p99.Load())
	}
	return worst
}

func (f *fleet) pings() uint64 {
	n := f.here.Pings()
	for _, h := range f.team.list() {
		n += h.pings
	}
	return n
}

// causes returns why clients failed or were cut off, and how many for each cause.
func (f *fleet) causes() map[string]int {
	all := f.here.Causes()
	for _, h := range f.team.list() {
		for cause, n := range h.opening.Causes {
			all[cause] += n
		}
	}
	return all
}

func (f *fleet) close() {
	defer f.team.close()
	f.here.Close()
}
