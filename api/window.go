package api

import (
	"context"
	"strconv"
)

// window is the publishes of one request whose home's word has not come. The next ones are offered meanwhile, so that a request with
// many of them does not wait for each. They are answered in their order. The order in which groups hear them is that too, since all go
// through one port.
//
// Owner: that of the exchange.
type window struct {
	commands    [windowMax]command
	first, many int
	bytes       int
}

// Bounds of a window: far less than a lane takes, for requests share those.
const (
	windowMax      = 64
	windowBytesMax = 256 << 10
)

// command is one that was begun.
type command struct {
	method  *method
	id      int64 // in the old form; 0: it has none
	bytes   int   // of its data
	pending Pending
	fault   *fault // why it was not begun
	quiet   bool   // it is a part of a command, and counted with that
}

// answering is how the answers of many commands stand in one.
type answering struct {
	between string // each and the next
	behind  string // each
	named   bool   // a result stands under its method's name
	any     bool   // there is one
}

// open appends what stands before a result, which ends with close.
func (a *answering) open(dst []byte, c *command) []byte {
	dst = a.openAny(dst, c)
	dst = append(dst, '"')
	if a.named {
		dst = append(dst, c.method.name...)
	} else {
		dst = append(dst, "result"...)
	}
	return append(dst, `":`...)
}

func (a *answering) openAny(dst []byte, c *command) []byte {
	if a.any {
		dst = append(dst, a.between...)
	}
	a.any = true
	dst = append(dst, '{')
	if c.id > 0 {
		dst = append(dst, `"id":`...)
		dst = strconv.AppendInt(dst, c.id, 10)
		dst = append(dst, ',')
	}
	return dst
}

func (a *answering) close(dst []byte) []byte { return append(append(dst, '}'), a.behind...) }

// refuse appends the answer to a command that was not carried out.
func (a *answering) refuse(dst []byte, c *command, f *fault) []byte {
	dst = append(a.openAny(dst, c), `"error":`...)
	return a.close(f.append(dst))
}

// begin offers a publish. Where the lane is full, perhaps of what was offered before, it first waits for that.
func (x *exchange) begin(ctx context.Context, a *answering, c command, offer func() (Pending, *fault)) {
	w := &x.window
	if w.many == windowMax || w.bytes+c.bytes > windowBytesMax {
		x.settle(ctx, a, w.many/2)
	}
	for {
		c.pending, c.fault = offer()
		if c.fault != faultBusy || w.many == 0 {
			break
		}
		x.settle(ctx, a, w.many-1)
	}
	w.commands[(w.first+w.many)%windowMax] = c
	w.many++
	w.bytes += c.bytes
}

// settle answers the oldest publishes until so many are left.
func (x *exchange) settle(ctx context.Context, a *answering, left int) {
	for w := &x.window; w.many > left; {
		c := &w.commands[w.first]
		x.answer(ctx, a, c)
		w.first, w.many, w.bytes = (w.first+1)%windowMax, w.many-1, w.bytes-c.bytes
		*c = command{}
	}
}

func (x *exchange) answer(ctx context.Context, a *answering, c *command) {
	f := c.fault
	if f == nil {
		r, err := c.pending.Wait(ctx)
		if err == nil {
			x.out = a.open(x.out, c)
			x.out = appendReceipt(x.out, &r)
			x.out = a.close(x.out)
			return
		}
		f = unsettled(err)
	}
	if !c.quiet {
		x.server.count.fault(f)
	}
	x.out = a.refuse(x.out, c, f)
}
