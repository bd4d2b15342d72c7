package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clusterPlay is publishers and members on all nodes of a cluster, while something happens to it. In the end everything that they said and
// heard is judged.
type clusterPlay struct {
	t       *testing.T
	c       *cluster
	groups  []*clusterGroup
	members []*clusterMember
	mayLose bool // members may be told that they cannot be given what they missed

	over     chan struct{} // closed when publishers are to end
	publish  sync.WaitGroup
	hear     sync.WaitGroup
	failed   chan error
	lost     atomic.Int64 // members that were not recovered
	givenUp  atomic.Bool
	joined   atomic.Int64
	waited   atomic.Int64 // the longest that a publisher has waited for an answer, nanoseconds
	attempts atomic.Int64 // that were answered ok
}

// clusterGroup is one group of a play.
type clusterGroup struct {
	name       string
	p          *clusterPlay
	publishers []*clusterPublisher
	members    []*clusterMember
	accepted   atomic.Uint64 // the highest offset that was answered
	final      []utterance   // the last message
}

func (g *clusterGroup) last() string { return g.name + " is over" }

// playing is the size of a play; its zero value is small.
type playing struct {
	name    string // of its groups, in front of the test's
	groups  int    // 6
	roaming int    // members of each group on each node that come back: 2
	crowd   int    // and in all groups together on the node crowded
	crowded *node
	pace    time.Duration // of each publisher's batches; 40 ms
	batch   int           // messages that a publisher says before it waits for their answers; 4
	twice   bool          // publishers repeat what has a key, see clusterPublisher
	mayLose bool
}

// startPlay has everybody join, and publishers begin. Of each group one publisher is on each node, and so is a plain member.
func (c *cluster) startPlay(t *testing.T, o playing) *clusterPlay {
	t.Helper()
	if o.groups == 0 {
		o.groups = 6
	}
	if o.roaming == 0 {
		o.roaming = 2
	}
	if o.pace == 0 {
		o.pace = 40 * time.Millisecond
	}
	if o.batch == 0 {
		o.batch = 4
	}
	p := &clusterPlay{t: t, c: c, mayLose: o.mayLose, over: make(chan struct{}), failed: make(chan error, 10_000)}
	for i := range o.groups {
		g := &clusterGroup{name: fmt.Sprintf("%s%d in %.200s", o.name, i, t.Name()), p: p}
		p.groups = append(p.groups, g)
		for _, n := range c.nodes {
			p.join(g, n, true)
			for range o.roaming {
				p.join(g, n, false)
			}
			g.publishers = append(g.publishers, &clusterPublisher{p: p, group: g, number: len(g.publishers), at: n, pace: o.pace, batch: o.batch, twice: o.twice})
		}
	}
	for i := range o.crowd {
		p.join(p.groups[i%o.groups], o.crowded, false)
	}
	p.begin(o)
	return p
}

func (p *clusterPlay) join(g *clusterGroup, n *node, plain bool) {
	kind := "roaming"
	if plain {
		kind = "plain"
	}
	m := &clusterMember{p: p, group: g, plain: plain, who: fmt.Sprintf("%s member %d of %s, first on %s", kind, len(p.members), g.name, n.name())}
	m.at.Store(n)
	m.dialing.from = elsewhere(len(p.members))
	p.members, g.members = append(p.members, m), append(g.members, m)
}

func (p *clusterPlay) begin(o playing) {
	p.t.Helper()
	gate := make(chan struct{}, 64) // so many connect at once
	for _, m := range p.members {
		p.hear.Go(func() {
			gate <- struct{}{}
			p.fail(m.live(func() { <-gate; p.joined.Add(1) }))
		})
	}
	p.eventually("all members have joined", func() error {
		if got := int(p.joined.Load()); got < len(p.members) {
			return fmt.Errorf("got %d of %d", got, len(p.members))
		}
		return nil
	})
	for _, g := range p.groups {
		for _, s := range g.publishers {
			p.publish.Go(func() { p.fail(s.live()) })
		}
	}
	p.goOn()
}

func (p *clusterPlay) fail(err error) {
	if err != nil {
		p.failed <- err
	}
}

func (p *clusterPlay) given() bool { return p.givenUp.Load() }

// somewhere is a node where one can go that was at another.
func (p *clusterPlay) somewhere(from *node) *node {
	for i := 1; i <= len(p.c.nodes); i++ {
		if n := p.c.nodes[(from.i+i)%len(p.c.nodes)]; !n.away.Load() {
			return n
		}
	}
	return from
}

// eventually waits for a condition, and gives up everything when somebody has failed.
func (p *clusterPlay) eventually(what string, f func() error) {
	p.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(3 * patience)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case err := <-p.failed:
			p.givenUp.Store(true)
			p.t.Fatalf("while waiting for: %s: %v", what, err)
		case <-late:
			p.givenUp.Store(true)
			p.t.Fatalf("waited for: %s; last: %v", what, err)
		case <-again.C:
		}
	}
}

// goOn waits until every member but those on some nodes has heard a message that was accepted after the call.
func (p *clusterPlay) goOn(but ...*node) {
	p.t.Helper()
	begun := make([]uint64, len(p.groups))
	counts := map[*clusterMember]int64{}
	for i, g := range p.groups {
		begun[i] = g.accepted.Load()
		for _, m := range g.members {
			counts[m] = m.count.Load()
		}
	}
	p.eventually("all publish and hear", func() error {
		for i, g := range p.groups {
			now := g.accepted.Load()
			if now <= begun[i] {
				return fmt.Errorf("%s: nothing is accepted behind offset %d", g.name, now)
			}
			for _, m := range g.members {
				if m.out(but) {
					continue
				}
				if m.plain && m.count.Load() <= counts[m] || !m.plain && m.position.Load() <= begun[i] {
					return fmt.Errorf("%s has heard %d messages up to offset %d, want more than %d behind offset %d", m.who, m.count.Load(), m.position.Load(), counts[m], begun[i])
				}
			}
		}
		return nil
	})
}

func (m *clusterMember) out(but []*node) bool {
	for _, n := range but {
		if m.at.Load() == n {
			return true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// finish ends the publishers, has each group say its last message, waits until all have heard it, and judges. It gives the sum of all groups.
func (p *clusterPlay) finish() verdict {
	p.t.Helper()
	close(p.over)
	p.wait("all publishers have ended", &p.publish)
	for _, g := range p.groups {
		s := &clusterPublisher{p: p, group: g, number: clusterNodes, at: p.somewhere(p.c.nodes[0])}
		p.publish.Go(func() {
			said, err := s.insist(g.last())
			g.final = []utterance{said}
			p.fail(err)
		})
	}
	p.wait("the last messages are accepted", &p.publish)
	p.wait("all members have heard the last messages", &p.hear)
	for _, g := range p.groups {
		for _, s := range g.publishers {
			s.hangUp()
		}
	}
	return p.judge()
}

func (p *clusterPlay) wait(what string, running *sync.WaitGroup) {
	p.t.Helper()
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	p.eventually(what, func() error {
		select {
		case <-done:
			return nil
		default:
			var waiting []string
			for _, m := range p.members {
				if !m.hasEnded() {
					waiting = append(waiting, m.who)
				}
			}
			return fmt.Errorf("still waiting; members that have not heard the last: %s", brief(waiting))
		}
	})
}

// judge compares what was said with what was heard by members, and with what each node's history has.
func (p *clusterPlay) judge() (sum verdict) {
	p.t.Helper()
	var resumes int64
	var silence time.Duration
	who := ""
	for _, g := range p.groups {
		var all []utterance
		for _, s := range g.publishers {
			all = append(all, s.said...)
		}
		var hearings []hearing
		for _, m := range g.members {
			hearings = append(hearings, m.hearings...)
			resumes += m.resumes.Load()
			if m.silence > silence {
				silence, who = m.silence, m.who
			}
		}
		for _, n := range p.c.nodes {
			if !n.away.Load() {
				hearings = append(hearings, n.history(p.t, g))
			}
		}
		v := judgeGroup(append(all, g.final...), hearings, g.last())
		for i, fault := range v.faults {
			if i == failuresShown {
				p.t.Errorf("%s: and %d more", g.name, len(v.faults)-i)
				break
			}
			p.t.Errorf("%s: %s", g.name, fault)
		}
		sum.add(v)
	}
	p.t.Logf("%d messages; attempts: %d ok, %d busy, %d unavailable, %d unknown, %d cut (%d of these heard), %d repeats by key; %d members, %d resumes, %d not recovered; "+
		"the longest wait for an answer %v, the longest silence %v (%s)", sum.messages, sum.ok, sum.busy, sum.unavailable, sum.unknown, sum.cut, sum.lateHeard, sum.repeated,
		len(p.members), resumes, p.lost.Load(), time.Duration(p.waited.Load()).Round(time.Millisecond), silence.Round(time.Millisecond), who)
	return sum
}

func (v *verdict) add(o *verdict) {
	v.faults = append(v.faults, o.faults...)
	v.ok, v.busy, v.unavailable, v.unknown, v.cut = v.ok+o.ok, v.busy+o.busy, v.unavailable+o.unavailable, v.unknown+o.unknown, v.cut+o.cut
	v.lateHeard, v.repeated, v.messages = v.lateHeard+o.lateHeard, v.repeated+o.repeated, v.messages+o.messages
}

// history reads all that a node remembers of a group.
func (n *node) history(t *testing.T, g *clusterGroup) hearing {
	t.Helper()
	h := hearing{who: "the history on " + n.name(), ended: true}
	for since := uint64(0); ; {
		body := fmt.Sprintf(`{"channel":%s,"limit":-1,"since":{"offset":%d}}`, quote(g.name), since)
		var answer struct {
			Result struct{ Publications []cfPublication }
			Error  *struct{ Message string }
		}
		eventually(t, "a history", func() error {
			text, err := n.post("/api/history", body)
			if err != nil {
				return err
			}
			answer.Result.Publications, answer.Error = nil, nil
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				return fmt.Errorf("got %.200q: %w", text, err)
			}
			if answer.Error != nil {
				return errors.New(n.name() + ": " + text)
			}
			return nil
		})
		if len(answer.Result.Publications) == 0 {
			return h
		}
		for _, pub := range answer.Result.Publications {
			h.heard = append(h.heard, heard{pub.Offset, pub.Data})
			since = pub.Offset
		}
	}
}

// post calls the server API of a node.
func (n *node) post(path, body string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+n.listen+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("X-API-Key", apiKey)
	_, answer, err := n.ask(r)
	return answer, err
}
