package order

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

const testMin = 256 // bytes from which the tests compress

// deflating is a Deflater whose goroutines run when a test says so, and what it has done.
type deflating struct {
	*Deflater
	woken  []int
	made   int
	broken int
	starts []func()
}

func newDeflating() *deflating {
	x := &deflating{}
	x.Deflater = NewDeflater(func(loop int) { x.woken = append(x.woken, loop) }, func(loop, from, to int) { x.made++ }, func(int, any) { x.broken++ })
	x.Start = func(work func()) { x.starts = append(x.starts, work) }
	return x
}

// run has the goroutines work that were started.
func (x *deflating) run() {
	for ; len(x.starts) > 0; x.starts = x.starts[1:] {
		x.starts[0]()
	}
}

func textOf(n int) *Message {
	m, _ := NewMessage([]byte("g"), []byte(strings.Repeat("some text ", n/10+1)[:n]), nil, false)
	return m
}

// loudDialect's form is another one, which it counts.
type loudDialect struct {
	dialect.Plain
	encoded *atomic.Int32
}

func (d *loudDialect) Encode(m *dialect.Message) []byte {
	d.encoded.Add(1)
	return wsproto.AppendFrame(nil, wsproto.OpText, bytes.ToUpper(m.Payload()))
}

// All loops ask for all forms at the same time: each is made once in the process, and each loop gets the same one.
func TestAFormIsCompressedOnceForItsDialect(t *testing.T) {
	for _, size := range []int{1000, deflateOnLoopMax + 1000} {
		var compressed, encoded atomic.Int32
		var wakes [8]chan struct{}
		for i := range wakes {
			wakes[i] = make(chan struct{}, 100)
		}
		x := NewDeflater(func(loop int) { wakes[loop] <- struct{}{} }, func(int, int, int) { compressed.Add(1) }, nil)
		const messages = 100
		var all []*Message
		var got [8][messages][4][]byte
		for range messages {
			all = append(all, textOf(size))
		}
		var loops sync.WaitGroup
		for loop := range wakes {
			loops.Go(func() {
				dialects := []dialect.Dialect{&dialect.Plain{}, &loudDialect{encoded: &encoded}}
				for i, m := range all {
					for k, f := range []Form{PlainForm, 1, Deflated, 1 | Deflated} {
						for {
							if !f.Deflated() {
								p, ready := m.In(f, dialects[f])
								if got[loop][i][k] = p; ready {
									break
								}
								continue
							}
							p, is := x.In(m, f, dialects[f.Dialect()], testMin, loop)
							if got[loop][i][k] = p; is == Ready {
								break
							}
							if is == Awaited {
								<-wakes[loop]
							}
						}
					}
				}
			})
		}
		loops.Wait()
		for loop := range got {
			for i := range all {
				for k := range 4 {
					if p := got[loop][i][k]; len(p) == 0 || &p[0] != &got[0][i][k][0] {
						t.Fatalf("size %d: loop %d has another form %d of message %d than loop 0", size, loop, k, i)
					}
				}
			}
		}
		if n, d := encoded.Load(), compressed.Load(); n != messages || d != 2*messages {
			t.Errorf("size %d: got %d encoded and %d compressed, want %d and %d", size, n, d, messages, 2*messages)
		}
	}
}

func TestWhatIsShortOrDoesNotShrinkIsSentAsItIs(t *testing.T) {
	x := newDeflating()
	for _, m := range []*Message{textOf(1), textOf(testMin - 1)} {
		p, is := x.In(m, Deflated, nil, testMin, 0)
		if is != Ready || &p[0] != &m.Frame()[0] || m.forms.Load() != nil {
			t.Errorf("%d bytes: got %d bytes, %v, forms %v; want the plain form and none beside", len(m.Payload()), len(p), is, m.forms.Load())
		}
	}
	if p, _ := x.In(textOf(testMin), Deflated, nil, testMin, 0); len(p) > testMin/2 || p[0] != 0xC1 {
		t.Errorf("%d bytes: got %d bytes that begin with %#x, want fewer, with RSV1", testMin, len(p), p[0])
	}
	x.Compress = func(dst, frames []byte, _ int) []byte { return append(dst, frames...) } // as for what does not shrink
	m := textOf(1000)
	for range 2 {
		if p, is := x.In(m, Deflated, nil, testMin, 0); is != Ready || &p[0] != &m.Frame()[0] {
			t.Errorf("what does not shrink: got %d bytes, %v, want the plain form", len(p), is)
		}
	}
	if x.made != 1 {
		t.Errorf("got %d compressions counted, want 1", x.made)
	}
}

func TestALargeFormIsMadeBesideAndWhoWaitsIsWoken(t *testing.T) {
	x := newDeflating()
	m := textOf(deflateOnLoopMax + 1)
	for _, loop := range []int{3, 63, 3} {
		if _, is := x.In(m, Deflated, nil, testMin, loop); is != Awaited {
			t.Fatalf("loop %d: got %v, want to be woken later", loop, is)
		}
	}
	if m.IsMade(Deflated, nil, testMin) {
		t.Error("it is said to be made before it is")
	}
	if p, ready := m.Made(Deflated, nil); !ready || &p[0] != &m.Frame()[0] {
		t.Error("who does not want to wait did not get the form as it is")
	}
	x.run()
	if len(x.woken) != 2 || x.woken[0] != 3 || x.woken[1] != 63 {
		t.Errorf("got loops %v woken, want 3 and 63", x.woken)
	}
	p, is := x.In(m, Deflated, nil, testMin, 1)
	if is != Ready || p[0] != 0xC1 || x.made != 1 || !m.IsMade(Deflated, nil, testMin) {
		t.Errorf("got %v, %#x, %d compressions", is, p[0], x.made)
	}
	if made, _ := m.Made(Deflated, nil); &made[0] != &p[0] {
		t.Error("who does not want to wait did not get the form that there is")
	}
}

func TestGoroutinesThatCompressAndWhatWaitsForThemAreBounded(t *testing.T) {
	x := newDeflating()
	const size = 1 << 20
	asIs := 0
	for range deflateQueueMax/size + 3 {
		m := textOf(size)
		switch p, is := x.In(m, Deflated, nil, testMin, 0); {
		case is == Ready && &p[0] == &m.Frame()[0]:
			asIs++
		case is != Awaited:
			t.Errorf("got %v", is)
		}
	}
	if asIs != 4 { // one less than the bound has room, as frames have headers
		t.Errorf("got %d messages sent as they are, want 4", asIs)
	}
	if got, most := len(x.starts), x.Goroutines; got > most {
		t.Errorf("got %d goroutines, want at most %d", got, most)
	}
	x.run()
	if x.made != deflateQueueMax/size-1 || x.bytes != 0 || x.working != 0 {
		t.Errorf("got %d made, %d bytes that wait, %d goroutines at work", x.made, x.bytes, x.working)
	}
	if p, is := x.In(textOf(2*deflateQueueMax), Deflated, nil, testMin, 0); is != Awaited { // any size where nothing waits
		t.Errorf("a message larger than the bound: got %d bytes, %v", len(p), is)
	}
	x.run()
}

// A compression that panics harms one form of one message, which goes as it is; and it holds up nobody.
func TestACompressionThatPanicsSendsTheFormAsItIs(t *testing.T) {
	for _, size := range []int{1000, deflateOnLoopMax + 1} {
		x := newDeflating()
		x.Compress = func([]byte, []byte, int) []byte { panic("a compressor that panics") }
		m := textOf(size)
		_, is := x.In(m, Deflated, nil, testMin, 5)
		if x.run(); is == Awaited && (len(x.woken) != 1 || x.woken[0] != 5) {
			t.Errorf("%d bytes: got loops %v woken, want 5", size, x.woken)
		}
		if p, is := x.In(m, Deflated, nil, testMin, 0); is != Ready || &p[0] != &m.Frame()[0] || x.broken != 1 || x.made != 0 || x.working != 0 {
			t.Errorf("%d bytes: got %d bytes, %v, %d panics, %d made, %d at work", size, len(p), is, x.broken, x.made, x.working)
		}
	}
}

// What a history has kept for a while lets go of all forms: it is encoded for each, and compressed for nobody.
func TestAnOldMessageIsNotCompressed(t *testing.T) {
	x := newDeflating()
	m := textOf(1000)
	x.In(m, Deflated, nil, testMin, 0)
	m.clearForms()
	if p, is := x.In(m, Deflated, nil, testMin, 0); is != Ready || &p[0] != &m.Frame()[0] || x.made != 1 || m.forms.Load() != &unkept {
		t.Errorf("got %d bytes, %v, %d compressions; want the plain form, and one compression", len(p), is, x.made)
	}
	if m = textOf(deflateOnLoopMax + 1); true {
		x.In(m, Deflated, nil, testMin, 2)
		m.clearForms()
		x.run()
		if p, is := x.In(m, Deflated, nil, testMin, 0); is != Ready || &p[0] != &m.Frame()[0] || len(x.woken) != 1 {
			t.Errorf("one that was being compressed: got %d bytes, %v, %d woken", len(p), is, len(x.woken))
		}
	}
}

// Nobody deflates: a message of plain clients has no forms, and one of others only what they need.
func TestOnlyWhoNeedsThemPaysForDeflatedForms(t *testing.T) {
	m := textOf(1000)
	m.In(PlainForm, nil)
	if m.forms.Load() != nil {
		t.Error("the plain form has made room for others")
	}
	m.In(1, &dialect.Plain{})
	if m.forms.Load().deflated.Load() != nil {
		t.Error("another form has made room for deflated ones")
	}
}

// deflateSizes are those of BenchmarkDeflate: what a loop does itself should not take longer than a tenth of a turn's budget or so.
var deflateSizes = []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range deflateSizes {
		b.Run(sizeText(size), func(b *testing.B) {
			text := jsonOf(size)
			x := NewDeflater(func(int) {}, func(int, int, int) {}, nil)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			to := 0
			for b.Loop() {
				m, _ := NewMessage([]byte("g"), text, nil, true)
				to = len(x.compress(m.Frame(), testMin, 0))
			}
			b.ReportMetric(float64(to), "compressed-B")
		})
	}
}

func sizeText(n int) string { return fmt.Sprintf("%dKiB", n>>10) }

// jsonOf is JSON of so many bytes, as of a feed: records with names that repeat and values that do not.
func jsonOf(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString(`{"records":[`)
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"symbol":"%c%c%c","price":%.2f,"size":%d,"side":"buy","venue":"main"},`, rng.Uint32(), 'A'+rng.IntN(26), 'A'+rng.IntN(26), 'A'+rng.IntN(26), rng.Float64()*1000, rng.IntN(1000))
	}
	return append(b.Bytes()[:n-2], "]}"...)
}
