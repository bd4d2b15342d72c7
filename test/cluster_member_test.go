package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// clusterMember is a member of one group over all its lives. A roaming one speaks the Centrifuge protocol: when its connection ends it goes to
// another node and asks for what it has missed. A plain one is told no offsets, and does not come back.
type clusterMember struct {
	p       *clusterPlay
	who     string
	group   *clusterGroup
	plain   bool
	at      atomic.Pointer[node] // where it is, or was last
	dialing dialing

	mu       sync.Mutex
	hearings []hearing // the last one is the present one
	epoch    string
	dead     bool // it is plain and its connection has ended

	count     atomic.Int64  // messages heard
	position  atomic.Uint64 // the last offset
	resumes   atomic.Int64
	silence   time.Duration // the longest between two messages of a connection, or over connections if it roams
	lastHeard time.Time
	conn      *client // of its own goroutine
}

// errGone is why a roaming member begins another life.
var errGone = errors.New("the connection has ended")

func (m *clusterMember) note(offset uint64, text string) {
	m.mu.Lock()
	h := &m.hearings[len(m.hearings)-1]
	h.heard = append(h.heard, heard{offset, text})
	h.ended = text == m.group.last()
	m.mu.Unlock()
	now := time.Now()
	if !m.lastHeard.IsZero() {
		m.silence = max(m.silence, now.Sub(m.lastHeard))
	}
	m.lastHeard = now
	m.position.Store(max(offset, m.position.Load()))
	m.count.Add(1)
}

func (m *clusterMember) hasEnded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hearings) > 0 && m.hearings[len(m.hearings)-1].ended
}

// live is all lives of a member, up to the group's last message. joined is called at the beginning of the first.
func (m *clusterMember) live(joined func()) error {
	first := sync.OnceFunc(joined)
	for life := 0; ; life++ {
		var err error
		if m.plain {
			err = m.livePlain(first)
		} else {
			err = m.liveRoaming(first)
		}
		if m.conn != nil {
			m.conn.hangUp()
			m.conn = nil
		}
		switch {
		case m.hasEnded():
			return nil
		case m.plain && m.count.Load() > 0 && errors.Is(err, errGone):
			m.mu.Lock()
			m.dead = true
			m.mu.Unlock()
			return nil
		case !errors.Is(err, errGone):
			return fmt.Errorf("%s: %w", m.who, err)
		case m.p.given():
			return fmt.Errorf("%s has not heard the last message; last: %w", m.who, err)
		}
		<-time.After(20*time.Millisecond + rand.N(200*time.Millisecond))
		m.at.Store(m.p.somewhere(m.at.Load()))
	}
}

// silenceMax is how long a member may hear nothing: longer than any fault takes, with the elections behind it.
const silenceMax = 3 * patience

// nextOfMember is next, for one who waits longer.
func (c *client) nextOfMember() (string, error) {
	for deadline := time.Now().Add(silenceMax); ; {
		e, err := c.readUntil(deadline)
		switch {
		case err != nil:
			return "", err
		case e.op == ws.OpText:
			return e.text, nil
		case e.op == ws.OpClose:
			return "", closedError{e.code, e.text}
		}
	}
}

// lifeEnds says whether an error ends a life, or is a fault.
func lifeEnds(err error) error {
	if timeout := interface{ Timeout() bool }(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("heard nothing for %v: %w", silenceMax, err)
	}
	return fmt.Errorf("%w: %w", errGone, err)
}

func (m *clusterMember) livePlain(joined func()) error {
	c, err := open(m.at.Load().listen, m.dial(""))
	if err != nil {
		return lifeEnds(err)
	}
	m.conn = c
	if err := c.join(m.group.name); err != nil {
		return err
	}
	m.mu.Lock()
	m.hearings = append(m.hearings, hearing{who: m.who})
	m.mu.Unlock()
	joined()
	for {
		text, err := c.nextOfMember()
		if err != nil {
			return lifeEnds(err)
		}
		m.note(0, text)
		if m.hasEnded() {
			return nil
		}
	}
}

func (m *clusterMember) dial(path string) dialing {
	d := m.dialing
	d.path, d.inside, d.small = path, m.at.Load().inside, true
	if d.inside != nil {
		d.from = ""
	}
	return d
}

// cfPublication and cfLine are what Centrifuge clients are sent, as far as these members read it.
type cfPublication struct {
	Data   string `json:"data"`
	Offset uint64 `json:"offset"`
}

type cfLine struct {
	ID    int `json:"id"`
	Error *struct {
		Code      int    `json:"code"`
		Message   string `json:"message"`
		Temporary bool   `json:"temporary"`
	} `json:"error"`
	Subscribe *struct {
		Recovered    bool            `json:"recovered"`
		Recoverable  bool            `json:"recoverable"`
		Epoch        string          `json:"epoch"`
		Offset       uint64          `json:"offset"`
		Publications []cfPublication `json:"publications"`
	} `json:"subscribe"`
	Push *struct {
		Pub         *cfPublication `json:"pub"`
		Unsubscribe *struct {
			Code int `json:"code"`
		} `json:"unsubscribe"`
	} `json:"push"`
}

func (m *clusterMember) liveRoaming(joined func()) error {
	c, err := open(m.at.Load().listen, m.dial(centrifugePath))
	if err != nil {
		return lifeEnds(err)
	}
	m.conn = c
	again := len(m.hearings) > 0
	subscribe := `{"channel":` + quote(m.group.name) + `}`
	if again {
		subscribe = fmt.Sprintf(`{"channel":%s,"recover":true,"epoch":%s,"offset":%d}`, quote(m.group.name), quote(m.epoch), m.position.Load())
	}
	if err := c.text(`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":` + subscribe + `}`); err != nil {
		return lifeEnds(err)
	}
	for {
		text, err := c.nextOfMember()
		if err != nil {
			return lifeEnds(err)
		}
		for one := range strings.SplitSeq(text, "\n") {
			if one == "{}" {
				if err := c.text("{}"); err != nil {
					return lifeEnds(err)
				}
				continue
			}
			var line cfLine
			if err := json.Unmarshal([]byte(one), &line); err != nil {
				return fmt.Errorf("got %.200q: %w", one, err)
			}
			switch {
			case line.Error != nil && line.Error.Temporary:
				return fmt.Errorf("%w: subscribe refused with %d %s", errGone, line.Error.Code, line.Error.Message)
			case line.Error != nil:
				return fmt.Errorf("subscribe refused with %d %s", line.Error.Code, line.Error.Message)
			case line.Subscribe != nil:
				if err := m.subscribed(again, &line); err != nil {
					return err
				}
				joined()
			case line.Push != nil && line.Push.Pub != nil:
				m.note(line.Push.Pub.Offset, line.Push.Pub.Data)
			case line.Push != nil && line.Push.Unsubscribe != nil:
				return fmt.Errorf("%w: unsubscribed with %d", errGone, line.Push.Unsubscribe.Code)
			}
		}
		if m.hasEnded() {
			return nil
		}
	}
}

func (m *clusterMember) subscribed(again bool, line *cfLine) error {
	in := line.Subscribe
	if !in.Recoverable {
		return fmt.Errorf("subscribed to %s without a position: %+v", m.group.name, *in)
	}
	if again && in.Recovered {
		if in.Epoch != m.epoch {
			return fmt.Errorf("recovered, but with the epoch %q in place of %q", in.Epoch, m.epoch)
		}
		m.resumes.Add(1)
		for _, pub := range in.Publications {
			m.note(pub.Offset, pub.Data)
		}
		return nil
	}
	if again {
		m.p.lost.Add(1)
		if !m.p.mayLose {
			return fmt.Errorf("came back to %s behind offset %d of epoch %q and was not recovered: %+v", m.at.Load().name(), m.position.Load(), m.epoch, *in)
		}
	}
	m.mu.Lock()
	m.hearings = append(m.hearings, hearing{who: m.who, from: in.Offset})
	m.mu.Unlock()
	m.epoch = in.Epoch
	m.position.Store(in.Offset)
	return nil
}
