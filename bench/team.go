package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// team is the further processes of a run, in the operator's process. nil if there are none; then all methods do nothing.
// Owner: the verb's goroutine, except for what is marked.
type team struct {
	all  []*helperProcess
	done <-chan struct{} // closed when the operator interrupts the run
	halt func()          // ends the phases of this process

	// Any goroutine.
	once    sync.Once
	failed  chan struct{} // closed when cause is set
	cause   error
	closing atomic.Bool // from here on their end is no error
}

// helperProcess is one of them; helper is its counterpart in that process. Its listener passes on what it answers.
type helperProcess struct {
	process int // 1 is the first
	cmd     *exec.Cmd
	in      io.Closer
	speaker *speaker
	out     *os.File
	stderr  *tail
	answers chan said     // capacity 1: each answer is awaited before the next question
	gone    chan struct{} // closed when the process has ended

	joined, failed, delivered, p99 atomic.Int64 // any goroutine, for the progress line

	opening helperOpening
	pings   uint64
}

const (
	tallyEvery = 200 * time.Millisecond
	// helperSilence: a helper reports its progress every tallyEvery. One that is silent for this long hangs.
	helperSilence = 20 * time.Second
	// helperStopTime is how long a helper may take to close its connections before it is killed.
	helperStopTime = 10 * time.Second
)

// spread starts helpers for the clients of other processes, and sends each its errand.
func (f *fleet) spread(ctx context.Context, s share, e errand) error {
	if s.processes == 1 {
		return nil
	}
	if err := f.join(s); err != nil {
		return err
	}
	program, err := self()
	if err != nil {
		return err
	}
	f.team = &team{done: ctx.Done(), failed: make(chan struct{}), halt: f.here.Halt}
	for _, g := range f.here.Generators() {
		f.acks = append(f.acks, &ackBox{crew: g})
	}
	e.Epoch, e.Processes = client.Epoch(), s.processes
	for e.Process = 1; e.Process < s.processes; e.Process++ {
		h, err := startHelper(program, e.Process)
		if err != nil {
			return err // close ends those that were started
		}
		f.team.all = append(f.team.all, h)
		go f.team.listen(h, f.acks)
		h.speaker.say(func() any { return told{Do: doErrand, Errand: &e} })
	}
	_, err = f.team.wait(doReady)
	return err
}

// errand is what helpers have to know; spread adds the number of each.
func (c *common) errand(s *session, l *load, v *crowd) errand {
	return errand{Target: s.target, Run: s.run, Proof: c.JoinProof, Threads: c.Threads, Load: l, Crowd: v}
}

// startHelper runs this program again. Its own process group keeps the operator's ^C from it: it ends with its stdin, and if
// this process is killed, with the thread that started it (see startChild).
func startHelper(program string, process int) (*helperProcess, error) {
	h := &helperProcess{process: process, cmd: exec.Command(program, "helper"), stderr: &tail{}, answers: make(chan said, 1), gone: make(chan struct{})}
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	h.cmd.Stderr = h.stderr
	fail := func(err error) (*helperProcess, error) { return nil, fmt.Errorf("cannot start a helper: %w", err) }
	in, err := h.cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	out, theirs, err := os.Pipe() // not StdoutPipe, which has no deadlines
	if err != nil {
		in.Close()
		return fail(err)
	}
	h.cmd.Stdout = theirs
	err = h.cmd.Start()
	theirs.Close()
	if err != nil {
		in.Close()
		out.Close()
		return fail(err)
	}
	h.in, h.out, h.speaker = in, out, newSpeaker(in)
	return h, nil
}

// listen receives from a helper until it ends.
func (t *team) listen(h *helperProcess, acks []*ackBox) {
	defer close(h.gone)
	err := t.hear(h, acks)
	_ = h.cmd.Process.Kill() // without its answers it is of no use; an error means that it is gone
	_ = h.cmd.Wait()         // its stderr says more than its status
	h.out.Close()
	if !t.closing.Load() {
		t.fail(fmt.Errorf("helper %d (pid %d) ended in the middle: %w; %s", h.process, h.cmd.Process.Pid, err, h.stderr))
	}
}

func (t *team) hear(h *helperProcess, acks []*ackBox) error {
	in := json.NewDecoder(h.out)
	for {
		if err := h.out.SetReadDeadline(time.Now().Add(helperSilence)); err != nil {
			return err
		}
		var s said
		if err := in.Decode(&s); err != nil {
			return err
		}
		if t := s.Tally; t != nil {
			h.joined.Store(t.Joined)
			h.failed.Store(t.Failed)
			h.delivered.Store(t.Delivered)
			h.p99.Store(t.P99)
		}
		switch s.Do {
		case doTally:
		case doAcks:
			acks[s.At].leave(ackFrom{h.process, s.Floors, s.SaidAt, s.Cut})
		default:
			select {
			case h.answers <- s:
			default:
				return fmt.Errorf("it said %q without being asked", s.Do)
			}
		}
	}
}

// fail ends the run: without one of its processes the result means nothing.
func (t *team) fail(err error) {
	t.once.Do(func() {
		t.cause = err
		close(t.failed)
		t.halt()
	})
}

// list is nil-safe, as all else here.
func (t *team) list() []*helperProcess {
	if t == nil {
		return nil
	}
	return t.all
}

func (t *team) failure() error {
	if t == nil {
		return nil
	}
	select {
	case <-t.failed:
		return t.cause
	default:
		return nil
	}
}

// tell sends the same to all. One that no longer receives it is noticed by its silence.
func (t *team) tell(what told) {
	if t == nil {
		return
	}
	for _, h := range t.all {
		h.speaker.say(func() any { return what })
	}
}

// wait returns the answer of each.
func (t *team) wait(do string) ([]said, error) {
	if t == nil {
		return nil, nil
	}
	answers := make([]said, len(t.all))
	for i, h := range t.all {
		select {
		case answers[i] = <-h.answers:
		case <-t.failed:
			return nil, t.cause
		case <-t.done:
			return nil, errInterrupted
		}
		if answers[i].Do != do {
			t.fail(fmt.Errorf("helper %d said %q instead of %q", h.process, answers[i].Do, do))
			return nil, t.cause
		}
		for at := range answers[i].Threads {
			answers[i].Threads[at].Helper = h.process
		}
	}
	return answers, nil
}

// opened waits until all helpers have finished the opening.
func (t *team) opened() ([]report.Thread, error) {
	answers, err := t.wait(doOpened)
	for i, s := range answers {
		t.all[i].opening = *s.Opening
	}
	return threadsOf(answers), err
}

func threadsOf(answers []said) (all []report.Thread) {
	for _, s := range answers {
		all = append(all, s.Threads...)
	}
	return all
}

// books ends the listening of all helpers and collects their results. sent is how many messages of each stream count;
// it is called with what the helpers have seen of the streams whose publishers were cut off.
func (t *team) books(cut []int, sent func(seen []uint32) []uint32) ([]*books, error) {
	if t == nil {
		return nil, nil
	}
	t.tell(told{Do: doSettle, Streams: cut})
	answers, err := t.wait(doSeen)
	if err != nil {
		return nil, err
	}
	seen := make([]uint32, len(cut))
	for _, s := range answers {
		for i := range seen {
			seen[i] = max(seen[i], s.Seen[i])
		}
	}
	t.tell(told{Do: doClose, Sent: sent(seen)})
	if answers, err = t.wait(doBooks); err != nil {
		return nil, err
	}
	all := make([]*books, len(answers))
	for i, s := range answers {
		all[i] = s.Books
		t.all[i].opening.Causes, t.all[i].pings = s.Books.Causes, s.Books.Pings
	}
	return all, nil
}

// close ends all helpers: with close frames, unless that takes longer than helperStopTime.
func (t *team) close() {
	if t == nil {
		return
	}
	t.closing.Store(true)
	for _, h := range t.all {
		h.in.Close()
	}
	patience := time.After(helperStopTime)
	for _, h := range t.all {
		select {
		case <-h.gone:
			continue
		case <-patience:
		}
		for _, late := range t.all {
			_ = late.cmd.Process.Kill() // an error means that it is gone
		}
		<-h.gone
	}
}

// drainHelpers is called when this process has published everything and all its own members have it: the phase goes on
// until all members elsewhere have it too.
func (m *measurement) drainHelpers() {
	defer close(m.drainEnded)
	sent := make([]uint32, m.load.streams())
	for _, c := range m.crews {
		for _, p := range c.schedule.own {
			sent[p.number] = p.sequence
		}
	}
	m.fleet.team.tell(told{Do: doPublished, Sent: sent})
	answers, err := m.fleet.team.wait(doDrained)
	m.helperUses = threadsOf(answers)
	if err == nil {
		m.drained.Store(true) // otherwise the phase is halted
		m.fleet.here.Ring()
	}
}

// settle collects the helpers' results of a load. Of a publisher that was cut off only messages that a member saw count.
func (m *measurement) settle() error {
	if m.fleet.team == nil {
		return nil
	}
	var cut []*publisher
	var streams []int
	sent := make([]uint32, m.load.streams())
	for _, c := range m.crews {
		for _, p := range c.schedule.own {
			if sent[p.number] = p.sequence; p.gone {
				sent[p.number] = c.ledgers[p.group].Seen(p.place)
				cut, streams = append(cut, p), append(streams, p.number)
			}
		}
	}
	var err error
	m.books, err = m.fleet.team.books(streams, func(seen []uint32) []uint32 {
		for i, p := range cut {
			p.elsewhere = seen[i]
			sent[p.number] = max(sent[p.number], seen[i])
		}
		return sent
	})
	return err
}
