package test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// One group is published to faster than its members' loop can send. It is refused for that, and strangers whose members are on
// the same loop, with the same home and with another, on the publisher's loop and on the other, do not notice. It does not run
// beside other tests, as it takes all the processors for some seconds, and others have clients that must answer within one.
func TestFaultALoudGroupIsRefusedAndItsNeighboursAreNot(t *testing.T) {
	const loops, groups = 2, 4
	members, each := size(60, 3_000), size(25, 250)
	if raceDetector {
		members = size(60, 1_000)
	}
	s := start(t, "--loops", fmt.Sprint(loops), "--outbox-max", "64MiB", "--heartbeat", "10m")
	loud := t.Name() + "/loud"

	// Clients are spread over the loops as they come. Those that are not needed stay and do nothing.
	all := arrive(t, s, 2*members+40, 64, dialing{small: true}, func(_ int, c *client) error { return c.handshake(s.addr, dialing{}) })
	var rows []struct {
		Loop   int    `json:"loop"`
		Remote string `json:"remote"`
	}
	must(t, askControl(s.dir, "/connections", &rows))
	loopOf := map[string]int{}
	for _, r := range rows {
		loopOf[r.Remote] = r.Loop
	}
	on := make([]crowd, loops)
	for _, c := range all {
		loop := loopOf[c.conn.LocalAddr().String()]
		on[loop] = append(on[loop], c)
	}
	for loop, there := range on {
		if len(there) < 20 || loop == 0 && len(there) < members/2+20 {
			t.Fatalf("loop %d has %d clients, too few for this test", loop, len(there))
		}
	}
	take := func(loop int) *client {
		c := on[loop][0]
		on[loop] = on[loop][1:]
		return c
	}

	senders := make([]*client, loops)
	var neighbours []*client
	for i := range senders {
		senders[i] = take(i)
	}
	group := func(i int) string { return fmt.Sprintf("%s/neighbour %d", t.Name(), i) }
	for i := range groups { // so many that both homes have one
		c := take(0)
		must(t, c.join(group(i)))
		neighbours = append(neighbours, c)
	}
	publisher := take(1)
	for _, c := range on[0][:min(members, len(on[0]))] {
		must(t, c.join(loud))
		c.conn.SetReadDeadline(time.Time{})
		go io.Copy(io.Discard, c.in) // the cheapest reader that there is, so that it keeps up
	}

	over, ended := make(chan struct{}), make(chan error, 2)
	var accepted, refused atomic.Int64
	go func() {
		for message, id := strings.Repeat("x", 64<<10), 1; ; id++ {
			select {
			case <-over:
				ended <- publisher.text(withID("0", sendCommand(loud, "the last"))) // answered behind all others, as they have one home
				return
			default:
			}
			if err := publisher.text(withID(fmt.Sprint(id), sendCommand(loud, message))); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		for {
			text, err := publisher.next()
			switch {
			case err != nil:
			case strings.Contains(text, `"ok":true`):
				accepted.Add(1)
			case strings.Contains(text, `"code":"busy"`):
				refused.Add(1)
			default:
				err = errors.New("the loud publisher got " + text)
			}
			if err != nil || strings.HasPrefix(text, `{"id":0,`) {
				ended <- err
				return
			}
		}
	}()
	s.eventually("the loud group is refused", func() error {
		if slow := raceDetector && accepted.Load() >= 50; refused.Load() == 0 && !slow { // it slows the publisher down, and no send
			return fmt.Errorf("%d of its publishes were accepted, none was refused", accepted.Load())
		}
		return nil
	})

	done := make(chan error, loops)
	for _, c := range senders {
		go func() {
			for i := range groups * each {
				if _, err := c.askOK(sendCommand(group(i%groups), "small")); err != nil {
					done <- fmt.Errorf("publish %d of a neighbour: %w", i, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range senders {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, c := range neighbours {
		texts, err := c.collect(loops * each)
		must(t, err)
		for _, text := range texts {
			equal(t, "text of a neighbour", text, "small")
		}
	}
	close(over)
	for range cap(ended) {
		must(t, <-ended)
	}
	by := s.status().Total.RefusedBy
	if by.GroupBusy != uint64(refused.Load()) || by.Busy != 0 {
		t.Errorf("refused: status has %d by group_busy and %d by busy; the loud publisher was told %d", by.GroupBusy, by.Busy, refused.Load())
	}
	equal(t, "panics", s.status().Total.Panics, 0)
	t.Logf("the loud group had %d publishes accepted and %d refused while its neighbours had %d", accepted.Load(), refused.Load(), loops*groups*each)
}
