package loop

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// Real loops, sockets and goroutines: clients of each dialect in one group, with compression and without it, some of which read slowly, while
// others come and go.
func TestEverybodyHearsOneOrderWhileOthersComeAndGo(t *testing.T) {
	messages := 600
	if assert.On {
		messages = 150
	}
	s := startServer(t, Config{Loops: 4, Dialects: []dialect.Entry{loud, dialect.Centrifuge([16]byte{1})}, Limits: Limits{Compression: true, OutboxBytesMax: 64 << 20}})
	join := func(p *deflatingPeer, path string) {
		switch path {
		case centrifugePath:
			p.say(`{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"g"}}`)
			p.skip(2)
		case "/loud":
			p.say(`{"cmd":"add_group","group_id":"g","id":1}`)
			p.skip(2)
		default:
			p.say(`{"cmd":"add_group","group_id":"g","id":1}`)
			p.skip(1)
		}
	}
	paths := []string{"/", "/loud", centrifugePath}
	var members []*deflatingPeer
	for n := range 18 {
		p := dialOffering(t, s, paths[n%3], n%2 == 0)
		join(p, paths[n%3])
		members = append(members, p)
	}
	over := make(chan struct{})
	var visitors, senders, hearers sync.WaitGroup
	for n := range 3 {
		visitors.Go(func() {
			for round := n; ; round++ {
				select {
				case <-over:
					return
				default:
				}
				p := dialOffering(t, s, paths[round%3], round%2 == 0)
				join(p, paths[round%3])
				_ = p.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // nobody says anything any more in the end
				_, _ = io.CopyN(io.Discard, p.in, 1000)
				p.conn.Close()
			}
		})
	}
	const of = 3
	for n := range of {
		senders.Go(func() {
			rng, p := rand.New(rand.NewPCG(uint64(n), 1)), dial(t, s)
			for i := range messages {
				text := strings.Repeat("compressible; ", []int{0, 2, 50, 50, 3000}[rng.IntN(5)])
				for busy := true; busy; { // too much of the group is in flight
					p.say(`{"cmd":"send_to_group","group_id":"g","id":1,"message":"%d.%d %s"}`, n, i, text)
					_, answer, err := p.next()
					if busy = strings.Contains(answer, `"busy"`); err != nil || !busy && !strings.Contains(answer, `"ok":true`) {
						t.Errorf("a publish was answered %q (%v)", answer, err)
					}
				}
			}
		})
	}
	heard := make([][]string, len(members))
	for i, p := range members {
		hearers.Go(func() {
			for range of * messages {
				if i%5 == 0 && len(heard[i])%50 == 0 { // slowly: the kernel's buffers fill, and outboxes
					<-time.After(time.Millisecond)
				}
				heard[i] = append(heard[i], p.text())
			}
		})
	}
	senders.Wait()
	hearers.Wait()
	close(over)
	visitors.Wait()
	for i, p := range members {
		if first := i % 3; !slices.Equal(heard[i], heard[first]) {
			t.Errorf("member %d has heard something else than member %d", i, first)
		}
		if (p.compressed > 0) != (i%2 == 0) {
			t.Errorf("member %d: %d messages came compressed", i, p.compressed)
		}
	}
	long := uint64(0)
	for _, text := range heard[0] {
		if len(text) >= 256 {
			long++
		}
	}
	if got := s.Hub().Snapshot().Total().Compressions; got < long || got > 3*long {
		t.Errorf("got %d compressions of %d messages in three dialects, want each once in each", got, long)
	}
}

// deflatingPeer is a peer that may have offered compression.
type deflatingPeer struct {
	*peer
	offers     bool
	compressed int // messages that came so
}

func dialOffering(t *testing.T, s *Server, path string, offers bool) *deflatingPeer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	p := &deflatingPeer{peer: &peer{t: t, conn: conn, in: bufio.NewReader(conn)}, offers: offers}
	request := strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)
	if offers {
		request = strings.Replace(request, "Sec-WebSocket-Version", simOffer+"Sec-WebSocket-Version", 1)
	}
	fmt.Fprint(conn, request)
	for line := ""; line != "\r\n"; {
		if line, err = p.in.ReadString('\n'); err != nil {
			t.Fatalf("handshake: %v", err)
		}
	}
	return p
}

// text is the next message, inflated.
func (p *deflatingPeer) text() string {
	first, err := p.in.Peek(1)
	var text string
	if err == nil {
		deflated := first[0] == 0xC1
		if _, text, err = p.next(); err == nil && deflated {
			p.compressed++
			if text, err = inflate(text); !p.offers {
				p.t.Errorf("a compressed message for one who has not offered it")
			}
		}
	}
	if err != nil {
		p.t.Errorf("read: %v", err)
	}
	return text
}

func (p *deflatingPeer) skip(n int) {
	for range n {
		p.text()
	}
}

// deflatedPass is a shard whose clients are members of one group and have compression, or do not.
func deflatedPass(members int, deflate bool) (*shard, *group) {
	s, _, _ := passOver(0)
	s.hold.letGo()
	b := *s.bounds
	b.Compression = deflate
	s.bounds = &b
	for range members {
		c := s.opened(nullConn{})
		s.deferral.heardAt = -busyGap
		s.traffic(c, []byte(strings.Replace(simRequest, "Sec-WebSocket-Version", simOffer+"Sec-WebSocket-Version", 1)))
		say(s, c, `{"cmd":"add_group","group_id":"g"}`)
	}
	s.hold.take()
	return s, s.groups.Get("g")
}

// record is a kilobyte of JSON, each time another one, and so many bytes that it is when it is compressed.
func record(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	text := []byte(`{"records":[`)
	for len(text) < 1000 {
		text = fmt.Appendf(text, `{"id":%d,"symbol":"%c%c%c","price":%.2f,"size":%d,"side":"buy","venue":"main"},`, rng.Uint32(), 'A'+rng.IntN(26), 'A'+rng.IntN(26), 'A'+rng.IntN(26), rng.Float64()*1000, rng.IntN(1000))
	}
	return append(text[:len(text)-1], "]}"...)
}

// BenchmarkBroadcast is a kilobyte of JSON to clients that have compression, to others, and as many bytes as it is when it is compressed to
// others. Its sends cost nothing; "send" says what one of a kernel would cost beside.
func BenchmarkBroadcast(b *testing.B) {
	to := len(wsproto.AppendDeflated(nil, wsproto.AppendFrame(nil, wsproto.OpText, record(0)), 1))
	for _, of := range []struct {
		name    string
		deflate bool
		bytes   int
	}{{"deflated", true, 0}, {"as it is", false, 0}, {"as many bytes", false, to}} {
		b.Run(of.name, func(b *testing.B) {
			const members = 10_000
			s, g := deflatedPass(members, of.deflate)
			before := s.count.Compressions.Load()
			var texts [][]byte
			for n := range 64 {
				text := record(n)
				if of.bytes > 0 {
					text = text[:of.bytes]
				}
				texts = append(texts, text)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				m, _ := order.NewMessage([]byte("g"), texts[n%len(texts)], nil, true)
				n++
				s.passes.gather(g, m)
				s.runPasses()
			}
			b.ReportMetric(float64(s.count.Compressions.Load()-before)/float64(n), "compressions/op")
			b.ReportMetric(float64(s.count.BytesOut.Load())/float64(s.count.Deliveries.Load()), "B/delivery")
		})
	}
}

func TestAPassOverClientsThatDeflateAllocatesForTheFormAlone(t *testing.T) {
	s, g := deflatedPass(100, true)
	m, _ := order.NewMessage([]byte("g"), record(0), nil, true)
	pass := func() {
		s.passes.gather(g, m)
		s.runPasses()
	}
	if allocs := testing.AllocsPerRun(100, pass); allocs != 0 {
		t.Errorf("a pass with a form that there is: got %v allocations, want 0", allocs)
	}
	if got := s.count.Compressions.Load(); got != 1 {
		t.Errorf("got %d compressions, want 1", got)
	}
}
