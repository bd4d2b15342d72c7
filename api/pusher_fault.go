package api

import (
	"net/http"

	"ringcast/dialect"
)

// pusherFault is why something was not done for a backend of the Pusher protocol. Nobody writes it once it is made.
type pusherFault struct {
	status    int
	why       string
	temporary bool   // it may be done a little later
	rest      string // members of the answer beside the sentence, with a comma before each
}

// pusherBad is a request that says what it may not.
func pusherBad(status int, why string) *pusherFault { return &pusherFault{status: status, why: why} }

// The faults of an event at its channel's home.
var (
	pusherUnknown  = &pusherFault{status: http.StatusGatewayTimeout, why: "it is not known whether the event was sent"}
	pusherGroup    = pusherBad(http.StatusBadRequest, "the name of the channel is longer than --group-name-max allows")
	pusherTooLarge = pusherBad(http.StatusRequestEntityTooLarge, "data are more than --message-max allows")
)

// pusherFaultOf is what a fault of the server API is here, where there are no codes.
func pusherFaultOf(f *fault) *pusherFault {
	switch f {
	case faultUnknown, faultUnconfirmed:
		return pusherUnknown
	case faultBadGroup:
		return pusherGroup
	case faultBadMessage:
		return pusherTooLarge
	}
	return &pusherFault{status: f.status, why: f.message, temporary: f.temporary}
}

// worse says whether f is what is to be said of two faults of one request: what may have been done goes before what was not, and what waiting
// mends before what it does not.
func (f *pusherFault) worse(than *pusherFault) bool {
	rank := func(f *pusherFault) int {
		switch {
		case f == nil:
			return 0
		case f == pusherUnknown:
			return 3
		case f.temporary:
			return 2
		}
		return 1
	}
	return rank(f) > rank(than)
}

// append appends {"error":"…"}.
func (f *pusherFault) append(dst []byte) []byte {
	dst = append(dst, `{"error":`...)
	dst = dialect.AppendString(dst, []byte(f.why))
	dst = append(dst, f.rest...)
	return append(dst, '}')
}
