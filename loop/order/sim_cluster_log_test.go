package order

import (
	"fmt"
	"slices"
	"time"

	"ringcast/dialect"
)

// This file is the simulated log: what many machines put their publishes in order with. It is made up and exact, so it is the model too:
// what it has in a group, in its order, is what everybody must hear.

// simPartition is the log of the groups of a partition.
type simPartition struct {
	number  int
	epoch   Epoch
	entries []*simEntry // of all epochs, in their order
	first   int         // in entries: where the epoch begins
	tip     uint64      // the last offset that was given, to whatever
	ids     map[keyName]*simEntry
}

// simEntry has its place in the order.
type simEntry struct {
	epoch   Epoch
	offset  uint64
	prev    uint64
	at      int // in entries
	nth     int // in the entries of its group
	group   string
	publish *simPublish // nil: it forgets
	tick    uint32

	machine *simMachine // that has offered it
	token   uint64      // 0: who has said it was refused
}

func (e *simEntry) kept() bool { return e.publish != nil && !e.publish.said.Unkept }

// simOffer is what a machine wants to have put in order.
type simOffer struct {
	Offer
	publish *simPublish // nil: it forgets
	refused bool        // as unconfirmed: nobody waits for it, and it may come
}

// add puts something at the end of the log.
func (c *simCluster) add(p *simPartition, o *simOffer, m *simMachine) {
	group := o.Message.Group
	p.tip += uint64(1 + c.rng.IntN(2)*c.rng.IntN(4))
	e := &simEntry{epoch: p.epoch, offset: p.tip, at: len(p.entries), nth: len(c.groups[group]), group: group, publish: o.publish, machine: m, tick: c.now}
	if before := c.entries(group, p.epoch); len(before) > 0 {
		e.prev = before[len(before)-1].offset
	}
	if e.token = o.Token; o.refused {
		e.token = 0
		c.count.late++
	}
	if o.publish != nil {
		c.must(o.publish.entry == nil, "publish %d is put in order a second time", o.publish.index)
		o.publish.entry = e
		from := senderIn{o.publish.sender(), group}
		c.must(c.lastOf[from] <= o.publish.index, "publish %d is put in order behind %d of the same sender", o.publish.index, c.lastOf[from])
		c.lastOf[from] = o.publish.index
		if o.Key != "" {
			p.ids[keyName{group, o.Key}] = e
		}
	}
	p.entries, c.groups[group] = append(p.entries, e), append(c.groups[group], e)
	c.count.ordered++
}

// entries is what the log has had of a group in an epoch.
func (c *simCluster) entries(group string, epoch Epoch) []*simEntry {
	list := c.groups[group]
	from, _ := slices.BinarySearchFunc(list, epoch, func(e *simEntry, epoch Epoch) int { return int(e.epoch) - int(epoch) })
	to, _ := slices.BinarySearchFunc(list, epoch+1, func(e *simEntry, epoch Epoch) int { return int(e.epoch) - int(epoch) })
	return list[from:to]
}

// behind is the first place in a group's entries that is behind a position.
func (c *simCluster) behind(group string, at Position) int {
	n, _ := slices.BinarySearchFunc(c.groups[group], at, func(e *simEntry, at Position) int {
		if e.epoch < at.Epoch || e.epoch == at.Epoch && e.offset <= at.Offset {
			return -1
		}
		return 1
	})
	return n
}

// lose has the log of a partition lose all that it has: another one begins. Epochs ascend here, which nobody else may count on.
func (c *simCluster) lose(p *simPartition) {
	p.epoch++
	p.first, p.tip, p.ids = len(p.entries), 0, map[keyName]*simEntry{}
	c.count.epochs++
}

// Offer is the orderer's, as is Recall.
func (m *simMachine) Offer(home int, o Offer) bool {
	c := m.c
	group := o.Message.Group
	c.must(home == m.hs.Of(group) && o.Partition == c.partitionOf(group), "%s: home %d offers group %s of partition %d", m, home, group, o.Partition)
	c.must(m.hs.homes[home].held.Load(), "%s: home %d offers, and nobody holds it", m, home)
	if o.Fast {
		m.offerFast(o)
		return c.rng.IntN(4) > 0
	}
	c.must(o.Token != 0 && !m.tokens[keyToken{home, o.Token}], "%s: home %d offers token %d, which is none or another's", m, home, o.Token)
	var p *simPublish
	if !o.Forgets {
		p = c.publishOf(o.Message)
		c.must(!c.kinds[c.number(group)].Fast || c.changing, "%s: publish %d is of a fast group", m, p.index)
		c.must(p.machine == m && p.sent && p.group == group && p.said.Key == o.Key && !p.offered, "%s: publish %d is offered as another, or a second time", m, p.index)
		c.must(string(p.payload) == string(o.Message.Payload()) && p.soon == o.Soon && p.said.Unkept == o.Message.Unkept() && p.said.JSON == o.Message.JSON, "%s: publish %d is offered as %+v", m, p.index, o.Message)
		m.mustBeNew(home, p)
	}
	if c.full > 0 && c.rng.IntN(100) < c.full && !c.fair {
		c.count.full++
		return false
	}
	m.tokens[keyToken{home, o.Token}] = true
	if p != nil {
		p.offered = true
	}
	m.queues[o.Partition] = append(m.queues[o.Partition], &simOffer{Offer: o, publish: p})
	return true
}

type keyToken struct {
	home  int
	token uint64
}

// mustBeNew judges that a home offers a publish with a key: nothing has come to it under that key for as long as it is remembered.
func (m *simMachine) mustBeNew(home int, p *simPublish) {
	at := m.hs.homes[home].ordering.of(p.group)
	for _, e := range m.c.entries(p.group, at.epoch) {
		if e.publish != nil && p.said.Key != "" && e.publish.said.Key == p.said.Key && e.offset <= at.tip {
			tick, put := m.put[e]
			m.c.must(!put || m.c.now-tick >= simKeyTicks, "%s: publish %d repeats %d, which has come here, and is offered", m, p.index, e.publish.index)
		}
	}
}

// advance has something that a machine has offered be put in order, or not.
func (m *simMachine) advance(p *simPartition) (moved bool) {
	c, queue := m.c, m.queues[p.number]
	if len(queue) == 0 {
		return false
	}
	at := 0
	if i := c.rng.IntN(len(queue)); !slices.ContainsFunc(queue[:i], func(o *simOffer) bool { return o.Message.Group == queue[i].Message.Group }) {
		at = i // only of one group is the order what it was offered in
	}
	o := queue[at]
	m.queues[p.number] = slices.Delete(queue, at, at+1)
	first := p.ids[keyName{o.Message.Group, o.Key}]
	roll := 100
	if !c.fair {
		roll = c.rng.IntN(100)
	}
	switch {
	case o.refused && roll < 40: // it never comes
	case !o.refused && roll < c.refusing:
		m.refuse(o, ErrUnavailable)
	case !o.refused && roll < c.refusing+c.refusing/2:
		m.refuse(o, ErrBusy)
	case !o.refused && roll < 2*c.refusing:
		m.refuse(o, ErrUnconfirmed)
	case o.Key != "" && first != nil && c.now-first.tick < simLogKeyTicks:
		c.must(o.publish != nil, "%s: a forget with a key", m)
		if !o.refused {
			o.publish.repeats = first
			m.tell("repeated", func() error { return m.inlet.Repeated(over, m.hs.Of(o.Message.Group), o.Token, first.offset) })
			c.count.repeated++
		}
	default:
		c.add(p, o, m)
	}
	return true
}

// unconfirm refuses something that is on its way, and may come after all.
func (m *simMachine) unconfirm(p *simPartition) {
	for _, o := range m.queues[p.number] {
		if !o.refused && m.c.rng.IntN(3) == 0 {
			o.refused = true
			m.refuse(o, ErrUnconfirmed)
			return
		}
	}
	for at := m.readers[p.number].at; at < len(p.entries); at++ {
		if e := p.entries[at]; e.machine == m && e.token != 0 {
			m.unconfirmEntry(e)
			return
		}
	}
}

func (m *simMachine) unconfirmEntry(e *simEntry) {
	m.refuse(&simOffer{Offer: Offer{Message: &Message{Message: dialect.Message{Group: e.group}}, Token: e.token}, publish: e.publish}, ErrUnconfirmed)
	e.token = 0
}

func (m *simMachine) refuse(o *simOffer, why error) {
	if o.publish != nil {
		m.c.must(o.publish.refused == nil, "publish %d is refused a second time", o.publish.index)
		o.publish.refused = why
	}
	m.c.count.refused[why]++
	home, token := m.hs.Of(o.Message.Group), o.Token
	m.tell(fmt.Sprint("refused ", token), func() error { return m.inlet.Refused(over, home, token, why) })
}

// Recall is asked for all that the log keeps of a group.
func (m *simMachine) Recall(home int, group string) bool {
	c := m.c
	c.must(home == m.hs.Of(group) && m.hs.homes[home].held.Load(), "%s: home %d recalls group %s", m, home, group)
	c.must(!slices.ContainsFunc(m.recalls, func(r *simRecall) bool { return r.group == group }), "%s: group %s is recalled twice at once", m, group)
	if c.failing > 0 && c.rng.IntN(100) < c.failing && !c.fair {
		c.count.recallsFull++
		return false
	}
	m.recalls = append(m.recalls, &simRecall{home: home, group: group, epoch: m.hs.homes[home].ordering.of(group).epoch})
	c.count.recalls++
	return true
}

// simRecall is a recall that is not answered.
type simRecall struct {
	home  int
	group string
	epoch Epoch     // as the home knew it
	says  *Recalled // as the log was; nil: it was not asked yet
}

// recall goes on with a recall of a machine: it asks the log, or says what that has said.
func (m *simMachine) recall() (moved bool) {
	c := m.c
	if len(m.recalls) == 0 {
		return false
	}
	at := c.rng.IntN(len(m.recalls))
	r := m.recalls[at]
	if r.says == nil {
		r.says = c.recalled(r.group)
		return true
	}
	m.recalls = slices.Delete(m.recalls, at, at+1) // before: the home may ask again at once
	if m.inlet.Recalled(over, r.home, *r.says) != nil {
		m.recalls = append(m.recalls, r)
		return false
	}
	return true
}

// recalled is what the log keeps of a group.
func (c *simCluster) recalled(group string) *Recalled {
	r := &Recalled{Group: group}
	if c.failing > 0 && c.rng.IntN(100) < c.failing && !c.fair {
		c.count.recallsFailed++
		r.Failed = true
		return r
	}
	r.Epoch = c.partitions[c.partitionOf(group)].epoch
	list := c.entries(group, r.Epoch)
	if len(list) > 0 {
		r.Upto = list[len(list)-1].offset
	}
	most := c.logMax
	if c.partial && c.rng.IntN(3) == 0 {
		most = c.rng.IntN(4) // the log has lost its oldest, of all groups
	}
	if from := len(list) - most; from > 0 {
		r.Floor, list = list[from-1].offset, list[from:]
		c.count.partial++
	}
	for _, e := range list {
		switch {
		case e.publish == nil:
			r.Messages, r.Ages, r.Floor = nil, nil, e.offset
		case e.kept():
			message := e.publish.copy()
			message.Offset = e.offset
			r.Messages, r.Ages = append(r.Messages, message), append(r.Ages, time.Duration(c.now-e.tick)*simTick)
		}
	}
	return r
}
