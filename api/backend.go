package api

import (
	"context"

	"ringcast/loop"
)

// Backend is what the server API needs of a port and of the hub; any goroutine calls it. What its methods mean is said there.
type Backend interface {
	Offer(group string, s Said) (Pending, error)
	History(ctx context.Context, group string, a Ask) (*Past, error)
	Presence(ctx context.Context, group string) (*Past, error)
	Forget(ctx context.Context, group string) error
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
