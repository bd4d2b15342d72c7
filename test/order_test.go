package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// window is how many publishes a sender leaves unanswered. A server may refuse commands in a flood; a sender that
// waits for answers must never be refused, so here a refusal is a failure.
const window = 32

// broadcast sends to one group from several senders at a time.
type broadcast struct {
	members, senders, messages int                                    // messages are per sender
	meanwhile                  func(s *server, b *sequence) error     // runs beside the senders until they are done
	spread                     func(t *testing.T, s *server, n int64) // looks at where the members are
}

// sequence is the group's order according to the replies to publishers: text by number. It is gathered separately from what
// members receive, so that the two can be compared.
type sequence struct {
	group string
	done  chan struct{} // closed when the senders have finished

	mu   sync.Mutex
	text map[uint64]string
	kept []stretch
}

// stretch is what a visitor received up to the text of number last.
type stretch struct {
	who   string
	last  uint64
	texts []string
}

func (q *sequence) held(who string, last uint64, texts []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kept = append(q.kept, stretch{who, last, texts})
}

func (q *sequence) record(seq uint64, text string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if was, taken := q.text[seq]; taken || seq == 0 {
		return fmt.Errorf("seq %d for %q, which %q has already", seq, text, was)
	}
	q.text[seq] = text
	return nil
}

// texts gives the whole order; numbers must be dense from 1.
func (q *sequence) texts() ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]string, 0, len(q.text))
	for i := range len(q.text) {
		s, ok := q.text[uint64(i+1)]
		if !ok {
			return all, fmt.Errorf("%d publishes were numbered, and %d is not among the numbers", len(q.text), i+1)
		}
		all = append(all, s)
	}
	return all, nil
}

// send publishes all texts with a window of unanswered ones and records the numbers they were given.
func (q *sequence) send(c *client, texts []string) error {
	answered := 0
	take := func() error {
		r, err := c.replyTo(fmt.Sprint(answered))
		if err == nil && (r.Error != nil || r.Seq == nil) {
			err = fmt.Errorf("publish %d: got %s and seq %v, want ok with a seq", answered, r.code(), r.Seq)
		}
		if err != nil {
			return err
		}
		answered++
		return q.record(*r.Seq, texts[answered-1])
	}
	for i, text := range texts {
		for i-answered >= window {
			if err := take(); err != nil {
				return err
			}
		}
		if err := c.text(withID(fmt.Sprint(i), sendCommand(q.group, text))); err != nil {
			return err
		}
	}
	for answered < len(texts) {
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

const lastText = "the last text"

// check runs the broadcast: every member must receive exactly the sequence of the replies, nothing lost or doubled.
func (b broadcast) check(t *testing.T, s *server) {
	t.Helper()
	q := &sequence{group: t.Name(), done: make(chan struct{}), text: map[uint64]string{}}
	members := make([]*client, b.members)
	for i := range members {
		members[i] = member(t, s, q.group)
	}
	if b.spread != nil {
		b.spread(t, s, int64(b.members))
	}
	senders := make([]*client, b.senders)
	for i := range senders {
		senders[i] = dial(t, s)
	}

	var reading, sending, beside sync.WaitGroup
	failures := make(chan error, b.members+b.senders+1)
	held := make([][]string, b.members)
	for i, m := range members {
		reading.Go(func() {
			texts, err := m.collectUntil(lastText)
			held[i] = texts
			if err != nil {
				failures <- fmt.Errorf("member %d: %w", i, err)
			}
		})
	}
	if b.meanwhile != nil {
		beside.Go(func() {
			if err := b.meanwhile(s, q); err != nil {
				failures <- fmt.Errorf("beside the senders: %w", err)
			}
		})
	}
	for i, c := range senders {
		sending.Go(func() {
			texts := make([]string, b.messages)
			for n := range texts {
				texts[n] = fmt.Sprintf("sender %d message %d", i, n)
			}
			if err := q.send(c, texts); err != nil {
				failures <- fmt.Errorf("sender %d: %w", i, err)
			}
		})
	}
	sending.Wait()
	close(q.done)
	beside.Wait()
	last, err := senders[0].publish(q.group, lastText)
	if err != nil {
		t.Errorf("the last text: %v", err)
		for _, m := range members {
			m.hangUp() // there is no end to wait for: release the readers
		}
	}
	reading.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if t.Failed() {
		return
	}

	want, err := q.texts()
	must(t, err)
	if got := len(want); got < b.senders*b.messages {
		t.Fatalf("numbered publishes: got %d, want at least %d", got, b.senders*b.messages)
	}
	equal(t, "number of the last text", last, uint64(len(want)+1))
	nextOf := map[string]int{}
	for _, text := range want {
		if sender, number, ok := strings.Cut(text, " message "); ok {
			if number != fmt.Sprint(nextOf[sender]) {
				t.Fatalf("order of %s: got message %s, want %d", sender, number, nextOf[sender])
			}
			nextOf[sender]++
		}
	}
	for i, got := range held {
		if at, same := firstDifference(got, want); !same {
			t.Fatalf("member %d of %d: got %s from place %d on (%d texts), want %s (%d texts)",
				i, b.members, brief(got[at:]), at, len(got), brief(want[at:]), len(want))
		}
	}
	for _, r := range q.kept {
		if uint64(len(r.texts)) > r.last {
			t.Fatalf("%s: got %d texts up to number %d, want no more than that", r.who, len(r.texts), r.last)
		}
		same := want[r.last-uint64(len(r.texts)) : r.last]
		if at, ok := firstDifference(r.texts, same); !ok {
			t.Fatalf("%s, between its join and number %d: got %s, want %s", r.who, r.last, brief(r.texts[at:]), brief(same[at:]))
		}
	}
}

func firstDifference(a, b []string) (int, bool) {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i, false
		}
	}
	return min(len(a), len(b)), len(a) == len(b)
}

// overEightLoops checks that there are members on each of 8 loops, according to the status.
func overEightLoops(t *testing.T, s *server, n int64) {
	t.Helper()
	st := s.status()
	equal(t, "loops", len(st.Loops), 8)
	equal(t, "members", st.Total.Members, n)
	for i, loop := range st.Loops {
		if loop.Members == 0 {
			t.Errorf("members on loop %d: got 0 of %d, want some on each", i, n)
		}
	}
}

func TestOneSequenceForAllMembersOverEightLoops(t *testing.T) {
	t.Parallel()
	s := start(t, "--loops", "8")
	broadcast{members: 64, senders: 6, messages: 1000, spread: overEightLoops}.check(t, s)
	var total row
	s.eventually("every delivery is counted", func() error { // a pass counts when it ends, after its members have heard
		if total = s.status().Total; total.Deliveries != 64*6001 {
			return fmt.Errorf("got %d deliveries, want %d", total.Deliveries, 64*6001)
		}
		return nil
	})
	equal(t, "published", total.Published, 6001)
	equal(t, "refused", total.Refused, 0)
}

func TestOneSequenceWhileOthersJoinLeaveAndDie(t *testing.T) {
	t.Parallel()
	s := start(t, "--loops", "8")
	broadcast{members: 64, senders: 6, messages: 1000, spread: overEightLoops, meanwhile: churn}.check(t, s)
	s.eventually("only the group's own members are left", func() error {
		if got := s.status().Total; got.Members != 64 || got.Groups == 0 {
			return fmt.Errorf("got %d members, want 64", got.Members)
		}
		return nil
	})
}

// churn lets visitors join the group, send to it, and disconnect in every possible way, until the senders are done.
func churn(s *server, q *sequence) error {
	const visitorsAtATime, visitsMin = 6, 5
	var wg sync.WaitGroup
	var names atomic.Int64
	errs := make([]error, visitorsAtATime)
	for i := range visitorsAtATime {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for n := 0; ; n++ {
				select {
				case <-q.done:
					if n >= visitsMin {
						return
					}
				default:
				}
				if err := visit(s, q, rnd, fmt.Sprintf("visitor %d", names.Add(1))); err != nil {
					errs[i] = fmt.Errorf("visit %d of place %d: %w", n, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func visit(s *server, q *sequence, rnd *rand.Rand, name string) error {
	c, err := open(s.addr, dialing{})
	if err != nil {
		return err
	}
	defer c.hangUp()
	if rnd.IntN(4) == 0 { // gone before anything is answered
		err := c.text(joinCommand(q.group))
		c.die()
		return err
	}
	if err := c.join(q.group); err != nil {
		return err
	}
	// A member that stays gets what was accepted after its join, so its own texts must come, and between them all others.
	var held []string
	for n := range 1 + rnd.IntN(3) {
		own := fmt.Sprintf("%s message %d", name, n)
		seq, err := c.publish(q.group, own)
		if err != nil {
			return err
		}
		if err := q.record(seq, own); err != nil {
			return err
		}
		texts, err := c.collectUntil(own)
		if err != nil {
			return err
		}
		held = append(append(held, texts...), own)
		q.held(name, seq, held)
	}
	switch rnd.IntN(3) {
	case 0:
		if err := c.leave(q.group); err != nil {
			return err
		}
		c.early = nil // what came before the reply
		late, err := c.beforePong()
		if err == nil && len(late) > 0 {
			err = fmt.Errorf("after its leave was answered %s got %q", name, late)
		}
		return err
	case 1:
		return c.closeWith(1000, "")
	default:
		c.die()
	}
	return nil
}
