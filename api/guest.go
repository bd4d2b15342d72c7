package api

import (
	"bufio"
	"bytes"
	"container/list"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// guests are the connections of a Public, each of which has a place, or is answered one request beyond the bound. When all places are
// taken the longest idle connection that has shown no valid key makes room for a newcomer, and some places are only for connections
// that have shown one: strangers do not close a backend's door.
//
// Owner: any goroutine; it has a lock.
type guests struct {
	mu        sync.Mutex
	all       map[*guest]struct{} // those beyond the bound too
	idle      list.List           // *guest: those that may have to make room, the longest idle first
	most      int                 // places
	kept      int                 // of these, those for guests that have shown a key
	strangers int                 // guests with a place that have shown none
	keyed     int
	beyond    int         // guests without a place that are told so
	healths   int         // guests without a place that ask for nothing but the health check
	silent    int         // guests with a place on which no request is under way
	keeps     func() bool // there are keys
	leaving   bool        // all are to end

	displaced atomic.Uint64 // guests that have made room
}

// beyondMax bounds the connections beyond the bound that are told so at one time; further ones are closed without a word.
const beyondMax = 256

// guest is one connection.
//
// Owner: its fields in the last paragraph are under the lock of guests.
type guest struct {
	net.Conn
	of     *guests
	beyond bool // it has no place: it is answered one request. Immutable after welcome
	health bool // likewise, and it asks for nothing but the health check

	// The goroutine that serves it.
	requests int    // begun
	showed   bool   // a valid key
	read     []byte // and not yet from here

	keyed bool // it has shown a valid key
	idle  bool // no request is under way
	gone  bool
	place *list.Element // in guests.idle; nil: it is not there
}

func newGuests(keeps func() bool) *guests {
	return &guests{all: map[*guest]struct{}{}, keeps: keeps}
}

// setMost changes the number of places. Who has one keeps it.
func (s *guests) setMost(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most, s.kept = most, 0
	if s.keeps() {
		s.kept = min(keyedPlacesMax, most/8)
	}
}

// welcome makes a guest of a connection, with a place if there is one; nil: too many are beyond the bound already.
func (s *guests) welcome(c net.Conn, keyed func(*http.Request) bool) *guest {
	g := &guest{Conn: c, of: s}
	s.mu.Lock()
	free := s.strangers < s.most-s.kept && s.strangers+s.keyed < s.most
	if free {
		s.add(g)
	}
	s.mu.Unlock()
	if free {
		return g
	}
	if r := g.first(); r != nil { // nil: net/http says what is wrong with it
		g.keyed = keyed != nil && keyed(r)
		g.health = r.URL.Path == healthPath && r.ContentLength == 0
	}
	room, longest := s.squeeze(g)
	if longest != nil {
		s.displaced.Add(1)
		longest.Close() // which ends the goroutine that serves it
	}
	if !room {
		return nil
	}
	return g
}

// squeeze is the rest of welcome, for a guest for which no place is free as for a stranger. The longest idle one is to be closed.
func (s *guests) squeeze(g *guest) (room bool, longest *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.strangers+s.keyed < s.most && (g.keyed || s.strangers < s.most-s.kept)
	if first := s.idle.Front(); !free && first != nil && !g.health {
		longest, free = first.Value.(*guest), true
		s.remove(longest)
	}
	g.beyond = !free
	if g.beyond && !g.health && s.beyond == beyondMax {
		return false, nil
	}
	s.add(g)
	return true, longest
}

// add counts a guest.
func (s *guests) add(g *guest) {
	s.all[g] = struct{}{}
	*s.countOf(g)++
}

// remove is the opposite of add; a second time it does nothing.
func (s *guests) remove(g *guest) {
	if g.gone {
		return
	}
	g.gone = true
	delete(s.all, g)
	*s.countOf(g)--
	s.setIdle(g, false)
}

// countOf is the count that a guest is in.
func (s *guests) countOf(g *guest) *int {
	switch {
	case g.health && g.beyond:
		return &s.healths
	case g.beyond:
		return &s.beyond
	case g.keyed:
		return &s.keyed
	default:
		return &s.strangers
	}
}

// setIdle notes whether a request of a guest is under way.
func (s *guests) setIdle(g *guest, idle bool) {
	switch {
	case idle && !g.idle:
		s.silent++
	case !idle && g.idle:
		s.silent--
	}
	switch g.idle = idle; {
	case idle && !g.keyed && g.place == nil:
		g.place = s.idle.PushBack(g)
	case !idle && g.place != nil:
		s.idle.Remove(g.place)
		g.place = nil
	}
}

// became is called when net/http goes on with a guest, or waits for its next request.
func (s *guests) became(g *guest, state http.ConnState) {
	if state != http.StateActive && state != http.StateIdle {
		return
	}
	s.mu.Lock()
	if !g.gone {
		s.setIdle(g, state == http.StateIdle)
	}
	over := g.idle && s.leaving
	s.mu.Unlock()
	if over {
		g.Close()
	}
}

// shown is called when a guest has shown a valid key.
func (s *guests) shown(g *guest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !g.gone && !g.keyed && !g.beyond {
		*s.countOf(g)--
		g.keyed = true
		*s.countOf(g)++
	}
}

// drain has all guests end behind the answers that are under way.
func (s *guests) drain() {
	s.mu.Lock()
	s.leaving = true
	var idle []*guest
	for g := range s.all {
		if g.idle {
			idle = append(idle, g)
		}
	}
	s.mu.Unlock()
	for _, g := range idle {
		g.Close()
	}
}

// sizes is how many there are, for PublicStats.
func (s *guests) sizes() (placed, keyed, idle, beyond int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strangers + s.keyed, s.keyed, s.silent, s.beyond + s.healths
}

// draining says whether guests are to end.
func (s *guests) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaving
}

// closeAll closes all guests, whatever is under way.
func (s *guests) closeAll() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.all))
	s.mu.Unlock()
	for _, g := range all {
		g.Close()
	}
}

// first is the guest's first request, without a body; nil: it cannot be read. All that is read for it is read again later.
func (g *guest) first() *http.Request {
	var taken bytes.Buffer
	r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(g.Conn, &taken)))
	g.read = taken.Bytes()
	if err != nil {
		return nil
	}
	r.RemoteAddr = g.RemoteAddr().String()
	return r
}

// Read is part of net.Conn.
func (g *guest) Read(p []byte) (n int, err error) {
	if len(g.read) == 0 {
		return g.Conn.Read(p)
	}
	n = copy(p, g.read)
	if g.read = g.read[n:]; len(g.read) == 0 {
		g.read = nil
	}
	return n, nil
}

// CloseWrite shuts our direction down, for net/http's last answer.
func (g *guest) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// secure says whether the guest has come by TLS.
func (g *guest) secure() bool {
	by, is := g.Conn.(interface{ Secure() bool })
	return is && by.Secure()
}

// Close gives the guest's place back, and closes its connection.
func (g *guest) Close() error {
	g.of.mu.Lock()
	g.of.remove(g)
	g.of.mu.Unlock()
	return g.Conn.Close()
}

// name has a further request on a connection be that of the client that a trusted proxy names in it; false: that client's address has
// as many connections as it may. The first request has been looked at before the connection came.
func (g *guest) name(r *http.Request) bool {
	forwarded, ok := g.Conn.(interface{ Forwarded(list string) bool })
	if g.requests == 1 || !ok {
		return true
	}
	ok = forwarded.Forwarded(strings.Join(r.Header.Values("X-Forwarded-For"), ","))
	r.RemoteAddr = g.RemoteAddr().String()
	return ok
}
