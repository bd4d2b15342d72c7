package bus

import (
	"log/slog"
	"strconv"
	"sync/atomic"
)

// Stats is the state of the bus at about one moment. Gauges are values of that moment, the others count since the start.
type Stats struct {
	Mode   string `json:"mode"`   // "server" or "client"
	Addr   string `json:"addr"`   // where the server listens, or the Channel server that the client connects to
	Bridge string `json:"bridge"` // the channel whose events are group messages

	// Both sides. An event is a frame for one channel and one receiver.
	EventsIn  uint64            `json:"events_in"` // events that came from Channel clients, or from the Channel server
	EventsOut uint64            `json:"events_out"`
	Published uint64            `json:"published"` // events that became messages of groups
	Refused   map[string]uint64 `json:"refused"`   // events and jobs that were refused, by reason
	BytesIn   uint64            `json:"bytes_in"`  // frames, headers included
	Panics    uint64            `json:"panics"`    // faults of ours; the client that was being served was closed

	// The server.
	Clients        int               `json:"clients"`       // gauge: Channel clients
	Subscriptions  int               `json:"subscriptions"` // gauge: of all clients, watched queues included
	Channels       int               `json:"channels"`      // gauge: channels with a subscriber
	Queues         int               `json:"queues"`        // gauge: queues with a watcher or a job
	Jobs           int               `json:"jobs"`          // gauge: jobs that wait
	JobBytes       int               `json:"job_bytes"`     // gauge: what they take, bytes
	WaitingBytes   int               `json:"waiting_bytes"` // gauge: bytes that wait for receivers; in client mode the buffer
	JobsIn         uint64            `json:"jobs_in"`
	JobsOut        uint64            `json:"jobs_out"`
	Closed         map[string]uint64 `json:"closed"`          // clients that the server closed, by reason
	RefusedClients map[string]uint64 `json:"refused_clients"` // connections that were refused, by reason
	AcceptErrors   uint64            `json:"accept_errors"`
	FrameWaits     uint64            `json:"frame_waits"` // large frames that had to wait for others to be complete

	// The client.
	Connected  bool   `json:"connected"`  // gauge
	Reconnects uint64 `json:"reconnects"` // connections after the first
	Lost       uint64 `json:"lost"`       // events written to a connection that broke before the server had distributed them
}

// refusal is why an event or a job was refused.
type refusal uint8

const (
	refusedGroup      refusal = iota // for no group: an invalid name or text; Channel clients of ours receive it all the same
	refusedReferences                // references beside objects in PHP's old serialization: cannot be carried
	refusedTooBig                    // its outgoing frame would be over the bound
	refusedQueue                     // the queue is full
	refusedBuffer                    // client mode: the buffer is full
	refusedStopping                  // the server stops
	refusedMemory                    // the memory limit is near
	refusedCutOff                    // its sender was closed meanwhile
	refusedUnknown                   // a frame of a type that does not exist
	refusals
)

var refusalNames = [refusals]string{"group", "references", "too_big", "queue", "buffer", "stopping", "memory", "cut_off", "unknown"}

// refusalTexts are logged. Each is a text of its own: where one repeats itself too often the log leaves it out, and no other.
var refusalTexts = [refusals]string{
	"an event for a group did not reach it",
	"an event was refused: its data has references beside objects in PHP's old serialization (C:)",
	"an event was refused: as a frame it is larger than --channel-frame-max",
	"a job was refused: too many wait",
	"an event for the Channel server was refused: too much waits for it",
	"an event was refused: the server stops",
	"an event was refused: memory is short",
	"events were refused: their sender was closed before they were acted on",
	"a frame was ignored: its type or its channel is not known here",
}

// refuse counts what does not get where its sender wanted it, and logs it with what is known of it: the Channel protocol has no
// answers, so nobody else says it. Two losses are none: an event for a channel without subscribers, as in PHP, and an event of
// the bridge's channel that speaks of no group.
func (c *counters) refuse(log *slog.Logger, why refusal, n int, known ...any) {
	c.refused[why].Add(uint64(n))
	log.Warn(refusalTexts[why], known...)
}

// shown is a text of a peer's in the log.
func shown(text []byte) string {
	if len(text) <= shownBytesMax {
		return string(text)
	}
	return string(text[:shownBytesMax]) + "… of " + strconv.Itoa(len(text)) + " bytes"
}

const shownBytesMax = 100

// closing is why a Channel client was closed.
type closing uint8

const (
	closedBadFrame      closing = iota // it sent an invalid frame, or what PHP's serialize does not write
	closedSubscriptions                // it wanted more subscriptions than it may have
	closedQueue                        // it enqueued to a queue that is full
	closedOutbound                     // too many bytes waited for it
	closedOutbounds                    // too many bytes waited for all clients, and the most of them for this one
	closedFrameTimeout                 // its frame was not complete in time
	closedPanic                        // a fault of ours
	closings
)

var closingNames = [closings]string{"bad_frame", "subscriptions", "queue", "outbound", "outbounds", "frame_timeout", "panic"}

// turnedAway is why a connection was refused.
type turnedAway uint8

const (
	awayAddress turnedAway = iota // its address is not allowed
	awayClients                   // the bound on clients was reached
	turnedAways
)

var turnedAwayNames = [turnedAways]string{"address", "clients"}

// counters may be changed by any goroutine.
type counters struct {
	eventsIn, eventsOut, published, bytesIn, jobsIn, jobsOut, acceptErrors, frameWaits, reconnects, lost, panics atomic.Uint64

	refused [refusals]atomic.Uint64
	closed  [closings]atomic.Uint64
	away    [turnedAways]atomic.Uint64
}

func (c *counters) read() Stats {
	return Stats{
		EventsIn: c.eventsIn.Load(), EventsOut: c.eventsOut.Load(), Published: c.published.Load(),
		BytesIn: c.bytesIn.Load(), Panics: c.panics.Load(), JobsIn: c.jobsIn.Load(), JobsOut: c.jobsOut.Load(),
		AcceptErrors: c.acceptErrors.Load(), FrameWaits: c.frameWaits.Load(), Reconnects: c.reconnects.Load(), Lost: c.lost.Load(),
		Refused:        byName(c.refused[:], refusalNames[:]),
		Closed:         byName(c.closed[:], closingNames[:]),
		RefusedClients: byName(c.away[:], turnedAwayNames[:]),
	}
}

func byName(counts []atomic.Uint64, names []string) map[string]uint64 {
	by := make(map[string]uint64, len(names))
	for i, name := range names {
		by[name] = counts[i].Load()
	}
	return by
}
