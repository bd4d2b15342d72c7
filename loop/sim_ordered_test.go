package loop

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringcast/loop/order"
)

// This file is the orderer of a simulated world whose homes do not number publishes themselves: it does that at once, or somewhat later,
// with numbers that ascend and are not dense. What it has said is the log that recoveries are held against. What a cluster does beyond
// that is simulated in package order.

// simOrderer is the orderer of a world. nil: homes number their publishes, from 1 and densely.
type simOrderer struct {
	w          *world
	inlet      *Inlet
	partitions []*simPartition
	keys       map[[2]string]uint64 // group and key
	recalls    []string             // groups
	places     map[int]uint64       // by number of the message
	done       uint64
	recalled   uint64
	refused    uint64
}

// simPartition is what has one order.
type simPartition struct {
	tip    uint64
	offers []order.Offer // not in order yet
	coming []order.Ordered
	groups map[string][]simOrdered
	words  []func() error // to homes, that wait for room
}

// simOrdered is a message with its place.
type simOrdered struct {
	offset uint64
	tick   uint32
	kept   bool
	copy   func() *Message
}

// simOver is a context that has ended: who waits for room with it does not wait.
var simOver = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (w *world) newOrderer() *simOrderer {
	o := &simOrderer{w: w, keys: map[[2]string]uint64{}, places: map[int]uint64{}}
	for range 1 + w.rng.IntN(5) {
		o.partitions = append(o.partitions, &simPartition{tip: uint64(w.rng.IntN(3)), groups: map[string][]simOrdered{}})
	}
	w.hub.SetOrderer(o, o.partition, len(o.partitions))
	var err error
	o.inlet, err = w.hub.NewInlet()
	w.must(err == nil, "inlet: %v", err)
	for i, p := range o.partitions {
		w.must(o.inlet.Epoch(simOver, i, Epoch(7+i), p.tip) == nil, "partition %d does not begin", i)
	}
	return o
}

func (o *simOrderer) partition(group string) int {
	h := fnv.New32a()
	h.Write([]byte(group))
	return int(h.Sum32() % uint32(len(o.partitions)))
}

// Offer is the orderer's, as is Recall.
func (o *simOrderer) Offer(home int, offer order.Offer) bool {
	p := o.partitions[offer.Partition]
	p.offers = append(p.offers, offer)
	return true
}

func (o *simOrderer) Recall(home int, group string) bool {
	o.w.must(!slices.Contains(o.recalls, group), "group %s is recalled twice at once", group)
	o.recalls = append(o.recalls, group)
	return true
}

// event is what the orderer may do now and then.
func (o *simOrderer) event() {
	if o != nil {
		for range 1 + o.w.rng.IntN(8) {
			o.step(o.partitions[o.w.rng.IntN(len(o.partitions))])
		}
	}
}

// all has everything come.
func (o *simOrderer) all() {
	if o == nil {
		return
	}
	for _, p := range o.partitions {
		for o.step(p) {
		}
	}
}

// step does one thing of a partition, or answers a recall.
func (o *simOrderer) step(p *simPartition) (moved bool) {
	switch {
	case len(p.words) > 0:
		if moved = p.words[0]() == nil; moved {
			p.words = p.words[1:]
		}
	case len(p.coming) > 0:
		if moved = o.inlet.Ordered(simOver, p.coming[0]) == nil; moved {
			p.coming = p.coming[1:]
		}
	case len(p.offers) > 0:
		offer := p.offers[0]
		p.offers, moved = p.offers[1:], true
		o.order(p, &offer)
	case len(o.recalls) > 0:
		if moved = o.recall(o.recalls[0]); moved {
			o.recalls = o.recalls[1:]
			o.recalled++
		}
	}
	if moved {
		o.done++
	}
	return moved
}

// moves is how much the orderer has done.
func (o *simOrderer) moves() uint64 {
	if o == nil {
		return 0
	}
	return o.done
}

// place is where a message is in the order, if it is.
func (o *simOrderer) place(m *simMessage) (offset uint64, is bool) {
	if o == nil {
		return 0, false
	}
	offset, is = o.places[m.number]
	return offset, is
}

// order puts an offer in its place.
func (o *simOrderer) order(p *simPartition, offer *order.Offer) {
	m := offer.Message
	key := [2]string{m.Group, offer.Key}
	if first, is := o.keys[key]; is && offer.Key != "" {
		home, token := o.w.hub.homes.Of(m.Group), offer.Token
		p.words = append(p.words, func() error { return o.inlet.Repeated(simOver, home, token, first) })
		return
	}
	if o.refuses(p, offer) {
		return
	}
	p.tip += uint64(1 + o.w.rng.IntN(3)*o.w.rng.IntN(2))
	o.keys[key] = p.tip
	if part := strings.SplitN(string(m.Payload()), "|", 5); len(part) == 5 && !o.w.stranger {
		number, _ := strconv.Atoi(part[1])
		o.places[number] = p.tip
	}
	said := order.Ordered{Partition: offer.Partition, Offset: p.tip, Key: offer.Key, Token: offer.Token}
	log := p.groups[m.Group]
	if len(log) > 0 {
		said.Prev = log[len(log)-1].offset
	}
	group, payload, json, more, loop, serial := m.Group, m.Payload(), m.JSON, m.More, m.SenderLoop, m.SenderSerial
	place := simOrdered{offset: p.tip, kept: !m.Unkept(), tick: o.w.hub.clock.Load(), copy: func() *Message {
		c := order.NewOrderedMessage([]byte(group), payload, json, more)
		c.SenderLoop, c.SenderSerial = loop, serial
		return c
	}}
	if said.Token == 0 || o.w.chance(50) {
		said.Message = place.copy()
	}
	p.groups[m.Group] = append(log, place)
	p.coming = append(p.coming, said)
}

// refuses says whether an offer is refused and never comes. It may also be refused, and come: then nobody waits for it any more.
func (o *simOrderer) refuses(p *simPartition, offer *order.Offer) bool {
	w := o.w
	part := strings.SplitN(string(offer.Message.Payload()), "|", 5)
	if len(part) < 5 || w.stranger || offer.Key != "" || !w.chance(4) {
		return false
	}
	number, _ := strconv.Atoi(part[1])
	m := w.sent[number]
	if m.from == nil && m.said == nil {
		return false // nobody would be told
	}
	m.refused = order.ErrUnconfirmed
	if w.chance(50) {
		m.refused = order.ErrUnavailable
	}
	home, token, why := w.hub.homes.Of(m.group), offer.Token, m.refused
	p.words = append(p.words, func() error { return o.inlet.Refused(simOver, home, token, why) })
	if o.refused++; why == order.ErrUnavailable || w.chance(50) {
		return true
	}
	offer.Token = 0
	return false
}

// recall says what the log keeps of a group.
func (o *simOrderer) recall(group string) bool {
	number := o.partition(group)
	r := order.Recalled{Group: group, Epoch: Epoch(7 + number)}
	for _, said := range o.partitions[number].groups[group] {
		if r.Upto = said.offset; said.kept {
			m := said.copy()
			m.Offset = said.offset
			r.Messages = append(r.Messages, m)
			r.Ages = append(r.Ages, time.Duration(o.w.hub.clock.Load()-said.tick)*tickPeriod)
		}
	}
	return o.inlet.Recalled(simOver, o.w.hub.homes.Of(group), r) == nil
}

// between is the numbers behind one and up to another that messages of a group have, or have had.
func (w *world) between(group string, from, to uint64) (numbers []uint64) {
	if w.orderer == nil {
		for n := from + 1; n <= to; n++ {
			numbers = append(numbers, n)
		}
		return numbers
	}
	for _, said := range w.orderer.partitions[w.orderer.partition(group)].groups[group] {
		if said.kept && said.offset > from && said.offset <= to {
			numbers = append(numbers, said.offset)
		}
	}
	return numbers
}

// isNext says whether a number is the next one of a group behind another.
func (w *world) isNext(group string, before, number uint64) bool {
	return number > before && len(w.between(group, before, number)) == 1
}
