package loop

import (
	"slices"
	"strconv"
	"strings"

	"ringcast/loop/order"
)

// simFeed takes from a world's feed, now and then and not always to the end, and only when it was woken: a wake-up that is
// lost leaves something behind, and the world does not come to its end. A nil simFeed is a world without one.
type simFeed struct {
	w       *world
	feed    *Feed
	stalled bool
	more    bool // what was last taken was all that was asked for
	heard   map[int]bool
	order   map[string][]int // numbers by group, since the last checkEnd
	lastSeq map[string]uint64
}

func (w *world) newFeed() *simFeed {
	feed, err := w.hub.NewFeed()
	w.must(err == nil, "feed: %v", err)
	return &simFeed{w: w, feed: feed, heard: map[int]bool{}, order: map[string][]int{}, lastSeq: map[string]uint64{}}
}

// event is what may happen to who takes from a feed.
func (s *simFeed) event() {
	switch {
	case s == nil:
	case s.w.chance(20):
		s.stalled = !s.stalled
	default:
		s.take(1 + s.w.rng.IntN(100))
	}
}

func (s *simFeed) wakeUp() {
	if s != nil {
		s.stalled = false
	}
}

func (s *simFeed) taken() uint64 {
	if s == nil {
		return 0
	}
	return uint64(len(s.heard))
}

// take is Take where it would not wait.
func (s *simFeed) take(max int) {
	if s == nil || s.stalled {
		return
	}
	select {
	case <-s.feed.Awake():
	default:
		if !s.more {
			return
		}
	}
	got := s.feed.Collect(nil, max)
	s.more = len(got) == max
	for _, p := range got {
		s.hear(p)
	}
}

// hear holds a publication against what was sent.
func (s *simFeed) hear(p Publication) {
	w, text := s.w, string(p.Message)
	if (w.stranger || slices.Contains(simChannels, p.Group)) && !strings.HasPrefix(text, "m|") {
		return
	}
	part := strings.SplitN(text, "|", 5)
	w.must(len(part) == 5, "feed: garbled %q", text)
	number, _ := strconv.Atoi(part[1])
	w.must(number < len(w.sent) && w.sent[number].text == text && w.sent[number].group == p.Group, "feed: garbled %q", text)
	m := w.sent[number]
	w.must(!s.heard[number], "feed: message %d twice", number)
	w.must(w.tooLoud[number] == 0, "feed: message %d was refused by its home", number)
	w.must((p.Token == any(m)) == m.patient, "feed: message %d has token %v", number, p.Token)
	w.must(p.Seq == 0 || p.Seq == 1 || p.Seq > s.lastSeq[p.Group], "feed: message %d of %s has number %d after %d",
		number, p.Group, p.Seq, s.lastSeq[p.Group])
	s.heard[number], s.lastSeq[p.Group] = true, p.Seq
	s.order[p.Group] = append(s.order[p.Group], number)
}

// checkEnd: the feed has heard all that was accepted, and in the order that members saw.
func (s *simFeed) checkEnd() {
	if s == nil {
		return
	}
	for _, m := range s.w.sent {
		s.w.must(!m.accepted || s.heard[m.number], "feed: message %d of %s, accepted, was not heard", m.number, m.group)
	}
	for group, saw := range s.order {
		s.w.order[group] = append(s.w.order[group], saw)
	}
	s.order = map[string][]int{}
}

// simWaiter is a goroutine that publishes with PublishWait, one message at a time.
type simWaiter struct {
	message *simMessage // that waits for room, nil: none
	waiter  *order.Waiter[*group, *client]
	waits   int
}

func (w *world) publishPatiently() {
	if w.patient == nil {
		w.patient = &simWaiter{}
	}
	p := w.patient
	if p.message != nil {
		w.retryPatiently()
		return
	}
	m := w.newMessage(nil, w.groups[w.rng.IntN(len(w.groups))])
	m.sender, m.patient = "patient", true
	m.text = strings.Replace(m.text, "|port|", "|patient|", 1)
	waiter, err := w.port.Waiter(m.group, []byte(m.text), m)
	w.must(err == nil, "port: %v", err)
	p.message, p.waiter = m, waiter
	w.offerPatiently()
}

// retryPatiently is what a waiter does when it is woken.
func (w *world) retryPatiently() {
	if w.patient == nil || w.patient.message == nil {
		return
	}
	select {
	case <-w.patient.waiter.Room():
		w.offerPatiently()
	default:
	}
}

func (w *world) offerPatiently() {
	p := w.patient
	sent, err := p.waiter.Offer()
	w.must(err == nil, "port: %v", err)
	if !sent {
		p.waits++
		return
	}
	p.message.accepted = true
	p.message = nil
}
