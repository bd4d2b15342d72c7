package test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// bystanders are healthy members, in groups that are published to all the time. Whatever else is done to the server, they
// lose nothing: each sender waits for its answer, numbers what was accepted from 0, and each member of its group must get
// all of these numbers, in order.
type bystanders struct {
	t        *testing.T
	s        *server
	padding  string
	rooms    []*room
	over     chan struct{} // closed when the senders are to end
	running  sync.WaitGroup
	refused  atomic.Int64 // publishes that were answered with an error, and tried again
	doomed   atomic.Bool  // the connections are about to end, which is then no failure; what was received before must be right
	failures chan error   // the first of each goroutine
}

// room is one group of bystanders.
type room struct {
	group    string
	sender   *client
	members  []*client
	accepted atomic.Int64   // texts that the server has accepted, the final one included
	heard    []atomic.Int64 // texts that each member has had
}

// gathering is how many bystanders there are and how often each group is published to.
type gathering struct {
	groups, members int // members in all groups together
	pace            time.Duration
	name            string // distinguishes them from others of the same test
	padding         string // after the number in each text
	dialing         dialing
	senders         dialing
}

// few is a healthy group beside which a single attack is seen; many is enough to be on every loop, with groups on every
// home. Their traffic is too small to be a load.
var (
	few  = gathering{groups: 1, members: 8, pace: time.Millisecond}
	many = gathering{groups: 10, members: 200, pace: 20 * time.Millisecond}
)

// besides runs an attack beside healthy members. Whatever it does, they lose nothing, the process goes on and nothing in it
// has panicked.
func besides(t *testing.T, s *server, attack func(t *testing.T)) {
	t.Helper()
	besidesOf(t, s, few, func(*bystanders) { attack(t) })
}

func besidesOf(t *testing.T, s *server, g gathering, attack func(b *bystanders)) {
	t.Helper()
	b := gather(t, s, g)
	func() {
		defer b.dismiss() // even if the attack ends the test
		attack(b)
	}()
	equal(t, "panics", s.status().Total.Panics, 0)
}

// gather joins the members and starts the senders.
func gather(t *testing.T, s *server, g gathering) *bystanders {
	t.Helper()
	b := &bystanders{t: t, s: s, padding: g.padding, over: make(chan struct{}), failures: make(chan error, g.groups+g.members)}
	g.dialing.small = true
	for i := range g.groups {
		r := &room{group: fmt.Sprintf("%s/healthy %s%d", t.Name(), g.name, i), heard: make([]atomic.Int64, g.members/g.groups)}
		for i := range r.heard {
			m := dial(t, s, g.dialing)
			must(t, m.join(r.group))
			r.members = append(r.members, m)
			b.running.Go(func() { b.note(b.listen(r, i, m)) }) // it answers pings while others join
		}
		b.rooms = append(b.rooms, r)
	}
	for _, r := range b.rooms {
		r.sender = dial(t, s, g.senders)
		b.running.Go(func() { b.note(b.send(r, g.pace)) })
	}
	return b
}

// clients and members are what the server's status has of bystanders alone.
func (b *bystanders) clients() int64 { return b.members() + int64(len(b.rooms)) }
func (b *bystanders) members() int64 { return int64(len(b.rooms) * len(b.rooms[0].members)) }

func (b *bystanders) note(err error) {
	if err != nil {
		b.failures <- err
	}
}

func (b *bystanders) text(n int64) string { return strconv.FormatInt(n, 10) + b.padding }

// send publishes until the gathering is over, and then a final text. What is refused was not sent; it is tried again.
func (b *bystanders) send(r *room, pace time.Duration) error {
	again := time.NewTicker(pace)
	defer again.Stop()
	over := false
	for {
		select {
		case <-b.over:
			over = true
		case <-again.C:
		}
		text := lastText
		if !over {
			text = b.text(r.accepted.Load())
		}
		answer, err := r.sender.ask(sendCommand(r.group, text))
		switch {
		case err != nil && b.doomed.Load():
			return nil
		case err != nil:
			return fmt.Errorf("healthy sender of %s, text %d: %w", r.group, r.accepted.Load(), err)
		case answer.Error != nil:
			b.refused.Add(1)
			if over {
				<-again.C // b.over stays ready
			}
		default:
			r.accepted.Add(1)
			if over {
				return nil
			}
		}
	}
}

// listen compares what a member receives with the senders' numbers, up to the final text.
func (b *bystanders) listen(r *room, i int, m *client) error {
	for n := int64(0); ; n++ {
		text, err := m.next()
		if err != nil && b.doomed.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("healthy member %d of %s, after %d texts: %w", i, r.group, n, err)
		}
		if text == lastText {
			r.heard[i].Add(1)
			return nil
		}
		if want := b.text(n); text != want {
			return fmt.Errorf("healthy member %d of %s: got %s, want %s", i, r.group, brief([]string{text}), brief([]string{want}))
		}
		r.heard[i].Add(1)
	}
}

// dismiss makes every sender send its final text and waits until every member has received it.
func (b *bystanders) dismiss() {
	b.t.Helper()
	close(b.over)
	b.end()
	for _, r := range b.rooms {
		for i := range r.heard {
			if got, want := r.heard[i].Load(), r.accepted.Load(); got != want && !b.t.Failed() {
				b.t.Errorf("healthy member %d of %s: got %d texts, want the %d accepted", i, r.group, got, want)
			}
		}
	}
	if n := b.refused.Load(); n > 0 {
		b.t.Logf("healthy publishes refused and tried again: %d", n)
	}
}

// end waits until all senders and members have ended and reports what failed.
func (b *bystanders) end() {
	b.t.Helper()
	b.running.Wait()
	close(b.failures)
	n := 0
	for err := range b.failures {
		if n++; n <= failuresShown {
			b.t.Error(err)
		}
	}
	if n > failuresShown {
		b.t.Errorf("and %d more", n-failuresShown)
	}
}

// failuresShown: a failure of one bystander is often one of all.
const failuresShown = 10

// goOn waits until every member has received a text that was accepted after the call.
func (b *bystanders) goOn() {
	b.t.Helper()
	marks := make([]int64, len(b.rooms))
	for i, r := range b.rooms {
		marks[i] = r.accepted.Load() + 1 // the one that is under way may have been accepted before
	}
	b.s.eventually("the healthy publish and hear", func() error {
		if err := b.failed(); err != nil {
			b.t.Fatal(err) // otherwise the wait would not end
		}
		for i, r := range b.rooms {
			for at := range r.heard {
				if got := r.heard[at].Load(); got <= marks[i] {
					return fmt.Errorf("member %d of %s has had %d texts, want over %d", at, r.group, got, marks[i])
				}
			}
		}
		return nil
	})
}

// failed returns a failure that has been noted, if there is one.
func (b *bystanders) failed() error {
	select {
	case err := <-b.failures:
		b.failures <- err
		return err
	default:
		return nil
	}
}

// alone waits until the bystanders are the server's only clients.
func (b *bystanders) alone() {
	b.t.Helper()
	b.s.eventually("the tables hold nobody but the healthy", func() error {
		got := b.s.status().Total
		if got.Clients != b.clients() || got.Members != b.members() || got.Pending != 0 || got.Groups != int64(len(b.rooms)) {
			return fmt.Errorf("got %d clients, %d members, %d pending, %d groups; want %d, %d, 0, %d",
				got.Clients, got.Members, got.Pending, got.Groups, b.clients(), b.members(), len(b.rooms))
		}
		return nil
	})
}
