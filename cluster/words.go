package cluster

import (
	"context"

	"ringcast/loop"
)

// The words of the order that this package speaks.
type (
	offer    = loop.Offer
	ordered  = loop.Ordered
	recalled = loop.Recalled
	epoch    = loop.Epoch
)

// inlet is the way from here to the homes of this node. Every method may be called by any goroutine and waits for room; what one goroutine
// says of one partition stays in its loop.
type inlet interface {
	Ordered(ctx context.Context, o ordered) error
	Refused(ctx context.Context, home int, token uint64, why error) error
	Repeated(ctx context.Context, home int, token uint64, first uint64) error
	Recalled(ctx context.Context, home int, r recalled) error
	Epoch(ctx context.Context, partition int, e epoch, tip uint64) error
	Close()
}

// Reasons for which an offer is refused.
var (
	errBusy        = loop.ErrBusy
	errUnavailable = loop.ErrUnavailable
	errUnconfirmed = loop.ErrUnconfirmed
	errTooLarge    = loop.ErrTooLarge
)
