package order

import "unsafe"

// Part is a loop's own part of a group: what its home hands back with every message for that loop, which saves the loop
// a look into its table.
type Part interface {
	comparable
	GroupName() string // never changes
}

// Request is one item of an up lane.
type Request[G Part, C comparable] struct {
	Op      RequestOp
	At      Stamp    // OpPublish of a client, one of the sample: when it was accepted
	Message *Message // OpPublish
	Local   G        // OpJoin, OpLeave: the sender's own part of the group
	Client  C        // who joins, or waits for the answer, on the sender's loop; zero: nobody
	ID      string   // the client's command id
	via     *via     // OpPublish from a port, if there is more to it, else nil
}

// via is what a publish through a port may have beside its message.
type via struct {
	result chan<- uint64 // takes the number, nil: nobody waits for it; never blocks (capacity 1)
	token  any           // for the feed
}

// RequestOp is what a request asks of a home.
type RequestOp uint8

// The requests.
const (
	OpPublish RequestOp = iota // number this message and pass it on to every loop with members
	OpJoin                     // a client of this loop wants to be a member; say whether it may
	OpLeave                    // this loop has no members any more
)

// Bytes is what the request counts against the bounds of lanes and backlogs: its payload, and its slot's own size so that
// small requests are not free.
func (r *Request[G, C]) Bytes() int {
	bytes := requestBytes + len(r.ID)
	if r.Message != nil {
		bytes += r.Message.Bytes()
	}
	return bytes
}

// Delivery is one item of a down lane.
type Delivery[G Part, C comparable] struct {
	Op        DeliveryOp
	Why       Refusal    // OpRefused
	At        Stamp      // as in the request
	Message   *Message   // OpMessage: shared by all loops
	Local     G          // the receiving loop's part of the group, which came up with its OpJoin; OpMessage: zero when only the answer is wanted
	Client    C          // who joins, or waits for the answer; zero: nobody
	ID        string     // as in the request
	Headcount *Headcount // OpJoined
}

// DeliveryOp is what a home tells a loop.
type DeliveryOp uint8

// The deliveries.
const (
	OpMessage DeliveryOp = iota // a numbered message for Local's members, an answer for Client, or both
	OpJoined                    // Client has a place in the group, and the home knows of this loop's members
	OpRefused                   // it has none
)

// Bytes is what the delivery counts against the lane's bound.
func (d *Delivery[G, C]) Bytes() int {
	bytes := deliveryBytes + len(d.ID)
	if d.Message != nil {
		bytes += d.Message.Bytes()
	}
	return bytes
}

// The sizes of the slots, for any G and C that are pointers.
const (
	requestBytes  = int(unsafe.Sizeof(Request[anyPart, *int]{}))
	deliveryBytes = int(unsafe.Sizeof(Delivery[anyPart, *int]{}))
)

type anyPart uintptr

func (anyPart) GroupName() string { return "" }

// Stamp is a time on its way through the lanes, in units of 1,024 ns; 0 is none. 32 bits cost the items nothing, since they
// lie in padding, and come round after 73 minutes, longer than anything waits.
type Stamp uint32

// StampOf is the stamp of a time in nanoseconds.
func StampOf(nanos int64) Stamp { return max(Stamp(nanos>>10), 1) }

// Until is the time from the stamp to now, nanoseconds.
func (t Stamp) Until(now int64) int64 { return int64(int32(StampOf(now)-t)) << 10 }
