package order

import (
	"unsafe"

	"ringcast/dialect"
)

// Part is a loop's own part of a group. The home sends it back with every message for that loop, which saves the loop a look
// into its table. A nil or zero Part stands for none.
type Part interface {
	comparable
	GroupName() string // must never change
	Flow() *Flow       // likewise
}

// Client is what asks homes, and is answered. A nil or zero Client stands for none.
type Client interface {
	comparable
	Number() uint64 // unique in the table, of the client's loop modulo dialect.SenderLoopsMax; must never change. Any goroutine
}

// Request is one item of an up lane. Whoever sends it must not change what it points to any more.
type Request[G Part, C Client] struct {
	Op      RequestOp
	Asks    bool     // the client has given an id, which may be empty, and is to be answered
	Hears   bool     // OpJoin, OpHere: Client is to hear who comes and goes, if the group has presence
	Soon    bool     // OpPublish: as in the Offer
	At      Stamp    // OpPublish: when it was accepted, if its time in the lanes is to be measured; else 0
	Message *Message // OpPublish
	Local   G        // all but OpPublish: the sending loop's part of the group; zero: a port has sent it
	Client  C        // all but OpLeave: the client that has sent it, or is here or gone; zero: a port has sent it
	ID      string   // the client's command id
	via     *via     // nil: it has nothing of that
	Past    *Ask     // OpJoin, OpHistory: what Client wants to know of the group's past; OpJoin: nil if that is no more than the position
}

// via is what only few requests have. Nobody writes it once the request is in a lane.
type via struct {
	who *dialect.Who // OpJoin, OpHere: the user that Client is; nil: it has not said
	key string       // OpPublish: under which it may be repeated, see keys.go; empty: it is never a repeat

	// Of a port.
	told  chan<- told // gets the home's word; its capacity is 1, so a send never blocks. nil: no caller waits for it
	token any         // OpPublish: for the feed. Of an inlet: what it says, see inlet.go
	group string      // all but OpPublish: the group's name, since a port has no part of it
}

const viaBytes = int(unsafe.Sizeof(via{}))

// Identify says which user Client is, in a request that is not sent yet: an OpJoin or an OpHere. nil: it has not said.
func (r *Request[G, C]) Identify(who *dialect.Who) {
	if who != nil {
		r.via = &via{who: who}
	}
}

// Keyed says under which key a publish may be repeated, see keys.go, in a request that is not sent yet. The key may have any bytes.
func (r *Request[G, C]) Keyed(key string) { r.via = &via{key: key} }

// who is the user that Client is.
func (r *Request[G, C]) who() *dialect.Who {
	if r.via == nil {
		return nil
	}
	return r.via.who
}

// key is that of a publish that may be repeated.
func (r *Request[G, C]) key() string {
	if r.via == nil {
		return ""
	}
	return r.via.key
}

// told is where the home's word is waited for; nil: nobody waits at a port.
func (r *Request[G, C]) told() chan<- told {
	if r.via == nil {
		return nil
	}
	return r.via.told
}

// RequestOp is what a request asks of a home.
type RequestOp uint8

// The requests.
const (
	OpPublish  RequestOp = iota // number Message and send it to every loop with members
	OpJoin                      // Client wants to be a member: answer OpJoined or OpRefused
	OpLeave                     // this loop has no members of Local's group any more; not answered
	OpHistory                   // read what is kept of Local's group, see Past: answer OpHistoryRead, whether Asks or not
	OpPresence                  // list who is in Local's group: answer OpPresent, whether Asks or not
	OpCount                     // count who is in Local's group: answer OpCounted, whether Asks or not
	OpCached                    // what is the last message of the group, see Port.Cached; of a port alone
	OpForget                    // drop what is kept of the group's history, see Port.Forget; of a port alone
	OpHere                      // Client is a member, as it was before the kind had presence; not answered, and nobody is told; or it has said who it is
	OpGone                      // Client, whom an OpJoined has made present, is a member no more; not answered

	// Of an inlet alone.
	OpOrdered  // what an orderer has put in order
	OpAnswer   // what has become of a publish that was offered to the orderer, and was not put in order
	OpRecalled // what the log keeps of a group
	OpEpoch    // a partition has an epoch from now on, or another one
	OpThere    // a client of another node is a member of a group, see company.go
	OpAway     // it is a member no more
	OpSweep    // clients of another node that were not said to be there lately are members no more
)

// Group is the name of the group that the request is about.
func (r *Request[G, C]) Group() string {
	if r.Message != nil {
		return r.Message.Group
	}
	if r.via != nil && r.via.group != "" {
		return r.via.group
	}
	return r.Local.GroupName()
}

// Bytes is what the request counts against the bounds of lanes and backlogs: its slot, its id, its message, the name of a
// group that is joined, what it asks of the past, and what only few have.
func (r *Request[G, C]) Bytes() int {
	bytes := requestBytes + len(r.ID)
	if r.Message != nil {
		bytes += r.Message.Bytes()
	}
	if r.Op == OpJoin {
		bytes += len(r.Local.GroupName())
	}
	if r.Past != nil {
		bytes += askBytes
	}
	if r.via != nil {
		bytes += viaBytes + len(r.via.key) + len(r.via.group)
		if r.Op >= OpOrdered {
			bytes += wordBytes(r.via.token)
		}
	}
	return bytes
}

// Delivery is one item of a down lane.
type Delivery[G Part, C Client] struct {
	Op        DeliveryOp
	Asks      bool       // as in the request
	Present   bool       // OpJoined: Client is among those who are present, and OpGone is owed for it
	Why       Refusal    // OpRefused: which bound was reached; OpBusy: why
	At        Stamp      // as in the request
	Message   *Message   // OpMessage: shared by all loops, so nobody writes it; nil when only the answer is wanted. OpJoined: Client's coming, for those here who hear; nil: nobody does
	Offset    uint64     // OpMessage: the message's, for the answer; OpRepeated: that of the first
	Local     G          // the receiving loop's part of the group, as in its OpJoin; OpMessage: zero when it is only an answer
	Client    C          // the client to answer; OpMessage: zero when there is none. OpBusy: it is to be told even if it does not ask
	ID        string     // as in the request
	Headcount *Headcount // OpJoined: the group's, in which this loop counts from now on
	Past      *Past      // OpJoined: nil in a group without history, unless more was asked for and there is something of it, or what was missed was; OpHistoryRead, OpPresent, OpCounted: never nil
}

// DeliveryOp is what a home sends to a loop.
type DeliveryOp uint8

// The deliveries.
const (
	OpMessage     DeliveryOp = iota // a numbered message for Local's members, the answer to Client's publish, or both
	OpJoined                        // Client has a place in the group, for which the loop owes Census.GiveBack; and the home knows that this loop has members
	OpRefused                       // Client has no place, see Why
	OpHistoryRead                   // what Client wanted to know of the group's past
	OpPresent                       // who is in the group
	OpCounted                       // how many are in the group
	OpBusy                          // Client's publish was refused, see Why
	OpRepeated                      // Client's publish is a repeat of one that was accepted with this Offset, and was not sent
)

// Bytes is what the delivery counts against the lane's bound: its slot, its id and its message. What it says of the
// past does not count, see Past.
func (d *Delivery[G, C]) Bytes() int {
	bytes := deliveryBytes + len(d.ID)
	if d.Message != nil {
		bytes += d.Message.Bytes()
	}
	return bytes
}

// The sizes of the slots in bytes, for any G and C that are pointers.
const (
	requestBytes  = int(unsafe.Sizeof(Request[anyPart, *anyClient]{}))
	deliveryBytes = int(unsafe.Sizeof(Delivery[anyPart, *anyClient]{}))
)

type anyPart struct{ _ *int }

func (anyPart) GroupName() string { return "" }
func (anyPart) Flow() *Flow       { return nil }

type anyClient struct{}

func (*anyClient) Number() uint64 { return 0 }

// Stamp is a time in units of 1,024 ns; 0 is none. Its 32 bits cost the items of lanes nothing, since they lie in padding. They
// wrap around after 73 minutes, which is longer than an item waits.
type Stamp uint32

// StampOf is the stamp of a time in nanoseconds, never 0.
func StampOf(nanos int64) Stamp { return max(Stamp(nanos>>10), 1) }

// Until is the time in nanoseconds from the stamp to now, which is in nanoseconds of the same clock. It is negative when now is
// before the stamp.
func (t Stamp) Until(now int64) int64 { return int64(int32(StampOf(now)-t)) << 10 }
