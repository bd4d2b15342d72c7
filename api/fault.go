package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"ringcast/dialect"
	"ringcast/loop"
)

// fault is why a command was not carried out. Nobody writes it once it is made.
type fault struct {
	code      int // of the Centrifuge protocol
	message   string
	temporary bool // nothing was done, and the same command may be accepted a little later
	status    int  // in transport error mode
}

// The faults that say all that there is to say. Codes are part of the protocol.
var (
	faultInternal    = &fault{100, "internal server error", false, http.StatusInternalServerError}
	faultUnknown     = &fault{100, "internal server error: it is not known whether the command was carried out; repeat a publish with the same idempotency_key", false, http.StatusGatewayTimeout}
	faultUnconfirmed = &fault{100, "unknown", false, http.StatusGatewayTimeout} // a cluster has been sent the publish, and no word came: programs compare the message
	faultMethod      = &fault{104, "method not found", false, http.StatusNotFound}
	faultCrowded     = &fault{106, "limit exceeded: the channel has more members than are listed", false, http.StatusBadRequest}
	faultNoHistory   = &fault{108, "not available: channels of this kind have no history", false, http.StatusBadRequest}
	faultNoPresence  = &fault{108, "not available: channels of this kind have no presence", false, http.StatusBadRequest}
	faultBusy        = &fault{111, "too many requests: the server is too busy to accept this now", true, http.StatusServiceUnavailable}
	faultUnavailable = &fault{111, "too many requests: too few machines of the cluster can be reached, and nothing was sent", true, http.StatusServiceUnavailable}
	faultStopping    = &fault{111, "too many requests: the server is stopping", true, http.StatusServiceUnavailable}
	faultLost        = &fault{112, "unrecoverable position", false, http.StatusRequestedRangeNotSatisfiable}
	faultTooLarge    = badRequest("the command is too long")
	faultNotJSON     = badRequest("a command must be one JSON object in UTF-8, nested at most 512 deep")
	faultNoBody      = badRequest("the rest of the body has not come, or not in time")
	faultBadGroup    = badRequest("a channel's name has 1 to 255 bytes, or as many as --group-name-max allows")
	faultBadMessage  = badRequest("data is longer than --message-max or the cluster's log allows, or is not UTF-8")
	faultNobody      = badRequest("user or client must be named")
	faultRevoked     = &fault{106, "limit exceeded: as many users have revoked tokens as may have", false, http.StatusBadRequest}
	faultNoChannels  = badRequest("channels must name one at least")
	faultManyChannel = &fault{106, "limit exceeded: one broadcast goes to " + strconv.Itoa(broadcastMax) + " channels at most", false, http.StatusBadRequest}
)

// badRequest is a command that says what it may not.
func badRequest(why string) *fault {
	return &fault{107, "bad request: " + why, false, http.StatusBadRequest}
}

// notHere is a wish that would be granted elsewhere, and which nobody should think granted.
func notHere(what string) *fault {
	return &fault{108, "not available: " + what, false, http.StatusBadRequest}
}

// refusal is the fault of an error that says what was done: nothing, or that this is not known.
func refusal(err error) *fault {
	switch {
	case errors.Is(err, loop.ErrBusy):
		return faultBusy
	case errors.Is(err, loop.ErrUnavailable):
		return faultUnavailable
	case errors.Is(err, loop.ErrUnconfirmed):
		return faultUnconfirmed
	case errors.Is(err, loop.ErrStopping), errors.Is(err, loop.ErrClosed):
		return faultStopping
	case errors.Is(err, loop.ErrBadGroup):
		return faultBadGroup
	case errors.Is(err, loop.ErrBadMessage), errors.Is(err, loop.ErrTooLarge):
		return faultBadMessage
	case errors.Is(err, loop.ErrNoHistory):
		return faultNoHistory
	case errors.Is(err, loop.ErrRevokedFull):
		return faultRevoked
	case errors.Is(err, loop.ErrUnknown):
		return faultUnknown
	}
	return faultInternal
}

// unsettled is the fault of an error behind which something may have been done.
func unsettled(err error) *fault {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, loop.ErrStopping) {
		return faultUnknown
	}
	return refusal(err)
}

// unanswered is the fault of an error of a question, which changes nothing.
func unanswered(err error) *fault {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return faultBusy
	}
	return refusal(err)
}

// append appends {"code":111,"message":"…","temporary":true}.
func (f *fault) append(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(f.code), 10)
	dst = append(dst, `,"message":`...)
	dst = dialect.AppendString(dst, []byte(f.message))
	if f.temporary {
		dst = append(dst, `,"temporary":true`...)
	}
	return append(dst, '}')
}
