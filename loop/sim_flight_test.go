package loop

import (
	"strconv"
	"strings"
)

// mayBeTooLoud says whether so little may be in flight that a simulated world's publishes are refused for it.
func (b *bounds) mayBeTooLoud() bool { return b.flightBytes < 8<<20 }

// checkTooLoud judges that a home refuses a message: to some loop more of its group is in flight, with it, than each group may
// have, or a port's publish to it is held back. So a stranger of a loud group is never refused for it.
func (w *world) checkTooLoud(home int, m *message) {
	b, most := w.hub.bounds.Load(), 0
	w.must(b.mayBeTooLoud(), "a publish was refused though much may be in flight")
	w.hub.homes.Home(home).EachFlight(func(group string, _ int, _ *group, inFlight int) {
		if group == m.Group {
			most = max(most, inFlight)
		}
	})
	w.must(most+m.Bytes() > b.flightMin || w.hub.homes.Home(home).HeldBack(m.Group), "a message of %s is refused, %d bytes of which are in flight", m.Group, most)
	if m.More != nil && m.More.ClientEvent {
		return // a page is told, see simPage.refused
	}
	part := strings.SplitN(string(m.Payload()), "|", 5)
	if number, err := strconv.Atoi(part[1]); err == nil && !w.stranger {
		w.tooLoud[number]++
		w.must(w.tooLoud[number] == 1 && (w.sent[number].from != nil || w.sent[number].said != nil), "message %d is refused a second time, or a port's", number)
	}
}

// checkFlights holds what homes and loops count of what is in flight against each other and against what there is, at any moment.
func (w *world) checkFlights() {
	b := w.hub.bounds.Load()
	groups, messages := make([]map[*group]int, len(w.hub.shards)), 100+b.MessageBytesMax
	for i, s := range w.hub.shards {
		inFlight, gathered := map[*group]int{}, 0
		for _, g := range s.groups.All() {
			if bytes := g.gathered(); bytes > 0 {
				inFlight[g] = bytes
				gathered += bytes
			}
		}
		w.must(gathered == s.passes.gathered, "loop %d: %d bytes are gathered, counted %d", i, gathered, s.passes.gathered)
		s.lanes.EachWaiting(func(d *delivery) {
			if d.Local != nil && d.Message != nil {
				inFlight[d.Local] += d.Message.Bytes()
			}
		})
		all := 0
		for g, bytes := range inFlight {
			w.must(bytes <= max(b.flightBytes, b.flightMin)+messages, "group %s: %d bytes are in flight to loop %d", g.name, bytes, i)
			all += bytes
		}
		w.must(all <= b.flightBytes+len(w.groups)*(2*b.flightMin+messages), "loop %d: %d bytes are in flight to it", i, all)
		w.must(all <= s.lanes.InFlight(), "loop %d: %d bytes are in flight to it, counted %d", i, all, s.lanes.InFlight())
		if s.lanes.Awaited() {
			w.heldBack++
		}
		groups[i] = inFlight
	}
	for i := range w.hub.shards {
		w.hub.homes.Home(i).EachFlight(func(name string, loop int, g *group, inFlight int) {
			w.must(inFlight == groups[loop][g], "group %s: %d bytes in flight to loop %d, counted %d", name, groups[loop][g], loop, inFlight)
		})
	}
}

// gathered is the bytes of the messages that wait for an audience.
func (g *group) gathered() (bytes int) {
	longest := g.inline.waiting
	for a := g.further; a != nil; a = a.next {
		if len(a.waiting) > len(longest) {
			longest = a.waiting
		}
	}
	for _, m := range longest {
		bytes += m.Bytes()
	}
	return bytes
}
