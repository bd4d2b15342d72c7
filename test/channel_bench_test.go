package test

import (
	"bufio"
	"fmt"
	"testing"
)

// BenchmarkChannelEventsIntoAGroupOfTen has one Channel client publish as fast as it can into a group of ten WebSocket
// clients, and checks every delivery. events/s are counted from the first that was sent to the last that all ten have.
func BenchmarkChannelEventsIntoAGroupOfTen(b *testing.B) {
	s := start(b, "--channel", "127.0.0.1:0")
	const members = 10
	done := make(chan error, members)
	publisher := dialChannel(b, s)
	for range members {
		m := member(b, s, "g")
		go func() {
			for i := range b.N {
				text, err := m.next()
				if err == nil && text != eventText(i) {
					err = fmt.Errorf("got %q, want %q", text, eventText(i))
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	b.ResetTimer()
	out := bufio.NewWriterSize(publisher.conn, 4<<10)
	for i := range b.N {
		if _, err := out.WriteString(said("publish", "send_to_group", groupEvent("g", eventText(i)))); err != nil {
			b.Fatal(err)
		}
	}
	must(b, out.Flush())
	for range members {
		must(b, <-done)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func eventText(i int) string { return fmt.Sprintf("event %058d", i) }
