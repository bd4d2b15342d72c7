package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// load is which clients publish how much to which groups: the flags that fanout, churn, slow, ceiling and compare share.
type load struct {
	Members          int           `default:"1000" help:"Clients that are members, spread evenly over the groups."`
	Groups           int           `default:"1" help:"Groups."`
	Joins            int           `default:"1" help:"Groups that each member joins."`
	Publishers       int           `help:"Publishing connections in all, spread evenly over the groups; one that has several groups writes to them in turn. Default: one for each group."`
	MemberPublishers bool          `help:"The publishers are members themselves, on the same connections."`
	Bystanders       int           `help:"Clients in no group, on a thread of their own, that ping all the time: they show how long a broadcast delays others."`
	Size             int           `default:"${size}" help:"Bytes of a message text."`
	Payload          string        `enum:",signs,json" default:"" help:"What a text is filled with: signs, which any compression makes almost nothing of; json, an object like those of applications, with ' for \", which would need escapes. Default: signs, json with --compression."`
	Rate             float64       `xor:"pace" help:"Open loop: messages per second of all publishers together, on time whatever the server does."`
	Window           int           `xor:"pace" help:"Closed loop: messages of each group and publisher in flight; a message is in flight until all members have it. Default: ${window}."`
	Messages         int           `help:"Stop after this number of messages. Default: when the time is over."`
	Patience         time.Duration `help:"Time without any delivery, or any pong to bystanders, after which what is missing counts as lost, 2m after the end of --time (or after the patience, if that is longer) even if something still comes; and time without an answer after which a client that connects or joins, or a short-lived one that leaves or closes, is given up (at least 10s). Default: 2s; time in which the bench itself is held up, as when the machine stalls, does not count. Use more where the server stalls now and then."`
	Time             time.Duration `default:"${time}" help:"How long to publish."`
}

// loadDefaults are those that a verb may set otherwise, in its tag.
var loadDefaults = kong.Vars{"size": "64", "window": "1", "time": "3s"}

const (
	sizeMax       = 64 << 10 // a frame with its command has to fit client.OutBytesMax
	windowMax     = 1 << 16
	joinsMax      = 1000
	bystandersMax = 1000
)

// check fills in defaults that depend on other flags and refuses what makes no sense.
func (l *load) check(threads int) error {
	if l.Publishers == 0 {
		l.Publishers = l.Groups
	}
	if l.Rate == 0 && l.Window == 0 {
		l.Window = 1
	}
	if l.Patience == 0 {
		l.Patience = quietMax
	}
	if l.Messages == 0 || l.Messages > messagesMax {
		l.Messages = messagesMax
	}
	switch {
	case l.Groups < 1 || l.Members < l.Groups || l.Members > clientsMax:
		return fmt.Errorf("--members must be at least --groups (1 or more), and at most %d", clientsMax)
	case l.Joins < 1 || l.Joins > joinsMax || l.Joins > 1 && l.Joins*threads > l.Groups:
		return fmt.Errorf("--joins must be 1 to --groups (divided by --threads), and at most %d", joinsMax)
	case l.Joins > 1 && l.Groups%threads != 0:
		return errors.New("--groups must be a multiple of --threads when members join several")
	case l.Publishers < 1 || l.Publishers > clientsMax:
		return fmt.Errorf("--publishers must be 1 to %d", clientsMax)
	case l.Publishers < l.Groups && l.Publishers%threads != 0:
		return errors.New("--publishers must be a multiple of --threads when there are fewer of them than groups")
	case l.MemberPublishers && l.Publishers > l.Members:
		return errors.New("--publishers must not be more than --members when publishers are members")
	case l.MemberPublishers && l.Publishers < l.Groups:
		return errors.New("--publishers must be at least --groups when publishers are members")
	case l.Bystanders < 0 || l.Bystanders > bystandersMax:
		return fmt.Errorf("--bystanders must be up to %d", bystandersMax)
	case l.Size < check.StampBytes || l.Size > sizeMax:
		return fmt.Errorf("--size must be %d (a stamp) to %d", check.StampBytes, sizeMax)
	case l.Window < 0 || l.Window > windowMax || l.Rate < 0 || l.Rate > 1e7:
		return fmt.Errorf("--window must be 1 to %d, --rate up to 10,000,000", windowMax)
	case l.Messages < 1:
		return errors.New("--messages must be at least 1")
	case l.Patience < 0 || l.Patience > timeMax:
		return fmt.Errorf("--patience must be up to %v", timeMax)
	case l.Time <= 0 || l.Time > timeMax:
		return fmt.Errorf("--time must be up to %v", timeMax)
	case (l.Members*l.Joins/l.Groups+1)*(l.streams()/l.Groups+1)*l.Groups > check.CellsMax:
		return fmt.Errorf("the check needs a cell for each member and publisher of a group, %d at most: fewer publishers or more groups", check.CellsMax)
	}
	return nil
}

// fillings are what the texts are filled with.
func (l *load) fillings() check.Fillings {
	if l.Payload == payloadJSON {
		return check.ObjectFillings(l.Size)
	}
	return check.Fillings{check.Filling(l.Size)}
}

// checkLoad is a load's check, with what follows from flags that are not its own.
func (c *common) checkLoad(l *load) error {
	if c.Compression && l.Payload == "" {
		l.Payload = payloadJSON
	}
	return l.check(c.Threads)
}

// payloadJSON is a value of --payload.
const payloadJSON = "json"

// A stream is what one publishing connection sends to one group: numbered from 0, by one publisher. There are as many
// streams as connections, unless there are more groups than that: then a connection has several streams.
func (l *load) streams() int { return max(l.Publishers, l.Groups) }

// clients is how many connections the load needs.
func (l *load) clients() int {
	n := l.Members + l.Bystanders
	if !l.MemberPublishers {
		n += l.Publishers
	}
	return n
}

// publisherAt is the client that has the stream.
func (l *load) publisherAt(stream int) int {
	if l.MemberPublishers {
		return stream
	}
	return l.Members + stream%l.Publishers
}

// publishesTo are the groups to which a client publishes that is no member.
func (l *load) publishesTo(client int) (groups []int) {
	for stream := client - l.Members; stream < l.streams(); stream += l.Publishers {
		groups = append(groups, stream%l.Groups)
	}
	return groups
}

// seats: client n < Members is member n/Groups of group n%Groups, and of the Joins-1 groups after it. A whole group,
// its publishers included, is on one thread: acknowledging and comparing members then needs no lock and no atomic, and
// a rate that one thread cannot take is reported as such. Bystanders have the thread after the others.
func (l *load) seats(threads int) []client.Seat {
	seats := make([]client.Seat, 0, l.clients())
	for n := range l.Members {
		seats = append(seats, client.Seat{Group: n % l.Groups, Member: n / l.Groups, Thread: n % l.Groups % threads})
	}
	for p := 0; len(seats) < l.clients()-l.Bystanders; p++ {
		group := p % l.Groups
		seats = append(seats, client.Seat{Group: group, Member: client.NotMember, Thread: group % threads, Sends: true})
	}
	for range l.Bystanders {
		seats = append(seats, client.Seat{Member: client.NotMember, Thread: threads})
	}
	return seats
}

// groupOf is the group of a client's join number j, given its first group. Joins stay on one thread.
func (l *load) groupOf(first, j, threads int) int { return (first + j*threads) % l.Groups }

// placeIn is the place of a client among all members of a group: those for which it is the first join come first.
// It returns false when the client does not join the group.
func (l *load) placeIn(group int, c *client.Conn, threads int) (int, bool) {
	if c.Member == client.NotMember {
		return 0, false
	}
	if int(c.Group) == group {
		return int(c.Member), true
	}
	place := 0
	for j := range l.Joins {
		first := ((group-j*threads)%l.Groups + l.Groups) % l.Groups
		if first == int(c.Group) {
			return place + int(c.Member), true
		}
		place += evenShare(l.Members, l.Groups, first)
	}
	return 0, false
}

// membersOf counts the members of a group.
func (l *load) membersOf(group, threads int) (n int) {
	for j := range l.Joins {
		n += evenShare(l.Members, l.Groups, ((group-j*threads)%l.Groups+l.Groups)%l.Groups)
	}
	return n
}

// roster is what the generators must know to join the groups of a load.
func (l *load) roster(s *session, proof string, threads int) client.Roster {
	return client.Roster{Name: s.groupName, Number: s.groupNumber, Joins: l.Joins, Group: func(first, j int) int { return l.groupOf(first, j, threads) },
		Sends: l.publishesTo, Probe: probeOf(proof), Patience: l.Patience}
}

// crews builds the checkers and publishers of the first generators, one each.
func (l *load) crews(f *fleet, groupName func(int) string, threads int) []*crew {
	crews, generators := make([]*crew, threads), f.here.Generators()
	for i := range crews {
		crews[i] = &crew{g: generators[i], shown: &f.shown[i], plan: l, threads: threads, most: uint64(evenShare(l.Messages, threads, i)), fill: l.fillings(),
			byConn: map[int32][]*publisher{}, ledgers: make([]*check.Ledger, l.Groups), cutMembers: make([][]bool, l.Groups),
			latency: newHistogram(), lateness: newHistogram(), acksLate: newHistogram(), schedule: schedule{rate: l.Rate, publishers: l.streams()}}
		if f.acks != nil {
			crews[i].acks = f.acks[i]
		}
		generators[i].SetPlay(crews[i])
	}
	for group := range l.Groups {
		c, members := crews[group%threads], l.membersOf(group, threads)
		c.ledgers[group] = check.NewLedger(group, members, evenShare(l.streams(), l.Groups, group), &c.faults)
		c.cutMembers[group] = make([]bool, members)
	}
	l.leaveElsewhere(f, crews, threads)
	connOf := make([]*client.Conn, f.here.Size()) // including guests, which publish nothing; nil for those in other processes
	for _, g := range generators {
		for i := range g.Len() {
			connOf[g.Conn(i).Number] = g.Conn(i)
		}
	}
	starts := l.holders(f.share, threads)
	all := make([]*publisher, l.streams())
	for n := range all {
		group, at := n%l.Groups, l.publisherAt(n)
		c := crews[group%threads]
		all[n] = &publisher{number: n, group: group, place: n / l.Groups, conn: connOf[at],
			floors: starts[group].floors(), command: c.g.Dialect().Send(groupName(group))}
		c.byConn[int32(at)] = append(c.byConn[int32(at)], all[n])
		c.schedule.own = append(c.schedule.own, all[n])
	}
	for _, c := range crews {
		c.publishers = all
	}
	return crews
}

// leaveElsewhere keeps in the ledgers only the members that are in this process.
func (l *load) leaveElsewhere(f *fleet, crews []*crew, threads int) {
	if f.share.processes < 2 {
		return
	}
	here := make([][]bool, l.Groups)
	for group := range here {
		here[group] = make([]bool, crews[group%threads].ledgers[group].Members())
	}
	for _, g := range f.here.Generators() {
		for i := range g.Len() {
			for j := range l.Joins {
				group := l.groupOf(int(g.Conn(i).Group), j, threads)
				if place, yes := l.placeIn(group, g.Conn(i), threads); yes {
					here[group][place] = true
				}
			}
		}
	}
	for group := range here {
		crews[group%threads].ledgers[group].Keep(here[group])
	}
}

// holders are the helpers that have members of a group, by process.
type holders []bool

// holders says by group where the members are. It is for the process that publishes, and used in a closed loop.
func (l *load) holders(s share, threads int) []holders {
	all := make([]holders, l.Groups)
	if s.processes < 2 || s.process > 0 || l.Window == 0 {
		return all
	}
	for group := range all {
		all[group] = make(holders, s.processes)
	}
	for n := range l.Members {
		for j := range l.Joins {
			all[l.groupOf(n%l.Groups, j, threads)][s.holders[n]] = s.holders[n] > 0
		}
	}
	return all
}

// floors are the start of a stream; nil if no other process acknowledges it.
func (h holders) floors() []uint32 {
	if h == nil {
		return nil
	}
	floors := make([]uint32, len(h))
	for process, has := range h {
		if !has {
			floors[process] = noFloor
		}
	}
	return floors
}

// evenShare is how many of n things go to place i of so many, if dealt out one by one.
func evenShare(n, places, i int) int { return (n - i + places - 1) / places }

// flags is the load as a result file has it.
func (l *load) flags() map[string]any {
	all := map[string]any{"members": l.Members, "groups": l.Groups, "joins": l.Joins, "publishers": l.Publishers,
		"member-publishers": l.MemberPublishers, "bystanders": l.Bystanders, "size": l.Size, "time": l.Time.String()}
	if l.Rate > 0 {
		all["rate"] = l.Rate
	} else {
		all["window"] = l.Window
	}
	if l.Payload != "" {
		all["payload"] = l.Payload
	}
	if l.Messages < messagesMax {
		all["messages"] = l.Messages
	}
	return all
}
