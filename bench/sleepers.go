package main

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// sleepers are members that stop reading once they have joined. While the others are served they only look whether the
// server has ended their connection. If the server sends its close only when their window opens, that cannot be seen, so
// afterwards they wake up and read everything: the last message before the end shows when the server closed them, the close
// frame why. To be cut off is no fault; to receive something other than what was published is. Owner: their generator's
// thread during a phase.
type sleepers struct {
	client.Idle
	g       *client.Generator
	session *session
	load    *load
	threads int // of the members
	count   int
	fill    check.Fillings

	asleep  *client.Sleepers
	endedAt []int64 // by place: when the end of a connection was seen; 0: not
	lastDue []int64 // of the last message that it got
	active  int64   // when any of them last got something, by the generator's vigil
	start   int64
	nextRSS int64
	ledger  *check.Ledger // by place and stream; what it counts as lost was skipped by the server
	faults  check.Faults
	found   report.Slow
}

const (
	// slowReceiveBytes is the receive buffer of a sleeper: small, so that the kernel buffers as little as possible.
	slowReceiveBytes = 4 << 10
	// glanceTime is how often ended connections are looked for.
	glanceTime = 10 * time.Millisecond
	// sampleTime is how often the server's memory is read.
	sampleTime = 200 * time.Millisecond
	// wakeQuiet: when nothing has come for so long, nothing more is waiting.
	wakeQuiet = time.Second
	// wakeMax bounds the reading of what is waiting.
	wakeMax = 20 * time.Second
)

func newSleepers(count int, l *load, threads int) *sleepers {
	s := &sleepers{count: count, load: l, threads: threads, fill: l.fillings(), endedAt: make([]int64, count), lastDue: make([]int64, count)}
	s.found = report.Slow{Members: count, Ends: map[string]int{}}
	// Rows only: the order between publishers is not checked.
	s.ledger = check.NewRows(count, l.streams(), func(place int) string { return fmt.Sprintf("slow member %d", place) }, &s.faults)
	return s
}

func (s *sleepers) clients() int                 { return s.count }
func (s *sleepers) generator() *client.Generator { return s.g }

// seats: they join as members do, and follow them in the groups.
func (s *sleepers) seats(thread int) []client.Seat {
	seats := make([]client.Seat, s.count)
	for i := range seats {
		seats[i] = client.Seat{Group: i % s.load.Groups, Member: s.load.Members + i, Thread: thread}
	}
	return seats
}

func (s *sleepers) arrive(g *client.Generator, session *session) {
	s.g, s.session = g, session
	g.SetReceiveBuffer(slowReceiveBytes)
}

// step checks for ended connections, and does not read.
func (s *sleepers) step(start int64, over func() bool) client.Step {
	s.start = start
	s.asleep = s.g.Sleep()
	return func(now int64) (int64, bool) {
		last := over() // before the glance, which sees all that came while publishing went on
		s.asleep.Glance(func(place int) { s.endedAt[place] = now })
		s.sample(now)
		return now + int64(glanceTime), last
	}
}

func (s *sleepers) sample(now int64) {
	if now >= s.nextRSS {
		s.nextRSS = now + int64(sampleTime)
		s.found.RSSPeak = max(s.found.RSSPeak, s.rss())
	}
}

// rss is the server's memory; 0 when it cannot be seen, which the session notes elsewhere.
func (s *sleepers) rss() int64 {
	if s.session.victim == nil {
		return 0
	}
	size, _ := s.session.victim.rss()
	return size
}

// wake makes the sleepers read until nothing comes any more. The check of the members has ended by then: what a server can
// deliver to them only because the sleepers read again came too late.
func (s *sleepers) wake(m *measurement) error {
	for _, c := range m.crews {
		c.g.SetPlay(client.Idle{})
	}
	s.asleep.Wake()
	s.g.SetPlay(s)
	begun := client.Clock()
	s.active = s.g.Vigil()
	var awake atomic.Bool
	awake.Store(true)
	_, err := m.fleet.phase(func(g *client.Generator) client.Step {
		if g != s.g {
			return func(now int64) (int64, bool) { return now + int64(glanceTime), !awake.Load() }
		}
		return func(now int64) (int64, bool) {
			s.sample(now)
			done := s.g.Joined() == 0 || s.g.Vigil()-s.active > int64(wakeQuiet)
			if now-begun > int64(wakeMax) && !done {
				s.faults.Note("slow members were still reading what had waited for them after %v", wakeMax)
				done = true
			}
			awake.Store(!done)
			return now + int64(glanceTime), done
		}
	})
	return err
}

// Heard checks what a sleeper receives after it wakes up.
func (s *sleepers) Heard(c *client.Conn, text []byte, from client.Origin, now int64) {
	given, ok := check.ReadStamp(text)
	s.active = s.g.Vigil()
	switch name := s.ledger.Name(int(c.At)); {
	case ok && given.IsProbe():
	case !ok || len(text) != s.load.Size || !bytes.Equal(text[check.StampBytes:], s.fill.Of(given.Sequence)):
		s.faults.Add(check.Altered, 1, "%s got a text of %d bytes that was not published: %.60q", name, len(text), text)
	case int(given.Publisher) >= s.ledger.Publishers() || !s.joined(c, int(given.Publisher)) ||
		from.Group != int(given.Publisher)%s.load.Groups && from.Group != client.AnyGroup:
		s.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which is not for it", name, given.Publisher, given.Sequence)
	default:
		s.ledger.Saw(int(c.At), int(given.Publisher), given.Sequence)
		s.lastDue[c.At] = max(s.lastDue[c.At], given.Due)
	}
}

// joined says whether the stream goes to a group that c is in.
func (s *sleepers) joined(c *client.Conn, stream int) bool {
	_, yes := s.load.placeIn(stream%s.load.Groups, c, s.threads)
	return yes
}

func (s *sleepers) Cut(c *client.Conn, cause string, stillOpened bool) {
	s.active = s.g.Vigil()
	s.found.Ends[cause]++
	at := s.endedAt[c.At]
	if at == 0 { // the end came after what was waiting
		at = s.lastDue[c.At]
	}
	s.found.CutOff++
	s.found.CutAfter = max(s.found.CutAfter, at-s.start)
}

// reckon counts what sleepers were not given: between two messages, or up to the end although they were not cut off.
func (s *sleepers) reckon(publishers []*publisher) {
	for i := range s.g.Len() {
		c := s.g.Conn(i)
		for stream, p := range publishers {
			if !s.joined(c, stream) {
				continue
			}
			s.ledger.Settle(i, stream)
			if next := s.ledger.Next(i, stream); next < p.sequence && !c.Dead() {
				s.ledger.Lost(i, stream, next, p.sequence)
			}
		}
	}
	s.found.Skipped = s.faults.Counts[check.Lost]
	s.faults.Counts[check.Lost], s.faults.Examples[check.Lost] = 0, nil
}
