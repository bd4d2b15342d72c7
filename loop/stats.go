package loop

import (
	"reflect"
	"strings"
	"sync/atomic"
	"time"
)

// figures is the table of what a loop counts. A line is a counter everywhere: a field in which the loop counts, a field of a
// Snapshot, a key of status --json and a metric. A loop only adds to a field; all else finds the lines by reflection, when it is
// asked for.
//
// The types say what a field is:
//
//	G  gauge: goes up and down; a metric by loop
//	C  counter: only grows, since the start; a metric summed over the loops
//	T  tally: a counter for each kind; a metric with a label
//	g  gauge that the loop does not count: Hub.Snapshot reads it elsewhere
//	c  counter that the loop does not count: likewise, or as the tag sum says
//
// and the tags the rest:
//
//	json   key in status --json
//	prom   name of the metric. Of several fields with one name the first has the metric's help. "-": none, as others have it
//	help   what is counted, for an operator
//	label  of a tally: the label that has the kind. Else, as label=value: what tells this field from the others of its metric
//	kinds  of a tally: its enumeration
//	sum    a tally by its field, and the kinds of it if not all, that this is the sum of
//	per    server: one value for all loops, not one by loop
type figures[G, C, T, g, c any] struct {
	Clients    G `json:"clients" prom:"ringcast_connections" label:"state=open" help:"Connections by loop: open WebSockets, and those still in the handshake."`
	Pending    G `json:"pending" prom:"ringcast_connections" label:"state=handshake" help:"Connections still in the handshake."`
	TLSClients G `json:"tls_clients" prom:"ringcast_tls_clients" help:"Connections over TLS whose TLS handshake is done, but for those that the HTTP server has, by loop."`
	TLSRunning G `json:"tls_handshakes_running" prom:"ringcast_tls_handshakes_running" help:"TLS handshakes under way, by loop; each has a goroutine."`
	Groups     G `json:"groups" prom:"ringcast_groups" per:"server" help:"Groups with at least one member."` // on this loop; in a total: distinct groups
	Members    G `json:"members" prom:"ringcast_members" help:"Memberships by the loop of the member; a client in three groups is three."`
	Homes      g `json:"homes" prom:"-" help:"Groups that the home with this loop's number puts in order."`         // in all: Groups
	LaneDepth  g `json:"lane_depth" prom:"ringcast_lane_depth" help:"Items that wait in the lanes towards a loop."` // and towards the home with its number, and in that home's lane to the feed

	OutboxBytes   g `json:"outbox_bytes" prom:"ringcast_outbox_bytes" help:"Bytes that wait for slow clients, by the loop of the client."`
	Slow          G `json:"slow" prom:"ringcast_slow_clients" help:"Clients for which something waits, by loop."`
	FragmentBytes G `json:"fragment_bytes" prom:"ringcast_unfinished_bytes" help:"Bytes that hold unfinished messages and request heads, by the loop of the client."`

	DeflateClients G `json:"deflate_clients" prom:"ringcast_deflate_clients" help:"Open WebSockets that have negotiated compression, by loop."`

	MessagesIn       C `json:"messages_in" prom:"ringcast_messages_received_total" help:"Whole WebSocket messages received."`
	BytesIn          C `json:"bytes_in" prom:"ringcast_received_bytes_total" help:"Bytes received, handshakes and frame headers included."`
	BytesOut         C `json:"bytes_out" prom:"ringcast_sent_bytes_total" help:"Bytes handed to the kernel or to outboxes."`
	Published        c `json:"published" prom:"ringcast_publishes_total" help:"Publishes accepted and put in order."`
	Deliveries       C `json:"deliveries" prom:"ringcast_deliveries_total" help:"Group messages handed to members' sockets."`
	Passes           C `json:"passes" prom:"ringcast_passes_total" help:"Walks over a group's members, each of which sends one batch."`
	Borrows          C `json:"borrows" prom:"ringcast_borrows_total" help:"Times that another loop took messages for this one's clients out of its lanes, most often to send them without waking it."`
	InflatedIn       C `json:"inflated_messages" prom:"ringcast_inflated_messages_total" help:"Whole WebSocket messages received that came compressed."`
	Compressions     C `json:"compressions" prom:"ringcast_compressions_total" help:"Messages compressed for the clients of a dialect: each once for all of them."` // goroutines that compress write too, here and in the next two
	CompressionIn    C `json:"compression_bytes_in" prom:"ringcast_compression_bytes_in_total" help:"Bytes of frames that were compressed, before."`
	CompressionOut   C `json:"compression_bytes_out" prom:"ringcast_compression_bytes_out_total" help:"Bytes of frames that were compressed, after."`
	Ignored          C `json:"ignored" prom:"ringcast_ignored_messages_total" help:"Messages that were no command, or a wrong one without an id."`
	CommandErrors    C `json:"command_errors" prom:"ringcast_command_errors_total" help:"Commands that were wrong."` // answered or not
	Refused          c `json:"refused" prom:"-" sum:"RefusedBy" help:"Commands refused."`
	RefusedClients   c `json:"refused_clients" prom:"-" sum:"RefusedClientsBy" help:"Connections refused by admission."`
	BadHandshakes    c `json:"bad_handshakes" prom:"-" sum:"Handshakes bad timeout evicted origin token tls" help:"Requests answered with 4xx, or cut at the handshake timeout."`
	ProtocolErrors   c `json:"protocol_errors" prom:"-" sum:"ProtocolErrorsBy" help:"Clients closed with 1002, 1007 or 1009."`
	SlowClosed       C `json:"slow_closed" prom:"ringcast_slow_clients_total" label:"policy=close" help:"Slow clients by what was done about them: closed, left to heal from history, or told how many messages they have missed."`
	SlowHealed       C `json:"slow_healed" prom:"ringcast_slow_clients_total" label:"policy=heal" help:"Times that a slow client began to heal from history."`
	SlowDropped      C `json:"slow_dropped" prom:"ringcast_dropped_messages_total" label:"policy=drop" help:"Messages that were not queued for slow clients, each counted for each client: with drop they have missed them, with heal they get them from history."`
	SlowSkipped      C `json:"slow_skipped" prom:"ringcast_dropped_messages_total" label:"policy=heal" help:"Messages that were not queued for slow clients, which get them from history."`
	SlowGaps         C `json:"slow_gaps" prom:"ringcast_slow_clients_total" label:"policy=drop" help:"Gap events sent to slow clients."`
	FragmentsClosed  C `json:"fragments_closed" prom:"ringcast_unfinished_closes_total" help:"Clients closed because all unfinished messages together were too large."`
	MessageTimeouts  C `json:"message_timeouts" prom:"ringcast_message_timeouts_total" help:"Clients closed because a message of theirs took too long."`
	HeartbeatClosed  C `json:"heartbeat_closed" prom:"ringcast_heartbeat_closes_total" help:"Clients closed because they gave no sign of life."`
	Panics           C `json:"panics" prom:"ringcast_panics_total" help:"Callbacks that panicked; the client was closed, the loop went on. Any is a bug."`
	Accepted         C `json:"accepted" prom:"ringcast_accepted_total" help:"Connections taken in; those that admission refuses at once are not."`
	Pings            C `json:"pings" prom:"ringcast_pings_total" help:"Pings sent to silent clients."`
	SlowTurns        C `json:"slow_turns" prom:"ringcast_slow_turns_total" help:"Callbacks of loops that took longer than --slow-turn; the log has their stacks."` // the watchdog writes
	Replies          C `json:"replies" prom:"ringcast_replies_total" help:"Frames sent that are no deliveries, and answers to handshakes: answers to commands, pings, pongs."`
	EndsCut          C `json:"ends_cut" prom:"ringcast_ends_cut_total" help:"Closed clients that were cut because they did not end their side in time."`
	TLSErrors        C `json:"tls_errors" prom:"ringcast_tls_errors_total" help:"Clients cut because what they sent behind the TLS handshake was no good record."`
	RefusedPublishes C `json:"refused_publishes" prom:"ringcast_refused_publishes_total" help:"Publishes refused: those of ringcast_refused_total that were publishes."` // ports and homes write too

	RefusedBy        T `json:"refused_by" prom:"ringcast_refused_total" label:"reason" kinds:"refusal" help:"Commands refused by reason; who sent one was told by an error or a close code."`         // ports and homes write too
	RefusedClientsBy T `json:"refused_clients_by" prom:"ringcast_refused_connections_total" label:"reason" kinds:"turnedAway" help:"Connections refused before their handshake was done, by reason."` // departures write too
	Handshakes       T `json:"handshakes" prom:"ringcast_handshakes_total" label:"outcome" kinds:"outcome" help:"Handshakes by how they ended."`
	TLSHandshakes    T `json:"tls_handshakes" prom:"ringcast_tls_handshakes_total" label:"outcome" kinds:"tlsOutcome" help:"TLS handshakes by how they ended."`
	Tokens           T `json:"tokens" prom:"ringcast_tokens_total" label:"outcome" kinds:"tokenOutcome" help:"Tokens that clients have shown, by what became of them."`
	Signatures       T `json:"signatures" prom:"ringcast_signatures_total" label:"outcome" kinds:"signature" help:"Signatures of the Pusher protocol that clients have shown, or not where one is needed, by what became of them."`
	ProtocolErrorsBy T `json:"protocol_errors_by" prom:"ringcast_protocol_errors_total" label:"code" kinds:"closeKind" help:"Clients closed because they broke the WebSocket protocol, by close code."`
	Closes           T `json:"closes" prom:"ringcast_closes_total" label:"code" kinds:"closeKind" help:"Close frames that the server began, by close code."`
}

// counters are the figures and distributions of one loop as it counts them. What clients are told does not depend on them, but
// three things of the hub do: the clock wakes loops that have clients, the memory limit counts the two gauges below, and a stop
// waits until no passes are made any more. Distributions come first: of what the loop writes they change least, and other loops
// write what is before them in a shard.
//
// Owner: who holds the shard writes, unless a field's comment says otherwise, and any goroutine reads, so every field is atomic.
type counters struct {
	distributions[histogram]

	// Gauges of the last turn, in bytes, for the memory limit only.
	backlogBytes  atomic.Int64
	gatheredBytes atomic.Int64
	replayBytes   atomic.Int64

	figures[atomic.Int64, atomic.Uint64, tally, elsewhere, elsewhere]
}

// elsewhere is the type of the fields of counters that the loop does not count.
type elsewhere struct{}

// show sets a gauge, if it has changed: an atomic store costs more than a load.
func show(gauge *atomic.Int64, n int) {
	if gauge.Load() != int64(n) {
		gauge.Store(int64(n))
	}
}

// LoopStats is one loop's row of a Snapshot, or the sum of all of them. Gauges (int64) are of the moment; the others count
// since the start, tallies by the names of their kinds. The tags json, prom, label, per and help say how each is shown.
type LoopStats figures[int64, uint64, map[string]uint64, int64, uint64]

// read copies the counters, field by field, so a row is not of one instant.
func (c *counters) read() (row LoopStats) {
	from, to := reflect.ValueOf(&c.figures).Elem(), reflect.ValueOf(&row).Elem()
	for i := range tags {
		switch n := from.Field(i).Addr().Interface().(type) {
		case *atomic.Int64:
			to.Field(i).SetInt(n.Load())
		case *atomic.Uint64:
			to.Field(i).SetUint(n.Load())
		case *tally:
			to.Field(i).Set(reflect.ValueOf(n.read(*tags[i].kinds)))
		}
	}
	for i, t := range tags {
		if t.sum != nil {
			to.Field(i).SetUint(sum(to.FieldByIndex(t.sum).Interface().(map[string]uint64), t.of))
		}
	}
	return row
}

// tags is what read needs of each field's tags. It is read once, because that takes longer than the rest of a snapshot.
var tags = func() (all []fieldTags) {
	t := reflect.TypeFor[LoopStats]()
	for i := range t.NumField() {
		tag := fieldTags{kinds: enumerations[t.Field(i).Tag.Get("kinds")]}
		if words := strings.Fields(t.Field(i).Tag.Get("sum")); len(words) > 0 {
			tally, _ := t.FieldByName(words[0])
			tag.sum, tag.of = tally.Index, words[1:]
		}
		all = append(all, tag)
	}
	return all
}()

type fieldTags struct {
	kinds *kinds
	sum   []int    // index of the tally that this is the sum of; nil: it is no sum
	of    []string // the kinds that it sums; none: all
}

// sum is the sum of the counts of some kinds, or of all if none is named.
func sum(by map[string]uint64, kinds []string) (n uint64) {
	if len(kinds) == 0 {
		for _, more := range by {
			n += more
		}
	}
	for _, kind := range kinds {
		n += by[kind]
	}
	return n
}

// add adds a row to t.
func (t *LoopStats) add(r LoopStats) {
	to, from := reflect.ValueOf(t).Elem(), reflect.ValueOf(r)
	for i := range to.NumField() {
		switch f := to.Field(i); n := from.Field(i).Interface().(type) {
		case int64:
			f.SetInt(f.Int() + n)
		case uint64:
			f.SetUint(f.Uint() + n)
		case map[string]uint64:
			addTo(f.Addr().Interface().(*map[string]uint64), n)
		}
	}
}

func addTo(sum *map[string]uint64, by map[string]uint64) {
	if *sum == nil {
		*sum = make(map[string]uint64, len(by))
	}
	for name, n := range by {
		(*sum)[name] += n
	}
}

// Snapshot is the state of a hub at about one moment. Its tags are those of figures; a field with prom is one value for the
// server.
type Snapshot struct {
	Started      time.Time   `json:"started"`                                                                                                                             // when the server began to serve
	ClientsMax   int         `json:"clients_max" prom:"ringcast_connections_max" help:"Connections that there may be at one time; beyond it newcomers are answered 503."` // --clients-max, or what descriptors allow
	Departed     int64       `json:"departed" prom:"-"`                                                                                                                   // connections that have left their loops for the HTTP server; they count towards ClientsMax
	AcceptErrors uint64      `json:"accept_errors" prom:"ringcast_accept_errors_total" help:"Failed accepts, mostly for want of file descriptors; each is tried again."`
	AcceptFailed time.Time   `json:"accept_failed,omitzero"` // when the last of them was, to a second
	Stopping     bool        `json:"stopping"`               // a stop has begun
	Loops        []LoopStats `json:"loops"`                  // one row per loop, by index

	MemoryLimit     int64 `json:"memory_limit" prom:"ringcast_memory_limit_bytes" help:"The memory limit of the process, 0 where there is none."`
	MemoryUsed      int64 `json:"memory_used" prom:"ringcast_memory_used_bytes" help:"What counts against the memory limit; from four fifths of it clients and publishes are refused. 0 without a limit."` // as of the last tick
	Users           int64 `json:"users" prom:"ringcast_users" help:"Users with a name, by their tokens, that are connected."`
	Histories       int64 `json:"histories" prom:"ringcast_histories" help:"Groups of which messages are kept, or that are known for their history alone."`
	HistoryMessages int64 `json:"history_messages" prom:"ringcast_history_messages" help:"Messages kept in histories."`
	HistoryBytes    int64 `json:"history_bytes" prom:"ringcast_history_bytes" help:"Memory of all histories, which --history-max bounds."`

	Offered         int64  `json:"offered" prom:"ringcast_offered_publishes" help:"Publishes that wait for a cluster to put them in order."`
	SetAside        int64  `json:"set_aside" prom:"ringcast_set_aside_requests" help:"Resumes and readings of history that wait for the log of a cluster."`
	SetAsideRefused uint64 `json:"set_aside_refused" prom:"ringcast_set_aside_refused_total" help:"Resumes and readings of history that were refused as busy, since too many waited for the log of a cluster, it could not be asked in time, or it is behind on this node."`

	MemoryPressure string `json:"memory_pressure"` // none; refuse: no clients and no publishes; cut: the largest outboxes go too
}

// Total is the sum over all loops. As a group may have members on several loops, Groups is the number of groups at all homes.
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
	ID       uint64 `json:"id"`             // unique in this process
	State    string `json:"state"`          // "handshake", "open" or "closing"
	User     string `json:"user,omitempty"` // by its token; empty: it has shown none, or one without a user
	Groups   int    `json:"groups"`         // how many groups it is a member of
	SendQ    int    `json:"send_q"`         // bytes waiting in its outbox
	BytesIn  uint64 `json:"bytes_in"`       // bytes received from it
	BytesOut uint64 `json:"bytes_out"`      // bytes sent to it, the outbox included
	Local    string `json:"local"`          // listening address
	Remote   string `json:"remote"`         // peer address

	Deflate bool     `json:"deflate,omitempty"` // it has negotiated compression
	TLS     string   `json:"tls,omitempty"`     // the version of TLS; empty: none is spoken, or its handshake is not done
	Dialect string   `json:"dialect,omitempty"` // "plain" or "centrifuge"; empty: its handshake is not done
	Kinds   []string `json:"kinds,omitempty"`   // patterns of the kinds of its groups, see Hub.Clients; empty: it has no group
}
