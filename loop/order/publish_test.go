package order

import (
	"fmt"
	"testing"

	"ringcast/loop/assert"
)

// publisher is a loop that is the only member of its groups and their home, with messages to publish again and again.
func publisher(hs *table, groups int) (publish func(i int)) {
	const messages = 1 << 12 // more than a history keeps
	l := hs.Lanes(0)
	for i := range groups {
		l.Offer(0, Request[*part, *asker]{Op: OpJoin, Local: &part{name: fmt.Sprint("0", i)}})
		l.Host()
	}
	requests := make([]Request[*part, *asker], messages)
	for i := range requests {
		requests[i] = publishTo(fmt.Sprint("0", i%groups), "hello")
	}
	deliver := func(d Delivery[*part, *asker]) bool {
		if d.Message != nil {
			d.Local.flow.Taken(d.Message.Bytes())
		}
		return true
	}
	return func(i int) {
		l.Offer(0, requests[i%messages])
		l.Host()
		l.Drain(nil, deliver)
		l.Through(0)
	}
}

func TestAPublishAllocatesNothing(t *testing.T) {
	if assert.On {
		t.Skip("assertions allocate")
	}
	for _, messages := range []int{0, 1, 100} {
		hs, _ := remembering(1, messages, 1000)
		publish, i := publisher(hs, 8), 0
		for ; i < 2000; i++ { // rings are full
			publish(i)
		}
		if got := testing.AllocsPerRun(2000, func() { publish(i); i++ }); got != 0 {
			t.Errorf("with a history of %d messages: got %v allocations, want none", messages, got)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, messages := range []int{0, 1, 100} {
		b.Run(fmt.Sprint("history=", messages), func(b *testing.B) {
			hs, _ := remembering(1, messages, 1000)
			if messages == 0 {
				hs.env.Kind = nil
			}
			hs.SetHistoryMax(1 << 40)
			publish := publisher(hs, 64)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				publish(i)
			}
		})
	}
}
