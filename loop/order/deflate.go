package order

import (
	"runtime"
	"sync"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is the deflated forms of messages (RFC 7692): a dialect's form, compressed once for all of its clients that have negotiated that,
// by whoever needs it first. A loop compresses what is small itself. What is large it leaves to a goroutine of a few, and does not wait:
// it says that it wants the form, goes on with something else, and is woken when the form is there.
//
//	nobody ──► claimed, while a loop compresses it ─────────────────────────────► made
//	       └─► ordered, until a goroutine has compressed it; who asks is noted ─► made, and who was noted is woken
//
// To ask for what is ordered is to note, then to look again; to make it is to store it, then to look who is noted. So one of the two sees what the
// other did.

// Deflated is the bit of a Form that says that it is another form, compressed.
const Deflated Form = dialect.FormsMax

// Dialect is the index of the form's dialect.
func (f Form) Dialect() int { return int(f &^ Deflated) }

// Deflated says whether the form is a compressed one.
func (f Form) Deflated() bool { return f&Deflated != 0 }

// Readiness says whether a form is there.
type Readiness uint8

// The values of Readiness.
const (
	Ready   Readiness = iota
	Soon              // another loop is making it: ask again
	Awaited           // a goroutine is making it: the loop is woken
)

// deflatedForms are a message's deflated forms, by dialect. nil: not made; &claimed, &ordered: being made. All lie behind one pointer of
// the others, whose array had room for that; a server without such clients has none.
type deflatedForms struct {
	of     [dialect.FormsMax]atomic.Pointer[[]byte]
	wanted atomic.Uint64 // bit per loop that waits for one that is ordered
}

// ordered is what a deflated form points to until a goroutine has made it.
var ordered []byte

const (
	// deflateOnLoopMax is the size of a form, in bytes, up to which the loop that needs it compresses it itself: a tenth of a turn's budget
	// for passes (BenchmarkDeflate).
	deflateOnLoopMax = 16 << 10
	// deflateQueueMax bounds the bytes of the forms that wait for a goroutine. Beyond it they are sent as they are: who is so far behind with
	// compressing does better without.
	deflateQueueMax = 8 << 20
)

// Deflater makes deflated forms. A process has one.
//
// Owner: any goroutine.
type Deflater struct {
	// Immutable after start.
	wake     func(loop int)
	made     func(loop, from, to int)
	panicked func(loop int, p any)

	// Likewise; tests have others.
	Compress   func(dst, frames []byte, min int) []byte // wsproto.AppendDeflated
	Start      func(work func())                        // on a goroutine of its own
	Goroutines int                                      // that compress at a time
	OnLoopMax  int                                      // see deflateOnLoopMax

	mu      sync.Mutex
	orders  []deflation // that wait, oldest first
	bytes   int         // of these
	working int         // goroutines
}

// deflation is a form that is to be made.
type deflation struct {
	form *atomic.Pointer[[]byte] // where it belongs
	of   *deflatedForms
	from []byte // the dialect's form
	min  int
	loop int // who has ordered it
}

// NewDeflater makes one. wake has a loop look again at the forms for which it waits; made is called for each compression, with the
// bytes of the form before and after; panicked for each that has panicked: its message then goes uncompressed. All are called on any
// goroutine, for the loop that has asked first.
func NewDeflater(wake func(loop int), made func(loop, from, to int), panicked func(loop int, p any)) *Deflater {
	return &Deflater{wake: wake, made: made, panicked: panicked,
		Compress: wsproto.AppendDeflated, Start: func(work func()) { go work() }, Goroutines: runtime.GOMAXPROCS(0), OnLoopMax: deflateOnLoopMax}
}

// In is Message.In for a deflated form, for a loop: frames of at least min bytes of payload are compressed, if that makes them smaller. A
// message that keeps no forms any more is not compressed. If the form is Awaited the loop is woken.
func (x *Deflater) In(m *Message, f Form, d dialect.Dialect, min, loop int) (p []byte, is Readiness) {
	p, ready := m.In(f&^Deflated, d)
	switch {
	case !ready:
		return nil, Soon
	case len(p) < wsproto.TextFrameBytes(min):
		return p, Ready
	}
	of := m.deflated()
	if of == nil {
		return p, Ready
	}
	form := &of.of[f.Dialect()]
	for {
		switch made := form.Load(); made {
		case nil:
		case &claimed:
			return nil, Soon
		case &ordered:
			of.wanted.Or(1 << loop)
			if made = form.Load(); made == &ordered {
				return nil, Awaited
			}
			return *made, Ready
		default:
			return *made, Ready
		}
		switch {
		case len(p) <= x.OnLoopMax:
			if form.CompareAndSwap(nil, &claimed) {
				made := x.compress(p, min, loop)
				form.Store(&made)
				return made, Ready
			}
		case form.CompareAndSwap(nil, &ordered):
			of.wanted.Or(1 << loop)
			if x.order(deflation{form, of, p, min, loop}) {
				return nil, Awaited
			}
			x.deliver(&deflation{form, of, p, min, loop}, p)
			return p, Ready
		}
	}
}

// Ahead has a goroutine make a form which a loop is going to need, if a goroutine is who makes it. The dialect's form is taken to be at least
// half as large as the message.
func (x *Deflater) Ahead(m *Message, f Form, d dialect.Dialect, min, loop int) {
	if m.Bytes() > 2*x.OnLoopMax {
		x.In(m, f, d, min, loop)
	}
}

// Made is a deflated form if it has been made, else the dialect's as it is: either is right for who has negotiated compression. ready is
// that of Message.In.
func (m *Message) Made(f Form, d dialect.Dialect) (p []byte, ready bool) {
	if f.Deflated() {
		if made := m.made(f); made != nil {
			return made, true
		}
	}
	return m.In(f&^Deflated, d)
}

// IsMade says whether a deflated form can be had without a compression. It may encode the dialect's.
func (m *Message) IsMade(f Form, d dialect.Dialect, min int) bool {
	p, ready := m.In(f&^Deflated, d)
	return ready && (len(p) < wsproto.TextFrameBytes(min) || m.forms.Load() == &unkept || m.made(f) != nil)
}

// made is a deflated form; nil: it is not made.
func (m *Message) made(f Form) []byte {
	if all := m.forms.Load(); all != nil {
		if of := all.deflated.Load(); of != nil {
			if made := of.of[f.Dialect()].Load(); made != nil && made != &claimed && made != &ordered {
				return *made
			}
		}
	}
	return nil
}

// deflated is a message's deflated forms, which it makes room for; nil: it keeps no forms any more.
func (m *Message) deflated() *deflatedForms {
	all := m.allForms()
	if all == &unkept {
		return nil
	}
	of := all.deflated.Load()
	if of == nil {
		all.deflated.CompareAndSwap(nil, &deflatedForms{})
		of = all.deflated.Load()
	}
	return of
}

// compress is a form, compressed; or as it is, if it does not become smaller, or if that panics.
func (x *Deflater) compress(p []byte, min, loop int) (made []byte) {
	made = p
	defer func() {
		if broken := recover(); broken != nil {
			x.panicked(loop, broken)
		}
	}()
	if smaller := x.Compress(nil, p, min); len(smaller) < len(p) {
		x.made(loop, len(p), len(smaller))
		made = smaller
	}
	return made
}

// order has a goroutine make a form; false: too much waits.
func (x *Deflater) order(o deflation) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes > 0 && x.bytes+len(o.from) > deflateQueueMax {
		return false
	}
	x.orders = append(x.orders, o)
	x.bytes += len(o.from)
	if x.working < x.Goroutines {
		x.working++
		x.Start(x.work)
	}
	return true
}

// work makes forms until none is ordered.
func (x *Deflater) work() {
	for {
		o, any := x.next()
		if !any {
			return
		}
		x.deliver(&o, x.compress(o.from, o.min, o.loop))
	}
}

func (x *Deflater) next() (o deflation, any bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.orders) == 0 {
		x.orders = nil
		x.working--
		return o, false
	}
	o = x.orders[0]
	x.orders[0] = deflation{}
	x.orders = x.orders[1:]
	x.bytes -= len(o.from)
	return o, true
}

// deliver stores a form that was ordered, and wakes the loops that wait for it.
func (x *Deflater) deliver(o *deflation, made []byte) {
	o.form.Store(&made)
	for wanted, loop := o.of.wanted.Swap(0), 0; wanted != 0; wanted, loop = wanted>>1, loop+1 {
		if wanted&1 != 0 {
			x.wake(loop)
		}
	}
}
