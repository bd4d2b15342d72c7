package check

import "fmt"

// Publishes are what the publishers of one group have said, and what they were answered: the other half of a Log. A publish that was
// not answered ok may be repeated with its key; all of its answers together say what is known of it.
//
// Pure. Owner: the generator of the publishers; whoever compares, when they are done.
type Publishes struct {
	pubs   [][]Publish // by publisher of the group and sequence
	faults *Faults
	called func(pub int) string // how a publisher is named
}

// Publish is one message of a publisher.
type Publish struct {
	Number uint64 // in the group's order, as the answer ok said
	Answer Answer
	Last   int64  // how long after it was due it was last sent, in nanoseconds
	Asked  uint8  // how often it was sent; 255: as often or oftener
	Life   uint16 // which of its publisher's connections sent it first, from 1 on; 0: none has
}

// Answer is what is known of a publish by its answers.
type Answer uint8

// What is known of a publish.
const (
	Open        Answer = iota // it has not been sent, or its answer may still come
	None                      // sent, and the connection ended before an answer: it may be heard, once
	Unknown                   // answered so: likewise
	Silence                   // sent, and not answered in time although the connection stayed: a fault
	OK                        // to be heard by every member, with its number
	Busy                      // never to be heard
	Unavailable               // likewise
	Refused                   // in another way: likewise
	Answers                   // how many there are
)

var answerNames = [Answers]string{"not sent", "not answered", "unknown", "silence", "ok", "busy", "unavailable", "refused"}

// String is the name of the answer in results.
func (a Answer) String() string { return answerNames[a] }

// Uncertain says that the message may be heard, and may not.
func (a Answer) Uncertain() bool { return a == None || a == Unknown || a == Silence }

// Refuses says that the message must not be heard.
func (a Answer) Refuses() bool { return a >= Busy }

// NewPublishes is for the publishers of a group. called names one.
func NewPublishes(pubs int, called func(pub int) string, f *Faults) *Publishes {
	return &Publishes{pubs: make([][]Publish, pubs), faults: f, called: called}
}

// Say adds a message of a publisher, and returns its number among the publisher's, from 0 on.
func (p *Publishes) Say(pub int) (seq uint32) {
	p.pubs[pub] = append(p.pubs[pub], Publish{})
	return uint32(len(p.pubs[pub]) - 1)
}

// Ask notes that a message is sent, on one of its publisher's connections, so long after it was due.
func (p *Publishes) Ask(pub int, seq uint32, life int, after int64) {
	m := &p.pubs[pub][seq]
	if m.Asked == 0 {
		m.Life = uint16(life)
	}
	m.Asked, m.Last = min(m.Asked, 254)+1, after
}

// Note adds an answer. A refusal takes back nothing: the message of a try before it, of which nothing is known, may still be heard.
func (p *Publishes) Note(pub int, seq uint32, a Answer, number uint64) {
	m := &p.pubs[pub][seq]
	switch {
	case m.Answer == OK && a == OK && m.Number != number:
		p.faults.Add(Contradicted, 1, "%s #%d was answered ok with the number %d, and when it was repeated with %d", p.called(pub), seq, m.Number, number)
	case m.Answer == OK || m.Answer.Uncertain() && a.Refuses():
	default:
		m.Answer, m.Number = a, number
	}
}

// tries says how often a message was sent, if that was more than once.
func (m Publish) tries() string {
	if m.Asked < 2 {
		return ""
	}
	return fmt.Sprintf(" (sent %d times, the last %.1f s after it was due)", m.Asked, float64(m.Last)/1e9)
}

// Of is what is known of a message.
func (p *Publishes) Of(pub int, seq uint32) Publish { return p.pubs[pub][seq] }

// Said is how many messages a publisher has, sent or not.
func (p *Publishes) Said(pub int) uint32 { return uint32(len(p.pubs[pub])) }

// All is how many messages all publishers have.
func (p *Publishes) All() (n int) {
	for _, messages := range p.pubs {
		n += len(messages)
	}
	return n
}

// Count is how many messages have each answer in the end.
func (p *Publishes) Count() (all [Answers]uint64) {
	for _, messages := range p.pubs {
		for _, m := range messages {
			all[m.Answer]++
		}
	}
	return all
}
