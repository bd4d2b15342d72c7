package test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

const (
	wavesInAll     = 10
	clientsPerWave = 1000 // 10,000 in all; in waves, because a process may be limited to far fewer descriptors
	groupsInAll    = 1000
	groupsEach     = 3
)

// The heap is compared after garbage collection, at the start and at the end.
func TestTablesAreEmptyAndTheHeapIsBackWhenAllHaveLeft(t *testing.T) {
	t.Parallel()
	waves := wavesInAll
	if raceDetector {
		waves = 2 // ten times slower; the full number runs without it
	}
	s := start(t, "--admin", "127.0.0.1:0")
	member(t, s, "traffic").hangUp() // what is made once, for the first client
	emptied(t, s)
	before := heapLeast(t, s)
	for n := range waves {
		must(t, wave(s, n))
		emptied(t, s)
	}
	after := heapLeast(t, s)
	if after > before+before/10 {
		t.Errorf("heap in use after %d waves of %d clients: got %d bytes, want at most a tenth over the %d at the start",
			waves, clientsPerWave, after, before)
	}
	t.Logf("heap in use: %d bytes at the start, %d after %d waves", before, after, waves)
}

// wave connects clients, lets each join some groups and send to one, and ends them in all possible ways.
func wave(s *server, n int) error {
	const hands = 8
	var wg sync.WaitGroup
	errs := make([]error, hands)
	for hand := range hands {
		wg.Go(func() {
			var clients []*client
			defer func() {
				for _, c := range clients {
					c.hangUp()
				}
			}()
			for i := hand; i < clientsPerWave; i += hands {
				// An address of its own for each wave: the ports of the last one are still waiting out their time.
				c, err := open(s.addr, dialing{from: fmt.Sprintf("127.0.1.%d", n+1)})
				if err != nil {
					errs[hand] = fmt.Errorf("wave %d client %d: %w", n, i, err)
					return
				}
				clients = append(clients, c)
				if err := c.enter(i); err != nil {
					errs[hand] = fmt.Errorf("wave %d client %d: %w", n, i, err)
					return
				}
			}
			for at, c := range clients {
				if err := c.exit(hand+at*hands, at%4); err != nil {
					errs[hand] = fmt.Errorf("wave %d leaving: %w", n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func groupOf(i, k int) string {
	return fmt.Sprintf("group %d", (i+k*groupsInAll/groupsEach)%groupsInAll)
}

func (c *client) enter(i int) error {
	var commands []string
	for k := range groupsEach {
		commands = append(commands, withID(fmt.Sprint(k), joinCommand(groupOf(i, k))))
	}
	own := fmt.Sprintf("text of %d", i)
	if err := c.commands(append(commands, sendCommand(groupOf(i, 0), own))...); err != nil {
		return err
	}
	for k := range groupsEach {
		if _, err := c.replyTo(fmt.Sprint(k)); err != nil {
			return err
		}
	}
	_, err := c.collectUntil(own)
	return err
}

func (c *client) exit(i, way int) error {
	switch way {
	case 0: // in good order
		for k := range groupsEach {
			if err := c.leave(groupOf(i, k)); err != nil {
				return err
			}
		}
		return c.closeWith(1000, "")
	case 1:
		return c.closeWith(1000, "")
	case 2:
		c.die()
	}
	return nil // hung up at the end of the wave
}

// emptied waits until no client and no group is left.
func emptied(t *testing.T, s *server) {
	t.Helper()
	s.eventually("all tables are empty", func() error {
		got := s.status().Total
		if got.Clients+got.Pending+got.Groups+got.Members+got.Homes+got.LaneDepth != 0 {
			return fmt.Errorf("got clients %d, pending %d, groups %d, members %d, homes %d, lane depth %d; want 0 of each",
				got.Clients, got.Pending, got.Groups, got.Members, got.Homes, got.LaneDepth)
		}
		return nil
	})
}

// heapLeast has the server collect, through its profile of the heap, until the least heap in use has not fallen for a while.
// What writing the profile leaves behind is small, and the same at each reading.
func heapLeast(t *testing.T, s *server) uint64 {
	t.Helper()
	least := uint64(1 << 63)
	for same := 0; same < 5; same++ {
		if code, _, err := ask("http://"+s.status().Admin+"/debug/pprof/heap?gc=1", ""); err != nil || code != http.StatusOK {
			t.Fatalf("a collection: got %d, %v, want 200", code, err)
		}
		got := s.status().HeapBytes
		if got == 0 {
			t.Fatal("heap_bytes: got 0, want the heap in use")
		}
		if got < least {
			least, same = got, 0
		}
	}
	return least
}
