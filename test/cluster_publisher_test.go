package test

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// clusterPublisher says messages to a group and notes every answer. What is refused it says again; what is unknown, or was cut, it repeats if
// the message has a key, which every second one has. When its node goes it goes to another.
type clusterPublisher struct {
	p      *clusterPlay
	group  *clusterGroup
	number int
	at     *node
	pace   time.Duration
	batch  int
	twice  bool // it says each message that has a key a second time, on another node, whatever it was told

	conn *client
	said []utterance
	ids  int
}

// repeatAfter is the pause before a message is said again.
const repeatAfter = 100 * time.Millisecond

func (s *clusterPublisher) live() error {
	pace := time.NewTicker(s.pace)
	defer pace.Stop()
	var again []int // messages to be said again
	for over := false; !over || len(again) > 0; {
		select {
		case <-s.p.over:
			if !over { // what is refused now stays so, but what may have been heard is cleared up
				over = true
				again = s.open(again)
			}
		case <-pace.C:
		}
		batch := again
		again = nil
		for !over && len(batch) < s.batch {
			batch = append(batch, len(s.said))
			n := len(s.said)
			s.said = append(s.said, utterance{publisher: s.number, text: fmt.Sprintf("%d:%d", s.number, n), keyed: n%2 == 0})
		}
		if s.p.given() {
			return nil
		}
		if err := s.say(batch); err != nil {
			return err
		}
		refused := false
		for _, i := range batch {
			switch s.said[i].answers[len(s.said[i].answers)-1].code {
			case saidOK:
				if s.twice && s.said[i].keyed && len(s.said[i].answers) == 1 {
					again = append(again, i)
				}
			case saidBusy, saidUnavailable:
				again, refused = append(again, i), true
			default:
				if s.said[i].keyed {
					again, refused = append(again, i), true
				}
			}
		}
		if over {
			again = s.open(again)
		}
		if s.twice && len(again) > 0 {
			s.hangUp()
			s.at = s.p.somewhere(s.at)
		}
		if refused {
			<-time.After(repeatAfter)
		}
	}
	return nil
}

// open are those of some messages that may have been heard.
func (s *clusterPublisher) open(of []int) (open []int) {
	for _, i := range of {
		for _, a := range s.said[i].answers {
			if a.code == saidUnknown || a.code == saidCut {
				open = append(open, i)
				break
			}
		}
	}
	return open
}

// say says messages in one write, and notes one answer to each.
func (s *clusterPublisher) say(batch []int) error {
	if len(batch) == 0 {
		return nil
	}
	if err := s.connect(); err != nil {
		return err
	}
	ids, commands := make([]string, len(batch)), make([]string, len(batch))
	for at, i := range batch {
		s.ids++
		ids[at] = fmt.Sprint(s.ids)
		key := ""
		if s.said[i].keyed {
			key = `,"key":` + quote(s.said[i].text)
		}
		commands[at] = fmt.Sprintf(`{"id":%s,"cmd":"send_to_group","group_id":%s,"message":%s%s}`, ids[at], quote(s.group.name), quote(s.said[i].text), key)
	}
	begun := time.Now()
	err := s.conn.commands(commands...)
	for at, i := range batch {
		a := told{code: saidCut}
		if err == nil {
			var r reply
			if r, err = s.conn.replyTo(ids[at]); err == nil {
				a.code = r.code()
				if r.OK && r.Seq != nil {
					a.offset = *r.Seq
					s.accepted(a.offset)
				}
				longest(&s.p.waited, int64(time.Since(begun)))
			}
		}
		var silent net.Error
		if errors.As(err, &silent) && silent.Timeout() {
			a.code = saidNothing
		}
		if a.code == "stopping" { // the node is about to go, and nothing was sent
			a.code = saidBusy
			err = errGone
		}
		s.said[i].answers = append(s.said[i].answers, a)
	}
	if err != nil {
		s.hangUp()
		s.at = s.p.somewhere(s.at)
	}
	return nil
}

func (s *clusterPublisher) accepted(offset uint64) {
	s.p.attempts.Add(1)
	for old := s.group.accepted.Load(); offset > old && !s.group.accepted.CompareAndSwap(old, offset); old = s.group.accepted.Load() {
	}
}

// connect sees to it that there is a connection, to whatever node lets it in.
func (s *clusterPublisher) connect() (err error) {
	for deadline := time.Now().Add(3 * patience); s.conn == nil; {
		if s.conn, err = open(s.at.listen, dialing{inside: s.at.inside}); err == nil {
			return nil
		}
		s.conn = nil
		if s.p.given() || time.Now().After(deadline) {
			return fmt.Errorf("publisher %d of %s finds no node: %w", s.number, s.group.name, err)
		}
		<-time.After(repeatAfter)
		s.at = s.p.somewhere(s.at)
	}
	return nil
}

func (s *clusterPublisher) hangUp() {
	if s.conn != nil {
		s.conn.hangUp()
		s.conn = nil
	}
}

// insist says one message until it is accepted.
func (s *clusterPublisher) insist(text string) (utterance, error) {
	defer s.hangUp()
	s.said = []utterance{{publisher: s.number, text: text, keyed: true}}
	for deadline := time.Now().Add(3 * patience); ; {
		if err := s.say([]int{0}); err != nil {
			return s.said[0], err
		}
		last := s.said[0].answers[len(s.said[0].answers)-1].code
		if last == saidOK {
			return s.said[0], nil
		}
		if s.p.given() || time.Now().After(deadline) {
			return s.said[0], fmt.Errorf("%q is not accepted; the last answer is %q", text, last)
		}
		<-time.After(repeatAfter)
	}
}
