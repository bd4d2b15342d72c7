package loop

import (
	"strconv"
	"sync/atomic"

	"ringcast/wsproto"
)

// tally counts things of several kinds, each kind by itself. Its line in figures names the enumeration of its kinds.
//
// Owner: as for counters.
type tally struct{ of [tallyKindsMax]atomic.Uint64 }

// tallyKindsMax bounds the values of each enumeration below.
const tallyKindsMax = 32

func count[K ~uint8](t *tally, kind K) { t.of[kind].Add(1) }

// read is the counts by name, kinds that never happened included.
func (t *tally) read(names kinds) map[string]uint64 {
	by := make(map[string]uint64, len(names))
	for kind, name := range names {
		by[name] = t.of[kind].Load()
	}
	return by
}

// kinds is the names of an enumeration's values; a value is an index of it.
type kinds []string

// kind adds a value to an enumeration, with its name as operators see it. Values are variables and not constants so that a
// value and its name are one line.
func kind[K ~uint8](of *kinds, name string) K {
	*of = append(*of, name)
	if len(*of) > tallyKindsMax {
		panic("a tally has no room for " + name)
	}
	return K(len(*of) - 1)
}

// enumerations is what the tag kinds of figures may name.
var enumerations = map[string]*kinds{
	"refusal": &refusalNames, "tokenOutcome": &tokenOutcomeNames, "signature": &signatureNames, "turnedAway": &turnedAwayNames, "outcome": &outcomeNames, "tlsOutcome": &tlsOutcomeNames, "closeKind": &closeNames,
}

// refusal is why a command was refused.
type refusal uint8

var refusalNames kinds

var (
	refusedBusy            = kind[refusal](&refusalNames, "busy")            // a lane is full, and so is the backlog
	refusedTooLoud         = kind[refusal](&refusalNames, "group_busy")      // too much of the group is in flight
	refusedMemory          = kind[refusal](&refusalNames, "memory")          // the memory limit is near
	refusedStopping        = kind[refusal](&refusalNames, "stopping")        // the server stops
	refusedRate            = kind[refusal](&refusalNames, "rate_limited")    // the client is over its rate
	refusedGroupsPerClient = kind[refusal](&refusalNames, "too_many_groups") // the client is in as many groups as it may
	refusedGroups          = kind[refusal](&refusalNames, "groups_full")     // the server has as many groups as it may
	refusedMembers         = kind[refusal](&refusalNames, "group_full")      // the group has as many members as it may
	refusedPosition        = kind[refusal](&refusalNames, "unrecoverable")   // the client has missed more than can be had, and wants all or not to join
	refusedForbidden       = kind[refusal](&refusalNames, "forbidden")       // its kind of group is not for the client
	refusedUnavailable     = kind[refusal](&refusalNames, "unavailable")     // too few machines of the cluster can be reached, and it was not sent
	refusedUnconfirmed     = kind[refusal](&refusalNames, "unconfirmed")     // it was sent to the cluster, and no word came in time: it may be heard all the same
	refusedTooLarge        = kind[refusal](&refusalNames, "too_large")       // larger than the log of the cluster takes
	refusedUnauthorized    = kind[refusal](&refusalNames, "unauthorized")    // it has connected without a token
)

// turnedAway is why a connection was refused before its handshake was done.
type turnedAway uint8

var turnedAwayNames kinds

var (
	awayClients  = kind[turnedAway](&turnedAwayNames, "clients")        // as many connections as there may be
	awayAddress  = kind[turnedAway](&turnedAwayNames, "address")        // as many connections from its address as there may be
	awayRate     = kind[turnedAway](&turnedAwayNames, "handshake_rate") // more handshakes a second than there may be
	awayMemory   = kind[turnedAway](&turnedAwayNames, "memory")         // the memory limit is near
	awayStopping = kind[turnedAway](&turnedAwayNames, "stopping")       // the server stops

	awaySlow        = kind[turnedAway](&turnedAwayNames, "slow")        // plain HTTP over TLS, from a client that has not taken the end of the handshake
	awayDescriptors = kind[turnedAway](&turnedAwayNames, "descriptors") // plain HTTP, and no descriptor is free to hand it over
)

// outcome is how a handshake ended.
type outcome uint8

var outcomeNames kinds

var (
	handshakeOK      = kind[outcome](&outcomeNames, "ok")
	handshakeHTTP    = kind[outcome](&outcomeNames, "http")    // plain HTTP, handed to the HTTP server
	handshakeBad     = kind[outcome](&outcomeNames, "bad")     // answered with 4xx
	handshakeTimeout = kind[outcome](&outcomeNames, "timeout") // not complete in time
	handshakeEvicted = kind[outcome](&outcomeNames, "evicted") // the oldest of too many
	handshakeOrigin  = kind[outcome](&outcomeNames, "origin")  // of an origin that is not allowed
	handshakeToken   = kind[outcome](&outcomeNames, "token")   // with a token that is not good
	handshakeAway    = kind[outcome](&outcomeNames, "refused") // refused, see turnedAway
	handshakeTLS     = kind[outcome](&outcomeNames, "tls")     // a TLS hello, where TLS is not spoken
	handshakeGone    = kind[outcome](&outcomeNames, "gone")    // the peer ended the connection before it was complete
)

// tlsOutcome is how a TLS handshake ended.
type tlsOutcome uint8

var tlsOutcomeNames kinds

var (
	tlsOK      = kind[tlsOutcome](&tlsOutcomeNames, "ok")
	tlsFailed  = kind[tlsOutcome](&tlsOutcomeNames, "failed")  // no version, cipher or protocol in common, or the client did not keep to it
	tlsLate    = kind[tlsOutcome](&tlsOutcomeNames, "late")    // not done in time
	tlsEvicted = kind[tlsOutcome](&tlsOutcomeNames, "evicted") // the oldest of too many
	tlsNotTLS  = kind[tlsOutcome](&tlsOutcomeNames, "not_tls") // it has begun with something else than a hello
	tlsGone    = kind[tlsOutcome](&tlsOutcomeNames, "gone")    // the peer ended the connection before it was done
)

// tokenOutcome is what has become of a token that a client has shown.
type tokenOutcome uint8

var tokenOutcomeNames kinds

var (
	tokenAccepted = kind[tokenOutcome](&tokenOutcomeNames, "accepted")
	tokenBad      = kind[tokenOutcome](&tokenOutcomeNames, "bad")     // it is not valid here
	tokenExpired  = kind[tokenOutcome](&tokenOutcomeNames, "expired") // it was
	tokenRevoked  = kind[tokenOutcome](&tokenOutcomeNames, "revoked") // it was issued before its user's tokens were revoked
	tokenOther    = kind[tokenOutcome](&tokenOutcomeNames, "other")   // it is of another user, for another group or of another sort
)

// closeKind is a close code that the server sends first, as an index of closeCodes; one past its end is any other code.
type closeKind uint8

var closeCodes = []wsproto.StatusCode{
	wsproto.CloseNormal, wsproto.CloseGoingAway, wsproto.CloseProtocolError, wsproto.CloseInvalidPayload,
	wsproto.ClosePolicyViolation, wsproto.CloseMessageTooBig, wsproto.CloseInternalError, wsproto.CloseTryAgainLater,
	wsproto.CloseSlowClient, wsproto.CloseTokenEnded, wsproto.CloseDisconnected,
	3001, 3004, 3005, 3008, 3012, 3013, 3500, 3501, 3502, 3503, 3508, // of Centrifuge
	4001, 4003, 4005, 4006, 4007, 4009, 4100, 4200, 4201, // of Pusher, beside 4008
}

// closeNames is the codes as text, and one more for any other code.
var closeNames = func() (names kinds) {
	for _, code := range closeCodes {
		kind[closeKind](&names, strconv.Itoa(int(code)))
	}
	kind[closeKind](&names, "other")
	return names
}()

func closeKindOf(code wsproto.StatusCode) closeKind {
	for kind, c := range closeCodes {
		if c == code {
			return closeKind(kind)
		}
	}
	return closeKind(len(closeCodes))
}
