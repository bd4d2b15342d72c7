package api

import (
	"context"
	"sync"
	"time"

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

// Backend is what the server API asks. What its methods mean is said in package loop. Any goroutine calls it. Where it is several nodes of
// a cluster, an error may be a *loop.Partly beside a result: that is good for the nodes that have answered.
type Backend interface {
	Offer(group string, s Said) (Pending, error)
	History(ctx context.Context, group string, a Ask) (*Past, error)
	Presence(ctx context.Context, group string) (*Past, error)
	Forget(ctx context.Context, group string) error
	Cached(ctx context.Context, group string) (m *loop.Message, left time.Duration, err error)
	Nodes(ctx context.Context) ([]loop.NodeInfo, error) // of a cluster, as each says of itself, this one first; none: it is none
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
	Users() int
	Snapshot() loop.Snapshot
}

// elsewhere is what a Doing has beside that is several nodes.
type elsewhere interface {
	MembersElsewhere(ctx context.Context, group string) (members int, err error)
	Nodes(ctx context.Context) ([]loop.NodeInfo, error)
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

// AskEverywhere has clients be looked for on all nodes of a cluster, in place of those of this hub. It is called before the first request, if
// at all.
func (b *HubBackend) AskEverywhere(all Doing) { b.Doing = all }

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

// Presence is part of Backend. Homes know who is there on all nodes; where there is no presence, the others are asked how many are.
func (b *HubBackend) Presence(ctx context.Context, group string) (*Past, error) {
	port, err := b.open()
	if err != nil {
		return nil, err
	}
	past, err := port.Presence(ctx, group)
	if others, is := b.Doing.(elsewhere); is && err == nil && past.None {
		var members int
		members, err = others.MembersElsewhere(ctx, group)
		past = &Past{None: true, Members: past.Members + members}
	}
	return past, err
}

// Nodes is part of Backend.
func (b *HubBackend) Nodes(ctx context.Context) ([]loop.NodeInfo, error) {
	if all, is := b.Doing.(elsewhere); is {
		return all.Nodes(ctx)
	}
	return nil, nil
}

// Forget is part of Backend.
func (b *HubBackend) Forget(ctx context.Context, group string) error {
	port, err := b.open()
	if err != nil {
		return err
	}
	return port.Forget(ctx, group)
}

// Cached is part of Backend.
func (b *HubBackend) Cached(ctx context.Context, group string) (m *loop.Message, left time.Duration, err error) {
	port, err := b.open()
	if err != nil {
		return nil, 0, err
	}
	return port.Cached(ctx, group)
}
