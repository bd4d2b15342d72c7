package order

import (
	"testing"
	"unsafe"

	"ringcast/dialect"
)

func TestAStampOutlivesTheRoundOfItsClock(t *testing.T) {
	for _, c := range []struct{ from, to, want int64 }{
		{5 << 10, 9 << 10, 4 << 10},
		{9 << 10, 5 << 10, -4 << 10}, // the loops' clocks are one, but a callback may have begun before the message came
		{(1<<32 - 2) << 10, (1<<32 + 3) << 10, 5 << 10},
	} {
		if got := StampOf(c.from).Until(c.to); got != c.want {
			t.Errorf("from %d to %d: got %d, want %d", c.from, c.to, got, c.want)
		}
	}
}

// A join pins its group's name, a publish its message; what is accepted into lanes and backlogs counts with both.
func TestItemsCountWhatTheyHold(t *testing.T) {
	short, long := part{name: "g"}, part{name: "a group's name that is longer by 40 bytes!!!"}
	join := func(p *part) int { r := Request[*part, *asker]{Op: OpJoin, Local: p, ID: "1"}; return r.Bytes() }
	if got := join(&long) - join(&short); got != len(long.name)-len(short.name) {
		t.Errorf("a join: got %d bytes for %d more of its name", got, len(long.name)-len(short.name))
	}
	asking := Request[*part, *asker]{Op: OpJoin, Local: &short, ID: "1", Past: &Ask{}}
	if got := asking.Bytes() - join(&short); got != askBytes {
		t.Errorf("a join that recovers: got %d bytes for what it asks, want %d", got, askBytes)
	}
	publish := func(text string) int { r := publishTo("g", text); return r.Bytes() }
	if got := publish("xxxxx") - publish("x"); got != 4 {
		t.Errorf("a publish: got %d bytes for 4 more of its text", got)
	}
	tagged := publishTo("g", "x")
	tagged.Message.More = &dialect.More{Tags: make([]byte, 100), Client: "another node's"}
	if got := tagged.Bytes() - publish("x"); got != 114+moreBytes {
		t.Errorf("a publish: got %d bytes for 100 of its tags and 14 of its sender's name", got)
	}
	kept := uint32(allocated(moreBytes) + allocated(100) + allocated(14))
	if got := bookedFor(tagged.Message, 0) - bookedFor(publishTo("g", "x").Message, 0); got != kept {
		t.Errorf("in a history: got %d bytes for them, want %d", got, kept)
	}
	keyed := publishTo("g", "x")
	keyed.Keyed("a key")
	if got := keyed.Bytes() - publish("x"); got != len("a key")+viaBytes {
		t.Errorf("a publish: got %d bytes for 5 of its key", got)
	}
	answer := Delivery[*part, *asker]{Op: OpMessage, ID: "1"}
	if got := answer.Bytes(); got > 100 {
		t.Errorf("an answer alone: got %d bytes, want its slot and its id", got)
	}
}

// They lie side by side in lanes and in memory, and each is a cache line.
func TestAMessageAndARequestAreACacheLine(t *testing.T) {
	const line = 64
	if got := unsafe.Sizeof(Message{}); got != line && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("got a message of %d bytes, want %d", got, line)
	}
	if got := requestBytes; got != line && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("got a request of %d bytes, want %d", got, line)
	}
}
