package loop

import (
	"bytes"
	"strings"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// loud is a dialect in one file: its members hear text in capitals, are greeted, and are closed with codes of their
// own. It commands as plain does. It is spoken at /loud.
var loud = dialect.Entry{
	Name:   "loud",
	Serves: func(path string) bool { return path == "/loud" },
	New:    func() dialect.Dialect { return &loudly{} },
}

type loudly struct{ dialect.Plain }

func (l *loudly) Encode(m *dialect.Message) []byte {
	if m.JSON {
		return m.Frame
	}
	return wsproto.AppendFrame(nil, wsproto.OpText, bytes.ToUpper(m.Payload()))
}

func (l *loudly) Answer(dst []byte, o dialect.Outcome) []byte {
	if o.What == dialect.Greeting {
		return wsproto.AppendFrame(dst, wsproto.OpText, []byte("HELLO"))
	}
	return l.Plain.Answer(dst, o)
}

func (l *loudly) Close(cause dialect.Cause) (wsproto.StatusCode, string) {
	_, reason := l.Plain.Close(cause)
	return 4100 + wsproto.StatusCode(cause), strings.ToUpper(reason)
}
