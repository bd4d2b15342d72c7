package order

import (
	"context"
	"unsafe"
)

// Inlet is how an orderer says what it has put in order, and what has become of what it was offered. It is a port underneath, whose lanes
// stay open while a server stops, until Seal.
//
// Owner: any goroutine may call every method. Each waits for room in the lane to a home, and for nothing else; what one goroutine says of one
// partition stays in its order. The errors are ctx's when that ends first, ErrClosed, and ErrStopping; nothing was said then.
type Inlet[G Part, C Client] struct{ port *Port[G, C] }

// epochWord says that a partition has an epoch.
type epochWord struct {
	partition int
	epoch     Epoch
	tip       uint64
}

// NewInlet opens an inlet, which the caller closes. The error is ErrTooManyPorts.
func (hs *Homes[G, C]) NewInlet() (*Inlet[G, C], error) {
	p, err := hs.newPort(true)
	if err != nil {
		return nil, err
	}
	return &Inlet[G, C]{p}, nil
}

// Ordered says what has been put in order. See Ordered for what the caller owes; it has told the partition's epoch before.
func (i *Inlet[G, C]) Ordered(ctx context.Context, o Ordered) error {
	return i.say(ctx, i.homeOf(o.Partition), Request[G, C]{Op: OpOrdered, Message: o.Message}, &o)
}

// Refused says that an offer of a home was not put in order: ErrBusy, ErrUnavailable, ErrTooLarge, or ErrUnconfirmed if it may be after all.
func (i *Inlet[G, C]) Refused(ctx context.Context, home int, token uint64, why error) error {
	return i.say(ctx, home, Request[G, C]{Op: OpAnswer}, &verdict{token: token, why: why})
}

// Repeated says that an offer of a home has a key that was said before, and what offset that got.
func (i *Inlet[G, C]) Repeated(ctx context.Context, home int, token uint64, first uint64) error {
	return i.say(ctx, home, Request[G, C]{Op: OpAnswer}, &verdict{token: token, first: first})
}

// Recalled answers Orderer.Recall.
func (i *Inlet[G, C]) Recalled(ctx context.Context, home int, r Recalled) error {
	return i.say(ctx, home, Request[G, C]{Op: OpRecalled}, &r)
}

// Epoch says which epoch a partition has, and the last offset that it has had: before anything else of the partition, and again when
// the epoch is another. Then what was kept of its groups is over, and positions in them are lost. The same epoch again says that the partition
// has come further, by what is no message of a group. e is neither 0 nor dialect.EpochUnknown.
func (i *Inlet[G, C]) Epoch(ctx context.Context, partition int, e Epoch, tip uint64) error {
	return i.say(ctx, i.homeOf(partition), Request[G, C]{Op: OpEpoch}, &epochWord{partition, e, tip})
}

// Close closes the inlet. What was said is still done. A second Close does nothing.
func (i *Inlet[G, C]) Close() { i.port.Close() }

// homeOf is the home of a partition.
func (i *Inlet[G, C]) homeOf(partition int) int { return partition % len(i.port.up) }

func (i *Inlet[G, C]) say(ctx context.Context, home int, r Request[G, C], word any) error {
	r.via = &via{token: word}
	return i.port.wait(ctx, home, &r)
}

// wordBytes is what is said by an inlet counts among the bytes of its request.
func wordBytes(word any) (bytes int) {
	switch w := word.(type) {
	case *Ordered:
		return orderedBytes + len(w.Key)
	case *far:
		return farBytes + len(w.group) + w.who.TextBytesMax()
	case *Recalled:
		bytes = len(w.Group)
		for _, m := range w.Messages {
			bytes += m.Bytes()
		}
	}
	return bytes
}

const orderedBytes = int(unsafe.Sizeof(Ordered{}))

// Unserved is the number of requests in up lanes that are not of inlets, at about this moment. Any goroutine.
func (hs *Homes[G, C]) Unserved() (n int) {
	for home := range hs.homes {
		for _, l := range hs.lanes {
			n += l.up[home].len()
		}
		for i := range hs.ports {
			if p := hs.ports[i].Load(); p != nil && !p.inlet {
				n += p.up[home].lane.len()
			}
		}
	}
	return n
}

// Seal has inlets take nothing any more: what is offered and not back will have no answer. It returns when nothing is on its way. Any
// goroutine that is no loop.
func (hs *Homes[G, C]) Seal() {
	hs.sealed.Store(true)
	hs.Quiesce()
}
