package main

import (
	"encoding/json"
	"io"
	"sync"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// The bench and its helpers exchange JSON over a helper's stdin and stdout, one value per line, and never over the network
// that is measured:
//
//	bench                                helper
//	errand: target, load, which share ─►
//	                                  ◄─ ready: it has a seat for each of its clients
//	open                              ─►
//	                                  ◄─ tally: its progress, a few times a second from here to the end
//	                                  ◄─ opened: which clients joined, and why others did not
//	publish: when it begins           ─►
//	                                  ◄─ acks: closed loop, up to where all members here have everything
//	published: how many of each stream ─►
//	                                  ◄─ drained: all of that arrived here, or will not; what the threads consumed
//	settle: whose publisher was cut   ─►  the helper no longer listens
//	                                  ◄─ seen: how much of those streams a member here got
//	close: how many count             ─►
//	                                  ◄─ books: what the check found here, latency
//	the end of stdin                  ─►  the helper ends
//
// Without a load to publish, open and opened come twice, for the first clients and for the rest, and settle follows after
// the hold.
const (
	doErrand    = "errand"
	doReady     = "ready"
	doOpen      = "open"
	doTally     = "tally"
	doOpened    = "opened"
	doPublish   = "publish"
	doAcks      = "acks"
	doPublished = "published"
	doDrained   = "drained"
	doSettle    = "settle"
	doSeen      = "seen"
	doClose     = "close"
	doBooks     = "books"
)

// told is a message to a helper.
type told struct {
	Do      string   `json:"do"`
	Errand  *errand  `json:"errand,omitempty"`
	Start   int64    `json:"start,omitempty"`   // publish
	Sent    []uint32 `json:"sent,omitempty"`    // published, close: by stream
	Streams []int    `json:"streams,omitempty"` // settle
}

// errand is all that a helper must know to open its share. Seats and groups follow from it, in each process alike.
type errand struct {
	Processes int           `json:"processes"`
	Process   int           `json:"process"`
	Epoch     int64         `json:"epoch"` // of the bench's clock, see client.Epoch
	Target    client.Target `json:"target"`
	Run       string        `json:"run"` // of the session, for the groups' names
	Proof     string        `json:"proof"`
	Threads   int           `json:"threads"`
	Load      *load         `json:"load,omitempty"`
	Crowd     *crowd        `json:"crowd,omitempty"`
}

func (a *errand) crowding() crowding {
	if a.Load != nil {
		return a.Load.crowding()
	}
	return a.Crowd.crowding()
}

// said is a message from a helper.
type said struct {
	Do      string          `json:"do"`
	Tally   *helperTally    `json:"tally,omitempty"`
	Opening *helperOpening  `json:"opening,omitempty"` // opened
	At      int             `json:"at,omitempty"`      // acks: of which thread's groups
	Floors  []ack           `json:"floors,omitempty"`  // acks
	SaidAt  int64           `json:"said_at,omitempty"` // acks: when, by the common clock
	Cut     bool            `json:"cut,omitempty"`     // acks: a member was cut off, so no window moves any more
	Threads []report.Thread `json:"threads,omitempty"` // opened, drained
	Seen    []uint32        `json:"seen,omitempty"`    // seen: by the streams asked about
	Books   *books          `json:"books,omitempty"`
}

type helperTally struct {
	Joined, Failed, Delivered, P99 int64
}

type helperOpening struct {
	FirstAt, LastAt  int64
	Causes           map[string]int
	Secured, Resumed uint64 // TLS handshakes
}

// ack says that all members here have all messages of the stream below floor.
type ack struct {
	Stream int    `json:"s"`
	Floor  uint32 `json:"f"`
}

// books are a helper's results, over all of its threads.
type books struct {
	Delivered   uint64
	MissedByCut uint64
	Received    uint64 // bytes on the wire, since publishing began
	Ended       int64  // last delivery, by the common clock
	Latency     string
	Counts      []uint64
	Examples    [][]string
	Notes       []string
	Digests     []check.Digest
	Pings       uint64
	Causes      map[string]int
}

// speaker writes values from several threads, each a line. fill runs under the lock, so that a later value never has
// less than an earlier one.
type speaker struct {
	mu  sync.Mutex
	out *json.Encoder
}

func newSpeaker(w io.Writer) *speaker { return &speaker{out: json.NewEncoder(w)} }

// say drops what cannot be written: the other side has ended then, and a read notices that.
func (s *speaker) say(fill func() any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(fill())
}
