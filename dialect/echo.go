package dialect

import "ringcast/wsproto"

// Echo sends every message back as it came, for conformance tools, which so test the server's own loops. No server of an operator
// speaks it. What it sends back to who has negotiated compression comes compressed.
var Echo = Entry{Name: "echo", Serves: AnyPath, New: func() Dialect { return &echo{} }, DeflatesAnswers: true}

type echo struct {
	Plain                // for all that is not an echo
	op    wsproto.OpCode // of the message that is being answered
}

func (e *echo) Next(payload []byte, binary bool) (cmd Command, rest []byte, code ErrorCode) {
	if e.op = wsproto.OpText; binary {
		e.op = wsproto.OpBinary
	}
	if payload == nil {
		payload = []byte{} // without an id there would be no answer
	}
	return Command{Verb: Respond, ID: payload}, nil, ""
}

func (e *echo) Answer(dst []byte, o Outcome) []byte {
	if o.What == OK && o.Verb == Respond {
		return wsproto.AppendFrame(dst, e.op, o.ID)
	}
	return e.Plain.Answer(dst, o)
}
