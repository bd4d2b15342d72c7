package loop

import (
	"strconv"
	"sync/atomic"

	"ringcast/wsproto"
)

// tally counts things of several kinds, each kind by itself. K is an enumeration whose last value is the number of kinds.
// Owner: as of counters.
type tally struct{ of [tallyKindsMax]atomic.Uint64 }

// tallyKindsMax is room for the largest enumeration below.
const tallyKindsMax = 12

func count[K ~uint8](t *tally, kind K) { t.of[kind].Add(1) }

// read gives the counts by name, kinds that never happened included, and their sum.
func (t *tally) read(names []string) (by map[string]uint64, sum uint64) {
	by = make(map[string]uint64, len(names))
	for kind, name := range names {
		n := t.of[kind].Load()
		by[name] = n
		sum += n
	}
	return by, sum
}

// refusal is why a command was refused.
type refusal uint8

const (
	refusedBusy            refusal = iota // a lane and its parking are full
	refusedMemory                         // the memory limit is near
	refusedStopping                       // the server stops
	refusedRate                           // the client is over its rate
	refusedGroupsPerClient                // the client is in as many groups as it may
	refusedGroups                         // the server has as many groups as it may
	refusedMembers                        // the group has as many members as it may
)

var refusalNames = []string{"busy", "memory", "stopping", "rate_limited", "too_many_groups", "groups_full", "group_full"}

// turnedAway is why a connection was refused before its handshake was done.
type turnedAway uint8

const (
	awayClients  turnedAway = iota // as many connections as there may be
	awayAddress                    // as many connections from its address as there may be
	awayRate                       // more handshakes a second than there may be
	awayMemory                     // the memory limit is near
	awayStopping                   // the server stops
	awayBooting                    // too much was sent before the loops were up
)

var turnedAwayNames = []string{"clients", "address", "handshake_rate", "memory", "stopping", "booting"}

// outcome is how a handshake ended.
type outcome uint8

const (
	handshakeOK      outcome = iota
	handshakeHTTP            // plain HTTP that was answered: the page, the health check
	handshakeBad             // answered with 4xx
	handshakeTimeout         // not complete in time
	handshakeEvicted         // the oldest of too many unfinished ones
	handshakeOrigin          // of an origin that is not allowed
	handshakeAway            // refused, see turnedAway
	handshakeGone            // the peer went before it was complete
)

var outcomeNames = []string{"ok", "http", "bad", "timeout", "evicted", "origin", "refused", "gone"}

// closeKind is a close code that this server sends by its own will, for the tally of closes.
type closeKind uint8

var closeCodes = []wsproto.StatusCode{
	wsproto.CloseNormal, wsproto.CloseGoingAway, wsproto.CloseProtocolError, wsproto.CloseInvalidPayload,
	wsproto.ClosePolicyViolation, wsproto.CloseMessageTooBig, wsproto.CloseInternalError, wsproto.CloseTryAgainLater,
	wsproto.CloseSlowClient,
}

// closeNames are the codes as text, and one more for whatever is not among them.
var closeNames = func() (names []string) {
	for _, code := range closeCodes {
		names = append(names, strconv.Itoa(int(code)))
	}
	return append(names, "other")
}()

func closeKindOf(code wsproto.StatusCode) closeKind {
	for kind, c := range closeCodes {
		if c == code {
			return closeKind(kind)
		}
	}
	return closeKind(len(closeCodes))
}
