package loop

import (
	"sync/atomic"
	"time"
)

// counters is what one loop counts. Owner: the loop writes, any goroutine reads;
// every field is atomic for that reason alone, nothing is ever read in order to decide. Gauges go up and down, all others only grow.
type counters struct {
	clients atomic.Int64 // gauge: clients whose handshake is done
	pending atomic.Int64 // gauge: connections in the handshake
	groups  atomic.Int64 // gauge: groups with a member on this loop
	members atomic.Int64 // gauge: memberships on this loop

	slow          atomic.Int64 // gauge: clients that are behind
	fragmentBytes atomic.Int64 // gauge: bytes that hold unfinished input
	parkedBytes   atomic.Int64 // gauge: as of the last turn
	gatheredBytes atomic.Int64 // gauge: likewise

	messagesIn       atomic.Uint64
	bytesIn          atomic.Uint64
	bytesOut         atomic.Uint64
	deliveries       atomic.Uint64
	passes           atomic.Uint64
	ignored          atomic.Uint64
	commandErrors    atomic.Uint64
	refused          tally // refusal
	refusedClients   tally // turnedAway
	handshakes       tally // outcome
	closes           tally // closeKind: Close frames that we began
	protocolErrors   tally // closeKind: by the code they were closed with
	slowClosed       atomic.Uint64
	slowDropped      atomic.Uint64
	slowGaps         atomic.Uint64
	fragmentsClosed  atomic.Uint64
	messageTimeouts  atomic.Uint64
	heartbeatClosed  atomic.Uint64
	panics           atomic.Uint64
	accepted         atomic.Uint64
	pings            atomic.Uint64
	slowTurns        atomic.Uint64 // the watchdog writes
	replies          atomic.Uint64
	endsCut          atomic.Uint64
	refusedPublishes atomic.Uint64 // a port writes too

	batches   histogram // messages
	passTimes histogram // nanoseconds, as are the next
	turnTimes histogram
	laneWaits histogram
}

// show sets a gauge, whose store costs more than a look.
func show(gauge *atomic.Int64, n int) {
	if gauge.Load() != int64(n) {
		gauge.Store(int64(n))
	}
}

// LoopStats is one loop's row of a Snapshot, or the sum of all of them. Gauges are of the moment, the rest counts since
// the start.
type LoopStats struct {
	Clients   int64 `json:"clients"`    // clients whose handshake is done
	Pending   int64 `json:"pending"`    // connections still in the handshake
	Groups    int64 `json:"groups"`     // groups with at least one member on this loop; in a total: distinct groups
	Members   int64 `json:"members"`    // memberships on this loop (a client in three groups is three)
	Homes     int64 `json:"homes"`      // groups that this loop puts in order
	LaneDepth int64 `json:"lane_depth"` // items waiting in the lanes towards this loop

	OutboxBytes   int64 `json:"outbox_bytes"`   // bytes waiting for clients that are behind
	Slow          int64 `json:"slow"`           // clients that are behind
	FragmentBytes int64 `json:"fragment_bytes"` // bytes held for unfinished messages and request heads

	MessagesIn       uint64 `json:"messages_in"`       // whole WebSocket messages received
	BytesIn          uint64 `json:"bytes_in"`          // bytes received, handshakes and frame headers included
	BytesOut         uint64 `json:"bytes_out"`         // bytes handed to the kernel or to outboxes
	Published        uint64 `json:"published"`         // publishes this loop numbered as a home
	Deliveries       uint64 `json:"deliveries"`        // group messages handed to members' sockets
	Passes           uint64 `json:"passes"`            // walks over a group's members
	Ignored          uint64 `json:"ignored"`           // messages that were no command (the seed's rule: ignored)
	CommandErrors    uint64 `json:"command_errors"`    // commands that were wrong, answered or not
	Refused          uint64 `json:"refused"`           // commands refused
	RefusedClients   uint64 `json:"refused_clients"`   // connections refused by admission
	BadHandshakes    uint64 `json:"bad_handshakes"`    // requests answered with 4xx, or cut at the handshake timeout
	ProtocolErrors   uint64 `json:"protocol_errors"`   // clients closed with 1002, 1007 or 1009
	SlowClosed       uint64 `json:"slow_closed"`       // clients closed because their outbox, or all outboxes together, were full
	SlowDropped      uint64 `json:"slow_dropped"`      // messages that slow clients missed where they may, one per client and message
	SlowGaps         uint64 `json:"slow_gaps"`         // gap events sent to such clients
	FragmentsClosed  uint64 `json:"fragments_closed"`  // clients closed because all unfinished messages together were too large
	MessageTimeouts  uint64 `json:"message_timeouts"`  // clients closed because a message took too long
	HeartbeatClosed  uint64 `json:"heartbeat_closed"`  // clients closed because they gave no sign of life
	Panics           uint64 `json:"panics"`            // callbacks that panicked; the client was closed, the loop went on
	Accepted         uint64 `json:"accepted"`          // connections taken in; those that admission refuses at once are not
	Pings            uint64 `json:"pings"`             // pings sent to silent clients
	SlowTurns        uint64 `json:"slow_turns"`        // callbacks that took longer than Limits.SlowTurn
	Replies          uint64 `json:"replies"`           // frames that are no deliveries, and answers to handshakes: answers, pings, pongs
	EndsCut          uint64 `json:"ends_cut"`          // closed clients that were cut because they did not end their side in time
	RefusedPublishes uint64 `json:"refused_publishes"` // those of Refused that were publishes

	RefusedBy        map[string]uint64 `json:"refused_by"`         // Refused by reason
	RefusedClientsBy map[string]uint64 `json:"refused_clients_by"` // RefusedClients by reason
	Handshakes       map[string]uint64 `json:"handshakes"`         // by outcome
	ProtocolErrorsBy map[string]uint64 `json:"protocol_errors_by"` // ProtocolErrors by close code
	Closes           map[string]uint64 `json:"closes"`             // Close frames that the server began, by code
}

// read copies the counters; fields are read one by one, so a row is not one instant.
func (c *counters) read() LoopStats {
	t := LoopStats{
		Clients: c.clients.Load(), Pending: c.pending.Load(), Groups: c.groups.Load(),
		Members:    c.members.Load(),
		MessagesIn: c.messagesIn.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Deliveries: c.deliveries.Load(), Passes: c.passes.Load(),
		Ignored: c.ignored.Load(), CommandErrors: c.commandErrors.Load(),
		Slow: c.slow.Load(), FragmentBytes: c.fragmentBytes.Load(),
		SlowClosed: c.slowClosed.Load(), SlowDropped: c.slowDropped.Load(), SlowGaps: c.slowGaps.Load(),
		FragmentsClosed: c.fragmentsClosed.Load(), MessageTimeouts: c.messageTimeouts.Load(),
		HeartbeatClosed: c.heartbeatClosed.Load(), Panics: c.panics.Load(),
		Accepted: c.accepted.Load(), Pings: c.pings.Load(), SlowTurns: c.slowTurns.Load(),
		Replies: c.replies.Load(), EndsCut: c.endsCut.Load(), RefusedPublishes: c.refusedPublishes.Load(),
	}
	t.RefusedBy, t.Refused = c.refused.read(refusalNames)
	t.RefusedClientsBy, t.RefusedClients = c.refusedClients.read(turnedAwayNames)
	t.Handshakes, _ = c.handshakes.read(outcomeNames)
	t.ProtocolErrorsBy, t.ProtocolErrors = c.protocolErrors.read(closeNames)
	t.Closes, _ = c.closes.read(closeNames)
	for _, bad := range []outcome{handshakeBad, handshakeTimeout, handshakeEvicted, handshakeOrigin} {
		t.BadHandshakes += c.handshakes.of[bad].Load()
	}
	return t
}

// add sums a row into t.
func (t *LoopStats) add(r LoopStats) {
	t.Clients += r.Clients
	t.Pending += r.Pending
	t.Groups += r.Groups
	t.Members += r.Members
	t.Homes += r.Homes
	t.LaneDepth += r.LaneDepth
	t.MessagesIn += r.MessagesIn
	t.BytesIn += r.BytesIn
	t.BytesOut += r.BytesOut
	t.Published += r.Published
	t.Deliveries += r.Deliveries
	t.Passes += r.Passes
	t.Ignored += r.Ignored
	t.CommandErrors += r.CommandErrors
	t.Refused += r.Refused
	t.RefusedClients += r.RefusedClients
	t.BadHandshakes += r.BadHandshakes
	t.ProtocolErrors += r.ProtocolErrors
	t.OutboxBytes += r.OutboxBytes
	t.Slow += r.Slow
	t.FragmentBytes += r.FragmentBytes
	t.SlowClosed += r.SlowClosed
	t.SlowDropped += r.SlowDropped
	t.SlowGaps += r.SlowGaps
	t.FragmentsClosed += r.FragmentsClosed
	t.MessageTimeouts += r.MessageTimeouts
	t.HeartbeatClosed += r.HeartbeatClosed
	t.Panics += r.Panics
	t.Accepted += r.Accepted
	t.Pings += r.Pings
	t.SlowTurns += r.SlowTurns
	t.Replies += r.Replies
	t.EndsCut += r.EndsCut
	t.RefusedPublishes += r.RefusedPublishes
	addTo(&t.RefusedBy, r.RefusedBy)
	addTo(&t.RefusedClientsBy, r.RefusedClientsBy)
	addTo(&t.Handshakes, r.Handshakes)
	addTo(&t.ProtocolErrorsBy, r.ProtocolErrorsBy)
	addTo(&t.Closes, r.Closes)
}

func addTo(sum *map[string]uint64, by map[string]uint64) {
	if *sum == nil {
		*sum = make(map[string]uint64, len(by))
	}
	for name, n := range by {
		(*sum)[name] += n
	}
}

// Snapshot is the state of a hub at about one moment.
type Snapshot struct {
	Started      time.Time   `json:"started"`                // when the server began to serve
	ClientsMax   int         `json:"clients_max"`            // admission's bound: --clients-max, or what descriptors allow
	AcceptErrors uint64      `json:"accept_errors"`          // failed accepts (out of descriptors, mostly); each is tried again
	AcceptFailed time.Time   `json:"accept_failed,omitzero"` // when the last of them was, to a second
	Stopping     bool        `json:"stopping"`               // a stop has begun
	Loops        []LoopStats `json:"loops"`                  // one row per loop, by index

	MemoryLimit    int64  `json:"memory_limit"`    // bytes, 0: none
	MemoryUsed     int64  `json:"memory_used"`     // bytes that count against it, as of the last tick; 0 without a limit
	MemoryPressure string `json:"memory_pressure"` // none; refuse: no clients and no publishes; cut: the largest outboxes go too
}

// Total is the sum over all loops. A group with members on several loops is one group: Groups is the number of homes.
func (s Snapshot) Total() LoopStats {
	var t LoopStats
	for _, r := range s.Loops {
		t.add(r)
	}
	t.Groups = t.Homes
	return t
}

// ClientInfo is one connection as an operator sees it.
type ClientInfo struct {
	Loop     int    `json:"loop"`
	ID       uint64 `json:"id"`        // unique in this process
	State    string `json:"state"`     // "handshake", "open" or "closing"
	Groups   int    `json:"groups"`    // how many groups it is a member of
	SendQ    int    `json:"send_q"`    // bytes waiting in its outbox
	BytesIn  uint64 `json:"bytes_in"`  // bytes received from it
	BytesOut uint64 `json:"bytes_out"` // bytes sent to it, the outbox included
	Local    string `json:"local"`     // listening address
	Remote   string `json:"remote"`    // peer address
}
