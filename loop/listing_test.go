package loop

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// allClients is for tests with few clients.
func allClients(ctx context.Context, h *Hub) (all []ClientInfo, err error) {
	err = h.Clients(ctx, func(rows []ClientInfo) error {
		all = append(all, rows...)
		return nil
	})
	return all, err
}

// While clients come and go between the slices of several walks, each walk lists every client that is there all the time exactly
// once and nobody twice; and everything that is kept by slot goes where its client goes.
func TestAListNamesEveryClientThatStaysOnce(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		h := fakeHub(1)
		s := h.shards[0]
		s.env.names = func(conn) (string, string) { return "", "" }
		s.bounds.listRows = 1 + rng.IntN(4)
		s.bounds.CommandsPerSecond = 1000
		s.rates.adopt(s.bounds, 0)
		enter := func() {
			c := h.openFake(0)
			s.heartbeat.lastSeen[c.slot], s.rates.commands.due[c.slot] = c.serial, int64(c.serial)
			if c.serial%3 == 0 {
				s.known(c)
			}
		}
		for range rng.IntN(20) {
			enter()
		}
		type walk struct {
			listing
			stays map[uint64]bool // there since the first slice
			times map[uint64]int  // listed
			more  bool
		}
		walks := make([]*walk, 1+rng.IntN(3))
		for i := range walks {
			walks[i] = &walk{listing: listing{left: notBegun}, stays: map[uint64]bool{}, times: map[uint64]int{}, more: true}
		}
		for under := len(walks); under > 0; {
			switch w := walks[rng.IntN(len(walks))]; {
			case rng.IntN(3) == 0:
				enter()
			case rng.IntN(2) == 0 && len(s.clients) > 0:
				gone := s.clients[rng.IntN(len(s.clients))]
				s.closed(gone)
				for _, w := range walks {
					delete(w.stays, gone.Number())
				}
			case w.more:
				if w.left == notBegun {
					for _, c := range s.clients {
						w.stays[c.Number()] = true
					}
				}
				if w.more = s.list(&w.listing); !w.more {
					under--
				}
				if len(w.rows) > s.bounds.listRows {
					t.Fatalf("seed %d: a slice of %d rows, want at most %d", seed, len(w.rows), s.bounds.listRows)
				}
				for _, row := range w.rows {
					w.times[row.ID]++
				}
				if w.more {
					break
				}
				for id := range w.stays {
					if w.times[id] != 1 {
						t.Fatalf("seed %d: a client that was there all the time is listed %d times, want once", seed, w.times[id])
					}
				}
				for id, n := range w.times {
					if n > 1 {
						t.Fatalf("seed %d: client %d is listed %d times", seed, id, n)
					}
				}
			}
			for slot, c := range s.clients {
				if int(c.slot) != slot || s.heartbeat.lastSeen[slot] != c.serial || s.rates.commands.due[slot] != int64(c.serial) || s.bearers.of.get(uint32(slot)) != s.bearer(c) || c.is(markBearer) != (c.serial%3 == 0) {
					t.Fatalf("seed %d: client %d is in slot %d and believes to be in %d, or its heartbeat, rate or bearer is another's", seed, c.Number(), slot, c.slot)
				}
			}
		}
		for len(s.clients) > 0 {
			s.closed(s.clients[rng.IntN(len(s.clients))])
		}
		if of := s.bearers.of; of.len != 0 || of.pages != nil {
			t.Fatalf("seed %d: %d bearers in %d pages are left over", seed, of.len, len(of.pages))
		}
		if len(s.listings) > 0 {
			t.Fatalf("seed %d: %d walks are left over", seed, len(s.listings))
		}
	}
}

// listedHub is a hub of made-up clients whose loops run on one goroutine; do runs a function there, between callbacks.
func listedHub(t *testing.T, loops, clients int) (h *Hub, do func(func())) {
	h = fakeHub(loops)
	for i := range clients {
		h.openFake(i % loops)
	}
	todo := make(chan func(), 100)
	for _, s := range h.shards {
		s.env.names = func(conn) (string, string) { return "local", "remote" }
		s.env.wake = func() { todo <- s.woken }
	}
	go func() {
		for f := range todo {
			f()
		}
	}()
	t.Cleanup(func() { close(todo) })
	return h, func(f func()) {
		done := make(chan struct{})
		todo <- func() { f(); close(done) }
		<-done
	}
}

// The rows of a list are in nobody's hands but for a slice: a loop makes the next when the last was taken, into the same memory.
func TestAListIsMadeInSlicesAsTheyAreTaken(t *testing.T) {
	const loops, clients = 2, 10_000
	h, do := listedHub(t, loops, clients)
	slice := h.bounds.Load().listRows
	ids, slices := map[uint64]bool{}, 0
	err := h.Clients(within(t), func(rows []ClientInfo) error {
		slices++
		if len(rows) > slice || cap(rows) > 2*slice {
			t.Fatalf("got %d rows at a time in room for %d, want at most %d", len(rows), cap(rows), slice)
		}
		for _, row := range rows {
			ids[row.ID] = true
		}
		do(func() {
			left := 0
			for _, s := range h.shards {
				for _, l := range s.listings {
					left += l.left
				}
				if s.index > rows[0].Loop && len(s.listings) > 0 {
					t.Error("got a loop that works already while rows of another are taken")
				}
			}
			if most := clients/loops - slice; left > most {
				t.Errorf("got %d clients of a loop still to be listed after a slice, want at most %d", left, most)
			}
		})
		return nil
	})
	if err != nil || len(ids) != clients || slices != clients/slice {
		t.Errorf("got %d clients in %d slices (%v), want %d in %d", len(ids), slices, err, clients, clients/slice)
	}
}

// A list that its reader gives up, or that is called off, is no more work for the loops, and makes room for others.
func TestAListThatIsGivenUpEndsAtTheLoops(t *testing.T) {
	h, do := listedHub(t, 2, 5000)
	none := func() (none bool) {
		do(func() { none = len(h.shards[0].listings)+len(h.shards[1].listings) == 0 && h.listings.Load() == 0 })
		return none
	}
	enough := errors.New("enough")
	if err := h.Clients(within(t), func([]ClientInfo) error { return enough }); err != enough {
		t.Errorf("got %v, want the error of who takes", err)
	}
	eventually(t, "the given up list has ended", none)

	ctx, cancel := context.WithCancel(context.Background())
	taken := 0
	err := h.Clients(ctx, func([]ClientInfo) error {
		taken++
		cancel()
		return nil
	})
	if err != context.Canceled || taken != 1 {
		t.Errorf("called off: got %v after %d slices, want %v after 1", err, taken, context.Canceled)
	}
	eventually(t, "the list that was called off has ended", none)
	if all, err := allClients(within(t), h); err != nil || len(all) != 5000 {
		t.Errorf("afterwards: got %d clients (%v), want 5000", len(all), err)
	}
}

func TestThereAreAsManyListsAtATimeAsThereMayBe(t *testing.T) {
	h, _ := listedHub(t, 1, 5)
	depth := 0
	var nest func([]ClientInfo) error
	nest = func([]ClientInfo) error { depth++; return h.Clients(within(t), nest) }
	if err := nest(nil); err != ErrTooManyListings || depth != listingsMax+1 {
		t.Errorf("got %v with %d lists at a time, want %v with %d", err, depth-1, ErrTooManyListings, listingsMax)
	}
	eventually(t, "there is room again", func() bool {
		_, err := allClients(within(t), h)
		return err == nil
	})
}

// eventually waits until ok says yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
