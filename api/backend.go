package api

import (
	"context"
	"sync"

	"ringcast/loop"
)

// The types of package loop by which backends ask.
type (
	Said      = loop.Said
	Receipt   = loop.Receipt
	Ask       = loop.Ask
	Past      = loop.Past
	Position  = loop.Position
	Target    = loop.Target
	GroupInfo = loop.GroupInfo
)

// Backend is what the server API asks. What its methods mean is said in package loop. Any goroutine calls it.
type Backend interface {
	Offer(group string, s Said) (Pending, error)
	History(ctx context.Context, group string, a Ask) (*Past, error)
	Presence(ctx context.Context, group string) (*Past, error)
	Forget(ctx context.Context, group string) error
	Doing
}

// Doing is the part of Backend that is a hub's own.
type Doing interface {
	Groups(ctx context.Context, match string, most int) (groups []GroupInfo, more bool, err error)
	Disconnect(ctx context.Context, t Target, code uint16, reason string) (clients int, err error)
	Unsubscribe(ctx context.Context, t Target, group string) (clients int, err error)
	Subscribe(ctx context.Context, t Target, group string, info []byte) (clients int, err error)
	Refresh(ctx context.Context, t Target, ends int64) (clients int, err error)
	Revoke(ctx context.Context, user string, before int64) (clients int, err error)
	ClientName(client uint64) string
	ClientNumber(name string) (client uint64, ok bool)
	Users() int
	Snapshot() loop.Snapshot
}

// Pending is a publish of which its home's word has not come.
type Pending interface {
	Wait(ctx context.Context) (Receipt, error)
}

// HubBackend is a hub as backends ask it. It opens a port when the first one asks, as most servers have no keys for any.
//
// Owner: any goroutine.
type HubBackend struct {
	Doing
	open func() (*loop.Port, error)
}

// NewHubBackend makes one. The caller closes it.
func NewHubBackend(hub interface {
	Doing
	NewPort() (*loop.Port, error)
}) *HubBackend {
	return &HubBackend{Doing: hub, open: sync.OnceValues(hub.NewPort)}
}

// Close has everything that comes be refused, and gives the port back.
func (b *HubBackend) Close() {
	if port, err := b.open(); err == nil {
		port.Close()
	}
}

// Offer is part of Backend.
func (b *HubBackend) Offer(group string, s Said) (Pending, error) {
	port, err := b.open()
	if err != nil {
		return nil, err
	}
	p, err := port.Offer(group, s)
	if err != nil {
		return nil, err // and not a Pending that is a pointer to nothing
	}
	return p, nil
}

// History is part of Backend.
func (b *HubBackend) History(ctx context.Context, group string, a Ask) (*Past, error) {
	port, err := b.open()
	if err != nil {
		return nil, err
	}
	return port.History(ctx, group, a)
}

// Presence is part of Backend.
func (b *HubBackend) Presence(ctx context.Context, group string) (*Past, error) {
	port, err := b.open()
	if err != nil {
		return nil, err
	}
	return port.Presence(ctx, group)
}

// Forget is part of Backend.
func (b *HubBackend) Forget(ctx context.Context, group string) error {
	port, err := b.open()
	if err != nil {
		return err
	}
	return port.Forget(ctx, group)
}
