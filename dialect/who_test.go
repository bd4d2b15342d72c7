package dialect

import (
	"fmt"
	"testing"
	"unsafe"
)

func TestAUserIsWhatWasSaidOfIt(t *testing.T) {
	for _, is := range []WhoIs{{}, {User: "ann"}, {Info: []byte("1")}, {GroupInfo: []byte("2")}, {User: "10", NumberID: true, GroupInfo: []byte("[]")},
		{User: "ann", Info: []byte(`{"a":1}`), GroupInfo: []byte(`{"b":2}`)}} {
		who := is.Who()
		if got := (WhoIs{who.User(), who.Info(), who.GroupInfo(), who.NumberID()}); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", is) {
			t.Errorf("got %#v, want %#v", got, is)
		}
		if got, want := who.Bytes(), len(is.User)+len(is.Info)+len(is.GroupInfo); got != want {
			t.Errorf("%+v: got %d bytes, want %d", is, got, want)
		}
	}
	if got := unsafe.Sizeof(Who{}); got > 24 {
		t.Errorf("a user has %d bytes, want at most 24", got)
	}
	is := WhoIs{User: "ann", Info: []byte(`{"a":1}`), GroupInfo: []byte(`{"b":2}`)}
	if got := testing.AllocsPerRun(100, func() { kept = is.Who() }); got > 2 {
		t.Errorf("a user takes %v allocations, want itself and its text", got)
	}
}

var kept *Who
