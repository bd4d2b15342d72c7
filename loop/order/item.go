package order

import "unsafe"

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
	At      Stamp    // OpPublish: when it was accepted, if its time in the lanes is to be measured; else 0
	Message *Message // OpPublish
	Local   G        // all but OpPublish: the sending loop's part of the group
	Client  C        // all but OpLeave: the client that has sent it, or is here or gone; zero: a port has sent it
	ID      string   // the client's command id
	via     *via     // OpPublish through a port with a token or a wait for the number; else nil
	Past    *Ask     // OpJoin, OpHistory: what Client wants to know of the group's past; OpJoin: nil if it has no position
}

// via is what a publish through a port may have beside its message.
type via struct {
	result chan<- uint64 // gets the message's number, or is closed if it is refused; its capacity is 1, so a send never blocks. nil: no caller waits for it
	token  any           // for the feed
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
	OpHere                      // Client is a member, as it was before the kind had presence; not answered, and nobody is told
	OpGone                      // Client, whom an OpJoined has made present, is a member no more; not answered
)

// Group is the name of the group that the request is about.
func (r *Request[G, C]) Group() string {
	if r.Message != nil {
		return r.Message.Group
	}
	return r.Local.GroupName()
}

// Bytes is what the request counts against the bounds of lanes and backlogs: its slot, its id, its message, the name of a
// group that is joined, and what it asks of the past.
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
	return bytes
}

// Delivery is one item of a down lane.
type Delivery[G Part, C Client] struct {
	Op        DeliveryOp
	Asks      bool       // as in the request
	Present   bool       // OpJoined: Client is among those who are present, and OpGone is owed for it
	Why       Refusal    // OpRefused: which bound was reached
	At        Stamp      // as in the request
	Message   *Message   // OpMessage: shared by all loops, so nobody writes it; nil when only the answer is wanted. OpJoined: Client's coming, for those here who hear; nil: nobody does
	Offset    uint64     // OpMessage: the message's, for the answer
	Local     G          // the receiving loop's part of the group, as in its OpJoin; OpMessage: zero when it is only an answer
	Client    C          // the client to answer; OpMessage: zero when there is none. OpBusy: it is to be told even if it does not ask
	ID        string     // as in the request
	Headcount *Headcount // OpJoined: the group's, in which this loop counts from now on
	Past      *Past      // OpJoined: nil in a group without history, unless what was missed was asked for; OpHistoryRead, OpPresent: never nil
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
	OpBusy                          // Client's publish was refused, as too much of its group is in flight
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
